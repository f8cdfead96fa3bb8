# The kernels of many networks at once: the lanes of a vector are networks.
#
# Where the kernels of one network have a number, these have a vector with that number of VL
# networks, so that a matrix (n, width) lies as (n, width, VL). Every operation of a network is done
# in its own lane and in the order that it has in a network alone (N1, N2, N3): the bits are the
# same. What is done to one number after the other is the same text, called for VL times as many.
#
# Where a group has fewer networks than there are lanes, the lanes that are left are computed with
# the others, and nobody reads what is in them.

cdef enum:
    TOTALS = sizeof(Totals) // sizeof(double)       # from one network's sums to the next one's

# ---- products --------------------------------------------------------------------------------

cdef inline void tile_of_networks(const Product* p, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k0,
                                  Py_ssize_t K, bint columns, bint transposed, int MR,
                                  int NR) noexcept nogil:
    """MR x NR numbers of C, a block of their chains: one chain in each accumulator (N1).

    `columns`, where A's rows lie 1 apart, and `transposed` of B are literals, too: one of the two
    strides of each is then known, and fewer addresses are kept.
    """
    cdef vec acc[4][4]
    cdef vec b[4]
    cdef vec a
    cdef const real* A = p.A + (i * p.rsa + k0 * p.csa) * VL
    cdef const real* B = p.B + (j * p.ldb + k0 if transposed else k0 * p.ldb + j) * VL
    cdef Py_ssize_t rsa = (1 if columns else p.rsa) * VL, csa = (p.csa if columns else 1) * VL
    cdef Py_ssize_t rsb = (1 if transposed else p.ldb) * VL, k
    cdef Py_ssize_t csb = (p.ldb if transposed else 1) * VL
    cdef real* C = p.C + (i * p.ldc + j) * VL
    cdef const real* factor = p.factor
    cdef Py_ssize_t ldc = p.ldc * VL
    cdef int r, c
    for r in range(MR):
        for c in range(NR):
            acc[r][c] = splat(0)
    for k in range(K):
        for c in range(NR):
            b[c] = load(B + c * csb)
        for r in range(MR):
            a = load(A + r * rsa)
            for c in range(NR):
                acc[r][c] = fma(a, b[c], acc[r][c])
        A += csa
        B += rsb
    if k0 > 0 or p.accumulate:
        for r in range(MR):
            for c in range(NR):
                acc[r][c] = load(C + r * ldc + c * VL) + acc[r][c]
    if k0 + K == p.K and p.bias != NULL:
        for c in range(NR):
            b[c] = load(p.bias + (j + c) * VL)
        for r in range(MR):
            for c in range(NR):
                acc[r][c] = acc[r][c] + b[c]
    if k0 + K == p.K and p.factor != NULL:
        factor += (i * p.ldc + j) * VL
        for r in range(MR):
            for c in range(NR):
                acc[r][c] = acc[r][c] * load(factor + r * ldc + c * VL)
    for r in range(MR):
        for c in range(NR):
            store(C + r * ldc + c * VL, acc[r][c])


cdef inline void columns_of_networks(const Product* p, Py_ssize_t i, Py_ssize_t j,
                                     Py_ssize_t count, Py_ssize_t k0, Py_ssize_t K, bint columns,
                                     bint transposed, int MR) noexcept nogil:
    """At most 4 columns of C, MR rows."""
    if count == 4:
        tile_of_networks(p, i, j, k0, K, columns, transposed, MR, 4)
    elif count == 3:
        tile_of_networks(p, i, j, k0, K, columns, transposed, MR, 3)
    elif count == 2:
        tile_of_networks(p, i, j, k0, K, columns, transposed, MR, 2)
    else:
        tile_of_networks(p, i, j, k0, K, columns, transposed, MR, 1)


