"""The arrays that a caller owns: W, b, dW, db of every layer, X and dL/dX.

Arrays are used as they are when a look at their headers shows that all of them fit. Those of
another layout, or of the other dtype, are copied, they alone. All others are checked one by one, by
name, and converted or refused.
"""

from fastbp import _arguments
from fastbp._arguments import ACTIVATIONS

cimport numpy as cnp
from libc.stdlib cimport free, malloc

from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport IDENTITY
from fastbp._engine.arrays cimport data, ready, shaped
from fastbp._engine.team cimport acquire, release

cnp.import_array()

cdef enum:
    MOST_OTHERS = 4             # arrays of a call that are not a layer's: X, dX, y, sample_weight
    CACHE_SIZE = 8              # threads at once, or shapes in turn, that find their layers


cdef list listed(name, arrays):
    return list(arrays) if type(arrays) in (list, tuple) else _arguments.sequence(name, arrays)


cdef list made_ready(list arrays, dtype):
    """The arrays, with a copy in place of each that has another layout or the other dtype.

    None where one is not simply an ndarray of either dtype.
    """
    cdef int typenum = dtype.num
    cdef list misfits = []
    for array in arrays:
        if not of_either_dtype(array):
            return None
        if not ready(array, typenum):
            misfits.append(array)
    if not misfits:
        return arrays
    copies = iter(_arguments.copies(misfits, dtype))
    return [array if ready(array, typenum) else next(copies) for array in arrays]


cdef inline bint of_either_dtype(object array) noexcept:
    return cnp.PyArray_CheckExact(array) and (cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT
                                              or cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE)


cdef Span span_of(object array) noexcept:
    """From the first byte of an array's elements to behind the last, whatever the strides are."""
    cdef const char* first = data(array)
    cdef const char* last = first
    cdef Py_ssize_t axis, length
    for axis in range(cnp.PyArray_NDIM(array)):
        length = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if length > 0:
            last += length
        else:
            first += length
    if cnp.PyArray_SIZE(array) == 0:
        return Span(first, first)
    return Span(first, last + cnp.PyArray_ITEMSIZE(array))


cdef class LayerArrays:
    def __cinit__(self, Architecture architecture, dtype):
        self.architecture, self.shape = architecture, &architecture.shape
        self.dtype, self.typenum = dtype, dtype.num
        self.spans = <Span*> malloc((4 * self.shape.n_layers + MOST_OTHERS) * sizeof(Span))
        if self.spans == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.spans)

    # ---- at a glance

    cdef bint fits(self, array, int ndim, Py_ssize_t rows, Py_ssize_t columns, bint written):
        return (shaped(array, self.typenum, ndim, rows, columns)
                and (not written or cnp.PyArray_ISWRITEABLE(array)))

    cdef bint all_fit(self, list arrays, int ndim, bint written):
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, rows, columns
        if len(arrays) != s.n_layers:
            return False
        for l in range(s.n_layers):
            rows, columns = s.sizes[l], s.sizes[l + 1]
            if s.transposed and ndim == 2:
                rows, columns = columns, rows
            if not self.fits(arrays[l], ndim, rows, columns, written):
                return False
        return True

    cdef bint inputs_fit(self, list weights, list biases, X):
        return (self.all_fit(weights, 2, False) and self.all_fit(biases, 1, False)
                and self.fits(X, 2, -1, self.shape.sizes[0], False))

    cdef bint apart(self, list inputs, list outputs):
        cdef Py_ssize_t i, j, n_inputs = len(inputs)
        cdef Span* spans = self.spans
        for i, array in enumerate(inputs + outputs):
            if not cnp.PyArray_CheckExact(array):
                return False
            spans[i] = span_of(array)
            for j in range(i if i >= n_inputs else 0):
                if spans[i].start < spans[j].end and spans[j].start < spans[i].end:
                    return False
        return True

    # ---- one by one

    def named(self, name, arrays, ndim):
        """Triples of a name, an array and its shape for every layer's W (ndim 2) or b (ndim 1)."""
        sizes = [self.shape.sizes[l] for l in range(self.shape.n_layers + 1)]
        fan_in, fan_out = sizes[:-1], sizes[1:]
        axes = [fan_out] if ndim == 1 else (
            [fan_out, fan_in] if self.shape.transposed else [fan_in, fan_out])
        _arguments.one_for_each_layer(name, arrays, len(fan_in))
        return [(f"{name}[{l}]", array, shape)
                for l, (array, shape) in enumerate(zip(arrays, zip(*axes)))]

    def converted(self, name, arrays, ndim):
        named = self.named(name, arrays, ndim)
        arrays = [_arguments.real_array(name, array, self.dtype) for name, array, _ in named]
        self.check_layout(name, arrays, named)
        return [_arguments.real_array(name, array, self.dtype, shape=shape)
                for array, (name, _, shape) in zip(arrays, named)]

    def check_layout(self, name, arrays, named):
        _arguments.refuse_transposed(name, arrays, [shape for _, _, shape in named],
                                     "oi" if self.shape.transposed else "io")

    def explain_outputs(self, dW, db, dX, n, inputs):
        weights, biases, others = inputs
        named = self.named("weights", weights, 2) + self.named("biases", biases, 1)
        occupied = {**{name: array for name, array, _ in named}, **others}
        outputs = []
        if dW is not None:
            outputs += self.named("weight_grads", dW, 2)
            self.check_layout("weight_grads", dW, outputs)
            outputs += self.named("bias_grads", db, 1)
        if dX is not None:
            outputs.append(("input_grad", dX, (n, self.shape.sizes[0])))
        for name, array, shape in outputs:
            occupied[name] = _arguments.output(name, array, shape, self.dtype, occupied,
                                               required=True,
                                               or_else=", or Layers be made with dtype='{}'")

    # ---- what a call does

    cdef tuple inputs(self, list weights, list biases, X):
        if self.inputs_fit(weights, biases, X):
            return weights, biases, X
        cdef list arrays = made_ready([*weights, *biases, X], self.dtype)
        cdef Py_ssize_t n_layers = self.shape.n_layers
        if (arrays is not None and len(weights) == n_layers
                and self.inputs_fit(arrays[:n_layers], arrays[n_layers:-1], arrays[-1])):
            return arrays[:n_layers], arrays[n_layers:-1], arrays[-1]
        return (self.converted("weights", weights, 2), self.converted("biases", biases, 1),
                _arguments.real_array("X", X, self.dtype, shape=("n_samples", self.shape.sizes[0])))

    cdef int check_outputs(self, list dW, list db, dX, Py_ssize_t n, tuple inputs) except -1:
        cdef list outputs = [] if dX is None else [dX]
        cdef bint fit = dX is None or self.fits(dX, 2, n, self.shape.sizes[0], True)
        weights, biases, others = inputs
        if dW is not None:
            fit = fit and self.all_fit(dW, 2, True) and self.all_fit(db, 1, True)
            outputs = outputs + dW + db
        if not fit or not self.apart([*weights, *biases, *others.values()], outputs):
            self.explain_outputs(dW, db, dX, n, inputs)
        return 0


