# E1, E4: the logistic function, its derivative and the fused Hadamard product.
#
# With a = -|z| and E = e^a <= 1, q = sigma(-|z|) = E / (1 + E) is the tail that saturation
# needs: sigma(z) is q or 1 - q, sigma'(z) = q (1 - q) has no cancellation, and the loss
# and its delta are functions of q and E (loss.pxi).  Everything is one fixed sequence of
# IEEE operations (N2), so that every FMA variant gives the same bits.
#
#   a = n ln 2 + r, |r| <= ln2/2            two FMA steps, the low part of r is kept
#   e^r = head + tail                       the rounding error of 1 + (r + t) is caught
#   q = 2^n head / (1 + E)                  one division, one residual step, scaled last
#
# Largest error found: `fastbp check` prints it; tests/test_sigmoid.py bounds it.

ctypedef struct Logistic:
    vec q           # sigma(-|z|)
    vec E           # e^-|z|
    vec E_tail      # what rounding took from E
    vec inverse     # 1 / (1 + E)


cdef inline vec polynomial(const real* coefficients, int degree, vec x) noexcept nogil:
    """Horner's rule, highest power first."""
    cdef vec p = splat(coefficients[0])
    cdef int i
    for i in range(1, degree + 1):
        p = fma(p, x, splat(coefficients[i]))
    return p


cdef inline void logistics(Logistic* out, const vec* z, int count) noexcept nogil:
    """The tails of `count` vectors, a literal of at most 4, in lock-step.

    One vector is a chain of some 40 dependent operations; a CPU looks no further ahead than
    two or three of them, and has room for more.
    """
    cdef vec one = splat(1), shifter = splat(SHIFTER), lowest = splat(EXP_LOWEST)
    cdef vec sum[4]
    cdef vec r[4]
    cdef vec r_lo[4]
    cdef vec p[4]
    cdef vec head[4]
    cdef vec tail[4]
    cdef vec a, n, r_hi, t, s, d, d_lo, q
    cdef int u, i
    for u in range(count):
        a = at_least(descent(z[u]), lowest)
        sum[u] = fma(a, splat(LOG2E), shifter)
        n = sum[u] - shifter
        r_hi = fma(n, splat(-LN2_HI), a)                      # exact
        r[u] = fma(n, splat(-LN2_LO), r_hi)
        r_lo[u] = fma(n, splat(-LN2_LO), r_hi - r[u])
        p[u] = splat(EXP_TAIL[0])
    for i in range(1, EXP_TAIL_DEGREE + 1):
        for u in range(count):
            p[u] = fma(p[u], r[u], splat(EXP_TAIL[i]))
    for u in range(count):
        t = fma(r[u] * r[u], p[u], r_lo[u])
        s = r[u] + t
        head[u] = one + s
        tail[u] = (s - (head[u] - one)) + (t - (s - r[u]))    # e^r = head + tail
    for u in range(count):
        out[u].E = scale2(head[u], sum[u])
        out[u].E_tail = scale2(tail[u], sum[u])
        out[u].inverse = one / (one + out[u].E)
    for u in range(count):
        d = one + out[u].E
        d_lo = ((one - d) + out[u].E) + out[u].E_tail         # 1 + e^a = d + d_lo
        q = head[u] * out[u].inverse
        q = fma(fma(-q, d_lo, tail[u]) + residual(head[u], q, d), out[u].inverse, q)
        out[u].q = scale2(q, sum[u])


cdef inline Logistic logistic(vec z) noexcept nogil:
    cdef Logistic out
    logistics(&out, &z, 1)
    return out


cdef inline vec sigmoid_of(vec z, vec q) noexcept nogil:
    """sigma(z) from its tail: q for z < 0, 1 - q otherwise (and for NaN)."""
    return choose(less(z, splat(0)), q, splat(1) - q)


cdef void sigmoid(memory h, source z, Py_ssize_t size) noexcept nogil:
    """E1: h = sigma(z)."""
    cdef Py_ssize_t i, block, lanes, groups = size // (LOGISTICS * VL)
    cdef vec x[4]
    cdef Logistic tail[4]
    cdef int u
    for block in range(groups):
        i = block * LOGISTICS * VL
        for u in range(LOGISTICS):
            x[u] = load(<const real*> z + i + u * VL)
        logistics(tail, x, LOGISTICS)
        for u in range(LOGISTICS):
            store(<real*> h + i + u * VL, sigmoid_of(x[u], tail[u].q))
    for block in range(groups * LOGISTICS, (size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x[0] = load_lanes(<const real*> z + i, lanes)
        store_lanes(<real*> h + i, sigmoid_of(x[0], logistic(x[0]).q), lanes)


cdef void sigmoid_backward(memory out, source grad, source h, Py_ssize_t size) noexcept nogil:
    """E4: out = grad * h * (1 - h), from h alone: 1 - h has the rounding error of h."""
    cdef Py_ssize_t i, block, lanes
    cdef vec g, s
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        g = load_lanes(<const real*> grad + i, lanes)
        s = load_lanes(<const real*> h + i, lanes)
        store_lanes(<real*> out + i, g * (s * (splat(1) - s)), lanes)


cdef void multiply(memory out, source a, source b, Py_ssize_t size) noexcept nogil:
    """The Hadamard product out = a * b."""
    cdef Py_ssize_t i, block, lanes
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        store_lanes(<real*> out + i, load_lanes(<const real*> a + i, lanes)
                    * load_lanes(<const real*> b + i, lanes), lanes)
