"""`fastbp bench`: fastbp beside its peers, verified first, then timed in turns.

    networks     what is timed: suites of layer sizes and batches, operations, least bytes
    gradients    one function for each library: a gradient, E1 to E6
    epochs       the same for an epoch of training with Adam
    fits         `fit` of fastbp.sklearn beside that of scikit-learn
    widths       W-W-W-1 over W: whether a width is unlucky
    beyond       what else a network computes, as multiples of a gradient
    population   many networks at once, beside one by one and vmap
    vmap         the latter: an epoch by JAX, outputs by PyTorch
    peers        which of them are installed, and which of those work here
    verify       what a side computes is held to what rounding explains
    bound        the least time that the work of a row could take
    limits       what the machine can do, measured beside the rows
    environment  of the process that times peers: one thread, and nothing that slows one down
    timing       rounds, medians, one core, other work on it, the copy loop
    measure      the measuring process: dicts on stdout
    startup      the time of the import and the size of the wheel
    command      options in, tables, JSON and plots out
    tables       what is printed
    plots        what is drawn

`gradients`, `epochs`, `fits` and `vmap` know the peers, `tables` knows rich; each imports them in
the function that needs them.
"""
