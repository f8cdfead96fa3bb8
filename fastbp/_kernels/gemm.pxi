# Dense products for E1, E5 and E6: C (M, N) = A (M, K) B (K, N), then an epilogue.
#
#   E1  Z  = H W        epilogue: add b, then the activation, storing h and its derivative
#   E5  G  = delta W^T  epilogue: multiply by the stored derivative
#   E6  dW = H^T delta  no epilogue; the batch is the reduction
#
# N1: every element of C is one FMA chain over k ascending from +0, in blocks of KC; block
# results are added in ascending order.  Tiles, panels, packing and thread count choose which
# elements are computed together, never the order inside one.
#
#   for kb     blocks of KC along k, in chunks for few rows of A
#     for mb     blocks of MC rows, or of one tile; A's block is packed when that pays
#       for panel  NV vectors wide; B's panel is packed, or transposed, when it must be
#         for tile   MR x NV vectors of C in registers

include "tile.pxi"
include "packing.pxi"


# ---- driver --------------------------------------------------------------------------

cdef inline bint is_thin(double size, Py_ssize_t K) noexcept nogil:
    """Whether writing C, with the rows that others compute, is most of the work."""
    return K <= THIN and size * sizeof(real) > THIN_BYTES


cdef inline Py_ssize_t block_rows(const Product* p) noexcept nogil:
    """Rows of C that all panels walk down before the next ones."""
    return ROWS_4 if p.thin else MC


cdef inline int panel_width(const Product* p, Py_ssize_t vectors, bint pack_A) noexcept nogil:
    """How many vectors the next panel takes: pairs, three to end on, wide ones for few rows."""
    if p.M < 6 and p.transposed:
        return <int> min(<Py_ssize_t> WIDE_TRANSPOSED, vectors)
    if p.M < 6 or p.thin:
        return <int> min(<Py_ssize_t> WIDEST, vectors)
    if vectors == 3 and not pack_A:
        return 3
    return <int> min(<Py_ssize_t> 2, vectors)


