"""Where gradients go: into .grad itself, into a new tensor, or nowhere.

.grad is written in place where its memory is plain and overlaps nothing that is read; so it is with
one that another made. One that overlaps a parameter or the .grad of another is refused: not both
can have their numbers. Where it is None it gets a tensor. One that an earlier call made, and that
nobody holds any more since `zero_grad`, is taken again, which saves its memory from being fetched
and given back at each step.
"""

import torch

from fastbp.torch import _tensors

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_REFCNT
from libc.stdlib cimport calloc, free

from fastbp.torch._gate cimport FITS, apart, look, same_shape

cnp.import_array()

cdef object from_numpy = torch.from_numpy
cdef object wants_grad = torch.Tensor.requires_grad.__get__
cdef object grad_of = torch.Tensor.grad.__get__
cdef object set_grad = torch.Tensor.grad.__set__
cdef object hooks_of = torch.Tensor._backward_hooks.__get__
cdef object storage_of = torch.Tensor.untyped_storage
cdef object uses_of = torch.Tensor._use_count
cdef object uses_of_storage = torch._C._storage_Use_Count
cdef object increment_version = torch._C._increment_version
cdef object is_inference = torch.Tensor.is_inference
cdef object is_inference_mode = torch.is_inference_mode_enabled


cdef class Memory:
    def __init__(self, list present, list scratch, list names):
        self.present, self.arrays, self.names = present, scratch, names

    cdef object scratch(self, Py_ssize_t l):
        return <Py_ssize_t> cnp.PyArray_DATA(self.arrays[l])


cdef class Destination:
    def __cinit__(self, Memory held, Operands operands, bint accumulate):
        cdef Py_ssize_t i
        self.held, self.operands, self.accumulate = held, operands, accumulate
        self.n = len(operands.params)
        self.ways = <Way*> calloc(self.n, sizeof(Way))
        self.views = <View*> calloc(self.n, sizeof(View))
        if self.ways == NULL or self.views == NULL:
            raise MemoryError
        self.grads = [None] * self.n
        self.handed, held.handed = held.handed or self.grads[:], None
        for i, p in enumerate(operands.params):
            self.ways[i] = self.way(i, p)
        if self.unseen or operands.copies:
            _tensors.check_apart(held.names, operands.params)

    def __dealloc__(self):
        free(self.ways)
        free(self.views)

    cdef Way way(self, Py_ssize_t i, p) except *:
        cdef Py_ssize_t j
        cdef View* view = &self.views[i]
        if not wants_grad(p):
            return NOWHERE
        for j in range(i):
            if <PyObject*> self.operands.params[j] == <PyObject*> p:
                return ASIDE                            # a tied parameter comes again
        cdef const char* owned = NULL       # memory of ours stays, whatever happens to .grad
        if self.handed[i] is not None:
            owned = <const char*> cnp.PyArray_DATA(self.handed[i][2])
        grad = grad_of(p)
        if grad is None:
            return NEW
        if look(grad, view, owned) != FITS:
            self.unseen, view.data, view.nbytes = True, NULL, 0
            return ASIDE
        if (view.data != owned and is_inference(grad) and not is_inference_mode()
                or not same_shape(view, &self.operands.views[i])):
            view.data, view.nbytes = NULL, 0            # it is replaced
            return ASIDE
        for j in range(self.n):
            if not apart(view, &self.operands.views[j]):
                _tensors.refuse_overlap(self.held.names[i], self.held.names[j])
        for j in range(i):
            if not apart(view, &self.views[j]):
                _tensors.refuse_overlap(self.held.names[i], f"the grad of {self.held.names[j]}")
        if (self.accumulate or wants_grad(grad)
                or view.typenum != self.operands.views[i].typenum):
            return ASIDE
        self.grads[i] = grad
        return IN_PLACE

    cdef void keep_apart(self, const View* read):
        """Write what overlaps memory that is read after the call, not in it."""
        cdef Py_ssize_t i
        for i in range(self.n):
            if self.ways[i] == IN_PLACE and not apart(&self.views[i], read):
                self.ways[i] = ASIDE

    cdef list addresses(self):
        """Where the kernels should write dW_1, db_1, ..."""
        cdef list found = []
        cdef Py_ssize_t i = 0, l
        for l, there in enumerate(self.held.present):
            if not there or self.ways[i] == NOWHERE:
                found.append(self.held.scratch(l))
            elif self.ways[i] == IN_PLACE:
                found.append(<Py_ssize_t> self.views[i].data)
            else:
                found.append(self.memory(i))
            i += there
        return found

    cdef object memory(self, Py_ssize_t i):
        cdef const View* of_p = &self.operands.views[i]
        cdef cnp.npy_intp[2] shape
        cdef int axis
        if self.ways[i] == NEW and is_free(self.handed[i], of_p, &self.views[i]):
            self.grads[i] = self.handed[i][0]
            return <Py_ssize_t> self.views[i].data
        for axis in range(of_p.ndim):
            shape[axis] = of_p.shape[axis]
        array = cnp.PyArray_EMPTY(of_p.ndim, shape, of_p.typenum, 0)
        if self.ways[i] == NEW:
            self.grads[i] = new_tensor(array)
            self.handed[i] = self.grads[i], storage_of(self.grads[i]), array
        else:
            self.grads[i] = array
        return <Py_ssize_t> cnp.PyArray_DATA(array)

    cdef int hand_over(self) except -1:
        """After the call: .grad is, or gets, what was written."""
        cdef Py_ssize_t i
        cdef list changed = []
        for i, p in enumerate(self.operands.params):
            if self.ways[i] == IN_PLACE:
                changed.append(self.grads[i])
            elif self.ways[i] == NEW:
                set_grad(p, self.grads[i])
            elif self.ways[i] == NOWHERE:
                if not self.accumulate and grad_of(p) is not None:
                    p.grad = None
        if changed:
            increment_version(changed)                  # as every write in place
        self.held.handed = self.handed
        for i, p in enumerate(self.operands.params):
            if self.ways[i] == ASIDE:
                _tensors.give(p, new_tensor(self.grads[i]), self.accumulate or self.is_tied(i))
        return 0

    cdef bint is_tied(self, Py_ssize_t i):
        """Whether the parameter has come before, and its .grad been written."""
        for p in self.operands.params[:i]:
            if p is self.operands.params[i]:
                return True
        return False


cdef object new_tensor(array):
    """A tensor of an array's memory, which can be changed outside of inference mode too."""
    if not is_inference_mode():
        return from_numpy(array)
    with torch.inference_mode(False):
        return from_numpy(array)


cdef bint is_free(tuple handed, const View* of_p, View* view) except -1:
    """Whether nothing else holds a tensor or its memory, and it is as it was made for a parameter.

    Of the references to the tensor one is that of `handed`, and one that of a name here; so it is
    with the object of its storage, of which the storage has one too. Of those to the storage itself
    one is the tensor's, and one the object's.
    """
    if handed is None:
        return False
    tensor, storage, array = handed
    return (Py_REFCNT(tensor) == 2 and uses_of(tensor) == 1 and Py_REFCNT(storage) == 3
            and uses_of_storage(storage._cdata) == 2 and not wants_grad(tensor)
            and not tensor.__dict__ and hooks_of(tensor) is None and grad_of(tensor) is None
            and look(tensor, view, <const char*> cnp.PyArray_DATA(array)) == FITS
            and view.data == <char*> cnp.PyArray_DATA(array) and view.typenum == of_p.typenum
            and same_shape(view, of_p))
