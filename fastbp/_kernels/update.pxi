# Optimiser updates and the passes over flat vectors beside them.
#
#   SGD   v <- mu v + g;  p <- p - lr (g + mu v if nesterov else v)
#   Adam  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
#         p <- p - rate m / (scale sqrt(v) + eps)
# `rate` and `scale` carry Adam's bias corrections (_optim.pyx); decoupled weight decay
# multiplies p by `decay` first, SGD's adds weight_decay p to g.

cdef void gather(memory out, source X, const Py_ssize_t* order, Py_ssize_t n,
                 Py_ssize_t width) noexcept nogil:
    """out[i] = X[order[i]]; no CPU foresees the next row of many vectors: it is asked for."""
    cdef Py_ssize_t i, j, block, lanes
    cdef real* to = <real*> out
    cdef const real* row
    cdef const real* next
    if width <= VL:
        gather_short(to, <const real*> X, order, n, width)
        return
    for i in range(n):
        row = <const real*> X + order[i] * width
        next = <const real*> X + order[min(i + 1, n - 1)] * width
        for block in range((width + VL - 1) // VL):
            j = block * VL
            lanes = min(<Py_ssize_t> VL, width - j)
            prefetch(next + j)
            store_lanes(to + j, load_lanes(row + j, lanes), lanes)
        to += width


cdef inline void gather_short(real* out, const real* X, const Py_ssize_t* order, Py_ssize_t n,
                              Py_ssize_t width) noexcept nogil:
    """Rows of one vector, or of one number: a CPU looks ahead over many of them."""
    cdef Py_ssize_t i
    if width == 1:
        for i in range(n):
            out[i] = X[order[i]]
    else:
        for i in range(n):
            store_tail(out + i * width, load_tail(X + order[i] * width, width), width)


cdef void penalise(memory grad, double* sums, source p, double l2, Py_ssize_t size) noexcept nogil:
    """grad += l2 p; the sum of p^2 in float64, element i in partial sum i mod 8 (N3)."""
    cdef Py_ssize_t i
    cdef real* g = <real*> grad
    cdef const real* w = <const real*> p
    cdef double part[8]         # in registers, which `sums` cannot be
    cdef vec decay = splat(<real> l2)
    cdef Py_ssize_t block, lanes
    cdef int j
    if g != NULL:
        for block in range((size + VL - 1) // VL):
            i = block * VL
            lanes = min(<Py_ssize_t> VL, size - i)
            store_lanes(g + i, fma(decay, load_lanes(w + i, lanes), load_lanes(g + i, lanes)),
                        lanes)
    if sums == NULL:
        return
    for j in range(8):
        part[j] = sums[j]
    for block in range(size // 8):
        for j in range(8):
            part[j] += <double> w[8 * block + j] * <double> w[8 * block + j]
    for i in range(size // 8 * 8, size):
        part[i & 7] += <double> w[i] * <double> w[i]
    for j in range(8):
        sums[j] = part[j]


cdef void add_transposed_squares(double* sums, source W, Py_ssize_t first, Py_ssize_t count,
                                 Py_ssize_t fan_in, Py_ssize_t fan_out,
                                 memory scratch) noexcept nogil:
    """The sums of `penalise` in its order, that of (fan_in, fan_out), of a W (fan_out, fan_in).

    FEW_ROWS lines, for which scratch has room, are turned at a time. Where each was read by itself,
    a line of the cache for each number, 1024 x 1024 of float32 took 7.7 ms.
    """
    cdef real* turned = <real*> scratch
    cdef const real* w
    cdef Py_ssize_t k = first, end = first + count, row = fan_out + VL
    cdef Py_ssize_t i, j, c, r, rows, size
    while k < end:
        i, j = k // fan_out, k % fan_out
        rows = min(<Py_ssize_t> FEW_ROWS, (end - 1) // fan_out + 1 - i)
        for c in range(fan_out):
            w = <const real*> W + c * fan_in + i
            for r in range(rows):
                turned[r * row + c] = w[r]
        for r in range(rows):
            size = min(fan_out - j, end - k)
            add_squares_from(sums, turned + r * row + j, k, size)
            k, j = k + size, 0


cdef inline void add_squares_from(double* sums, const real* w, Py_ssize_t k,
                                  Py_ssize_t size) noexcept nogil:
    """The squares of the elements k, k + 1, ..."""
    cdef Py_ssize_t head = min(size, -k & 7), j
    for j in range(head):
        sums[(k + j) & 7] += <double> w[j] * <double> w[j]
    penalise(NULL, sums, w + head, 0, size - head)


cdef void divide(memory grad, double divisor, Py_ssize_t size) noexcept nogil:
    """grad /= divisor, the one division of reduction="mean", rounded once.

    A float32 quotient by way of float64 has the bits of the float32 division (53 bits are
    more than twice 24 and two), which serves when the divisor is a float32. By a power of two,
    as most sizes of mini-batches are, the product with its inverse is the same number.
    """
    cdef Py_ssize_t i, block, lanes
    cdef real* g = <real*> grad
    cdef vec by = splat(<real> divisor)
    cdef int exponent
    if divisor == 1:
        return
    if frexp(divisor, &exponent) == 0.5 and -100 < exponent < 100:
        by = splat(<real> (1 / divisor))
        for block in range((size + VL - 1) // VL):
            i = block * VL
            lanes = min(<Py_ssize_t> VL, size - i)
            store_lanes(g + i, load_lanes(g + i, lanes) * by, lanes)
        return
    if <double> <real> divisor != divisor:
        for i in range(size):
            g[i] = <real> (<double> g[i] / divisor)
        return
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        store_lanes(g + i, load_lanes(g + i, lanes) / by, lanes)


cdef void sgd(memory p, memory v, source grad, Py_ssize_t size, double lr, double momentum,
              bint nesterov, double weight_decay) noexcept nogil:
    cdef Py_ssize_t i, block, lanes
    cdef vec rate = splat(-<real> lr), mu = splat(<real> momentum), wd = splat(<real> weight_decay)
    cdef vec g, x, velocity
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x = load_lanes(<real*> p + i, lanes)
        g = load_lanes(<const real*> grad + i, lanes)
        if weight_decay != 0:
            g = fma(wd, x, g)
        if v != NULL:
            velocity = fma(mu, load_lanes(<real*> v + i, lanes), g)
            store_lanes(<real*> v + i, velocity, lanes)
            g = fma(mu, velocity, g) if nesterov else velocity
        store_lanes(<real*> p + i, fma(rate, g, x), lanes)


cdef void adam(memory p, memory m, memory v, source grad, Py_ssize_t size, double rate,
               double beta1, double beta2, double scale, double eps, double decay) noexcept nogil:
    cdef Py_ssize_t i, block, lanes
    cdef vec b1 = splat(<real> beta1), c1 = splat(<real> (1 - beta1))
    cdef vec b2 = splat(<real> beta2), c2 = splat(<real> (1 - beta2))
    cdef vec step = splat(-<real> rate), root_scale = splat(<real> scale)
    cdef vec floor = splat(<real> eps), shrink = splat(<real> decay)
    cdef vec g, x, first, second
    for block in range((size + VL - 1) // VL):
        i = block * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        g = load_lanes(<const real*> grad + i, lanes)
        first = fma(b1, load_lanes(<real*> m + i, lanes), c1 * g)
        second = fma(b2, load_lanes(<real*> v + i, lanes), (c2 * g) * g)
        store_lanes(<real*> m + i, first, lanes)
        store_lanes(<real*> v + i, second, lanes)
        x = load_lanes(<real*> p + i, lanes) * shrink
        x = fma(step, first / fma(root_scale, root(second), floor), x)
        store_lanes(<real*> p + i, x, lanes)


cdef double fma_peak(double* sink, Py_ssize_t rounds) noexcept nogil:
    """Twelve independent chains from sink on, all in registers; returns the operations done."""
    cdef vec acc[12]
    cdef real lanes[16]
    cdef vec x = splat(<real> 0.999), y = splat(<real> 1e-3)
    cdef Py_ssize_t i
    cdef int j, unrolled
    for j in range(12):
        acc[j] = splat(<real> (sink[0] + j))
    for i in range(rounds):
        for unrolled in range(4):
            for j in range(12):
                acc[j] = fma(acc[j], x, y)
    for j in range(1, 12):
        acc[0] = acc[0] + acc[j]
    store(lanes, acc[0])
    sink[0] = lanes[0]
    return 2.0 * 4 * 12 * VL * rounds
