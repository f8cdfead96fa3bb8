"""The functions of fastbp.h: plans of C programs, run on pointers without the GIL.

A plan holds its passes prepared for the most rows. A run checks what would lead it out of memory or
to no result, copies a prepared pass, binds the pointers to it and carries it out. The passes are
those of `MLP` and `Layers`, made by the same functions of the engine.
"""

from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastbp._capi_problem cimport Kind, kind_of, refusal_of
from fastbp._engine.gradient cimport prepare_gradient, prepare_outputs
from fastbp._engine.loop cimport carry_out_alone
from fastbp._engine.network cimport Architecture, Workspace, bind_pointers
from fastbp._engine.plan cimport BLOCK_ROWS, Layer, Pass, Shape, most_threads
from fastbp._engine.team cimport Flag, acquire, release
from fastbp._kernels.table cimport IDENTITY, Activation
from fastbp._loss cimport Terms, batch_at, smooth, targets_fit, weights_fit
from fastbp.capi cimport *

# ---- a plan -----------------------------------------------------------------------------

ctypedef struct Entry:          # what a fastbp_plan* leads to
    PyObject* owner             # the Plan that it lies in
    const Shape* shape
    Layer* layers               # of the gradient; those of the other passes share their buffers
    Layer* layers_forward
    Pass gradient, loss, outputs
    Terms terms
    Activation output
    ptrdiff_t rows
    int threads
    bint classes, mean
    Flag taken


cdef class Plan:
    """The owner of an Entry. The C program has a reference to it until `free_plan`."""
    cdef Workspace workspace, passes
    cdef void* pos_weight
    cdef Entry entry

    def __dealloc__(self):
        free(self.pos_weight)

    cdef int describe(self, const fastbp_problem* p) except -1:
        """All but memory and passes, of a problem that fits."""
        cdef Entry* entry = &self.entry
        cdef const Kind* kind = kind_of(p)
        cdef Py_ssize_t l, n_outputs = p.sizes[p.n_layers]
        sizes = tuple([p.sizes[l] for l in range(p.n_layers + 1)])
        activations = [p.activations[l] for l in range(p.n_layers - 1)]
        architecture = Architecture(sizes, [*activations, <int> IDENTITY], p.dtype, p.transposed)
        self.workspace = Workspace(architecture, True)
        self.passes = Workspace(architecture, False)
        entry.shape = self.workspace.shape
        entry.layers, entry.layers_forward = self.workspace.layers, self.passes.layers
        entry.terms, entry.output = kind.terms, kind.output
        entry.terms.kernels, entry.terms.n_outputs = entry.shape.kernels, n_outputs
        entry.terms.criterion = entry.shape.kernels.criteria[p.loss - 1]
        smooth(&entry.terms.target, p.label_smoothing,
               n_outputs if kind.terms.is_distribution else 2)
        entry.rows, entry.classes, entry.mean = p.rows, p.classes, p.mean
        entry.threads = min(max(p.threads, 1), most_threads(entry.shape, p.rows))
        return 0

    cdef int prepare(self, const fastbp_problem* p) except -1:
        cdef Entry* entry = &self.entry
        cdef double divisor = 0 if p.mean else 1
        cdef Py_ssize_t nbytes = self.entry.terms.n_outputs * p.dtype
        prepare_gradient(self.workspace, &entry.gradient, p.rows, True, divisor, p.l2,
                         entry.threads)
        prepare_gradient(self.passes, &entry.loss, p.rows, False, divisor, p.l2, entry.threads)
        prepare_outputs(self.passes, &entry.outputs, p.rows, IDENTITY, entry.threads)
        if p.pos_weight != NULL:
            self.pos_weight = malloc(nbytes)
            if self.pos_weight == NULL:
                raise MemoryError
            memcpy(self.pos_weight, p.pos_weight, nbytes)
            entry.terms.target.pos_weight = self.pos_weight
        return 0

    cdef Py_ssize_t nbytes(self) except -1:
        cdef Py_ssize_t block = min(self.entry.rows, <Py_ssize_t> BLOCK_ROWS * self.entry.threads)
        return (self.workspace.needed(block, block, self.entry.threads)
                + self.passes.needed(block, block, self.entry.threads))


