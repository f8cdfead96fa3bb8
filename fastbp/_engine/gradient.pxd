from fastbp._engine.network cimport DIVIDED, GRADIENT, LOSS, OUTPUTS, PENALISED, Workspace
from fastbp._engine.plan cimport Activation, Batch, Pass, Plan

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


# ---- up to `carry_out`: what is left is to bind the samples, or X and `output`

cdef int add_loss_and_gradient(Plan* plan, int key) except -1
cdef int add_outputs(Plan* plan, int key) except -1


cdef inline int prepare_gradient(Workspace ws, Pass* run, Py_ssize_t n, bint gradient,
                                 double divisor, double l2, int threads) except -1:
    cdef int key = LOSS if not gradient else GRADIENT + (DIVIDED if divisor != 1 else 0)
    if l2 != 0:
        key += PENALISED
    ws.prepare(run, key, add_loss_and_gradient, n, n, threads)
    run.divisor, run.l2 = divisor, l2
    return 0


cdef inline int prepare_outputs(Workspace ws, Pass* run, Py_ssize_t n,
                                Activation output_activation, int threads) except -1:
    ws.prepare(run, OUTPUTS, add_outputs, n, n, threads)
    run.output_activation, run.keeps = output_activation, ws.backward
    return 0
