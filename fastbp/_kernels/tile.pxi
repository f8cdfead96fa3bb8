# The register tile of a dense product, its endings, and the panel of C it walks down.
#
# MR x NV vectors of C stay in registers through a block of k; MR and NV are literals of an
# inlined function, so that every shape is a kernel of its own from one text. An ending that the
# compiler did not unroll, with a sigmoid in it, would make it keep the tile in memory through the
# k loop: activations come later, over rows (activate_rows in gemm.pxi).

ctypedef struct Panel:      # the part of a Product one tile works on
    Py_ssize_t i            # first row, first column, columns in the last vector
    Py_ssize_t j
    Py_ssize_t lanes
    const real* A           # packed or not: rows `rsa` apart, columns `csa`
    Py_ssize_t rsa
    Py_ssize_t csa
    const real* B           # rows `ldb` apart; a packed panel's last vector is whole
    Py_ssize_t ldb
    Py_ssize_t B_lanes
    Py_ssize_t K
    const real* ahead       # the next panel of B: each step along k prefetches a line of its row k.
    Py_ssize_t ahead_step   # If there is no next one: some memory of A, and a step of 0
    real* chains            # where the panel's sums stay between two chunks of a block
    bint resumes            # the tile begins with the sums that are there, not with zeros
    bint suspends           # the tile leaves its sums there, not in C
    bint starts_sum         # the first block: C holds nothing to add to
    bint ends_sum           # the last block: bias and factor follow


# ---- register tile -------------------------------------------------------------------

cdef inline void prefetch_rows(const real* C, Py_ssize_t N, int MR, int NV) noexcept nogil:
    cdef int r, v
    for r in range(MR):
        for v in range(NV):
            prefetch(C + r * N + v * VL)


cdef inline void load_chains(vec[WIDEST]* acc, const Panel* b, Py_ssize_t i, int MR,
                             int NV) noexcept nogil:
    cdef int r, v
    for r in range(MR):
        for v in range(NV):
            acc[r][v] = load(b.chains + ((i + r) * NV + v) * VL)


cdef inline void store_chains(vec[WIDEST]* acc, const Panel* b, Py_ssize_t i, int MR,
                              int NV) noexcept nogil:
    cdef int r, v
    for r in range(MR):
        for v in range(NV):
            store(b.chains + ((i + r) * NV + v) * VL, acc[r][v])


cdef inline void add_to(vec[WIDEST]* acc, const real* x, Py_ssize_t ld, Py_ssize_t lanes, int MR,
                        int NV) noexcept nogil:
    cdef int r, v
    for r in range(MR):
        for v in range(NV - 1):
            acc[r][v] = load(x + r * ld + v * VL) + acc[r][v]
        acc[r][NV - 1] = load_tail(x + r * ld + (NV - 1) * VL, lanes) + acc[r][NV - 1]


cdef inline void add_bias(vec[WIDEST]* acc, const real* b, Py_ssize_t lanes, int MR,
                          int NV) noexcept nogil:
    """E1: z = product + b."""
    cdef vec x[WIDEST]
    cdef int r, v
    for v in range(NV - 1):
        x[v] = load(b + v * VL)
    x[NV - 1] = load_tail(b + (NV - 1) * VL, lanes)
    for r in range(MR):
        for v in range(NV):
            acc[r][v] = acc[r][v] + x[v]


cdef inline void multiply_by(vec[WIDEST]* acc, const real* x, Py_ssize_t ld, Py_ssize_t lanes,
                             int MR, int NV) noexcept nogil:
    """E5: delta = product * derivative."""
    cdef int r, v
    for r in range(MR):
        for v in range(NV - 1):
            acc[r][v] = acc[r][v] * load(x + r * ld + v * VL)
        if MR == 1:
            acc[0][NV - 1] = acc[0][NV - 1] * load_lanes(x + (NV - 1) * VL, lanes)
        else:
            acc[r][NV - 1] = acc[r][NV - 1] * load_tail(x + r * ld + (NV - 1) * VL, lanes)


