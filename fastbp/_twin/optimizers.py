"""SGD, Adam and clipping in NumPy: `fastbp.reference` has them, fastbp their compiled twins."""

import numpy as np

from .. import _arguments
from .per_sample import norm


class SGD:
    """v ← μ v + g, p ← p − lr (g + μ v if nesterov else v), with g = grad + weight_decay · p.

    ``step(params, grad)`` updates a flat array in place. Raises as `fastbp.SGD` does.
    """

    __module__ = "fastbp.reference"  # in which it is public

    @_arguments.public
    def __init__(self, lr=0.01, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.lr = _arguments.positive("lr", lr)
        self.momentum = _arguments.fraction("momentum", momentum)
        self.nesterov = _arguments.nesterov(nesterov, self.momentum)
        self.weight_decay = _arguments.non_negative("weight_decay", weight_decay)
        self._v = None

    @_arguments.public
    def step(self, params, grad):
        params, g = _arguments.optimizer_arrays(params, grad)
        self._v = v = np.zeros_like(params) if self._v is None else self._v
        _arguments.optimizer_state(params.size, params.dtype, v.size, v.dtype)
        g = g + self.weight_decay * params
        v *= self.momentum
        v += g
        params -= self.lr * (g + self.momentum * v if self.nesterov else v)


class Adam:
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², p ← p − lr · m̂/(√v̂ + eps).

    m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ); with ``eps_hat``, p ← p − lr·√(1−β₂ᵗ)/(1−β₁ᵗ) · m/(√v + eps).
    Before either, p ← (1 − lr · weight_decay) p. ``step(params, grad)`` updates a flat array in
    place. Raises as `fastbp.Adam` does.
    """

    __module__ = "fastbp.reference"  # in which it is public

    @_arguments.public
    def __init__(self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, eps_hat=False):
        self.lr = _arguments.positive("lr", lr)
        self.betas = _arguments.betas(betas)
        self.eps = _arguments.positive("eps", eps)
        self.weight_decay = _arguments.non_negative("weight_decay", weight_decay)
        self.eps_hat = _arguments.boolean("eps_hat", eps_hat)
        self._t, self._m, self._v = 0, None, None

    @_arguments.public
    def step(self, params, grad):
        params, g = _arguments.optimizer_arrays(params, grad)
        if self._m is None:
            self._m, self._v = np.zeros_like(params), np.zeros_like(params)
        _arguments.optimizer_state(params.size, params.dtype, self._m.size, self._m.dtype)
        self._t += 1
        m, v, (beta1, beta2) = self._m, self._v, self.betas
        correction1, correction2 = 1 - beta1**self._t, 1 - beta2**self._t
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        params *= 1 - self.lr * self.weight_decay
        if self.eps_hat:
            params -= self.lr * correction2**0.5 / correction1 * (m / (np.sqrt(v) + self.eps))
        else:
            params -= self.lr * (m / correction1 / (np.sqrt(v / correction2) + self.eps))


@_arguments.public
def clip_grad_norm(grad, max_norm):
    """Clip a gradient to a norm, in place: g ← min(1, max_norm/‖g‖₂) g.

    Parameters
    ----------
    grad : ndarray (n_params,)
        C-contiguous, float32 or float64.
    max_norm : float
        Above 0; with infinity nothing is clipped.

    Returns
    -------
    float
        ‖g‖₂ before.

    Raises
    ------
    TypeError, ValueError
        As `fastbp.clip_grad_norm` does.
    """
    grad = _arguments.flat_gradient(grad)
    max_norm = _arguments.norm_limit(max_norm)
    with np.errstate(all="ignore"):
        largest, rest = norm(grad)
        length = float(largest * rest)
        if max_norm < np.inf and not length <= max_norm:
            grad[:] = np.float64(grad) / largest / rest * max_norm      # quotients of at most 1
    return length
