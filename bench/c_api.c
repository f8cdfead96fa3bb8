/* Gradients from C: bench/c_api.py compiles this, checks what it computes, and times it. */
#include "fastbp.h"

enum { MOST_LAYERS = 8 };

/* A plan for sigmoid units and binary cross-entropy, and the bytes that it holds; a code. */
int make(fastbp_plan **plan, size_t *nbytes, const fastbp_api *fastbp, int dtype,
         ptrdiff_t n_layers, const ptrdiff_t *sizes, ptrdiff_t rows)
{
    int activations[MOST_LAYERS];
    fastbp_problem problem = {
        .size = sizeof problem, .dtype = dtype, .loss = FASTBP_BCE, .n_layers = n_layers,
        .sizes = sizes, .activations = activations, .rows = rows};
    int code;
    if (n_layers > MOST_LAYERS)
        return FASTBP_BAD_SIZES;
    for (ptrdiff_t l = 0; l < n_layers - 1; l++)
        activations[l] = FASTBP_SIGMOID;
    code = fastbp->memory(nbytes, &problem);
    return code == FASTBP_OK ? fastbp->new_plan(plan, &problem) : code;
}

/* So many gradients of one batch, at flat parameters; the code of the last. */
int repeat(double *loss, void *gradient, const fastbp_api *fastbp, fastbp_plan *plan, void *params,
           const void *X, const void *y, ptrdiff_t n, int calls)
{
    void *from[2 * MOST_LAYERS], *to[2 * MOST_LAYERS];
    int code = FASTBP_OK;
    fastbp->spread(from, params, plan);
    fastbp->spread(to, gradient, plan);
    while (calls-- > 0 && code == FASTBP_OK)
        code = fastbp->gradient(plan, loss, to, from, X, y, NULL, n);
    return code;
}
