from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Batch

# norms (n,) <- ||g_i||, g_i being the gradient of the weighted loss of sample i
cdef int norms_of_samples(Workspace ws, const Batch* batch, char* norms, Py_ssize_t n,
                          int asked) except -1

# The same norms, and sum_i min(1, max_norm / ||g_i||) g_i over the divisor into what `ws` is bound
# to; the loss, which is not clipped, over the divisor
cdef double clipped_gradient(Workspace ws, const Batch* batch, char* norms, double max_norm,
                             Py_ssize_t n, double divisor, int asked) except? -1

# grads (n, n_params) <- g_i
cdef int gradients_of_samples(Workspace ws, const Batch* batch, char* grads, Py_ssize_t n,
                              int asked) except -1
