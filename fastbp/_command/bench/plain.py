"""The peer NumPy: E1 to E6 and Adam as a loop that is written for speed.

sigma is 1 / (1 + e^-z), and its slope h (1 - h) of the rounded h. Written as `h = 1 / (1 +
np.exp(-z))` and with fresh arrays it was slower by up to a tenth where a layer is wide, and `dW =
h.T @ delta` by as much as its copy into the gradient costs. db is a product with ones, which was
quicker than `delta.sum(0)` from a batch of 64 on, and no slower for one row.

What rounding explains is `LIBRARY` of `fastbp._twin.rounding`: e^-z is within 7 u, 1 + e^-z adds 1
u and the quotient 1 u, so that sigma has 9 u <= 11 u; h (1 - h) and h - y are of the rounded h;
NumPy's tanh and e^z have no more than 7 u; p is within 7 u + 22 u + 2 u <= 48 u. Sums are of any
order. It holds where e^-z does not overflow, for z > -88 in float32 and z > -709 in float64: below,
h is 0, and `gradients.by_numpy` refuses such a network.
"""

import numpy as np

from fastbp import _arguments

WORDS = "a plain loop with h (1 - h) of the rounded h"      # of documents: what NumPy stands for


# ---- E1 and E4: z becomes h; g becomes g h'


def sigmoid(z):
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


def sigmoid_slope(g, h):
    g *= h
    g *= 1 - h


def tanh(z):
    return np.tanh(z, out=z)


def tanh_slope(g, h):
    g *= 1 - h * h


def relu(z):
    return np.maximum(z, 0, out=z)


def relu_slope(g, h):
    g *= h > 0


def identity(z):
    return z


def identity_slope(g, h):
    pass


ACTIVATIONS = {"sigmoid": (sigmoid, sigmoid_slope), "tanh": (tanh, tanh_slope),
               "relu": (relu, relu_slope), "identity": (identity, identity_slope)}


# ---- E2 and E3: L, and z becomes delta_L


def bce(z, t):
    loss = np.logaddexp(0, z).sum() - np.vdot(t, z)
    delta = sigmoid(z)
    delta -= t
    return loss, delta


def softmax(z, t):
    z -= z.max(axis=1, keepdims=True)
    loss = -np.vdot(t, z)
    np.exp(z, out=z)
    total = z.sum(axis=1, keepdims=True)
    loss += np.log(total).sum()
    z /= total
    z -= t
    return loss, z


def squared_error(z, t):
    z -= t
    return np.vdot(z, z) / 2, z


def poisson(z, t):
    loss = -np.vdot(t, z)
    np.exp(z, out=z)
    loss += z.sum()
    z -= t
    return loss, z


LOSSES = {loss.__name__: loss for loss in (bce, softmax, squared_error, poisson)}


# ---- the loop


def targets(net, y):
    """y of `problem` as an array of the outputs' shape: classes as rows of 0 and 1."""
    if _arguments.LOSSES[net.loss].is_distribution:
        return np.eye(net.layer_sizes[-1], dtype=net.dtype)[y.astype(np.intp)]
    return y


def gradient_of(net, most_rows):
    """f(X, t) -> L of up to `most_rows` rows, which writes `grad`, and `grad`, as `net.params`."""
    grad = np.empty_like(net.params)
    dW, db = [], []
    first = 0
    for W, b in zip(net.weights, net.biases, strict=True):
        dW.append(grad[first:first + W.size].reshape(W.shape))
        db.append(grad[first + W.size:first + W.size + b.size])
        first += W.size + b.size
    layers = list(zip(net.weights, net.biases, strict=True))
    (activate, slope), loss = ACTIVATIONS[net.activation], LOSSES[net.loss]
    ones = np.ones(most_rows, net.dtype)

    def gradient(X, t):
        h = [X]
        for W, b in layers[:-1]:
            z = h[-1] @ W
            z += b
            h.append(activate(z))
        W, b = layers[-1]
        z = h[-1] @ W
        z += b
        total, delta = loss(z, t)
        for i in range(len(layers) - 1, -1, -1):
            np.matmul(h[i].T, delta, out=dW[i])
            np.matmul(ones[:len(X)], delta, out=db[i])
            if i:
                delta = delta @ layers[i][0].T
                slope(delta, h[i])
        return total

    return gradient, grad


def adam_of(params, lr, betas, eps):
    """step(g), which updates `params` in place and overwrites g."""
    (beta1, beta2), (m, v) = betas, (np.zeros_like(params), np.zeros_like(params))
    root, t = np.empty_like(params), 0

    def step(g):
        nonlocal t
        t += 1
        np.multiply(m, beta1, out=m)
        np.multiply(v, beta2, out=v)
        np.multiply(g, g, out=root)
        np.multiply(root, 1 - beta2, out=root)
        np.add(v, root, out=v)
        np.multiply(g, 1 - beta1, out=g)
        np.add(m, g, out=m)
        np.multiply(v, 1 / (1 - beta2**t), out=root)
        np.sqrt(root, out=root)
        np.add(root, eps, out=root)
        np.divide(m, root, out=root)
        np.multiply(root, lr / (1 - beta1**t), out=root)
        np.subtract(params, root, out=params)

    return step