cdef inline void multiply_as(const Product* p, Py_ssize_t first, Py_ssize_t end, Py_ssize_t k0,
                             Py_ssize_t K, bint columns, bint transposed) noexcept nogil:
    """A block of the chains of columns [first, end), which go with a few rows at a time."""
    cdef Py_ssize_t i = 0, j, rows, count
    while i < p.M:
        rows = min(<Py_ssize_t> NETWORK_ROWS, p.M - i)
        j = first
        while j < end:
            count = min(<Py_ssize_t> 4, end - j)
            if rows == 4:
                columns_of_networks(p, i, j, count, k0, K, columns, transposed, 4)
            elif rows == 3:
                columns_of_networks(p, i, j, count, k0, K, columns, transposed, 3)
            elif rows == 2:
                columns_of_networks(p, i, j, count, k0, K, columns, transposed, 2)
            else:
                columns_of_networks(p, i, j, count, k0, K, columns, transposed, 1)
            j += count
        i += rows


cdef void multiply_networks(const Product* p, Py_ssize_t first, Py_ssize_t end) noexcept nogil:
    """Columns [first, end) of C."""
    cdef Py_ssize_t block, k0, K
    for block in range(max(<Py_ssize_t> 1, (p.K + KC - 1) // KC)):
        k0 = block * KC
        K = min(<Py_ssize_t> KC, p.K - k0)
        if p.csa != 1:
            multiply_as(p, first, end, k0, K, True, False)
        elif p.transposed:
            multiply_as(p, first, end, k0, K, False, True)
        else:
            multiply_as(p, first, end, k0, K, False, False)


cdef void forward_networks(memory h, memory slope, source h_prev, source W, source b, Py_ssize_t n,
                           Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                           Activation activation, Py_ssize_t first, Py_ssize_t count,
                           memory scratch) noexcept nogil:
    """E1: some rows at a time, which are activated while they are in the cache."""
    cdef Product p = forward_product(h, h_prev, W, b, n, fan_in, fan_out, transposed, first, count)
    cdef Py_ssize_t strip = STRIP_BYTES // (fan_out * VL * <Py_ssize_t> sizeof(real))
    cdef Py_ssize_t row = 0, i, at
    strip = max(strip // NETWORK_ROWS, <Py_ssize_t> 1) * NETWORK_ROWS
    while row < n:
        p.M = min(strip, n - row)
        multiply_networks(&p, first, first + count)
        if activation == IDENTITY:
            pass
        elif count == fan_out:
            activate(p.C, at_row(slope, row, fan_out), p.C, activation, p.M * fan_out * VL)
        else:
            for i in range(p.M):
                at = (i * fan_out + first) * VL
                activate(p.C + at, at_row(slope, row, fan_out) + at if slope != NULL else NULL,
                         p.C + at, activation, count * VL)
        p.A += p.M * fan_in * VL
        p.C += p.M * fan_out * VL
        row += p.M


cdef inline real* at_row(memory x, Py_ssize_t row, Py_ssize_t width) noexcept nogil:
    return <real*> x + row * width * VL if x != NULL else NULL


cdef void delta_step_networks(memory delta, source delta_next, source W, source slope, Py_ssize_t n,
                              Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                              Py_ssize_t first, Py_ssize_t count, memory scratch) noexcept nogil:
    """E5."""
    cdef Product p = delta_product(delta, delta_next, W, n, fan_in, fan_out, transposed, first,
                                   count)
    p.factor = <const real*> slope
    multiply_networks(&p, first, first + count)


cdef void weight_grad_networks(memory dW, memory db, source h_prev, source delta, Py_ssize_t n,
                               Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                               bint accumulate, Py_ssize_t first, Py_ssize_t count,
                               memory scratch) noexcept nogil:
    """E6."""
    cdef Product p = gradient_product(dW, h_prev, delta, n, fan_in, fan_out, transposed, accumulate)
    p.A += first * VL
    p.C += first * p.N * VL
    p.M = count
    multiply_networks(&p, 0, p.N)
    if first == 0 and db != NULL:
        column_sums(<real*> db, <const real*> delta, n, fan_out * VL, accumulate)


cdef Py_ssize_t scratch_bytes_of_networks(Py_ssize_t n, Py_ssize_t fan_in,
                                          Py_ssize_t fan_out) noexcept nogil:
    return 0


# ---- activations and losses -------------------------------------------------------------

cdef void activate_networks(memory h, memory slope, source z, Activation activation,
                            Py_ssize_t size) noexcept nogil:
    activate(h, slope, z, activation, size * VL)


cdef void bce_of_networks(memory losses, memory delta, source z, source y, source sample_weight,
                          const Target* target, Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil:
    each_output(BCE, losses, delta, z, y, sample_weight, target, n, n_outputs, True)


cdef void squared_error_of_networks(memory losses, memory delta, source z, source y,
                                    source sample_weight, const Target* target, Py_ssize_t n,
                                    Py_ssize_t n_outputs) noexcept nogil:
    each_output(SQUARED_ERROR, losses, delta, z, y, sample_weight, target, n, n_outputs, True)


cdef void poisson_of_networks(memory losses, memory delta, source z, source y,
                              source sample_weight, const Target* target, Py_ssize_t n,
                              Py_ssize_t n_outputs) noexcept nogil:
    each_output(POISSON, losses, delta, z, y, sample_weight, target, n, n_outputs, True)


cdef void softmax_loss_of_networks(memory losses, memory delta, source z, source y,
                                   source sample_weight, const Target* target, Py_ssize_t n,
                                   Py_ssize_t n_outputs) noexcept nogil:
    """Each network by itself, since the sums over its outputs are scalars of float64."""
    cdef real[OUTPUTS_TOGETHER] z_lane
    cdef real[OUTPUTS_TOGETHER] y_lane
    cdef real[OUTPUTS_TOGETHER] losses_lane
    cdef real[OUTPUTS_TOGETHER] delta_lane
    cdef real[OUTPUTS_TOGETHER] weight_lane
    cdef Py_ssize_t rows = OUTPUTS_TOGETHER // n_outputs, row = 0, lane, size
    cdef Py_ssize_t y_width = 1 if target.indices else n_outputs
    while row < n:
        rows = min(rows, n - row)
        size = rows * n_outputs
        for lane in range(VL):
            take_lane(z_lane, at_row(<memory> z, row, n_outputs), lane, size)
            take_lane(y_lane, at_row(<memory> y, row, y_width), lane, rows * y_width)
            if sample_weight != NULL:
                take_lane(weight_lane, at_row(<memory> sample_weight, row, 1), lane, rows)
            softmax_with_logits(losses_lane, delta_lane if delta != NULL else NULL, z_lane, y_lane,
                                weight_lane if sample_weight != NULL else NULL, target, rows,
                                n_outputs)
            put_lane(at_row(losses, row, n_outputs), losses_lane, lane, size)
            if delta != NULL:
                put_lane(at_row(delta, row, n_outputs), delta_lane, lane, size)
        row += rows


cdef void softmax_of_networks(memory h, source z, Py_ssize_t n,
                              Py_ssize_t n_outputs) noexcept nogil:
    cdef real[OUTPUTS_TOGETHER] z_lane
    cdef Py_ssize_t rows = OUTPUTS_TOGETHER // n_outputs, row = 0, lane
    while row < n:
        rows = min(rows, n - row)
        for lane in range(VL):
            take_lane(z_lane, at_row(<memory> z, row, n_outputs), lane, rows * n_outputs)
            softmax(z_lane, z_lane, rows, n_outputs)
            put_lane(at_row(h, row, n_outputs), z_lane, lane, rows * n_outputs)
        row += rows


# ---- sums over the samples ------------------------------------------------------------------

cdef void add_losses_of_networks(Totals* totals, source losses, source sample_weight,
                                 Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil:
    """E2 of each network: element i into its partial sum i mod 8 (N3); 0 times infinity is 0."""
    cdef double partial[8][VL]
    cdef const real* loss = <const real*> losses
    cdef const real* w = <const real*> sample_weight
    cdef Py_ssize_t size = n * n_outputs, i, lane
    cdef double x
    load_partial(partial, &totals.losses[0], min(<Py_ssize_t> 8, size))
    for i in range(size):
        if w == NULL:
            for lane in range(VL):
                partial[i & 7][lane] += <double> loss[i * VL + lane]
            continue
        for lane in range(VL):
            x = <double> w[i // n_outputs * VL + lane] * <double> loss[i * VL + lane]
            if x == x or loss[i * VL + lane] != loss[i * VL + lane]:
                partial[i & 7][lane] += x
    store_partial(&totals.losses[0], partial, min(<Py_ssize_t> 8, size))


cdef inline void load_partial(double[VL]* partial, const double* sums, Py_ssize_t n) noexcept nogil:
    """The first n of the eight partial sums of each network, which lie a Totals apart."""
    cdef Py_ssize_t i, lane
    for i in range(n):
        for lane in range(VL):
            partial[i][lane] = sums[lane * TOTALS + i]


cdef inline void store_partial(double* sums, double[VL]* partial, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, lane
    for i in range(n):
        for lane in range(VL):
            sums[lane * TOTALS + i] = partial[i][lane]


cdef void add_weights_of_networks(Totals* totals, source sample_weight,
                                  Py_ssize_t n) noexcept nogil:
    cdef double sum[VL]
    cdef Py_ssize_t i, lane
    for lane in range(VL):
        sum[lane] = 0
    for i in range(n):
        for lane in range(VL):
            sum[lane] += <double> (<const real*> sample_weight)[i * VL + lane]
    for lane in range(VL):
        totals[lane].weight += sum[lane]


# ---- passes over the parameters ---------------------------------------------------------

cdef void penalise_networks(memory grad, const Totals* totals, source p,
                            Py_ssize_t size) noexcept nogil:
    """grad += l2 p."""
    cdef real l2[VL]
    cdef Py_ssize_t lane
    for lane in range(VL):
        l2[lane] = <real> totals[lane].l2
    add_multiple(<real*> grad, load(l2), <const real*> p, size * VL)


cdef void add_weight_squares_of_networks(Totals* totals, source p,
                                         Py_ssize_t size) noexcept nogil:
    """The squares of p, element i of each network in its partial sum i mod 8 (N3)."""
    cdef double partial[8][VL]
    cdef const real* w = <const real*> p
    cdef Py_ssize_t i, lane
    load_partial(partial, &totals.squares[0], 8)
    for i in range(size):
        for lane in range(VL):
            partial[i & 7][lane] += <double> w[i * VL + lane] * <double> w[i * VL + lane]
    store_partial(&totals.squares[0], partial, 8)


cdef void divide_networks(memory grad, const Totals* totals, Py_ssize_t size) noexcept nogil:
    """grad /= divisor, rounded once; a quotient by way of float64 has the bits of `divide`.

    A divisor of 0 is that of a mini-batch without weight, which makes no step: nothing is divided.
    """
    cdef double divisor[VL]
    cdef real* g = <real*> grad
    cdef Py_ssize_t i, lane
    cdef bint same = True
    for lane in range(VL):
        divisor[lane] = totals[lane].divisor if totals[lane].divisor != 0 else 1
        same = same and divisor[lane] == divisor[0]
    if same and totals.divisor != 0:
        divide(grad, totals, size * VL)
        return
    for i in range(size):
        for lane in range(VL):
            g[i * VL + lane] = <real> (<double> g[i * VL + lane] / divisor[lane])


cdef void sgd_of_networks(memory p, memory v, source grad, Py_ssize_t size,
                          const Rule* rules) noexcept nogil:
    cdef Velocity c = velocity_of(rules, True)
    if some_rest(rules):
        move_by_velocity(p, v, grad, size * VL, &c, True)
    else:
        move_by_velocity(p, v, grad, size * VL, &c, False)


cdef void adam_of_networks(memory p, memory m, memory v, source grad, Py_ssize_t size,
                           const Rule* rules) noexcept nogil:
    cdef Moments c = moments_of(rules, True)
    if some_rest(rules):
        move_by_moments(p, m, v, grad, size * VL, &c, True)
    else:
        move_by_moments(p, m, v, grad, size * VL, &c, False)


cdef inline bint some_rest(const Rule* rules) noexcept nogil:
    cdef Py_ssize_t lane
    for lane in range(VL):
        if rules[lane].rests:
            return True
    return False
