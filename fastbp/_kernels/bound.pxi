# The running error bound of a gradient: e_x beside every computed x (_engine/certificate.pyx).
#
# From computed values, which the next step starts from: a step adds its own rounding, and what the
# error of its arguments may become. |act''| and |d ln act'/dz| are constants, so that relative
# errors stay relative where units saturate; e_z -> growth(e_z) >= e^e_z - 1:
#
#   sigma    e_h  = min(h growth, h' e_z + e_z^2 / 20, 1) + 2 u h
#            e_h' = min(h' growth, e_z / 10) + 4 u h'
#   tanh     e_h  = min(h' e_z + 2 e_z^2 / 5, e_z, 2) + 2 u |h|
#            e_h' = min(h' growth(2 e_z), 4 e_z / 5) + 4 u h'
#   relu     e_h  = max(0, min(z, 0) + e_z),  e_h' = 1 where |z| <= e_z, else 0
#   delta_l  e = (h' + e_h') e_g + |g| e_h' + u |delta|,  g = delta_{l+1} W^T
#   delta_L  e = min(M growth(E), max(p, 1) E / 4) + c u M,  M = (1 - t) f + p t (1 - f) being
#            |delta| for hard labels, p pos_weight or 1, E = e_z, or 2 max_k e_z_k of a softmax;
#            e_z of a squared error, f growth(e_z) + 2 u f of Poisson; times the sample's weight
#
# No term is negative, so a bound is off relatively, by no more than the roundings that led to it:
# UP covers those of one expression, and `scale` (of the caller) those of the product that follows.
# What underflows lose is counted as NORMAL, the least normal number, of which the least number is
# the 2 u part: an Intel CPU takes so long for each product of subnormal operands that a bound made
# of least numbers would take many times as long. Products with an exact zero lose nothing, and stay
# zero.

cdef extern from *:
    """
    #define UNIT ((real)1 / ((real)2 * (real)((int64_t)1 << MANTISSA)))
    #define UP ((real)1 + 16 * UNIT)
    #if MANTISSA == 23
    #define NORMAL 0x1p-126f
    #define LARGEST (4 * UNIT * 0x1p127f)
    #else
    #define NORMAL 0x1p-1022
    #define LARGEST (4 * UNIT * 0x1p1023)
    #endif
    """
    const real UNIT, UP, NORMAL, LARGEST

cdef enum:
    ROUNDINGS_OF_H = 2          # in units of u, as are the next
    ROUNDINGS_OF_SLOPE = 4
    ROUNDINGS_OF_DELTA = 5      # relative to M; twice that where two terms are left of it


cdef inline vec smaller(vec a, vec b) noexcept nogil:
    """min(a, b); b where a is NaN, as 0 times infinity is."""
    return choose(less(a, b), a, b)


cdef inline vec growth(vec e) noexcept nogil:
    """e^e - 1 is at most e + e^2 up to 1; beyond, nothing is claimed."""
    return choose(less(e, splat(1)), fma(e, e, e), splat(INFINITY))


cdef inline vec claimed(vec e, vec x) noexcept nogil:
    """e, or infinity where e is NaN or x is not finite: nothing is claimed there."""
    cdef vec infinity = splat(INFINITY)
    return choose(less(magnitude(x), infinity), choose(less(e, infinity), e, infinity), infinity)


cdef inline vec up(vec e) noexcept nogil:
    """A little more than the bound e, so that its own roundings and some underflows are covered."""
    return fma(e, splat(UP), splat(NORMAL))


cdef inline vec up_from(vec x, vec e) noexcept nogil:
    """The same for a bound made of products with x, which lose nothing where x is 0."""
    return choose(less(splat(0), x), up(e), e)


# ---- operands of products --------------------------------------------------------------

cdef void spread(memory out, source x, source e, double gamma, double scale, double lost,
                 Py_ssize_t size) noexcept nogil:
    """out = scale (gamma |x| + e) + lost NORMAL; e may be NULL, for 0, and out may be x."""
    cdef Py_ssize_t i, vector, lanes
    cdef vec a, e_a, g = splat(<real> gamma), s = splat(<real> scale)
    cdef vec underflows = splat(<real> lost * NORMAL)
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        a = magnitude(load_lanes(<const real*> x + i, lanes))
        e_a = load_lanes(<const real*> e + i, lanes) if e != NULL else splat(0)
        store_lanes(<real*> out + i, up_from(a + e_a, s * (g * a + e_a)) + underflows, lanes)


cdef inline void write_magnitudes(real* out, const real* x, Py_ssize_t size) noexcept nogil:
    """out = |x|."""
    spread(out, x, NULL, 1, 1, 0, size)


