# E1, E2, E3 of a softmax over the outputs of a sample, from logits.
#
# With m = max_j z_j, E_j = e^(z_j - m), R the sum of all E_j but the largest, S = 1 + R:
#   p_j     = E_j / S
#   loss    = sum_j t_j ((m - z_j) + log S)
#   delta_j = p_j - t_j, or (1 - t_j) - R / S for the largest where t_j > 1/2
# A sample that is classified right has R << 1 and keeps the relative accuracy of all three:
# log S is log1p(R) there, and 1 - p is R / S. The rounding error of z_j - m is an argument of
# its own: e^a has an error of |a| times that of a. R is summed in float64 with its rounding
# errors, ascending, whatever the vector width.
#
# One z_j of +infinity has the limit: p_j = 1, and a loss of infinity where t is not 0 elsewhere.
# With two of them, or where all are -infinity, there is no limit, and loss, p and delta are NaN:
# z - m is inf - inf for a class that is not the largest, and its e^(z - m) makes R a NaN.

cdef inline Py_ssize_t largest(const real* z, Py_ssize_t n) noexcept nogil:
    """Index of the first of the largest."""
    cdef Py_ssize_t j, top = 0
    cdef real m = z[0]
    for j in range(1, n):
        if z[j] > m:
            m, top = z[j], j
    return top


