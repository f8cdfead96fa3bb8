from fastbp._recursion cimport Clock, Workspace

ctypedef struct Batch:          # the samples of one gradient
    const char* X               # IN  (n, n_features)
    const char* y               # IN  (n, n_outputs)
    const char* sample_weight   # IN  (n,) or NULL
    const Py_ssize_t* order     # IN  rows to take, or NULL for 0, 1, 2, ...
    char* gathered              # room for BLOCK samples when there is an order

ctypedef struct Totals:         # float64 sums over the samples (N3)
    double loss[8]              # element i of the batch in partial sum i mod 8
    double weight


cdef void start(Totals* totals) noexcept nogil
cdef double loss_of(const Totals* totals) noexcept nogil
cdef double mean_of(double loss, double weight) noexcept nogil
cdef int run_blocks(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                    Totals* totals, Clock* clock) except -1 nogil
cdef double finish(Workspace ws, const Totals* totals, char* grad, Py_ssize_t n_params, double l2,
                   bint mean) noexcept nogil
