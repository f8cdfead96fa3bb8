"""SGD and Adam: in-place updates of flat vectors.

A step is `advance`, once, then `apply` to every part of the vectors: two C functions of a
`Rule`, so that the threads of an epoch can share it. The update rules stand in
`_kernels/update.pxi`; `reference.SGD` and `reference.Adam` are their NumPy twins.
"""

import numpy as np

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._copies import restore

cimport numpy as cnp
from libc.math cimport sqrt

from fastbp._engine.arrays cimport data
from fastbp._engine.epoch cimport Rule
from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._engine.team cimport acquire, release
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport KernelTable

cnp.import_array()

_restore = restore      # its name in pickles of version 0.1.0


cdef class Optimizer(Copied):
    def __cinit__(self, *args, **kwargs):
        self.state = {}

    def __init__(self, *args, **options):
        if self.made:                       # other options would meet the state of the first
            raise RuntimeError(f"this {type(self).__name__} is initialised already; make another")
        self._initialise(*args, **options)
        self.made = True

    def _initialise(self):
        """The options of a kind into `rule`, all or none."""

    cdef int prepare(self, Py_ssize_t size, dtype) except -1:
        """Create the state at the first step; refuse another size or dtype afterwards."""
        self._check_made()
        if self.itemsize == 0:
            self._check_dtype(dtype)
            self.state = {name: np.zeros(size, dtype) for name in self._state_names()}
            self._point()
            self.size, self.itemsize = size, dtype.itemsize
        else:
            _arguments.optimizer_state(size, dtype, self.size, f"float{8 * self.itemsize}")
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

    def _check_dtype(self, dtype):
        """Refuse hyper-parameters that mean something else in this dtype."""

    @property
    def lr(self):
        """Step length; writable, for schedules."""
        return self.rule.lr

    @lr.setter
    def lr(self, value):
        self.rule.lr = _arguments.positive("lr", value)

    @property
    def weight_decay(self):
        return self.rule.weight_decay

    @property
    def t(self):
        """Steps taken."""
        return self.rule.t

    def _state_names(self):
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
                self.rule.advance(&self.rule)
                self.rule.apply(&self.rule, k, p, g, 0, self.size)
                leave_float_mode(mode)
        finally:
            release(&self.busy)

    def state_dict(self):
        """A copy of hyper-parameters and state, for `load_state_dict`.

        Returns
        -------
        dict
            Numbers, and one ndarray for each state vector once there was a step.

        Raises
        ------
        RuntimeError
            When a call that has not ended is using this optimizer: its step may be half done.
        """
        self._check_made()
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("optimizer"))
        try:
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
        kind = base_of(self)
        cdef Optimizer fresh = kind()           # a subclass may want other arguments
        needed = {*fresh._options(), *fresh._progress()}
        _arguments.state_dict(d, needed)
        fresh = kind(**{name: d[name] for name in fresh._options()})
        names = fresh._state_names()
        state = _arguments.state_vectors(d, needed, names)
        t, *powers = self._checked_progress(d)
        _arguments.steps(t, names, state)
        if checked:
            for name in names if state else ():
                _arguments.vector_in_range(name, state[name],
                                           squares=kind is Adam and name == "v")
            fresh._check_powers(t, powers)
        for vector in state.values():
            fresh._check_dtype(vector.dtype)
            fresh.size, fresh.itemsize = vector.size, vector.itemsize
        fresh.state = state
        fresh._continue(t, *powers)
        fresh._point()
        if acquire(&self.busy):
            raise RuntimeError(_arguments.IN_USE.format("optimizer"))
        self.rule, self.state, self.made = fresh.rule, state, True
        self.size, self.itemsize = fresh.size, fresh.itemsize
        release(&self.busy)

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


def base_of(optimizer):
    """The class of fastbp that an optimizer is an instance of."""
    return next(kind for kind in (SGD, Adam, Optimizer) if isinstance(optimizer, kind))


