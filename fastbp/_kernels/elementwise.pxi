# E1, E4: the activations with their derivatives, and the fused Hadamard product.
#
# With a = -|z| and E = e^a <= 1, q = sigma(-|z|) = E / (1 + E) is the tail that saturation
# needs: sigma(z) is q or 1 - q, sigma'(z) = q (1 - q) has no cancellation, and the loss
# and its delta are functions of q and E (loss.pxi).  Everything is one fixed sequence of
# IEEE operations (N2), so that every FMA variant gives the same bits.
#
#   a = n ln 2 + r, |r| <= ln2/2            two FMA steps, the low part of r is kept
#   e^r = head + low                        the rounding error of 1 + (r + t) is caught
#   q = 2^n head / (1 + E)                  one division, one residual step, scaled last
#
# tanh is the same with E = e^-2|z|: |tanh z| = (1 - E) / (1 + E), tanh' = 4 q (1 - q).
#
# Largest error found: `fastbp check` prints sigma's; tests/exactness/test_sigmoid.py and
# tests/exactness/test_activations.py bound them.

ctypedef struct Exponential:    # e^a = 2^n (head + low)
    vec sum         # n + SHIFTER
    vec head        # e^r, rounded
    vec low         # what rounding took from it

ctypedef struct Logistic:
    vec q           # sigma(-|z|)
    vec E           # e^-|z|
    vec E_low       # what rounding took from E
    vec inverse     # 1 / (1 + E)


cdef inline vec polynomial(const real* coefficients, int degree, vec x) noexcept nogil:
    """Horner's rule, highest power first."""
    cdef vec p = splat(coefficients[0])
    cdef int i
    for i in range(1, degree + 1):
        p = fma(p, x, splat(coefficients[i]))
    return p


cdef inline void exponentials(Exponential* out, const vec* a, const vec* a_low,
                              int count) noexcept nogil:
    """e^(a + a_low) of `count` vectors, a literal of at most 4, in lock-step; a_low may be NULL.

    a lies between EXP_LOWEST and EXP_HIGHEST. One vector is a chain of some 40 dependent
    operations; a CPU looks no further ahead than two or three of them, and has room for more.
    """
    cdef vec one = splat(1), shifter = splat(SHIFTER)
    cdef vec r[4]
    cdef vec r_low[4]
    cdef vec p[4]
    cdef vec n, r_high, low, t, s
    cdef int u, i
    for u in range(count):
        out[u].sum = fma(a[u], splat(LOG2E), shifter)
        n = out[u].sum - shifter
        r_high = fma(n, splat(-LN2_HI), a[u])                 # exact
        if a_low == NULL:
            r[u] = fma(n, splat(-LN2_LO), r_high)
            r_low[u] = fma(n, splat(-LN2_LO), r_high - r[u])
        else:
            low = fma(n, splat(-LN2_LO), a_low[u])
            r[u] = r_high + low
            r_low[u] = low + (r_high - r[u])
        p[u] = splat(EXP_SERIES[0])
    for i in range(1, EXP_SERIES_DEGREE + 1):
        for u in range(count):
            p[u] = fma(p[u], r[u], splat(EXP_SERIES[i]))
    for u in range(count):
        t = fma(r[u] * r[u], p[u], r_low[u])
        s = r[u] + t
        out[u].head = one + s
        out[u].low = (s - (out[u].head - one)) + (t - (s - r[u]))


cdef inline void logistics(Logistic* out, const vec* z, int count) noexcept nogil:
    """The Logistics of `count` vectors, a literal of at most 4, in lock-step."""
    cdef vec one = splat(1), lowest = splat(EXP_LOWEST)
    cdef Exponential e[4]
    cdef vec a[4]
    cdef vec d, d_low, q
    cdef int u
    for u in range(count):
        a[u] = at_least(descent(z[u]), lowest)
    exponentials(e, a, NULL, count)
    for u in range(count):
        out[u].E = scale2(e[u].head, e[u].sum)
        out[u].E_low = scale2(e[u].low, e[u].sum)
        out[u].inverse = one / (one + out[u].E)
    for u in range(count):
        d = one + out[u].E
        d_low = ((one - d) + out[u].E) + out[u].E_low         # 1 + e^a = d + d_low
        q = e[u].head * out[u].inverse
        q = fma(fma(-q, d_low, e[u].low) + residual(e[u].head, q, d), out[u].inverse, q)
        out[u].q = scale2(q, e[u].sum)


cdef inline Logistic logistic(vec z) noexcept nogil:
    cdef Logistic out
    logistics(&out, &z, 1)
    return out


cdef inline vec sigmoid_of(vec z, vec q) noexcept nogil:
    """sigma(z) from q = sigma(-|z|): q for z < 0, 1 - q otherwise (and for NaN)."""
    return choose(less(z, splat(0)), q, splat(1) - q)


