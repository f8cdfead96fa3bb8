"""Promise N5: the same bits whatever rounding mode and flush-to-zero the caller has; it keeps them.

Every public call runs under each mode of the processor. Threads, exceptions and handlers of signals
are looked at in test_n5_threads.py.
"""

import numpy as np
import pytest
from bits import network, recursion, same_bits, sample_weights
from float_mode import MODES, caller_mode, needs_modes

import fastbp


def every_call(dtype):
    """Functions without arguments that compute something into fresh arrays, prepared by now."""
    sizes, n = (5, 7, 3), 300
    net, X, y = network(sizes, n, dtype)
    low = -95.0 if dtype == "float32" else -725.0  # σ is subnormal around here
    net.biases[0][:3] = low
    net.biases[1][0] = low
    y[:, 0] = 0
    z = np.linspace(low - 8, 40, 96).astype(dtype).reshape(-1, 1)
    t = np.repeat(np.array([0, 1], dtype), 48)[::-1].reshape(-1, 1).copy()
    w = sample_weights(np.random.PCG64(9), n, dtype)
    start, weights, biases = net.params.copy(), list(net.weights), list(net.biases)
    order = np.arange(n)[::-1].copy()
    classes = np.arange(96) % 3
    rows = np.hstack([z, z / 3, -z])
    deep = fastbp.MLP(sizes, activation="tanh", loss="softmax", dtype=dtype, seed=0)
    deep.params[:] = net.params
    h = fastbp.sigmoid(z)
    third, h_40 = h / 3, np.repeat(h, 40, axis=1)
    layers = fastbp.Layers(sizes, ["sigmoid"] * 2, dtype=dtype)
    linear = fastbp.Layers(sizes, ["tanh", "identity"], dtype=dtype)

    def gradient(**options):
        return lambda: (net.backprop(X, y, **options), net.grad.copy())

    def epoch(opt, **options):
        def run():
            loss = net.train_epoch(X, y, opt, batch_size=47, **options)
            params = net.params.copy()
            net.params[:] = start
            return loss, params
        return run

    def steps(opt):
        params = start.copy()
        for _ in range(3):
            opt.step(params, start)
        return params

    def loss_and_grad():
        grads = [np.empty_like(a) for a in (*weights, *biases)]
        loss = linear.loss_and_grad(weights, biases, X, y, grads[:2], grads[2:], reduction=3.0)
        return (loss, *grads)

    def functions():
        loss, dW, db = fastbp.backprop(weights, biases, X, y, reduction="mean")
        return (loss, *dW, *db)

    return {
        "sigmoid": lambda: fastbp.sigmoid(z),
        "sigmoid_backward": lambda: fastbp.sigmoid_backward(third, h),
        "delta_step": lambda: fastbp.delta_step(third, z[:40], h_40),
        "weight_grad": lambda: fastbp.weight_grad(z, third),
        "bce_with_logits": lambda: fastbp.bce_with_logits(z, t),
        "bce_with_logits of tails": lambda: fastbp.bce_with_logits(z[:3], t[-3:]),
        "tanh": lambda: fastbp.activate(z, "tanh"),
        "softmax_with_logits": lambda: fastbp.softmax_with_logits(rows, classes),
        "squared_error": lambda: fastbp.squared_error(z, third),
        "poisson_with_logits": lambda: fastbp.poisson_with_logits(z, t),
        "tanh and softmax": lambda: (
            deep.backprop(X, y.argmax(axis=1)), deep.grad.copy(), deep.forward(X)),
        "backprop": functions,
        "forward": lambda: (net.forward(X), net.logits(X)),
        "loss_value": lambda: net.loss_value(X, y),
        "loss_value mean": lambda: net.loss_value(X, y, sample_weight=w, reduction="mean"),
        "gradient": gradient(),
        "gradient mean": gradient(sample_weight=w, reduction="mean", l2=0.3),
        "error_bound": lambda: net.error_bound(X, y),
        "norms": lambda: net.per_sample_grad_norms(X, y),
        "gradients of samples": lambda: net.per_sample_grads(X[:9], y[:9]),
        "input_grad": lambda: net.input_grad(X, y),
        "jacobian": lambda: (net.jacobian(X[:9]), deep.jacobian(X, wrt="input")),
        "clipped": lambda: (*net.clipped_backprop(X, y, 1e-3), net.grad.copy()),
        "with noise": lambda: (*net.clipped_backprop(
            X, y, 1e-3, noise_multiplier=0.3, rng=np.random.PCG64(1)), net.grad.copy()),
        "error_bound mean": lambda: net.error_bound(X, y, sample_weight=w, reduction="mean",
                                                    l2=0.3),
        "error_bound of softmax": lambda: deep.error_bound(X, y.argmax(axis=1)),
        "objective": lambda: net.value_and_grad(start, X, y, reduction="mean"),
        "epoch of SGD": epoch(fastbp.SGD(0.1, 0.9), order=order, l2=0.1),
        "epoch of Adam": epoch(fastbp.Adam(), shuffle=False, sample_weight=w),
        "steps of SGD": lambda: steps(fastbp.SGD(0.1, 0.9, nesterov=True, weight_decay=0.1)),
        "steps of Adam": lambda: steps(fastbp.Adam(weight_decay=0.1)),
        "loss_and_grad": loss_and_grad,
        "Layers": lambda: tuple(recursion(layers, weights, biases, X)),
    }


EVERY_CALL = list(every_call("float32"))


@needs_modes
@pytest.mark.parametrize("call", EVERY_CALL)
def test_mode_of_the_caller(isa, dtype, call):
    def results(bits):
        function = every_call(dtype)[call]
        with caller_mode(bits):
            found = function()
        return found if isinstance(found, tuple) else (found,)

    expected = results(0)
    wrong = {mode: [i for i, (a, b) in enumerate(zip(results(bits), expected, strict=True))
                    if not same_bits(a, b)] for mode, bits in MODES.items()}
    assert not any(wrong.values()), f"results that depend on the mode: {wrong}"
