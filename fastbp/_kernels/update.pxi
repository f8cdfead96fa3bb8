# Optimiser updates and the passes over flat vectors beside them.
#
#   SGD   v <- mu v + g;  p <- p - lr (g + mu v if nesterov else v)
#   Adam  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
#         p <- p - rate m / (scale sqrt(v) + eps)
# `rate` and `scale` carry Adam's bias corrections (_optim.pyx); decoupled weight decay
# multiplies p by `decay` first, SGD's adds weight_decay p to g.

cdef void gather(memory out, source X, const Py_ssize_t* order, const Py_ssize_t* offsets,
                 Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    """out[i] = X[order[i]]. The next row, which no CPU can foresee, is prefetched meanwhile."""
    cdef Py_ssize_t i, j, vector, lanes
    cdef real* to = <real*> out
    cdef const real* row
    cdef const real* next
    if width <= VL:
        gather_short(to, <const real*> X, order, n, width)
        return
    for i in range(n):
        row = <const real*> X + order[i] * width
        next = <const real*> X + order[min(i + 1, n - 1)] * width
        for vector in range((width + VL - 1) // VL):
            j = vector * VL
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


cdef void scatter(memory out, const Py_ssize_t* offsets, source x, Py_ssize_t networks,
                  Py_ssize_t size) noexcept nogil:
    """out = x, where there is one network."""
    memcpy(out, x, size * sizeof(real))


cdef void penalise(memory grad, const Totals* totals, source p, Py_ssize_t size) noexcept nogil:
    """grad += l2 p."""
    cdef vec l2 = splat(<real> totals.l2)
    add_multiple(<real*> grad, l2, <const real*> p, size)


cdef inline void add_multiple(real* grad, vec l2, const real* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i, vector, lanes
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        store_lanes(grad + i, fma(l2, load_lanes(p + i, lanes), load_lanes(grad + i, lanes)),
                    lanes)


cdef void add_weight_squares(Totals* totals, source p, Py_ssize_t size) noexcept nogil:
    """The sum of p^2 in float64, element i in partial sum i mod 8 (N3)."""
    cdef const real* w = <const real*> p
    cdef double* sums = totals.squares
    cdef double partial[8]      # a local array, which the compiler can keep in registers
    cdef Py_ssize_t i, block
    cdef int j
    for j in range(8):
        partial[j] = sums[j]
    for block in range(size // 8):
        for j in range(8):
            partial[j] += <double> w[8 * block + j] * <double> w[8 * block + j]
    for i in range(size // 8 * 8, size):
        partial[i & 7] += <double> w[i] * <double> w[i]
    for j in range(8):
        sums[j] = partial[j]


cdef void add_transposed_squares(Totals* totals, source W, Py_ssize_t first, Py_ssize_t count,
                                 Py_ssize_t fan_in, Py_ssize_t fan_out,
                                 memory scratch) noexcept nogil:
    """The sums of `add_weight_squares` in its order, of a W that lies (fan_out, fan_in).

    FEW_ROWS lines, for which scratch has room, are turned at a time: each line by itself would read
    a whole line of the cache for every number.
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
            add_squares_from(totals, turned + r * row + j, k, size)
            k, j = k + size, 0


cdef inline void add_squares_from(Totals* totals, const real* w, Py_ssize_t k,
                                  Py_ssize_t size) noexcept nogil:
    """The squares of the elements k, k + 1, ..."""
    cdef Py_ssize_t head = min(size, -k & 7), j
    for j in range(head):
        totals.squares[(k + j) & 7] += <double> w[j] * <double> w[j]
    add_weight_squares(totals, w + head, size - head)


cdef void divide(memory grad, const Totals* totals, Py_ssize_t size) noexcept nogil:
    """grad /= divisor, the one division of reduction="mean", rounded once.

    A float32 quotient by way of float64 has the bits of the float32 division (53 bits are
    more than twice 24 and two), which serves when the divisor is a float32. By a power of two,
    as most sizes of mini-batches are, the product with its inverse is the same number.
    """
    cdef Py_ssize_t i, vector, lanes
    cdef real* g = <real*> grad
    cdef double divisor = totals.divisor
    cdef vec by = splat(<real> divisor)
    cdef int exponent
    if divisor == 1:
        return
    if frexp(divisor, &exponent) == 0.5 and -100 < exponent < 100:
        by = splat(<real> (1 / divisor))
        for vector in range((size + VL - 1) // VL):
            i = vector * VL
            lanes = min(<Py_ssize_t> VL, size - i)
            store_lanes(g + i, load_lanes(g + i, lanes) * by, lanes)
        return
    if <double> <real> divisor != divisor:
        for i in range(size):
            g[i] = <real> (<double> g[i] / divisor)
        return
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        store_lanes(g + i, load_lanes(g + i, lanes) / by, lanes)


ctypedef struct Velocity:       # the numbers of SGD, for each lane
    vec rate                    # -lr
    vec mu
    vec decay
    vec rests                   # above 0 where a network makes no step
    bint decays
    bint nesterov


cdef inline Velocity velocity_of(const Rule* rules, bint networks) noexcept nogil:
    """All lanes have the numbers of one rule, or with `networks` each has those of its own."""
    cdef Velocity c
    cdef real x[4][VL]
    cdef const Rule* rule = rules
    cdef int lane
    for lane in range(VL if networks else 1):
        x[0][lane], x[1][lane] = -<real> rule.lr, <real> rule.momentum
        x[2][lane], x[3][lane] = <real> rule.weight_decay, <real> rule.rests
        rule += 1
    c.rate, c.mu = of_lanes(x[0], networks), of_lanes(x[1], networks)
    c.decay, c.rests = of_lanes(x[2], networks), of_lanes(x[3], networks)
    c.decays, c.nesterov = rules.weight_decay != 0, rules.nesterov
    return c


cdef inline vec of_lanes(const real* x, bint networks) noexcept nogil:
    return load(x) if networks else splat(x[0])


cdef inline void move_by_velocity(memory p, memory v, source grad, Py_ssize_t size,
                                  const Velocity* c, bint some_rest) noexcept nogil:
    cdef Py_ssize_t i, vector, lanes
    cdef truth rests = less(splat(0), c.rests)
    cdef vec g, x, velocity, before
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        x = load_lanes(<real*> p + i, lanes)
        g = load_lanes(<const real*> grad + i, lanes)
        if c.decays:
            g = fma(c.decay, x, g)
        if v != NULL:
            before = load_lanes(<real*> v + i, lanes)
            velocity = fma(c.mu, before, g)
            store_lanes(<real*> v + i, choose(rests, before, velocity) if some_rest else velocity,
                        lanes)
            g = fma(c.mu, velocity, g) if c.nesterov else velocity
        g = fma(c.rate, g, x)
        store_lanes(<real*> p + i, choose(rests, x, g) if some_rest else g, lanes)


cdef void sgd(memory p, memory v, source grad, Py_ssize_t size, const Rule* rule) noexcept nogil:
    cdef Velocity c = velocity_of(rule, False)
    move_by_velocity(p, v, grad, size, &c, False)


ctypedef struct Moments:        # the numbers of Adam, for each lane
    vec b1
    vec c1                      # 1 - b1
    vec b2
    vec c2
    vec rate                    # negative
    vec scale
    vec eps
    vec shrink
    vec rests                   # above 0 where a network makes no step


cdef inline Moments moments_of(const Rule* rule, bint networks) noexcept nogil:
    """All lanes have the numbers of one rule, or with `networks` each has those of its own."""
    cdef Moments c
    cdef real x[9][VL]
    cdef int lane
    for lane in range(VL if networks else 1):
        x[0][lane], x[1][lane] = <real> rule.beta1, <real> (1 - rule.beta1)
        x[2][lane], x[3][lane] = <real> rule.beta2, <real> (1 - rule.beta2)
        x[4][lane], x[5][lane] = -<real> rule.rate, <real> rule.scale
        x[6][lane], x[7][lane] = <real> rule.eps, <real> (1 - rule.lr * rule.weight_decay)
        x[8][lane] = <real> rule.rests
        rule += 1
    c.b1, c.c1 = of_lanes(x[0], networks), of_lanes(x[1], networks)
    c.b2, c.c2 = of_lanes(x[2], networks), of_lanes(x[3], networks)
    c.rate, c.scale = of_lanes(x[4], networks), of_lanes(x[5], networks)
    c.eps, c.shrink = of_lanes(x[6], networks), of_lanes(x[7], networks)
    c.rests = of_lanes(x[8], networks)
    return c


cdef inline void move_by_moments(memory p, memory m, memory v, source grad, Py_ssize_t size,
                                 const Moments* c, bint some_rest) noexcept nogil:
    cdef Py_ssize_t i, vector, lanes
    cdef truth rests = less(splat(0), c.rests)
    cdef vec g, x, first, second, before
    for vector in range((size + VL - 1) // VL):
        i = vector * VL
        lanes = min(<Py_ssize_t> VL, size - i)
        g = load_lanes(<const real*> grad + i, lanes)
        before = load_lanes(<real*> m + i, lanes)
        first = fma(c.b1, before, c.c1 * g)
        store_lanes(<real*> m + i, choose(rests, before, first) if some_rest else first, lanes)
        before = load_lanes(<real*> v + i, lanes)
        second = fma(c.b2, before, (c.c2 * g) * g)
        store_lanes(<real*> v + i, choose(rests, before, second) if some_rest else second, lanes)
        before = load_lanes(<real*> p + i, lanes)
        x = fma(c.rate, first / fma(c.scale, root(second), c.eps), before * c.shrink)
        store_lanes(<real*> p + i, choose(rests, before, x) if some_rest else x, lanes)


cdef void adam(memory p, memory m, memory v, source grad, Py_ssize_t size,
               const Rule* rule) noexcept nogil:
    cdef Moments c = moments_of(rule, False)
    move_by_moments(p, m, v, grad, size, &c, False)


cdef double fma_peak(double* sink, Py_ssize_t rounds) noexcept nogil:
    """Twelve independent chains from sink on, all in registers; returns the operations done."""
    cdef vec acc[12]
    cdef real lanes[MOST_LANES]
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
