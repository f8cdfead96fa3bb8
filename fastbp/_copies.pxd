cdef class Copied:
    cdef tuple own(self)                            # what `remake` needs
    # make an object that `__new__` gave, or refuse and leave it as it is
    cdef int remake(self, tuple own) except -1
    # the same for what may be no tuple at all; errors say that it is a state
    cdef int take(self, own) except -1
