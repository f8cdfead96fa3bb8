"""The running error bound of a gradient: e_x beside every x of E1 to E6, in the network's dtype.

u is the unit roundoff, K the length of a sum, |.| elementwise, tiny the least number, which
is never counted as less than NORMAL, the least normal one (_kernels/bound.pxi). Every x is a
computed one and e_x bounds its distance from the true one, for exact params, X and y:

    gamma(K) = k u / (1 - k u),  k = min(K, KC) + ceil(K / KC) + 1                      N1
    e_z      = (gamma(K) |h| + e_h) |W| + gamma(K) |b| + eta(K),  eta(K) = (K + 2) tiny
    e_h, e_h', e_deltaL                                                    _kernels/bound.pxi
    e_g      = (gamma(K) |delta| + e_delta) |W^T| + eta(K),  g = delta W^T
    e_delta  = (h' + e_h') e_g + |g| e_h' + u |delta|
    e_dW     = |h^T| (gamma(m) |delta| + e_delta) + e_h^T (|delta| + e_delta) + eta(m)
    e_db     = sum_i gamma(m) |delta_i| + e_delta_i + eta(m)

m is the number of samples. Beside the three products of a gradient two stand for forward and delta,
and two for dW where a layer's input has an error. The products are the gradient's own kernels; a
`scale` just above 1 covers their roundings, which are relative because no term is negative.

A pass goes through blocks as a gradient does. After the steps of the rows delta and e_delta hold
the operands of e_dW, h its magnitude. Then the lines of e_dW are summed and, after the last block,
finished; of few samples a few lines at a time, which are read from memory once.
"""

from libc.math cimport INFINITY
from libc.stdlib cimport free, malloc

from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode, settled
from fastbp._engine.loop cimport carry_out
from fastbp._engine.memory cimport ALIGNMENT, aligned, check_room
from fastbp._engine.network cimport CERTIFICATE
from fastbp._engine.plan cimport (
    BLOCK_ROWS, Frame, Layer, Pass, Plan, Step, add_alone, add_lines, add_product, add_rows,
    delta_of, end_block, end_phase, h_of, input_of, offset, slope_of, threads_for, weight_of, y_of,
)
from fastbp._engine.signals cimport UNIT_WORK, between_looks
from fastbp._engine.recursion cimport sum_weights
from fastbp._kernels.table cimport IDENTITY, KC, SOFTMAX, Totals

cdef enum:
    UNDERFLOWS = 4      # of each term, in the sum and in its bound, rounded up
    # Bytes of e_dW that stay in the cache from the first sum to the last step, and the most samples
    # for which lines are taken so few at a time: every such piece of a product packs delta anew,
    # which for more samples costs more than the cache saves.
    CACHED_SUMS = 1 << 16
    CACHED_SUMS_SAMPLES = 8

ctypedef struct Bound:      # what the steps share besides the pass of the values
    Layer* errors           # h, slope, delta: e_h, e_h', e_delta; W: |W| of one column; b: of e_z
    char* scratch           # of part 0
    Py_ssize_t scratch_bytes
    char* outputs           # (block, n_outputs) f = h_L
    const Length* lengths
    Length over_samples     # of E6, with what is done to its sums afterwards
    double rounding         # of that, relative
    char* inputs            # (block, n_features) |X|
    char* operand           # (block, widest layer) of the product that is next


# ---- sums -------------------------------------------------------------------------------

cdef double roundoff(const Shape* s) noexcept nogil:
    return 2.0 ** -24 if s.itemsize == 4 else 2.0 ** -53


