"""Time fastbp beside its peers: verified first, then interleaved, in one process on one core.

A gradient is one forward pass, the delta recursion and every dW and db: E1 to E6. Each network gets
rounds; in a round every side, and the FMA loop that gives the peak, has one sample: a number of
calls that lasts `SAMPLE` seconds or more. So a drift of the machine meets all sides alike, and the
medians of the samples are compared. Before that, what each side computes is held to a rounding
error bound.

Run as a module this is the process of `_bench.spawn`: options as one JSON argument, results as JSON
lines on stdout. Pinning alone does not do: a BLAS that was loaded with two threads goes on to use
two, and on one CPU each waits for the other. It reads its number of threads when it is loaded;
hence a process whose environment says one.
"""

import json
import os
import platform
import statistics
import sys
import time
import timeit
from contextlib import contextmanager
from functools import partial

import numpy as np

import fastbp
from fastbp import _sides
from fastbp._error_bound import ANY, error_bound
from fastbp._kernels import dispatch

SAMPLE = 0.005          # seconds a sample lasts at least
LEAST_ROUNDS = 5
FMA_ROUNDS = 10_000     # of the FMA loop, per call


class Deviation(Exception):
    """A side computes something else; nothing is timed."""


# ---- verified


def verify(net, X, y, sides):
    """Largest difference between the first side and another, relative to what rounding explains.

    Both are within the running error bound of the true gradient, whatever their order of summation:
    twice that bound is between them. Raises `Deviation` for more.
    """
    _, bound = error_bound(net.weights, net.biases, X, y, ANY)
    first, *others = ((side.name, np.array(side.flat(side.call()), np.float64)) for side in sides)
    worst = 0.0
    for name, grad in others:
        ratio = float(np.max(np.abs(first[1] - grad) / (2.0 * bound)))
        if not ratio <= 1.0:
            raise Deviation(f"{net!r}, batch {len(X)}: the gradients of {first[0]} and {name} "
                            f"differ by {ratio:.3g} times what rounding explains")
        worst = max(worst, ratio)
    return worst


def verify_epoch(sizes, batch, dtype):
    """Raise `Deviation` unless `train_epoch` gives the bits of `backprop` and `Adam.step`.

    The gradient itself is verified on the first batch.
    """
    (net, X, y), (twin, _, _) = (_sides.problem(sizes, _sides.EPOCH_ROWS, dtype) for _ in range(2))
    first = X[:batch], y[:batch]
    verify(net, *first, [make(net, *first) for make in _sides.GRADIENTS])
    net.train_epoch(X, y, fastbp.Adam(), batch_size=batch, shuffle=False)
    optimizer = fastbp.Adam()
    for i in range(0, len(X), batch):
        twin.backprop(X[i:i + batch], y[i:i + batch], reduction="mean")
        optimizer.step(twin.params, twin.grad)
    if not np.array_equal(net.params, twin.params):
        raise Deviation(f"{net!r}, batch {batch}: train_epoch and its steps give different bits")


# ---- timed


