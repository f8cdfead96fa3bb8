"""DP-SGD beside JAX and Opacus, and what a recipe of it reaches on real data.

    pip install opacus dp-accounting        # beside the extra `bench`
    python bench/privacy.py [--json results/privacy.json] [--seconds 20]

norms     of the samples' gradients: `per_sample_grad_norms`; JAX's jit(vmap(grad)); Opacus' hooks,
          which leave every gradient in .grad_sample
clipped   their clipped sum: `clipped_backprop`; the same with jit; Opacus' optimizer, and its ghost
          clipping (two backward passes, no gradient of a sample)
epoch     of mini-batches with noise: `train_epoch`; the loop over Opacus' optimizer

A figure is a ratio of medians, both sides in turns on one core in float32. Results are verified
before they are timed, in float64 and in float32: norms, sums and, without noise, the parameters
after a step. All sides are within the running error bound of the true values.

The recipe is that of Abadi et al. (2016, section 5.2) for MNIST, scaled down to scikit-learn's
digits: `docs/privacy.md` says how. The accountant is that of dp-accounting.
"""

import argparse
import json
import statistics
from importlib.metadata import version
from pathlib import Path

import numpy as np

import fastbp
from fastbp._command.bench.networks import name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp._command.problems import problem
from fastbp._twin.error_bound import clipped_sum, error_bound
from fastbp._twin.rounding import LIBRARY

NETWORKS = [((30, 64, 64, 1), 256), ((784, 256, 128, 1), 128)]
OPACUS_ADDS = 1e-6      # to a norm that it divides by
EPOCH_SAMPLES, VERIFIED_STEPS, LR = 4096, 3, 0.1
DELTA, LOT, EPOCHS, MAX_NORM, RATE, HIDDEN, SEEDS = 1e-5, 359, 40, 4.0, 0.25, 64, 10


# ---- peers


def jax_calls(net, X, y, limit):
    """(norms, clipped sum) as flat vectors; each waits for its result."""
    import jax
    import jax.numpy as jnp

    params = [(jnp.array(W), jnp.array(b)) for W, b in zip(net.weights, net.biases, strict=True)]
    X, y = jnp.array(X), jnp.array(y)

    def loss(params, x, t):
        for W, b in params[:-1]:
            x = jax.nn.sigmoid(x @ W + b)
        z = x @ params[-1][0] + params[-1][1]
        return jnp.sum(jnp.maximum(z, 0) - t * z + jnp.log1p(jnp.exp(-jnp.abs(z))))

    each = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))

    def norms_of(grads):
        return jnp.sqrt(sum(jnp.sum(g.reshape(len(X), -1) ** 2, axis=1)
                            for g in jax.tree.leaves(grads)))

    @jax.jit
    def norms(params, X, y):
        return norms_of(each(params, X, y))

    @jax.jit
    def clipped(params, X, y):
        grads = each(params, X, y)
        factors = jnp.minimum(1, limit / norms_of(grads))
        return jax.tree.map(lambda g: jnp.tensordot(factors, g, 1), grads)

    return (lambda: norms(params, X, y).block_until_ready(),
            lambda: jax.block_until_ready(clipped(params, X, y)),
            lambda found: np.concatenate([np.ravel(g) for pair in found for g in pair]))


def torch_module(net):
    import torch
    from torch import nn

    children = []
    for W, b in zip(net.weights, net.biases, strict=True):
        linear = nn.Linear(*W.shape)
        linear.weight.data = torch.tensor(W.T.copy())
        linear.bias.data = torch.tensor(b)
        children += [linear, nn.Sigmoid()]
    return nn.Sequential(*children[:-1])


def flat(grads):
    """W_1, b_1, ... of PyTorch's (fan_out, fan_in) in the order of `MLP.grad`."""
    return np.concatenate([g.detach().numpy().T.ravel() for g in grads])


class Opacus:
    """A module with hooks, and the optimizer that clips, adds noise and steps."""

    def __init__(self, net, limit, noise=0.0, batch=1, lr=LR):
        import torch
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        self.module = GradSampleModule(torch_module(net), loss_reduction="sum")
        self.params = list(self.module.parameters())
        self.loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
        self.optimizer = DPOptimizer(
            torch.optim.SGD(self.params, lr=lr), noise_multiplier=noise, max_grad_norm=limit,
            expected_batch_size=batch, loss_reduction="mean")

    def gradients(self, X, y):
        self.optimizer.zero_grad()
        self.loss(self.module(X), y).backward()

    def norms(self, X, y):
        self.gradients(X, y)
        return sum(p.grad_sample.flatten(1).square().sum(1) for p in self.params).sqrt()

    def clipped(self, X, y):
        self.gradients(X, y)
        self.optimizer.clip_and_accumulate()
        return [p.summed_grad for p in self.params]

    def epoch(self, X, y, batches):
        for rows in batches:
            self.gradients(X[rows], y[rows])
            self.optimizer.step()


