from fastbp._crew cimport Crew
from fastbp._optimizer cimport Optimizer


# `name` is that of the argument with the optimizers, for errors.

# Refuse an optimizer whose steps an epoch cannot make, and one that stands for two networks
cdef int check_all(str name, list optimizers) except -1
# Take all of them for this call, or refuse and take none
cdef int take_all(str name, list optimizers) except -1
# Give the first `count` of them back
cdef void let_go(list optimizers, Py_ssize_t count) noexcept
# By the number of a network: the state for the first step of its optimizer, None if it has one
cdef dict new_states(str name, list networks, list optimizers, numbers)
# An epoch of the networks that have `states`, by crews that are planned. The caller has taken the
# optimizers; where `shared` is not None it keeps them. Sets `losses` of the networks that take part
cdef int run_epochs(list crews, list networks, list optimizers, Optimizer shared, dict states,
                    int asked, losses) except -1
