# What a pass over a batch does, as a flat list of steps that `loop` runs.
#
#   shape     sizes, activations, layout and kernels of a network
#   layers    where W, b, dW, db, h, act'(z) and delta of each layer lie during one pass
#   batch     the samples
#   step      one kernel with its operands; how the threads share it; what it costs
#   plan      the steps, made once and used for every pass that asks for the same
#   pass      one call: a plan, the arrays bound to it, and the sums it adds up
#   frame     where one thread is in a pass
#
# Making a plan touches no data. Running one decides nothing about the network.

from fastbp._engine.signals cimport Clock
from fastbp._kernels.table cimport KC, Activation, Criterion, KernelTable, Target, Totals

cdef enum:
    BLOCK_ROWS = KC         # rows of a part in one block of a pass: a block of E6's chains (N1)

ctypedef struct Shape:      # fixed for a network
    const KernelTable* kernels
    Py_ssize_t n_layers
    Py_ssize_t itemsize
    bint transposed         # weights lie (fan_out, fan_in)
    Py_ssize_t* sizes       # n_layers + 1
    Activation* activations  # n_layers
    double weights          # in all layers
    double units            # in all layers
    Py_ssize_t widest       # of all sizes
    Py_ssize_t widest_output    # of the layers, without the input
    double tile_work        # the most multiply-adds of a row in TILE_COLUMNS columns of a product
    Py_ssize_t n_params

ctypedef struct Layer:      # the arrays of one layer
    Py_ssize_t fan_in
    Py_ssize_t fan_out
    Activation activation
    const char* W           # IN  (fan_in, fan_out), or (fan_out, fan_in)
    const char* b           # IN  (fan_out,)
    char* dW                # OUT like W
    char* db                # OUT (fan_out,)
    char* h                 # workspace (rows, fan_out)
    Py_ssize_t h_stride     # bytes between two rows of h
    char* slope             # workspace (rows, fan_out): act'(z), or NULL where it is 1
    char* spare             # workspace: the memory of slope, which others may use where it is NULL
    char* delta             # workspace (block, fan_out)

ctypedef struct Batch:      # the samples of a pass
    Criterion criterion
    Target target
    Py_ssize_t y_width          # n_outputs, or 1
    const char* X               # IN  (n, n_features)
    const char* y               # IN  (n, y_width)
    const char* sample_weight   # IN  (n,) or NULL
    const Py_ssize_t* order     # IN  rows to take, or NULL for 0, 1, 2, ...
    const Py_ssize_t* X_offsets     # where networks are lanes, those of `gather`
    const Py_ssize_t* y_offsets
    const Py_ssize_t* weight_offsets
    char* gathered              # room for a block of samples when there is an order

ctypedef struct Frame       # declared here because an Action takes one

# What a step does with the rows, or the items, that its frame names
ctypedef void (*Action)(const Step* step, Frame* frame) noexcept nogil

ctypedef enum Sharing:
    ROWS        # a part has some rows of the block, and takes them through all steps of the phase
    LINES       # a part has some lines of the arrays that the steps of the phase write, or columns
    ALONE       # part 0 has all of it

ctypedef struct Step:
    Action action
    Sharing sharing
    Py_ssize_t layer
    Py_ssize_t items        # columns of the rows, or lines
    Py_ssize_t at_once      # items between two looks for signals
    double work             # multiply-adds of an item; of ROWS, for each row
    Py_ssize_t width        # of LINES, numbers in one
    Py_ssize_t before       # of LINES, numbers in the lines of earlier steps of the phase
    Py_ssize_t multiple     # of LINES, a part begins at a multiple of so many
    int phase_end           # the first step of the next phase

ctypedef struct Plan:
    const Shape* shape
    int key                 # what it was made for (the enum of network.pxd),
    Py_ssize_t rows         # the rows of a block of all parts, at most,
    int threads             # and how many threads will share it, if the team has them
    long long used          # when a pass was last prepared with it, counted by its workspace
    bint by_columns         # some products are shared by columns: each product is a phase
    Step* steps
    int n_steps
    int room                # steps that fit into the memory
    int per_block           # steps done for every block of rows; the others once for a batch
    Py_ssize_t part_rows    # of a block of one part, at most
    Py_ssize_t rows_at_once     # that go through the steps of a phase together
    double row_work         # multiply-adds of the steps that go through rows, for one row
    double block_work       # those of the other steps of a block
    double batch_work       # those of the steps that are done once for a batch

ctypedef struct Meeting:    # where the threads of one pass are
    int parts               # of every phase, one for each thread
    bint deserted           # a fork left thread 0 alone
    long long claimed       # parts of all phases, in order
    long long done
    long long end           # no part of this phase or a later one is begun

ctypedef struct Pass:
    const Plan* plan
    const Shape* shape
    Layer* layers
    char* losses            # workspace (block, n_outputs): of each output, not weighted
    char* scratch           # of part 0; the others' follow
    Py_ssize_t scratch_bytes
    Meeting meeting
    Meeting* within         # of the pass that this one is a part of, or NULL
    Clock clock             # of thread 0
    Batch batch
    Py_ssize_t n            # samples
    Py_ssize_t batch_size   # of a mini-batch, at most; n where there is but one
    const Py_ssize_t* lengths   # of each mini-batch, or NULL: all but the last have batch_size
    Py_ssize_t n_lengths
    bint ends               # after this mini-batch
    bint keeps              # h and act'(z) of every row, not of a block,
    bint keeps_deltas       # and delta
    char* output            # OUT (n, n_outputs) h_L in place of the workspace's, or NULL
    const char* grad_output     # IN  (n, n_outputs) dL/dh_L
    char* input_grad        # OUT (n, n_features) or NULL
    Activation output_activation
    Totals* totals          # of the mini-batch, for each network; NULL until it runs for `own`
    Totals own
    void* each              # what the steps about single samples share besides
    void* more              # what the steps of one kind of pass share besides

