"""Whether a native call computes what PyTorch would: who watches, and what the children call.

Tools of PyTorch that trace or transform a computation must see it operation by operation. Hooks of
the children, and a forward that somebody gave them, must be called.
"""

import torch
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

from fastbp.torch import _children

from cpython.object cimport PyObject, PyTypeObject

cdef list GLOBAL_HOOKS = _children.GLOBAL_HOOKS
cdef tuple HOOKS = _children.HOOKS

cdef object is_tracing = torch._C._is_tracing
cdef object in_transform = torch._C._are_functorch_transforms_active
cdef object dispatch_modes = torch._C._len_torch_dispatch_stack
cdef object function_modes = torch._C._len_torch_function_stack


cdef bint other_modes():
    """Whether a mode of PyTorch is active, other than that of a default device."""
    from torch.overrides import _get_current_function_mode_stack
    return any([type(mode) is not DeviceContext for mode in _get_current_function_mode_stack()])


cdef bint is_watched():
    return (is_tracing() or in_transform() or forward_ad._current_level >= 0
            or dispatch_modes() or (function_modes() and other_modes()))


cdef dict namespace(owner):
    """The attributes of a class or a module: the dict itself, in which a later one will be."""
    return <dict> (<PyTypeObject*> owner).tp_dict if isinstance(owner, type) else owner.__dict__


cdef class Children:
    def __init__(self, module):
        self.children = tuple(module._modules.values())
        self.calls = [(namespace(owner), name, value, owner)
                      for owner, name, value in _children.calls_of(self.children)]
        self.attributes = [child.__dict__ for child in self.children]
        self.kinds = [*map(type, self.children)]

    cdef bint are_those_of(self, dict modules):
        cdef Py_ssize_t i = 0
        if len(modules) != len(self.children):
            return False
        for child in modules.values():
            kind = type(child)          # a parametrisation makes it another
            if (<PyObject*> child != <PyObject*> self.children[i]
                    or <PyObject*> kind != <PyObject*> self.kinds[i]):
                return False
            i += 1
        return True

    cdef bint have_hooks(self):
        for hooks in GLOBAL_HOOKS:
            if hooks:
                return True
        for attributes in self.attributes:
            for name in HOOKS:        # a dict of hooks may be replaced by another
                if (<dict> attributes)[name]:
                    return True
        return False

    cdef str replaced(self):
        for found, name, value, owner in self.calls:
            if (<dict> found).get(name) is not value:
                return f"{owner.__name__}.{name} is not PyTorch's"
        for attributes in self.attributes:
            if "forward" in <dict> attributes or "_call_impl" in <dict> attributes:
                return "a child has a forward of its own"
        return None
