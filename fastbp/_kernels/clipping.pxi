# A flat gradient clipped to a norm: g <- min(1, max_norm / ||g||) g.
#
# The squares of each NORM_BLOCK elements are summed in float64 as those of a sample's norm are
# (norms.pxi), and the sums of the blocks are added ascending: any thread may sum any block. A block
# of float64 whose sum left [LEAST_SQUARE, MOST_SQUARE] is summed again, over the power of two of
# its largest element. Each sum has at most 32 roundings in a chain, 3 of its partial sums and one
# for each block; the root halves what they come to, and is rounded itself: the norm is off by a
# share of (19 + size/512) 2^-53 or less.


cdef inline Square ranged(double value, const real* x, Py_ssize_t size) noexcept nogil:
    """The sum of the squares of x from its sum without a scale."""
    cdef int exponent
    if LEAST_SQUARE <= value <= MOST_SQUARE:
        return Square(value, 0)
    exponent = exponent_of(x, size)
    return Square(squares_of(x, size, ldexp(1.0, -exponent)), exponent)


cdef void squares_of_blocks(Square* squares, source x, Py_ssize_t size) noexcept nogil:
    """Four blocks go together, so that their sums end in the lanes of one vector."""
    cdef const real* p = <const real*> x
    cdef double[4] values
    cdef Py_ssize_t group, i, count, whole = size // (4 * NORM_BLOCK)
    for group in range(whole):
        store_four(values, squares_of_four(p, NORM_BLOCK))
        for i in range(4):
            squares[i] = ranged(values[i], p + i * NORM_BLOCK, NORM_BLOCK)
        squares += 4
        p += 4 * NORM_BLOCK
    size -= whole * 4 * NORM_BLOCK
    while size > 0:
        count = min(<Py_ssize_t> NORM_BLOCK, size)
        squares[0] = ranged(squares_of(p, count, 1.0), p, count)
        squares += 1
        p += count
        size -= count


cdef void add_blocks(Square* total, const Square* squares, Py_ssize_t count) noexcept nogil:
    """total += squares, ascending."""
    cdef Py_ssize_t i
    for i in range(count):
        add_scaled(&total.value, &total.exponent, squares[i].value, squares[i].exponent)


# The factor is rounded to the dtype, and so is each product: what is clipped exceeds max_norm by a
# share of 2 u + (64 + size/512) 2^-53 or less, u being the unit of rounding of the dtype, and by
# sqrt(size) times its least number, for products below the least normal one. A norm of NaN has no
# factor: every element is NaN then. An infinite one has the factor 0, and infinity times 0 is NaN.

cdef double clip_to_norm(memory x, const Square* square, double max_norm,
                         Py_ssize_t size) noexcept nogil:
    """x <- min(1, max_norm / norm) x; returns the norm, of which x may be a part."""
    cdef double root = sqrt(square.value), norm = root, factor
    cdef real* p = <real*> x
    cdef vec by
    cdef Py_ssize_t i, block, lanes
    if square.exponent != 0:
        norm = ldexp(root, square.exponent)
    if norm <= max_norm or max_norm == INFINITY:
        return norm
    factor = max_norm / norm
    if factor < LEAST_FACTOR:
        clip_far(p, root, square.exponent, max_norm, size)
        return norm
    by = splat(<real> factor)
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        store_lanes(p + i, by * load_lanes(p + i, lanes), lanes)
    return norm


cdef void clip_far(real* x, double root, int exponent, double max_norm,
                   Py_ssize_t size) noexcept nogil:
    """(x / norm) max_norm, a quotient of at most 1, where the dtype has no such factor."""
    cdef double down = ldexp(1.0, -exponent)        # 2^-1024 at least, which float64 has
    cdef Py_ssize_t i
    for i in range(size):
        x[i] = <real> (<double> x[i] * down / root * max_norm)
