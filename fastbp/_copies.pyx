"""Copies and pickles of compiled objects, which keep in C what Python cannot see.

pickle and copy call `__reduce__`: a function makes the object anew, and the state is what a
subclass added. Others call `cls.__new__` and hand to `__setstate__` what `__getstate__` returned:
for them the state has one more entry, `OWN`.
"""

from types import BuiltinFunctionType

from fastbp import _arguments

OWN = "_fastbp"


def new(kind):
    """An object as the compiled class makes it: `__new__` of a subclass may want arguments."""
    for base in kind.__mro__:
        made = vars(base).get("__new__")
        if isinstance(made, BuiltinFunctionType):
            return made(kind)


def restore(kind, *own):
    """A copy, made without `__init__`: that of a subclass may want other arguments."""
    cdef Copied made = new(kind)
    made.take(own)
    return made


def parted(kind, state):
    """The attributes, `OWN` among them, and those that lie in slots, of a state."""
    parts = state if type(state) is tuple and len(state) == 2 else (state, None)
    return [_arguments.attributes_of_state(kind, part) for part in parts]


cdef object without_own(state):
    """The result of a subclass's `__getstate__`, without the entry of `Copied`."""
    if type(state) is dict:
        return {name: value for name, value in state.items() if name != OWN} or None
    if type(state) is tuple and len(state) == 2:
        return without_own(state[0]), state[1]
    return state


cdef class Copied:
    """Base of the classes that are copied."""

    cdef tuple own(self):
        raise NotImplementedError

    cdef int remake(self, tuple own) except -1:
        raise NotImplementedError

    cdef int take(self, own) except -1:
        try:
            self.remake(<tuple?> own)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            _arguments.refuse_state(type(self), error)
        return 0

    def __reduce__(self):
        whole = type(self).__getstate__ is Copied.__getstate__
        state = object.__getstate__(self) if whole else self.__getstate__()
        return restore, (type(self), *self.own()), without_own(state)

    def __getstate__(self):
        own = self.own()
        attributes, slots = parted(type(self), object.__getstate__(self))
        attributes[OWN] = own
        return (attributes, slots) if slots else attributes

    def __setstate__(self, state):
        attributes, slots = parted(type(self), state)
        cdef bint whole = OWN in attributes
        own = attributes.pop(OWN, None)
        _arguments.settable(self, attributes, slots)
        if whole:
            self.take(tuple(own) if type(own) is list else own)
        if attributes:
            self.__dict__.update(attributes)
        for name, value in slots.items():
            setattr(self, name, value)
