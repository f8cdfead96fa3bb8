# E1, E5 and E6 of a layer as products of matrices, and how each is computed.

ctypedef struct Product:    # C (M, N) = A B; then C + bias, C * factor, act(C), where there are any
    real* C                 # OUT (M, N), rows `ldc` apart
    Py_ssize_t ldc
    const real* A           # IN  element (i, k) at A[i rsa + k csa]; one of the strides is 1
    Py_ssize_t rsa
    Py_ssize_t csa
    const real* B           # IN  (K, N), or (N, K) when transposed; rows `ldb` apart
    Py_ssize_t ldb
    bint transposed
    bint magnitudes         # |B| in place of B, which is packed then
    Py_ssize_t M
    Py_ssize_t N
    Py_ssize_t K
    Py_ssize_t first_vector     # of the columns to compute: [first_vector, end_vector)
    Py_ssize_t end_vector
    bint in_scratch         # C is scratch of a larger product
    bint accumulate         # add the block results to what C holds
    const real* bias        # IN  (N,) or NULL
    const real* factor      # IN  like C, or NULL
    Activation activation
    real* slope             # OUT like C, or NULL
    # The choices of `decide`, which change no bit:
    bint thin               # writing C, or the dW that it is a part of, is most of the work
    bint one_panel          # `multiply_one_panel` computes it
    Py_ssize_t leftover     # columns behind the last whole vector that are computed another way
    bint pack_A
    bint pack_B
    Py_ssize_t strip_rows   # rows of C in a strip: every panel of it comes before the next strip
    Py_ssize_t chunk        # terms of a chain that are computed at a time: KC, fewer for few rows
    Py_ssize_t panel_reals  # of scratch for packed panels of B; packed A or chains lie behind them


# ---- E1, E5, E6 -----------------------------------------------------------------------