def ghost(net, X, y, limit):
    """Opacus' clipping without gradients of samples; the sum, by its own loss."""
    import torch
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    module = GradSampleModuleFastGradientClipping(
        torch_module(net), max_grad_norm=limit, use_ghost_clipping=True, loss_reduction="mean")
    params = list(module.parameters())
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(params, lr=0.1), noise_multiplier=0.0, max_grad_norm=limit,
        expected_batch_size=len(X), loss_reduction="mean")
    loss = DPLossFastGradientClipping(module, optimizer, torch.nn.BCEWithLogitsLoss(
        reduction="mean"), loss_reduction="mean")

    def call():
        optimizer.zero_grad()
        loss(module(X)[:, 0], y[:, 0]).backward()       # one loss for each sample
        return [p.grad for p in params]
    return call


# ---- verified, then timed


def bounds(net, X, y, limit, added=0.0):
    """Bounds of norms and clipped sum that a library computes from its gradients of samples.

    A norm is the root of a sum of all squares, in any order, each of them rounded. What a library
    has added to it in a factor, limit / (norm + added), lowers that by at most added / limit.
    """
    u = np.finfo(net.dtype).eps / 2
    samples = (error_bound(net.weights, net.biases, X[i:i + 1], y[i:i + 1], LIBRARY)
               for i in range(len(X)))
    return clipped_sum(samples, len(X), limit, (net.n_params / 2 + 2) * u + added / limit, u)


def near(found, other, bound):
    """Both are within the bound of the true value: twice the bound is between them."""
    assert (np.abs(np.float64(found) - np.float64(other)) <= 2 * np.asarray(bound)).all()


def medians(calls, seconds):
    return list(map(statistics.median, interleave(calls, seconds)))


def verified_sides(sizes, batch, dtype):
    """The network, its batch, the limit of norms, and the calls of the others, all compared."""
    import torch

    net, X, y = problem(sizes, batch, dtype, 0)
    limit = float(np.median(net.per_sample_grad_norms(X, y)))
    _, norms = net.clipped_backprop(X, y, limit)
    total, tensors = net.grad.copy(), (torch.tensor(X), torch.tensor(y))
    jax_norms, jax_clipped, jax_flat = jax_calls(net, X, y, limit)
    opacus = Opacus(net, limit)
    ghost_clipped = ghost(net, *tensors, limit)
    bound, wider = bounds(net, X, y, limit), bounds(net, X, y, limit, OPACUS_ADDS)
    near(np.asarray(jax_norms()), norms, bound.off_norms)
    near(jax_flat(jax_clipped()), total, bound.off_total)
    near(opacus.norms(*tensors).detach().numpy(), norms, bound.off_norms)
    near(flat(opacus.clipped(*tensors)), total, wider.off_total)
    near(flat(ghost_clipped()), total, wider.off_total)
    return net, X, y, limit, (jax_norms, lambda: opacus.norms(*tensors), jax_clipped,
                              lambda: opacus.clipped(*tensors), ghost_clipped)


def of_gradients(sizes, batch, seconds):
    import jax

    with jax.enable_x64(True):
        verified_sides(sizes, batch, "float64")
    net, X, y, limit, calls = verified_sides(sizes, batch, "float32")
    out = np.empty(batch, "float32")
    own, clip, *others = medians([
        lambda: net.per_sample_grad_norms(X, y, out=out), lambda: net.clipped_backprop(X, y, limit),
        *calls], seconds)
    network = f"{name(sizes)} ({batch})"
    yield {"of one batch": "norms", "network": network, "us": 1e6 * own,
           "/ JAX": others[0] / own, "/ Opacus": others[1] / own, "/ Opacus ghost": "-"}
    yield {"of one batch": "clipped sum", "network": network, "us": 1e6 * clip,
           "/ JAX": others[2] / clip, "/ Opacus": others[3] / clip,
           "/ Opacus ghost": others[4] / clip}


