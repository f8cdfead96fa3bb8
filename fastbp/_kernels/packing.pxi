# Panels of A and B side by side in memory, in the order in which a tile reads them.
#
# Nothing is padded along k, and zeros beside the last column only feed lanes that are never
# stored. Elements are moved, or their magnitudes are: nothing is rounded.

cdef inline void turn_parts(vec* x) noexcept nogil:
    """Element c of part q of x[r] and element r of part q of x[c] change places."""
    cdef vec y[4]
    cdef int round, c
    for round in range(LOG2_PART):
        for c in range(PART // 2):
            y[2 * c] = zip_lo(x[c], x[c + PART // 2])
            y[2 * c + 1] = zip_hi(x[c], x[c + PART // 2])
        for c in range(PART):
            x[c] = y[c]


cdef inline void turn(vec* x, const real* rows, Py_ssize_t ld, Py_ssize_t lanes,
                      int parts) noexcept nogil:
    """`parts` times PART columns of a matrix of `lanes` rows as vectors, x[c] being column c.

    x[q PART + c] is loaded part by part: its part j from row c + j PART, at column q PART. Then
    elements change places between the parts j of PART vectors. Lanes behind the last row are 0.
    """
    cdef int q, c
    for c in range(PART):
        for q in range(parts):
            x[q * PART + c] = load_parts(rows + c * ld + q * PART, PART * ld,
                                         (lanes - c + PART - 1) // PART)
    for q in range(parts):
        turn_parts(x + q * PART)


cdef void turn_fewer(vec* x, const real* rows, Py_ssize_t ld, Py_ssize_t lanes,
                     Py_ssize_t columns) noexcept nogil:
    """The same of less than PART columns, with zeros."""
    cdef real corner[MOST_LANES * PART]
    cdef Py_ssize_t i
    cdef int c
    for i in range(lanes):
        for c in range(PART):
            corner[i * PART + c] = rows[i * ld + c] if c < columns else 0
    turn(x, corner, PART, lanes, 1)


cdef inline void transpose(real* out, Py_ssize_t step, const real* rows, Py_ssize_t ld,
                           Py_ssize_t lanes, Py_ssize_t K, bint magnitudes) noexcept nogil:
    """`lanes` rows of K reals as K vectors, each `step` behind the one before.

    Lanes behind the last row are 0. Rows that lie far apart push each other out of the first-level
    cache: of these a whole line of each row is read at once. Where PART does not divide K, the last
    part of a row overlaps the one before, and the same numbers are written twice.
    """
    cdef vec x[MOST_LANES]
    cdef Py_ssize_t k = 0
    cdef int c
    if lanes == VL and ld * <Py_ssize_t> sizeof(real) >= FAR_BYTES:
        while k + VL <= K:
            turn(x, rows + k, ld, VL, VL // PART)
            for c in range(VL):
                store(out + (k + c) * step, magnitude(x[c]) if magnitudes else x[c])
            k += VL
    while k < K:
        if K < PART:
            turn_fewer(x, rows, ld, lanes, K)
        else:
            k = min(k, K - PART)
            if lanes == VL:
                turn(x, rows + k, ld, VL, 1)
            else:
                turn(x, rows + k, ld, lanes, 1)
        for c in range(PART):
            if k + c < K:
                store(out + (k + c) * step, magnitude(x[c]) if magnitudes else x[c])
        k += PART


cdef void pack_panel(real* out, const Product* p, Py_ssize_t k0, Py_ssize_t K, Py_ssize_t j0,
                     Py_ssize_t columns, int NV) noexcept nogil:
    """B[k0:k0+K, j0:j0+columns], or |B| there, as (K, NV VL); zeros beside the last column."""
    cdef Py_ssize_t k, lanes
    cdef vec x
    cdef int v
    for v in range(NV):
        lanes = min(<Py_ssize_t> VL, columns - v * VL)
        for k in range(K):
            x = load_lanes(p.B + (k0 + k) * p.ldb + j0 + v * VL, lanes)
            store(out + (k * NV + v) * VL, magnitude(x) if p.magnitudes else x)


cdef void pack_transposed(real* out, const Product* p, Py_ssize_t k0, Py_ssize_t K,
                          Py_ssize_t j0, Py_ssize_t columns, int NV) noexcept nogil:
    """The same from B stored (N, K)."""
    cdef int v
    for v in range(NV):
        transpose(out + v * VL, NV * VL, p.B + (j0 + v * VL) * p.ldb + k0, p.ldb,
                  min(<Py_ssize_t> VL, columns - v * VL), K, p.magnitudes)


cdef inline void pack_tile(real* out, const real* A, Py_ssize_t row, Py_ssize_t step,
                           Py_ssize_t m, Py_ssize_t K) noexcept nogil:
    """m rows of A as (K, m), what a tile broadcasts side by side.

    Every store is a whole vector: what it spills over is written later, since lanes descend
    from the last group of VL rows and k ascends; the very last spill has VL reals of room.
    """
    cdef Py_ssize_t group, i, k, lanes
    for group in range((m + VL - 1) // VL):
        i = ((m + VL - 1) // VL - 1 - group) * VL
        lanes = min(<Py_ssize_t> VL, m - i)
        if row == 1:
            for k in range(K):
                store(out + k * m + i, load_lanes(A + k * step + i, lanes))
        else:
            transpose(out + i, m, A + i * row, row, lanes, K, False)


cdef void pack_rows(real* out, const Product* p, Py_ssize_t i0, Py_ssize_t M, Py_ssize_t k0,
                    Py_ssize_t K) noexcept nogil:
    """A[i0:i0+M, k0:k0+K], tile after tile."""
    cdef Py_ssize_t i = 0, m
    while i < M:
        m = tile_rows(M - i, ROWS_2)
        pack_tile(out + i * K, p.A + (i0 + i) * p.rsa + k0 * p.csa, p.rsa, p.csa, m, K)
        i += m
