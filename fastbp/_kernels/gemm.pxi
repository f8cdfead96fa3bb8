# Dense products for E1, E5 and E6: C (M, N) = A (M, K) B (K, N), then what follows it.
#
#   E1  Z  = H W        then: add b, the activation, storing h and its derivative
#   E5  G  = delta W^T  then: multiply by the stored derivative
#   E6  dW = H^T delta  the batch is the reduction
#
# N1: every element of C is one FMA chain over k ascending from +0, in blocks of KC; block
# results are added in ascending order.  Tiles, panels, packing, lanes and thread count choose
# which elements are computed together, never the order inside one.
#
# `multiply_matrices`, at the end of this file, does the following; the names are those of the code.
#
#   multiply_left_over      the columns behind the last whole vector, with rows of A as lanes where
#                           that takes less time (leftover.pxi)
#   multiply_blocks         kb, a block of KC terms along k, in chunks where A has few rows
#     multiply_block          i, a strip of rows, of which A is packed where that pays
#       place_B                 v, a panel of NV vectors of columns; B's part of it is packed where
#                               that pays, or transposed
#         tile                    MR rows of the panel in registers; at the end of the sum they add
#                                 the bias, or are multiplied by the slope
#       activate_rows           the rows of C that are finished, as they lie in memory, whatever
#                               their length, while they are in the cache

include "tile.pxi"
include "packing.pxi"


# ---- driver --------------------------------------------------------------------------

cdef inline int panel_width(const Product* p, Py_ssize_t vectors) noexcept nogil:
    """How many vectors wide the next panel is, where so many vectors of columns are left.

    Two, as a rule. The last three make one panel, so that none of one vector is left. Where there
    are few rows, or C is thin, a panel is as wide as a tile can be, or as a transposed B allows.
    """
    if p.M <= WIDE_ROWS and p.transposed:
        return <int> min(<Py_ssize_t> WIDE_TRANSPOSED, vectors)
    if p.M <= WIDE_ROWS or p.thin:
        return <int> min(<Py_ssize_t> WIDEST, vectors)
    if vectors == 3 and not p.pack_A:
        return 3
    return <int> min(<Py_ssize_t> 2, vectors)


cdef inline void place_B(const Product* p, Panel* b, real* panel, Py_ssize_t k0,
                         Py_ssize_t columns, int NV) noexcept nogil:
    """The panel's columns of B: as they lie, or packed with the first strip of rows."""
    b.ahead, b.ahead_step = b.A, 0
    if not p.pack_B:
        b.B, b.ldb, b.B_lanes = p.B + k0 * p.ldb + b.j, p.ldb, b.lanes
        return
    b.B, b.ldb, b.B_lanes = panel, NV * VL, VL
    if b.i > 0:
        return
    if p.transposed:
        pack_transposed(panel, p, k0, b.K, b.j, columns, NV)
        return
    pack_panel(panel, p, k0, b.K, b.j, columns, NV)
    if b.j + 2 * NV * VL <= p.end_vector * VL:
        b.ahead, b.ahead_step = p.B + k0 * p.ldb + b.j + NV * VL, p.ldb


cdef void multiply_block(const Product* p, Panel* b, Py_ssize_t k0,
                         real* scratch) noexcept nogil:
    """Columns [k0, k0 + b.K) of A times the same rows of B, strip after strip."""
    cdef Py_ssize_t M, v, columns, activated = 0
    cdef real* panel
    cdef real* packed_A = scratch + p.panel_reals
    cdef real* chains = packed_A        # few rows of A are never packed
    cdef bint activate_strips = p.activation != IDENTITY and b.ends_sum and not b.suspends
    cdef int NV
    b.i = 0
    while b.i < p.M:
        M = min(p.strip_rows, p.M - b.i)
        if p.pack_A:
            pack_rows(packed_A, p, b.i, M, k0, b.K)
            b.A, b.rsa, b.csa = packed_A, 0, 0
        else:
            b.A, b.rsa, b.csa = p.A + b.i * p.rsa + k0 * p.csa, p.rsa, p.csa
        panel = scratch
        v = p.first_vector
        while v < p.end_vector:
            NV = panel_width(p, p.end_vector - v)
            b.j = v * VL
            columns = min(<Py_ssize_t> NV * VL, p.N - b.j)
            b.lanes = columns - (NV - 1) * VL
            b.chains = chains + b.j * p.M
            place_B(p, b, panel, k0, columns, NV)
            if p.pack_B and p.M > p.strip_rows:
                panel += b.K * NV * VL
            if p.pack_A:
                packed_panel(p, b, M, NV)
            elif b.csa == 1:
                row_major_panel(p, b, M, NV)
            else:
                column_major_panel(p, b, M, NV)
            v += NV
        b.i += p.strip_rows
        if activate_strips:
            activated = activate_rows(p, activated, min(b.i, p.M))


