# Permutations of samples (N6).

from fastbp._kernels.table cimport KernelTable

# An order of intp, which the caller owns, after Fisher-Yates by raw 64-bit numbers, which
# draw(source, count) gives, so many at once; handlers of signals run in between
cdef object fisher_yates(order, draw, source, Py_ssize_t most)
# Whether `shuffle_each` can draw from these bit generators
cdef bint draw_apart(list sources)
# Into each order its rows, by its own generator as `fisher_yates` leaves them. `asked` is the
# number of threads, or 0 for as many as the work is worth
cdef int shuffle_each(list orders, list rows, list sources, Py_ssize_t most,
                      const KernelTable* kernels, int asked) except -1
