# Columns of C behind its last whole vector, with rows of A as lanes.
#
# C^T = B^T A^T is the same product with its sides swapped, element for element (N1): a few columns
# of B make a few rows, whose lanes are the rows of A.
#
#   E1, E5   rows of A are turned into columns, PART at a time in registers, and multiplied there
#   E6       columns of A lie side by side: a product of a few rows, like others
#
# Then the results are carried to where they belong.  N4: a single output is such a column.

cdef void multiply_left_over(const Product* p, real* scratch) noexcept nogil:
    """The last p.leftover columns of C."""
    if p.csa != 1:
        multiply_columns(p, scratch)
    elif p.leftover == 1:
        turn_rows(p, 1)
    elif MOST_TURNED >= 2 and p.leftover == 2:
        turn_rows(p, 2)
    elif MOST_TURNED >= 3 and p.leftover == 3:
        turn_rows(p, 3)
    elif MOST_TURNED >= 4 and p.leftover == 4:
        turn_rows(p, 4)
    elif MOST_TURNED >= 5 and p.leftover == 5:
        turn_rows(p, 5)
    elif MOST_TURNED >= 6 and p.leftover == 6:
        turn_rows(p, 6)
    elif MOST_TURNED >= 7 and p.leftover == 7:
        turn_rows(p, 7)
    elif MOST_TURNED >= 8:
        turn_rows(p, 8)


# ---- E1, E5: rows are turned ------------------------------------------------------------

cdef inline void turn_rows(const Product* p, int left) noexcept nogil:
    """E1, E5: `left` columns, a literal, of VL rows at a time.

    Where VL does not divide M, the last rows overlap those before, and some are computed twice.
    """
    cdef vec sums[MOST_LEFT]
    cdef Py_ssize_t i = 0
    while i < p.M:
        i = min(i, p.M - VL)
        chains_of(sums, p, i, left)
        put_columns(p, sums, i, left)
        i += VL


cdef inline void chains_of(vec* sums, const Product* p, Py_ssize_t i, int left) noexcept nogil:
    """N1: block after block of KC, each a chain from +0."""
    cdef vec acc[MOST_LEFT]
    cdef vec x[4]
    cdef const real* rows = p.A + i * p.rsa
    cdef Py_ssize_t row = p.ldb if p.transposed else 1, step = 1 if p.transposed else p.ldb
    cdef const real* B = p.B + (p.N - left) * row
    cdef Py_ssize_t end = min(<Py_ssize_t> KC, p.K), k = 0, at
    cdef int r, c
    for r in range(left):
        acc[r] = sums[r] = splat(0)
    while k < p.K:
        at = k
        if k + PART <= end:
            turn(x, rows + k, p.rsa, VL, 1)
            for c in range(PART):
                for r in range(left):
                    acc[r] = fma(splat(B[r * row]), x[c], acc[r])
                B += step
            k += PART
        else:
            if p.K < PART:
                turn_fewer(x, rows, p.rsa, VL, p.K)
            else:
                at = min(k, p.K - PART)
                turn(x, rows + at, p.rsa, VL, 1)
            for c in range(PART):
                if k <= at + c < end:
                    for r in range(left):
                        acc[r] = fma(splat(B[r * row]), x[c], acc[r])
                    B += step
            k = end
        if k == end:
            for r in range(left):
                sums[r] = acc[r] if end <= KC else sums[r] + acc[r]
                acc[r] = splat(0)
            end = min(end + KC, p.K)


cdef inline void put_columns(const Product* p, vec* sums, Py_ssize_t i, int left) noexcept nogil:
    """E1, E5: the sums to their places in C, plus the bias or times the factor.

    PART columns at a time are turned back, so that the numbers of one row lie side by side; a
    single column needs no turning.
    """
    cdef real lane[MOST_LEFT * MOST_LANES]
    cdef real* row
    cdef Py_ssize_t s, j = p.N - left, at = i * p.ldc + j
    cdef int r, q, c, width, groups = (left + PART - 1) // PART
    for r in range(left):
        if p.bias != NULL:
            sums[r] = sums[r] + splat(p.bias[j + r])
    for r in range(left, groups * PART):
        sums[r] = splat(0)
    for q in range(groups):
        if left > 1:
            turn_parts(sums + q * PART)
        for c in range(PART if left > 1 else 1):
            store(lane + (q * PART + c) * VL, sums[q * PART + c])
    for s in range(VL):
        row = lane + (s % PART * VL + s // PART * PART if left > 1 else s)
        for q in range(groups):
            width = min(PART, left - q * PART)
            if p.factor == NULL:
                memcpy(p.C + at + q * PART, row + q * PART * VL, width * sizeof(real))
                continue
            for c in range(width):
                p.C[at + q * PART + c] = row[q * PART * VL + c] * p.factor[at + q * PART + c]
        at += p.ldc


# ---- E6: columns are there --------------------------------------------------------------

cdef void multiply_columns(const Product* p, real* scratch) noexcept nogil:
    """E6: the product with its sides swapped, MC rows of A at a time, by way of scratch."""
    cdef Product t
    cdef Py_ssize_t i = 0, s, r, j = p.N - p.leftover
    cdef real* C
    t.M, t.K, t.thin = p.leftover, p.K, False
    t.rsa = p.ldb if p.transposed else 1
    t.csa = 1 if p.transposed else p.ldb
    t.A = p.B + j * t.rsa
    t.ldb, t.transposed, t.magnitudes, t.accumulate = p.csa, False, False, p.accumulate
    t.bias = t.factor = t.slope = NULL
    t.activation, t.C, t.in_scratch = IDENTITY, scratch, True
    while i < p.M:
        t.N = t.ldc = min(<Py_ssize_t> MC, p.M - i)
        choose_columns(&t, 0, t.N)
        decide_blocks(&t)
        t.B = p.A + i
        C = p.C + i * p.ldc + j
        if p.accumulate:
            for s in range(t.N):
                for r in range(t.M):
                    scratch[r * t.N + s] = C[s * p.ldc + r]
        multiply_blocks(&t, scratch + t.M * t.N)
        for s in range(t.N):
            for r in range(t.M):
                C[s * p.ldc + r] = scratch[r * t.N + s]
        i += MC
