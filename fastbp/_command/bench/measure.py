"""The measuring process: fastbp beside its peers on one core, and beside itself on several.

    measure                     gradients, epochs, startup; the process is pinned to one core
    measure_fits                fits of fastbp.sklearn, of `fits`; pinned
    measure_widths              W-W-W-1 over W, of `widths`; pinned
    measure_beyond              what else a network computes, of `beyond`; pinned
    measure_population          many networks at once, of `population`; pinned
    measure_threads             fastbp with 1, 2, 4, ... threads; on all CPUs it was given
    measure_population_threads  the same of many networks

All yield dicts. Run as a module this is the process of `command.spawn`: the name of one of them and
its options as one JSON argument, results as JSON lines on stdout.

Why a process: a BLAS reads its number of threads when it is loaded, and JAX sizes its pool by the
affinity then. More threads than CPUs would wait for each other, so this process starts with the
environment and the affinity that its libraries should find.

The bound of a row is derived in `bound`, and measured in `limits`. The roofline's, which the plots
show, counts the operations of the products without empty lanes, nothing else:

    least time = max(operations / peak, least bytes / bandwidth of the copy)
"""

import json
import os
import sys
from functools import partial

import numpy as np

import fastbp
from fastbp._arguments import DEFAULTS
from fastbp._command.bench import networks, plain
from fastbp._command.bench.beyond import measure_beyond
from fastbp._command.bench.bound import gradient_bound, step_bound
from fastbp._command.bench.fits import measure_fits
from fastbp._command.bench.gradients import OF_PEERS
from fastbp._command.bench.limits import Loops, limits, shared_loops, throughputs
from fastbp._command.bench.networks import n_params
from fastbp._command.bench.peers import compiles, installed
from fastbp._command.bench.population import measure_population, measure_population_threads
from fastbp._command.bench.startup import startup
from fastbp._command.bench.timing import (
    memory_bandwidth,
    numbers_of_threads,
    summaries,
    undisturbed,
)
from fastbp._command.bench.verify import Deviation, verify, verify_epoch
from fastbp._command.bench.widths import measure_widths
from fastbp._command.machine import machine
from fastbp._command.problems import problem


def measure(networks, dtypes, epochs, seconds, without=(), with_startup=False,
            activation="sigmoid", loss="bce"):
    """Yield the machine, then one dict for each network and dtype, gradients before epochs.

    Parameters
    ----------
    networks, epochs : sequences of (sizes, batch)
    dtypes : sequence of {"float32", "float64"}
    seconds : float
        Of timing for each network and dtype; at least five rounds are made.
    without : sequence of str
        Peers to leave out.
    with_startup : bool
    activation, loss : str
        Of the networks whose gradients are timed.

    Raises
    ------
    Deviation
        A side computed something else.
    """
    peers = installed(without)
    reasons = {peer.name: compiles(peer) for peer in peers if peer.name == "torch.compile"}
    missing = sorted({activation, loss} - OF_PEERS)
    reasons |= {peer.name: f"its {' and '.join(missing)} is not written here" for peer in peers
                if missing and peer.module != "fastbp"}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    peers = tuple(peer for peer in peers if peer.name not in left_out)
    yield {**machine(), "left_out": left_out, "memory_gbytes_per_s": memory_bandwidth() * 1e-9,
           "activation": activation, "loss": loss, "numpy_is": plain.WORDS,
           "element_ns": {dtype: throughputs(dtype, activation, loss) for dtype in dtypes}}
    for timed, cases in ((partial(time_gradient, activation=activation, loss=loss), networks),
                         (time_epoch, epochs)):
        for dtype in dtypes:
            for sizes, batch in cases:
                yield timed(tuple(sizes), batch, dtype, seconds, peers)
    if with_startup:
        yield startup()


def measure_threads(networks, dtypes, seconds, activation="sigmoid", loss="bce"):
    """Yield the machine, then one dict for each network and dtype. Raises as `measure`."""
    yield {**machine(), "activation": activation, "loss": loss}
    for dtype in dtypes:
        for sizes, batch in networks:
            yield time_threads(tuple(sizes), batch, dtype, seconds, activation, loss)


# ---- one network


