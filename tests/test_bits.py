"""Promise: the same bits, levels L0 to L3 of the numerics contract N1 to N6.

L0 run to run and process to process; L1 any number of threads; L2 a sample's h and δ whatever else
is in the batch; L3 every instruction set with FMA: they must all give the digests in digests.json,
recorded once per version of the contract by `python tests/test_bits.py --record`. `generic`
is outside L3 and held to everything else. Then what follows from the contract: calls that
are the same computation give the same bits, and changes that only shift exponents shift them.

The inputs are those of bits.py; losses and activations have more tests in test_bits_of_losses.py.
"""

import argparse
import contextlib
import ctypes
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest
from bits import (
    KINDS,
    digest,
    name_of,
    network,
    network_of,
    numbers,
    same_bits,
    sample_weights,
)

import fastbp
from fastbp import _random
from fastbp._kernels import dispatch

RECORD = Path(__file__).with_name("digests.json")
FMA_ISAS = [isa for isa in fastbp.available_isas() if isa != "generic"]

# (layer sizes, samples): widths and batches beside every vector, tile and block
NETWORKS = [
    ((2, 8, 8, 1), 1), ((2, 8, 8, 1), 7), ((30, 64, 64, 1), 32), ((3, 5, 1), 300),
    ((17, 13, 11, 7), 600), ((1, 1), 7), ((64, 1), 600), ((5, 300, 4), 1), ((257, 33, 2), 257),
    ((10, 16, 16, 16, 16, 3), 128), ((100, 129, 65, 1), 256), ((513, 40, 1), 300),
    ((784, 256, 128, 1), 300),
]


# ---- recorded digests


def gradient_digests(sizes, n, dtype):
    net, X, y = network(sizes, n, dtype)
    loss = net.backprop(X, y)
    z = net.logits(X)
    _, delta = fastbp.bce_with_logits(z, y)
    W = net.weights[-1]
    h = net.forward(X[:, :1] @ np.ones((1, sizes[0]), dtype))  # one feature everywhere
    below = fastbp.delta_step(delta, W, fastbp.sigmoid(z[:, :1] * np.ones(W.shape[0], dtype)))
    return {"loss": loss.hex(), "gradient": digest(net.grad), "delta": digest(delta, below),
            "outputs": digest(z, net.forward(X), h)}


def digests_of_kind(kind, dtype):
    """Of 17-33-16-5: outputs, and the gradient of the sum and of a weighted mean."""
    net, X, y = network_of(*kind, (17, 33, 16, 5), 300, dtype)
    w = sample_weights(np.random.PCG64(300), 300, dtype)
    loss, grad = net.backprop(X, y), net.grad.copy()
    mean = net.backprop(X, y, sample_weight=w, reduction="mean", l2=0.125)
    return {"loss": loss.hex(), "mean": mean.hex(), "gradient": digest(grad, net.grad),
            "outputs": digest(net.logits(X), net.forward(X))}


def vectors(optimizer):
    return [v for v in optimizer.state_dict().values() if isinstance(v, np.ndarray)]


def training_digests(dtype):
    """Ten epochs of Adam, and of its other form and SGD with everything on."""
    out = {}
    for name, opt, l2 in (
            ("adam", fastbp.Adam(2.0**-6), 0.0),
            ("adamw", fastbp.Adam(2.0**-6, (0.75, 0.875), 2.0**-20, 2.0**-6, eps_hat=True), 0.0),
            ("sgd", fastbp.SGD(2.0**-4, 0.75, True, 2.0**-10), 2.0**-8)):
        net, X, y = network((6, 19, 9, 1), 333, dtype)
        rng = np.random.PCG64(5)
        losses = [net.train_epoch(X, y, opt, batch_size=48, rng=rng, l2=l2) for _ in range(10)]
        out[name] = digest(net.params, *vectors(opt))
        out[f"{name} loss"] = losses[-1].hex()
    return out


def all_digests():
    """Of the active variant: {"2-8-8-1 x 7 float32": {"gradient": …}, …}."""
    found = {}
    for dtype in ("float32", "float64"):
        for sizes, n in NETWORKS:
            found[f"{'-'.join(map(str, sizes))} x {n} {dtype}"] = gradient_digests(sizes, n, dtype)
        found[f"10 epochs {dtype}"] = training_digests(dtype)
    for dtype in ("float32", "float64"):
        for kind in KINDS:
            found[f"{name_of(kind)} {dtype}"] = digests_of_kind(kind, dtype)
    return found


