"""The parameters of a fused module as they are now: where they lie, or why only PyTorch can tell.

They are held by the Linears and looked up anew in every call: a parameter can be replaced, moved,
frozen, made another's view or a parametrisation, and its memory taken away.
"""

import numpy as np
import torch

from fastbp.torch import _tensors

cimport numpy as cnp
from libc.stdlib cimport calloc, free

from fastbp.torch._gate cimport EMPTY, FITS, NEGATIVE, OPAQUE, STRIDED, SUBCLASS, Fault, look

cnp.import_array()

cdef object wants_grad = torch.Tensor.requires_grad.__get__


cdef inline object parameter(slot):
    """The parameter in a slot; None if it is empty."""
    attributes, name = slot
    return (<dict> (<dict> attributes)["_parameters"]).get(name)


cdef class Operands:
    def __cinit__(self, Py_ssize_t n_params):
        self.params, self.addresses, self.copies = [], [], []
        self.views = <View*> calloc(n_params, sizeof(View))
        if self.views == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.views)


cdef class Parameters:
    def __init__(self, linears, names):
        cdef Py_ssize_t i = 0, l
        slots = [(linear.__dict__, name) for linear in linears for name in ("weight", "bias")]
        # absent is a bias of None; a bias that is not a parameter may come from a parametrisation
        self.present = [name == "weight" or held["_parameters"].get(name, ...) is not None
                        for held, name in slots]
        self.slots = [slot for slot, there in zip(slots, self.present) if there]
        self.names = [f"{names[l // 2]}.{slot[1]}" for l, slot in enumerate(slots)
                      if self.present[l]]
        self.absent = [slot for slot, there in zip(slots, self.present) if not there]
        widest = max([linear.out_features for linear in linears])
        self.zeros = np.zeros(widest)     # for either dtype
        self.shapes = <Py_ssize_t*> calloc(2 * len(self.slots), sizeof(Py_ssize_t))
        if self.shapes == NULL:
            raise MemoryError
        for l, there in enumerate(self.present):        # W_1, b_1, W_2, ...
            if there:
                linear = linears[l // 2]
                self.shapes[2 * i] = linear.out_features
                self.shapes[2 * i + 1] = 0 if l % 2 else linear.in_features
                i += 1

    def __dealloc__(self):
        free(self.shapes)

    cdef bint has_new_bias(self):
        for slot in self.absent:
            if parameter(slot) is not None:
                return True
        return False

    cdef str lacking(self):
        for slot in self.slots:
            if parameter(slot) is None:
                return f"a Linear has no {slot[1]} of its own"
        return None

    cdef Operands look_up(self, bint copied):
        """The parameters, as they are now; None, and `reason`, where only PyTorch can read them.

        Raises ValueError for one whose shape or storage is not what its Linear should have.
        """
        cdef Operands found = Operands(len(self.slots))
        cdef Py_ssize_t i
        cdef View* view
        cdef Fault fault
        for i, slot in enumerate(self.slots):
            p, name = parameter(slot), slot[1]
            if p is None:
                self.reason = self.lacking()
                return None
            view = &found.views[i]
            fault = look(p, view)
            if fault != FITS and fault != SUBCLASS and fault != OPAQUE:
                _tensors.check_storage(f"a {name}", p)
                if copied:
                    copy = _tensors.readable(f"a {name}", p)
                    found.copies.append(copy)
                    fault = look(copy, view)
            if fault != FITS or view.typenum != found.views[0].typenum or (
                    view.typenum != cnp.NPY_FLOAT32 and view.typenum != cnp.NPY_FLOAT64):
                self.reason = (f"a {name} is of type {type(p).__name__}" if fault == SUBCLASS else
                               f"a {name} is {p.dtype} on {p.device}"
                               + ", not contiguous" * (fault == STRIDED)
                               + ", with the negative bit" * (fault == NEGATIVE)
                               + ", without memory" * (fault == EMPTY))
                if i > 0 and p.dtype is not found.params[0].dtype:
                    self.reason += f", another {found.params[0].dtype}"
                return None
            found.params.append(p)
            found.addresses.append(<Py_ssize_t> view.data)
            found.trained = found.trained or wants_grad(p)
        self.check_shapes(found)
        if self.absent:
            given = iter(found.addresses)
            zeros = <Py_ssize_t> cnp.PyArray_DATA(self.zeros)
            found.addresses = [next(given) if there else zeros for there in self.present]
        return found

    cdef int check_shapes(self, Operands found) except -1:
        cdef Py_ssize_t i
        cdef const View* view
        cdef const Py_ssize_t* shape
        for i in range(len(self.slots)):
            view, shape = &found.views[i], &self.shapes[2 * i]
            if (view.ndim != 1 + (shape[1] > 0) or view.shape[0] != shape[0]
                    or (view.ndim == 2 and view.shape[1] != shape[1])):
                name = self.slots[i][1]
                wanted = tuple([shape[axis] for axis in range(1 + (shape[1] > 0))])
                raise ValueError(f"a {name} has shape {tuple(found.params[i].shape)}; it should "
                                 f"have shape {wanted}")
        return 0

    cdef list of_present(self, list arrays):
        if not self.absent:
            return arrays
        return [a for a, there in zip(arrays, self.present) if there]
