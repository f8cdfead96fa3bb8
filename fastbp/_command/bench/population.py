"""Many networks at once, beside one by one and beside vmap: `--suite population`, `--population`.

    measure_population          epochs with Adam, by the number of networks too; outputs of one row
    measure_population_threads  epochs on 1, 2, 4, ... threads

One by one is a loop over `MLP`. Before anything is timed, every network has the bits of its `MLP`,
on any number of threads, and what JAX and PyTorch compute differs by what rounding explains.
"""

from functools import partial
from importlib.util import find_spec

import numpy as np

import fastbp
from fastbp._command.bench import networks, vmap
from fastbp._command.bench.networks import EPOCH_LR, EPOCH_ROWS
from fastbp._command.bench.timing import numbers_of_threads, summaries, undisturbed
from fastbp._command.bench.verify import EPS, LR, WHOLE_BATCHES, Deviation, reference_epoch
from fastbp._command.machine import machine
from fastbp._command.problems import problem

OWN, ALONE, JAX, TORCH = "fastbp", "one by one", "JAX", "PyTorch"
N_NETWORKS = 32             # that train at once, where their number is not what varies
GROWING, GROWING_ROWS = ((4, 16, 1), 32), 320
GROWTH = (1, 3, 10, 32, 100, 320, 1000, 3200, 10_000)
ANSWERING, N_ANSWERING = (4, 16, 2), 10_000


def measure_population(networks, dtypes, seconds, growth=GROWTH, n_answering=N_ANSWERING):
    """Yield the machine, then one dict for each measurement.

    Epochs of each of `networks` and `dtypes`, in an order of each and in one order for all; the
    outputs of `n_answering` networks in each dtype; in the first one the epochs of as many networks
    as `growth` has numbers. Each is timed for `seconds`. Raises `Deviation` where a network has
    other bits than alone, or a peer computes something else.
    """
    yield machine()
    for dtype in dtypes:
        for sizes, batch in networks:
            verify_jax(tuple(sizes), batch, dtype)
            for one_order in (False, True):
                yield time_epochs("population", tuple(sizes), batch, dtype, seconds,
                                  one_order=one_order)
    for dtype in dtypes:
        yield time_outputs(dtype, seconds, n_answering)
    for n_networks in growth:
        yield time_epochs("growth", *GROWING, dtypes[0], seconds, n_networks, GROWING_ROWS)


def measure_population_threads(networks, dtypes, seconds):
    """Yield the machine, then one dict for each network and dtype.

    Raises as `measure_population`.
    """
    yield machine()
    for dtype in dtypes:
        for sizes, batch in networks:
            yield time_threads(tuple(sizes), batch, dtype, seconds)


# ---- what is timed


def population_and_alone(n_networks, sizes, dtype):
    """A population, and its networks as an `MLP` each."""
    population = fastbp.Population(n_networks, sizes, dtype=dtype, seeds=0, n_threads=1)
    return population, [fastbp.MLP(sizes, dtype=dtype, seed=k, n_threads=1)
                        for k in range(n_networks)]


def orders(n_networks, one_order=False):
    """A generator for each network; of one order for all, generators that are alike."""
    return [np.random.default_rng(0 if one_order else k) for k in range(n_networks)]


def epoch_at_once(population, X, y, batch, one_order=False):
    """A call for an epoch of all networks; it gives their losses."""
    optimizer, rng = fastbp.Adam(EPOCH_LR), orders(len(population), one_order)
    return partial(population.train_epoch, X, y, optimizer, batch_size=batch,
                   rng=rng[0] if one_order else rng)


def epoch_one_by_one(alone, X, y, batch, one_order=False):
    """The same of networks that are by themselves."""
    epochs = [partial(net.train_epoch, X, y, fastbp.Adam(EPOCH_LR), batch_size=batch, rng=rng)
              for net, rng in zip(alone, orders(len(alone), one_order), strict=True)]
    return lambda: [epoch() for epoch in epochs]


