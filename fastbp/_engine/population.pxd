# Many networks of one shape in one call.

from fastbp._engine.epoch cimport Course, Epoch
from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Batch, Maker, Pass, Plan, Shape
from fastbp._kernels.table cimport MOST_LANES, Activation, Rule, Totals

ctypedef struct Member:     # one network of a call
    char* params            # IN, and OUT of an epoch
    char* grad              # OUT of an epoch and of a gradient
    const char* X           # IN  rows that `order` takes, or the samples
    const char* y
    const char* sample_weight
    const Py_ssize_t* order
    char* output            # OUT (n, n_outputs) of a forward pass
    Py_ssize_t number       # of the network
    Py_ssize_t n            # rows that it takes,
    Py_ssize_t batch_size   # so many in a mini-batch
    double l2
    double divisor          # of a loss: 1, or 0 for the sum of the weights
    double loss             # OUT of a loss
    Rule* rule              # of an epoch: with its m and v
    Course course

ctypedef struct Result:     # of a network, as NumPy has it
    double loss

ctypedef struct Group:      # networks that go through a pass together, or one that goes alone
    Call* call
    Member* members
    Py_ssize_t count
    bint together
    bint penalised
    Py_ssize_t first        # of the rows that each has still to take, up to its `end`
    Py_ssize_t end
    Py_ssize_t batch_size
    Py_ssize_t chunk        # rows between two looks for signals: whole mini-batches
    int tails               # groups behind this one in memory: what is left of its networks' rows
    int turn                # which is under way: 0 is this group, then its tails; past them the end
    double work             # of the group and its tails, in multiply-adds

ctypedef struct Space:      # where a group is during a pass: the memory of one thread
    Group* group            # or NULL: none
    char* params            # of networks as lanes: (n_params, lanes), and those of the optimiser
    char* grad
    char* m
    char* v
    Py_ssize_t[2 * MOST_LANES] offsets          # of the parameters, as `gather` takes them
    Py_ssize_t[2 * MOST_LANES] X_offsets
    Py_ssize_t[2 * MOST_LANES] y_offsets
    Py_ssize_t[2 * MOST_LANES] weight_offsets
    Py_ssize_t[2 * MOST_LANES] output_offsets
    Totals[MOST_LANES] totals
    Rule[MOST_LANES] rules
    Course[MOST_LANES] courses
    Epoch epoch
    Pass run

ctypedef struct Call:       # what the groups of one shape and loss have in common
    const Shape* shape      # of networks together
    Space* spaces           # by PENALISED or not, then together or alone, then the thread
    int places              # for so many threads
    Batch batch             # with the y_width and the target of every network
    int criterion           # its number in a table
    Activation output_activation


cdef class ThreadSpaces:
    """The workspaces of the threads of a population, and their memory."""
    cdef Workspace together, alone          # those of the threads are like them
    cdef list workspaces
    cdef Memory* memory
    cdef readonly Py_ssize_t nbytes
    cdef Space* spaces
    cdef int threads

    cdef int make_spaces(self, int threads) except -1
    cdef Py_ssize_t place(self, char* memory, Space* space, bint together) noexcept
    cdef Py_ssize_t bytes_held(self)
    # Places for so many threads, with passes of `key` in mini-batches of at most so many rows, for
    # each kind of group there is
    cdef int provide(self, Call* call, const Group* groups, Py_ssize_t n_groups, int key,
                     Maker add_steps, Py_ssize_t rows, int threads) except -1


# What an epoch, a gradient or a loss, and a forward pass do, as `provide` takes it
cdef int add_epoch(Plan* plan, int key) except -1
cdef int add_gradients(Plan* plan, int key) except -1
cdef int add_all_outputs(Plan* plan, int key) except -1
# Every group through its pass, each followed by its tails, in spaces that `provide` made for as
# many threads
cdef int carry_out_groups(Group** groups, int n_groups, int threads) except -1
# After an exception: give to the members what groups under way have done, in whole steps
cdef void store_all(Call* call) noexcept