# ---- layers of the last calls -----------------------------------------------------------

cdef class CachedLayers:
    cdef bint take(self, list weights, list biases, X, hidden):
        if acquire(&self.taken):
            return False
        cdef LayerArrays arrays = self.arrays
        if (self.workspace is not None
                and (self.hidden is hidden or type(hidden) is tuple and self.hidden == hidden)
                and arrays.shape.kernels == kernels(arrays.shape.itemsize)
                and arrays.inputs_fit(weights, biases, X)):
            return True
        release(&self.taken)
        return False


cdef tuple CACHE = tuple([CachedLayers() for _ in range(CACHE_SIZE)])
cdef int replaced = 0


cdef CachedLayers cached_layers(list weights, list biases, X, hidden):
    cdef CachedLayers layers
    for layers in CACHE:
        if layers.take(weights, biases, X, hidden):
            return layers
    return None


cdef tuple in_one_dtype(list weights, list biases, X):
    cdef list arrays = [*weights, *biases, X]
    cdef int typenum = cnp.NPY_FLOAT
    for array in arrays:
        if not of_either_dtype(array):
            return weights, biases, X
        if cnp.PyArray_TYPE(array) == cnp.NPY_DOUBLE:
            typenum = cnp.NPY_DOUBLE
    arrays = made_ready(arrays, cnp.PyArray_DescrFromType(typenum))
    return arrays[:len(weights)], arrays[len(weights):-1], arrays[-1]


cdef CachedLayers new_layers(tuple sizes, dtype, hidden):
    """They take the place of the oldest in the cache that no call is using."""
    global replaced
    cdef list activations = [ACTIVATIONS[name].number for name in
                             _arguments.each_activation(hidden, len(sizes) - 2)]
    cdef Architecture architecture = Architecture(sizes, [*activations, IDENTITY], dtype.itemsize,
                                                  False)
    cdef LayerArrays arrays = LayerArrays(architecture, dtype)
    cdef Workspace workspace = Workspace(architecture, True, True)
    cdef CachedLayers layers, new = CachedLayers()
    acquire(&new.taken)
    for _ in range(CACHE_SIZE):
        replaced = (replaced + 1) % CACHE_SIZE
        layers = CACHE[replaced]
        if acquire(&layers.taken) == 0:
            new = layers
            break
    new.workspace = None            # a child forked here finds none, rather than half of them
    new.hidden, new.arrays, new.workspace = hidden, arrays, workspace
    return new
