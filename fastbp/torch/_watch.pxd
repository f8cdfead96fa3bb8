# Who watches a call, and what the children of a Sequential call.

# Whether a tool of PyTorch traces or transforms what is computed, so that it must see it
cdef bint is_watched()


cdef class Children:
    """The children of one module, and all that must be as PyTorch made it."""
    cdef tuple children
    cdef list calls, attributes, kinds

    # whether a module's `_modules` are the very same, of the same classes
    cdef bint are_those_of(self, dict modules)
    cdef bint have_hooks(self)
    # what a child would call in place of PyTorch's own, in words; None where nothing was replaced
    cdef str replaced(self)
