# Gaussian noise from the raw 64-bit output of a bit generator (N6); `_random.normals` is the twin.
#
# Two draws a and b make two normal numbers that are independent (Box and Muller, 1958):
#
#   u = (floor(a / 2^12) + 1/2) 2^-52                      in (0, 1)
#   t = (floor(b / 2^10) mod 2^52 + 1/2) 2^-52 - 1/2       in (-1/2, 1/2)
#   r = sqrt(-2 ln u),  c = +-cos(pi/2 t),  s = sin(pi/2 t)    bit 62 of b: the minus
#   r c and r s, or r s and r c where bit 63 of b is set
#
# u, t and m below are exact. With u = 2^k m, m in [sqrt(1/2), sqrt(2)), and x = (m - 1)/(m + 1),
# ln m = x (2 + x^2 LOG_SERIES(x^2)); cos and sin are their series. No step is fused, whatever the
# variant: additions, products, quotients and roots are IEEE's, so that every platform has the same
# bits, NumPy too. docs/derivation.md has the error, which is relative: at most 12 units.

cdef extern from *:
    """
    #define LN2 0x1.62e42fefa39efp-1
    #define HALF_PI 0x1.921fb54442d18p+0
    #define LOG_TERMS 10
    #define TURN_TERMS 8
    static const double LOG_SERIES[LOG_TERMS] = {
        2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15, 2. / 17, 2. / 19, 2. / 21};
    static const double COSINE_SERIES[TURN_TERMS] = {
        -1. / 2, 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800, 1. / 479001600,
        -1. / 87178291200., 1. / 20922789888000.};
    static const double SINE_SERIES[TURN_TERMS] = {
        -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800, 1. / 6227020800.,
        -1. / 1307674368000., 1. / 355687428096000.};

    /* m, and k into `exponent`, of the draw a: the exponent of u / sqrt(1/2) is that of u / m. */
    PRIMITIVE double mantissa_of_draw(uint64_t a, double *exponent) {
        double u = ((double)(int64_t)(a >> 12) + 0.5) * 0x1p-52;
        int64_t word, k;
        memcpy(&word, &u, sizeof u);
        k = (word - 0x3fe6a09e667f3bcd) >> 52;
        word -= (int64_t)((uint64_t)k << 52);
        memcpy(&u, &word, sizeof u);
        *exponent = (double)k;
        return u;
    }
    PRIMITIVE double turn_of_draw(uint64_t b) {
        return ((double)(int64_t)((b >> 10) & 0xfffffffffffff) + 0.5) * 0x1p-52 - 0.5;
    }
    """
    const double LN2, HALF_PI
    enum: LOG_TERMS, TURN_TERMS
    const double* LOG_SERIES
    const double* COSINE_SERIES
    const double* SINE_SERIES
    double mantissa_of_draw(unsigned long long a, double* exponent) noexcept nogil
    double turn_of_draw(unsigned long long b) noexcept nogil


cdef inline four series(const double* terms, int count, four x) noexcept nogil:
    """terms[0] + terms[1] x + ..., by Horner's rule."""
    cdef four sum = fours(terms[count - 1])
    cdef int j
    for j in range(count - 2, -1, -1):
        sum = sum * x + fours(terms[j])
    return sum


cdef inline void eight_normals(double* z, const unsigned long long* raw) noexcept nogil:
    """Eight normal numbers of eight raw draws."""
    cdef double m[4]
    cdef double k[4]
    cdef double t[4]
    cdef double signs[4]
    cdef double c[4]
    cdef double s[4]
    cdef four x, square, log, radius, phi
    cdef int j, swap
    for j in range(4):
        m[j] = mantissa_of_draw(raw[2 * j], k + j)
        t[j] = turn_of_draw(raw[2 * j + 1])
        signs[j] = 1 - 2 * <double> <int> (raw[2 * j + 1] >> 62 & 1)
    x = (four_of(m) - fours(1)) / (four_of(m) + fours(1))
    square = x * x
    log = x * (fours(2) + square * series(LOG_SERIES, LOG_TERMS, square))
    radius = root_four(fours(-2) * (four_of(k) * fours(LN2) + log))
    phi = four_of(t) * fours(HALF_PI)
    square = phi * phi
    store_four(c, radius * ((fours(1) + square * series(COSINE_SERIES, TURN_TERMS, square))
                            * four_of(signs)))
    store_four(s, radius * (phi + phi * (square * series(SINE_SERIES, TURN_TERMS, square))))
    for j in range(4):
        swap = <int> (raw[2 * j + 1] >> 63)
        z[2 * j + swap], z[2 * j + 1 - swap] = c[j], s[j]


cdef void add_noise(memory grad, const unsigned long long* raw, double deviation,
                    Py_ssize_t first, Py_ssize_t size) noexcept nogil:
    """grad_i += deviation z_(first + i), in float64 and rounded once; draw 0 makes z_0 and z_1."""
    cdef real* g = <real*> grad
    cdef double z[8]
    cdef unsigned long long some[8]
    cdef Py_ssize_t at = first & ~7, end = first + size, low, high, i
    while at < end:
        low, high = max(first, at), min(end, at + 8)
        if high - low == 8:
            eight_normals(z, raw + at)
        else:
            memset(some, 0, sizeof(some))
            for i in range(low & ~1, (high + 1) & ~1):
                some[i - at] = raw[i]
            eight_normals(z, some)
        for i in range(low, high):
            g[i - first] = <real> (<double> g[i - first] + deviation * z[i - at])
        at += 8
