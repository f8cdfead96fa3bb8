# E1, E5 and E6 of a layer as products of matrices.

cdef Py_ssize_t scratch_bytes(Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out) noexcept nogil:
    """What E1, E5 and E6, in both layouts, of a layer need at most for n rows or fewer."""
    return sizeof(real) * max(
        max(product_room(n, fan_out, fan_in), product_room(n, fan_in, fan_out)),
        max(product_room(fan_in, fan_out, n), product_room(fan_out, fan_in, n)))


cdef inline Product layer(memory h, source h_prev, source W, source b, Py_ssize_t n,
                          Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed, Py_ssize_t first,
                          Py_ssize_t count) noexcept nogil:
    """h = h_prev W + b."""
    cdef Product p
    p.C, p.M, p.N, p.K = <real*> h, n, fan_out, fan_in
    p.ldc, p.ldb = fan_out, fan_in if transposed else fan_out
    choose_columns(&p, first, count)
    p.A, p.row, p.step = <const real*> h_prev, fan_in, 1
    p.B, p.transposed = <const real*> W, transposed
    p.accumulate = p.magnitudes = p.carried = False
    p.thin = is_thin(n * fan_out, fan_in)
    p.bias, p.factor = <const real*> b, NULL
    p.activation, p.derivative = IDENTITY, NULL
    return p


cdef void forward(memory h, memory dh, source h_prev, source W, source b, Py_ssize_t n,
                  Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                  Activation activation, Py_ssize_t first, Py_ssize_t count,
                  memory scratch) noexcept nogil:
    """E1: h = act(h_prev W + b), `count` columns of it from `first` on."""
    cdef Product p = layer(h, h_prev, W, b, n, fan_in, fan_out, transposed, first, count)
    p.activation, p.derivative = activation, <real*> dh
    multiply_matrices(&p, <real*> scratch)


cdef void forward_magnitudes(memory e_z, source operand, source W, source b, Py_ssize_t n,
                             Py_ssize_t fan_in, Py_ssize_t fan_out, Py_ssize_t first,
                             Py_ssize_t count, memory scratch) noexcept nogil:
    """e_z = operand |W| + b; of one column, W must hold the magnitudes."""
    cdef Product p = layer(e_z, operand, W, b, n, fan_in, fan_out, False, first, count)
    p.magnitudes = fan_out > 1 or n == 1
    multiply_matrices(&p, <real*> scratch)


cdef inline Product layer_below(memory delta, source delta_next, source W, Py_ssize_t n,
                                Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                                Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """delta = delta_next W^T."""
    cdef Product p
    p.C, p.M, p.N, p.K = <real*> delta, n, fan_in, fan_out
    p.transposed = fan_out > 1 and not transposed       # one column is its own transpose
    p.ldc, p.ldb = fan_in, fan_out if p.transposed else fan_in
    choose_columns(&p, first, count)
    p.A, p.row, p.step = <const real*> delta_next, fan_out, 1
    p.B = <const real*> W
    p.accumulate = p.magnitudes = p.carried = False
    p.thin = is_thin(n * fan_in, fan_out)
    p.bias, p.factor = NULL, NULL
    p.activation, p.derivative = IDENTITY, NULL
    return p


cdef void delta_step(memory delta, source delta_next, source W, source dh, Py_ssize_t n,
                     Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed, Py_ssize_t first,
                     Py_ssize_t count, memory scratch) noexcept nogil:
    """E5: delta = (delta_next W^T) * dh, or dL/dX without dh; of its columns as in E1."""
    cdef Product p = layer_below(delta, delta_next, W, n, fan_in, fan_out, transposed, first,
                                 count)
    p.factor = <const real*> dh
    multiply_matrices(&p, <real*> scratch)


cdef void delta_magnitudes(memory e_g, source operand, source W, Py_ssize_t n, Py_ssize_t fan_in,
                           Py_ssize_t fan_out, Py_ssize_t first, Py_ssize_t count,
                           memory scratch) noexcept nogil:
    """e_g = operand |W^T|."""
    cdef Product p = layer_below(e_g, operand, W, n, fan_in, fan_out, False, first, count)
    p.magnitudes = True
    multiply_matrices(&p, <real*> scratch)


cdef inline void sums_of(real* out, const real* delta, Py_ssize_t n, Py_ssize_t columns,
                         Py_ssize_t lanes, bint accumulate, int NV) noexcept nogil:
    """NV vectors of sums, a literal, whose last has `lanes`: as many chains in flight."""
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
    p.ldb = p.ldc = p.N
    choose_columns(&p, 0, p.N)
    p.row, p.step, p.transposed = 1, fan_out if swap else fan_in, False
    p.A, p.B = (<const real*> delta, <const real*> h_prev) if swap else (
        <const real*> h_prev, <const real*> delta)
    p.A += first
    p.C = <real*> dW + first * p.N
    p.accumulate, p.magnitudes, p.carried = accumulate, False, False
    p.bias, p.factor, p.activation, p.derivative = NULL, NULL, IDENTITY, NULL
    p.thin = is_thin(fan_in * fan_out, n)
    multiply_matrices(&p, <real*> scratch)
    if first > 0 or db == NULL:
        return
    for i in range(max(1, (n + KC - 1) // KC)):
        column_sums(<real*> db, <const real*> delta + i * KC * fan_out,
                    min(<Py_ssize_t> KC, n - i * KC), fan_out, accumulate or i > 0)
