from fastbp._crew cimport Crew
from fastbp._optimizer cimport Optimizer


# Refuse an optimizer that an epoch cannot step as, and one for two networks
cdef int check_all(list optimizers) except -1
# Take all for this call, or refuse and take none; and give the first `count` of them back
cdef int take_all(list optimizers) except -1
cdef void let_go(list optimizers, Py_ssize_t count) noexcept
# An epoch of crews that are planned already: their networks, of which `numbers` has the numbers,
# step as `optimizers` say, taken by the caller, which are those of `shared` unless it is None;
# `losses` is set where a network takes part
cdef int run_epochs(list crews, list networks, list optimizers, Optimizer shared, numbers,
                    int asked, losses) except -1
