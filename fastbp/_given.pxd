from fastbp._engine.plan cimport Batch
from fastbp._kernels.table cimport KernelTable
from fastbp._network cimport Network


cdef class Given:
    """What the networks of a population read: arrays for all of them, or a part for each."""
    cdef object X, y, sample_weight
    cdef Py_ssize_t n, X_step, y_step, weight_step      # bytes from one network's to the next one's
    cdef Batch batch
    cdef tuple sent                 # X, y and weights as they came, to be read by another process
    cdef tuple each                 # whether each network has a part of its own of these three

# For N networks like `net`, which will write the arrays `written`: what overlaps these is copied.
# Checked in this order: X, y, sample_weight
cdef Given new_given(Network net, Py_ssize_t N, tuple written, X, y, sample_weight, bint mean)

# Refuse the argument of that name where the rows of a network have weights that sum to 0, or to
# infinity
cdef int check_rows(Given given, list rows, str name) except -1
# The rows of the networks with these numbers, each in its permutation, or with one source in the
# same; None for the others. `asked` is the number of threads, or 0 for as many as pay
cdef list orders_of(list rows, source, list numbers, const KernelTable* kernels, int asked)
