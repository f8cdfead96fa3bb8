cdef class Copied:
    cdef tuple own(self)                            # what `remake` needs
    cdef int remake(self, tuple own) except -1      # make an object that `__new__` gave, or refuse
