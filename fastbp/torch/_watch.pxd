# Who watches a call, and what the children of a Sequential call.

# Whether a tool of PyTorch traces or transforms what is computed, so that it must see it
cdef bint is_watched()


cdef class Children:
    """The children of one module, and all that must be as PyTorch made it."""
    cdef dict modules
    cdef tuple children
    cdef list hooks, calls, attributes, kinds

    cdef bint are_those_of_the_module(self)
    cdef bint have_hooks(self)
    # what a child would call in place of PyTorch's own, in words; None where nothing was replaced
    cdef str replaced(self)
