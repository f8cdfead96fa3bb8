"""What a step and a forward pass of many networks cost, beside one by one, JAX and PyTorch.

    python bench/population.py [--json results/population.json]

32 networks of each shape train with Adam for an epoch of 1280 rows, in an order of each network's
own and in one order for all: `Population.train_epoch`, a loop over `MLP.train_epoch`, and, where
JAX is installed, `vmap` of an epoch that is one scan. Then 10 000 networks answer one row, beside
a loop over `MLP.forward`, and `torch.func.vmap` where PyTorch is installed. All sides take turns
on one core; a figure is a median, for one network. Before that every network has the bits of its
`MLP` after an epoch, and JAX's parameters and PyTorch's outputs differ by what rounding explains.
"""

import argparse
import json
import statistics
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import fastbp
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.epochs import jax_epoch, jax_state
from fastbp._command.bench.gradients import jax_for
from fastbp._command.bench.networks import EPOCH_LR, EPOCH_ROWS, name
from fastbp._command.bench.timing import interleave, one_core
from fastbp._command.bench.verify import EPS, LR, WHOLE_BATCHES, reference_epoch
from fastbp._command.machine import machine
from fastbp._command.problems import problem

SECONDS = 3.0               # to time each shape
N_NETWORKS = 32
NETWORKS = [((2, 8, 8, 1), 1), ((2, 8, 8, 1), 32), ((4, 16, 1), 32), ((10, 32, 32, 1), 64),
            ((30, 64, 64, 1), 32)]
FIRST = [0, 2]              # of them in the table that the page opens with
MANY, ANSWERING = 10_000, (4, 16, 2)


# ---- epochs


def ways(sizes, dtype, X, y, batch, one_order):
    """A population, the networks that it has, and a call for an epoch of each of both."""
    population = fastbp.Population(N_NETWORKS, sizes, dtype=dtype, seeds=0, n_threads=1)
    networks = [fastbp.MLP(sizes, dtype=dtype, seed=k, n_threads=1) for k in range(N_NETWORKS)]
    together, alone = ([fastbp.Adam(EPOCH_LR) for _ in networks] for _ in range(2))
    seeds = [0] * N_NETWORKS if one_order else range(N_NETWORKS)
    rngs, own = ([np.random.default_rng(seed) for seed in seeds] for _ in range(2))

    def epoch():
        return population.train_epoch(X, y, together, batch_size=batch,
                                      rng=rngs[0] if one_order else rngs)

    def one_by_one():
        return [net.train_epoch(X, y, optimizer, batch_size=batch, rng=rng)
                for net, optimizer, rng in zip(networks, alone, own, strict=True)]

    return population, networks, epoch, one_by_one


def jax_population(sizes, dtype, X, y, batch, one_order=False, **options):
    """A call for an epoch by JAX, and one for the parameters, a row for each network."""
    jax, jnp = jax_for(dtype)
    population = fastbp.Population(N_NETWORKS, sizes, dtype=dtype, seeds=0)
    X, y, key = jnp.array(X), jnp.array(y), jax.random.key(0)
    key, axis = (key, None) if one_order else (jax.random.split(key, N_NETWORKS), 0)
    epoch = jax.jit(jax.vmap(jax_epoch(jax, jnp, population.member(0), len(X), batch, **options),
                             in_axes=(0, axis, None, None), out_axes=(0, axis)))
    held = [(jax_state(jnp, population, [0.0] * N_NETWORKS), key)]

    def call():
        held[0] = jax.block_until_ready(epoch(*held[0], X, y))

    return call, lambda: np.concatenate([np.reshape(a, (N_NETWORKS, -1)) for a in held[0][0][0]],
                                        axis=1)


