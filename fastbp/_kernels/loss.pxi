# E2, E3 of the losses that treat every output alone, from logits; t is the (smoothed) target.
#
# Binary cross-entropy, with q = sigma(-|z|) and E = e^-|z| from elementwise.pxi:
#   loss  = max(z, 0) - t z + log1p(E)                 for t = 0 or 1 the first two are exact
#   delta = f - t = z >= 0 ? (1 - t) - q : q - t       t = 1 and large z: -q, no cancellation
# log1p(E) = E + E^2 P(E) + E_low / (1 + E): one polynomial on [0, 1], the rounding error of E
# added back. The first part of the loss and E are added first, with their rounding error.
# Where positives count p times, c = (1 - t) + p t:
#   loss  = c log1p(E) + (z >= 0 ? (1 - t) z : -p t z)
#   delta = c f - p t = z >= 0 ? (1 - t) - c q : c q - p t
#
# Squared error:  loss = (z - t)^2 / 2,  delta = z - t
# Poisson:        loss = e^z - t z,      delta = e^z - t
#
# An infinite z has the limit of each loss. Where a formula misses it, by 0 times infinity or a
# difference of infinities, it gives NaN, which is looked for once, behind the loop: within it, the
# choice of a limit would cost every call something. z - t of two infinities has no limit, and stays
# NaN.
#
# The loss is summed in float64 (N3): element i of the batch goes to partial sum i mod 8,
# whatever the vector width or the number of threads; blocks of 256 rows keep that phase.

ctypedef enum Kind:
    BCE
    SQUARED_ERROR
    POISSON

ctypedef struct Terms:
    vec loss
    vec delta


cdef inline Terms bce_terms(vec z, vec t) noexcept nogil:
    """E2, E3 of binary cross-entropy."""
    cdef vec zero = splat(0)
    cdef Logistic s = logistic(z)
    cdef vec linear = fma(-t, z, choose(less(zero, z), z, zero))
    cdef vec sum = linear + s.E, back = sum - linear
    cdef vec rest = (linear - (sum - back)) + (s.E - back)         # sum + rest = linear + E
    cdef Terms out
    out.delta = choose(less(z, zero), s.q - t, (splat(1) - t) - s.q)
    out.loss = sum + log1p_of(s.E, fma(s.E_low, s.inverse, rest))
    return out


cdef inline Terms weighted_bce_terms(vec z, vec t, vec p) noexcept nogil:
    """E2, E3 where positives count p times."""
    cdef vec zero = splat(0)
    cdef Logistic s = logistic(z)
    cdef vec positive = p * t, negative = splat(1) - t, c = negative + positive
    cdef vec log = s.E + log1p_of(s.E, s.E_low * s.inverse)
    cdef Terms out
    out.loss = fma(c, log, choose(less(z, zero), -positive * z, negative * z))
    out.delta = choose(less(z, zero), fma(c, s.q, -positive), fma(-c, s.q, negative))
    return out


cdef inline Terms terms_of(Kind kind, vec z, vec t) noexcept nogil:
    """E2, E3 of any of the three."""
    cdef Terms out
    if kind == BCE:
        return bce_terms(z, t)
    if kind == SQUARED_ERROR:
        out.delta = z - t
        out.loss = splat(0.5) * out.delta * out.delta
        return out
    cdef vec f = exponential_of(z)
    out.delta = f - t
    out.loss = fma(-t, z, f)
    return out


cdef inline vec countable(vec x, vec w) noexcept nogil:
    """x, but between -1 and 1 where w is 0, so that w times it is 0 even for an infinite x."""
    cdef vec least = splat(-1)
    return choose(less(splat(0), w), x, at_least(-at_least(-x, least), least))


cdef inline vec counted(vec x, vec w) noexcept nogil:
    """w x, which is 0 where w is 0 and x infinite."""
    return w * countable(x, w)


cdef inline void put_limits(Kind kind, real* losses, const real* z, source y,
                            const Target* target, Py_ssize_t size) noexcept nogil:
    """E2 where a loss is NaN and z is not: 0 if the target agrees with z, infinity if not."""
    cdef real t[MOST_LANES]
    cdef Py_ssize_t i
    cdef vec scale = splat(<real> target.scale), shift = splat(<real> target.shift)
    cdef bint agrees
    for i in range(size):
        if losses[i] == losses[i] or z[i] != z[i]:
            continue
        store(t, fma(scale, splat((<const real*> y)[i]), shift))
        agrees = t[0] == 0 if z[i] < 0 else kind == BCE and t[0] == 1
        losses[i] = 0 if agrees else INFINITY


