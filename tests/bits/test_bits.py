"""Promise: the same bits, levels L0 to L3 of the numerics contract N1 to N6, and L4 where they run.

L0 run to run, process to process, and for each Python that .ci/run has; L1 any number of threads;
L2 a sample's h and δ whatever else is in the batch; L3 every instruction set with FMA, compiler and
optimisation level (tools/bits.py builds with others); L4 ARM. They must all give the digests in
digests.json, recorded once per version of the contract by `python tests/bits/test_bits.py
--record`, which also writes those of `fastbp check`.
`generic` is outside L3 and held to everything else.

The inputs are those of bits.py. Every activation and loss: test_losses.py; other ways to
call the same computation: api/test_calls.py; the caller's rounding: test_n5_float_mode.py.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from bits import (
    KINDS,
    NETWORKS,
    THREADS,
    digest,
    moved,
    name_of,
    network,
    network_of,
    numbers,
    same_bits,
    sample_weights,
    vectors,
)
from places import PYTHONPATH, TESTS

import fastbp
from fastbp import _random
from fastbp._command import check, digests
from fastbp._kernels import dispatch

RECORD = TESTS / "digests.json"
FMA_ISAS = [isa for isa in fastbp.available_isas() if isa != "generic"]


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
            "outputs": digest(z, net.forward(X), h), "bound": digest(net.error_bound(X, y))}


def digests_of_kind(kind, dtype):
    """17-33-16-5: outputs, and the gradient of the sum and of a weighted mean; its bound."""
    net, X, y = network_of(*kind, (17, 33, 16, 5), 300, dtype)
    w = sample_weights(np.random.PCG64(300), 300, dtype)
    loss, grad = net.backprop(X, y), net.grad.copy()
    options = {"sample_weight": w, "reduction": "mean", "l2": 0.125}
    mean = net.backprop(X, y, **options)
    return {"loss": loss.hex(), "mean": mean.hex(), "gradient": digest(grad, net.grad),
            "outputs": digest(net.logits(X), net.forward(X)),
            "bound": digest(net.error_bound(X, y, **options))}


def training_digests(dtype, n_threads=None):
    """Ten epochs of Adam, and of its other form and SGD with everything on."""
    out = {}
    for name, opt, l2 in (
            ("adam", fastbp.Adam(2.0**-6), 0.0),
            ("adamw", fastbp.Adam(2.0**-6, (0.75, 0.875), 2.0**-20, 2.0**-6, eps_hat=True), 0.0),
            ("sgd", fastbp.SGD(2.0**-4, 0.75, True, 2.0**-10), 2.0**-8)):
        net, X, y = network((6, 19, 9, 1), 333, dtype)
        net.n_threads, rng = n_threads, np.random.PCG64(5)
        losses = [net.train_epoch(X, y, opt, batch_size=48, rng=rng, l2=l2) for _ in range(10)]
        out[name] = digest(net.params, *vectors(opt))
        out[f"{name} loss"] = losses[-1].hex()
    return out


def all_digests():
    """Digests of the active variant: {"2-8-8-1 x 7 float32": {"gradient": …}, …}."""
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
    env = {**os.environ, "FASTBP_ISA": isa, "PYTHONPATH": PYTHONPATH}
    run = subprocess.run([sys.executable, __file__, "--print"], env=env, text=True, check=True,
                         capture_output=True, cwd=TESTS)
    assert json.loads(run.stdout) == all_digests()


# ---- L0, L1: repeated runs, memory that lies elsewhere, threads


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
        for threads in THREADS:
            fastbp.set_num_threads(threads)
            other = fastbp.MLP(sizes, dtype=dtype, seed=0, n_threads=threads)
            other.params[:] = net.params
            other.backprop(X, y)
            assert same_bits(other.grad, net.grad)
            assert same_bits(other.forward(X), net.forward(X))
    finally:
        fastbp.set_num_threads(None)


@pytest.mark.parametrize("isa", FMA_ISAS, indirect=True)
def test_training_with_threads(isa, dtype):
    """Ten epochs each, to the recorded digests."""
    recorded = json.loads(RECORD.read_text())["digests"][f"10 epochs {dtype}"]
    for threads in THREADS:
        assert training_digests(dtype, threads) == recorded, threads


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


# ---- the record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="digests of the active variant")
    parser.add_argument("--record", action="store_true",
                        help=f"write {RECORD.name} and {digests.RECORD.name}")
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
    digests.record(check.NETWORKS)


if __name__ == "__main__":
    main()