def verify(sizes, batch, dtype):
    """JAX's parameters after a few steps in order, to what `reference_epoch` allows of each."""
    net, X, y = problem(sizes, WHOLE_BATCHES * batch + batch // 2, dtype)
    call, params = jax_population(sizes, dtype, X, y, batch, shuffle=False, lr=LR, eps=EPS)
    call()
    for k, theirs in enumerate(params()):
        net.params = fastbp.MLP(sizes, dtype=dtype, seed=k).params
        expected, tolerance = reference_epoch(net, X, y, batch, False)
        assert (np.abs(theirs - expected) <= tolerance).all()


def epochs(sizes, batch, dtype):
    """A row of the table: of one step, for one network."""
    _, X, y = problem(sizes, EPOCH_ROWS, dtype)
    calls, steps = [], -(-EPOCH_ROWS // batch)
    for one_order in (False, True):
        population, networks, epoch, one_by_one = ways(sizes, dtype, X, y, batch, one_order)
        assert (epoch() == one_by_one()).all()
        assert all((row == net.params).all()
                   for row, net in zip(population.params, networks, strict=True))
        calls += [epoch, one_by_one]
    if find_spec("jax") is not None:
        verify(sizes, batch, dtype)
        for one_order in (False, True):
            call, _ = jax_population(sizes, dtype, X, y, batch, one_order)
            call()
            calls.append(call)
    own, alone, one, alone_in_one, *jax = map(statistics.median, interleave(calls, SECONDS))
    row = {"network": f"{name(sizes)} ({batch})", "own order us": 1e6 * own / steps / N_NETWORKS,
           "/ one by one": alone / own}
    row |= {"/ JAX": jax[0] / own} if jax else {}
    row |= {"one order us": 1e6 * one / steps / N_NETWORKS, "/ one by one, so": alone_in_one / one}
    return row | ({"/ JAX, so": jax[1] / one} if jax else {})


# ---- a forward pass


def torch_outputs(population, x):
    """A call for the outputs of all networks by PyTorch."""
    import torch
    from torch.nn.functional import linear

    torch.set_num_threads(1)
    stacked = [torch.tensor(np.ascontiguousarray(np.swapaxes(a, 1, -1)))
               for layer in zip(population.weights, population.biases, strict=True) for a in layer]
    x = torch.tensor(x)

    def one(W_1, b_1, W_2, b_2):
        return linear(torch.tanh(linear(x, W_1, b_1)), W_2, b_2)

    every = torch.func.vmap(one)

    def call():
        with torch.inference_mode():
            return every(*stacked).numpy()

    return call


def forward(dtype):
    """A row of the table: one row of X through one network."""
    population = fastbp.Population(MANY, ANSWERING, activation="tanh", loss="squared_error",
                                   dtype=dtype, seeds=0, n_threads=1)
    networks = [population.member(k) for k in range(MANY)]
    x = problem(ANSWERING, 1, dtype)[1]
    out = population.forward(x)
    assert all((net.forward(x) == own).all() for net, own in zip(networks, out, strict=True))
    calls = [lambda: population.forward(x, out), lambda: [net.forward(x) for net in networks]]
    if find_spec("torch") is not None:
        calls.append(torch_outputs(population, x))
        # z is a sum of 4 or 16 products and a bias; |W| <= 1/2 and 1/4, so |z| < 3 and 5
        assert np.abs(calls[-1]() - out).max() <= 2 * 32 * np.finfo(dtype).eps * 5
    ours, alone, *torch = map(statistics.median, interleave(calls, SECONDS))
    row = {"dtype": dtype, "us": 1e6 * ours / MANY, "/ one by one": alone / ours}
    return row | ({"/ PyTorch": torch[0] / ours} if torch else {})


def opening(rows, answer):
    """The table that the page opens with."""
    table = [{"for each network": f"a step of Adam, {N_NETWORKS} networks {row['network']}",
              "us": row["own order us"], "/ one by one": row["/ one by one"],
              "/ vmap": row.get("/ JAX", "")} for row in (rows[i] for i in FIRST)]
    return [*table, {"for each network": f"outputs of one row, {MANY:,} networks {name(ANSWERING)}",
                     "us": answer["us"], "/ one by one": answer["/ one by one"],
                     "/ vmap": answer.get("/ PyTorch", "")}]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    tables = {"float32": [], "float64": [], "forward": []}
    with one_core():
        start_again()
        for dtype in ("float32", "float64"):
            for sizes, batch in NETWORKS:
                tables[dtype].append(epochs(sizes, batch, dtype))
                print(dtype, tables[dtype][-1], flush=True)
            tables["forward"].append(forward(dtype))
            print(tables["forward"][-1], flush=True)
        document = {"machine": machine(), "tables": {
            "opening": opening(tables["float32"], tables["forward"][0]), **tables}}
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