cdef inline vec of_rows(const real* values, Py_ssize_t i, Py_ssize_t lanes,
                        Py_ssize_t n_outputs) noexcept nogil:
    """The value of the row that each of the elements from i on lies in."""
    cdef real out[MOST_LANES]
    cdef Py_ssize_t j
    for j in range(lanes):
        out[j] = values[(i + j) // n_outputs]
    return load_lanes(out, lanes)


cdef inline vec of_columns(const real* values, Py_ssize_t i, Py_ssize_t lanes,
                           Py_ssize_t n_outputs) noexcept nogil:
    """The value of the column that each of the elements from i on lies in."""
    cdef real out[MOST_LANES]
    cdef Py_ssize_t j
    for j in range(lanes):
        out[j] = values[(i + j) % n_outputs]
    return load_lanes(out, lanes)


cdef inline void each_output(Kind kind, memory losses, memory delta, source z, source y,
                             source sample_weight, const Target* target, Py_ssize_t n,
                             Py_ssize_t n_outputs, bint networks) noexcept nogil:
    """E2 of each output, not weighted, into losses, E3 into delta, both (n, n_outputs).

    With `networks` as lanes a vector is one output of them all.
    """
    cdef Py_ssize_t size = n * n_outputs * (VL if networks else 1), vector, i, lanes
    cdef vec x, t, w, scale = splat(<real> target.scale), shift = splat(<real> target.shift)
    cdef vec seen = splat(0)
    cdef Terms out
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x = load_lanes(<const real*> z + i, lanes)
        t = fma(scale, load_lanes(<const real*> y + i, lanes), shift)
        if kind == BCE and target.pos_weight != NULL:
            w = (splat((<const real*> target.pos_weight)[vector % n_outputs]) if networks else
                 of_columns(<const real*> target.pos_weight, i, lanes, n_outputs))
            out = weighted_bce_terms(x, t, w)
        else:
            out = terms_of(kind, x, t)
        store_lanes(<real*> losses + i, out.loss, lanes)
        seen = seen + out.loss
        if delta == NULL:
            continue
        if sample_weight != NULL:
            w = (load(<const real*> sample_weight + vector // n_outputs * VL) if networks else
                 of_rows(<const real*> sample_weight, i, lanes, n_outputs))
            out.delta = w * out.delta if kind == BCE else counted(out.delta, w)
        store_lanes(<real*> delta + i, out.delta, lanes)
    if kind != SQUARED_ERROR and any_nan(seen):
        put_limits(kind, <real*> losses, <const real*> z, y, target, size)


cdef void bce_with_logits(memory losses, memory delta, source z, source y,
                          source sample_weight, const Target* target, Py_ssize_t n,
                          Py_ssize_t n_outputs) noexcept nogil:
    each_output(BCE, losses, delta, z, y, sample_weight, target, n, n_outputs, False)


cdef void squared_error(memory losses, memory delta, source z, source y,
                        source sample_weight, const Target* target, Py_ssize_t n,
                        Py_ssize_t n_outputs) noexcept nogil:
    each_output(SQUARED_ERROR, losses, delta, z, y, sample_weight, target, n, n_outputs, False)


cdef void poisson_with_logits(memory losses, memory delta, source z, source y,
                              source sample_weight, const Target* target, Py_ssize_t n,
                              Py_ssize_t n_outputs) noexcept nogil:
    each_output(POISSON, losses, delta, z, y, sample_weight, target, n, n_outputs, False)


# ---- sums and ranges -------------------------------------------------------------------

cdef void add_losses(Totals* totals, source losses, source sample_weight, Py_ssize_t n,
                     Py_ssize_t n_outputs) noexcept nogil:
    """E2: the weighted losses, element i into partial sum i mod 8 (N3); 0 times infinity is 0."""
    cdef const real* loss = <const real*> losses
    cdef const real* w = <const real*> sample_weight
    cdef double* sums = totals.losses
    cdef Py_ssize_t i
    cdef double x
    if w == NULL:
        for i in range(n * n_outputs):
            sums[i & 7] += <double> loss[i]
    else:
        for i in range(n * n_outputs):
            x = <double> w[i // n_outputs] * <double> loss[i]
            if x == x or loss[i] != loss[i]:
                sums[i & 7] += x


cdef void add_weights(Totals* totals, source sample_weight, Py_ssize_t n) noexcept nogil:
    """What the weights add up to, into totals.weight."""
    totals.weight += total(sample_weight, n)


cdef Py_ssize_t first_outside(source y, double most, bint integral,
                              Py_ssize_t size) noexcept nogil:
    """Index of the first target or weight that is outside [0, most] or no integer, or -1."""
    cdef const real* t = <const real*> y
    cdef Py_ssize_t i
    for i in range(size):
        if not (0 <= t[i] <= most) or integral and t[i] != <real> (<Py_ssize_t> t[i]):
            return i
    return -1


cdef Py_ssize_t first_unnormalised(source y, double tolerance, Py_ssize_t n,
                                   Py_ssize_t n_outputs) noexcept nogil:
    """The first row whose sum in float64 is not 1 within the tolerance, or -1."""
    cdef Py_ssize_t i
    for i in range(n):
        if not (-tolerance <= total(<const real*> y + i * n_outputs, n_outputs) - 1 <= tolerance):
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