@pytest.mark.parametrize("isa", FMA_ISAS, indirect=True)
def test_digests_are_the_recorded_ones(isa):
    record = json.loads(RECORD.read_text())
    assert record["contract_version"] == dispatch.CONTRACT_VERSION
    assert all_digests() == record["digests"]


def test_digests_of_a_fresh_process(isa):
    """Another process, another heap, another hash seed; the variant chosen by FASTBP_ISA."""
    path = [str(Path(fastbp.__file__).parents[1]), str(Path(__file__).parent)]
    env = {**os.environ, "FASTBP_ISA": isa, "PYTHONPATH": os.pathsep.join(path)}
    run = subprocess.run([sys.executable, __file__, "--print"], env=env, text=True, check=True,
                         capture_output=True, cwd=path[1])
    assert json.loads(run.stdout) == all_digests()


# ---- L0, L1: repeated runs, memory that lies elsewhere, threads


def moved(a, offset):
    """A copy of `a` that starts `offset` bytes after a multiple of 64."""
    buffer = np.empty(a.nbytes + 192, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    view = buffer[start:start + a.nbytes].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert view.ctypes.data % 64 == offset
    return view


@pytest.mark.parametrize("sizes, n", [((3, 5, 1), 300), ((17, 13, 11, 7), 100), ((33, 16, 1), 7)])
def test_alignment_and_repetition(isa, dtype, sizes, n):
    net, X, y = network(sizes, n, dtype)
    loss, expected, z = net.backprop(X, y), net.grad.copy(), net.logits(X)
    for offset in range(0, 64, np.dtype(dtype).itemsize):
        net.grad[:] = np.nan
        assert same_bits(net.backprop(moved(X, offset), moved(y, (3 * offset) % 64)), loss)
        assert same_bits(net.grad, expected)
        out = moved(z, offset)
        assert same_bits(net.logits(X, out=out), z)
        weights = [moved(W, offset) for W in net.weights]
        dW, db = fastbp.backprop(weights, [moved(b, offset) for b in net.biases], X, y)[1:]
        assert all(map(same_bits, dW, net.weight_grads))
        assert all(map(same_bits, db, net.bias_grads))


def test_number_of_threads(isa, dtype):
    sizes, n = (100, 129, 65, 1), 700
    net, X, y = network(sizes, n, dtype)
    net.backprop(X, y)
    try:
        for threads in (1, 2, 3, 8):
            fastbp.set_num_threads(threads)
            other = fastbp.MLP(sizes, dtype=dtype, seed=0, n_threads=threads)
            other.params[:] = net.params
            other.backprop(X, y)
            assert same_bits(other.grad, net.grad)
            assert same_bits(other.forward(X), net.forward(X))
    finally:
        fastbp.set_num_threads(None)


# ---- L2: a sample's bits, whatever else is in the batch and wherever it stands


@pytest.mark.parametrize("sizes", [(2, 8, 8, 1), (64, 1), (257, 33, 5), (30, 64, 129, 17)])
def test_outputs_of_a_sample(isa, dtype, sizes):
    net, X, _ = network(sizes, 600, dtype)
    z, h = net.logits(X), net.forward(X)
    order = _random.permutation(600, _random.raw_bits(1, 599))
    assert same_bits(net.logits(X[order]), z[order])
    assert same_bits(net.forward(X[order]), h[order])
    for size in (1, 2, 3, 7, 13, 14, 255, 256, 257, 599):
        for start in (0, 1, 598) if size == 1 else range(0, 600, size):
            part = slice(start, start + size)
            assert same_bits(net.logits(X[part]), z[part])
            assert same_bits(net.forward(X[part]), h[part])


@pytest.mark.parametrize("here, above", [(1, 1), (8, 1), (33, 17), (129, 300), (16, 257)])
def test_delta_of_a_sample(isa, dtype, here, above):
    source, n = np.random.PCG64(here), 300
    delta, W = numbers(source, (n, above), dtype, 0), numbers(source, (here, above), dtype, 0)
    h = np.abs(numbers(source, (n, here), dtype, 0))
    whole = fastbp.delta_step(delta, W, h)
    order = _random.permutation(n, _random.raw_bits(2, n - 1))
    assert same_bits(fastbp.delta_step(delta[order], W, h[order]), whole[order])
    for size in (1, 2, 3, 5, 6, 13, 14, 16, 255, 256, 257):
        for start in range(0, n, max(size, 20)):
            part = slice(start, start + size)
            assert same_bits(fastbp.delta_step(delta[part], W, h[part]), whole[part])
    assert same_bits(fastbp.delta_step(delta[7], W, h[7]), whole[7])


@pytest.mark.parametrize("sizes", [(2, 8, 8, 1), (33, 17, 5)])
def test_gradient_of_a_sample(isa, dtype, sizes):
    """Weights of zero everywhere else add zeros: the chains pass the sample's terms unchanged."""
    net, X, y = network(sizes, 600, dtype)
    for row in (0, 1, 255, 256, 300, 599):
        loss = net.backprop(X[row:row + 1], y[row:row + 1])
        alone, w = net.grad.copy(), np.zeros(600, dtype)
        w[row] = 1
        if sizes[-1] == 1:  # otherwise its outputs go to other partial sums of the loss
            assert net.backprop(X, y, sample_weight=w) == loss
        net.backprop(X, y, sample_weight=w)
        assert np.array_equal(net.grad, alone)  # zeros may differ in sign


# ---- N5: whatever rounding mode and flush-to-zero the caller has


MXCSR = {"flush to zero": 0x8040, "round down": 0x2000, "round up": 0x4000, "truncate": 0x6000}


@contextlib.contextmanager
def caller_mode(bits):
    """Run under these bits of MXCSR; asserts that they are still there at the end."""
    libm = ctypes.CDLL("libm.so.6")
    saved, other = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()  # fenv_t; MXCSR comes last
    libm.fegetenv(saved)
    libm.fegetenv(other)
    other[7] |= bits
    libm.fesetenv(other)
    try:
        yield
        libm.fegetenv(other)
    finally:
        libm.fesetenv(saved)
    assert other[7] & 0xffc0 == saved[7] & 0xffc0 | bits, "the caller's mode has changed"


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
    grads, X_grad = [np.empty_like(a) for a in weights + biases], np.empty_like(X)

    def gradient(**options):
        return lambda: (net.backprop(X, y, **options), net.grad.copy())

    def epoch(opt, **options):
        def run():
            loss = net.train_epoch(X, y, opt, batch_size=47, **options)
            params = net.params.copy()
            net.params[:] = start
            return loss, params
        return run

    def recursion():
        h = layers.forward(weights, biases, X)
        layers.backward(h, grads[:2], grads[2:], X_grad)
        return (h, X_grad.copy(), *(g.copy() for g in grads))

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
        "objective": lambda: net.value_and_grad(start, X, y, reduction="mean"),
        "epoch of SGD": epoch(fastbp.SGD(0.1, 0.9), order=order, l2=0.1),
        "epoch of Adam": epoch(fastbp.Adam(), shuffle=False, sample_weight=w),
        "Layers": recursion,
    }


