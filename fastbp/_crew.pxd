from fastbp._engine.plan cimport Batch, Maker
from fastbp._engine.population cimport Call, Group, Member, Quarters
from fastbp._members cimport Members
from fastbp._network cimport Network
from fastbp._optimizer cimport Optimizer


cdef class Table:
    """What the networks of a call read: arrays for all of them, or with a part for each."""
    cdef object X, y, sample_weight
    cdef Py_ssize_t n, X_step, y_step, weight_step      # bytes from one network's to the next one's
    cdef Batch batch

# Checked in this order: X, y, sample_weight
cdef Table new_table(Members all, X, y, sample_weight, bint mean)


cdef class Crew:
    """The networks of one call that go through the same plan."""
    cdef Members all
    cdef Member* members
    cdef Group* groups
    cdef Call call
    cdef Py_ssize_t count, step     # bytes from one network's parameters to the next one's
    cdef Quarters quarters
    cdef int key, threads
    cdef Maker add_steps

    # Network k is one of them
    cdef Member* add(self, Py_ssize_t k) except NULL
    # It reads its part of a table
    cdef void seat(self, Member* member, Table table, Py_ssize_t k)
    # All are to go through a pass of `key` over n samples, whose work is that of some products
    cdef int plan(self, Quarters quarters, int key, Maker add_steps, Py_ssize_t n,
                  Py_ssize_t batch_size, int products) except -1
    cdef int prepare(self) except -1
    cdef void group(self) noexcept


# Memory for all of them, then crew after crew; between the two no call is refused memory
cdef int prepare_all(list crews) except -1
cdef int carry_out_all(list crews) except -1

# Refuse an optimizer that an epoch cannot step as, and one for two networks
cdef int check_all(list optimizers) except -1
# Take all for this call, or refuse and take none; and give the first `count` of them back
cdef int take_all(list optimizers) except -1
cdef void let_go(list optimizers, Py_ssize_t count) noexcept
# The states of first steps, None where there was one; and from now on they are the optimizers'
cdef list new_states(list optimizers, Network net)
cdef int begin_all(list optimizers, list states, Network net) except -1
# What must be alike where optimisers step together
cdef object rule_key(Optimizer o)

# Refuse rows of a network that have no weight together
cdef int check_rows(Table table, list rows) except -1
# The rows of each network in its permutation; with one source, in the same for all
cdef list orders_of(list rows, source)
