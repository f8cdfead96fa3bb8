# The contract between the kernels and everything above them: one KernelTable for each
# instruction set x dtype.  Data pointers are untyped so that nothing above names a dtype;
# `itemsize` says how far to step.  Outputs come before inputs before sizes; n counts
# samples; a matrix is row-major and dense.  No function here allocates, fails or touches
# Python; each carries the equation it computes (docs/derivation.md).
#
# There are two tables.  In that of one network `networks` is 1.  In that of many networks at once
# (population.pxi) a number is a vector, whose lanes hold the same number of each of `networks`
# networks: `itemsize` is that of the vector, sizes count vectors, and the functions behind `adam`
# are NULL.

ctypedef enum Activation:
    IDENTITY        # h = z; no derivative is stored
    SIGMOID         # h = sigma(z), slope = q (1 - q) with q = sigma(-|z|)
    TANH            # h = tanh(z), slope = 4 q (1 - q) with q = sigma(-2|z|)
    RELU            # h = max(z, 0), slope = 1 for z > 0, else 0
    EXPONENTIAL     # h = slope = e^z
    SOFTMAX         # h = p over the outputs of a sample, by `softmax`

ctypedef struct Target:     # how a criterion reads y
    bint indices            # y (n,) is the class of each sample; otherwise y is (n, n_outputs)
    double scale            # t = scale y + shift: the labels, smoothed
    double shift
    const void* pos_weight  # (n_outputs,), what t = 1 counts in a binary cross-entropy, or NULL

# E2, E3 losses (n, n_outputs), not weighted, and delta (n, n_outputs) <- weight (f - t);
# delta, sample_weight may be NULL
ctypedef void (*Criterion)(void* losses, void* delta, const void* z, const void* y,
                           const void* sample_weight, const Target* target, Py_ssize_t n,
                           Py_ssize_t n_outputs) noexcept nogil

ctypedef struct Totals:     # of one network in a pass: float64 numbers beside the samples
    double l2               # IN
    double divisor          # IN  of loss and gradient; 0 for the sum of the weights, then that sum
    double losses[8]        # element i of the batch in partial sum i mod 8 (N3)
    double weight           # of the samples
    double squares[8]       # of W, for the penalty
    double loss             # OUT over its divisor and with its penalty

ctypedef struct KernelTable

ctypedef struct Rule:       # an optimiser without Python: what a step reads and changes
    # t <- t + 1, and what depends on t, of `count` rules from this one on, but for those that rest
    void (*advance)(Rule* rules, Py_ssize_t count) noexcept nogil
    # numbers [first, first + count) of p <- their step by `grad`; where networks are lanes, this is
    # the rule of the first, and those of the others follow it
    void (*apply)(const Rule* rule, const KernelTable* k, char* p, const char* grad,
                  Py_ssize_t first, Py_ssize_t count) noexcept nogil
    long long t             # steps taken
    double lr
    double weight_decay
    double momentum         # SGD
    bint nesterov
    double beta1            # Adam
    double beta2
    double eps
    bint eps_hat
    double power1           # beta1^t, beta2^t
    double power2
    double rate             # of this step, with its bias corrections
    double scale
    char* m
    char* v
    bint rests              # makes no step now

ctypedef struct Square:     # of a norm: value 4^exponent
    double value
    int exponent

cdef enum:
    KC = 256                # terms of a chain of FMAs; then its sum is added to the others' (N1)
    NORM_BLOCK = 256        # elements of a flat vector whose squares are summed before others'
    MOST_LANES = 16         # of any table
    OUTPUTS_TOGETHER = 1024     # of networks as lanes, at most, for `criteria` and `softmax`
    CRITERIA = 4            # one for each of `_arguments.LOSSES`, in that order
    TABLE_VERSION = 6       # of this struct: another one has another meaning, or another order