EVERY_CALL = list(every_call("float32"))


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="the layout of fenv_t is that of glibc on x86-64")
@pytest.mark.parametrize("call", EVERY_CALL)
def test_mode_of_the_caller(isa, dtype, call):
    def results(bits):
        function = every_call(dtype)[call]
        with caller_mode(bits):
            found = function()
        return found if isinstance(found, tuple) else (found,)

    expected = results(0)
    wrong = {mode: [i for i, (a, b) in enumerate(zip(results(bits), expected, strict=True))
                    if not same_bits(a, b)] for mode, bits in MXCSR.items()}
    assert not any(wrong.values()), f"results that depend on the mode: {wrong}"


# ---- the same computation, called differently


def test_every_way_to_a_gradient(isa, dtype):
    for sizes, n in NETWORKS[:10]:
        net, X, y = network(sizes, n, dtype)
        w = sample_weights(np.random.PCG64(n), n, dtype)
        for options in ({}, {"sample_weight": w}, {"reduction": "mean"},
                        {"sample_weight": w, "reduction": "mean"}):
            loss = net.backprop(X, y, **options)
            at = net.grad.copy()
            assert same_bits(loss, net.loss_value(X, y, **options))
            loss_of, dW, db = fastbp.backprop(net.weights, net.biases, X, y, **options)
            assert same_bits(loss_of, loss)
            assert all(map(same_bits, dW, net.weight_grads))
            assert all(map(same_bits, db, net.bias_grads))
            for l2 in (0.0, 0.125):
                loss = net.backprop(X, y, l2=l2, **options)
                at = net.grad.copy()
                params, net.grad[:] = net.params.copy(), 7
                net.params[:] = 0
                for result in (net.value_and_grad(params, X, y, l2=l2, **options),
                               net.objective(X, y, l2=l2, **options)(params)):
                    assert same_bits(result[0], loss) and same_bits(result[1], at)
                assert not net.params.any() and np.all(net.grad == 7)
                net.params[:] = params