def verify_steps(sizes, batch, dtype):
    """The first steps of an epoch without noise, each from the same parameters on both sides.

    Beside the sum, the quotient by the expected size, its product with lr and their difference
    round. The epoch of all these steps has the bits of one call for each.
    """
    import torch

    net, X, y = problem(sizes, EPOCH_SAMPLES, dtype, 0)
    u = np.finfo(dtype).eps / 2
    limit = float(np.median(net.per_sample_grad_norms(X, y)))
    order = fastbp.poisson_order(len(X), batch / len(X), VERIFIED_STEPS, 1)
    start, sgd = net.params.copy(), fastbp.SGD(LR)
    given = {"batch_size": batch, "max_grad_norm": limit}
    for rows in order:
        before, opacus = net.params.copy(), Opacus(net, limit, 0.0, batch)
        bound = bounds(net, X[rows], y[rows], limit, OPACUS_ADDS)
        opacus.epoch(torch.tensor(X), torch.tensor(y), [rows])
        net.train_epoch(X, y, sgd, order=[rows], **given)
        step = LR / batch * (np.abs(bound.total) + bound.off_total)
        near(flat(opacus.params), net.params, LR / batch * bound.off_total + 3 * u * step
             + u * (np.abs(before) + step))
        assert not np.array_equal(net.params, before)
    after, net.params[:] = net.params.copy(), start
    net.train_epoch(X, y, sgd, order=order, **given)
    assert np.array_equal(net.params, after)


def of_an_epoch(sizes, batch, seconds):
    import torch

    for dtype in ("float64", "float32"):
        verify_steps(sizes, batch, dtype)
    net, X, y = problem(sizes, EPOCH_SAMPLES, "float32", 0)
    limit = float(np.median(net.per_sample_grad_norms(X, y)))
    tensors = torch.tensor(X), torch.tensor(y)
    order = fastbp.poisson_order(len(X), batch / len(X), len(X) // batch, 1)
    sgd, given = fastbp.SGD(LR), {"batch_size": batch, "order": order, "max_grad_norm": limit}
    opacus, rng = Opacus(net, limit, 1.0, batch), np.random.default_rng(2)
    own, other = medians([
        lambda: net.train_epoch(X, y, sgd, rng=rng, noise_multiplier=1.0, **given),
        lambda: opacus.epoch(*tensors, order)], seconds)
    return {"network": name(sizes), "expected batch": batch, "steps": len(order),
            "us a step": 1e6 * own / len(order), "/ Opacus": other / own}


# ---- the recipe


def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    held_out = np.random.default_rng(0).permutation(len(X)) < 360
    X = (X / 16).astype("float32")
    return X[~held_out], y[~held_out], X[held_out], y[held_out]


def epsilon(rate, noise_multiplier, steps):
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, pld

    step = PoissonSampledDpEvent(rate, GaussianDpEvent(noise_multiplier))
    accountant = pld.PLDAccountant().compose(SelfComposedDpEvent(step, steps))
    return accountant.get_epsilon(DELTA)


def accuracies(noise_multiplier):
    """The accuracy on the samples held out, for each seed; a multiplier of None does not clip."""
    X, y, X_test, y_test = digits()
    n, steps = len(X), EPOCHS * len(digits()[0]) // LOT
    for seed in range(SEEDS):
        net = fastbp.MLP([64, HIDDEN, 10], activation="relu", loss="softmax", seed=seed)
        rng = np.random.default_rng(seed)
        private = {} if noise_multiplier is None else {
            "max_grad_norm": MAX_NORM, "noise_multiplier": noise_multiplier}
        net.train_epoch(X, y, fastbp.SGD(RATE), batch_size=LOT, rng=rng, **private,
                        order=fastbp.poisson_order(n, LOT / n, steps, rng))
        yield float((net.forward(X_test).argmax(axis=1) == y_test).mean())


def recipe():
    n = len(digits()[0])
    for noise_multiplier in (8.0, 4.0, 2.0, None):
        found = list(accuracies(noise_multiplier))
        spent = ("-" if noise_multiplier is None else
                 f"{epsilon(LOT / n, noise_multiplier, EPOCHS * n // LOT):.2f}")
        yield {"noise multiplier": "none" if noise_multiplier is None else f"{noise_multiplier:g}",
               f"epsilon at delta {DELTA:g}": spent,
               "held-out accuracy": f"{statistics.mean(found):.3f}",
               "worst and best seed": f"{min(found):.3f}, {max(found):.3f}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=20, help="to time each network")
    given = parser.parse_args()
    tables = {"recipe": list(recipe()), "batch": [], "epoch": []}
    print(*tables["recipe"], sep="\n", flush=True)
    with one_core():
        for sizes, batch in NETWORKS:
            tables["batch"] += of_gradients(sizes, batch, given.seconds)
            print(*tables["batch"][-2:], sep="\n", flush=True)
        for sizes, batch in NETWORKS:
            tables["epoch"].append(of_an_epoch(sizes, batch, given.seconds))
            print(tables["epoch"][-1], flush=True)
    facts = machine()
    facts["versions"] |= {each: version(each) for each in ("opacus", "dp-accounting")}
    if given.json:
        given.json.write_text(json.dumps({"machine": facts, "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