def time_gradient(sizes, batch, dtype, seconds, peers, activation="sigmoid", loss="bce"):
    """Verify and time the gradient of one network; a dict for JSON."""
    net, X, y = problem(sizes, batch, dtype, 0, activation, loss)
    sides = {peer.name: peer.gradient(net, X, y) for peer in peers}
    of_bound = verify(net, X, y, sides)
    loops = Loops(dtype, net.params.nbytes)
    calls = [*(side.call for side in sides.values()), *loops.calls]
    samples, attempts = undisturbed(calls, seconds, len(sides))
    result = networks.compared(sizes, batch, dtype, summaries(sides, samples[:len(sides)]))
    found = loops.found(samples[len(sides):])
    flops = networks.gradient_flops(sizes, batch)
    n_bytes = networks.least_bytes(sizes, batch, dtype)
    peak, bandwidth = found["fma_peak_gflops"], found["copy_gbytes_per_s"]
    own_us = result["times"]["fastbp"]["median_us"]
    gflops, least_us = flops / own_us * 1e-3, max(flops / peak, n_bytes / bandwidth) * 1e-3
    bound = gradient_bound(sizes, batch, dtype,
                           limits(found, dtype, activation, loss, sizes[-1]))
    return {"kind": "gradient", **result, "attempts": attempts, "difference_of_bound": of_bound,
            "flops": flops, "least_bytes": n_bytes, "gflops": gflops, **found,
            "fraction_of_peak": gflops / peak, "fraction_of_roofline": least_us / own_us,
            "bound": bound, "fraction_of_bound": bound["us"] / own_us}


def time_epoch(sizes, batch, dtype, seconds, peers):
    """Verify and time training steps, in epochs of `EPOCH_ROWS` rows; a dict for JSON."""
    peers = [peer for peer in peers if peer.epoch]
    of_bound = verify_epoch(sizes, batch, dtype, peers)
    sides = {peer.name: peer.epoch(*problem(sizes, networks.EPOCH_ROWS, dtype), batch)
             for peer in peers}
    steps = -(-networks.EPOCH_ROWS // batch)
    loops = Loops(dtype, n_params(sizes) * np.dtype(dtype).itemsize)
    calls = [*(side.call for side in sides.values()), *loops.calls]
    samples, attempts = undisturbed(calls, seconds, len(sides))
    times, found = summaries(sides, samples[:len(sides)], steps), loops.found(samples[len(sides):])
    bound = step_bound(sizes, batch, networks.EPOCH_ROWS, dtype,
                       limits(found, dtype, **DEFAULTS, n_outputs=sizes[-1]))
    return {"kind": "epoch", **networks.compared(sizes, batch, dtype, times), "attempts": attempts,
            "difference_of_bound": of_bound, "steps": steps, **found, "bound": bound,
            "fraction_of_bound": bound["us"] / times["fastbp"]["median_us"]}


def time_threads(sizes, batch, dtype, seconds, activation="sigmoid", loss="bce"):
    """Verify that threads change no bit, and time them; a dict for JSON.

    `speedups` are the median of one thread over that of each other number.
    """
    cpus = fastbp.get_num_threads()
    net, X, y = problem(sizes, batch, dtype, 0, activation, loss)
    call = partial(net.backprop, X, y)
    call()
    bits, setups = net.grad.tobytes(), numbers_of_threads(net)
    for setup in setups.values():
        setup()
        call()
        if net.grad.tobytes() != bits:
            raise Deviation(f"{net!r}, batch {batch}: the gradient has other bits than on one "
                            "thread")
    calls = [call] * len(setups)        # one network: another would lie elsewhere in the caches
    samples, attempts = undisturbed(calls, seconds, len(calls), setups.values(), alone=False)
    times = summaries(setups, samples, alone=False)
    result = networks.compared(sizes, batch, dtype, times)
    speedups = {name: 1 / ratio for name, ratio in result.pop("ratios").items()}
    found = shared_loops(dtype, net.params.nbytes, cpus)
    bound = gradient_bound(sizes, batch, dtype, limits(found, dtype, activation, loss, sizes[-1]),
                           cpus)
    return {"kind": "threads", **result, "attempts": attempts, "speedups": speedups, **found,
            "bound": bound, "fraction_of_bound": bound["us"] / times[str(cpus)]["median_us"]}


TASKS = {function.__name__: function for function in
         (measure, measure_fits, measure_widths, measure_beyond, measure_population,
          measure_threads, measure_population_threads)}


def _main():
    task, options = json.loads(sys.argv[1])
    try:
        for result in TASKS[task](**options):
            print(json.dumps(result), flush=True)
    except Deviation as error:
        print(json.dumps({"kind": "deviation", "message": str(error)}), flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)  # the parent reports the error


if __name__ == "__main__":
    _main()
