"""An epoch of many networks, each with its own optimizer: all that may fail comes first."""

from fastbp import _arguments

from fastbp._engine.arrays cimport data
from fastbp._engine.epoch cimport mean_of
from fastbp._engine.population cimport Result
from fastbp._engine.team cimport acquire, release
from fastbp._crew cimport Crew, JointPass
from fastbp._network cimport Network
from fastbp._optimizer cimport Optimizer
from fastbp._training cimport check_optimizer


cdef int check_all(str name, list optimizers) except -1:
    cdef Py_ssize_t k = 0
    try:
        for optimizer in optimizers:
            check_optimizer(optimizer)
            (<Optimizer> optimizer)._check_made()
            k += 1
    except (TypeError, RuntimeError) as error:
        _arguments.refuse_of_network(name, k, error)
    _arguments.distinct(name, optimizers)
    return 0


cdef int take_all(str name, list optimizers) except -1:
    cdef Py_ssize_t taken = 0
    cdef Optimizer optimizer
    for optimizer in optimizers:
        if acquire(&optimizer.busy):
            let_go(optimizers, taken)
            _arguments.refuse_of_network(name, taken, RuntimeError(
                _arguments.IN_USE.format("optimizer")))
        taken += 1
    return 0


cdef void let_go(list optimizers, Py_ssize_t count) noexcept:
    cdef Py_ssize_t k
    for k in range(count):
        release(&(<Optimizer> optimizers[k]).busy)


cdef int run_epochs(list crews, list networks, list optimizers, Optimizer shared, dict states,
                    int asked, losses) except -1:
    cdef Result* results = <Result*> data(losses)
    cdef Py_ssize_t k, i
    cdef Network net
    cdef Crew crew
    cdef JointPass joint = JointPass(crews, asked)
    for k, state in states.items():
        net = networks[k]
        (<Optimizer> optimizers[k]).begin(state, net.n_params, net.dtype.itemsize)
    if shared is not None:
        shared.networks = optimizers
    joint.carry_out()
    for crew in crews:
        for i in range(crew.count):
            results[crew.members[i].number].loss = mean_of(&crew.members[i].course)
    return 0


cdef dict new_states(str name, list networks, list optimizers, numbers):
    cdef Network net
    cdef Py_ssize_t k = 0
    states = {}
    try:
        for k in numbers:
            net = networks[k]
            states[k] = (<Optimizer> optimizers[k]).new_state(net.n_params, net.dtype)
    except ValueError as error:
        _arguments.refuse_of_network(name, k, error)
    return states
