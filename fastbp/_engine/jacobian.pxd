from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Activation, Batch

# dh_L or, where `output` is IDENTITY, dz_L of n rows by the input, or by the parameters that `ws`
# is bound to, into `out` (n, n_outputs, n_features or n_params). The criterion of `batch` is that
# of a softmax where `output` is one; `counts` are 0, 1, 2, ..., n_outputs in the dtype.
cdef int write_jacobian(Workspace ws, const Batch* batch, Activation output, const char* counts,
                        char* out, bint to_input, Py_ssize_t n, int asked) except -1
