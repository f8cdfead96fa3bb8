from fastbp._kernels.float_mode cimport float_mode
from fastbp._kernels.table cimport Criterion, Target
from fastbp._team cimport Seat
from fastbp._workspace cimport Shape, Sweep, Workspace

ctypedef struct Batch:          # the samples of one gradient
    Criterion criterion
    Target target
    Py_ssize_t y_width          # n_outputs, or 1
    const char* X               # IN  (n, n_features)
    const char* y               # IN  (n, y_width)
    const char* sample_weight   # IN  (n,) or NULL
    const Py_ssize_t* order     # IN  rows to take, or NULL for 0, 1, 2, ...
    char* gathered              # room for a block of samples when there is an order

ctypedef struct Totals:         # float64 sums over the samples (N3)
    double loss[8]              # element i of the batch in partial sum i mod 8
    double weight
    double penalty              # l2/2 times the sum of W^2, from `total_loss`


# The loss of a batch, and with `gradient` its gradient into what `ws` is bound to
cdef double loss_and_gradient(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                              bint mean, double l2, int asked) except? -1

# The samples [row, row + n) of a batch
cdef Batch samples(const Shape* s, const Batch* batch, Py_ssize_t row, Py_ssize_t n) noexcept nogil

cdef void start(Totals* totals) noexcept nogil
# The weights of a block's n samples; 1 each where `weight` is NULL
cdef void add_weights(const Shape* s, Totals* totals, const char* weight,
                      Py_ssize_t n) noexcept nogil
cdef double loss_of(const Totals* totals) noexcept nogil
cdef double mean_of(double loss, double weight) noexcept nogil
# The phases of a batch's sums and gradient; nonzero when called off
cdef bint sweep_blocks(Sweep* sweep, Seat* seat, const Batch* batch, Py_ssize_t n, bint gradient,
                       Totals* totals) noexcept nogil
# Within a part, the loss summed, with its penalty, whose gradient is added to every dW; of no use
# when the call is called off
cdef double total_loss(Sweep* sweep, const Seat* seat, Totals* totals, double l2) noexcept nogil
# After a gradient, every dW and db over the divisor
cdef int divide_by(Sweep* sweep, double divisor) except -1
# bytes for the gathered samples of a block
cdef Py_ssize_t gathered_bytes(const Shape* s, Py_ssize_t block) noexcept nogil
