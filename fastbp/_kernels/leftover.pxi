# Columns of C behind its last whole vector, with rows of A as lanes.
#
# C^T = B^T A^T is the same product with its sides swapped, element for element (N1): a few columns
# of B make a few rows, whose lanes are the rows of A. It costs turning A, VL x VL elements at a
# time in registers, unless its columns lie side by side as in E6, and carrying results to where
# they belong.
# N4: a single output is such a column, whose results are in place.

cdef inline Py_ssize_t left_over(const Product* p) noexcept nogil:
    """Columns that are less work this way, in multiply-adds of vectors."""
    cdef Py_ssize_t left = p.N % VL, vectors = (p.M + VL - 1) // VL
    cdef Py_ssize_t turning = TURNING if p.row != 1 else 0
    if p.N == 1 and p.M > 1:
        return not p.magnitudes
    if left == 0 or p.end * VL < p.N or p.magnitudes or p.M <= FEW_ROWS:
        return 0
    if vectors * (p.K * (turning + max(left, <Py_ssize_t> 2)) + CARRYING * left * VL) < p.M * p.K:
        return left
    return 0


cdef inline void fetch(real* to, const Product* p, Py_ssize_t i0, Py_ssize_t rows) noexcept nogil:
    """The left-over columns of `rows` rows of C, as rows."""
    cdef Py_ssize_t i, r
    cdef const real* C
    for r in range(p.left):
        C = p.C + i0 * p.ldc + p.N - p.left + r
        for i in range(rows):
            to[r * rows + i] = C[i * p.ldc]


cdef inline void carry(const Product* p, const real* product, Py_ssize_t i0,
                       Py_ssize_t rows) noexcept nogil:
    """The other way, multiplied by the factor."""
    cdef Py_ssize_t i, r, ldc = p.ldc, at
    cdef const real* factor
    cdef real* C
    for r in range(p.left):
        at = i0 * ldc + p.N - p.left + r
        C, factor = p.C + at, p.factor
        if factor == NULL:
            for i in range(rows):
                C[i * ldc] = product[i]
        else:
            factor += at
            for i in range(rows):
                C[i * ldc] = product[i] * factor[i * ldc]
        product += rows


cdef void multiply_left_over(const Product* p, real* scratch) noexcept nogil:
    """The last p.left columns of C, of MC rows at a time."""
    cdef Product t
    cdef Py_ssize_t i = 0, j = p.N - p.left
    cdef bint in_place = p.ldc == 1
    t.M, t.K, t.turned, t.thin = p.left, p.K, True, False
    t.row = p.ldb if p.transposed else 1
    t.step = 1 if p.transposed else p.ldb
    t.A = p.B + j * t.row
    t.transposed = p.row != 1
    t.ldb = p.row if t.transposed else p.step
    t.magnitudes, t.accumulate, t.activation, t.left = False, p.accumulate, IDENTITY, 0
    t.bias = p.bias + j if p.bias != NULL else NULL
    t.factor = t.derivative = NULL
    while i < p.M:
        t.N = t.ldc = min(<Py_ssize_t> MC, p.M - i)
        choose_columns(&t, 0, t.N)
        t.B = p.A + i * p.row
        if in_place:
            t.C = p.C + i
            t.factor = <real*> p.factor + i if p.factor != NULL else NULL
            multiply_blocks(&t, scratch)
        else:
            t.C = scratch
            if p.accumulate:
                fetch(scratch, p, i, t.N)
            multiply_blocks(&t, scratch + p.left * t.N)
            carry(p, scratch, i, t.N)
        i += MC
