# The norms of the gradients of single samples, and their deltas clipped to a norm.
#
# The gradient of sample i is h_{l-1,i}^T delta_{l,i} and delta_{l,i} in each layer l, so that
#
#   ||g_i||^2 = sum_l ||delta_l,i||^2 (1 + ||h_{l-1},i||^2)
#
# A sum of squares is in float64: element k goes into partial sum k mod 8 by an FMA, ascending from
# +0, and the partial sums are added as ((p0 + p4) + (p1 + p5)) + ((p2 + p6) + (p3 + p7)), whatever
# the vector width. Zeros behind the last element change no bit. Layers are added from the first to
# the last. Squares of float32 are exact in float64, and no sum of them overflows or underflows.
# Four rows go together, so that their sums end in the lanes of one vector.
#
# Where float64 has no such room, a layer whose sum left [LEAST_SQUARE, MOST_SQUARE] is summed
# again, delta and h each over the power of two of their largest element. LEAST_SQUARE = 2^-900
# leaves what underflowing squares lost, 2^-1075 each, far below the last bit.

cdef extern from *:
    """
    #if MANTISSA == 23
    #define LEAST_SQUARE 0.0
    #define MOST_SQUARE 0x1.fffffffffffffp1023
    #define LEAST_FACTOR 0x1p-100
    #define LEAST_NORMAL 0x1p-126
    #define LEAST 0x1p-149
    #else
    #define LEAST_SQUARE 0x1p-900
    #define MOST_SQUARE 0x1p900
    #define LEAST_FACTOR 0x1p-1000
    #define LEAST_NORMAL 0x1p-1022
    #define LEAST 0x1p-1074
    #endif
    """
    const double LEAST_SQUARE, MOST_SQUARE, LEAST_FACTOR, LEAST_NORMAL, LEAST

cdef enum:
    LEAST_EXPONENT = -1000      # 2^1000 brings every subnormal number to where squares are normal


# ---- sums of squares -------------------------------------------------------------------

cdef inline void partial_sums(four* sums, const real* x, Py_ssize_t size, double scale,
                              int rows) noexcept nogil:
    """p0 + p4, ..., p3 + p7 of (scale x)^2 in each of `rows` rows, a literal of at most 4."""
    cdef Py_ssize_t block, rest = size & 7
    cdef const real* p
    cdef four low[4]
    cdef four high[4]
    cdef four a, b, by = fours(scale)
    cdef int r
    for r in range(rows):
        low[r] = high[r] = fours(0)
    for block in range(size >> 3):
        for r in range(rows):
            p = x + r * size + 8 * block
            a, b = by * load_four(p), by * load_four(p + 4)
            low[r], high[r] = fma_four(a, a, low[r]), fma_four(b, b, high[r])
    p = x + (size - rest)
    if rest > 0:
        for r in range(rows):
            a = by * load_four_tail(p + r * size, min(rest, <Py_ssize_t> 4))
            low[r] = fma_four(a, a, low[r])
    if rest > 4:
        for r in range(rows):
            b = by * load_four_tail(p + r * size + 4, rest - 4)
            high[r] = fma_four(b, b, high[r])
    for r in range(rows):
        sums[r] = low[r] + high[r]


cdef inline double squares_of(const real* x, Py_ssize_t size, double scale) noexcept nogil:
    cdef four sums[4]
    partial_sums(sums, x, size, scale, 1)
    return sum_of_four(sums[0])


cdef inline four squares_of_four(const real* x, Py_ssize_t size) noexcept nogil:
    cdef four sums[4]
    partial_sums(sums, x, size, 1.0, 4)
    return sums_of_four(sums[0], sums[1], sums[2], sums[3])