def test_float64_parameters_of_a_float32_network(isa):
    net, X, y = network((5, 7, 1), 20, "float32")
    params = net.params.astype(np.float64) * (1 + 2.0**-30)  # rounds back
    loss, grad = net.value_and_grad(params, X, y)
    assert same_bits(net.backprop(X, y), loss)
    assert grad.dtype == np.float64 and same_bits(grad, net.grad.astype(np.float64))


def test_layouts_of_layers(isa, dtype):
    """(in, out) and (out, in) weights: the same network, the transposed gradient."""
    for sizes, n in NETWORKS[:12]:
        net, X, y = network(sizes, n, dtype)
        results = []
        for layout, turn in (("io", np.asarray), ("oi", lambda W: np.ascontiguousarray(W.T))):
            layers = fastbp.Layers(sizes, ["sigmoid"] * (len(sizes) - 1), dtype=dtype,
                                   layout=layout)
            weights = [turn(W) for W in net.weights]
            dW = [np.empty_like(W) for W in weights]
            db, dX = [np.empty_like(b) for b in net.biases], np.empty_like(X)
            h = layers.forward(weights, net.biases, X)
            layers.backward(h - y, dW, db, dX)
            results.append([h, dX, *db, *(g if layout == "io" else g.T for g in dW)])
        assert all(map(same_bits, *results))
        assert same_bits(results[0][0], net.forward(X))