@contextmanager
def one_core():
    """Pin the calling thread to the last CPU it may use; gives that CPU, or None where none can be.

    Threads that exist already stay where they are; those created inside are pinned with it.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield max(before)
    finally:
        os.sched_setaffinity(0, before)


def interleave(calls, seconds):
    """Seconds per call, a list of samples for each of `calls`: rounds for `seconds` in all."""
    timers = [timeit.Timer(call) for call in calls]
    counts = [_calls_per_sample(timer) for timer in timers]
    samples = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while len(samples[0]) < LEAST_ROUNDS or time.perf_counter() < end:
        for timer, count, taken in zip(timers, counts, samples, strict=True):
            taken.append(timer.timeit(count) / count)
    return samples


def _calls_per_sample(timer):
    count = 1
    while True:
        elapsed = timer.timeit(count)
        if elapsed >= SAMPLE:
            return count
        count = 10 * count if elapsed < SAMPLE / 20 else int(1.2 * count * SAMPLE / elapsed) + 1


def summary(samples, per=1):
    """Median, quartiles and least of samples, in microseconds per unit of which they have `per`."""
    q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
    scale = 1e6 / per
    return {"median_us": median * scale, "quartiles_us": [q1 * scale, q3 * scale],
            "least_us": min(samples) * scale, "rounds": len(samples)}


def _compared(sizes, batch, dtype, sides, samples, per=1):
    """What the dicts of gradients and of epochs have in common."""
    times = {side.name: summary(taken, per) for side, taken in zip(sides, samples, strict=True)}
    own, *peers = times
    ratios = {name: times[name]["median_us"] / times[own]["median_us"] for name in peers}
    return {"network": "-".join(map(str, sizes)), "batch": batch, "dtype": dtype, "times": times,
            "ratios": ratios}


def time_gradient(sizes, batch, dtype, seconds):
    """Verify and time the gradient of one network; a dict for JSON."""
    net, X, y = _sides.problem(sizes, batch, dtype)
    sides = [make(net, X, y) for make in _sides.GRADIENTS]
    of_bound = verify(net, X, y, sides)
    loop = partial(dispatch.fma_peak, dtype, FMA_ROUNDS)
    *samples, peak = interleave([*(side.call for side in sides), loop], seconds)
    result = _compared(sizes, batch, dtype, sides, samples)
    flops = _sides.gradient_flops(sizes, batch)
    gflops = flops / result["times"]["fastbp"]["median_us"] * 1e-3
    best = loop() / min(peak) * 1e-9
    return {"kind": "gradient", **result, "difference_of_bound": of_bound, "flops": flops,
            "gflops": gflops, "fma_peak_gflops": best, "fraction_of_peak": gflops / best}


def time_epoch(sizes, batch, dtype, seconds):
    """Verify and time training steps, in epochs of `EPOCH_ROWS` rows; a dict for JSON."""
    verify_epoch(sizes, batch, dtype)
    sides = [make(*_sides.problem(sizes, _sides.EPOCH_ROWS, dtype), batch)
             for make in _sides.EPOCHS_OF]
    samples = interleave([side.call for side in sides], seconds)
    steps = -(-_sides.EPOCH_ROWS // batch)
    return {"kind": "epoch", **_compared(sizes, batch, dtype, sides, samples, steps),
            "steps": steps}


# ---- the run


def machine(cpu):
    """What the figures depend on."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    load = os.getloadavg()[0]
    return {"kind": "machine", **fastbp.show_config("dict"), "cpu": cpu_model(),
            "cpus": os.cpu_count(), "pinned_to": cpu, "load": load,
            "platform": platform.platform(), "blas": f"{blas.get('name')} {blas.get('version')}",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def cpu_model():
    """The CPU's name: of /proc/cpuinfo, or what Python knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines
                     if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def measure(networks, dtypes, epochs, seconds):
    """Yield the machine, then one dict for each network and dtype, gradients before epochs.

    Parameters
    ----------
    networks, epochs : sequences of (sizes, batch)
    dtypes : sequence of {"float32", "float64"}
    seconds : float
        Of timing for each network and dtype; at least five rounds are made.

    Raises
    ------
    Deviation
        A side computed something else.
    """
    with one_core() as cpu:
        yield machine(cpu)
        for timed, cases in ((time_gradient, networks), (time_epoch, epochs)):
            for sizes, batch in cases:
                for dtype in dtypes:
                    yield timed(tuple(sizes), batch, dtype, seconds)


def _main():
    try:
        for result in measure(**json.loads(sys.argv[1])):
            print(json.dumps(result), flush=True)
    except Deviation as error:
        print(json.dumps({"kind": "deviation", "message": str(error)}), flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(130)  # the parent says what there is to say


if __name__ == "__main__":
    _main()