cdef int memory(size_t* nbytes, const fastbp_problem* problem) noexcept nogil:
    cdef int code = refusal_of(problem)
    if nbytes == NULL:
        return FASTBP_NULL_POINTER
    return code if code != FASTBP_OK else make(NULL, nbytes, problem)


cdef int new_plan(fastbp_plan** made, const fastbp_problem* problem) noexcept nogil:
    cdef int code = refusal_of(problem)
    if made == NULL:
        return FASTBP_NULL_POINTER
    made[0] = NULL
    return code if code != FASTBP_OK else make(made, NULL, problem)


cdef int make(fastbp_plan** made, size_t* nbytes,
              const fastbp_problem* problem) noexcept with gil:
    """A plan, or the bytes of one: that of which the place is not NULL."""
    cdef Plan plan
    try:
        plan = Plan()
        plan.describe(problem)
        if nbytes != NULL:
            nbytes[0] = plan.nbytes()
        if made != NULL:
            plan.prepare(problem)
            plan.entry.owner = <PyObject*> plan
            Py_INCREF(plan)
            made[0] = <fastbp_plan*> &plan.entry
    except MemoryError:
        return FASTBP_NO_MEMORY
    except BaseException:               # which a C program cannot see
        return FASTBP_FAILED
    return FASTBP_OK


cdef int free_plan(fastbp_plan* plan) noexcept nogil:
    cdef Entry* entry = <Entry*> plan
    if entry == NULL:
        return FASTBP_OK
    if acquire(&entry.taken):
        return FASTBP_BUSY
    with gil:
        Py_DECREF(<object> entry.owner)
    return FASTBP_OK


cdef ptrdiff_t spread(void** arrays, void* flat, const fastbp_plan* plan) noexcept nogil:
    cdef const Shape* s
    cdef char* at = <char*> flat
    cdef ptrdiff_t l
    if plan == NULL or (arrays != NULL and flat == NULL):
        return -FASTBP_NULL_POINTER
    s = (<const Entry*> plan).shape
    if arrays != NULL:
        for l in range(s.n_layers):
            arrays[2 * l] = at
            at += s.sizes[l] * s.sizes[l + 1] * s.itemsize
            arrays[2 * l + 1] = at
            at += s.sizes[l + 1] * s.itemsize
    return s.n_params


# ---- runs -------------------------------------------------------------------------------

cdef int refusal_of_run(const Entry* entry, const void* out, void* const* params, const void* X,
                        ptrdiff_t n) noexcept nogil:
    """A run of no samples needs no X."""
    if entry == NULL or params == NULL:
        return FASTBP_NULL_POINTER
    if n < 0 or n > entry.rows:
        return FASTBP_BAD_ROWS
    if n > 0 and (X == NULL or out == NULL):
        return FASTBP_NULL_POINTER
    return refusal_of_arrays(entry, params)


cdef int refusal_of_arrays(const Entry* entry, void* const* arrays) noexcept nogil:
    cdef ptrdiff_t i
    for i in range(2 * entry.shape.n_layers):
        if arrays[i] == NULL:
            return FASTBP_NULL_POINTER
    return FASTBP_OK


cdef int begin(Entry* entry, Pass* run, const Pass* prepared, void* const* grads,
               void* const* params, ptrdiff_t n) noexcept nogil:
    """Take the plan, until `end`; `grads` are NULL where the pass writes none."""
    if acquire(&entry.taken):
        return FASTBP_BUSY
    bind_pointers(entry.layers if grads != NULL else entry.layers_forward, entry.shape.n_layers,
                  <const char* const*> params, <char* const*> grads)
    run[0] = prepared[0]
    run.n = run.batch_size = n
    return FASTBP_OK


cdef int end(Entry* entry, Pass* run) noexcept nogil:
    carry_out_alone(run, most_threads(entry.shape, run.n))
    release(&entry.taken)
    return FASTBP_OK


cdef int forward(fastbp_plan* plan, void* out, void* const* params, const void* X,
                 ptrdiff_t n) noexcept nogil:
    return run_outputs(<Entry*> plan, out, params, X, n, False)


cdef int logits(fastbp_plan* plan, void* out, void* const* params, const void* X,
                ptrdiff_t n) noexcept nogil:
    return run_outputs(<Entry*> plan, out, params, X, n, True)