def time_epochs(kind, sizes, batch, dtype, seconds, n_networks=N_NETWORKS, n_rows=EPOCH_ROWS,
                one_order=False):
    """Verify and time an epoch of many networks; µs per network and step, a dict for JSON."""
    _, X, y = problem(sizes, n_rows, dtype)
    population, alone = population_and_alone(n_networks, sizes, dtype)
    calls = {OWN: epoch_at_once(population, X, y, batch, one_order),
             ALONE: epoch_one_by_one(alone, X, y, batch, one_order)}
    verify_bits(population, calls[OWN](), calls[ALONE](), [net.params for net in alone])
    if find_spec("jax") is not None:
        calls[JAX] = vmap.epoch_by_jax(population, X, y, batch, one_order).call
    steps = -(-n_rows // batch)
    return _timed(kind, sizes, batch, dtype, seconds, calls, steps * n_networks) | {
        "n_networks": n_networks, "steps": steps, "order": "one" if one_order else "own"}


def time_outputs(dtype, seconds, n_networks=N_ANSWERING):
    """Verify and time the outputs of many networks for one row; µs for each, a dict for JSON."""
    population = fastbp.Population(n_networks, ANSWERING, activation="tanh", loss="squared_error",
                                   dtype=dtype, seeds=0, n_threads=1)
    alone = [population.member(k) for k in range(n_networks)]
    _, x, _ = problem(ANSWERING, 1, dtype)
    out = np.empty((n_networks, 1, ANSWERING[-1]), dtype)
    calls = {OWN: partial(population.forward, x, out),
             ALONE: lambda: [net.forward(x) for net in alone]}
    verify_bits(population, calls[OWN](), calls[ALONE]())
    if find_spec("torch") is not None:
        calls[TORCH] = vmap.outputs_by_torch(population, x).call
        verify_torch(population, out, calls[TORCH]())
    return _timed("outputs", ANSWERING, 1, dtype, seconds, calls, n_networks) | {
        "n_networks": n_networks}


def time_threads(sizes, batch, dtype, seconds, n_networks=N_NETWORKS):
    """Verify that threads change no bit of an epoch, and time them; a dict for JSON.

    `speedups` are the median of one thread over that of each other number.
    """
    _, X, y = problem(sizes, EPOCH_ROWS, dtype)
    population, alone = population_and_alone(n_networks, sizes, dtype)
    epoch, one_by_one = (epoch_at_once(population, X, y, batch),
                         epoch_one_by_one(alone, X, y, batch))
    setups = numbers_of_threads(population)
    for setup in setups.values():
        setup()
        verify_bits(population, epoch(), one_by_one(), [net.params for net in alone])
    steps = -(-EPOCH_ROWS // batch)
    result = _timed("population_threads", sizes, batch, dtype, seconds,
                    dict.fromkeys(setups, epoch), steps * n_networks, setups.values())
    speedups = {name: 1 / ratio for name, ratio in result.pop("ratios").items()}
    return result | {"n_networks": n_networks, "steps": steps, "speedups": speedups}


def _timed(kind, sizes, batch, dtype, seconds, calls, per, setups=None):
    """What all results have: medians in microseconds per unit, of which a call has `per`."""
    samples, attempts = undisturbed(list(calls.values()), seconds, len(calls), setups,
                                    alone=setups is None)
    times = summaries(calls, samples, per, alone=setups is None)
    return {"kind": kind, **networks.compared(sizes, batch, dtype, times), "attempts": attempts}


# ---- what is verified


def verify_bits(population, found, alone, params=None):
    """Raise `Deviation` unless what a call gave, and the parameters, have the bits of `MLP`."""
    for what, ours, theirs in (("result", found, alone), ("parameters", population.params, params)):
        for k in range(len(population) if theirs is not None else 0):
            if not np.array_equal(ours[k], theirs[k]):
                raise Deviation(f"{population!r}: the {what} of network {k} has other bits than "
                                "that of its MLP")


def verify_jax(sizes, batch, dtype, n_networks=N_NETWORKS):
    """Raise `Deviation` unless an epoch of vmap leads to the parameters of `reference_epoch`."""
    if find_spec("jax") is None:
        return
    _, X, y = problem(sizes, WHOLE_BATCHES * batch + batch // 2, dtype)
    population, alone = population_and_alone(n_networks, sizes, dtype)
    side = vmap.epoch_by_jax(population, X, y, batch, shuffle=False, lr=LR, eps=EPS)
    for k, (net, theirs) in enumerate(zip(alone, side.flat(side.call()), strict=True)):
        expected, tolerance = reference_epoch(net, X, y, batch, False)
        if not (np.abs(theirs - expected) <= tolerance).all():
            raise Deviation(f"{population!r}, batch {batch}: after one epoch the parameters of "
                            f"network {k} by JAX are off by more than rounding explains")


def verify_torch(population, ours, theirs):
    """Raise `Deviation` unless outputs z_2 of tanh units differ by what rounding explains.

    A sum of m products and a bias is off by (m + 1) u of the sum of sizes, in any order, to first
    order in u. With |x| <= 1 and |h| <= 1, w_l the largest |W_l| and |b_l|, tanh off by 8 u at most
    and no steeper than 1, either side is off by

        e_1 = (m_1 + 1)^2 u w_1 + 8 u,      e_2 = (m_2 + 1)^2 u w_2 + m_2 w_2 e_1.
    """
    u = float(np.finfo(population.dtype).eps) / 2
    m_1, m_2 = population.layer_sizes[:-1]
    w_1, w_2 = (float(max(np.abs(W).max(), np.abs(b).max()))
                for W, b in zip(population.weights, population.biases, strict=True))
    e_1 = (m_1 + 1)**2 * u * w_1 + 8 * u
    e_2 = (m_2 + 1)**2 * u * w_2 + m_2 * w_2 * e_1
    if not (np.abs(ours - theirs) <= 2 * e_2).all():
        raise Deviation(f"{population!r}: outputs by PyTorch differ by more than rounding explains")
