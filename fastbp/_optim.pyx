"""SGD and Adam: in-place updates of flat vectors; and their gradient clipped to a norm before.

The update rules stand in `_kernels/update.pxi`, the clipping in `_kernels/clipping.pxi`;
`reference.SGD`, `reference.Adam` and `reference.clip_grad_norm` are their NumPy twins.
"""

from fastbp import _arguments
from fastbp._calls import explain
from fastbp._copies import restore

cimport numpy as cnp
from libc.math cimport sqrt

from fastbp._engine.arrays cimport data, filled, new_float, real
from fastbp._engine.float_mode cimport enter_float_mode, float_mode, leave_float_mode
from fastbp._kernels.dispatch cimport kernels
from fastbp._kernels.table cimport NORM_BLOCK, KernelTable, Rule, Square
from fastbp._optimizer cimport Optimizer

cnp.import_array()

_restore = restore      # its name in pickles of version 0.1.0


cdef class SGD(Optimizer):
    """SGD(lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)\n--\n
    Gradient descent with momentum: v <- mu v + g; p <- p - lr (g + mu v if nesterov else v).

    Parameters
    ----------
    lr : float
        Step length, > 0; writable between steps. For a `Population` this, or another number, may be
        an array with that of each network.
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
        rule.lr = self.option("lr", lr, _arguments.positive)
        rule.momentum = self.option("momentum", momentum, _arguments.fraction)
        least = min(self.each.get("momentum", [rule.momentum]))
        rule.nesterov = _arguments.nesterov(nesterov, least)
        rule.weight_decay = self.option("weight_decay", weight_decay, _arguments.non_negative)
        self.rule = rule

    @property
    def momentum(self):
        return self.number("momentum", self.rule.momentum)

    @property
    def nesterov(self):
        return bool(self.rule.nesterov)

    def _options(self):
        return {"lr": self.lr, "momentum": self.momentum, "nesterov": self.nesterov,
                "weight_decay": self.weight_decay}

    def _state_names(self):
        return ("v",) if self.rule.momentum else ()

    def _point(self):
        self.rule.v = data(self.state["v"]) if self.state else NULL


cdef void advance_sgd(Rule* rules, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(count):
        if not rules[k].rests:
            rules[k].t += 1


cdef void apply_sgd(const Rule* rule, const KernelTable* k, char* p, const char* grad,
                    Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at = first * k.itemsize
    k.sgd(p + at, rule.v + at if rule.v != NULL else NULL, grad + at, count, rule)


cdef class Adam(Optimizer):
    """Adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, eps_hat=False)\n--\n
    Adam, and AdamW when weight_decay > 0.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, mhat = m / (1 - b1^t),
    vhat = v / (1 - b2^t), p <- p - lr mhat / (sqrt(vhat) + eps); with `eps_hat`,
    p <- p - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).

    Parameters
    ----------
    lr : float
        Step length, > 0; writable between steps. For a `Population` this, or another number, may be
        an array with that of each network.
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
        rule.lr = self.option("lr", lr, _arguments.positive)
        beta1, beta2 = _arguments.pair("betas", betas)
        rule.beta1 = self.option("betas[0]", beta1, _arguments.fraction)
        rule.beta2 = self.option("betas[1]", beta2, _arguments.fraction)
        rule.eps = self.option("eps", eps, _arguments.positive)
        rule.weight_decay = self.option("weight_decay", weight_decay, _arguments.non_negative)
        rule.eps_hat = _arguments.boolean("eps_hat", eps_hat)
        rule.power1 = rule.power2 = 1
        self.rule = rule

    @property
    def betas(self):
        """(b1, b2)."""
        return (self.number("betas[0]", self.rule.beta1),
                self.number("betas[1]", self.rule.beta2))

    @property
    def eps(self):
        return self.number("eps", self.rule.eps)

    @property
    def eps_hat(self):
        return bool(self.rule.eps_hat)

    def _options(self):
        return {"lr": self.lr, "betas": self.betas, "eps": self.eps,
                "weight_decay": self.weight_decay, "eps_hat": self.eps_hat}

    def _state_names(self):
        return "m", "v"

    def _squares(self):
        return ("v",)

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


