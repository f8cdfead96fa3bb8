# E2, E3: binary cross-entropy from logits.
#
# With q = sigma(-|z|) and E = e^-|z| from elementwise.pxi:
#   loss  = max(z, 0) - y z + log1p(E)                 for y = 0 or 1 the first two are exact
#   delta = f - y = z >= 0 ? (1 - y) - q : q - y       y = 1 and large z: -q, no cancellation
# log1p(E) = E + E^2 P(E) + E_tail / (1 + E): one polynomial on [0, 1], the tail of E added
# back. The first part of the loss and E are added first, with their rounding error.
#
# The loss is summed in float64 (N3): element i of the batch goes to partial sum i mod 8,
# whatever the vector width or the number of threads; blocks of 256 rows keep that phase.

cdef inline vec loss_of_logit(vec z, vec y, Logistic tail) noexcept nogil:
    """E2: max(z, 0) - y z + log1p(e^-|z|)."""
    cdef vec zero = splat(0), infinity = splat(INFINITY)
    cdef vec linear = fma(-y, z, choose(less(zero, z), z, zero))
    cdef vec s = linear + tail.E, back = s - linear
    cdef vec rest = (linear - (s - back)) + (tail.E - back)         # s + rest = linear + E
    rest = choose(less(magnitude(s), infinity), rest, zero)
    return s + fma(tail.E * tail.E, polynomial(LOG1P_TAIL, LOG1P_TAIL_DEGREE, tail.E),
                   fma(tail.E_tail, tail.inverse, rest))


cdef void bce_with_logits(memory losses, memory delta, source z, source y,
                          source sample_weight, Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil:
    """E2 of each output, not weighted, into losses, E3 into delta, both (n, n_outputs)."""
    cdef const real* w = <const real*> sample_weight
    cdef Py_ssize_t size = n * n_outputs, block, i, j, lanes
    cdef real weights[16]
    cdef vec x, t, zero = splat(0)
    cdef Logistic tail
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x = load_lanes(<const real*> z + i, lanes)
        t = load_lanes(<const real*> y + i, lanes)
        tail = logistic(x)
        store_lanes(<real*> losses + i, loss_of_logit(x, t, tail), lanes)
        if delta == NULL:
            continue
        x = choose(less(x, zero), tail.q - t, (splat(1) - t) - tail.q)
        if w != NULL:
            for j in range(lanes):
                weights[j] = w[(i + j) // n_outputs]
            x = x * load_lanes(weights, lanes)
        store_lanes(<real*> delta + i, x, lanes)


cdef void add_losses(double* sums, source losses, source sample_weight, Py_ssize_t n,
                     Py_ssize_t n_outputs) noexcept nogil:
    """E2: the weighted losses, element i into partial sum i mod 8 (N3)."""
    cdef const real* loss = <const real*> losses
    cdef const real* w = <const real*> sample_weight
    cdef Py_ssize_t i
    if w == NULL:
        for i in range(n * n_outputs):
            sums[i & 7] += <double> loss[i]
    else:
        for i in range(n * n_outputs):
            sums[i & 7] += <double> w[i // n_outputs] * <double> loss[i]


cdef Py_ssize_t first_outside(source y, double most, Py_ssize_t size) noexcept nogil:
    """Index of the first target or weight outside [0, most], or -1."""
    cdef const real* t = <const real*> y
    cdef Py_ssize_t i
    for i in range(size):
        if not (0 <= t[i] <= most):
            return i
    return -1


cdef double total(source weights, Py_ssize_t size) noexcept nogil:
    """The sum in float64, ascending: the divisor of reduction="mean"."""
    cdef const real* w = <const real*> weights
    cdef double s = 0
    cdef Py_ssize_t i
    for i in range(size):
        s += <double> w[i]
    return s
