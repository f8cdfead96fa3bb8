"""True products of E8 and E9, and how far those of fastbp may be off; no test is here.

`true_product` differentiates E1 to E6 of `fastbp._twin.mathematics` by a complex step, in the
widest complex format: nothing of it comes from E8. `product_bound` goes through E8 and E9 with the
running error bounds of `fastbp._twin.rounding`.
"""

import numpy as np

import fastbp
from fastbp import _arguments
from fastbp._twin import bounds, mathematics
from fastbp._twin.rounding import Arithmetic, Ball

STEP = 1e-200   # its square is nothing beside anything: there is no step to choose


def layers_of(net, flat):
    """Views of a flat vector: [W_1 …], [b_1 …]."""
    weights, biases, at = [], [], 0
    for fan_in, fan_out in zip(net.layer_sizes, net.layer_sizes[1:], strict=False):
        weights.append(flat[at:at + fan_in * fan_out].reshape(fan_in, fan_out))
        at += fan_in * fan_out
        biases.append(flat[at:at + fan_out])
        at += fan_out
    return weights, biases


def joined(weights, biases):
    return np.concatenate([a.ravel() for pair in zip(weights, biases, strict=True) for a in pair])


def checked(net, X, y, sample_weight):
    """X, y (n, …) and what each sample counts, (n, 1) or None, in the dtype of a network."""
    n_outputs = net.layer_sizes[-1]
    options = _arguments.loss_options(net.loss, n_outputs, **net.loss_options)
    X = np.asarray(X, net.dtype)
    y = _arguments.targets(y, len(X), n_outputs, net.dtype, net.loss)
    w = _arguments.weights_with_classes(sample_weight, options, y, len(X), "sum", net.dtype)
    return options, X, y, None if w is None else w[:, None]


def pulled_back(weights, inputs, slopes, delta):
    """E5 and E6: J^T delta."""
    dW, db = list(weights), []
    for k in reversed(range(len(weights))):
        dW[k] = inputs[k].T @ delta
        db.insert(0, delta.sum(axis=0))
        if k > 0:
            delta = delta @ weights[k].T * slopes[k - 1]
    return dW, db


def true_product(net, X, y, v, *, gauss_newton=False, sample_weight=None, reduction="sum", l2=0.0):
    """The Hessian, or its Gauss-Newton part, times v, in the long double."""
    options, X, y, w = checked(net, X, y, sample_weight)
    X, y, w = (a if a is None else a.astype(np.longdouble) for a in (X, y, w))
    v = np.asarray(v, net.dtype).astype(np.longdouble)
    at = layers_of(net, net.params.astype(np.clongdouble) + STEP * 1j * v)
    if gauss_newton:
        inputs, slopes, z = mathematics.forward(*at, X, net.activation)
        _, delta = mathematics.weighted_loss(options, z, y, w)
        dW, db = pulled_back([W.real for W in at[0]], [h.real for h in inputs],
                             [slope.real for slope in slopes], delta.imag / STEP)
    else:
        _, dW, db = mathematics.gradient(*at, X, y, options, w, net.activation)
        dW, db = ([a.imag / STEP for a in arrays] for arrays in (dW, db))
    dW = [a + l2 * V for a, V in zip(dW, layers_of(net, v)[0], strict=True)]
    total = 1 if reduction == "sum" else len(X) if w is None else w.sum()
    return joined(dW, db) / total


# ---- how far the products of fastbp may be off


def plus(do, A, B):
    return do.ball(A.x + B.x, A.e + B.e, 1)


def stacked(A, B):
    return Ball(np.concatenate([A.x, B.x]), np.concatenate([A.e, B.e]))


def curved(do, net, z, z_dot, t, p):
    """delta_dot_L, before samples are weighted."""
    if net.loss == "squared_error":
        return z_dot
    if net.loss == "softmax":
        f = bounds.softmax(do, z, t, None)[0]
        top = f.x.argmax(axis=1)[:, None]
        z_top = Ball(*(np.take_along_axis(a, top, axis=1) for a in (z_dot.x, z_dot.e)))
        a = Ball(z_dot.x - z_top.x, z_dot.e + z_top.e)
        K, u = z.x.shape[1], 2.0**-53       # in float64: a difference, K products, their sum
        mean = (f.x * a.x).sum(axis=1, keepdims=True)
        e = ((f.size + f.e) * (a.size + a.e) * (1 + (K + 2) * u) - f.size * a.size).sum(
            axis=1, keepdims=True)
        rest = do.ball(a.x - mean, a.e + e, 2)
        return do.times(f, rest)
    if net.loss == "poisson":
        return do.times(bounds.poisson(do, z, t, None)[0], z_dot)
    # 1 - t and the fused step with it round: twice, of no more than c
    c = do.ball((1 - t.x) + p.x * t.x, (1 + p.x) * t.e, 2)
    return do.times(do.times(c, bounds.sigmoid(do, z)[1]), z_dot)


