from fastbp._engine.network cimport Architecture, Workspace
from fastbp._engine.plan cimport Shape
from fastbp._engine.team cimport Flag

ctypedef struct Span:           # the memory of an array
    const char* start
    const char* end


cdef class LayerArrays:
    """Checks the arrays of a call for layers of one shape and dtype."""
    cdef Architecture architecture
    cdef const Shape* shape
    cdef object dtype
    cdef int typenum
    cdef Span* spans            # room for those of a call's arrays

    # whether an array (rows, columns), or (columns,), of the dtype can be read, or `written`, as it
    # is; a negative `rows` stands for any number
    cdef bint fits(self, array, int ndim, Py_ssize_t rows, Py_ssize_t columns, bint written)
    # `fits` for every layer's W (ndim 2) or b (ndim 1)
    cdef bint all_fit(self, list arrays, int ndim, bint written)
    # whether weights, biases and X fit as they are
    cdef bint inputs_fit(self, list weights, list biases, X)
    # whether a look at first and last bytes shows that no output overlaps another array
    cdef bint apart(self, list inputs, list outputs)
    # lists of W and of b, and X, as the kernels use them
    cdef tuple inputs(self, list weights, list biases, X)
    # refuses dW, db, dX that cannot be written to, or overlap each other or `inputs`:
    # (weights, biases, {name: array})
    cdef int check_outputs(self, list dW, list db, dX, Py_ssize_t n, tuple inputs) except -1


cdef class CachedLayers:
    """Layers for a call on arrays of any owner, `taken` by one call at a time."""
    cdef LayerArrays arrays
    cdef Workspace workspace    # leased by the call
    cdef object hidden          # a name of ACTIVATIONS, the very str, or a tuple of names
    cdef Flag taken

    cdef bint take(self, list weights, list biases, X, hidden)

# The layers of an earlier call that these arrays fit as they are, now taken; or None
cdef CachedLayers cached_layers(list weights, list biases, X, hidden)
# The arrays in the dtype they have in common and contiguous, copies where need be; those given if
# one is not simply an ndarray of float32 or float64
cdef tuple in_one_dtype(list weights, list biases, X)
# New layers, taken
cdef CachedLayers new_layers(tuple sizes, dtype, hidden)

# A new list of the arrays, so that a change of the caller's list does not reach it
cdef list listed(name, arrays)
