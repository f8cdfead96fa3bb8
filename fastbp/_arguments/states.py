"""States of copies and pickles: anybody may have written one, or changed it."""

from collections.abc import Mapping
from types import GetSetDescriptorType


def attributes_of_state(kind, part):
    """A part of a state of the class ``kind`` as a new dict: attributes by their names."""
    if part is None:
        return {}
    if not isinstance(part, Mapping) or not all(
            isinstance(name, str) for name in part):
        raise TypeError(f"the state of {kind.__name__} has a part of type {type(part).__name__}; "
                        "it should be what __getstate__ returned: a dict of attributes by their "
                        "names, or a pair of them")
    return dict(part)


def settable(thing, attributes, slots):
    """Refuse attributes that ``thing`` has no place for, before any of them is set."""
    kind, open_ended = type(thing), hasattr(thing, "__dict__")

    def has_place(name):
        descriptor = type(getattr(kind, name, None))
        return descriptor is not GetSetDescriptorType and (open_ended
                                                           or hasattr(descriptor, "__set__"))

    for name in ([] if open_ended else [*attributes]) + [s for s in slots if not has_place(s)]:
        raise TypeError(f"the state of {kind.__name__} has the attribute {name!r}; it should have "
                        f"those that can be given to {kind.__name__}")


def refuse_state(kind, error):
    """Raise for what a compiled object of the class ``kind`` cannot be made of."""
    of_value = isinstance(error, (ValueError, LookupError, ArithmeticError))
    raise (ValueError if of_value else TypeError)(
        f"the state of {kind.__name__} does not fit: {error}") from error
