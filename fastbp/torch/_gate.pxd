# A tensor's memory, as far as it can be read or written by its address.

from libc.stdint cimport int64_t

cdef enum Fault:            # why it cannot
    FITS                    # it can
    SUBCLASS                # its operations are its own
    OPAQUE                  # no memory that a CPU reads by strides, or no dtype of NumPy's
    EMPTY                   # zeros that are nowhere, or memory that was taken away
    STRIDED                 # not contiguous, or not aligned
    NEGATIVE                # its values are those of the memory times -1
    SHORT                   # the storage ends before the tensor does

ctypedef struct View:       # valid until the tensor is changed
    char* data
    Py_ssize_t nbytes
    Py_ssize_t size
    const int64_t* shape
    int ndim
    int typenum             # NumPy's


# `view` is filled in where the tensor fits. At the address `owned` there is memory enough: it is
# the caller's, so that the storage need not be looked at.
cdef Fault look(object tensor, View* view, const char* owned=*) except *
cdef bint same_shape(const View* a, const View* b) noexcept nogil

cdef inline bint apart(const View* a, const View* b) noexcept nogil:
    return a.data + a.nbytes <= b.data or b.data + b.nbytes <= a.data

# An ndarray of the same memory, which does not keep it alive
cdef object as_array(const View* view)