cdef void spread_delta(memory delta, memory e, double gamma, double scale,
                       Py_ssize_t size) noexcept nogil:
    """delta, e <- scale (gamma |delta| + e), scale (|delta| + e): the operands of E6."""
    cdef Py_ssize_t i, vector, lanes
    cdef vec d, e_d, g = splat(<real> gamma), s = splat(<real> scale)
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        d = magnitude(load_lanes(<const real*> delta + i, lanes))
        e_d = load_lanes(<const real*> e + i, lanes)
        store_lanes(<real*> delta + i, up_from(d + e_d, s * (g * d + e_d)), lanes)
        store_lanes(<real*> e + i, up_from(d + e_d, s * (d + e_d)), lanes)


# ---- E1, E4 ----------------------------------------------------------------------------

cdef inline void widen(vec* e, vec* e_slope, vec z, vec h, vec slope,
                       Activation activation) noexcept nogil:
    """e holds e_z, then e_h; e_slope is e_h'."""
    cdef vec e_z = claimed(e[0], z), u = splat(UNIT), size = magnitude(h), bend
    if activation == RELU:
        bend = choose(less(z, splat(0)), at_least(e_z - magnitude(z), splat(0)), e_z)
        e[0] = splat(UP) * choose(less(e_z, splat(INFINITY)), bend, e_z)
        e_slope[0] = choose(less(e_z, magnitude(z)), splat(0), splat(1))
        return
    if activation == TANH:
        bend = fma(slope, e_z, splat(<real> 0.4) * (e_z * e_z))
        e[0] = smaller(smaller(bend, e_z), splat(2))
        e_slope[0] = smaller(smaller(slope * growth(e_z + e_z), splat(<real> 0.8) * e_z), splat(1))
    else:
        bend = fma(slope, e_z, splat(<real> 0.05) * (e_z * e_z))
        e[0] = smaller(smaller(size * growth(e_z), bend), splat(1))
        e_slope[0] = smaller(smaller(slope * growth(e_z), splat(<real> 0.1) * e_z), splat(1))
    e[0] = up(fma(splat(ROUNDINGS_OF_H) * u, size, e[0]))
    e_slope[0] = up(fma(splat(ROUNDINGS_OF_SLOPE) * u, slope, e_slope[0]))


cdef void activate_within(memory h, memory slope, memory e, memory e_slope, Activation activation,
                          Py_ssize_t size) noexcept nogil:
    """h, slope <- act(z), act'(z), e, e_slope <- e_h, e_h'; h holds z, e holds e_z."""
    cdef Py_ssize_t i, vector, lanes
    cdef vec z, x, s, e_x, e_s
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        z = load_lanes(<const real*> h + i, lanes)
        e_x = load_lanes(<const real*> e + i, lanes)
        activations(&x, &s, &z, activation, 1)
        widen(&e_x, &e_s, z, x, s, activation)
        store_lanes(<real*> h + i, x, lanes)
        store_lanes(<real*> slope + i, s, lanes)
        store_lanes(<real*> e + i, e_x, lanes)
        store_lanes(<real*> e_slope + i, e_s, lanes)


# ---- E3, E5 ----------------------------------------------------------------------------

cdef inline vec labels(const real* y, const Target* target, Py_ssize_t row, Py_ssize_t j,
                       Py_ssize_t lanes, Py_ssize_t n_outputs) noexcept nogil:
    """t of the outputs [j, j + lanes) of a row."""
    cdef real hot[MOST_LANES]
    cdef Py_ssize_t i
    if not target.indices:
        return fma(splat(<real> target.scale), load_lanes(y + row * n_outputs + j, lanes),
                   splat(<real> target.shift))
    for i in range(lanes):
        hot[i] = 1 if y[row] == j + i else 0
    return fma(splat(<real> target.scale), load_lanes(hot, lanes), splat(<real> target.shift))


cdef inline vec gap_error(vec delta, vec f, vec t, vec p, vec w, vec e,
                          bint smoothed) noexcept nogil:
    """e_deltaL of two terms, delta / w = (1 - t) f - p t (1 - f); e bounds both logarithms' errors.

    M is |delta| and twice the smaller term; 1 - f is off by what f is. A smoothed t is off by three
    roundings, and what is lost below the least number is lost before p and w multiply it.
    """
    cdef vec u = splat(UNIT), one = splat(1), zero = splat(0), most = at_least(p, one)
    cdef vec rest = at_least(one - f, zero) + splat(8) * u
    cdef vec M = fma(w + w, smaller((one - t) * f, p * t * rest), magnitude(delta))
    cdef vec c = choose(less(zero, t * (one - t)), splat(2 * ROUNDINGS_OF_DELTA),
                        splat(ROUNDINGS_OF_DELTA))
    cdef vec out = smaller(M * growth(e), splat(<real> 0.25) * most * w * e)
    out = fma(most * w, splat(NORMAL), fma(c * u, M, out))
    return fma(splat(3) * u * t, most * w, out) if smoothed else out


