"""The digests that every variant with FMA must give: what is in them, how they are recorded.

    python tests/support/record.py --print      # the digests of the active variant
    python tests/support/record.py --record     # write what is new, and those of `fastbp check`

Bits may not change within a version of the contract: what is on record stays. Results that are new
go to digests-to-confirm.json; every test holds to them as to the others, and tools/bits.py moves
them to digests.json when other compilers and ARM have found them too. The inputs are those of
bits.py; no test is here.
"""

import argparse
import json
import sys

import numpy as np
import pytest
from bits import (
    EVERY_KIND,
    KINDS,
    NETWORKS,
    digest,
    name_of,
    network,
    network_of,
    sample_weights,
    vectors,
)
from places import TESTS

import fastbp
from fastbp._command import check, digests
from fastbp._kernels import dispatch

RECORD, TO_CONFIRM = TESTS / "digests.json", TESTS / "digests-to-confirm.json"
FMA_ISAS = [isa for isa in fastbp.available_isas() if isa != "generic"]
needs_fma = pytest.mark.parametrize("isa", FMA_ISAS, indirect=True)


def recorded():
    """{"2-8-8-1 x 7 float32": {"gradient": …}, …}, of this version of the contract."""
    records = [json.loads(path.read_text()) for path in (RECORD, TO_CONFIRM) if path.exists()]
    assert all(record["contract_version"] == dispatch.CONTRACT_VERSION for record in records)
    return {name: found for record in records for name, found in record["digests"].items()}


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


def digests_beyond(kind, sizes, n, dtype):
    """What is not the gradient of a sum: products, single samples, derivatives by the input."""
    net, X, y = network_of(*kind, sizes, n, dtype)
    w, v = sample_weights(np.random.PCG64(n), n, dtype), net.params[::-1].copy()
    options = {"sample_weight": w, "reduction": "mean", "l2": 0.125}
    norms = net.per_sample_grad_norms(X, y, sample_weight=w)
    loss, _ = net.clipped_backprop(X, y, float(norms[0]), sample_weight=w, reduction="mean")
    clipped = net.grad.copy()
    net.clipped_backprop(X, y, 0.5, noise_multiplier=1.25, rng=np.random.PCG64(7))
    few = slice(0, 24)
    return {"loss": loss.hex(), "products": digest(net.hvp(X, y, v, **options), net.gnvp(X, y, v)),
            "norms": digest(norms), "clipped": digest(clipped), "noisy": digest(net.grad),
            "each": digest(net.per_sample_grads(X[few], y[few])),
            "input": digest(net.input_grad(X, y, sample_weight=w)),
            "jacobian": digest(net.jacobian(X[few]),
                               net.jacobian(X[few], of="logits", wrt="input"))}


def private_digests(dtype):
    """Ten epochs of DP-SGD, their steps drawn by Poisson sampling."""
    net, X, y = network((6, 19, 9, 1), 333, dtype)
    opt, rng = fastbp.Adam(2.0**-6), np.random.PCG64(5)
    losses = [net.train_epoch(X, y, opt, batch_size=48, rng=rng, max_grad_norm=0.5,
                              noise_multiplier=0.75,
                              order=fastbp.poisson_order(333, 48 / 333, 7, rng))
              for _ in range(10)]
    return {"params": digest(net.params, *vectors(opt)), "loss": losses[-1].hex()}


def limited_digests(dtype):
    """Ten epochs of mini-batches whose gradients are clipped to a norm, of 2 blocks and a part."""
    net, X, y = network((6, 40, 9, 1), 333, dtype)
    opt, rng = fastbp.Adam(2.0**-6), np.random.PCG64(5)
    losses = [net.train_epoch(X, y, opt, batch_size=48, rng=rng, l2=2.0**-8, max_norm=2.0**-5)
              for _ in range(10)]
    return {"params": digest(net.params, *vectors(opt)), "gradient": digest(net.grad),
            "loss": losses[-1].hex()}


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
    for dtype in ("float32", "float64"):
        for sizes, n in NETWORKS:
            name = f"beyond {'-'.join(map(str, sizes))} x {n} {dtype}"
            found[name] = digests_beyond(EVERY_KIND[0], sizes, n, dtype)
        for kind in EVERY_KIND[1:]:
            found[f"beyond {name_of(kind)} {dtype}"] = digests_beyond(kind, (17, 33, 16, 5), 300,
                                                                      dtype)
        found[f"10 private epochs {dtype}"] = private_digests(dtype)
        found[f"10 epochs of a limited norm {dtype}"] = limited_digests(dtype)
    return found


def write(path, version, found):
    record = {"contract_version": version, "digests": found}
    path.write_text(json.dumps(record, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="digests of the active variant")
    parser.add_argument("--record", action="store_true",
                        help=f"write {TO_CONFIRM.name} and {digests.RECORD.name}")
    parser.add_argument("--force", action="store_true", help="with the same contract version too")
    args = parser.parse_args()
    if args.print:
        print(json.dumps(all_digests()))
    if not args.record:
        return
    version = dispatch.CONTRACT_VERSION
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {"contract_version": 0}
    found = []
    for isa in FMA_ISAS:
        dispatch.set_isa(isa)
        found.append(all_digests())
    if not found or any(digests != found[0] for digests in found):
        sys.exit(f"{', '.join(FMA_ISAS) or 'no variant with FMA'}: there is no one set of digests")
    if before["contract_version"] == version and not args.force:
        changed = [name for name, each in before["digests"].items() if found[0].get(name) != each]
        if changed:
            sys.exit(f"{RECORD.name} holds contract version {version}: bits may not change within "
                     f"a version, as {', '.join(changed)} did; --force records them again")
    kept = {} if args.force else before.get("digests", {})
    new = {name: each for name, each in found[0].items() if name not in kept}
    write(TO_CONFIRM if kept else RECORD, version, new)
    if not kept:
        TO_CONFIRM.unlink(missing_ok=True)
    digests.record(check.NETWORKS)


if __name__ == "__main__":
    main()
