"""The one gate for tensors that are read or written by their address.

PyTorch lends a C function that says of a tensor its device, dtype, shape, strides and address
(DLPack's exchange API, made for calls like ours). Two things it does not say are asked of the
tensor: whether its values are negated when they are read, and whether its storage, which can be
resized below it, still reaches its end. Any of this can change from one call to the next, so every
tensor passes here in every call.

What does not fit is a matter of `_tensors`, which makes a copy that does, or raises.
"""

import torch
from torch import nn

cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cnp.import_array()


# ---- DLPack 1.3, whose layout of these is fixed within a major version

cdef enum:
    MAJOR = 1
    ON_CPU = 1
    INT_CODE = 0
    UINT_CODE = 1
    FLOAT_CODE = 2
    BOOL_CODE = 6

ctypedef struct DLTensor:
    void* data
    int32_t device_type
    int32_t device_id
    int32_t ndim
    uint8_t code
    uint8_t bits
    uint16_t lanes
    int64_t* shape
    int64_t* strides
    uint64_t byte_offset

ctypedef int (*FromPyObject)(void* tensor, DLTensor* out) noexcept

ctypedef struct ExchangeAPI:
    uint32_t major
    uint32_t minor
    void* previous
    void* allocate
    void* managed_from_py_object
    void* managed_to_py_object
    FromPyObject from_py_object
    void* current_work_stream


cdef FromPyObject from_py_object():
    cdef ExchangeAPI* api = <ExchangeAPI*> PyCapsule_GetPointer(
        torch.Tensor.__dlpack_c_exchange_api__, "dlpack_exchange_api")
    if api.major != MAJOR or api.from_py_object == NULL:
        raise ImportError(f"PyTorch {torch.__version__} has version {api.major}.{api.minor} of "
                          f"DLPack's exchange API; fastbp.torch needs {MAJOR}.x")
    return api.from_py_object


cdef FromPyObject peek = from_py_object()

cdef object Tensor = torch.Tensor
cdef object Parameter = nn.Parameter
# from the class: an attribute of an instance may be anything
cdef object is_neg = torch.Tensor.is_neg
cdef object storage_of = torch.Tensor.untyped_storage
cdef object offset_of = torch.Tensor.storage_offset
cdef object bytes_of = torch.UntypedStorage.nbytes


cdef int typenum_of(uint8_t code, uint8_t bits) noexcept:
    """NumPy's number of a DLPack dtype of one lane; -1 where NumPy has none."""
    if code == FLOAT_CODE:
        return (cnp.NPY_FLOAT32 if bits == 32 else cnp.NPY_FLOAT64 if bits == 64
                else cnp.NPY_FLOAT16 if bits == 16 else -1)
    if code == INT_CODE:
        return (cnp.NPY_INT64 if bits == 64 else cnp.NPY_INT32 if bits == 32
                else cnp.NPY_INT16 if bits == 16 else cnp.NPY_INT8 if bits == 8 else -1)
    if code == UINT_CODE:
        return (cnp.NPY_UINT8 if bits == 8 else cnp.NPY_UINT16 if bits == 16
                else cnp.NPY_UINT32 if bits == 32 else cnp.NPY_UINT64 if bits == 64 else -1)
    return cnp.NPY_BOOL if code == BOOL_CODE and bits == 8 else -1


cdef Fault look(object tensor, View* view, const char* owned=NULL) except *:
    kind = type(tensor)
    cdef DLTensor t
    cdef Py_ssize_t itemsize, stride = 1
    cdef bint contiguous = True
    cdef int axis
    if kind is not Parameter and kind is not Tensor:
        return SUBCLASS
    if peek(<void*> tensor, &t) != 0:
        PyErr_Clear()               # sparse, on another device, inside a transform, ...
        return OPAQUE
    view.typenum = typenum_of(t.code, t.bits) if t.lanes == 1 else -1
    if t.device_type != ON_CPU or view.typenum < 0:
        return OPAQUE
    view.ndim, view.shape, view.size = t.ndim, t.shape, 1
    for axis in range(t.ndim - 1, -1, -1):
        contiguous = contiguous and (t.shape[axis] == 1 or t.strides[axis] == stride)
        stride *= t.shape[axis]
        view.size *= t.shape[axis]
    itemsize = t.bits // 8
    view.data, view.nbytes = <char*> t.data + t.byte_offset, view.size * itemsize
    if view.size == 0:
        return FITS
    if t.data == NULL:
        return EMPTY
    if not contiguous or <size_t> view.data % itemsize:
        return STRIDED
    if is_neg(tensor):
        return NEGATIVE
    if view.data != owned and bytes_of(storage_of(tensor)) < (
            <Py_ssize_t> offset_of(tensor) * itemsize + view.nbytes):
        return SHORT
    return FITS


cdef bint same_shape(const View* a, const View* b) noexcept nogil:
    cdef int axis
    if a.ndim != b.ndim:
        return False
    for axis in range(a.ndim):
        if a.shape[axis] != b.shape[axis]:
            return False
    return True


cdef object as_array(const View* view):
    cdef cnp.npy_intp[8] shape
    cdef int axis
    for axis in range(view.ndim):
        shape[axis] = view.shape[axis]
    return cnp.PyArray_SimpleNewFromData(view.ndim, shape, view.typenum, view.data)


def fits(tensor):
    """Whether a tensor can be read by its address."""
    cdef View view
    return look(tensor, &view) == FITS