cdef inline real largest_error(const real* e, const real* z, Py_ssize_t n_outputs) noexcept nogil:
    """max_k e_z_k of a row."""
    cdef real top = 0
    cdef Py_ssize_t j
    for j in range(n_outputs):
        if not (e[j] < INFINITY and -INFINITY < z[j] < INFINITY):
            return INFINITY
        top = max(top, e[j])
    return top


cdef void delta_within(memory e_delta, source delta, source f, source z, source e, source y,
                       source sample_weight, const Target* target, Activation output, Py_ssize_t n,
                       Py_ssize_t n_outputs) noexcept nogil:
    """e_deltaL from e_z; delta has the samples' weights in it."""
    cdef Py_ssize_t row, vector, j, lanes, o
    cdef const real* p = <const real*> target.pos_weight
    cdef vec e_z, e_top = splat(0), d, x, t, w = splat(1), u = splat(UNIT)
    for row in range(n):
        if sample_weight != NULL:
            w = splat((<const real*> sample_weight)[row])
            if (<const real*> sample_weight)[row] == 0:     # delta is 0, or NaN
                o = row * n_outputs
                write_magnitudes(<real*> e_delta + o, <const real*> delta + o, n_outputs)
                continue
        if output == SOFTMAX:
            o = row * n_outputs
            e_top = splat(2 * largest_error(<const real*> e + o, <const real*> z + o, n_outputs))
        for vector in range((n_outputs + VL - 1) // VL):
            j = vector * VL
            o = row * n_outputs + j
            lanes = min(<Py_ssize_t> VL, n_outputs - j)
            e_z = claimed(load_lanes(<const real*> e + o, lanes),
                          load_lanes(<const real*> z + o, lanes))
            d = load_lanes(<const real*> delta + o, lanes)
            x = load_lanes(<const real*> f + o, lanes)
            if output == SOFTMAX or output == SIGMOID:
                t = labels(<const real*> y, target, row, j, lanes, n_outputs)
                e_z = gap_error(d, x, t, load_lanes(p + j, lanes) if p != NULL else splat(1), w,
                                e_top if output == SOFTMAX else e_z, target.shift != 0)
            elif output == EXPONENTIAL:
                e_z = w * fma(x, growth(e_z) + splat(ROUNDINGS_OF_H) * u, splat(NORMAL))
            else:
                e_z = w * e_z
            store_lanes(<real*> e_delta + o, up(fma(splat(2) * u, magnitude(d), e_z)), lanes)


cdef void multiply_within(memory delta, memory e, source slope, source e_slope, double lost,
                          Py_ssize_t size) noexcept nogil:
    """E5: delta, e <- g * slope, e_delta; delta holds g, e holds e_g but for lost NORMAL.

    slope and e_slope may be NULL where act' is 1.
    """
    cdef Py_ssize_t i, vector, lanes
    cdef vec g, e_g, d, s, e_s, steepest = splat(1)
    cdef vec underflows = splat(<real> lost * NORMAL)
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        e_g = load_lanes(<const real*> e + i, lanes) + underflows
        if slope != NULL:
            g = load_lanes(<const real*> delta + i, lanes)
            s = load_lanes(<const real*> slope + i, lanes)
            e_s = load_lanes(<const real*> e_slope + i, lanes)
            d = g * s
            store_lanes(<real*> delta + i, d, lanes)
            steepest = s + e_s
            e_g = fma(steepest, e_g, magnitude(g) * e_s)
            e_g = fma(splat(UNIT), magnitude(d), e_g)
        store_lanes(<real*> e + i, up_from(steepest, e_g), lanes)


cdef void finish_bound(memory bound, source W, double l2, double rounding, double lost,
                       double divisor, Py_ssize_t size) noexcept nogil:
    """bound <- (bound + rounding l2 |W| + lost NORMAL) / divisor; W may be NULL where l2 is 0.

    `bound` has `rounding`, 6 u and more, of the magnitudes that were summed: below LARGEST no sum
    can have overflowed, and neither can a quotient. Above, nothing is claimed.
    """
    cdef Py_ssize_t i, vector, lanes
    cdef real factor = <real> (1.0 / divisor) * UP + NORMAL
    cdef vec e, w, infinity = splat(INFINITY), largest = splat(LARGEST)
    cdef vec penalty = splat(<real> l2), rounded = splat(<real> rounding)
    cdef vec underflows = splat(<real> lost * NORMAL * max(factor, 1))
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        e = load_lanes(<const real*> bound + i, lanes)
        if l2 != 0:         # which rounds, below the least number too
            w = magnitude(load_lanes(<const real*> W + i, lanes))
            e = fma(rounded, penalty * w, fma(splat(NORMAL), w, e))
        e = choose(less(e, largest), up(splat(factor) * e) + underflows, infinity)
        store_lanes(<real*> bound + i, choose(less(e, largest), e, infinity), lanes)
