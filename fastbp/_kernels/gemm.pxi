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
#   for kb     blocks of KC along k
#     for mb     blocks of MC rows; A's block is packed when that pays
#       for panel  NV vectors wide; B's panel is packed, or transposed, when it must be
#         for tile   MR x NV vectors of C in registers
#
# A tile that needs an epilogue leaves its registers for a buffer first: an epilogue that
# indexes the accumulators would make the compiler keep them in memory through the k loop.

cdef extern from "simd.h":
    enum: LOG2_VL, ROWS_1, ROWS_2, ROWS_3, ROWS_4, MASKED_LOADS

cdef enum:
    KC = 256                # the contract's block length
    MC = 256                # rows of A packed at a time
    WIDEST = 4              # vectors in the widest panel

ctypedef enum Epilogue:
    STORE                   # C = product
    ACTIVATE                # C = act(product + bias), derivative = act'
    SCALE                   # C = product * factor

ctypedef struct Product:
    real* C                 # OUT (M, N)
    const real* A           # IN  element (i, k) at A[i row + k step]; row or step is 1
    Py_ssize_t row
    Py_ssize_t step
    const real* B           # IN  (K, N), or (N, K) when transposed
    bint transposed
    Py_ssize_t M
    Py_ssize_t N
    Py_ssize_t K
    bint accumulate         # add the block results to what C holds
    Epilogue epilogue
    Activation activation
    const real* bias        # IN  (N,), or one for all columns when `swapped`
    bint swapped
    real* derivative        # OUT (M, N) or NULL
    const real* factor      # IN  (M, N)

ctypedef struct Block:      # the part of a Product one tile works on
    Py_ssize_t i            # first row, first column, columns in the last vector
    Py_ssize_t j
    Py_ssize_t lanes
    const real* A           # packed or not: rows `row` apart, columns `step`
    Py_ssize_t row
    Py_ssize_t step
    const real* B           # rows `ldb` apart; a packed panel's last vector is whole
    Py_ssize_t ldb
    Py_ssize_t B_lanes
    Py_ssize_t K
    bint first              # nothing to add to
    bint last               # the epilogue is due


# ---- epilogue ------------------------------------------------------------------------

cdef void activate(const Product* p, const real* z_tile, Py_ssize_t i0, Py_ssize_t j0,
                   int rows, int width, Py_ssize_t last_lanes) noexcept nogil:
    """E1: z = product + b; h = act(z), derivative = act'(z) from the tail q."""
    cdef Py_ssize_t o, lanes
    cdef int i, j
    cdef vec z, q
    for i in range(rows):
        for j in range(width):
            lanes = VL if j < width - 1 else last_lanes
            o = (i0 + i) * p.N + j0 + j * VL
            z = load(z_tile + (i * width + j) * VL)
            if p.swapped:
                z = z + splat(p.bias[0])
            else:
                z = z + load_lanes(p.bias + j0 + j * VL, lanes)
            if p.activation == SIGMOID:
                q = logistic(z).q
                if p.derivative != NULL:
                    store_lanes(p.derivative + o, q * (splat(1) - q), lanes)
                z = sigmoid_of(z, q)
            store_lanes(p.C + o, z, lanes)


cdef void scale(const Product* p, const real* g_tile, Py_ssize_t i0, Py_ssize_t j0,
                int rows, int width, Py_ssize_t last_lanes) noexcept nogil:
    """E5: delta = product * derivative."""
    cdef Py_ssize_t o, lanes
    cdef int i, j
    for i in range(rows):
        for j in range(width):
            lanes = VL if j < width - 1 else last_lanes
            o = (i0 + i) * p.N + j0 + j * VL
            store_lanes(p.C + o, load(g_tile + (i * width + j) * VL)
                        * load_lanes(p.factor + o, lanes), lanes)


# ---- register tile -------------------------------------------------------------------

cdef inline void tile(const Product* p, const Block* b, Py_ssize_t i, const real* A,
                      Py_ssize_t row, Py_ssize_t step, int MR, int NV) noexcept nogil:
    """MR x NV vectors of C from row b.i + i on; MR, NV and one of row, step are literals."""
    cdef vec acc[14][4]
    cdef vec x[4]
    cdef real buffer[14 * 4 * 16]
    cdef const real* B = b.B
    cdef real* C = p.C + (b.i + i) * p.N + b.j
    cdef vec a
    cdef Py_ssize_t k
    cdef int r, v
    for r in range(MR):
        for v in range(NV):
            acc[r][v] = splat(0)
    for k in range(b.K):
        for v in range(NV - 1):
            x[v] = load(B + v * VL)
        x[NV - 1] = load_tail(B + (NV - 1) * VL, b.B_lanes)
        for r in range(MR):
            a = splat(A[r * row])
            for v in range(NV):
                acc[r][v] = fma(a, x[v], acc[r][v])
        A += step
        B += b.ldb
    if not b.first:
        for r in range(MR):
            for v in range(NV - 1):
                acc[r][v] = load(C + r * p.N + v * VL) + acc[r][v]
            acc[r][NV - 1] = load_lanes(C + r * p.N + (NV - 1) * VL, b.lanes) + acc[r][NV - 1]
    if b.last and p.epilogue != STORE:
        for r in range(MR):
            for v in range(NV):
                store(buffer + (r * NV + v) * VL, acc[r][v])
        if p.epilogue == ACTIVATE:
            activate(p, buffer, b.i + i, b.j, MR, NV, b.lanes)
        else:
            scale(p, buffer, b.i + i, b.j, MR, NV, b.lanes)
        return
    for r in range(MR):
        for v in range(NV - 1):
            store(C + r * p.N + v * VL, acc[r][v])
        store_lanes(C + r * p.N + (NV - 1) * VL, acc[r][NV - 1], b.lanes)


