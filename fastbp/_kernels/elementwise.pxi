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


cdef inline Logistic logistic(vec z) noexcept nogil:
    cdef Logistic out
    cdef vec one = splat(1), magic = splat(ROUND_MAGIC), lowest = splat(EXP_LOWEST)
    cdef vec a, n, r_hi, r, r_lo, t, s, head, tail, d, d_lo, q
    a = -magnitude(z)
    a = choose(less(a, lowest), lowest, a)
    n = fma(a, splat(LOG2E), magic) - magic
    r_hi = fma(n, splat(-LN2_HI), a)                      # exact
    r = fma(n, splat(-LN2_LO), r_hi)
    r_lo = fma(n, splat(-LN2_LO), r_hi - r)
    t = fma(r * r, polynomial(EXP_TAIL, EXP_TAIL_DEGREE, r), r_lo)
    s = r + t
    head = one + s
    tail = (s - (head - one)) + (t - (s - r))             # e^r = head + tail
    out.E = scale2(head, n)
    out.E_tail = scale2(tail, n)
    d = one + out.E
    d_lo = ((one - d) + out.E) + out.E_tail               # 1 + e^a = d + d_lo
    out.inverse = one / d
    q = head * out.inverse
    q = fma(fma(-q, d_lo, tail) + residual(head, q, d), out.inverse, q)
    out.q = scale2(q, n)
    return out


cdef inline vec sigmoid_of(vec z, vec q) noexcept nogil:
    """sigma(z) from its tail: q for z < 0, 1 - q otherwise (and for NaN)."""
    return choose(less(z, splat(0)), q, splat(1) - q)


cdef void sigmoid(memory h, source z, Py_ssize_t size) noexcept nogil:
    """E1: h = sigma(z)."""
    cdef Py_ssize_t i, block, lanes
    cdef vec x
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x = load_lanes(<const real*> z + i, lanes)
        store_lanes(<real*> h + i, sigmoid_of(x, logistic(x).q), lanes)


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