cdef int exponent_of(const real* x, Py_ssize_t size) noexcept nogil:
    """e of the largest |x| = m 2^e, m in [1/2, 1); 0 of zeros, and where one is infinite."""
    cdef double most = 0, each
    cdef int exponent = 0
    cdef Py_ssize_t j
    for j in range(size):
        each = fabs(<double> x[j])
        if each > most:
            most = each
    if 0 < most < INFINITY:
        frexp(most, &exponent)
    return max(exponent, <int> LEAST_EXPONENT)


cdef void add_scaled(double* square, int* exponent, double more, int at) noexcept nogil:
    """square 4^exponent += more 4^at."""
    if at == exponent[0] or more == 0:
        square[0] += more
    elif square[0] == 0:
        square[0], exponent[0] = more, at
    elif at < exponent[0]:
        square[0] += ldexp(more, 2 * (at - exponent[0]))
    else:
        square[0] = more + ldexp(square[0], 2 * (exponent[0] - at))
        exponent[0] = at


cdef void add_square(double* square, int* exponent, double* reach, const real* delta,
                     Py_ssize_t fan_out, const real* h, Py_ssize_t fan_in) noexcept nogil:
    """One row, of any finite numbers."""
    cdef double size = squares_of(delta, fan_out, 1.0)
    cdef double length = 1.0 + squares_of(h, fan_in, 1.0), more = size * length
    cdef int a = 0, b = 0
    reach[0] += length
    if size < LEAST_SQUARE or not more <= MOST_SQUARE:
        a, b = exponent_of(delta, fan_out), max(exponent_of(h, fan_in), 0)
        more = squares_of(delta, fan_out, ldexp(1.0, -a)) * (
            ldexp(1.0, -2 * b) + squares_of(h, fan_in, ldexp(1.0, -b)))
    add_scaled(square, exponent, more, a + b)


cdef inline bint plain(const double* sizes, const double* more,
                       const int* exponents) noexcept nogil:
    """Whether four rows are summed without scales; a sum of non-negative numbers bounds each."""
    if LEAST_SQUARE > 0 and (sizes[0] < LEAST_SQUARE or sizes[1] < LEAST_SQUARE
                             or sizes[2] < LEAST_SQUARE or sizes[3] < LEAST_SQUARE):
        return False
    return ((more[0] + more[1]) + (more[2] + more[3]) <= MOST_SQUARE
            and (exponents[0] | exponents[1] | exponents[2] | exponents[3]) == 0)


cdef void add_squares(memory squares, int* exponents, double* reach, source delta, source h_prev,
                      Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out,
                      bint first) noexcept nogil:
    """Add ||delta_i||^2 (1 + ||h_prev_i||^2) to squares_i 4^exponents_i, 0 before the `first`.

    The sum of 1 + ||h_prev_i||^2 over all rows, of no order, is added to `reach`.
    """
    cdef double* sums = <double*> squares
    cdef const real* d = <const real*> delta
    cdef const real* h = <const real*> h_prev
    cdef double sizes[4]
    cdef double more[4]
    cdef four size, length, lengths = fours(0)
    cdef Py_ssize_t i, j, group
    if first:
        reach[0] = 0
        memset(sums, 0, n * sizeof(double))
        memset(exponents, 0, n * sizeof(int))
    for group in range(n >> 2):
        i = 4 * group
        size = squares_of_four(d + i * fan_out, fan_out)
        length = fours(1) + squares_of_four(h + i * fan_in, fan_in)
        lengths = lengths + length
        store_four(sizes, size)
        store_four(more, size * length)
        if plain(sizes, more, exponents + i):
            for j in range(4):
                sums[i + j] += more[j]
        else:
            for j in range(i, i + 4):
                add_square(sums + j, exponents + j, reach, d + j * fan_out, fan_out,
                           h + j * fan_in, fan_in)
    for i in range(n & ~3, n):
        add_square(sums + i, exponents + i, reach, d + i * fan_out, fan_out, h + i * fan_in, fan_in)
    reach[0] += sum_of_four(lengths)


# ---- norms -----------------------------------------------------------------------------