cdef inline Py_ssize_t tile_rows(Py_ssize_t left, int MR) noexcept nogil:
    """Rows of the next tile: MR while they last, then 8, 4, 2 and 1."""
    if left >= MR:
        return MR
    if left >= 8:
        return 8
    if left >= 4:
        return 4
    return 2 if left >= 2 else 1


cdef inline void panel_of(const Product* p, const Block* b, Py_ssize_t M, Py_ssize_t row,
                          Py_ssize_t step, bint packed, int MR, int NV) noexcept nogil:
    """C's panel of NV vectors, M rows; of a packed A each tile has rows 1, step MR apart."""
    cdef Py_ssize_t i = 0, m
    cdef const real* A = b.A
    while i < M:
        m = tile_rows(M - i, MR)
        if m == MR:
            tile(p, b, i, A, row, MR if packed else step, MR, NV)
        elif MR > 8 and m == 8:
            tile(p, b, i, A, row, 8 if packed else step, 8, NV)
        elif MR > 4 and m == 4:
            tile(p, b, i, A, row, 4 if packed else step, 4, NV)
        elif m == 2:
            tile(p, b, i, A, row, 2 if packed else step, 2, NV)
        else:
            tile(p, b, i, A, row, 1 if packed else step, 1, NV)
        A += m * (b.K if packed else row)
        i += m


cdef void row_major_panel(const Product* p, const Block* b, Py_ssize_t M, int NV) noexcept nogil:
    if NV == 1:
        panel_of(p, b, M, b.row, 1, False, ROWS_1, 1)
    elif NV == 2:
        panel_of(p, b, M, b.row, 1, False, ROWS_2, 2)
    elif NV == 3:
        panel_of(p, b, M, b.row, 1, False, ROWS_3, 3)
    else:
        panel_of(p, b, M, b.row, 1, False, ROWS_4, 4)


cdef void column_major_panel(const Product* p, const Block* b, Py_ssize_t M, int NV) noexcept nogil:
    if NV == 1:
        panel_of(p, b, M, 1, b.step, False, ROWS_1, 1)
    elif NV == 2:
        panel_of(p, b, M, 1, b.step, False, ROWS_2, 2)
    elif NV == 3:
        panel_of(p, b, M, 1, b.step, False, ROWS_3, 3)
    else:
        panel_of(p, b, M, 1, b.step, False, ROWS_4, 4)


cdef void packed_panel(const Product* p, const Block* b, Py_ssize_t M, int NV) noexcept nogil:
    """Rows packed for tiles of ROWS_2: panels of two vectors, and one for a last odd one."""
    if NV == 1:
        panel_of(p, b, M, 1, 0, True, ROWS_2, 1)
    else:
        panel_of(p, b, M, 1, 0, True, ROWS_2, 2)


include "packing.pxi"


# ---- driver --------------------------------------------------------------------------

cdef inline int panel_width(Py_ssize_t vectors, Py_ssize_t M, bint pack_A) noexcept nogil:
    """How many vectors the next panel takes: pairs, three to end on, wide ones for few rows."""
    if M < 6:
        return <int> min(<Py_ssize_t> WIDEST, vectors)
    if vectors == 3 and not pack_A:
        return 3
    return <int> min(<Py_ssize_t> 2, vectors)


