# The vector vocabulary of simd.h and the constants of coefficients.h, as Cython sees them.
#
# `vec` is told to Cython as a float so that + - * / pass through to the C vector type;
# everything that is not one of those four is a primitive.

from libc.math cimport INFINITY, copysign, fabs, frexp, ldexp, sqrt
from libc.string cimport memcpy, memset

from fastbp._kernels.table cimport (
    EXPONENTIAL, IDENTITY, KC, MOST_LANES, NORM_BLOCK, OUTPUTS_TOGETHER, RELU, SIGMOID, SOFTMAX,
    TABLE_VERSION, TANH, Activation, KernelTable, Rule, Square, Target, Totals,
)

cdef extern from "simd.h" nogil:
    ctypedef float real
    ctypedef float vec
    ctypedef int truth
    ctypedef double four
    enum: VL, PART, LOG2_PART, LOGISTICS, HALVES
    enum: MASKED_LOADS, MOST_ROWS, ROWS_1, ROWS_2, ROWS_3, ROWS_4, ROWS_AGAIN_1, ROWS_AGAIN, MC
    enum: PACK_A_ROWS, PACK_A_DEPTH, PACK_A_COLUMNS, PACK_B_ROWS, PACK_B_BYTES
    enum: STRIP_BYTES, TURNING, MOST_TURNED, CARRYING, HALF_COST, FAR_BYTES
    enum: NETWORK_ROWS, THIN, THIN_BYTES, FEW_ROWS, FEW_ROWS_BYTES, FEW_ROWS_CHUNK
    enum: WIDE_ROWS, WIDE_TRANSPOSED
    enum: PREFETCH_C, PREFETCH_C_BYTES, PREFETCH_B, LINE

    vec load(const real* p) noexcept
    vec load_tail(const real* p, Py_ssize_t n) noexcept
    vec load_short(const real* p, Py_ssize_t n) noexcept
    void store_short(real* p, vec x, Py_ssize_t n) noexcept
    void prefetch(const real* p) noexcept
    void store(real* p, vec x) noexcept
    void store_tail(real* p, vec x, Py_ssize_t n) noexcept
    vec splat(real x) noexcept
    vec fma "fma_"(vec a, vec b, vec c) noexcept
    vec fma_half(vec a, vec b, vec c) noexcept
    vec splat_half(real x) noexcept
    void store_tail_half(real* p, vec x, Py_ssize_t n) noexcept
    vec load_tail_half(const real* p, Py_ssize_t n) noexcept
    vec residual(vec a, vec q, vec d) noexcept
    vec root(vec x) noexcept
    truth less(vec a, vec b) noexcept
    vec choose(truth where, vec x, vec y) noexcept
    vec at_least(vec x, vec low) noexcept
    vec magnitude(vec x) noexcept
    vec descent(vec x) noexcept
    vec signed_as(vec x, vec y) noexcept
    const real SHIFTER
    vec scale2(vec x, vec sum) noexcept
    bint any_nan(vec x) noexcept
    vec load_parts(const real* p, Py_ssize_t step, Py_ssize_t n) noexcept
    vec load_parts_of(const real** rows, Py_ssize_t j) noexcept
    void store_parts_of(real** rows, Py_ssize_t j, vec x) noexcept
    vec zip_lo(vec a, vec b) noexcept
    vec zip_hi(vec a, vec b) noexcept
    four fours(double x) noexcept
    four load_four(const real* p) noexcept
    four load_four_tail(const real* p, Py_ssize_t n) noexcept
    void store_four(double* p, four x) noexcept
    four four_of(const double* p) noexcept
    four root_four(four x) noexcept
    four fma_four(four a, four b, four c) noexcept
    double sum_of_four(four x) noexcept
    four sums_of_four(four a, four b, four c, four d) noexcept

cdef extern from "coefficients.h" nogil:
    const real LOG2E, LN2_HI, LN2_LO, EXP_LOWEST, EXP_HIGHEST
    enum: EXP_SERIES_DEGREE, LOG1P_SERIES_DEGREE
    const real* EXP_SERIES
    const real* LOG1P_SERIES

cdef enum:
    WIDEST = 4              # vectors in the widest panel
    MOST_LEFT = 8           # left-over columns of one product whose rows of A are turned, at most
    ONE_PANEL_ROWS = 8      # of a product that `multiply_one_panel` takes, at most

cdef extern from *:
    ctypedef void* memory "void*"
    ctypedef const void* source "const void*"


cdef inline vec load_lanes(const real* p, Py_ssize_t lanes) noexcept nogil:
    """The first `lanes` of a vector; zeros in the others."""
    return load(p) if lanes == VL else load_short(p, lanes)


cdef inline void store_lanes(real* p, vec x, Py_ssize_t lanes) noexcept nogil:
    if lanes == VL:
        store(p, x)
    else:
        store_short(p, x, lanes)
