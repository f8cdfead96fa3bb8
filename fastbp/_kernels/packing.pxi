# Panels of A and B side by side in memory, in the order in which a tile reads them.
#
# Nothing is padded along k, and zeros beside the last column only feed lanes that are never
# stored. Elements are moved, or their magnitudes are: nothing is rounded.

cdef inline void transpose(vec* x) noexcept nogil:
    """VL x VL in registers: log2(VL) rounds of perfect shuffles."""
    cdef vec y[16]
    cdef int round, i
    for round in range(LOG2_VL):
        for i in range(VL // 2):
            y[2 * i] = zip_lo(x[i], x[i + VL // 2])
            y[2 * i + 1] = zip_hi(x[i], x[i + VL // 2])
        for i in range(VL):
            x[i] = y[i]


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


cdef inline void turn(real* out, Py_ssize_t step, const real* rows, Py_ssize_t ld,
                      Py_ssize_t lanes, Py_ssize_t depth, bint magnitudes) noexcept nogil:
    """The first `depth` of VL columns of `lanes` rows, each as a vector; zeros beside the last row.

    A single column is moved one element at a time.
    """
    cdef vec x[16]
    cdef int c
    cdef Py_ssize_t i
    if depth == 1:
        if lanes < VL:
            store(out, splat(0))
        for i in range(lanes):
            out[i] = fabs(rows[i * ld]) if magnitudes else rows[i * ld]
        return
    if lanes == VL and depth == VL:
        for c in range(VL):
            x[c] = load(rows + c * ld)
    else:
        for c in range(VL):
            x[c] = load_tail(rows + c * ld, depth) if c < lanes else splat(0)
    transpose(x)
    for c in range(VL):
        if c < depth:
            store(out + c * step, magnitude(x[c]) if magnitudes else x[c])


cdef void pack_transposed(real* out, const Product* p, Py_ssize_t k0, Py_ssize_t K,
                          Py_ssize_t j0, Py_ssize_t columns, int NV) noexcept nogil:
    """The same from B stored (N, K), VL x VL elements at a time."""
    cdef Py_ssize_t k, block
    cdef const real* rows
    cdef int v
    for v in range(NV):
        rows = p.B + (j0 + v * VL) * p.ldb + k0
        for block in range((K + VL - 1) // VL):
            k = block * VL
            turn(out + (k * NV + v) * VL, NV * VL, rows + k, p.ldb,
                 min(<Py_ssize_t> VL, columns - v * VL), min(<Py_ssize_t> VL, K - k), p.magnitudes)


cdef inline void pack_tile(real* out, const real* A, Py_ssize_t row, Py_ssize_t step,
                           Py_ssize_t m, Py_ssize_t K) noexcept nogil:
    """m rows of A as (K, m), what a tile broadcasts side by side.

    Every store is a whole vector: what it spills over is written later, since lanes descend
    from the last group of VL rows and k ascends; the very last spill has VL reals of room.
    """
    cdef Py_ssize_t group, i, k, lanes, depth, block
    cdef vec x[16]
    cdef int c
    for group in range((m + VL - 1) // VL):
        i = ((m + VL - 1) // VL - 1 - group) * VL
        lanes = min(<Py_ssize_t> VL, m - i)
        if row == 1:
            for k in range(K):
                store(out + k * m + i, load_lanes(A + k * step + i, lanes))
            continue
        for block in range((K + VL - 1) // VL):
            k = block * VL
            depth = min(<Py_ssize_t> VL, K - k)
            for c in range(VL):
                x[c] = load_lanes(A + (i + c) * row + k, depth) if c < lanes else splat(0)
            transpose(x)
            for c in range(VL):
                if c < depth:
                    store(out + (k + c) * m + i, x[c])


cdef void pack_rows(real* out, const Product* p, Py_ssize_t i0, Py_ssize_t M, Py_ssize_t k0,
                    Py_ssize_t K) noexcept nogil:
    """A[i0:i0+M, k0:k0+K], tile after tile."""
    cdef Py_ssize_t i = 0, m
    while i < M:
        m = tile_rows(M - i, ROWS_2)
        pack_tile(out + i * K, p.A + (i0 + i) * p.row + k0 * p.step, p.row, p.step, m, K)
        i += m