cdef int run_outputs(Entry* entry, void* out, void* const* params, const void* X, ptrdiff_t n,
                     bint logits) noexcept nogil:
    cdef int code = refusal_of_run(entry, out, params, X, n)
    cdef Pass run
    if code == FASTBP_OK:
        code = begin(entry, &run, &entry.outputs, NULL, params, n)
    if code != FASTBP_OK:
        return code
    run.batch.X, run.output = <const char*> X, <char*> out
    run.output_activation = IDENTITY if logits else entry.output
    return end(entry, &run)


cdef int loss(fastbp_plan* plan, double* loss, void* const* params, const void* X, const void* y,
              const void* sample_weight, ptrdiff_t n) noexcept nogil:
    return run_loss(<Entry*> plan, loss, NULL, params, X, y, sample_weight, n)


cdef int gradient(fastbp_plan* plan, double* loss, void* const* grads, void* const* params,
                  const void* X, const void* y, const void* sample_weight,
                  ptrdiff_t n) noexcept nogil:
    if plan == NULL or grads == NULL:
        return FASTBP_NULL_POINTER
    return run_loss(<Entry*> plan, loss, grads, params, X, y, sample_weight, n)


cdef int run_loss(Entry* entry, double* loss, void* const* grads, void* const* params,
                  const void* X, const void* y, const void* sample_weight,
                  ptrdiff_t n) noexcept nogil:
    cdef const char* weights = <const char*> sample_weight
    cdef int code = refusal_of_run(entry, loss, params, X, n)
    cdef Pass run
    if code == FASTBP_OK and grads != NULL:
        code = refusal_of_arrays(entry, grads)
    if code != FASTBP_OK:
        return code
    if loss == NULL or (y == NULL and n > 0):
        return FASTBP_NULL_POINTER
    if entry.mean and n == 0:
        return FASTBP_BAD_ROWS
    if not targets_fit(&entry.terms, <const char*> y, entry.classes, n):
        return FASTBP_BAD_TARGETS
    if weights != NULL and not weights_fit(&entry.terms, weights, n, entry.mean):
        return FASTBP_BAD_WEIGHTS
    code = begin(entry, &run, &entry.gradient if grads != NULL else &entry.loss, grads, params, n)
    if code != FASTBP_OK:
        return code
    run.batch = batch_at(&entry.terms, <const char*> X, <const char*> y, entry.classes, weights)
    end(entry, &run)
    loss[0] = run.own.loss
    return FASTBP_OK


# ---- the capsule ------------------------------------------------------------------------

ctypedef const char* Message

cdef Message[FASTBP_FAILED + 1] MESSAGES = [
    "no fault",
    "a pointer is NULL that leads to something needed",
    "problem.size is not the sizeof(fastbp_problem) of this version",
    "dtype is neither FASTBP_FLOAT32 nor FASTBP_FLOAT64",
    "n_layers or one of sizes is below 1, or there are more parameters than can be addressed",
    "one of activations is not an activation",
    "loss is not a loss, or a softmax of one output",
    "an option is out of range, or one that the loss does not take",
    "rows is below 1, or n is negative, above rows, or 0 for a mean",
    "threads is negative or above 256",
    "y has a number that the loss excludes",
    "sample_weight has a number below 0 or not finite, or a sum of 0 for a mean",
    "the memory cannot be had",
    "a run of the plan has not ended",
    "fastbp is not installed, or has no functions for C programs",
    "fastbp is another version than that of the header",
    "Python raised an exception that no other code says",
]


cdef const char* message(int code) noexcept nogil:
    if code < FASTBP_OK or code > FASTBP_FAILED:
        return "not a code of fastbp"
    return MESSAGES[code]


cdef fastbp_api functions
functions.version, functions.size = FASTBP_API_VERSION, sizeof(fastbp_api)
functions.message, functions.memory = message, memory
functions.new_plan, functions.free_plan, functions.spread = new_plan, free_plan, spread
functions.forward, functions.logits = forward, logits
functions.loss, functions.gradient = loss, gradient

api = PyCapsule_New(&functions, "fastbp._capi.api", NULL)
