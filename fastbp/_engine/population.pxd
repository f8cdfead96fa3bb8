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
    double l2
    double divisor          # of a loss: 1, or 0 for the sum of the weights
    double loss             # OUT of a loss
    Rule* rule              # of an epoch: with its m and v
    Course course

ctypedef struct Result:     # of a network, as NumPy has it
    double loss

ctypedef struct Group:      # networks that go through a pass together, or one that goes alone
    Member* members
    Py_ssize_t count
    bint together

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

ctypedef struct Call:       # the same for all groups of one
    Group* groups
    int n_groups
    Space* spaces           # of each thread: for networks together, then for one alone
    int places              # in each half of the spaces,
    int threads             # of which this call has so many
    Batch batch             # with the y_width and the target of every network
    int criterion           # its number in a table
    Py_ssize_t n            # samples of each
    Py_ssize_t batch_size
    Py_ssize_t chunk        # samples between two looks for signals: whole mini-batches
    Py_ssize_t chunks
    Activation output_activation


cdef class Quarters:
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
    # Places for so many threads, each with a pass of `key` over n samples in mini-batches
    cdef int furnish(self, Call* call, int key, Maker add_steps, int threads) except -1


# What an epoch, a gradient or a loss, and a forward pass do, as `furnish` takes it
cdef int add_epoch(Plan* plan, int key) except -1
cdef int add_gradients(Plan* plan, int key) except -1
cdef int add_all_outputs(Plan* plan, int key) except -1
# Every group through its pass; what a group has done is with its members, also after an exception
cdef int carry_out_groups(Call* call) except -1
