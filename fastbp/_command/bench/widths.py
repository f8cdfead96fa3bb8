"""Whether a width is unlucky: the time of a gradient of W-W-W-1 over W.

Between two neighbouring multiples of the vector, at which no lane is empty, time should grow along
a straight line. Below the first multiple the line begins at half a vector, and below that, where
what a call costs is most of the time, it is level. A ratio of 1.5 to that line is a width that
takes half as long again as its neighbours lead one to expect.

Every gradient is held to `fastbp.reference`, within what rounding explains, before anything is
timed. The widths take turns, in rounds, on one core, and the least of the samples of each counts: a
drift of the machine meets a width and its line alike. The largest ratios of short samples owe
something to chance: believe one that stays with more rounds.
"""

import timeit

import numpy as np

import fastbp
from fastbp._arguments import ACTIVATIONS, DEFAULTS
from fastbp._command.bench.bound import gradient_bound, lanes
from fastbp._command.bench.gradients import by_fastbp, by_reference
from fastbp._command.bench.limits import Loops, limits
from fastbp._command.bench.networks import n_params
from fastbp._command.bench.verify import verify
from fastbp._command.machine import machine
from fastbp._command.problems import problem

LIMIT = 1.12                    # a ratio above it is an unlucky width
SAMPLE_SECONDS = 0.0005         # a sample lasts that long at least
ROUNDS = 30
WIDTHS, BATCHES = range(4, 301), (16, 50, 128, 200)


def measure_widths(dtypes, widths=WIDTHS, batches=BATCHES, activations=tuple(ACTIVATIONS),
                   rounds=ROUNDS):
    """Yield the machine, then the `curve` of each dtype, activation and batch."""
    yield machine()
    for dtype in dtypes:
        for activation in activations:
            for batch in batches:
                yield curve(widths, batch, dtype, activation, rounds)


def neighbours(width, vector):
    """The widths without empty lanes, or half a vector, between which the line is drawn."""
    low, half = width // vector * vector, vector // 2
    if width < half:
        return half, half
    return low or half, low + vector * (width > low)


def network(width):
    return (width, width, width, 1)


def call(width, batch, dtype, activation):
    """A call that computes one gradient, which was verified first."""
    net, X, y = problem(network(width), batch, dtype, activation=activation)
    sides = {"fastbp": by_fastbp(net, X, y), "reference": by_reference(net, X, y)}
    verify(net, X, y, sides)
    return sides["fastbp"].call


def least_times(calls, rounds):
    """Seconds per call, the least sample of each of `calls` in turns."""
    timers = [timeit.Timer(each) for each in calls]
    counts = [max(1, int(SAMPLE_SECONDS / min(timer.repeat(3, 1)))) for timer in timers]
    times = [float("inf")] * len(timers)
    for _ in range(rounds):
        for i, (timer, count) in enumerate(zip(timers, counts, strict=True)):
            times[i] = min(times[i], timer.timeit(count) / count)
    return times


def line(us, width, vector):
    """Microseconds at a width on the straight line between its neighbours."""
    low, high = neighbours(width, vector)
    share = (width - low) / (high - low) if high > low else 0
    return us[low] + share * (us[high] - us[low])


def curve(widths, batch, dtype, activation, rounds):
    """Microseconds at each width, their ratios to the line, and their bounds; a dict for JSON."""
    vector = lanes(fastbp.get_isa(), dtype)
    needed = sorted({w for width in widths for w in (width, *neighbours(width, vector))})
    loops = Loops(dtype, n_params(network(needed[-1])) * np.dtype(dtype).itemsize)
    calls = [call(width, batch, dtype, activation) for width in needed]
    times = least_times([*calls, *loops.calls], rounds)
    us = dict(zip(needed, (1e6 * t for t in times[:len(needed)]), strict=True))
    found = loops.found([[t] for t in times[len(needed):]])
    given = limits(found, dtype, activation, DEFAULTS["loss"], n_outputs=1)
    return {"kind": "width", "dtype": dtype, "activation": activation, "batch": batch,
            "widths": list(widths), "us": [us[width] for width in widths],
            "ratios": [us[width] / line(us, width, vector) for width in widths],
            "bounds_us": [gradient_bound(network(width), batch, dtype, given)["us"]
                          for width in widths],
            **found, "limits": given._asdict()}


def worst(found, count=1):
    """The indices of the largest ratios of a curve; the largest ratio first."""
    ratios = found["ratios"]
    return sorted(range(len(ratios)), key=ratios.__getitem__, reverse=True)[:count]


def n_above(found):
    """At how many widths of a curve the ratio is above `LIMIT`."""
    return sum(ratio > LIMIT for ratio in found["ratios"])
