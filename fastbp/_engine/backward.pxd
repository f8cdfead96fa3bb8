from fastbp._engine.network cimport Workspace

# E5 and E6 for the n rows of the last forward pass over X, from dL/dh_L: into the layers' dW and
# db, and into `input_grad`, unless they are NULL
cdef int backward_all(Workspace ws, const char* X, const char* grad_output, char* input_grad,
                      Py_ssize_t n, int asked) except -1
