"""What may be wrong with a fastbp_problem, and what its numbers mean.

A plan is made without Python code, so that all of it is found here, and the descriptors of losses
and activations are read once.
"""

from fastbp._arguments import ACTIVATIONS, LOSSES

cimport numpy as cnp
from libc.float cimport DBL_MAX
from libc.math cimport isfinite

from fastbp._engine.team cimport MOST_THREADS
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport CRITERIA
from fastbp._loss cimport Loss
from fastbp.capi cimport *

cnp.import_array()

cdef Kind[CRITERIA] kinds
cdef unsigned long long hidden = 0      # bit i: activation number i is one of hidden layers


cdef int read_descriptors() except -1:
    global hidden
    cdef Loss loss
    cdef int i
    for i, (name, descriptor) in enumerate(LOSSES.items()):
        loss = Loss(name, 2, cnp.dtype("d"))
        kinds[i] = Kind(loss.terms, loss.output, "label_smoothing" in descriptor.options,
                        "pos_weight" in descriptor.options)
    for activation in ACTIVATIONS.values():
        hidden |= 1ULL << <int> activation.number
    return 0


read_descriptors()


cdef const Kind* kind_of(const fastbp_problem* p) noexcept nogil:
    return &kinds[p.loss - 1]


cdef int refusal_of(const fastbp_problem* p) noexcept nogil:
    if p == NULL:
        return FASTBP_NULL_POINTER
    if p.size != sizeof(fastbp_problem):
        return FASTBP_BAD_PROBLEM
    if p.dtype != FASTBP_FLOAT32 and p.dtype != FASTBP_FLOAT64:
        return FASTBP_BAD_DTYPE
    cdef int code = refusal_of_layers(p)
    if code != FASTBP_OK:
        return code
    if p.loss < 1 or p.loss > CRITERIA:
        return FASTBP_BAD_LOSS
    if kind_of(p).terms.is_distribution and p.sizes[p.n_layers] < 2:
        return FASTBP_BAD_LOSS
    if p.rows < 1:
        return FASTBP_BAD_ROWS
    if p.threads < 0 or p.threads > MOST_THREADS:
        return FASTBP_BAD_THREADS
    return FASTBP_OK if options_fit(p, kind_of(p)) else FASTBP_BAD_OPTION


cdef int refusal_of_layers(const fastbp_problem* p) noexcept nogil:
    cdef double nbytes = 0              # where an integer would overflow
    cdef ptrdiff_t l
    if p.n_layers < 1:
        return FASTBP_BAD_SIZES
    if p.sizes == NULL or (p.activations == NULL and p.n_layers > 1):
        return FASTBP_NULL_POINTER
    for l in range(p.n_layers + 1):
        if p.sizes[l] < 1:
            return FASTBP_BAD_SIZES
        if l > 0:
            nbytes += 8 * (p.sizes[l - 1] + 1.0) * p.sizes[l]
            if nbytes >= 2.0 ** 63:
                return FASTBP_BAD_SIZES
    for l in range(p.n_layers - 1):
        if not (0 <= p.activations[l] < 64 and hidden >> p.activations[l] & 1):
            return FASTBP_BAD_ACTIVATION
    return FASTBP_OK


cdef bint options_fit(const fastbp_problem* p, const Kind* kind) noexcept nogil:
    cdef const char* positives = <const char*> p.pos_weight
    cdef ptrdiff_t j
    if p.transposed not in (0, 1) or p.classes not in (0, 1) or p.mean not in (0, 1):
        return False
    if p.classes and not kind.terms.is_distribution:
        return False
    if not (p.l2 >= 0 and isfinite(p.l2) and 0 <= p.label_smoothing < 1):
        return False
    if (p.label_smoothing != 0 and not kind.smooths) or (positives != NULL and not kind.weighs):
        return False
    if positives != NULL:
        for j in range(p.sizes[p.n_layers]):
            if not 0 < kernels(p.dtype).total(positives + j * p.dtype, 1) <= DBL_MAX:
                return False
    return True