def bend(do, activation, h, z_dot):
    """act''/act' z_dot; None for 0."""
    if activation == "sigmoid":
        return do.times(do.ball(1 - 2 * h.x, 2 * h.e, 1), z_dot)
    return do.times(Ball(-2 * h.x, 2 * h.e), z_dot) if activation == "tanh" else None


def product_bound(net, X, y, v, *, gauss_newton=False, sample_weight=None, reduction="sum",
                  l2=0.0):
    """|computed - true| is at most this, for each element; not for NaN and infinity."""
    do = Arithmetic(net.dtype)
    options, X, y, w = checked(net, X, y, sample_weight)
    (W, b), (V, v) = ([[do.given(a) for a in arrays] for arrays in layers_of(net, flat)]
                      for flat in (net.params, np.asarray(v, net.dtype)))
    w = None if w is None else do.given(w)
    L, n, n_outputs = len(W), len(X), net.layer_sizes[-1]
    names = _arguments.each_activation(net.activation, L - 1)
    with np.errstate(all="ignore"):         # bounds may overflow, products of tails underflow
        h, slope, h_dot, bends = [do.given(X)], [], [None], []
        for l in range(L):
            z, z_dot = do.product(h[l], W[l], b[l]), do.product(h[l], V[l], v[l])
            if l > 0:
                z_dot = plus(do, z_dot, do.product(h_dot[l], W[l]))
            if l < L - 1:
                h_l, slope_l = bounds.ACTIVATIONS[names[l]](do, z)
                h.append(h_l)
                slope.append(slope_l)
                h_dot.append(do.times(z_dot, slope_l))
                bends.append(bend(do, names[l], h_l, z_dot))
        if options.loss.is_distribution and y.ndim == 1:
            y = np.eye(n_outputs)[y.astype(int)]
        t = do.targets(y.reshape(n, n_outputs), options.label_smoothing,
                       n_outputs if options.loss.is_distribution else 2)
        p = None if options.pos_weight is None else do.given(options.pos_weight)
        delta = do.weighted(w, bounds.LOSSES[net.loss](do, z, t, p)[1])
        dot = do.weighted(w, curved(do, net, z, z_dot, t, do.given(1) if p is None else p))
        ones, dW, db = do.given(np.ones((1, n))), [None] * L, [None] * L
        for l in reversed(range(L)):
            both = l > 0 and not gauss_newton       # one sum of twice the terms
            left, right = (stacked(h[l], h_dot[l]), stacked(dot, delta)) if both else (h[l], dot)
            dW[l], db[l] = do.product(left.T, right), do.product(ones, dot)
            if l > 0:
                dot = do.times(do.product(dot, W[l].T), slope[l - 1])
            if both:
                along = do.times(do.product(delta, V[l].T), slope[l - 1])
                delta = do.times(do.product(delta, W[l].T), slope[l - 1])
                if bends[l - 1] is not None:
                    dot = plus(do, dot, do.times(delta, bends[l - 1]))
                dot = plus(do, dot, along)
        if l2:
            penalty = [do.times(do.given(np.full(V_l.x.shape, l2)), V_l) for V_l in V]
            dW = [plus(do, A, B) for A, B in zip(dW, penalty, strict=True)]
        if reduction == "mean":
            dW, db = ([do.mean(A, w, n) for A in arrays] for arrays in (dW, db))
    return joined([A.e for A in dW], [A.e[0] for A in db])


def assert_product(net, X, y, v, **options):
    """`hvp` and `gnvp` within their bounds; both are returned."""
    found = []
    for name, gauss_newton in (("hvp", False), ("gnvp", True)):
        got = getattr(net, name)(X, y, v, **options)
        true = true_product(net, X, y, v, gauss_newton=gauss_newton, **options)
        bound = product_bound(net, X, y, v, gauss_newton=gauss_newton, **options)
        assert got.dtype == net.dtype and got.shape == (net.n_params,)
        assert np.isfinite(bound).all() and np.isfinite(got).all()
        off = np.abs(got.astype(np.longdouble) - true)
        assert np.all(off <= bound), (name, float((off / bound).max()))
        found.append(got)
    return found


def network_like(net, n_threads):
    """Another with the same parameters, kind and dtype."""
    other = fastbp.MLP(net.layer_sizes, activation=net.activation, loss=net.loss, dtype=net.dtype,
                       seed=0, n_threads=n_threads, **net.loss_options)
    other.params[:] = net.params
    return other
