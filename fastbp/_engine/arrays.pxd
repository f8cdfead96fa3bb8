# Arrays as memory, for the compiled modules.

cimport numpy as cnp
from cpython.float cimport PyFloat_FromDouble

cdef extern from "Python.h":
    ctypedef struct PyFloatObject:
        double ob_fval


cdef inline object new_float():
    """A float for `filled`, made before a call writes anything: then no memory can be refused."""
    return PyFloat_FromDouble(0)


cdef inline object filled(object number, double value):
    """The float with its value; it is new, and no other code holds it."""
    (<PyFloatObject*> number).ob_fval = value
    return number


cdef inline char* data(object array):
    """The memory of an ndarray; NULL for None."""
    return <char*> cnp.PyArray_DATA(array) if array is not None else NULL


# ---- arrays at a glance: whether one is fit to be used as it is ----------------------------

cdef inline bint ready(object array, int typenum) noexcept:
    """Whether the kernels can take this array as it is."""
    return (cnp.PyArray_CheckExact(array) and cnp.PyArray_TYPE(array) == typenum
            and cnp.PyArray_ISCARRAY_RO(array))


cdef inline bint real(object array) noexcept:
    """`ready` in either dtype."""
    return ready(array, cnp.NPY_FLOAT) or ready(array, cnp.NPY_DOUBLE)


cdef inline bint shaped(object array, int typenum, int ndim, Py_ssize_t rows,
                        Py_ssize_t columns) noexcept:
    """`ready`, and (rows, columns) or (columns,); negative rows stand for any number."""
    return (ready(array, typenum) and cnp.PyArray_NDIM(array) == ndim
            and cnp.PyArray_DIM(array, ndim - 1) == columns
            and (ndim == 1 or rows < 0 or cnp.PyArray_DIM(array, 0) == rows))


cdef inline bint alike(object array, object other) noexcept:
    """`ready`, and of the dtype and the shape of another that is."""
    return (ready(array, cnp.PyArray_TYPE(other))
            and cnp.PyArray_NDIM(array) == cnp.PyArray_NDIM(other)
            and cnp.PyArray_CompareLists(cnp.PyArray_DIMS(array), cnp.PyArray_DIMS(other),
                                         cnp.PyArray_NDIM(array)))


cdef inline bint apart(object a, object b) noexcept:
    """Whether two contiguous arrays share no memory."""
    return (data(a) + cnp.PyArray_NBYTES(a) <= data(b)
            or data(b) + cnp.PyArray_NBYTES(b) <= data(a))


cdef inline bint writable(object out, object a, object b=None, object c=None) noexcept:
    """Whether an array that is ready can be written to, apart from others that are."""
    return (cnp.PyArray_ISWRITEABLE(out) and apart(out, a) and (b is None or apart(out, b))
            and (c is None or apart(out, c)))


cdef inline object new_matrix(Py_ssize_t rows, Py_ssize_t columns, int typenum):
    cdef cnp.npy_intp[2] shape = [rows, columns]
    return cnp.PyArray_EMPTY(2, shape, typenum, 0)


cdef inline object new_vector(Py_ssize_t size, int typenum):
    cdef cnp.npy_intp[1] shape = [size]
    return cnp.PyArray_EMPTY(1, shape, typenum, 0)


cdef inline object new_like(object array):
    return cnp.PyArray_EMPTY(cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array),
                             cnp.PyArray_TYPE(array), 0)
