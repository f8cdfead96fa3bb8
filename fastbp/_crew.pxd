from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Maker
from fastbp._engine.population cimport Call, Group, Member, ThreadSpaces
from fastbp._given cimport Given
from fastbp._network cimport Network


cdef class Crew:
    """Networks of one shape and loss, which one call takes through passes of one kind."""
    cdef Network net                # one like all of them
    cdef ThreadSpaces thread_spaces
    cdef Memory* memory
    cdef Member* members
    cdef Group* groups
    cdef Group** heads            # those groups that are not the tails of another
    cdef Call call
    cdef Py_ssize_t most, count, n_groups       # `count` members of at most `most`
    cdef int n_heads, key
    cdef double work
    cdef Maker add_steps

    # Add network `number`, which takes n rows: its parameters, and room for its gradient or NULL
    cdef Member* add(self, Py_ssize_t number, char* params, char* grad, Py_ssize_t n,
                     Py_ssize_t batch_size) except NULL
    # Let a member read part k of the given samples
    cdef void read(self, Member* member, Given given, Py_ssize_t k)
    # Once all members are there: their groups, for passes of `key` that take each row through so
    # many products
    cdef int plan(self, int key, Maker add_steps, int products) except -1
    cdef double work_of_members(self, int products) noexcept
    cdef void group_alike(self, Py_ssize_t first, Py_ssize_t end) noexcept
    cdef void add_group(self, Py_ssize_t first, Py_ssize_t count, bint together,
                        Py_ssize_t end) noexcept
    cdef Group* next_group(self, Member* members, Py_ssize_t count, bint together,
                           Py_ssize_t first, Py_ssize_t end) noexcept


# Workspaces for networks like that one, alone and as lanes; without `backward` for outputs only
cdef ThreadSpaces new_thread_spaces(Network net, bint backward)

cdef class JointPass:
    """Crews that go in one call. Once made it has all memory that `carry_out` needs.

    `asked` is the number of threads, or 0 for as many as the work is worth.
    """
    cdef list crews
    cdef Group** heads        # of all crews
    cdef int n_heads, threads

    # Take every member through its passes; after an exception each has what was done for it
    cdef int carry_out(self) except -1