ctypedef struct KernelTable:
    int version             # TABLE_VERSION and sizeof(KernelTable) when it was compiled
    Py_ssize_t size
    const char* isa
    Py_ssize_t networks     # at once, one in each lane of a vector; 1 is one network
    Py_ssize_t itemsize
    Py_ssize_t vector_bytes

    # From here on there are pointers to functions alone.

    # E1, E4 h, slope <- act(z), act'(z), any shape, flat; slope may be NULL, h may be z
    void (*activate)(void* h, void* slope, const void* z, Activation activation,
                     Py_ssize_t size) noexcept nogil

    # bytes of scratch that the three products of a layer need for at most n samples
    Py_ssize_t (*scratch_bytes)(Py_ssize_t n, Py_ssize_t fan_in,
                                Py_ssize_t fan_out) noexcept nogil
    # E1 h, slope (n, fan_out) <- act(h_prev (n, fan_in) W + b); slope may be NULL;
    #    W is (fan_in, fan_out), or (fan_out, fan_in) when `transposed`. Of h and slope, the columns
    #    [first, first + count), from a multiple of 64 to one or to the last
    void (*forward)(void* h, void* slope, const void* h_prev, const void* W, const void* b,
                    Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                    Activation activation, Py_ssize_t first, Py_ssize_t count,
                    void* scratch) noexcept nogil
    # E5 delta (n, fan_in) <- (delta_next (n, fan_out) W^T) * slope; slope may be NULL (dL/dX);
    #    columns as above
    void (*delta_step)(void* delta, const void* delta_next, const void* W, const void* slope,
                       Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                       Py_ssize_t first, Py_ssize_t count, void* scratch) noexcept nogil
    # E6 dW (fan_in, fan_out) <- h_prev^T delta, db <- sum_i delta_i; `accumulate` adds the
    #    block results to what dW and db hold; dW is (fan_out, fan_in) when `transposed`.
    #    Of dW as it lies, the rows [first, first + count), a single output's being one row;
    #    db, if not NULL, comes with the first
    void (*weight_grad)(void* dW, void* db, const void* h_prev, const void* delta,
                        Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out, bint transposed,
                        bint accumulate, Py_ssize_t first, Py_ssize_t count,
                        void* scratch) noexcept nogil

    Criterion criteria[CRITERIA]
    # E1 h <- softmax of every row of z; h may be z
    void (*softmax)(void* h, const void* z, Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil
    # E2 weight losses (n, n_outputs) into totals.losses; sample_weight may be NULL
    void (*add_losses)(Totals* totals, const void* losses, const void* sample_weight,
                       Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil
    # totals.weight += the sum of the weights, itself in float64, ascending
    void (*add_weights)(Totals* totals, const void* sample_weight, Py_ssize_t n) noexcept nogil
    # out[i] = X[order[i]], rows of `width`; those of lane k lie offsets[2 k] bytes behind X, and
    #    their order offsets[2 k + 1] bytes behind `order`. Of one network, offsets may be NULL
    void (*gather)(void* out, const void* X, const Py_ssize_t* order, const Py_ssize_t* offsets,
                   Py_ssize_t n, Py_ssize_t width) noexcept nogil
    # out <- x, whose lane k goes offsets[2 k] bytes behind `out`; of the first `networks` lanes
    void (*scatter)(void* out, const Py_ssize_t* offsets, const void* x, Py_ssize_t networks,
                    Py_ssize_t size) noexcept nogil
    # grad <- grad + l2 p
    void (*penalise)(void* grad, const Totals* totals, const void* p,
                     Py_ssize_t size) noexcept nogil
    # the squares of p into totals.squares, from element 0 or a multiple of 8 on (N3)
    void (*add_weight_squares)(Totals* totals, const void* p, Py_ssize_t size) noexcept nogil
    # grad <- grad / divisor
    void (*divide)(void* grad, const Totals* totals, Py_ssize_t size) noexcept nogil
    # p, v <- SGD with momentum; v may be NULL without momentum
    void (*sgd)(void* p, void* v, const void* grad, Py_ssize_t size,
                const Rule* rules) noexcept nogil
    # p, m, v <- Adam: p - rate m / (scale sqrt(v) + eps) after p (1 - lr weight_decay)
    void (*adam)(void* p, void* m, void* v, const void* grad, Py_ssize_t size,
                 const Rule* rules) noexcept nogil

    # From here on there are those of one network alone.

    # E4 out = grad * h * (1 - h), flat
    void (*sigmoid_backward)(void* out, const void* grad, const void* h,
                             Py_ssize_t size) noexcept nogil
    # out = a * b, flat: E5 at the output when dL/dh_L is given
    void (*multiply)(void* out, const void* a, const void* b, Py_ssize_t size) noexcept nogil
    # index of the first element outside [0, most] (NaN is), or not integral where asked, or -1
    Py_ssize_t (*first_outside)(const void* y, double most, bint integral,
                                Py_ssize_t size) noexcept nogil
    # index of the first row whose sum is not 1 within the tolerance, or -1
    Py_ssize_t (*first_unnormalised)(const void* y, double tolerance, Py_ssize_t n,
                                     Py_ssize_t n_outputs) noexcept nogil
    # the sum in float64, ascending
    double (*total)(const void* weights, Py_ssize_t size) noexcept nogil
    # totals.squares as above, from elements [first, first + count) of a W (fan_in, fan_out) that
    #    lies transposed
    void (*add_transposed_squares)(Totals* totals, const void* W, Py_ssize_t first,
                                   Py_ssize_t count, Py_ssize_t fan_in, Py_ssize_t fan_out,
                                   void* scratch) noexcept nogil
    # a register-only loop of `rounds` fused multiply-adds on independent accumulators;
    # returns the floating-point operations done
    double (*fma_peak)(double* sink, Py_ssize_t rounds) noexcept nogil

    # The derivative along a direction V, v of the parameters: x_dot beside x (tangent.pxi)
    # h_dot, bend <- act'(z) z_dot, act''(z) / act'(z) z_dot, where h_dot holds h_prev V + v and
    #    bend h_dot_prev W, if it is not the first layer; slope may be NULL
    void (*activate_tangent)(void* h_dot, void* bend, const void* h, const void* slope,
                             Activation activation, bint first, Py_ssize_t size) noexcept nogil
    # out <- out + a b; b may be NULL, for 1
    void (*multiply_add)(void* out, const void* a, const void* b, Py_ssize_t size) noexcept nogil
    # delta_dot (n, n_outputs) <- weight (d^2 loss / dz^2) z_dot of a loss whose outputs are
    #    `output`; of a softmax, it holds h_L before. sample_weight may be NULL
    void (*curve)(void* delta_dot, const void* z_dot, const void* z, const void* y,
                  const void* sample_weight, const Target* target, Activation output, Py_ssize_t n,
                  Py_ssize_t n_outputs) noexcept nogil

    # The running error bound: e_x beside x (bound.pxi)
    # out <- scale (gamma |x| + e) + lost; e may be NULL. `lost` is what underflows may have lost,
    #    as a multiple of the dtype's least normal number, here and below
    void (*spread)(void* out, const void* x, const void* e, double gamma, double scale,
                   double lost, Py_ssize_t size) noexcept nogil
    # delta, e <- scale (gamma |delta| + e), scale (|delta| + e)
    void (*spread_delta)(void* delta, void* e, double gamma, double scale,
                         Py_ssize_t size) noexcept nogil
    # h, slope, e, e_slope <- act(z), act'(z) and their bounds from h = z, e = e_z
    void (*activate_within)(void* h, void* slope, void* e, void* e_slope, Activation activation,
                            Py_ssize_t size) noexcept nogil
    # e_delta (n, n_outputs) of a loss whose outputs are `output`, from f = h_L, z and e = e_z
    void (*delta_within)(void* e_delta, const void* delta, const void* f, const void* z,
                         const void* e, const void* y, const void* sample_weight,
                         const Target* target, Activation output, Py_ssize_t n,
                         Py_ssize_t n_outputs) noexcept nogil
    # delta, e <- g * slope and its bound from delta = g, e = e_g without `lost`
    void (*multiply_within)(void* delta, void* e, const void* slope, const void* e_slope,
                            double lost, Py_ssize_t size) noexcept nogil
    # The products of E1 and E5 with |W| in place of W. e_z <- operand |W| + b, where a W of one
    #    column must hold its magnitudes; e_g <- operand |W^T|. Columns as in E1
    void (*forward_magnitudes)(void* e_z, const void* operand, const void* W, const void* b,
                               Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out,
                               Py_ssize_t first, Py_ssize_t count, void* scratch) noexcept nogil
    void (*delta_magnitudes)(void* e_g, const void* operand, const void* W, Py_ssize_t n,
                             Py_ssize_t fan_in, Py_ssize_t fan_out, Py_ssize_t first,
                             Py_ssize_t count, void* scratch) noexcept nogil
    # bound <- (bound + rounding l2 |W| + lost) / divisor; W may be NULL where l2 is 0
    void (*finish_bound)(void* bound, const void* W, double l2, double rounding, double lost,
                         double divisor, Py_ssize_t size) noexcept nogil

    # The norms of the gradients of single samples (norms.pxi), as float64 squares 4^exponents (n,):
    #    += ||delta_i||^2 (1 + ||h_prev_i||^2) of (n, fan_out) and (n, fan_in), = if `first`; and
    #    reach, to which every row adds 1 + ||h_prev_i||^2 or more
    void (*add_squares)(void* squares, int* exponents, double* reach, const void* delta,
                        const void* h_prev, Py_ssize_t n, Py_ssize_t fan_in, Py_ssize_t fan_out,
                        bint first) noexcept nogil
    # norms (n,) <- their roots; squares <- the factors min(1, max_norm / norm_i), for the next
    void (*take_roots)(void* norms, void* squares, const int* exponents, double max_norm,
                       Py_ssize_t n) noexcept nogil
    # delta (n, fan_out) <- factor_i delta_i; with h_prev (n, fan_in) no gradient above max_norm
    void (*clip_rows)(void* delta, const void* factors, double max_norm, double reach,
                      const void* h_prev, Py_ssize_t n, Py_ssize_t fan_in,
                      Py_ssize_t fan_out) noexcept nogil
    # grad_i += deviation z_(first + i); the normal numbers z are made of as many raw draws (N6)
    void (*add_noise)(void* grad, const unsigned long long* raw, double deviation, Py_ssize_t first,
                      Py_ssize_t size) noexcept nogil

    # The norm of a flat vector (clipping.pxi): the squares of every NORM_BLOCK elements of x, the
    #    last of what is left; their sum, ascending; and x, which may be a part of the vector, <-
    #    min(1, max_norm / norm) x, with the norm returned
    void (*squares_of_blocks)(Square* squares, const void* x, Py_ssize_t size) noexcept nogil
    void (*add_blocks)(Square* total, const Square* squares, Py_ssize_t count) noexcept nogil
    double (*clip_to_norm)(void* x, const Square* square, double max_norm,
                           Py_ssize_t size) noexcept nogil