cdef Length length_of(double K, double u, double more) noexcept nogil:
    """The factors for sums of K products whose results are rounded `more` times afterwards."""
    cdef float_mode mode = enter_float_mode()
    cdef double k = settled((min(settled(K), <double> KC) + (settled(K) + (KC - 1)) // KC + 1) * u)
    cdef Length length
    length.gamma = settled(k / (1 - k) + settled(more) * u) if k < 0.5 else INFINITY
    length.scale = settled(1 + 4 * length.gamma + 16 * u)       # of a sum of two products, too
    length.lost = settled(1 + settled(2 * u * UNDERFLOWS * (K + 2)))
    leave_float_mode(mode)
    return length


# ---- memory and arguments ---------------------------------------------------------------

cdef class Certificate:
    def __cinit__(self, Architecture architecture):
        cdef Py_ssize_t l
        self.shape = &architecture.shape
        self.errors = Workspace(architecture, True)
        self.lengths = <Length*> malloc((self.shape.n_layers + 1) * sizeof(Length))
        if self.lengths == NULL:
            raise MemoryError
        for l in range(self.shape.n_layers + 1):
            self.lengths[l] = length_of(self.shape.sizes[l], roundoff(self.shape), 0)

    def __dealloc__(self):
        free(self.lengths)
        free(self.memory)

    cdef int reserve(self, Py_ssize_t block, int threads) except -1:
        cdef const Shape* s = self.shape
        cdef Py_ssize_t columns, units, inputs, operand, nbytes
        cdef char* at
        self.errors.reserve(block, threads)
        if block <= self.block:
            return 0
        check_room(s.itemsize * (s.sizes[0] + 2 * s.units
                                 + <double> block * (s.sizes[0] + s.widest)))
        units = aligned(<Py_ssize_t> s.units * s.itemsize)
        columns = aligned((s.sizes[0] + <Py_ssize_t> s.units) * s.itemsize)
        inputs = aligned(block * s.sizes[0] * s.itemsize)
        operand = aligned(block * s.widest * s.itemsize)
        nbytes = columns + units + inputs + operand + ALIGNMENT
        at = <char*> malloc(nbytes)
        if at == NULL:
            raise MemoryError(f"the error bound needs {nbytes} bytes")
        free(self.memory)
        self.memory, self.block, self.nbytes = at, block, nbytes
        at += -<Py_ssize_t> at & (ALIGNMENT - 1)
        self.columns, self.biases = at, at + columns
        self.inputs = self.biases + units
        self.operand = self.inputs + inputs
        return 0

    cdef void bind(self, Workspace values) noexcept nogil:
        """Point the errors at W, of one column at |W|, at their own biases, and at the bound."""
        cdef const Shape* s = self.shape
        cdef Py_ssize_t l, at = 0
        cdef char* column = self.columns
        cdef Layer* a
        cdef Layer* e
        for l in range(s.n_layers):
            a, e = &values.layers[l], &self.errors.layers[l]
            e.W, e.b, e.dW = a.W, self.biases + at, a.dW
            spread(s, self.biases + at, a.b, NULL, self.lengths[l], self.lengths[l].lost,
                   s.sizes[l + 1])
            if s.sizes[l + 1] == 1:
                e.W = column
                write_magnitudes(s, column, a.W, s.sizes[l])
                column += s.sizes[l] * s.itemsize
            at += s.sizes[l + 1] * s.itemsize

    cdef int write(self, Workspace values, const Batch* batch, Activation output, Py_ssize_t n,
                   double divisor, double l2, int asked) except -1:
        cdef const Shape* s = self.shape
        cdef double u = roundoff(s), more
        cdef Pass run
        cdef Bound bound
        cdef float_mode mode
        values.prepare(&run, CERTIFICATE, add_certificate, n, n, threads_for(s, n, 6, asked))
        self.reserve(run.plan.rows, run.plan.threads)
        mode = enter_float_mode()
        self.bind(values)
        more = settled(roundings(batch, settled(n), u))
        bound.rounding = settled(more * u)
        leave_float_mode(mode)
        bound.errors, bound.outputs = self.errors.layers, self.errors.losses
        bound.scratch, bound.scratch_bytes = self.errors.scratch, self.errors.scratch_bytes
        bound.lengths, bound.over_samples = self.lengths, length_of(n, u, more)
        bound.inputs, bound.operand = self.inputs, self.operand
        run.batch, run.own.l2, run.own.divisor, run.more = batch[0], l2, divisor, &bound
        run.output_activation = output
        return carry_out(&run)


cdef int add_certificate(Plan* plan, int key) except -1:
    cdef const Shape* s = plan.shape
    cdef Py_ssize_t l, L = s.n_layers
    # The loss and its bound take longer than the product of a layer of few inputs.
    plan.rows_at_once = min(plan.rows_at_once, between_looks(
        BLOCK_ROWS, 2.0 * UNIT_WORK * s.sizes[L], 1, s.kernels))
    add_alone(plan, sum_weights, 0, 1, 0)
    end_phase(plan)
    add_rows(plan, take_magnitudes, 0, s.sizes[0])
    for l in range(L):
        add_rows(plan, spread_input, l, s.sizes[l])
        add_product(plan, forward_within, l, s.sizes[l + 1], 2 * s.sizes[l])
        if s.activations[l] != IDENTITY:
            add_rows(plan, activate_within, l, <double> UNIT_WORK * s.sizes[l + 1])
    add_rows(plan, delta_of_loss, L - 1, 1.0 * UNIT_WORK * s.sizes[L])
    add_rows(plan, activate_outputs, L - 1, 0.5 * UNIT_WORK * s.sizes[L])
    add_rows(plan, loss_within, L - 1, 0.5 * UNIT_WORK * s.sizes[L])
    for l in range(L - 1, 0, -1):
        add_rows(plan, spread_delta_next, l, s.sizes[l + 1])
        add_product(plan, descend_within, l, s.sizes[l], 2 * s.sizes[l + 1])
        add_rows(plan, multiply_within, l, s.sizes[l])
        add_rows(plan, spread_delta, l, s.sizes[l + 1])
    add_rows(plan, spread_delta, 0, s.sizes[1])
    end_phase(plan)
    for l in range(L):
        add_sums(plan, l)
    end_block(plan)
    return 0


cdef int add_sums(Plan* plan, Py_ssize_t l) except -1:
    """The lines of dW, and so many at a time as the cache holds where the samples are few."""
    cdef Py_ssize_t lines = plan.shape.sizes[l], width = plan.shape.sizes[l + 1]
    cdef Step* step
    if width == 1:
        lines, width = width, lines
    add_lines(plan, sum_lines, l, lines, width, 2.0 * plan.rows * width)
    step = &plan.steps[plan.n_steps - 1]
    if plan.rows <= CACHED_SUMS_SAMPLES:
        step.at_once = min(step.at_once, max(1, CACHED_SUMS // (width * plan.shape.itemsize)))
    return 0


cdef double roundings(const Batch* batch, double n, double u) noexcept nogil:
    """What follows a sum, in units of u: the penalty's product and sum, the quotient of a mean.

    The divisor is a float64 sum of n weights, and rounded to the dtype.
    """
    return 6 + (n * 2.0 ** -53 / u if batch.sample_weight != NULL else 0)


cdef void spread(const Shape* s, char* out, const char* x, const char* e, Length length,
                 double lost, Py_ssize_t size) noexcept nogil:
    """gamma |x| + e: the operand, or the bias, of a product that bounds the errors of another."""
    s.kernels.spread(out, x, e, length.gamma, length.scale, lost, size)


cdef void write_magnitudes(const Shape* s, char* out, const char* x,
                           Py_ssize_t size) noexcept nogil:
    """out = |x|; out may be x."""
    s.kernels.spread(out, x, NULL, 1, 1, 0, size)


# ---- the steps --------------------------------------------------------------------------

cdef inline Bound* bound_of(const Frame* f) noexcept nogil:
    return <Bound*> f.run.more


cdef inline char* errors_scratch(const Frame* f) noexcept nogil:
    return bound_of(f).scratch + f.part * bound_of(f).scratch_bytes


cdef inline char* operand_of(const Frame* f, Py_ssize_t width) noexcept nogil:
    """Each part has its own place whatever product it is at; parts of columns share rows."""
    return bound_of(f).operand + offset(f, width if f.run.plan.by_columns
                                        else f.run.shape.widest)


cdef void take_magnitudes(const Step* step, Frame* f) noexcept nogil:
    """|X|, which e_dW_1 multiplies."""
    cdef Py_ssize_t features = f.run.layers[0].fan_in
    write_magnitudes(f.run.shape, bound_of(f).inputs + offset(f, features), input_of(f, 0),
                     f.n * features)


cdef void spread_input(const Step* step, Frame* f) noexcept nogil:
    """The operand of e_z: gamma |h| + e_h, of the layer's input."""
    cdef Py_ssize_t l = step.layer, fan_in = f.run.layers[l].fan_in
    cdef const char* e_h = NULL
    if l > 0:                   # X has no error
        e_h = bound_of(f).errors[l - 1].h + offset(f, fan_in)
    spread(f.run.shape, operand_of(f, fan_in), input_of(f, l), e_h, bound_of(f).lengths[l], 0,
           f.n * fan_in)


cdef void forward_within(const Step* step, Frame* f) noexcept nogil:
    """E1: z and e_z."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    cdef const Layer* e = &bound_of(f).errors[l]
    f.run.shape.kernels.forward(
        h_of(f, l), NULL, input_of(f, l), a.W, a.b, f.n, a.fan_in, a.fan_out, False, IDENTITY,
        f.first, f.count, f.scratch)
    f.run.shape.kernels.forward_magnitudes(
        e.h + offset(f, a.fan_out), operand_of(f, a.fan_in), e.W, e.b, f.n, a.fan_in, a.fan_out,
        f.first, f.count, errors_scratch(f))


cdef void activate_within(const Step* step, Frame* f) noexcept nogil:
    """E1, E4: h, act'(z) and e_h, e_h' from z and e_z."""
    cdef Py_ssize_t l = step.layer, fan_out = f.run.layers[l].fan_out
    cdef const Layer* e = &bound_of(f).errors[l]
    f.run.shape.kernels.activate_within(
        h_of(f, l), slope_of(f, l), e.h + offset(f, fan_out), e.slope + offset(f, fan_out),
        f.run.layers[l].activation, f.n * fan_out)


cdef void delta_of_loss(const Step* step, Frame* f) noexcept nogil:
    """E3."""
    cdef Py_ssize_t l = step.layer, outputs = f.run.layers[l].fan_out
    f.batch.criterion(f.run.losses + offset(f, outputs), delta_of(f, l), h_of(f, l), y_of(f),
                      weight_of(f), &f.batch.target, f.n, outputs)


cdef void activate_outputs(const Step* step, Frame* f) noexcept nogil:
    """h_L, beside z_L, which stays."""
    cdef Py_ssize_t l = step.layer, outputs = f.run.layers[l].fan_out
    cdef char* h = bound_of(f).outputs + offset(f, outputs)
    if f.run.output_activation == SOFTMAX:
        f.run.shape.kernels.softmax(h, h_of(f, l), f.n, outputs)
    else:
        f.run.shape.kernels.activate(h, NULL, h_of(f, l), f.run.output_activation, f.n * outputs)


cdef void loss_within(const Step* step, Frame* f) noexcept nogil:
    """e_deltaL."""
    cdef Py_ssize_t l = step.layer, outputs = f.run.layers[l].fan_out, o = offset(f, outputs)
    cdef const Layer* e = &bound_of(f).errors[l]
    f.run.shape.kernels.delta_within(
        e.delta + o, delta_of(f, l), bound_of(f).outputs + o, h_of(f, l), e.h + o, y_of(f),
        weight_of(f), &f.batch.target, f.run.output_activation, f.n, outputs)


cdef void spread_delta_next(const Step* step, Frame* f) noexcept nogil:
    """The operand of e_g: gamma |delta| + e_delta."""
    cdef Py_ssize_t l = step.layer, fan_out = f.run.layers[l].fan_out
    spread(f.run.shape, operand_of(f, fan_out), delta_of(f, l),
           bound_of(f).errors[l].delta + offset(f, fan_out), bound_of(f).lengths[l + 1], 0,
           f.n * fan_out)


cdef void descend_within(const Step* step, Frame* f) noexcept nogil:
    """E5 without its factor: g and e_g of the layer below."""
    cdef Py_ssize_t l = step.layer
    cdef const Layer* a = &f.run.layers[l]
    cdef const Layer* e = &bound_of(f).errors[l]
    f.run.shape.kernels.delta_step(
        delta_of(f, l - 1), delta_of(f, l), a.W, NULL, f.n, a.fan_in, a.fan_out, False, f.first,
        f.count, f.scratch)
    f.run.shape.kernels.delta_magnitudes(
        bound_of(f).errors[l - 1].delta + offset(f, a.fan_in), operand_of(f, a.fan_out), e.W, f.n,
        a.fan_in, a.fan_out, f.first, f.count, errors_scratch(f))


cdef void multiply_within(const Step* step, Frame* f) noexcept nogil:
    """delta and e_delta of the layer below; then its |h| takes the place of h, for e_dW."""
    cdef Py_ssize_t l = step.layer, fan_in = f.run.layers[l].fan_in, o = offset(f, fan_in)
    cdef const Layer* e = &bound_of(f).errors[l - 1]
    f.run.shape.kernels.multiply_within(
        delta_of(f, l - 1), e.delta + o, slope_of(f, l - 1),
        e.slope + o if e.slope != NULL else NULL, bound_of(f).lengths[l + 1].lost, f.n * fan_in)
    write_magnitudes(f.run.shape, h_of(f, l - 1), h_of(f, l - 1), f.n * fan_in)


cdef void spread_delta(const Step* step, Frame* f) noexcept nogil:
    """The operands of e_dW: gamma |delta| + e_delta, |delta| + e_delta."""
    cdef Py_ssize_t l = step.layer, fan_out = f.run.layers[l].fan_out
    f.run.shape.kernels.spread_delta(
        delta_of(f, l), bound_of(f).errors[l].delta + offset(f, fan_out),
        bound_of(f).over_samples.gamma, bound_of(f).over_samples.scale, f.n * fan_out)


cdef void sum_lines(const Step* step, Frame* f) noexcept nogil:
    """Some lines of e_dW, and with the first e_db; finished after the last block."""
    sum_products(f, step.layer)
    if f.block_start + f.block_rows == f.batch_rows:
        finish_lines(f, step.layer, step.width)


cdef void sum_products(const Frame* f, Py_ssize_t l) noexcept nogil:
    """Both products of e_dW, in turn for BLOCK_ROWS samples (N1), and the sum that is e_db."""
    cdef const Bound* bound = bound_of(f)
    cdef const Layer* a = &f.run.layers[l]
    cdef const Layer* e = &bound.errors[l]
    cdef const char* h = f.run.layers[l - 1].h if l > 0 else bound.inputs
    cdef Py_ssize_t itemsize = f.run.shape.itemsize, at = 0, n
    while at == 0 or at < f.block_rows:
        n = min(<Py_ssize_t> BLOCK_ROWS, f.block_rows - at)
        f.run.shape.kernels.weight_grad(
            a.dW, a.db, h + at * a.fan_in * itemsize, a.delta + at * a.fan_out * itemsize, n,
            a.fan_in, a.fan_out, False, f.block_start + at > 0, f.first, f.count, f.scratch)
        if l > 0:               # X has no error
            f.run.shape.kernels.weight_grad(
                a.dW, NULL, bound.errors[l - 1].h + at * a.fan_in * itemsize,
                e.delta + at * a.fan_out * itemsize, n, a.fan_in, a.fan_out, False, True, f.first,
                f.count, errors_scratch(f))
        at += BLOCK_ROWS


cdef void finish_lines(const Frame* f, Py_ssize_t l, Py_ssize_t width) noexcept nogil:
    """Underflows, the roundings of the penalty, and the division of a mean."""
    cdef const Bound* bound = bound_of(f)
    cdef const Layer* a = &f.run.layers[l]
    cdef Py_ssize_t o = f.first * width * f.run.shape.itemsize
    cdef const Totals* totals = f.run.totals
    cdef double divisor = totals.divisor if totals.divisor != 0 else totals.weight
    f.run.shape.kernels.finish_bound(a.dW + o, a.W + o, totals.l2, bound.rounding,
                                     bound.over_samples.lost, divisor, f.count * width)
    if f.first == 0:
        f.run.shape.kernels.finish_bound(a.db, NULL, 0, 0, bound.over_samples.lost, divisor,
                                         a.fan_out)
