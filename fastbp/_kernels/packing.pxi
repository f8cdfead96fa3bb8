# Panels of A and B side by side in memory, in the order in which a tile reads them.
#
# Nothing is padded along k, and zeros beside the last column only feed lanes that are never
# stored: packing moves elements and changes no bit.

from libc.string cimport memcpy


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
    """B[k0:k0+K, j0:j0+columns] as (K, NV VL), zeros beside the last column."""
    cdef Py_ssize_t k, lanes
    cdef int v
    for v in range(NV):
        lanes = min(<Py_ssize_t> VL, columns - v * VL)
        for k in range(K):
            store(out + (k * NV + v) * VL,
                  load_lanes(p.B + (k0 + k) * p.N + j0 + v * VL, lanes))


cdef void pack_transposed(real* out, const Product* p, Py_ssize_t k0, Py_ssize_t K,
                          Py_ssize_t j0, Py_ssize_t columns, int NV) noexcept nogil:
    """The same from B stored (N, K), VL x VL elements at a time."""
    cdef Py_ssize_t k, lanes, depth, block
    cdef const real* at
    cdef vec x[16]
    cdef int v, c
    for v in range(NV):
        lanes = min(<Py_ssize_t> VL, columns - v * VL)
        for block in range((K + VL - 1) // VL):
            k = block * VL
            depth = min(<Py_ssize_t> VL, K - k)
            at = p.B + (j0 + v * VL) * p.K + k0 + k
            for c in range(VL):
                x[c] = load_lanes(at + c * p.K, depth) if c < lanes else splat(0)
            transpose(x)
            for c in range(VL):
                if c < depth:
                    store(out + ((k + c) * NV + v) * VL, x[c])


cdef void pack_rows(real* out, const Product* p, Py_ssize_t i0, Py_ssize_t M, Py_ssize_t k0,
                    Py_ssize_t K) noexcept nogil:
    """A[i0:i0+M, k0:k0+K] as (K, M): what a tile broadcasts lies side by side."""
    cdef Py_ssize_t i, k
    cdef const real* at = p.A + i0 * p.row + k0 * p.step
    if p.row == 1:
        for k in range(K):
            memcpy(out + k * M, at + k * p.step, M * sizeof(real))
    else:
        for k in range(K):
            for i in range(M):
                out[k * M + i] = at[i * p.row + k]
