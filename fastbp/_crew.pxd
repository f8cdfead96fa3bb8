from fastbp._engine.memory cimport Memory
from fastbp._engine.network cimport Workspace
from fastbp._engine.plan cimport Maker
from fastbp._engine.population cimport Call, Group, Member, Quarters
from fastbp._given cimport Given
from fastbp._network cimport Network


cdef class Crew:
    """Networks of one shape and loss, which one call takes through passes of one kind."""
    cdef Network net                # one like all of them
    cdef Quarters quarters
    cdef Memory* memory
    cdef Member* members
    cdef Group* groups
    cdef Group** leaders            # those groups that are not the rests of another
    cdef Call call
    cdef Py_ssize_t most, count, n_groups
    cdef int n_leaders, key
    cdef double work
    cdef Maker add_steps

    # Network `number` is one of them, with these parameters and room for a gradient, which may be
    # NULL, and takes n rows
    cdef Member* add(self, Py_ssize_t number, char* params, char* grad, Py_ssize_t n,
                     Py_ssize_t batch_size) except NULL
    # It reads part k of what is given
    cdef void read(self, Member* member, Given given, Py_ssize_t k)
    # All members are there: their groups, for passes of `key`, which cost so many products
    cdef int plan(self, int key, Maker add_steps, int products) except -1
    cdef double work_of_members(self, int products) noexcept
    cdef void group_alike(self, Py_ssize_t first, Py_ssize_t end) noexcept
    cdef void add_group(self, Py_ssize_t first, Py_ssize_t count, bint together,
                        Py_ssize_t end) noexcept
    cdef Group* next_group(self, Member* members, Py_ssize_t count, bint together,
                           Py_ssize_t first, Py_ssize_t end) noexcept


# Places for networks like that one, by themselves and as lanes: with room for a way back, or for
# outputs alone
cdef Quarters new_quarters(Network net, bint backward)

cdef class Journey:
    """Crews that go in one call. What is made has all memory that `carry_out` needs.

    The number of threads is what is asked for, or 0: what is worth waking.
    """
    cdef list crews
    cdef Group** leaders        # of all crews
    cdef int n_leaders, threads

    # Every member through its passes; also after an exception each has what it has done
    cdef int carry_out(self) except -1