cdef inline void put(real* C, Py_ssize_t ld, vec[WIDEST]* acc, Py_ssize_t lanes, int MR,
                     int NV, bint half) noexcept nogil:
    cdef int r, v
    for r in range(MR):
        for v in range(NV - 1):
            store(C + r * ld + v * VL, acc[r][v])
        if MR == 1:
            store_lanes(C + (NV - 1) * VL, acc[0][NV - 1], lanes)
        elif half:
            store_tail_half(C + r * ld + (NV - 1) * VL, acc[r][NV - 1], lanes)
        elif lanes == VL:
            store(C + r * ld + (NV - 1) * VL, acc[r][NV - 1])
        else:
            store_tail(C + r * ld + (NV - 1) * VL, acc[r][NV - 1], lanes)


cdef inline void end_tile(const Product* p, const Panel* b, vec[WIDEST]* acc, Py_ssize_t i,
                          Py_ssize_t at, bint has_ending, int MR, int NV, bint half) noexcept nogil:
    """A block's sums into C, with bias or factor if it is the last; a chunk's into chains."""
    if has_ending and b.suspends:
        store_chains(acc, b, i, MR, NV)
        return
    if not b.starts_sum:
        add_to(acc, p.C + at, p.ldc, b.lanes, MR, NV)
    if has_ending and b.ends_sum and p.bias != NULL:
        add_bias(acc, p.bias + b.j, b.lanes, MR, NV)
    if has_ending and b.ends_sum and p.factor != NULL:
        multiply_by(acc, p.factor + at, p.ldc, b.lanes, MR, NV)
    put(p.C + at, p.ldc, acc, b.lanes, MR, NV, half)