cdef inline bint packs_rows(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Packing A pays once a block of it serves many panels."""
    return N >= 8 * VL and M >= 64 and K >= 64


cdef inline bint packs_panels(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Packing B pays when its rows lie far apart and many tiles read them."""
    return (M >= 16 and K * N > 8192) or (not MASKED_LOADS and N % VL != 0)


cdef inline Py_ssize_t panel_room(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Reals of packed B held at a time: one panel, or all of them when A has more blocks."""
    cdef Py_ssize_t widths = max(<Py_ssize_t> WIDEST, (N + VL - 1) // VL if M > MC else 0)
    return min(<Py_ssize_t> KC, K) * widths * VL


cdef void multiply_matrices(const Product* p, real* scratch) noexcept nogil:
    cdef Block b
    cdef real* panel
    cdef real* packed_rows = scratch + panel_room(p.M, p.N, p.K)
    cdef Py_ssize_t kb, mb, k0, M, v, columns, vectors = (p.N + VL - 1) // VL
    cdef bint pack_A = packs_rows(p.M, p.N, p.K), pack_B = packs_panels(p.M, p.N, p.K)
    cdef int NV
    for kb in range(max(1, (p.K + KC - 1) // KC)):
        k0 = kb * KC
        b.K = min(<Py_ssize_t> KC, p.K - k0)
        b.first = kb == 0 and not p.accumulate
        b.last = k0 + b.K == p.K
        for mb in range((p.M + MC - 1) // MC):
            b.i = mb * MC
            M = min(<Py_ssize_t> MC, p.M - b.i)
            if pack_A:
                pack_rows(packed_rows, p, b.i, M, k0, b.K)
                b.A, b.row, b.step = packed_rows, 0, 0
            else:
                b.A, b.row, b.step = p.A + b.i * p.row + k0 * p.step, p.row, p.step
            panel = scratch
            v = 0
            while v < vectors:
                NV = panel_width(vectors - v, p.M, pack_A)
                b.j = v * VL
                columns = min(<Py_ssize_t> NV * VL, p.N - b.j)
                b.lanes = columns - (NV - 1) * VL
                if p.transposed or pack_B:
                    if mb == 0 and p.transposed:
                        pack_transposed(panel, p, k0, b.K, b.j, columns, NV)
                    elif mb == 0:
                        pack_panel(panel, p, k0, b.K, b.j, columns, NV)
                    b.B, b.ldb, b.B_lanes = panel, NV * VL, VL
                    if p.M > MC:
                        panel += b.K * NV * VL
                else:
                    b.B, b.ldb, b.B_lanes = p.B + k0 * p.N + b.j, p.N, b.lanes
                if pack_A:
                    packed_panel(p, &b, M, NV)
                elif b.row == 1:
                    column_major_panel(p, &b, M, NV)
                else:
                    row_major_panel(p, &b, M, NV)
                v += NV


cdef inline Py_ssize_t product_room(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t room = panel_room(M, N, K)
    if packs_rows(M, N, K):
        room += min(<Py_ssize_t> MC, M) * min(<Py_ssize_t> KC, K) + VL
    return room


cdef Py_ssize_t scratch_bytes(Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out) noexcept nogil:
    """What E1, E5 and E6 (in both layouts) of a layer need at most for a batch of n rows."""
    return sizeof(real) * max(
        max(product_room(n, fan_out, fan_in), product_room(n, fan_in, fan_out)),
        max(product_room(fan_in, fan_out, n), product_room(fan_out, fan_in, n)))


# ---- the three products --------------------------------------------------------------

cdef void forward(memory h, memory dh, source h_prev, source W, source b, Py_ssize_t n,
                  Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                  Activation activation, memory scratch) noexcept nogil:
    """E1: h = act(h_prev W + b).

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
    p.C, p.K, p.row, p.step = <real*> h, fan_in, fan_in, 1
    p.accumulate = False
    p.epilogue, p.activation = ACTIVATE, activation
    p.bias, p.derivative = <const real*> b, <real*> dh
    multiply_matrices(&p, <real*> scratch)


cdef void delta_step(memory delta, source delta_next, source W, source dh, Py_ssize_t n,
                     Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                     memory scratch) noexcept nogil:
    """E5: delta = (delta_next W^T) * dh, or dL/dX without dh."""
    cdef Product p
    p.C, p.M, p.N, p.K = <real*> delta, n, fan_in, fan_out
    p.A, p.row, p.step = <const real*> delta_next, fan_out, 1
    p.B, p.transposed = <const real*> W, not transposed
    p.accumulate = False
    p.epilogue, p.factor = STORE if dh == NULL else SCALE, <const real*> dh
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
                      memory scratch) noexcept nogil:
    """E6: dW = h_prev^T delta, db = sum_i delta_i.

    dW^T = delta^T h_prev is the same product with its sides swapped, element for element:
    it serves the (fan_out, fan_in) layout, and a single output, whose dW is a row in memory.
    """
    cdef Product p
    cdef bint swap = transposed or fan_out == 1
    cdef Py_ssize_t i
    p.C, p.K = <real*> dW, n
    p.M, p.N = (fan_out, fan_in) if swap else (fan_in, fan_out)
    p.A, p.B = (<const real*> delta, <const real*> h_prev) if swap else (
        <const real*> h_prev, <const real*> delta)
    p.row, p.step, p.transposed = 1, p.M, False
    p.accumulate, p.epilogue = accumulate, STORE
    multiply_matrices(&p, <real*> scratch)
    for i in range(max(1, (n + KC - 1) // KC)):
        column_sums(<real*> db, <const real*> delta + i * KC * fan_out,
                    min(<Py_ssize_t> KC, n - i * KC), fan_out, accumulate or i > 0)