cdef Py_ssize_t activate_rows(const Product* p, Py_ssize_t done, Py_ssize_t rows) noexcept nogil:
    """E1: h = act(z), slope = act'(z) of the rows before `rows`.

    `done` is what the last call returned, 0 before the first. Where all columns of C are computed,
    it counts units, since whole rows are one piece of memory: the units that do not fill LOGISTICS
    vectors wait for the next strip. Otherwise it counts rows.
    """
    cdef Py_ssize_t first = p.first_vector * VL, i, at
    cdef Py_ssize_t count = min(p.end_vector * VL + p.leftover, p.N) - first
    if count == p.ldc:
        at = rows * count
        if rows < p.M:
            at -= at % (LOGISTICS * VL)
        activate_part(p, done, at - done)
        return at
    for i in range(done, rows):
        activate_part(p, i * p.ldc + first, count)
    return rows


cdef inline void activate_part(const Product* p, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    activate(p.C + at, p.slope + at if p.slope != NULL else NULL, p.C + at,
             p.activation, size)


cdef void multiply_blocks(const Product* p, real* scratch) noexcept nogil:
    """C without its left-over columns: block after block along k, each in one chunk or several."""
    cdef Panel b
    cdef Py_ssize_t kb, K, done
    for kb in range(max(1, (p.K + KC - 1) // KC)):
        K = min(<Py_ssize_t> KC, p.K - kb * KC)
        b.starts_sum = kb == 0 and not p.accumulate
        b.ends_sum = kb * KC + K == p.K
        done = 0
        while done == 0 or done < K:
            b.K = min(p.chunk, K - done)
            b.resumes, b.suspends = done > 0, done + b.K < K
            multiply_block(p, &b, kb * KC + done, scratch)
            done += p.chunk


include "leftover.pxi"


cdef inline void take_whole(Panel* b, const Product* p, real* scratch, int NV) noexcept nogil:
    """The panel that is the whole product, and the only block of its chains."""
    b.i = b.j = 0
    b.lanes = p.N - (NV - 1) * VL
    b.A, b.rsa, b.csa, b.K = p.A, p.rsa, p.csa, p.K
    b.B, b.ldb, b.B_lanes = p.B, p.ldb, b.lanes
    if p.transposed:
        pack_transposed(scratch, p, 0, p.K, 0, p.N, NV)
        b.B, b.ldb, b.B_lanes = scratch, NV * VL, VL
    b.ahead, b.ahead_step, b.chains = b.A, 0, NULL
    b.resumes = b.suspends = False
    b.starts_sum, b.ends_sum = not p.accumulate, True


cdef inline void multiply_one_sample(const Product* p, real* scratch, int NV) noexcept nogil:
    """A product whose A is one row, or one column of at most ONE_PANEL_ROWS numbers.

    No loop over tiles is needed: one tile has the row, and as many tiles as M has bits the column.
    """
    cdef Panel b
    cdef Py_ssize_t i = 0
    take_whole(&b, p, scratch, NV)
    if p.M == 1:
        tile(p, &b, 0, b.A, 0, b.csa, True, 1, NV, False)
        return
    # A literal, so that no tile has a loop over k: of several loops in one function, the compiler
    # would keep the accumulators of some in memory.
    b.K = 1
    if p.M == ONE_PANEL_ROWS:
        tile(p, &b, 0, b.A, 1, 0, False, 8, NV, False)
    if p.M & 4:
        tile(p, &b, 0, b.A, 1, 0, False, 4, NV, False)
        i = 4
    if p.M & 2:
        tile(p, &b, i, b.A + i, 1, 0, False, 2, NV, False)
        i += 2
    if p.M & 1:
        tile(p, &b, i, b.A + i, 1, 0, False, 1, NV, False)


cdef void multiply_one_panel(const Product* p, real* scratch) noexcept nogil:
    """The same as `multiply_blocks` without its choices and loops.

    They would take as long as the products themselves in a network of a few units and samples.
    """
    cdef Panel b
    cdef int NV = 1 if p.N <= VL else 2
    if p.M == 1 or (p.K == 1 and p.csa != 1):
        if NV == 1:
            multiply_one_sample(p, scratch, 1)
        else:
            multiply_one_sample(p, scratch, 2)
    else:
        take_whole(&b, p, scratch, NV)
        if b.csa == 1:
            row_major_panel(p, &b, p.M, NV)
        else:
            column_major_panel(p, &b, p.M, NV)
    if p.activation != IDENTITY:
        activate_part(p, 0, p.M * p.N)


cdef void multiply_matrices(const Product* p, real* scratch) noexcept nogil:
    """C = A B, with what follows it."""
    if p.one_panel:
        multiply_one_panel(p, scratch)
        return
    if p.leftover > 0:
        multiply_left_over(p, scratch)
    multiply_blocks(p, scratch)
