"""What products of the Hessian and of its Gauss-Newton part cost, in gradients, and beside JAX.

    python bench/second_order.py [--json results/second-order.json]

A figure is the median time of a call over that of `backprop` on the same batch, in turns on one
core; "at a point" are those of `MLP.linearize`, which has run before. JAX's is the time of the
compiled derivative of its gradient along a direction, over those of fastbp. Results are verified
first: at a point they have the bits of the network's own, which are near JAX's.
"""

import argparse
import json
import statistics
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fastbp._command.bench.environment import start_again
from fastbp._command.bench.gradients import jax_for, jax_loss, jax_params
from fastbp._command.bench.networks import name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.machine import machine
from fastbp._command.problems import problem

SECONDS = 3.0               # to time each network
NETWORKS = [((2, 8, 8, 1), 1), ((10, 32, 32, 1), 64), ((30, 64, 64, 1), 256),
            ((784, 256, 128, 1), 128), ((784, 512, 512, 1), 256)]
NEAR = 1000                 # roundings of the largest element, more than these networks' sums have


def by_jax(net, X, y, v):
    """A call that computes JAX's product, and the product as one vector."""
    jax, jnp = jax_for(X.dtype)
    gradient = jax.grad(jax_loss(jax, jnp, net, jnp.sum))
    product = jax.jit(lambda params, v, X, y: jax.jvp(
        lambda params: gradient(params, X, y), (params,), (v,))[1])
    ends = np.cumsum([a.size for layer in zip(net.weights, net.biases, strict=True)
                      for a in layer])[:-1]
    params, given = jax_params(jnp, net), [jnp.array(X), jnp.array(y.reshape(len(X), -1))]
    along = [jnp.array(part.reshape(a.shape)) for part, a in
             zip(np.split(v, ends), params, strict=True)]

    def call():
        return jax.block_until_ready(product(params, along, *given))

    return call, np.concatenate([np.ravel(a) for a in call()])


def costs(net, X, y):
    """{heading: gradients}, the microseconds of one, and JAX's time over fastbp's."""
    v = np.random.default_rng(0).standard_normal(net.n_params).astype(net.dtype)
    point, out = net.linearize(X, y), np.empty_like(v)
    for product in ("hvp", "gnvp"):
        assert (getattr(point, product)(v) == getattr(net, product)(X, y, v)).all()
    calls = {"hvp": lambda: net.hvp(X, y, v, out=out),
             "hvp at a point": lambda: point.hvp(v, out=out),
             "gnvp": lambda: net.gnvp(X, y, v, out=out),
             "gnvp at a point": lambda: point.gnvp(v, out=out),
             "linearize": lambda: net.linearize(X, y)}
    if find_spec("jax") is not None:
        calls["JAX"], theirs = by_jax(net, X, y, v)
        ours = net.hvp(X, y, v)
        assert np.abs(ours - theirs).max() <= NEAR * np.finfo(net.dtype).eps * np.abs(ours).max()
    gradient, *times = map(statistics.median, interleave(
        [lambda: net.backprop(X, y), *calls.values()], SECONDS))
    row = {"gradient us": 1e6 * gradient,
           **{heading: time / gradient for heading, time in zip(calls, times, strict=True)}}
    if "JAX" in row:
        theirs = row.pop("JAX")
        row |= {"/ JAX's hvp": theirs / row["hvp"],
                "/ JAX's hvp, at a point": theirs / row["hvp at a point"]}
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    tables = {"float32": [], "float64": []}
    with one_core():
        start_again()
        for dtype, rows in tables.items():
            for sizes, batch in NETWORKS:
                net, X, y = problem(sizes, batch, dtype, 0)
                rows.append({"network": f"{name(sizes)} ({batch})", **costs(net, X, y)})
                print(dtype, rows[-1], flush=True)
        document = {"machine": machine(), "tables": tables}
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
