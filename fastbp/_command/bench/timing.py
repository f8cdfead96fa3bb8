"""How it is timed: in rounds, on one core, beside what the machine can do.

In a round every call has one sample: a number of calls that lasts `SAMPLE_SECONDS` or more. So a
drift of the machine meets all sides alike, and the medians of the samples are compared. The loops
that give the machine's limits take part in the rounds, and their best sample counts.

Other work on the core shows in two ways: samples spread, and this process has less of the core's
time than went by. What is disturbed is measured again some times, and then marked.
"""

import os
import statistics
import time
import timeit
from contextlib import contextmanager
from functools import partial

import numpy as np

import fastbp

AUTO = "auto"           # n_threads=None
ATTEMPTS = 3            # at a measurement that other work disturbs
LARGEST_SPREAD = 10     # of a median, in percent
LEAST_SHARE = 0.9       # of the core's time, for a process that is alone on it
SAMPLE_SECONDS = 0.005  # a sample lasts that long at least
LEAST_ROUNDS = 5
LEAST_COPY = 2**16      # bytes; with fewer, most of the time would be the call of np.copyto
LARGE_COPY = 2**27      # bytes, more than a last-level cache holds


@contextmanager
def one_core():
    """Pin the calling thread to the last CPU it may use; gives that CPU, or None where none can be.

    Processes and threads that are started inside are pinned with it. Threads that exist already
    stay where they are.
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


class Samples(list):
    """Seconds per call of each sample, and how long all of them took by two clocks."""

    wall = cpu = 0.0

    def add(self, timer, count):
        wall, cpu = time.perf_counter(), time.process_time()
        self.append(timer.timeit(count) / count)
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall

    @property
    def share(self):
        """The part of the time in which this process ran: less than 1 if others had the core."""
        return self.cpu / self.wall


def interleave(calls, seconds, setups=None, clock=time.perf_counter):
    """Seconds per call, `Samples` of each of `calls`: rounds for `seconds` in all.

    `setups` has a call for each of them, made before each of its samples. `clock` may be
    `time.thread_time`, to which other programs add less.
    """
    timers = [timeit.Timer(call, setup, clock) for call, setup in
              zip(calls, setups or ["pass"] * len(calls), strict=True)]
    counts = [_calls_per_sample(timer) for timer in timers]
    samples = [Samples() for _ in calls]
    end = time.perf_counter() + seconds
    while len(samples[0]) < LEAST_ROUNDS or time.perf_counter() < end:
        for timer, count, taken in zip(timers, counts, samples, strict=True):
            taken.add(timer, count)
    return samples


def undisturbed(calls, seconds, n_sides, setups=None, alone=True):
    """`interleave`, again while one of the first `n_sides` calls is disturbed, and how often.

    After `ATTEMPTS` the samples are those that were disturbed least. `alone`: on one core, of which
    the process should have had all.
    """
    least, attempts = np.inf, 0
    while least > 1 and attempts < ATTEMPTS:
        samples, attempts = interleave(calls, seconds, setups), attempts + 1
        worst = max(disturbance(taken, alone) for taken in samples[:n_sides])
        if worst < least:
            best, least = samples, worst
    return best, attempts


def disturbance(samples, alone):
    """Above 1 if other work disturbed the samples: they spread, or others had the core."""
    had_by_others = 1 - samples.share if alone else 0.0
    return max(spread(summary(samples)) / LARGEST_SPREAD, had_by_others / (1 - LEAST_SHARE))


def spread(times):
    """Half the distance between the quartiles of a `summary`, in percent of its median."""
    low, high = times["quartiles_us"]
    return 50 * (high - low) / times["median_us"]


def _calls_per_sample(timer):
    count = 1
    while True:
        elapsed = timer.timeit(count)
        if elapsed >= SAMPLE_SECONDS:
            return count
        if elapsed < SAMPLE_SECONDS / 20:
            count *= 10
        else:
            count = int(1.2 * count * SAMPLE_SECONDS / elapsed) + 1


def numbers_of_threads(owner):
    """Calls that set `owner.n_threads`: 1, 2, 4, ..., all CPUs, and None, of the name `AUTO`."""
    cpus = fastbp.get_num_threads()
    counts = sorted({cpus, *(2**i for i in range(cpus.bit_length()))})
    return {str(count or AUTO): partial(setattr, owner, "n_threads", count)
            for count in (*counts, None)}


def summary(samples, unit=1e6, suffix="us"):
    """Median, quartiles and least of samples in seconds, times `unit`."""
    q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
    return {f"median_{suffix}": median * unit, f"quartiles_{suffix}": [q1 * unit, q3 * unit],
            f"least_{suffix}": min(samples) * unit, "rounds": len(samples)}


def summaries(names, samples, per=1, alone=True):
    """Summaries of seconds per call, in microseconds per unit; a call has `per` units."""
    return {name: {**summary(taken, 1e6 / per), **({"core_share": taken.share} if alone else {}),
                   "disturbed": disturbance(taken, alone) > 1}
            for name, taken in zip(names, samples, strict=True)}


def copy_loop(n_bytes):
    """A call that copies `n_bytes` or a few more, and the bytes it reads and writes."""
    source = np.ones(max(n_bytes, LEAST_COPY) // 8 + 1)
    target = np.zeros_like(source)      # written: fresh pages of zeros would be one page
    np.copyto(target, source)
    return lambda: np.copyto(target, source), 2 * source.nbytes


def read_loop(n_bytes):
    """A call that reads as many bytes as `copy_loop` reads and writes, and that number."""
    one = np.ones(max(n_bytes, LEAST_COPY) // 8 + 1)
    other = np.ones_like(one)
    return lambda: np.dot(one, other), 2 * one.nbytes


def memory_bandwidth():
    """Bytes per second, read and written, of a copy larger than the caches."""
    copy, n_bytes = copy_loop(LARGE_COPY)
    return n_bytes / min(timeit.repeat(copy, number=1, repeat=LEAST_ROUNDS))
