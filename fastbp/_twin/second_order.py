"""Products of the Hessian and of its Gauss-Newton part: E8, E9 of docs/derivation.md.

The direction is V_l, v_l beside W_l, b_l; ẋ is the derivative of x along it:

    ż_l = h_{l-1} V_l + v_l + ḣ_{l-1} W_l,  ḣ_l = act'(z_l) ⊙ ż_l,  ḣ_0 = 0
    δ̇_L = (∂δ_L/∂z_L) ż_L
    δ̇_l = (δ̇_{l+1} W_{l+1}ᵀ + δ_{l+1} V_{l+1}ᵀ) ⊙ act'(z_l) + δ_l ⊙ bend_l
    dẆ_l = h_{l-1}ᵀ δ̇_l + ḣ_{l-1}ᵀ δ_l,  dḃ_l = Σ_i δ̇_l

bend_l = act''(z_l) / act'(z_l) ⊙ ż_l. E9 is this without the curvature of the network: with δ = 0.
"""

import numpy as np

from .. import _arguments
from . import mathematics
from .problem import checked

BENDS = {"sigmoid": lambda h: 1 - 2 * h, "tanh": lambda h: -2 * h,  # act''/act'
         "relu": np.zeros_like, "identity": np.zeros_like}


@_arguments.public
def hvp(weights, biases, X, y, V, v, *, activation="sigmoid", loss="bce", sample_weight=None,
        reduction="sum", pos_weight=None, class_weight=None, label_smoothing=0.0):
    """The Hessian of the loss by weights and biases, times a direction (E8).

    Parameters
    ----------
    weights, biases, X, y
        As for `backprop`.
    V, v : sequences of arrays like `weights` and `biases`
        The direction, in the dtype of the other arguments.
    activation, loss, sample_weight, reduction, pos_weight, class_weight, label_smoothing
        As for `backprop`.

    Returns
    -------
    dW, db : lists of ndarrays like `weights` and `biases`

    Raises
    ------
    TypeError, ValueError
        As `backprop`; the direction does not fit.
    """
    p = checked(weights, biases, X, y, activation=activation, loss=loss,
                sample_weight=sample_weight, reduction=reduction, pos_weight=pos_weight,
                class_weight=class_weight, label_smoothing=label_smoothing)
    return Linearization(p).hvp(V, v)


@_arguments.public
def gnvp(weights, biases, X, y, V, v, *, activation="sigmoid", loss="bce", sample_weight=None,
         reduction="sum", pos_weight=None, class_weight=None, label_smoothing=0.0):
    """The Gauss-Newton matrix JᵀHJ times a direction (E9).

    J is the Jacobian of z_L by weights and biases, H the Hessian of the loss by z_L.

    Parameters
    ----------
    weights, biases, X, y, V, v
        As for `hvp`.
    activation, loss, sample_weight, reduction, pos_weight, class_weight, label_smoothing
        As for `backprop`.

    Returns
    -------
    dW, db : lists of ndarrays like `weights` and `biases`

    Raises
    ------
    TypeError, ValueError
        As `hvp`.
    """
    p = checked(weights, biases, X, y, activation=activation, loss=loss,
                sample_weight=sample_weight, reduction=reduction, pos_weight=pos_weight,
                class_weight=class_weight, label_smoothing=label_smoothing)
    return Linearization(p).gnvp(V, v)


@_arguments.public
def linearize(weights, biases, X, y, *, activation="sigmoid", loss="bce", sample_weight=None,
              reduction="sum", pos_weight=None, class_weight=None, label_smoothing=0.0):
    """The loss and its gradient, with products of the Hessian at the same point (E8, E9).

    Parameters
    ----------
    weights, biases, X, y
        As for `backprop`; not copied.
    activation, loss, sample_weight, reduction, pos_weight, class_weight, label_smoothing
        As for `backprop`.

    Returns
    -------
    Linearization
        With `loss`, `dW`, `db` as `backprop` returns them, and ``hvp(V, v)`` and ``gnvp(V, v)``,
        whose direction and result are those of the functions of that name.

    Raises
    ------
    TypeError, ValueError
        As `backprop`.
    """
    return Linearization(checked(
        weights, biases, X, y, activation=activation, loss=loss, sample_weight=sample_weight,
        reduction=reduction, pos_weight=pos_weight, class_weight=class_weight,
        label_smoothing=label_smoothing))


