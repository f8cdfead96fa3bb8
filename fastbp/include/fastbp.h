/* The loss of a multilayer perceptron and its exact gradient, for programs in C, C++ and Cython.

       const fastbp_api *fastbp;
       if (fastbp_import(&fastbp) != FASTBP_OK) return NULL;        // a Python exception is set

       ptrdiff_t sizes[] = {2, 8, 1};
       int activations[] = {FASTBP_TANH};
       fastbp_problem problem = {.size = sizeof problem, .dtype = FASTBP_FLOAT64,
                                 .n_layers = 2, .sizes = sizes, .activations = activations,
                                 .loss = FASTBP_BCE, .rows = 100};
       fastbp_plan *plan;
       int code = fastbp->new_plan(&plan, &problem);
       ...
       code = fastbp->gradient(plan, &loss, grads, params, X, y, NULL, 100);
       ...
       fastbp->free_plan(plan);

   A plan is made once and run many times: a run allocates nothing, needs no GIL, touches no Python
   object and runs no handler of signals. Several threads may run a plan each. The results are those
   of fastbp.MLP, to the bit.

   A pointer that is NULL is refused, unless it says below that it may be. Any other is followed: that
   of a plan that was freed too.

   Arrays are row-major, dense, aligned as their type asks, and of the plan's dtype. Outputs share no
   memory with inputs, or with each other. Outputs come before inputs, sizes last. */

#ifndef FASTBP_H
#define FASTBP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a program must be compiled again. What is only added goes to the ends of the structs,
   whose sizes say what is there. */
#define FASTBP_API_VERSION 1

/* What functions return; fastbp_api.message has a sentence for each. */
enum {
    FASTBP_OK = 0,
    FASTBP_NULL_POINTER = 1,
    FASTBP_BAD_PROBLEM = 2,         /* problem.size */
    FASTBP_BAD_DTYPE = 3,
    FASTBP_BAD_SIZES = 4,           /* n_layers, sizes */
    FASTBP_BAD_ACTIVATION = 5,
    FASTBP_BAD_LOSS = 6,
    FASTBP_BAD_OPTION = 7,          /* transposed, classes, mean, l2, label_smoothing, pos_weight */
    FASTBP_BAD_ROWS = 8,            /* rows, or the n of a run */
    FASTBP_BAD_THREADS = 9,
    FASTBP_BAD_TARGETS = 10,        /* a number in y */
    FASTBP_BAD_WEIGHTS = 11,        /* a number in sample_weight, or their sum */
    FASTBP_NO_MEMORY = 12,
    FASTBP_BUSY = 13,               /* a run of the plan has not ended */
    FASTBP_NOT_FOUND = 14,          /* fastbp_import: no module */
    FASTBP_OTHER_VERSION = 15,      /* fastbp_import: one for another header */
    FASTBP_FAILED = 16              /* a Python exception that no other code says, now forgotten */
};

/* The size of a number in bytes */
enum { FASTBP_FLOAT32 = 4, FASTBP_FLOAT64 = 8 };

/* h of z in a hidden layer */
enum { FASTBP_IDENTITY = 0, FASTBP_SIGMOID = 1, FASTBP_TANH = 2, FASTBP_RELU = 3 };

/* Of the outputs h_L and the targets t; each has its own h_L of z_L */
enum {
    FASTBP_BCE = 1,             /* sigmoid:  -sum t log h + (1 - t) log (1 - h), t in [0, 1] */
    FASTBP_SOFTMAX = 2,         /* softmax:  -sum t log h */
    FASTBP_SQUARED_ERROR = 3,   /* identity: sum (h - t)^2 / 2 */
    FASTBP_POISSON = 4          /* e^z:      sum h - t log h, t >= 0 */
};

/* What a plan is made for. Set `size`; a member that is 0 is as it says. Nothing is kept: new_plan
   copies what the pointers lead to. */
