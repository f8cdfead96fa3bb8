"""Sweeps: the functions of families.py at every float32, or at very many points, on every variant.

`sweep` evaluates the wide values once for a chunk of inputs and holds every variant against them.
They are off by a known part of an ulp: whatever that leaves as the largest error, `run` counts to
50 digits. Tests and tools/accuracy.py run the same sweeps; no test is here.
"""

import multiprocessing
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
import oracle
from families import FAMILIES, OF_ONE_NUMBER
from ulps import Worst, adversarial, ulps, wide_error

from fastbp._kernels import dispatch

CHUNK = 1 << 13  # the temporaries of a chunk stay in the cache
INFINITE = {"float32": 0x7F800000, "float64": 0x7FF0 << 48}  # the pattern after the largest number
POINTS = dict.fromkeys(FAMILIES, 8_000_000) | {"pos_weight": 12_000_000}  # of long sweeps
POINTS |= dict.fromkeys(OF_ONE_NUMBER, 100_000_000)


# ---- inputs, a chunk at a time


def patterns(dtype, first, last, stride=1):
    """Numbers of both signs, every `stride`-th bit pattern in [first, last), ascending.

    A chunk begins with the last pattern of the one before, so that none is between them.
    """
    unsigned = np.uint32 if dtype == "float32" else np.uint64
    for start in range(first, last, stride * CHUNK):
        stop = min(start + stride * CHUNK, last)
        bits = np.arange(max(start - stride, 0), stop, stride, dtype=unsigned)
        yield (bits.view(dtype),)
        yield (np.ascontiguousarray(-bits.view(dtype)[::-1]),)


def hardest(dtype):
    """Where the algorithms of σ, and of tanh by the double of z, change a step; all magnitudes."""
    z = np.sort(np.concatenate([adversarial(dtype), adversarial(dtype) / 2]))
    yield from ((z[i:i + CHUNK],) for i in range(0, z.size, CHUNK))
    yield from patterns(dtype, 0, INFINITE[dtype], INFINITE[dtype] >> 18)


def at_random(name, dtype, n, seed):
    rng = np.random.default_rng(seed)
    for start in range(0, n, CHUNK):
        yield FAMILIES[name].points(dtype, min(CHUNK, n - start), rng)


# ---- sweeps


class Task(NamedTuple):
    family: str
    dtype: str
    chunks: Callable  # () -> inputs, chunk after chunk; a process can be given it


def every_float32(stride=1, pieces=64):
    """Tasks for all functions of one number."""
    step = -(-INFINITE["float32"] // pieces)
    return [Task(name, "float32", partial(patterns, "float32", first, min(
        first + step, INFINITE["float32"]), stride))
        for name in OF_ONE_NUMBER for first in range(0, INFINITE["float32"], step)]


def many_points(name, dtype, n, seed, piece=1 << 20):
    """Tasks for a family: n points of every kind, and the hardest if it takes one number."""
    tasks = [Task(name, dtype, partial(at_random, name, dtype, min(piece, n - start),
                                       (seed, start))) for start in range(0, n, piece)]
    return tasks + [Task(name, dtype, partial(hardest, dtype))] * (name in OF_ONE_NUMBER)


def of_sample(errors):
    """The largest of a row."""
    return errors if errors.ndim == 1 else errors.max(axis=1)


def errors_of(found, exact, counted):
    """Errors in ulps of each sample; what has the bits of another variant is not counted twice."""
    for other, errors in counted.values():
        if np.array_equal(found, other):
            return errors
    return of_sample(ulps(found, exact))


def hold(worst, task, inputs):
    """One chunk: every variant against the wide values, and those with FMA against one another."""
    family = FAMILIES[task.family]
    exact = family.wide(*inputs)
    counted = {name: {} for name in exact}
    for isa in dispatch.available_isas():
        dispatch.set_isa(isa)
        for name, found in family.found(*inputs).items():
            seen, at = worst[task.family, name, task.dtype, isa], f"{name} {task.dtype} {isa}"
            errors = errors_of(found, exact[name], counted[name])
            seen.see(errors, *inputs)
            assert np.isfinite(seen.error), f"{at} at {seen.at}"
            assert name not in family.monotone or np.all(np.diff(found) >= 0), (
                f"{at} is not monotone from {inputs[0][0]} on")
            for other, (bits, _) in counted[name].items():
                assert isa == "generic" or np.array_equal(found, bits), (
                    f"{at} differs from {other} between {inputs[0][0]} and {inputs[0][-1]}")
            counted[name][isa] = found, errors


def sweep(task):
    """The `Worst` of each (family, function, dtype, variant), before any is settled."""
    before = dispatch.get_isa()
    worst = {(task.family, name, task.dtype, isa): Worst(wide_error(task.dtype))
             for name in FAMILIES[task.family].functions for isa in dispatch.available_isas()}
    for inputs in at_random(task.family, task.dtype, CHUNK, 0):
        hold(worst, task, inputs)       # a first look: then no million of zeros is near the largest
    for seen in worst.values():
        seen.n_seen = 0
    for inputs in task.chunks():
        hold(worst, task, inputs)
    dispatch.set_isa(before)
    return worst


def error_of(name, function, isa, *inputs, exact=None):
    """Errors of a variant in ulps, to 50 digits, of each sample."""
    family, before = FAMILIES[name], dispatch.get_isa()
    if exact is None:
        exact = family.functions[function].exact(*inputs)
    dispatch.set_isa(isa)
    found = family.found(*inputs)[function]
    dispatch.set_isa(before)
    return of_sample(oracle.ulp_error(found, exact))


def run(tasks, processes=1):
    """The largest error of each (function, dtype, variant): its `Worst`, to 50 digits."""
    context = multiprocessing.get_context("spawn")
    total, largest = {}, {}
    with context.Pool(processes) if processes > 1 else nullcontext() as pool:
        for found in (pool.imap_unordered if pool else map)(sweep, tasks):
            for key, worst in found.items():
                total.setdefault(key, Worst(worst.slack)).merge(worst)
    for (name, function, dtype, isa), worst in total.items():
        worst = worst.settled(partial(error_of, name, function, isa))
        other = largest.get((function, dtype, isa), Worst())  # of a softmax of another width
        other, worst = sorted((other, worst), key=lambda w: w.error)
        worst.n_seen += other.n_seen
        largest[function, dtype, isa] = worst
    return largest