cdef inline void tile(const Product* p, const Panel* b, Py_ssize_t i, const real* A,
                      Py_ssize_t rsa, Py_ssize_t csa, bint has_ending, int MR,
                      int NV, bint half) noexcept nogil:
    """MR x NV vectors of C from row b.i + i on; MR, NV and one of rsa, csa are literals.

    `has_ending` is a literal, too. It is False for columns of A (E6): their products have no
    chunks, no bias and no factor, whose code is left out then.
    """
    cdef vec acc[MOST_ROWS][WIDEST]
    cdef vec x[WIDEST]
    cdef const real* B = b.B
    cdef Py_ssize_t at = (b.i + i) * p.ldc + b.j
    cdef const real* ahead = b.ahead + min(i // ROWS_2, <Py_ssize_t> PREFETCH_B) * LINE
    cdef vec a
    cdef Py_ssize_t k
    cdef int r, v
    for r in range(MR):
        for v in range(NV):
            acc[r][v] = splat(0)
    if has_ending and b.resumes:
        load_chains(acc, b, i, MR, NV)
    if (PREFETCH_C_BYTES and b.K >= PREFETCH_C
            and p.ldc * <Py_ssize_t> sizeof(real) >= PREFETCH_C_BYTES):
        prefetch_rows(p.C + at, p.ldc, MR, NV)
    for k in range(b.K):
        for v in range(NV - 1):
            x[v] = load(B + v * VL)
        if half:
            x[NV - 1] = load_tail_half(B + (NV - 1) * VL, b.lanes)
        else:
            x[NV - 1] = load_tail(B + (NV - 1) * VL, b.B_lanes)
        for r in range(MR):
            a = splat_half(A[r * rsa]) if half and NV == 1 else splat(A[r * rsa])
            for v in range(NV - 1):
                acc[r][v] = fma(a, x[v], acc[r][v])
            if half:
                acc[r][NV - 1] = fma_half(a, x[NV - 1], acc[r][NV - 1])
            else:
                acc[r][NV - 1] = fma(a, x[NV - 1], acc[r][NV - 1])
        if PREFETCH_B and NV == 2:
            prefetch(ahead)
            ahead += b.ahead_step
        A += csa
        B += b.ldb
    end_tile(p, b, acc, i, at, has_ending, MR, NV, half)


cdef inline Py_ssize_t tile_rows(Py_ssize_t left, int MR) noexcept nogil:
    """Rows of the next tile: MR while they last, then 8, 4, 2 and 1."""
    if left >= MR and not (MR > 8 and MR < left <= 16):     # two of 8 are better than one and two
        return MR
    if left >= 8 and MR > 8:
        return 8
    if left >= 4 and MR > 4:
        return 4
    return 2 if left >= 2 else 1


cdef inline Py_ssize_t rows_again(Py_ssize_t left, int MR, int NV) noexcept nogil:
    """How many rows the last tile, of MR, 8 or 4, computes once more, with the same bits.

    Three rows or more that remain would need two or three small tiles. Each FMA of a chain waits
    for the one before, so that a tile of one or two rows takes as long as one of four: one larger
    tile, with some rows once more, takes less time than these.
    """
    cdef Py_ssize_t rows = MR if left > 8 else 8 if left > 4 else 4
    if left < 3 or rows > MR or rows - left > (ROWS_AGAIN_1 if NV == 1 else ROWS_AGAIN):
        return 0
    return rows - left


cdef inline void panel_of(const Product* p, const Panel* b, Py_ssize_t M, Py_ssize_t rsa,
                          Py_ssize_t csa, bint packed, bint has_ending, int MR,
                          int NV, bint half=False) noexcept nogil:
    """C's panel of NV vectors, M rows; in a packed A each tile has rows 1 apart, columns MR."""
    cdef Py_ssize_t i = 0, m, again
    cdef const real* A = b.A
    while i < M:
        if not packed and i >= MR > M - i and b.starts_sum and not (b.resumes or b.suspends):
            again = rows_again(M - i, MR, NV)
            i -= again
            A -= again * rsa
        m = tile_rows(M - i, MR)
        if m == MR:
            tile(p, b, i, A, rsa, MR if packed else csa, has_ending, MR, NV, half)
        elif MR > 8 and m == 8:
            tile(p, b, i, A, rsa, 8 if packed else csa, has_ending, 8, NV, half)
        elif MR > 4 and m == 4:
            tile(p, b, i, A, rsa, 4 if packed else csa, has_ending, 4, NV, half)
        elif m == 2:
            tile(p, b, i, A, rsa, 2 if packed else csa, has_ending, 2, NV, half)
        else:
            tile(p, b, i, A, rsa, 1 if packed else csa, has_ending, 1, NV, half)
        A += m * (b.K if packed else rsa)
        i += m


# Two texts, for a row-major and for a column-major A: of one inlined function for both, GCC 12
# makes other inner loops for most tiles.

cdef void row_major_panel(const Product* p, const Panel* b, Py_ssize_t M, int NV) noexcept nogil:
    cdef bint half = HALVES and b.lanes <= VL // 2
    if NV == 1 and half:
        panel_of(p, b, M, b.rsa, 1, False, True, ROWS_1, 1, True)
    elif NV == 1:
        panel_of(p, b, M, b.rsa, 1, False, True, ROWS_1, 1)
    elif NV == 2 and half:
        panel_of(p, b, M, b.rsa, 1, False, True, ROWS_2, 2, True)
    elif NV == 2:
        panel_of(p, b, M, b.rsa, 1, False, True, ROWS_2, 2)
    elif NV == 3:
        panel_of(p, b, M, b.rsa, 1, False, True, ROWS_3, 3)
    else:
        panel_of(p, b, M, b.rsa, 1, False, True, ROWS_4, 4)


cdef void column_major_panel(const Product* p, const Panel* b, Py_ssize_t M, int NV) noexcept nogil:
    cdef bint half = HALVES and b.lanes <= VL // 2
    if NV == 1 and half:
        panel_of(p, b, M, 1, b.csa, False, False, ROWS_1, 1, True)
    elif NV == 1:
        panel_of(p, b, M, 1, b.csa, False, False, ROWS_1, 1)
    elif NV == 2 and half:
        panel_of(p, b, M, 1, b.csa, False, False, ROWS_2, 2, True)
    elif NV == 2:
        panel_of(p, b, M, 1, b.csa, False, False, ROWS_2, 2)
    elif NV == 3:
        panel_of(p, b, M, 1, b.csa, False, False, ROWS_3, 3)
    else:
        panel_of(p, b, M, 1, b.csa, False, False, ROWS_4, 4)


cdef void packed_panel(const Product* p, const Panel* b, Py_ssize_t M, int NV) noexcept nogil:
    """Rows packed for tiles of ROWS_2: panels of two vectors, and one for a last odd one."""
    if NV == 1:
        panel_of(p, b, M, 1, 0, True, True, ROWS_2, 1)
    else:
        panel_of(p, b, M, 1, 0, True, True, ROWS_2, 2)