cdef void take_roots(memory norms, memory squares, const int* exponents, double max_norm,
                     Py_ssize_t n) noexcept nogil:
    """norms_i <- ||g_i||, and in place of its square min(1, max_norm / ||g_i||) for `clip_rows`.

    A factor that is too small for its dtype stands as -||g_i||.
    """
    cdef double* factors = <double*> squares
    cdef double norm
    cdef Py_ssize_t i
    for i in range(n):
        norm = sqrt(factors[i])
        if exponents[i] != 0:
            norm = ldexp(norm, exponents[i])
        (<real*> norms)[i] = <real> norm
        factors[i] = 1
        if norm > max_norm:
            factors[i] = max_norm / norm
            if factors[i] < LEAST_FACTOR:
                factors[i] = -norm


# A product below LEAST_NORMAL is off by up to half of LEAST, and h multiplies that: what a layer
# adds to the gradient of a sample would be too long by up to
#
#   LEAST/2 sqrt(fan_out (1 + ||h||^2)) <= LEAST/2 most sqrt(fan_out (fan_in + 1)),
#
# most = max(1, |h_k|). Where this may be more than u/2 max_norm, u = LEAST / (2 LEAST_NORMAL) being
# the unit of rounding, such products are one LEAST nearer to 0, and no gradient exceeds max_norm by
# more than some u. That is where few most > max_norm, few = LEAST/u sqrt(fan_out (fan_in + 1)). For
# quotients delta / ||g||, which max_norm multiplies, 1 stands in the place of a larger max_norm.

cdef void clip_rows(memory delta, source factors, double max_norm, double reach, source h_prev,
                    Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out) noexcept nogil:
    """delta_i <- factor_i delta_i; or (delta_i / ||g_i||) max_norm, a quotient of at most 1.

    What is left of a row behind its whole vectors is taken number by number: a masked load of the
    next row, which may touch the lanes of a masked store to this one, would wait for it.
    """
    cdef real* d = <real*> delta
    cdef const real* h = <const real*> h_prev
    cdef double factor, few = 2 * LEAST_NORMAL * sqrt((fan_in + 1.0) * fan_out)
    cdef bint far = 2 * few * sqrt(reach) > min(max_norm, 1.0)      # in some row, it may be
    cdef real by
    cdef Py_ssize_t i, j, block, whole = fan_out // VL
    for i in range(n):
        factor = (<const double*> factors)[i]
        if factor < 0 or (far and factor != 1):
            clip_row(d, factor, max_norm,
                     few * one_or_largest(h + i * fan_in, fan_in) if far else 0, fan_out)
        elif factor != 1:
            by = <real> factor
            for block in range(whole):
                store(d + block * VL, splat(by) * load(d + block * VL))
            for j in range(whole * VL, fan_out):
                d[j] = by * d[j]
        d += fan_out


cdef void clip_row(real* d, double factor, double max_norm, double limited,
                   Py_ssize_t size) noexcept nogil:
    """One row, of any numbers; `limited` is few most."""
    cdef bint down = limited > (max_norm if factor > 0 else min(max_norm, 1.0))
    cdef real by = <real> fabs(factor), limit = lowered(<real> max_norm, down)
    cdef Py_ssize_t j
    for j in range(size):
        if factor < 0:
            d[j] = lowered(lowered(d[j] / by, down) * limit, down)
        else:
            d[j] = lowered(by * d[j], down)


cdef inline real lowered(real x, bint down) noexcept nogil:
    """A number below LEAST_NORMAL nearer to 0 by the least number, which is exact."""
    if not down or x == 0 or not fabs(x) < LEAST_NORMAL:
        return x
    return <real> (x - copysign(LEAST, x))


cdef double one_or_largest(const real* h, Py_ssize_t size) noexcept nogil:
    """max(1, |h_k|)"""
    cdef double most = 1
    cdef Py_ssize_t k
    for k in range(size):
        most = max(most, fabs(h[k]))
    return most