typedef struct fastbp_problem {
    size_t size;                /* sizeof(fastbp_problem) */
    int dtype;
    int loss;
    ptrdiff_t n_layers;         /* at least 1 */
    const ptrdiff_t *sizes;     /* (n_layers + 1,): of the input, each hidden layer, the output */
    const int *activations;     /* (n_layers - 1,): of each hidden layer; NULL if there is none */
    ptrdiff_t rows;             /* the most samples of a run, at least 1; a plan holds memory for at
                                   most 256 of them for each thread */
    int threads;                /* of a run, at most 256; 0 is 1 */
    int transposed;             /* 0: W is (fan_in, fan_out); 1: (fan_out, fan_in) */
    int classes;                /* 0: y is (n, n_outputs); 1: (n,) numbers of classes, of a softmax */
    int mean;                   /* 0: the loss is a sum; 1: divided by n, or by the sum of weights */
    double l2;                  /* adds l2/2 sum W^2 to the loss, before it is divided */
    double label_smoothing;     /* of binary cross-entropy and softmax, in [0, 1) */
    const void *pos_weight;     /* (n_outputs,) of the dtype: what t = 1 counts in a binary
                                   cross-entropy; NULL: 1 */
} fastbp_problem;

typedef struct fastbp_plan fastbp_plan;

typedef struct fastbp_api {
    int version;
    size_t size;

    /* A sentence in English; never NULL. */
    const char *(*message)(int code);

    /* Bytes that a plan for the problem would hold for its runs. Takes the GIL for a moment. */
    int (*memory)(size_t *bytes, const fastbp_problem *problem);

    /* Makes a plan; NULL where it fails. Takes the GIL for a moment, if the thread does not hold it:
       no thread that holds it may wait for this one. Not after Py_Finalize, nor while a Python
       exception is set. */
    int (*new_plan)(fastbp_plan **plan, const fastbp_problem *problem);

    /* The same about the GIL. A plan that runs is left: FASTBP_BUSY. NULL is nothing to free. */
    int (*free_plan)(fastbp_plan *plan);

    /* The number of parameters. arrays[0 ... 2 n_layers - 1] <- where W_1, b_1, W_2, b_2, ... lie in
       a flat vector of so many, as that of MLP.params is; unless `arrays` is NULL.
       -FASTBP_NULL_POINTER without a plan, or with arrays and no vector. */
    ptrdiff_t (*spread)(void **arrays, void *flat, const fastbp_plan *plan);

    /* Runs, of n <= rows samples, from any thread, with the GIL or without.

       params, grads  W_1, b_1, W_2, b_2, ..., each somewhere; params are not written
       X              (n, n_features)
       y              (n, n_outputs), or (n,) classes; a number that the loss excludes: BAD_TARGETS
       sample_weight  (n,), at least 0; or NULL: 1

       With another code than FASTBP_OK no output is written. */

    /* out (n, n_outputs) <- h_L, z_L */
    int (*forward)(fastbp_plan *plan, void *out, void *const *params, const void *X, ptrdiff_t n);
    int (*logits)(fastbp_plan *plan, void *out, void *const *params, const void *X, ptrdiff_t n);

    /* loss in nats */
    int (*loss)(fastbp_plan *plan, double *loss, void *const *params, const void *X, const void *y,
                const void *sample_weight, ptrdiff_t n);

    /* loss, and grads <- dloss/dW_1, dloss/db_1, ... */
    int (*gradient)(fastbp_plan *plan, double *loss, void *const *grads, void *const *params,
                    const void *X, const void *y, const void *sample_weight, ptrdiff_t n);
} fastbp_api;

#ifdef Py_PYTHON_H
/* The functions of the fastbp that is installed; needs the GIL, and Python.h before this header.
   With another code than FASTBP_OK *api is NULL and a Python exception says why. */
static inline int fastbp_import(const fastbp_api **api)
{
    if (api == NULL) {
        PyErr_SetString(PyExc_ValueError, "fastbp_import: api is NULL");
        return FASTBP_NULL_POINTER;
    }
    *api = NULL;
    PyObject *module = PyImport_ImportModule("fastbp._capi");
    PyObject *capsule = module == NULL ? NULL : PyObject_GetAttrString(module, "api");
    const fastbp_api *found = NULL;
    if (capsule != NULL)
        found = (const fastbp_api *)PyCapsule_GetPointer(capsule, "fastbp._capi.api");
    Py_XDECREF(capsule);
    Py_XDECREF(module);
    if (found == NULL)
        return FASTBP_NOT_FOUND;
    if (found->version != FASTBP_API_VERSION || found->size < sizeof(fastbp_api)) {
        PyErr_Format(PyExc_ImportError,
                     "this program was compiled for version %d of fastbp.h, with %zu bytes of "
                     "functions; the fastbp that is installed has version %d, with %zu",
                     FASTBP_API_VERSION, sizeof(fastbp_api), found->version, found->size);
        return FASTBP_OTHER_VERSION;
    }
    *api = found;
    return FASTBP_OK;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