cdef inline Product forward_product(memory h, source h_prev, source W, source b, Py_ssize_t n,
                                    Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                                    Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """h = h_prev W + b."""
    cdef Product p
    p.C, p.M, p.N, p.K = <real*> h, n, fan_out, fan_in
    p.ldc, p.ldb = fan_out, fan_in if transposed else fan_out
    choose_columns(&p, first, count)
    p.A, p.rsa, p.csa = <const real*> h_prev, fan_in, 1
    p.B, p.transposed = <const real*> W, transposed
    p.accumulate = p.magnitudes = p.in_scratch = False
    p.thin = is_thin(n * fan_out, fan_in)
    p.bias, p.factor = <const real*> b, NULL
    p.activation, p.slope = IDENTITY, NULL
    return p


cdef void forward(memory h, memory slope, source h_prev, source W, source b, Py_ssize_t n,
                  Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                  Activation activation, Py_ssize_t first, Py_ssize_t count,
                  memory scratch) noexcept nogil:
    """E1: h = act(h_prev W + b), `count` columns of it from `first` on."""
    cdef Product p = forward_product(h, h_prev, W, b, n, fan_in, fan_out, transposed, first, count)
    p.activation, p.slope = activation, <real*> slope
    decide(&p)
    multiply_matrices(&p, <real*> scratch)


cdef void forward_magnitudes(memory e_z, source operand, source W, source b, Py_ssize_t n,
                             Py_ssize_t fan_in, Py_ssize_t fan_out, Py_ssize_t first,
                             Py_ssize_t count, memory scratch) noexcept nogil:
    """e_z = operand |W| + b; of one column, W must hold the magnitudes."""
    cdef Product p = forward_product(e_z, operand, W, b, n, fan_in, fan_out, False, first, count)
    p.magnitudes = fan_out > 1 or n == 1
    decide(&p)
    multiply_matrices(&p, <real*> scratch)


cdef inline Product delta_product(memory delta, source delta_next, source W, Py_ssize_t n,
                                  Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                                  Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """delta = delta_next W^T."""
    cdef Product p
    p.C, p.M, p.N, p.K = <real*> delta, n, fan_in, fan_out
    p.transposed = fan_out > 1 and not transposed       # one column is its own transpose
    p.ldc, p.ldb = fan_in, fan_out if p.transposed else fan_in
    choose_columns(&p, first, count)
    p.A, p.rsa, p.csa = <const real*> delta_next, fan_out, 1
    p.B = <const real*> W
    p.accumulate = p.magnitudes = p.in_scratch = False
    p.thin = is_thin(n * fan_in, fan_out)
    p.bias, p.factor = NULL, NULL
    p.activation, p.slope = IDENTITY, NULL
    return p


cdef void delta_step(memory delta, source delta_next, source W, source slope, Py_ssize_t n,
                     Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed, Py_ssize_t first,
                     Py_ssize_t count, memory scratch) noexcept nogil:
    """E5: delta = (delta_next W^T) * slope, or dL/dX without slope; of its columns as in E1."""
    cdef Product p = delta_product(delta, delta_next, W, n, fan_in, fan_out, transposed, first,
                                   count)
    p.factor = <const real*> slope
    decide(&p)
    multiply_matrices(&p, <real*> scratch)


cdef void delta_magnitudes(memory e_g, source operand, source W, Py_ssize_t n, Py_ssize_t fan_in,
                           Py_ssize_t fan_out, Py_ssize_t first, Py_ssize_t count,
                           memory scratch) noexcept nogil:
    """e_g = operand |W^T|."""
    cdef Product p = delta_product(e_g, operand, W, n, fan_in, fan_out, False, first, count)
    p.magnitudes = True
    decide(&p)
    multiply_matrices(&p, <real*> scratch)


cdef inline void sums_of(real* out, const real* delta, Py_ssize_t n, Py_ssize_t columns,
                         Py_ssize_t lanes, bint accumulate, int NV) noexcept nogil:
    """The sums of NV vectors of columns, the last of which has `lanes`.

    NV, a literal, is the number of chains that a CPU can work on at once.
    """
    cdef Py_ssize_t i
    cdef vec acc[4]
    cdef int v
    for v in range(NV):
        acc[v] = splat(0)
    for i in range(n):
        for v in range(NV - 1):
            acc[v] = acc[v] + load(delta + i * columns + v * VL)
        acc[NV - 1] = acc[NV - 1] + load_tail(delta + i * columns + (NV - 1) * VL, lanes)
    for v in range(NV - 1):
        store(out + v * VL, load(out + v * VL) + acc[v] if accumulate else acc[v])
    v = NV - 1
    store_tail(out + v * VL, load_tail(out + v * VL, lanes) + acc[v] if accumulate else acc[v],
               lanes)


cdef void column_sums(real* out, const real* delta, Py_ssize_t n, Py_ssize_t columns,
                      bint accumulate) noexcept nogil:
    """E6: db = sum_i delta_i, the chain of N1 with h = 1; n is at most one block of KC."""
    cdef Py_ssize_t j = 0, left
    while j < columns:
        left = columns - j
        if left > 3 * VL:
            sums_of(out + j, delta + j, n, columns, min(<Py_ssize_t> VL, left - 3 * VL),
                    accumulate, 4)
            j += 4 * VL
        elif left > VL:
            sums_of(out + j, delta + j, n, columns, min(<Py_ssize_t> VL, left - VL), accumulate, 2)
            j += 2 * VL
        else:
            sums_of(out + j, delta + j, n, columns, left, accumulate, 1)
            j += VL


cdef inline Product gradient_product(memory dW, source h_prev, source delta, Py_ssize_t n,
                                     Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                                     bint accumulate) noexcept nogil:
    """dW = h_prev^T delta.

    dW^T = delta^T h_prev is the same product with its sides swapped, element for element:
    it serves the (fan_out, fan_in) layout, and a single output, whose dW is a row in memory.
    """
    cdef Product p
    cdef bint swap = transposed or fan_out == 1
    p.K, p.M, p.N = n, fan_out if swap else fan_in, fan_in if swap else fan_out
    p.ldb = p.ldc = p.N
    p.rsa, p.csa, p.transposed = 1, p.M, False
    p.A, p.B = (<const real*> delta, <const real*> h_prev) if swap else (
        <const real*> h_prev, <const real*> delta)
    p.C = <real*> dW
    p.accumulate, p.magnitudes, p.in_scratch = accumulate, False, False
    p.bias, p.factor, p.activation, p.slope = NULL, NULL, IDENTITY, NULL
    p.thin = is_thin(fan_in * fan_out, n)
    return p


cdef void weight_grad(memory dW, memory db, source h_prev, source delta, Py_ssize_t n,
                      Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed, bint accumulate,
                      Py_ssize_t first, Py_ssize_t count, memory scratch) noexcept nogil:
    """E6: dW = h_prev^T delta, `count` rows of it from `first` on; db = sum_i delta_i."""
    cdef Product p = gradient_product(dW, h_prev, delta, n, fan_in, fan_out, transposed, accumulate)
    cdef Py_ssize_t i
    choose_columns(&p, 0, p.N)
    p.A += first
    p.C += first * p.N
    p.M = count
    decide(&p)
    multiply_matrices(&p, <real*> scratch)
    if first > 0 or db == NULL:
        return
    for i in range(max(1, (n + KC - 1) // KC)):
        column_sums(<real*> db, <const real*> delta + i * KC * fan_out,
                    min(<Py_ssize_t> KC, n - i * KC), fan_out, accumulate or i > 0)


# ---- what is chosen ------------------------------------------------------------------

cdef inline void choose_columns(Product* p, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Columns [first, first + count) are computed; `first` begins a vector."""
    p.first_vector, p.end_vector = first // VL, (first + count + VL - 1) // VL


cdef inline void decide(Product* p) noexcept nogil:
    """Choose how the product is computed, once its operands and columns are set."""
    p.one_panel, p.leftover = is_one_panel(p), 0
    if p.one_panel:
        return
    p.leftover = leftover_columns(p)
    if p.leftover > 0:
        p.end_vector = p.N // VL
    decide_blocks(p)


cdef inline void decide_blocks(Product* p) noexcept nogil:
    """Choose packing, chunks and strips for the columns that are not left over."""
    p.pack_A = packs_rows(p.M, p.N, p.K)
    p.pack_B = p.transposed or p.magnitudes or packs_panels(p.M, p.N, p.K)
    p.chunk = FEW_ROWS_CHUNK if in_chunks(p) else KC
    p.strip_rows = strip_rows(p)
    p.panel_reals = panel_room(p) if p.pack_B else 0


cdef inline bint is_one_panel(const Product* p) noexcept nogil:
    """Whether C is so small that choosing takes longer: a few rows of at most two vectors."""
    return (0 < p.N <= 2 * VL and p.M <= min(<int> ONE_PANEL_ROWS, <int> FEW_ROWS) and p.K <= KC
            and p.end_vector * VL >= p.N
            and (p.N > 1 or p.M == 1) and not p.magnitudes
            and (MASKED_LOADS or p.transposed or p.N % VL == 0))


cdef inline Py_ssize_t leftover_columns(const Product* p) noexcept nogil:
    """How many columns behind the last whole vector go with rows of A as lanes: all, or none.

    All, if this takes fewer multiply-adds of vectors than one more vector of columns.
    """
    cdef Py_ssize_t left = p.N % VL, vectors = (p.M + VL - 1) // VL, turning = 0
    cdef Py_ssize_t as_columns = p.M * p.K
    if left == 0 or p.end_vector * VL < p.N or p.magnitudes or p.M < VL:
        return 0
    if p.csa == 1:
        turning = TURNING
        if left > MOST_TURNED:
            return 0
    elif HALVES and left <= VL // 2:
        as_columns = as_columns * HALF_COST // 4
    if vectors * (p.K * (turning + max(left, <Py_ssize_t> 2)) + CARRYING * left * VL) < as_columns:
        return left
    return 0


cdef inline bint is_thin(Py_ssize_t size, Py_ssize_t K) noexcept nogil:
    """Whether writing C, of so many numbers in all, is most of the work."""
    return K <= THIN and size > THIN_BYTES // <Py_ssize_t> sizeof(real)


cdef inline bint packs_rows(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Packing A pays once a block of it serves many panels."""
    return N >= PACK_A_COLUMNS and M >= PACK_A_ROWS and K >= PACK_A_DEPTH


cdef inline bint packs_panels(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Packing B pays when its rows lie far apart and many tiles read them."""
    return ((M >= PACK_B_ROWS and K * N * <Py_ssize_t> sizeof(real) >= PACK_B_BYTES)
            or (not MASKED_LOADS and N % VL != 0))


cdef inline bint in_chunks(const Product* p) noexcept nogil:
    """Whether reading B from memory is most of the work, in its own place or to pack magnitudes."""
    return (p.M <= FEW_ROWS and p.K > THIN and p.csa == 1 and not p.transposed and not p.in_scratch
            and (p.magnitudes or p.K * p.N * <Py_ssize_t> sizeof(real) > FEW_ROWS_BYTES))


cdef inline Py_ssize_t strip_rows(const Product* p) noexcept nogil:
    """Rows of C in a strip: few where they are activated, so that they are in a cache then."""
    cdef Py_ssize_t tiles
    if p.thin:
        return ROWS_4
    if p.activation == IDENTITY or p.pack_A or p.pack_B or p.M <= FEW_ROWS:
        return MC
    tiles = STRIP_BYTES // (p.N * <Py_ssize_t> sizeof(real) * ROWS_2)
    return max(<Py_ssize_t> 1, tiles) * ROWS_2


cdef inline Py_ssize_t panel_room(const Product* p) noexcept nogil:
    """Reals of packed B held at a time: one panel, or all of them when there are more strips."""
    cdef Py_ssize_t vectors = WIDEST
    if p.M > p.strip_rows:
        vectors = max(vectors, (p.N + VL - 1) // VL)
    return min(<Py_ssize_t> KC, p.K) * vectors * VL


cdef inline Py_ssize_t product_room(Py_ssize_t M, Py_ssize_t N, Py_ssize_t K) noexcept nogil:
    """Reals of scratch that suffice for every product of at most M rows, N columns and K terms.

    A smaller product may be computed in another way than the largest, so that this is the room of
    all ways: left-over columns, packed panels of B, and behind them packed rows of A or unfinished
    chains.
    """
    cdef Py_ssize_t vectors = (N + VL - 1) // VL, rest = min(<Py_ssize_t> FEW_ROWS, M) * (N + VL)
    cdef Py_ssize_t panels = min(<Py_ssize_t> KC, K) * (
        max(<Py_ssize_t> WIDEST, vectors) if M > MC else WIDEST)
    if packs_rows(M, N, K):
        rest = max(rest, min(<Py_ssize_t> MC, M) * min(<Py_ssize_t> KC, K) + VL)
    return (max(panels, min(<Py_ssize_t> THIN, K) * vectors) * VL + rest
            + N % VL * min(<Py_ssize_t> MC, M))


cdef Py_ssize_t scratch_bytes(Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out) noexcept nogil:
    """What E1, E5 and E6, in both layouts, of a layer need at most for n rows or fewer."""
    return sizeof(real) * max(
        max(product_room(n, fan_out, fan_in), product_room(n, fan_in, fan_out)),
        max(product_room(fan_in, fan_out, n), product_room(fan_out, fan_in, n)))
