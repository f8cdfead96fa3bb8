# One network in the engine: its shape, the arrays of each layer, the memory of a pass, its plans.

from fastbp._engine.memory cimport Memory
from fastbp._engine.plan cimport Activation, Layer, Maker, Pass, Plan, Shape
from fastbp._engine.team cimport Flag

cdef enum:
    KEPT_PLANS = 4          # of a workspace

ctypedef enum:              # the key of a plan is the sum of what it is for, one of these,
    OUTPUTS = 1 << 0
    LOSS = 1 << 1
    GRADIENT = 1 << 2
    WAY_BACK = 1 << 3
    CERTIFICATE = 1 << 4
    UPDATE = 1 << 5
    NORMS = 1 << 6
    CLIPPED = 1 << 7        # with UPDATE, too
    EACH_GRADIENT = 1 << 8
    HESSIAN = 1 << 9
    GAUSS_NEWTON = 1 << 10
    INPUT_GRADIENT = 1 << 11
    JACOBIAN = 1 << 12
    DIVIDED = 1 << 16       # and of what the pass does besides
    PENALISED = 1 << 17
    IN_ORDER = 1 << 18
    TO_INPUT = 1 << 19
    TO_WEIGHTS = 1 << 20
    KNOWN = 1 << 21         # h, act'(z) and delta of every row are there from an earlier pass
    NOISY = 1 << 22
    LIMITED = 1 << 23       # the norm of the gradient of a mini-batch


cdef class Architecture:
    """The owner of a Shape."""
    cdef Shape shape


cdef class Workspace:
    """The memory, the array pointers and the plans of passes over one network.

    It keeps its memory; or, if it is `lent`, borrows some for one call at a time.
    """
    cdef Architecture architecture
    cdef const Shape* shape
    cdef Layer* layers                  # n_layers
    cdef char* losses
    cdef char* scratch
    cdef Py_ssize_t scratch_bytes
    cdef Memory* memory                 # or NULL: none now
    cdef char* placed                   # the memory that the pointers lead into
    cdef bint backward                  # keeps every h and slope, has room for every delta
    cdef bint lent
    cdef bint whole                     # keeps every delta, too: a later pass may use all three
    cdef readonly Py_ssize_t rows, block, nbytes
    cdef int threads
    cdef Flag taken
    cdef Plan[KEPT_PLANS] plans
    cdef long long used                 # plans so far

    # of a lent one: itself for a call, or one like it when another call has it, for `give_back`
    cdef Workspace lease(self)
    cdef void give_back(self) noexcept
    cdef int reserve(self, Py_ssize_t rows, int threads) except -1
    cdef Py_ssize_t needed(self, Py_ssize_t rows, Py_ssize_t block, int threads) except -1
    cdef Py_ssize_t place(self, char* memory, Py_ssize_t rows, Py_ssize_t block,
                          int threads) noexcept
    # A pass over n samples in mini-batches: its memory, and its plan, which is made if need be.
    # What is not the workspace's is left 0
    cdef int prepare(self, Pass* run, int key, Maker add_steps, Py_ssize_t n, Py_ssize_t batch_size,
                     int threads) except -1
    cdef void space_rows(self, bint by_columns) noexcept
    cdef const Plan* plan_for(self, int key, Maker add_steps, Py_ssize_t rows,
                              int threads) except NULL


# ---- binding: whose arrays the layers are

# The flat vectors W_1, b_1, W_2, b_2, ...; grad may be NULL
cdef void bind_flat(Workspace ws, const char* params, char* grad) noexcept nogil
cdef void bind_vector(Layer* layers, const Shape* s, const char* params,
                      char* grad) noexcept nogil
# Lists of arrays of each layer
cdef void bind_arrays(Workspace ws, list weights, list biases)
cdef void bind_grad_arrays(Workspace ws, list dW, list db)      # None: no gradient
# Addresses, W_1, b_1, W_2, ...; grads may be NULL
cdef void bind_pointers(Layer* layers, Py_ssize_t n_layers, const char* const* params,
                        char* const* grads) noexcept nogil
# Lists of addresses, W_1, b_1, W_2, ..., as many as there are
cdef int bind_addresses(Workspace ws, list params, list grads) except -1    # None: no gradient
