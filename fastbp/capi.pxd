# fastbp.h for Cython; the header says what each name means, and its folder is that of
# `fastbp.get_include`.

cdef extern from "fastbp.h" nogil:
    enum:
        FASTBP_API_VERSION

    enum:
        FASTBP_OK
        FASTBP_NULL_POINTER
        FASTBP_BAD_PROBLEM
        FASTBP_BAD_DTYPE
        FASTBP_BAD_SIZES
        FASTBP_BAD_ACTIVATION
        FASTBP_BAD_LOSS
        FASTBP_BAD_OPTION
        FASTBP_BAD_ROWS
        FASTBP_BAD_THREADS
        FASTBP_BAD_TARGETS
        FASTBP_BAD_WEIGHTS
        FASTBP_NO_MEMORY
        FASTBP_BUSY
        FASTBP_NOT_FOUND
        FASTBP_OTHER_VERSION
        FASTBP_FAILED

    enum:
        FASTBP_FLOAT32
        FASTBP_FLOAT64

    enum:
        FASTBP_IDENTITY
        FASTBP_SIGMOID
        FASTBP_TANH
        FASTBP_RELU

    enum:
        FASTBP_BCE
        FASTBP_SOFTMAX
        FASTBP_SQUARED_ERROR
        FASTBP_POISSON

    ctypedef struct fastbp_problem:
        size_t size
        int dtype
        int loss
        ptrdiff_t n_layers
        const ptrdiff_t* sizes
        const int* activations
        ptrdiff_t rows
        int threads
        int transposed
        int classes
        int mean
        double l2
        double label_smoothing
        const void* pos_weight

    ctypedef struct fastbp_plan

    ctypedef struct fastbp_api:
        int version
        size_t size
        const char* (*message)(int code) noexcept nogil
        int (*memory)(size_t* bytes, const fastbp_problem* problem) noexcept nogil
        int (*new_plan)(fastbp_plan** plan, const fastbp_problem* problem) noexcept nogil
        int (*free_plan)(fastbp_plan* plan) noexcept nogil
        ptrdiff_t (*spread)(void** arrays, void* flat, const fastbp_plan* plan) noexcept nogil
        int (*forward)(fastbp_plan* plan, void* out, void* const* params, const void* X,
                       ptrdiff_t n) noexcept nogil
        int (*logits)(fastbp_plan* plan, void* out, void* const* params, const void* X,
                      ptrdiff_t n) noexcept nogil
        int (*loss)(fastbp_plan* plan, double* loss, void* const* params, const void* X,
                    const void* y, const void* sample_weight, ptrdiff_t n) noexcept nogil
        int (*gradient)(fastbp_plan* plan, double* loss, void* const* grads, void* const* params,
                        const void* X, const void* y, const void* sample_weight,
                        ptrdiff_t n) noexcept nogil

cdef extern from "fastbp.h":
    # Its ImportError is raised
    int fastbp_import(const fastbp_api** api) except *