cdef void shifted_exponentials(real* E, const real* z, const Py_ssize_t* top, Py_ssize_t n,
                               Py_ssize_t n_outputs) noexcept nogil:
    """E_ij = e^(z_ij - m_i), LOGISTICS vectors at a time, row after row; E may be z."""
    cdef vec a[4]
    cdef vec a_low[4]
    cdef Exponential e[4]
    cdef Py_ssize_t o[4]
    cdef Py_ssize_t lanes[4]
    cdef Py_ssize_t vectors = (n_outputs + VL - 1) // VL
    cdef Py_ssize_t i = 0, j = 0, group, last = n * vectors - 1
    cdef vec m = splat(0), x, back, lowest = splat(EXP_LOWEST)
    cdef int u
    for group in range(last // LOGISTICS + 1):
        for u in range(LOGISTICS):
            o[u] = i * n_outputs + j * VL
            lanes[u] = min(<Py_ssize_t> VL, n_outputs - j * VL)
            if j == 0:
                m = splat(z[o[u] + top[i]])
            x = load_lanes(z + o[u], lanes[u])
            a[u] = x - m
            back = a[u] - x
            a_low[u] = (x - (a[u] - back)) - (m + back)         # a + a_low = x - m
            a_low[u] = choose(less(lowest, a[u]), a_low[u], splat(0))
            a[u] = at_least(a[u], lowest)
            if j < vectors - 1:
                j += 1
            elif i < n - 1:
                i += 1
                j = 0
        exponentials(e, a, a_low, LOGISTICS)
        for u in range(LOGISTICS):
            store_lanes(E + o[u], scale2(e[u].head + e[u].low, e[u].sum), lanes[u])


ctypedef struct Sum:        # high + low, low being a rounding error of high
    double high
    double low


cdef inline Sum rest_of(real* E, Py_ssize_t n_outputs, Py_ssize_t top) noexcept nogil:
    """R of one sample: the sum of all E_j but the largest, which is left as 1 for any m."""
    cdef Sum rest
    cdef double s, x, back
    cdef Py_ssize_t j
    rest.high, rest.low, E[top] = 0, 0, 0
    for j in range(n_outputs):
        x = <double> E[j]
        s = rest.high + x
        back = s - rest.high
        rest.low += (rest.high - (s - back)) + (x - back)
        rest.high = s
    E[top] = 1
    return rest


cdef inline Sum one_plus(Sum rest) noexcept nogil:
    """S = 1 + R."""
    cdef double s = 1.0 + rest.high, back = s - 1.0
    cdef double low = ((1.0 - (s - back)) + (rest.high - back)) + rest.low
    cdef Sum out
    out.high = s + low
    out.low = low - (out.high - s)
    return out


cdef void logarithms(double* out, const Sum* rest, Py_ssize_t n) noexcept nogil:
    """log S = k ln 2 + log1p(x) of at most VL samples, S = 2^k (1 + x), x in [0, 1)."""
    cdef real x[MOST_LANES]
    cdef real x_low[MOST_LANES]
    cdef double k[MOST_LANES]
    cdef double half
    cdef Sum S
    cdef vec v
    cdef Py_ssize_t i
    for i in range(VL):
        x[i], x_low[i], k[i] = 0, 0, 0
    for i in range(n):
        S, half = one_plus(rest[i]), 1.0
        while S.high * half >= 2.0:
            half *= 0.5
            k[i] += 1.0
        if k[i] > 0:
            S.high = S.high * half - 1.0
            S.low *= half
        else:
            S = rest[i]
        x[i] = <real> S.high
        x_low[i] = <real> ((S.high - <double> x[i]) + S.low)
    v = load(x)
    store(x, v + log1p_of(v, load(x_low) / (splat(1) + v)))
    for i in range(n):
        out[i] = k[i] * <double> LN2_HI + (k[i] * <double> LN2_LO + <double> x[i])


ctypedef struct Sample:     # one row of the batch
    const real* z           # IN
    const real* y           # IN  targets, or the class
    Py_ssize_t top          # the largest
    Py_ssize_t true         # the class, or `top`
    double m
    double S
    double share            # R / S
    double log              # of S
    double weight


cdef inline void write_outputs(real* terms, real* delta, const Sample* s, Py_ssize_t j,
                               Py_ssize_t lanes, vec E, vec t) noexcept nogil:
    """Loss and delta of the outputs [j, j + lanes)."""
    cdef vec gap = E / splat(<real> s.S) - t
    cdef vec log = (splat(<real> s.m) - load_lanes(s.z + j, lanes)) + splat(<real> s.log)
    store_lanes(terms + j, choose(less(splat(0), t), t * log, splat(0)), lanes)
    if delta != NULL:
        store_lanes(delta + j, splat(<real> s.weight) * gap, lanes)


cdef inline void write_largest(real* terms, real* delta, const Sample* s,
                               double t) noexcept nogil:
    """The same for the largest output, in float64.

    Of a sample that is classified right, its loss is nearly all of the sample's, and its delta is
    the sum of all others': their relative accuracy is that of the sample.
    """
    cdef Py_ssize_t j = s.top
    terms[j] = <real> (t * s.log)
    if delta != NULL:
        delta[j] = <real> (s.weight * ((1.0 - t) - s.share if t > 0.5 else 1.0 / s.S - t))


cdef inline void write_sample(real* terms, real* delta, const Sample* s, const Target* target,
                              Py_ssize_t n_outputs) noexcept nogil:
    """All outputs of a sample; `terms` holds E and takes the losses."""
    cdef Py_ssize_t vector, j, lanes
    cdef vec t, shift = splat(<real> target.shift), scale = splat(<real> target.scale)
    cdef real E_true = terms[s.true]
    cdef double y_top = 0
    for vector in range((n_outputs + VL - 1) // VL):
        j = vector * VL
        lanes = min(<Py_ssize_t> VL, n_outputs - j)
        t = shift
        if not target.indices:
            t = fma(scale, load_lanes(s.y + j, lanes), shift)
        write_outputs(terms, delta, s, j, lanes, load_lanes(terms + j, lanes), t)
    if not target.indices:
        y_top = <double> s.y[s.top]
    elif s.true == s.top:
        y_top = 1
    else:
        write_outputs(terms, delta, s, s.true, 1, splat(E_true), fma(scale, splat(1), shift))
    write_largest(terms, delta, s, target.scale * y_top + target.shift)


cdef void softmax_with_logits(memory losses, memory delta, source z, source y,
                              source sample_weight, const Target* target, Py_ssize_t n,
                              Py_ssize_t n_outputs) noexcept nogil:
    """E2, E3 of blocks of VL samples; `losses` holds E until the loss is known."""
    cdef Sum rest[MOST_LANES]
    cdef double log[MOST_LANES]
    cdef Py_ssize_t top[MOST_LANES]
    cdef Py_ssize_t block, row, i, rows, o
    cdef real* E
    cdef Sample s
    for block in range((n + VL - 1) // VL):
        row = block * VL
        rows = min(<Py_ssize_t> VL, n - row)
        E = <real*> losses + row * n_outputs
        for i in range(rows):
            top[i] = largest(<const real*> z + (row + i) * n_outputs, n_outputs)
        shifted_exponentials(E, <const real*> z + row * n_outputs, top, rows, n_outputs)
        for i in range(rows):
            rest[i] = rest_of(E + i * n_outputs, n_outputs, top[i])
        logarithms(log, rest, rows)
        for i in range(rows):
            o = (row + i) * n_outputs
            s.z, s.y = <const real*> z + o, <const real*> y + (row + i if target.indices else o)
            s.top = s.true = top[i]
            if target.indices:      # in range when checked; no later change leads outside
                s.true = max(<Py_ssize_t> 0, min(<Py_ssize_t> s.y[0], n_outputs - 1))
            s.m, s.log = <double> s.z[s.top], log[i]
            s.S = one_plus(rest[i]).high
            s.share = (rest[i].high + rest[i].low) / s.S
            s.weight = 1.0
            if sample_weight != NULL:
                s.weight = <double> (<const real*> sample_weight)[row + i]
            write_sample(E + i * n_outputs, <real*> delta + o if delta != NULL else NULL, &s,
                         target, n_outputs)


cdef void softmax(memory h, source z, Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil:
    """E1: h_ij = p_ij; h may be z."""
    cdef Py_ssize_t i, vector, j, lanes, top
    cdef real* p
    cdef vec S
    for i in range(n):
        p = <real*> h + i * n_outputs
        top = largest(<const real*> z + i * n_outputs, n_outputs)
        shifted_exponentials(p, <const real*> z + i * n_outputs, &top, 1, n_outputs)
        S = splat(<real> one_plus(rest_of(p, n_outputs, top)).high)
        for vector in range((n_outputs + VL - 1) // VL):
            j = vector * VL
            lanes = min(<Py_ssize_t> VL, n_outputs - j)
            store_lanes(p + j, load_lanes(p + j, lanes) / S, lanes)