cdef void advance_adam(Rule* rules, Py_ssize_t count) noexcept nogil:
    """The bias corrections of the next step, into `rate` and `scale`.

    The root and its inverse take longest; rules one after the other with the same beta2^t share
    them.
    """
    cdef double power2 = -1, correction = 0, inverse = 0
    cdef Rule* rule
    cdef Py_ssize_t k
    for k in range(count):
        rule = rules + k
        if rule.rests:
            continue
        rule.t += 1
        rule.power1 *= rule.beta1
        rule.power2 *= rule.beta2
        if rule.power2 != power2:
            power2 = rule.power2
            correction = sqrt(1 - power2)
            inverse = 1 / correction
        rule.rate = rule.lr / (1 - rule.power1)
        rule.scale = 1 if rule.eps_hat else inverse
        if rule.eps_hat:
            rule.rate *= correction


cdef void apply_adam(const Rule* rule, const KernelTable* k, char* p, const char* grad,
                     Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at = first * k.itemsize
    k.adam(p + at, rule.m + at, rule.v + at, grad + at, count, rule)


cdef enum:
    BLOCKS_AT_ONCE = 16     # of a norm, whose numbers are read while their sums are in registers


def clip_grad_norm(grad, max_norm):
    """Clip a gradient to a norm, in place: grad <- min(1, max_norm / ||grad||) grad.

    Between `backprop` and `optimizer.step` it gives the bits of `max_norm` in `MLP.train_epoch` and
    `MLP.fit`. The norm is that of the whole vector, as `torch.nn.utils.clip_grad_norm_` has it;
    `MLP.clipped_backprop` clips the gradient of each sample by itself.

    Parameters
    ----------
    grad : (n_params,) ndarray
        C-contiguous, float32 or float64: `MLP.grad` for example.
    max_norm : float
        Above 0. What is clipped is no longer than that by more than a share of 2 u + (64 +
        n_params / 512) 2^-53, u being the unit of rounding of the dtype, 2^-24 or 2^-53, and
        sqrt(n_params) times its least number above 0. With infinity nothing is clipped.

    Returns
    -------
    float
        ||grad||_2 before, summed in float64 in a fixed order; infinite where float64 has no such
        number, and then `grad` is clipped all the same. Where an element is infinite it becomes
        NaN and the others 0; where one is NaN all become NaN, unless `max_norm` is infinite.

    Raises
    ------
    TypeError, ValueError
        For `grad` of another kind, dtype or shape, or that is read-only, and `max_norm` that is not
        above 0.
    """
    if not (real(grad) and cnp.PyArray_NDIM(grad) == 1 and cnp.PyArray_ISWRITEABLE(grad)):
        grad = _arguments.flat_gradient(grad)
    if type(max_norm) is not float or not <double> max_norm > 0:
        max_norm = _arguments.norm_limit(max_norm)
    result = new_float()                # before anything is written
    cdef double limit = max_norm, norm
    cdef Py_ssize_t size = grad.size, first = 0, count
    cdef const KernelTable* k = kernels(grad.itemsize)
    cdef char* g = data(grad)
    cdef Square[BLOCKS_AT_ONCE] squares
    cdef Square total = Square(0, 0)
    cdef float_mode mode
    with nogil:
        mode = enter_float_mode()
        while first < size:
            count = min(<Py_ssize_t> (BLOCKS_AT_ONCE * NORM_BLOCK), size - first)
            k.squares_of_blocks(squares, g + first * k.itemsize, count)
            k.add_blocks(&total, squares, (count + NORM_BLOCK - 1) // NORM_BLOCK)
            first += count
        norm = k.clip_to_norm(g, &total, limit, size)
        leave_float_mode(mode)
    return filled(result, norm)


explain(SGD, Adam, clip_grad_norm)
