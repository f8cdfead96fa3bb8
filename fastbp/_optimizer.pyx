"""What optimizers have in common: hyper-parameters, the state of a step, and both saved.

A step is `advance`, once, then `apply` to every part of the vectors: two C functions of a
`Rule`, so that the threads of an epoch can share it. For a `Population` an optimizer has one like
itself for each network, with the numbers that are the network's.
"""

import numpy as np

from fastbp import _arguments

cimport numpy as cnp

from fastbp._engine.arrays cimport alike, data, real, writable
from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport KernelTable

cnp.import_array()


cdef class Optimizer(Copied):
    def __cinit__(self, *args, **kwargs):
        self.state, self.each = {}, {}

    def __init__(self, *args, **options):
        if self.made:                       # other options would meet the state of the first
            raise RuntimeError(f"this {type(self).__name__} is initialised already; make another")
        try:
            self._initialise(*args, **options)
            _arguments.equally_many(self.each)
            self.made = True
        finally:
            if not self.made:
                self.each = {}

    cdef object option(self, name, value, check):
        """A number that is checked; or, of one for each network, the first, and all are kept."""
        if not _arguments.is_of_networks(value):
            return check(name, value)
        self.each[name] = [check(f"{name}[{k}]", number) for k, number in enumerate(value)]
        return _arguments.first_of_networks(name, self.each[name])

    def _initialise(self):
        """The options of a kind into `rule`, all or none."""

    cdef int prepare(self, Py_ssize_t size, dtype) except -1:
        return self.begin(self.new_state(size, dtype), size, dtype.itemsize)

    cdef object new_state(self, Py_ssize_t size, dtype):
        self._check_made()
        if self.each or self.networks is not None:
            _arguments.refuse_optimizer_of_networks(self)
        if self.itemsize == 0:
            self._check_dtype(dtype)
            return {name: np.zeros(size, dtype) for name in self._state_names()}
        if size == self.size and dtype.itemsize == self.itemsize:
            return None
        _arguments.optimizer_state(size, dtype, self.size, f"float{8 * self.itemsize}")
        return None

    cdef int begin(self, state, Py_ssize_t size, Py_ssize_t itemsize) except -1:
        if state is not None:
            self.state, self.size, self.itemsize = state, size, itemsize
            self._point()
        return 0

    cdef int _check_made(self) except -1:
        if self.rule.advance == NULL:
            _arguments.refuse_optimizer(self)
        if not self.made:
            raise RuntimeError(f"{type(self).__name__} did not call {base_of(self).__name__}"
                               ".__init__; its own __init__ should")
        return 0

    cdef int check_native(self) except -1:
        """Refuse a subclass that overrides `step` or a hyper-parameter: an epoch would not know."""
        kind = base_of(self)
        if type(self) is kind:
            return 0
        own = getattr(self, "__dict__", ())
        for name in ("step", *self._options()):
            if name in own or getattr(type(self), name) is not getattr(kind, name):
                _arguments.refuse_override(self, kind, name)
        return 0

    cdef list of_networks(self, Py_ssize_t n):
        """The optimizers of n networks: new ones until `networks` holds those of an epoch."""
        self.check_native()
        self._check_made()
        if self.networks is None:
            _arguments.optimizer_for_networks(self.itemsize != 0, self.each, n)
            return [self._of_network(k) for k in range(n)]
        if len(self.networks) != n:
            _arguments.refuse_number_of_networks(len(self.networks), n)
        return self.networks

    cdef Optimizer _of_network(self, Py_ssize_t k):
        """A new one with the numbers of network k, which are checked already."""
        kind = base_of(self)
        cdef Optimizer network = kind.__new__(kind)
        network.rule, network.made = self.rule, True
        for name, numbers in self.each.items():
            network.assign(name, numbers[k])
        return network

    cdef int assign(self, name, double number) except -1:
        """The option of that name, into `rule`."""
        if name == "lr":
            self.rule.lr = number
        elif name == "weight_decay":
            self.rule.weight_decay = number
        elif name == "momentum":
            self.rule.momentum = number
        elif name == "betas[0]":
            self.rule.beta1 = number
        elif name == "betas[1]":
            self.rule.beta2 = number
        elif name == "eps":
            self.rule.eps = number
        else:
            raise KeyError(name)
        return 0

    def _check_dtype(self, dtype):
        """Refuse hyper-parameters that mean something else in this dtype."""

    @property
    def lr(self):
        """Step length; writable, for schedules."""
        return self.number("lr", self.rule.lr)

    @lr.setter
    def lr(self, value):
        cdef Optimizer network
        each = dict(self.each)
        each.pop("lr", None)
        if _arguments.is_of_networks(value):
            each["lr"] = [_arguments.positive(f"lr[{k}]", rate) for k, rate in enumerate(value)]
            if self.networks is not None and len(each["lr"]) != len(self.networks):
                _arguments.refuse_number_of_networks(len(self.networks), len(each["lr"]))
            _arguments.equally_many(each)
            rate = _arguments.first_of_networks("lr", each["lr"])
        else:
            rate = _arguments.positive("lr", value)
        self.rule.lr, self.each = rate, each
        rates = self.lr
        for k, network in enumerate(self.networks or ()):
            network.rule.lr = of_network(rates, k)

    cdef object number(self, name, one):
        """That of all networks, or an array of those of each."""
        if name not in self.each:
            return one
        numbers = np.array(self.each[name])
        numbers.flags.writeable = False     # to write there would set nothing
        return numbers

    @property
    def weight_decay(self):
        return self.number("weight_decay", self.rule.weight_decay)

    @property
    def t(self):
        """Steps taken; an array of them once there are networks of a population."""
        if self.networks is not None:
            return np.array([network.t for network in self.networks])
        return self.rule.t

    def _state_names(self):
        return ()

    def _squares(self):
        """The names of those that hold squares."""
        return ()

    def _point(self):
        """Point the rule at the state's arrays."""

    def step(self, params, grad):
        """Update `params` in place from `grad`.

        Parameters
        ----------
        params, grad : (size,) ndarray
            C-contiguous, both float32 or both float64. The state is created at the first
            step and belongs to that size and dtype.

        Raises
        ------
        TypeError, ValueError
            For arrays of another kind, dtype, or size, or `params` that is read-only.
        RuntimeError
            When a call that has not ended is using this optimizer.
        """
        if not (real(params) and cnp.PyArray_NDIM(params) == 1 and alike(grad, params)
                and writable(params, grad)):
            params, grad = _arguments.optimizer_arrays(params, grad)
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("optimizer"))
        cdef const KernelTable* k
        cdef char* p
        cdef char* g
        cdef float_mode mode
        try:
            self.prepare(params.size, params.dtype)
            k, p, g = kernels(self.itemsize), data(params), data(grad)
            with nogil:
                mode = enter_float_mode()
                self.rule.rests = False
                self.rule.advance(&self.rule, 1)
                self.rule.apply(&self.rule, k, p, g, 0, self.size)
                leave_float_mode(mode)
        finally:
            release(&self.busy)

    def state_dict(self):
        """A copy of hyper-parameters and state, for `load_state_dict`.

        Returns
        -------
        dict
            Numbers, and one ndarray for each state vector once there was a step. After an epoch
            of a `Population` "networks" is a list of such dicts instead.

        Raises
        ------
        RuntimeError
            When a call that has not ended is using this optimizer: its step may be half done.
        """
        self._check_made()
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("optimizer"))
        try:
            if self.networks is not None:
                return {**self._options(),
                        "networks": [network.state_dict() for network in self.networks]}
            return {**self._options(), **self._progress(),
                    **{name: vector.copy() for name, vector in self.state.items()}}
        finally:
            release(&self.busy)

    def load_state_dict(self, d):
        """Continue where another optimizer of the same kind left off.

        Parameters
        ----------
        d : dict
            What its `state_dict` returned; copied.

        Raises
        ------
        TypeError, ValueError
            For missing or unknown names, values out of range or that no steps lead to, state
            vectors of different sizes or dtypes, or that hold NaN; the optimizer is as it was.
        RuntimeError
            When a call that has not ended is using this optimizer.
        """
        self._resume(d, True)

    def _resume(self, d, bint checked):
        """`load_state_dict`; without `checked`, for copies, vectors may hold NaN and infinity."""
        cdef Optimizer fresh = self._resumed(d, checked)
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("optimizer"))
        self.rule, self.state, self.made = fresh.rule, fresh.state, True
        self.size, self.itemsize = fresh.size, fresh.itemsize
        self.each, self.networks = fresh.each, fresh.networks
        release(&self.busy)

    def _resumed(self, d, bint checked):
        """Another optimizer of the kind, in that state."""
        kind = base_of(self)
        cdef Optimizer fresh = kind()           # a subclass may want other arguments
        if isinstance(d, dict) and "networks" in d:
            return self._resumed_of_networks(d, checked)
        needed = {*fresh._options(), *fresh._progress()}
        _arguments.state_dict(d, needed)
        fresh = kind(**{name: d[name] for name in fresh._options()})
        names = fresh._state_names()
        state = _arguments.state_vectors(d, needed, names)
        t, *powers = self._checked_progress(d)
        _arguments.steps(t, names, state)
        if checked:
            for name in names if state else ():
                _arguments.vector_in_range(name, state[name], squares=name in self._squares())
            fresh._check_powers(t, powers)
        for vector in state.values():
            fresh._check_dtype(vector.dtype)
            fresh.size, fresh.itemsize = vector.size, vector.itemsize
        fresh.state = state
        fresh._continue(t, *powers)
        fresh._point()
        return fresh

    def _resumed_of_networks(self, d, bint checked):
        """The same for the networks of a population."""
        kind = base_of(self)
        cdef Optimizer fresh = kind()
        names = fresh._options()
        _arguments.state_of_networks(d, names)
        fresh = kind(**{name: d[name] for name in names})
        options, networks = fresh._options(), []
        for k, state in enumerate(d["networks"]):
            network = kind()
            try:
                network._resume(state, checked)
            except (TypeError, ValueError) as error:
                _arguments.refuse_of_network("networks", k, error)
            networks.append(network)
            _arguments.options_of_network(k, network._options(), {
                name: of_network(value, k) for name, value in options.items()})
        fresh.networks = networks
        return fresh

    def _progress(self):
        """What a step changes besides the vectors."""
        return {"t": self.rule.t}

    def _checked_progress(self, d):
        return (_arguments.count("t", d["t"], 0),)

    def _check_powers(self, t, powers):
        """Refuse bias corrections of other steps."""

    def _continue(self, t):
        self.rule.t = t

    cdef tuple own(self):
        return (self.state_dict(),)

    cdef int remake(self, tuple own) except -1:
        state, = own
        base_of(self)._resume(self, state, False)   # a run that diverged can be copied too
        return 0

    def __repr__(self):
        self._check_made()
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({options})"


cdef object base_of(optimizer):
    """The class of fastbp that an optimizer is an instance of."""
    return next(kind for kind in type(optimizer).__mro__
                if kind.__module__ in ("fastbp._optim", "fastbp._optimizer"))


cdef object of_network(value, k):
    """An option of network k: a number, or one of each, or two of them."""
    if isinstance(value, tuple):
        return tuple([of_network(each, k) for each in value])
    return value[k] if np.ndim(value) else value