cdef inline vec tanh_of(vec z, Logistic s) noexcept nogil:
    """tanh(z) from the Logistic of 2z: (1 - E) / (1 + E), both with their rounding errors."""
    cdef vec one = splat(1), d = one + s.E, n = one - s.E
    cdef vec d_low = ((one - d) + s.E) + s.E_low
    cdef vec n_low = ((one - n) - s.E) - s.E_low
    cdef vec N = n + n_low, h
    n_low = n_low - (N - n)                                   # 1 - e^-2|z| = N + n_low
    h = N * s.inverse
    h = fma(fma(-h, d_low, n_low) + residual(N, h, d), s.inverse, h)
    return signed_as(h, z)


cdef inline vec exponential_of(vec z) noexcept nogil:
    """e^z: infinite where it overflows, rounded once where it is subnormal."""
    cdef Exponential e
    cdef vec a = -at_least(-at_least(z, splat(EXP_LOWEST)), splat(-EXP_HIGHEST))
    exponentials(&e, &a, NULL, 1)
    return scale2(e.head + e.low, e.sum)


cdef inline vec log1p_of(vec x, vec x_low) noexcept nogil:
    """log(1 + x + x_low) without x, which is added last; x in [0, 1]."""
    return fma(x * x, polynomial(LOG1P_SERIES, LOG1P_SERIES_DEGREE, x), x_low)


cdef inline void activations(vec* h, vec* slope, const vec* z, Activation activation,
                             int count) noexcept nogil:
    """E1, E4 of `count` vectors, a literal of at most 4: act(z) and act'(z); h may be z."""
    cdef Logistic s[4]
    cdef vec argument[4]        # of sigma
    cdef vec scale = splat(1)
    cdef int u
    if activation == SIGMOID or activation == TANH:
        for u in range(count):
            argument[u] = z[u] + z[u] if activation == TANH else z[u]
        logistics(s, argument, count)
        for u in range(count):
            if activation == TANH:
                h[u] = tanh_of(z[u], s[u])
                scale = splat(4)
            else:
                h[u] = sigmoid_of(z[u], s[u].q)
            slope[u] = scale * (s[u].q * (splat(1) - s[u].q))
    elif activation == RELU:
        for u in range(count):
            slope[u] = choose(less(splat(0), z[u]), splat(1), splat(0))
            h[u] = at_least(z[u], splat(0))
    elif activation == EXPONENTIAL:
        for u in range(count):
            slope[u] = h[u] = exponential_of(z[u])
    else:
        for u in range(count):
            h[u] = z[u]
            slope[u] = splat(1)


cdef inline void activate_as(real* h, real* slope, const real* z, Activation activation,
                             Py_ssize_t size) noexcept nogil:
    """LOGISTICS vectors at a time; quicker where `activation` is a literal."""
    cdef Py_ssize_t i, vector, lanes, groups = size // (LOGISTICS * VL)
    cdef vec x[4]
    cdef vec slopes[4]
    cdef int u
    for vector in range(groups):
        i = vector * LOGISTICS * VL
        for u in range(LOGISTICS):
            x[u] = load(z + i + u * VL)
        activations(x, slopes, x, activation, LOGISTICS)
        for u in range(LOGISTICS):
            store(h + i + u * VL, x[u])
        if slope != NULL:
            for u in range(LOGISTICS):
                store(slope + i + u * VL, slopes[u])
    for vector in range(groups * LOGISTICS, (size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x[0] = load_lanes(z + i, lanes)
        activations(x, slopes, x, activation, 1)
        store_lanes(h + i, x[0], lanes)
        if slope != NULL:
            store_lanes(slope + i, slopes[0], lanes)


cdef void activate(memory h, memory slope, source z, Activation activation,
                   Py_ssize_t size) noexcept nogil:
    """E1, E4: h = act(z), slope = act'(z); slope may be NULL, h may be z."""
    if activation == SIGMOID:
        activate_as(<real*> h, <real*> slope, <const real*> z, SIGMOID, size)
    elif activation == TANH:
        activate_as(<real*> h, <real*> slope, <const real*> z, TANH, size)
    elif activation == RELU:
        activate_as(<real*> h, <real*> slope, <const real*> z, RELU, size)
    elif activation == EXPONENTIAL:
        activate_as(<real*> h, <real*> slope, <const real*> z, EXPONENTIAL, size)
    else:
        activate_as(<real*> h, <real*> slope, <const real*> z, activation, size)


cdef void sigmoid_backward(memory out, source grad, source h, Py_ssize_t size) noexcept nogil:
    """E4: out = grad * h * (1 - h), from h alone: 1 - h has the rounding error of h."""
    cdef Py_ssize_t i, vector, lanes
    cdef vec g, s
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        g = load_lanes(<const real*> grad + i, lanes)
        s = load_lanes(<const real*> h + i, lanes)
        store_lanes(<real*> out + i, g * (s * (splat(1) - s)), lanes)


cdef void multiply(memory out, source a, source b, Py_ssize_t size) noexcept nogil:
    """The Hadamard product out = a * b."""
    cdef Py_ssize_t i, vector, lanes
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        store_lanes(<real*> out + i, load_lanes(<const real*> a + i, lanes)
                    * load_lanes(<const real*> b + i, lanes), lanes)
