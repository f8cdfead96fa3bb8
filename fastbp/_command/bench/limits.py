"""What the machine can do, measured in the run that it is compared with.

The loops of `Loops` take part in the rounds of a row: fused multiply-adds in registers, and copying
(np.copyto) and reading (np.dot of two vectors, one thread) as many bytes as the row's network
works on. The best sample of each counts, and the better bandwidth of the two.

Activations, losses and Adam are measured once for each process, by the public functions: the time
of an element is the slope between two sizes, both in L1, so the cost of a call drops out. That of a
loss has the check of y and the sum of the losses in it, as `backprop` has; `train_epoch` checks y
once, and sums on request.
"""

import threading
import time
import timeit
from functools import cache, partial

import numpy as np

import fastbp
from fastbp import _arguments
from fastbp._command.bench import timing
from fastbp._command.bench.bound import Limits, lanes
from fastbp._command.problems import problem
from fastbp._kernels import dispatch

FMA_ROUNDS = 10_000     # rounds of the FMA loop in a call
FMA_REPEATS = 100       # calls of it, where they do not take turns with others
SHARED_SECONDS = 0.05   # of copying by several threads
SLOPE_SECONDS = 0.1     # of timing for each slope
L1_BYTES = (2**11, 2**13)   # of one of at most four arrays, at either end of a slope


class Loops:
    """`calls` that take turns with the sides of a row, and what their samples say.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    n_bytes : int
        Of the parameters; the gradient has as many.
    """

    def __init__(self, dtype, n_bytes):
        copy, self._moved = timing.copy_loop(n_bytes)
        self._fma = partial(dispatch.fma_peak, dtype, FMA_ROUNDS)
        self.calls = [self._fma, copy, timing.read_loop(n_bytes)[0]]

    def found(self, samples):
        """Entries of a row's dict, from the samples of `calls`."""
        fma, copy, read = map(min, samples)
        return {"fma_peak_gflops": self._fma() / fma * 1e-9,
                "copy_gbytes_per_s": self._moved / copy * 1e-9,
                "read_gbytes_per_s": self._moved / read * 1e-9}


def shared_loops(dtype, n_bytes, n_threads):
    """What `Loops` finds, the copy made by several threads at a time; reading is not measured.

    Each thread copies its part of the bytes, again and again; the peak is that of one thread.
    """
    copies = [timing.copy_loop(n_bytes // n_threads) for _ in range(n_threads)]
    start, copied = threading.Barrier(n_threads), []

    def work(copy, moved):
        start.wait()
        count, begin = 0, time.perf_counter()
        while count < timing.LEAST_ROUNDS or time.perf_counter() < begin + SHARED_SECONDS:
            copy()
            count += 1
        copied.append(count * moved / (time.perf_counter() - begin))

    team = [threading.Thread(target=work, args=each) for each in copies]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    fma = partial(dispatch.fma_peak, dtype, FMA_ROUNDS)
    least = min(timeit.repeat(fma, number=1, repeat=FMA_REPEATS))
    return {"fma_peak_gflops": fma() / least * 1e-9, "copy_gbytes_per_s": sum(copied) * 1e-9}


def limits(found, dtype, activation, loss, n_outputs):
    """The `Limits` of a row from what its `Loops` found."""
    bandwidth = max(found["copy_gbytes_per_s"], found.get("read_gbytes_per_s", 0))
    return Limits(lanes(fastbp.get_isa(), dtype), 1e9 * found["fma_peak_gflops"], 1e9 * bandwidth,
                  activation_seconds(activation, dtype), loss_seconds(loss, n_outputs, dtype),
                  update_seconds(dtype))


def throughputs(dtype, activation, loss):
    """Nanoseconds of one element, {name: ns}; a loss has one output, or two if it needs them."""
    n_outputs = 1 + _arguments.LOSSES[loss].is_distribution
    return {activation: 1e9 * activation_seconds(activation, dtype),
            loss: 1e9 * loss_seconds(loss, n_outputs, dtype),
            "Adam": 1e9 * update_seconds(dtype)}


@cache
def activation_seconds(activation, dtype):
    """The time that h and its derivative take for one element."""
    def call(size):
        _, X, _ = problem((size, 1), 1, dtype)
        return partial(fastbp.activate, 4 * X, activation)

    return _slope(call, *_sizes(dtype))


@cache
def loss_seconds(loss, n_outputs, dtype):
    """The time of the loss and delta_L per output; 0 where no public function computes them."""
    function = getattr(fastbp, _arguments.LOSSES[loss].kernel, None)

    def call(rows):
        _, X, y = problem((n_outputs, n_outputs), rows, dtype, loss=loss)
        return partial(function, 4 * X, y)

    low, high = (size // n_outputs for size in _sizes(dtype))
    return _slope(call, max(low, 1), max(high, 2)) / n_outputs if function else 0.0


@cache
def update_seconds(dtype):
    """The time that a step of Adam takes for one parameter."""
    def call(size):
        _, X, _ = problem((size, 1), 1, dtype)
        return partial(fastbp.Adam(lr=1e-5).step, X[0], X[0].copy())

    return _slope(call, *_sizes(dtype))


def _sizes(dtype):
    return [n_bytes // np.dtype(dtype).itemsize for n_bytes in L1_BYTES]


def _slope(make, low, high):
    """Seconds per element: (t_high - t_low) / (high - low), the least of samples in turns."""
    timers = [timeit.Timer(make(size)) for size in (low, high)]
    count = max(1, int(2e-4 / min(timers[1].repeat(5, 1))))
    best, end = [np.inf, np.inf], time.perf_counter() + SLOPE_SECONDS
    while not np.isfinite(best[0]) or time.perf_counter() < end:
        best = [min(least, timer.timeit(count) / count)
                for least, timer in zip(best, timers, strict=True)]
    return max(best[1] - best[0], 0.0) / (high - low)