cdef inline bint packs_rows(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Packing A pays once a block of it serves many panels."""
    return N >= PACK_A_COLUMNS and M >= PACK_A_ROWS and K >= PACK_A_DEPTH


cdef inline bint packs_panels(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Packing B pays when its rows lie far apart and many tiles read them."""
    return ((M >= PACK_B_ROWS and K * N * <Py_ssize_t> sizeof(real) >= PACK_B_BYTES)
            or (not MASKED_LOADS and N % VL != 0))


cdef inline bint in_chunks(const Product* p) noexcept nogil:
    """Whether reading B, as it lies, is most of the work; or packing it alone."""
    return (p.M <= FEW and p.K > THIN and not p.transposed
            and (p.magnitudes or p.K * p.N * <Py_ssize_t> sizeof(real) > FEW_BYTES))


cdef inline Py_ssize_t panel_room(const Product* p) noexcept nogil:
    """Reals of packed B held at a time: one panel, or all of them when A has more blocks."""
    cdef Py_ssize_t vectors = WIDEST
    if p.M > block_rows(p):
        vectors = max(vectors, (p.N + VL - 1) // VL)
    return min(<Py_ssize_t> KC, p.K) * vectors * VL


cdef inline Py_ssize_t product_room(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Reals for a product of up to M rows and K terms, which may go another way than all of them.

    The packed panels of B, and behind them packed rows of A or unfinished chains.
    """
    cdef Py_ssize_t vectors = (N + VL - 1) // VL, behind = min(<Py_ssize_t> FEW, M) * (N + VL)
    cdef Py_ssize_t panels = min(<Py_ssize_t> KC, K) * (
        max(<Py_ssize_t> WIDEST, vectors) if M > MC else WIDEST)
    if packs_rows(M, N, K):
        behind = max(behind, min(<Py_ssize_t> MC, M) * min(<Py_ssize_t> KC, K) + VL)
    return max(panels, min(<Py_ssize_t> THIN, K) * vectors) * VL + behind


cdef void multiply_block(const Product* p, Block* b, Py_ssize_t k0, bint pack_A, bint pack_B,
                         real* scratch) noexcept nogil:
    """Columns [k0, k0 + b.K) of A times these rows of B."""
    cdef real* panel
    cdef real* behind = scratch + panel_room(p)
    cdef Py_ssize_t rows = block_rows(p)
    cdef Py_ssize_t M, v, columns
    cdef int NV
    b.i = 0
    while b.i < p.M:
        M = min(rows, p.M - b.i)
        if pack_A:
            pack_rows(behind, p, b.i, M, k0, b.K)
            b.A, b.row, b.step = behind, 0, 0
        else:
            b.A, b.row, b.step = p.A + b.i * p.row + k0 * p.step, p.row, p.step
        panel = scratch
        v = p.begin
        while v < p.end:
            NV = panel_width(p, p.end - v, pack_A)
            b.j = v * VL
            columns = min(<Py_ssize_t> NV * VL, p.N - b.j)
            b.lanes = columns - (NV - 1) * VL
            b.chains = behind + b.j * p.M
            if pack_B:
                if b.i == 0 and p.transposed:
                    pack_transposed(panel, p, k0, b.K, b.j, columns, NV)
                elif b.i == 0:
                    pack_panel(panel, p, k0, b.K, b.j, columns, NV)
                b.B, b.ldb, b.B_lanes = panel, NV * VL, VL
                if p.M > rows:
                    panel += b.K * NV * VL
            else:
                b.B, b.ldb, b.B_lanes = p.B + k0 * p.N + b.j, p.N, b.lanes
            b.ahead, b.ahead_step = b.A, 0
            if pack_B and not p.transposed and b.i == 0 and v + 2 * NV <= p.end:
                b.ahead, b.ahead_step = p.B + k0 * p.N + (v + NV) * VL, p.N
            if pack_A:
                packed_panel(p, b, M, NV)
            elif b.row == 1:
                column_major_panel(p, b, M, NV)
            else:
                row_major_panel(p, b, M, NV)
            v += NV
        b.i += rows


cdef inline void choose_columns(Product* p, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Those to compute: whole vectors, and perhaps the last ones."""
    p.begin, p.end = first // VL, (first + count + VL - 1) // VL


cdef void multiply_matrices(const Product* p, real* scratch) noexcept nogil:
    """Block after block along k, and chunk after chunk of a block where that pays."""
    cdef Block b
    cdef Py_ssize_t kb, K, done, chunk
    cdef bint pack_A = packs_rows(p.M, p.N, p.K)
    cdef bint pack_B = p.transposed or p.magnitudes or packs_panels(p.M, p.N, p.K)
    cdef bint few = in_chunks(p)
    for kb in range(max(1, (p.K + KC - 1) // KC)):
        K = min(<Py_ssize_t> KC, p.K - kb * KC)
        chunk = CHUNK if few else max(K, 1)
        b.first = kb == 0 and not p.accumulate
        b.last = kb * KC + K == p.K
        done = 0
        while done == 0 or done < K:
            b.K = min(chunk, K - done)
            b.begun, b.unfinished = done > 0, done + b.K < K
            multiply_block(p, &b, kb * KC + done, pack_A, pack_B, scratch)
            done += chunk


cdef Py_ssize_t scratch_bytes(Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out) noexcept nogil:
    """What E1, E5 and E6, in both layouts, of a layer need at most for n rows or fewer."""
    return sizeof(real) * max(
        max(product_room(n, fan_out, fan_in), product_room(n, fan_in, fan_out)),
        max(product_room(fan_in, fan_out, n), product_room(fan_out, fan_in, n)))


# ---- the three products --------------------------------------------------------------

cdef inline Product layer(memory h, source h_prev, source W, source b, Py_ssize_t n,
                          Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed) noexcept nogil:
    """h = h_prev W + b.

    N4: a single output keeps the chains of N1. z^T = W^T h_prev^T has the samples as its
    columns, and h_prev^T is transposed in registers, so that every lane is in use.
    """
    cdef Product p
    p.swapped = fan_out == 1 and n > 1
    if p.swapped:
        p.M, p.N = 1, n
        p.A, p.B, p.transposed = <const real*> W, <const real*> h_prev, True
    else:
        p.M, p.N = n, fan_out
        p.A, p.B, p.transposed = <const real*> h_prev, <const real*> W, transposed
    choose_columns(&p, 0, p.N)
    p.C, p.K, p.row, p.step = <real*> h, fan_in, fan_in, 1
    p.accumulate = p.magnitudes = False
    p.thin = is_thin(<double> n * fan_out, fan_in)
    p.epilogue, p.activation = ACTIVATE, IDENTITY
    p.bias, p.derivative = <const real*> b, NULL
    return p


cdef void forward(memory h, memory dh, source h_prev, source W, source b, Py_ssize_t n,
                  Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                  Activation activation, Py_ssize_t first, Py_ssize_t count,
                  memory scratch) noexcept nogil:
    """E1: h = act(h_prev W + b), `count` columns of it from `first` on."""
    cdef Product p = layer(h, h_prev, W, b, n, fan_in, fan_out, transposed)
    if not p.swapped:
        choose_columns(&p, first, count)
    p.activation, p.derivative = activation, <real*> dh
    multiply_matrices(&p, <real*> scratch)


cdef void forward_magnitudes(memory e_z, source operand, source W, source b, Py_ssize_t n,
                             Py_ssize_t fan_in, Py_ssize_t fan_out, Py_ssize_t first,
                             Py_ssize_t count, memory scratch) noexcept nogil:
    """e_z = operand |W| + b; of one column, W must hold the magnitudes."""
    cdef Product p = layer(e_z, operand, W, b, n, fan_in, fan_out, False)
    if not p.swapped:
        choose_columns(&p, first, count)
    p.magnitudes = not p.swapped
    multiply_matrices(&p, <real*> scratch)


cdef inline Product layer_below(memory delta, source delta_next, source W, Py_ssize_t n,
                                Py_ssize_t fan_in, Py_ssize_t fan_out,
                                bint transposed) noexcept nogil:
    """delta = delta_next W^T."""
    cdef Product p
    p.C, p.M, p.N, p.K = <real*> delta, n, fan_in, fan_out
    choose_columns(&p, 0, p.N)
    p.A, p.row, p.step = <const real*> delta_next, fan_out, 1
    p.B = <const real*> W
    p.transposed = fan_out > 1 and not transposed       # one column is its own transpose
    p.accumulate = p.magnitudes = False
    p.thin = is_thin(<double> n * fan_in, fan_out)
    p.epilogue = STORE
    return p


cdef void delta_step(memory delta, source delta_next, source W, source dh, Py_ssize_t n,
                     Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed, Py_ssize_t first,
                     Py_ssize_t count, memory scratch) noexcept nogil:
    """E5: delta = (delta_next W^T) * dh, or dL/dX without dh; of its columns as in E1."""
    cdef Product p = layer_below(delta, delta_next, W, n, fan_in, fan_out, transposed)
    choose_columns(&p, first, count)
    p.epilogue, p.factor = STORE if dh == NULL else SCALE, <const real*> dh
    multiply_matrices(&p, <real*> scratch)


cdef void delta_magnitudes(memory e_g, source operand, source W, Py_ssize_t n, Py_ssize_t fan_in,
                           Py_ssize_t fan_out, Py_ssize_t first, Py_ssize_t count,
                           memory scratch) noexcept nogil:
    """e_g = operand |W^T|."""
    cdef Product p = layer_below(e_g, operand, W, n, fan_in, fan_out, False)
    choose_columns(&p, first, count)
    p.magnitudes = True
    multiply_matrices(&p, <real*> scratch)


cdef void column_sums(real* out, const real* delta, Py_ssize_t n, Py_ssize_t columns,
                      bint accumulate) noexcept nogil:
    """E6: db = sum_i delta_i, the chain of N1 with h = 1; n is at most one block of KC."""
    cdef Py_ssize_t i, j, block, lanes
    cdef vec acc
    for block in range((columns + VL - 1) // VL):
        j = block * VL
        lanes = min(<Py_ssize_t> VL, columns - j)
        acc = splat(0)
        for i in range(n):
            acc = acc + load_lanes(delta + i * columns + j, lanes)
        if accumulate:
            acc = load_lanes(out + j, lanes) + acc
        store_lanes(out + j, acc, lanes)


cdef void weight_grad(memory dW, memory db, source h_prev, source delta, Py_ssize_t n,
                      Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed, bint accumulate,
                      Py_ssize_t first, Py_ssize_t count, memory scratch) noexcept nogil:
    """E6: dW = h_prev^T delta, `count` rows of it from `first` on; db = sum_i delta_i.

    dW^T = delta^T h_prev is the same product with its sides swapped, element for element:
    it serves the (fan_out, fan_in) layout, and a single output, whose dW is a row in memory.
    """
    cdef Product p
    cdef bint swap = transposed or fan_out == 1
    cdef Py_ssize_t i
    p.K, p.M, p.N = n, count, fan_in if swap else fan_out
    choose_columns(&p, 0, p.N)
    p.row, p.step, p.transposed = 1, fan_out if swap else fan_in, False
    p.A, p.B = (<const real*> delta, <const real*> h_prev) if swap else (
        <const real*> h_prev, <const real*> delta)
    p.A += first
    p.C = <real*> dW + first * p.N
    p.accumulate, p.magnitudes, p.epilogue = accumulate, False, STORE
    p.thin = is_thin(<double> fan_in * fan_out, n)
    multiply_matrices(&p, <real*> scratch)
    if first > 0 or db == NULL:
        return
    for i in range(max(1, (n + KC - 1) // KC)):
        column_sums(<real*> db, <const real*> delta + i * KC * fan_out,
                    min(<Py_ssize_t> KC, n - i * KC), fan_out, accumulate or i > 0)