OPTIMIZERS = {
    "SGD": lambda: fastbp.SGD(0.1),
    "SGD weight_decay": lambda: fastbp.SGD(0.1, weight_decay=0.01),
    "SGD momentum": lambda: fastbp.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "SGD nesterov": lambda: fastbp.SGD(0.05, momentum=0.9, nesterov=True),
    "Adam": lambda: fastbp.Adam(0.01),
    "Adam eps_hat": lambda: fastbp.Adam(0.01, eps_hat=True),
    "AdamW": lambda: fastbp.Adam(0.01, betas=(0.8, 0.99), weight_decay=0.1),
}
EPOCHS = [  # n, batch_size, other options
    (100, 32, {"shuffle": False}),
    (100, 7, {"rng": 3}),
    (97, 97, {"rng": 4, "l2": 0.25}),
    (640, 300, {"rng": 5, "weighted": True}),  # batches of more than one block, the last partial
    (640, 512, {"shuffle": False, "weighted": True, "l2": 0.1}),
    (50, 1000, {"order": True}),
    (65, 16, {"order": True, "weighted": True, "l2": 0.5}),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n, size, options", EPOCHS)
def test_epoch_is_a_sequence_of_steps(isa, dtype, optimizer, n, size, options):
    options, (net, X, y) = dict(options), network((6, 19, 1), n, dtype)
    l2, w, order = options.get("l2", 0.0), None, np.arange(n)
    if options.pop("weighted", False):
        w = options["sample_weight"] = sample_weights(np.random.PCG64(n), n, dtype)
    if "rng" in options:
        order = _random.permutation(n, _random.raw_bits(options["rng"], n - 1))
    if "order" in options:  # a sample may come twice
        order = options["order"] = (np.arange(n) * 7 + 3) % (n - 1)
    epoch_opt, step_opt = OPTIMIZERS[optimizer](), OPTIMIZERS[optimizer]()
    steps = fastbp.MLP(net.layer_sizes, dtype=dtype, seed=0)
    steps.params[:] = net.params
    for _ in range(2):
        found = net.train_epoch(X, y, epoch_opt, batch_size=size, **options)
        loss = weight = 0.0
        for start in range(0, n, size):
            rows = order[start:start + size]
            part = {"l2": l2, "sample_weight": None if w is None else w[rows]}
            loss += steps.value_and_grad(steps.params, X[rows], y[rows], **part)[0]
            weight += len(rows) if w is None else float(w[rows].sum(dtype=np.float64))
            steps.backprop(X[rows], y[rows], reduction="mean", **part)
            step_opt.step(steps.params, steps.grad)
        assert same_bits(net.params, steps.params)
        assert same_bits(net.grad, steps.grad)
        assert same_bits(found, loss / weight)
    assert all(map(same_bits, vectors(epoch_opt), vectors(step_opt)))


@pytest.mark.parametrize("generator", [
    lambda: 7, lambda: np.random.PCG64(7), lambda: np.random.Generator(np.random.PCG64(7)),
    lambda: np.random.Generator(np.random.MT19937(7)), lambda: np.random.Philox(7)])
@pytest.mark.parametrize("n", [1, 2, 3, 255, 1000])
def test_shuffle_is_the_specified_one(dtype, generator, n):
    net, X, y = network((3, 4, 1), n, dtype)
    start = net.params.copy()
    net.train_epoch(X, y, fastbp.SGD(0.5), batch_size=2, rng=generator())
    shuffled = net.params.copy()
    net.params[:] = start
    order = _random.permutation(n, _random.raw_bits(generator(), n - 1))
    net.train_epoch(X, y, fastbp.SGD(0.5), batch_size=2, order=order)
    assert same_bits(net.params, shuffled)


def test_generator_moves_on_between_epochs(dtype):
    """Two epochs of one generator are two permutations, of 2 (n − 1) raw draws in all."""
    net, X, y = network((3, 4, 1), 50, dtype)
    start, rng = net.params.copy(), np.random.default_rng(8)
    opt = fastbp.SGD(0.5)
    for _ in range(2):
        net.train_epoch(X, y, opt, batch_size=2, rng=rng)
    shuffled, net.params[:] = net.params.copy(), start
    for raw in np.split(np.random.PCG64(8).random_raw(98), 2):
        net.train_epoch(X, y, opt, batch_size=2, order=_random.permutation(50, raw))
    assert same_bits(net.params, shuffled)


# ---- metamorphic


@pytest.mark.parametrize("shift", [-60, -3, 1, 40])
def test_weights_scaled_by_a_power_of_two(isa, dtype, shift):
    for sizes, n in NETWORKS[:6]:
        net, X, y = network(sizes, n, dtype)
        w = sample_weights(np.random.PCG64(n), n, dtype)
        for reduction, power in (("sum", shift), ("mean", 0)):
            loss = net.backprop(X, y, sample_weight=w, reduction=reduction)
            grad = net.grad.copy()
            scaled = net.backprop(X, y, sample_weight=np.ldexp(w, shift), reduction=reduction)
            assert same_bits(scaled, np.ldexp(loss, power))
            assert same_bits(net.grad, np.ldexp(grad, power))


def test_weight_of_zero_leaves_a_sample_out(isa, dtype):
    """The exact gradient is that of the rest; bits differ, because blocks begin elsewhere."""
    u = float(np.finfo(dtype).epsneg)
    for sizes, n in NETWORKS[1:5]:
        net, X, y = network(sizes, n, dtype)
        w = sample_weights(np.random.PCG64(n), n, dtype)
        w[::3] = 0
        kept = w > 0
        exact, _ = oracle.error_bound(net.weights, net.biases, X[kept], y[kept],
                                      sample_weight=w[kept], u=u)
        _, bound = oracle.error_bound(net.weights, net.biases, X, y, sample_weight=w, u=u)
        loss = net.backprop(X, y, sample_weight=w)
        oracle.assert_within(loss, exact.loss, bound.loss, "loss")
        for got, x, e in zip([*net.weight_grads, *net.bias_grads], [*exact.dW, *exact.db],
                             [*bound.dW, *bound.db], strict=True):
            oracle.assert_within(got, x, e, "gradient")


def test_unit_weights_are_no_weights(isa, dtype):
    for sizes, n in NETWORKS[:6]:
        net, X, y = network(sizes, n, dtype)
        for reduction in ("sum", "mean"):
            loss = net.backprop(X, y, reduction=reduction)
            grad = net.grad.copy()
            weighted = net.backprop(X, y, reduction=reduction, sample_weight=np.ones(n))
            assert same_bits(weighted, loss)
            assert same_bits(net.grad, grad)


# ---- the record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="digests of the active variant")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--force", action="store_true", help="with the same contract version too")
    args = parser.parse_args()
    if args.print:
        print(json.dumps(all_digests()))
    if not args.record:
        return
    version = dispatch.CONTRACT_VERSION
    if RECORD.exists() and json.loads(RECORD.read_text())["contract_version"] == version:
        if not args.force:
            sys.exit(f"{RECORD.name} holds contract version {version}: bits may not change "
                     "within a version; --force records them again")
    found = []
    for isa in FMA_ISAS:
        dispatch.set_isa(isa)
        found.append(all_digests())
    if not found or any(digests != found[0] for digests in found):
        sys.exit(f"{', '.join(FMA_ISAS) or 'no variant with FMA'}: there is no one set of digests")
    record = {"contract_version": version, "digests": found[0]}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