class Linearization:
    """E1 to E6 of a checked problem; see `linearize`."""

    def __init__(self, p):
        self._p = p
        weights, biases, X, y, options, w, activation = p.given
        self._inputs, self._slopes, self._z = mathematics.forward(weights, biases, X, activation)
        loss, delta = mathematics.weighted_loss(options, self._z, y, w)
        self._deltas = mathematics.descent(weights, self._slopes, delta)
        self.loss = float(loss if p.total is None else loss / p.total)
        self.dW = [h.T @ delta for h, delta in zip(self._inputs, self._deltas, strict=True)]
        self.db = [delta.sum(axis=0) for delta in self._deltas]
        p.divide([*self.dW, *self.db])

    @_arguments.public
    def hvp(self, V, v):
        """The function `hvp` at this point."""
        return self._product(V, v, False)

    @_arguments.public
    def gnvp(self, V, v):
        """The function `gnvp` at this point."""
        return self._product(V, v, True)

    def _product(self, V, v, gauss_newton):
        """E8 or E9 along the checked direction: [dẆ_1 …], [dḃ_1 …]."""
        p, inputs, slopes = self._p, self._inputs, self._slopes
        V, v = (_direction(name, arrays, like, p.X.dtype)
                for name, arrays, like in (("V", V, p.weights), ("v", v, p.biases)))
        dots, bends, last = [np.zeros_like(p.X)], [], len(p.weights) - 1
        names = _arguments.each_activation(p.activation, last)
        for k, W in enumerate(p.weights):
            z_dot = inputs[k] @ V[k] + v[k] + dots[k] @ W
            if k < last:
                dots.append(mathematics.counted(slopes[k], z_dot))
                bends.append(mathematics.counted(BENDS[names[k]](inputs[k + 1]), z_dot))
        delta_dot = curvature(p.options, self._z, z_dot, p.y, p.w)
        dW, db = list(p.weights), list(p.biases)
        for k in reversed(range(last + 1)):
            delta = np.zeros_like(delta_dot) if gauss_newton else self._deltas[k]
            dW[k] = inputs[k].T @ delta_dot + dots[k].T @ delta
            db[k] = delta_dot.sum(axis=0)
            if k > 0:
                delta_dot = (delta_dot @ p.weights[k].T + delta @ V[k].T) * slopes[k - 1]
                if not gauss_newton:
                    delta_dot += mathematics.counted(self._deltas[k - 1], bends[k - 1])
        p.divide([*dW, *db])
        return dW, db


def _direction(name, arrays, like, dtype):
    arrays = _arguments.sequence(name, arrays)
    _arguments.one_for_each_layer(name, arrays, len(like))
    return [_arguments.real_array(f"{name}[{i}]", a, dtype, shape=b.shape)
            for i, (a, b) in enumerate(zip(arrays, like, strict=True))]


def curvature(options, z, z_dot, y, w=None):
    """(∂δ_L/∂z_L) ż_L; row i counts w_i times."""
    output = options.loss.output
    f = mathematics.OUTPUTS[output](z)
    if options.loss.is_distribution:
        top = np.argmax(f, axis=1)[:, None]  # f may have rounded to 1: what is left has the others
        a = z_dot - np.take_along_axis(z_dot, top, axis=1)
        rest = a - (f * a).sum(axis=1, keepdims=True)
        curved = f * (rest if w is None else np.where(w > 0, rest, 1))
    else:  # e^z is its own derivative
        slopes = mathematics.ACTIVATIONS.get(output)
        curved = mathematics.counted(f if slopes is None else slopes(z)[1], z_dot)
    t, p = mathematics.targets(options, z, y)
    if p is not None:
        curved = ((1 - t) + p * t) * curved
    return curved if w is None else mathematics.counted(w, curved)