ctypedef struct Frame:
    Pass* run               # the pass
    const Step* steps
    int thread              # 0 is the caller's
    long long phase         # how many phases of the pass are behind
    int first_step          # of the phase
    int part                # of the phase
    char* scratch           # of the part
    Batch batch             # the samples of the mini-batch
    Batch samples           # those of the block, or where they are gathered
    Py_ssize_t batch_rows
    Py_ssize_t block_start  # the block's first row, in the mini-batch
    Py_ssize_t block_rows
    Py_ssize_t at           # rows [at, at + n) of the block
    Py_ssize_t n
    Py_ssize_t first        # items [first, first + count) of the step
    Py_ssize_t count


# ---- making a plan

# Adds the steps of what `key` says
ctypedef int (*Maker)(Plan* plan, int key) except -1

# An empty plan for blocks of so many rows
cdef void begin(Plan* plan, const Shape* shape, Py_ssize_t rows, int threads) noexcept
# Steps are added in order. A product's columns are `items` of so many multiply-adds for each row
cdef int add_product(Plan* plan, Action action, Py_ssize_t layer, Py_ssize_t items,
                     Py_ssize_t length) except -1
# Whole rows, each of so much work
cdef int add_rows(Plan* plan, Action action, Py_ssize_t layer, double work) except -1
# Lines of `width` numbers each, which cost `work` multiply-adds
cdef int add_lines(Plan* plan, Action action, Py_ssize_t layer, Py_ssize_t items,
                   Py_ssize_t width, double work) except -1
cdef int add_alone(Plan* plan, Action action, Py_ssize_t layer, Py_ssize_t items,
                   double work) except -1
# Ends the phase: what follows begins when every part has ended what is before. A phase also ends by
# itself between a step of rows and a step of another kind, and around a product by columns
cdef void end_phase(Plan* plan) noexcept
# What follows is done once for a batch
cdef void end_block(Plan* plan) noexcept
cdef void discard(Plan* plan) noexcept

# What a sum over n samples costs for each weight, in multiply-adds. Where the samples are few, most
# of the time goes into reading the weight from memory, which counts as MEMORY_WORK
cdef double per_weight(Py_ssize_t n) noexcept nogil


# ---- threads

# How many threads a pass over n rows can have: each has rows or columns of its own
cdef int most_threads(const Shape* s, Py_ssize_t n) noexcept nogil
# How many it should have, each row going through so many products
cdef int threads_for(const Shape* s, Py_ssize_t n, int products, int asked) except -1
# What so many products cost for n rows, in multiply-adds times the bytes of a number. Where the
# rows are few, most of the time goes into reading W from memory, which counts as READING_ROWS rows
cdef double work_of_rows(int products, Py_ssize_t n, const Shape* s) noexcept nogil
# How many threads are worth waking for work like that, at most `most`
cdef int threads_worth(double work, int most) except -1
# n_threads as passes take it: 0 for None, which leaves the number to the work
cdef int asked_threads(object n_threads) except -1


# ---- where the rows of a frame lie

cdef inline Py_ssize_t offset(const Frame* f, Py_ssize_t width) noexcept nogil:
    """Bytes to the frame's rows, of so many numbers each, in memory of a block."""
    return f.at * width * f.run.shape.itemsize


cdef inline const char* input_of(const Frame* f, Py_ssize_t l) noexcept nogil:
    """h_{l-1} of layer l, whose first is 0: X, or the h of the layer below."""
    if l == 0:
        return f.samples.X + f.at * f.run.layers[0].fan_in * f.run.shape.itemsize
    return h_of(f, l - 1)


cdef inline char* h_of(const Frame* f, Py_ssize_t l) noexcept nogil:
    cdef const Layer* a = &f.run.layers[l]
    if f.run.output != NULL and l == f.run.shape.n_layers - 1:
        return f.run.output + (f.block_start + f.at) * a.fan_out * f.run.shape.itemsize
    return a.h + (f.block_start + f.at if f.run.keeps else f.at) * a.h_stride


cdef inline char* slope_of(const Frame* f, Py_ssize_t l) noexcept nogil:
    """act'(z_l), or NULL where it is 1."""
    cdef const Layer* a = &f.run.layers[l]
    if a.slope == NULL:
        return NULL
    return a.slope + ((f.block_start + f.at if f.run.keeps else f.at) * a.fan_out
                      * f.run.shape.itemsize)


cdef inline char* delta_of(const Frame* f, Py_ssize_t l) noexcept nogil:
    cdef const Layer* a = &f.run.layers[l]
    return a.delta + ((f.block_start + f.at if f.run.keeps_deltas else f.at) * a.fan_out
                      * f.run.shape.itemsize)


cdef inline const char* y_of(const Frame* f) noexcept nogil:
    return f.samples.y + f.at * f.batch.y_width * f.run.shape.itemsize


cdef inline const char* weight_of(const Frame* f) noexcept nogil:
    if f.samples.sample_weight == NULL:
        return NULL
    return f.samples.sample_weight + f.at * f.run.shape.itemsize
