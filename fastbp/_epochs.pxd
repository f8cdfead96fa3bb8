from fastbp._crew cimport Crew
from fastbp._optimizer cimport Optimizer


# The argument with the optimizers has a name, for errors.

# Refuse an optimizer that an epoch cannot step as, and one for two networks
cdef int check_all(str name, list optimizers) except -1
# Take all for this call, or refuse and take none; and give the first `count` of them back
cdef int take_all(str name, list optimizers) except -1
cdef void let_go(list optimizers, Py_ssize_t count) noexcept
# The states of first steps of the networks with these numbers, None where there was one, by number
cdef dict new_states(str name, list networks, list optimizers, numbers)
# An epoch of crews that are planned already, of the networks that have `states`: they step as the
# optimizers say, which the caller has taken, and which are those of `shared` unless it is None;
# `losses` is set where a network takes part
cdef int run_epochs(list crews, list networks, list optimizers, Optimizer shared, dict states,
                    int asked, losses) except -1