cdef class SGD(Optimizer):
    """SGD(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)\n--\n
    Gradient descent with momentum: v <- mu v + g; p <- p - lr (g + mu v if nesterov else v).

    Parameters
    ----------
    lr : float
        Step length, > 0; writable between steps.
    momentum : float
        mu, in [0, 1).
    nesterov : bool
        Look ahead by one momentum step; needs momentum > 0.
    weight_decay : float
        Adds weight_decay * p to g; >= 0.

    Raises
    ------
    ValueError
        For values outside these ranges.
    """

    def __cinit__(self, *args, **kwargs):
        self.rule.advance, self.rule.apply = advance_sgd, apply_sgd

    def _initialise(self, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
        cdef Rule rule = self.rule
        rule.lr = _arguments.positive("lr", lr)
        rule.momentum = _arguments.fraction("momentum", momentum)
        rule.nesterov = _arguments.nesterov(nesterov, rule.momentum)
        rule.weight_decay = _arguments.non_negative("weight_decay", weight_decay)
        self.rule = rule

    @property
    def momentum(self):
        return self.rule.momentum

    @property
    def nesterov(self):
        return bool(self.rule.nesterov)

    def _options(self):
        return {"lr": self.rule.lr, "momentum": self.rule.momentum, "nesterov": self.nesterov,
                "weight_decay": self.rule.weight_decay}

    def _state_names(self):
        return ("v",) if self.rule.momentum else ()

    def _point(self):
        self.rule.v = data(self.state["v"]) if self.state else NULL


cdef void advance_sgd(Rule* rule) noexcept nogil:
    rule.t += 1


cdef void apply_sgd(const Rule* rule, const KernelTable* k, char* p, const char* grad,
                    Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at = first * k.itemsize
    k.sgd(p + at, rule.v + at if rule.v != NULL else NULL, grad + at, count, rule.lr,
          rule.momentum, rule.nesterov, rule.weight_decay)


cdef class Adam(Optimizer):
    """Adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, eps_hat=False)\n--\n
    Adam, and AdamW when weight_decay > 0.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, mhat = m / (1 - b1^t),
    vhat = v / (1 - b2^t), p <- p - lr mhat / (sqrt(vhat) + eps); with `eps_hat`,
    p <- p - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).

    Parameters
    ----------
    lr : float
        Step length, > 0; writable between steps.
    betas : (float, float)
        b1 and b2, each in [0, 1).
    eps : float
        > 0.
    weight_decay : float
        Decoupled: p <- p (1 - lr weight_decay) before the step; >= 0.
    eps_hat : bool
        The second form of the paper (Kingma and Ba, section 2), and scikit-learn's.

    Raises
    ------
    ValueError
        For values outside these ranges.
    """

    def __cinit__(self, *args, **kwargs):
        self.rule.advance, self.rule.apply = advance_adam, apply_adam

    def _initialise(self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *,
                    eps_hat=False):
        cdef Rule rule = self.rule
        rule.lr = _arguments.positive("lr", lr)
        rule.beta1, rule.beta2 = _arguments.betas(betas)
        rule.eps = _arguments.positive("eps", eps)
        rule.weight_decay = _arguments.non_negative("weight_decay", weight_decay)
        rule.eps_hat = _arguments.boolean("eps_hat", eps_hat)
        rule.power1 = rule.power2 = 1
        self.rule = rule

    @property
    def betas(self):
        """(b1, b2)."""
        return self.rule.beta1, self.rule.beta2

    @property
    def eps(self):
        return self.rule.eps

    @property
    def eps_hat(self):
        return bool(self.rule.eps_hat)

    def _options(self):
        return {"lr": self.rule.lr, "betas": self.betas, "eps": self.rule.eps,
                "weight_decay": self.rule.weight_decay, "eps_hat": self.eps_hat}

    def _state_names(self):
        return "m", "v"

    def _check_dtype(self, dtype):
        _arguments.eps_in(dtype, self.rule.eps)

    def _point(self):
        self.rule.m = data(self.state["m"]) if self.state else NULL
        self.rule.v = data(self.state["v"]) if self.state else NULL

    def _progress(self):
        return {"t": self.rule.t, "beta_powers": (self.rule.power1, self.rule.power2)}

    def _checked_progress(self, d):
        t, = Optimizer._checked_progress(self, d)
        return t, *_arguments.saved_powers(d["beta_powers"], t)

    def _check_powers(self, t, powers):
        _arguments.beta_powers(powers, self.betas, t)

    def _continue(self, t, power1, power2):
        self.rule.t, self.rule.power1, self.rule.power2 = t, power1, power2


cdef void advance_adam(Rule* rule) noexcept nogil:
    """The bias corrections of the next step, into `rate` and `scale`."""
    cdef double correction
    rule.t += 1
    rule.power1 *= rule.beta1
    rule.power2 *= rule.beta2
    correction = sqrt(1 - rule.power2)
    rule.rate = rule.lr / (1 - rule.power1)
    rule.scale = 1
    if rule.eps_hat:
        rule.rate *= correction
    else:
        rule.scale = 1 / correction


cdef void apply_adam(const Rule* rule, const KernelTable* k, char* p, const char* grad,
                     Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at = first * k.itemsize
    k.adam(p + at, rule.m + at, rule.v + at, grad + at, count, rule.rate, rule.beta1, rule.beta2,
           rule.scale, rule.eps, 1 - rule.lr * rule.weight_decay)


explain(SGD, Adam)
