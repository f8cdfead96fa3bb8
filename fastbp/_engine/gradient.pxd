from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Activation, Batch, Frame, Pass, Plan, Step

# The loss of a batch, and with `gradient` its gradient into what `ws` is bound to. Both are divided
# by the divisor, or by the sum of the weights where it is 0
cdef double loss_and_gradient(Workspace ws, const Batch* batch, Py_ssize_t n, bint gradient,
                              double divisor, double l2, int asked) except? -1

# E1 to E5, down to dL/dX (n, n_features) of the summed loss
cdef int input_gradient(Workspace ws, const Batch* batch, char* input_grad, Py_ssize_t n,
                        int asked) except -1

# E1 for n rows, then `output_activation` of the last layer's outputs
cdef int forward_all(Workspace ws, const char* X, char* output, Py_ssize_t n,
                     Activation output_activation, int asked) except -1
# The steps of E1 to E6 for every block of a batch, which is gathered first `in_order`
cdef int add_gradient(Plan* plan, bint in_order) except -1
# The steps of a whole pass for the loss, and of what else `key` says: gradient, penalty, division
cdef int add_loss_pass(Plan* plan, int key, bint in_order) except -1

# Both passes up to `carry_out`: what is left is to bind the samples, or X and `output`
cdef int prepare_gradient(Workspace ws, Pass* run, Py_ssize_t n, bint gradient, double divisor,
                          double l2, int threads) except -1
cdef int prepare_outputs(Workspace ws, Pass* run, Py_ssize_t n, Activation output_activation,
                         int threads) except -1
# A step of rows: h_L of z_L, as the pass has its activation
cdef void activate_output(const Step* step, Frame* f) noexcept nogil
