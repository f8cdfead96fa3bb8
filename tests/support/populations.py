"""A population beside the networks that it is made of; no test is here."""

import numpy as np

from fastbp import MLP, SGD, Adam, Population
from fastbp._kernels import dispatch

RULES = {
    "sgd": lambda k: SGD(lr=0.01 * (1 + k % 5), weight_decay=0.01),
    "momentum": lambda k: SGD(lr=0.01, momentum=0.5 + k % 4 / 10, nesterov=True),
    "adam": lambda k: Adam(lr=0.01 * (1 + k % 5), betas=(0.5 + k % 4 / 10, 0.99),
                           weight_decay=0.1 * (k % 2), eps_hat=k % 3 == 0),
    "of both kinds": lambda k: (SGD(momentum=0.9) if k % 3 else Adam()),
}


def lanes(dtype):
    """Networks that a vector of the variant in use holds, which the table does not say to Python.

    As many as the widest vector of any variant has are right for all: 64 bytes.
    """
    return {"avx512": 64, "avx2": 32}.get(dispatch.get_isa(), 16) // np.dtype(dtype).itemsize


def samples(n, features, outputs, dtype, loss="bce", n_networks=None, seed=0):
    """X and y, of all networks or of each."""
    rng = np.random.default_rng(seed)
    shape = (n,) if n_networks is None else (n_networks, n)
    X = rng.standard_normal((*shape, features)).astype(dtype)
    if loss == "softmax":
        return X, rng.integers(0, outputs, shape).astype(dtype)
    y = rng.random((*shape, outputs))
    return X, (y if loss == "squared_error" else y < 0.5).astype(dtype)


class Beside:
    """A population, and each of its networks alone, in the same state."""

    def __init__(self, n_networks, sizes, seed=3, rule="adam", **options):
        self.population = Population(n_networks, sizes, seeds=seed, **options)
        self.alone = [MLP(sizes, seed=seed + k, **options) for k in range(n_networks)]
        self.optimizers, self.alone_optimizers = ([RULES[rule](k) for k in range(n_networks)]
                                                  for _ in range(2))

    def __len__(self):
        return len(self.alone)

    def same(self, found, expected, but=()):
        """Every network's results, to the bit, NaN where it is NaN."""
        for k, one in enumerate(expected):
            if k not in but:
                np.testing.assert_array_equal(found[k], one, err_msg=f"network {k}")

    def same_state(self, but=()):
        """Parameters, gradients and states of the optimizers."""
        self.same(self.population.params, [net.params for net in self.alone], but)
        self.same(self.population.grad, [net.grad for net in self.alone], but)
        for k, (one, other) in enumerate(zip(self.optimizers, self.alone_optimizers, strict=True)):
            if k not in but:
                ours, theirs = one.state_dict(), other.state_dict()
                assert ours.keys() == theirs.keys()
                for name, value in ours.items():
                    np.testing.assert_array_equal(value, theirs[name], err_msg=f"{name} of {k}")

    def outputs(self, X, but=()):
        for method in ("forward", "logits"):
            self.same(getattr(self.population, method)(X),
                      [getattr(net, method)(part(X, k, 3)) for k, net in enumerate(self.alone)],
                      but)

    def gradients(self, X, y, w=None, l2=0.0, reduction="sum", but=()):
        """Losses alone, and with gradients."""
        given = [each(X, y, k) for k in range(len(self))]
        weights = [None if w is None else part(w, k, 2) for k in range(len(self))]
        self.same(self.population.loss_value(X, y, sample_weight=w, reduction=reduction),
                  [net.loss_value(*given[k], sample_weight=weights[k], reduction=reduction)
                   for k, net in enumerate(self.alone)], but)
        self.same(self.population.backprop(X, y, sample_weight=w, reduction=reduction, l2=l2),
                  [net.backprop(*given[k], sample_weight=weights[k], reduction=reduction,
                                l2=float(part(np.asarray(l2), k, 1)))
                   for k, net in enumerate(self.alone)], but)
        self.same_state(but)

    def epochs(self, X, y, count=2, rows=None, w=None, l2=0.0, each_rng=True, but=(), **options):
        """Shuffled ones, of some mini-batches; from one source for all, or from that of each."""
        for epoch in range(count):
            sources = [np.random.default_rng(17 * epoch + (k if each_rng else 0))
                       for k in range(len(self))]
            found = self.population.train_epoch(
                X, y, self.optimizers, rows=rows, sample_weight=w, l2=l2,
                rng=([np.random.default_rng(17 * epoch + k) for k in range(len(self))] if each_rng
                     else np.random.default_rng(17 * epoch)), **options)
            self.same(found, [
                net.train_epoch(*(taken(a, k, rows) for a in each(X, y, k)),
                                self.alone_optimizers[k], rng=sources[k],
                                sample_weight=None if w is None else taken(part(w, k, 2), k, rows),
                                l2=float(part(np.asarray(l2), k, 1)), **options)
                for k, net in enumerate(self.alone)], but)
            self.same_state(but)


def each(X, y, k):
    """Those of network k; y goes with X."""
    return (X[k], y[k]) if X.ndim == 3 else (X, y)


def part(array, k, ndim):
    """That of network k, if there is one for each: then the array has so many axes."""
    return array[k] if array.ndim == ndim else array


def taken(array, k, rows):
    return array if rows is None else array[rows[k]]
