"""A pass of fastbp.dask on 1 to 256 workers, by a simulation of what is measured here.

    python bench/scaling.py             # a part of results/dask.json

Measured: the time of each block of a shard, in turn, with its spread; what the client and the
scheduler need for a task, by passes that compute nothing; what the client needs to add a node of
the tree. Assumed: a worker for each core, all as fast as this one; a network of GBYTES_PER_S and
SECONDS_OF_LATENCY between any two machines; tasks that start one after another, as the scheduler
gives them out; and that one worker in STRAGGLERS is SLOWNESS times slower in a pass, another one in
each. The sums of more than GATHERED_BYTES are added by workers, FAN_IN at a time, as
`fastbp.dask._places` does it.
"""

import math
import statistics
import time

import numpy as np
from cluster import CHUNK, rows, write
from distributed import Client, LocalCluster

import fastbp
from fastbp.dask._places import FAN_IN, GATHERED_BYTES, Cluster
from fastbp.dask._tree import Sum, rows_per_block

WORKERS = [2**k for k in range(9)]
PASSES = 200                # simulated, of which the median is taken
GBYTES_PER_S, SECONDS_OF_LATENCY = 1.25, 1e-4
STRAGGLERS, SLOWNESS = 64, 1.5
CASES = [((30, 64, 64, 1), 2**24), ((30, 64, 64, 1), 2**30), ((784, 1024, 1024, 1), 2**24)]
NOTHING = 64                # tasks of a pass that computes nothing


def seconds_of_blocks(sizes, n_rows, seconds=3.0):
    """The times of gradients of a block, on one core."""
    net = fastbp.MLP(sizes, seed=0, n_threads=1)
    size = min(rows_per_block(n_rows), 2**12)       # of larger ones the time is in proportion
    table = rows(0, min(size, CHUNK))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((size, sizes[0]), dtype=np.float32)
    y, found = table[:, -1], []
    start = time.perf_counter()
    while len(found) < 20 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        net.backprop(X, y)
        found.append(time.perf_counter() - before)
    return np.array(found) / size, net.n_params


def nothing(shards):
    part = Sum()
    part.add(0, shards[0], np.zeros(2))
    return part


def seconds_of_tasks():
    """(what a pass with one task takes by the clock, what each further task takes the client).

    The scheduler is in this process, too: the workers do their part of a task at the same time.
    """
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as local, \
            Client(local, set_as_default=False) as client:
        place = Cluster(client)

        def seconds(n, clock):
            place.runs, place.planned, place.looked = [[i] for i in range(n)], (), math.inf
            found = []
            for _ in range(15):
                start = clock()
                place._sum(range(n), range(n), nothing, {})
                found.append(clock() - start)
            return statistics.median(found)

        of_many, of_one = seconds(NOTHING, time.process_time), seconds(1, time.process_time)
        return seconds(1, time.perf_counter), (of_many - of_one) / (NOTHING - 1)


def seconds_of_a_node(n_params):
    """The time of adding one gradient to another."""
    a, b = np.ones(n_params + 2), np.ones(n_params + 2)
    start = time.perf_counter()
    for _ in range(20):
        a += b
    return (time.perf_counter() - start) / 20


def a_pass(n_workers, n_rows, per_row, n_params, tasks, node, rng):
    """Seconds of the parts of one pass: computing, waiting for the slowest, tasks, bytes."""
    first, further = tasks
    blocks = -(-n_rows // rows_per_block(n_rows))
    own = np.full(n_workers, blocks // n_workers)
    own[:blocks % n_workers] += 1
    own_rows = np.minimum(own * rows_per_block(n_rows), n_rows)
    # The mean of the blocks of a worker, drawn from those that were measured.
    speed = np.array([rng.choice(per_row, min(int(k), 1000)).mean() if k else 0.0 for k in own])
    slow = rng.random(n_workers) < 1 / STRAGGLERS
    compute = own_rows * speed * np.where(slow, SLOWNESS, 1.0) + own * node
    starts = np.arange(n_workers) * further
    ends = starts + compute
    n_bytes = 8.0 * (n_params + 2)
    transfer = n_bytes / (GBYTES_PER_S * 1e9)
    left, adding = n_workers, 0.0
    while left > FAN_IN and left * n_bytes > GATHERED_BYTES:
        left = -(-left // FAN_IN)
        adding += further * left + SECONDS_OF_LATENCY + FAN_IN * (transfer + node)
    gathered = SECONDS_OF_LATENCY + left * (transfer + node)
    parameters = n_workers * n_bytes / 2 / (GBYTES_PER_S * 1e9)     # float32, by the scheduler
    return np.array([compute.mean(), ends.max() - starts[-1] - compute.mean(),
                     first + starts[-1], adding + gathered + parameters])


def main():
    rng, tasks, found, table = np.random.default_rng(0), seconds_of_tasks(), [], []
    for sizes, n_rows in CASES:
        per_row, n_params = seconds_of_blocks(sizes, n_rows)
        node, speedups = seconds_of_a_node(n_params), []
        for n_workers in WORKERS:
            parts = [a_pass(n_workers, n_rows, per_row, n_params, tasks, node, rng)
                     for _ in range(PASSES)]
            median = np.median([each.sum() for each in parts])
            share = np.mean(parts, axis=0) / np.mean(parts, axis=0).sum()
            if n_workers == 1:
                one = median
            speedups.append(one / median)
        name = f"{'-'.join(map(str, sizes))}, 2^{round(math.log2(n_rows))} rows"
        found.append({"dtype": "float32", "name": name, "workers": WORKERS, "speedup": speedups})
        table.append({"network and rows": name, "one worker s": float(one),
                      **{f"{n} workers": float(s) for n, s in
                         zip(WORKERS[2::2], speedups[2::2], strict=True)},
                      **{f"{what} %": round(100 * float(part)) for what, part in zip(
                          ("computing", "the slowest", "tasks", "bytes"), share, strict=True)}})
        print(table[-1], flush=True)
    write({"scaling": found}, scaling=table, tasks=[
        {"measured": "a pass of one task that computes nothing", "ms": 1e3 * tasks[0]},
        {"measured": "each further task, of client and scheduler", "ms": 1e3 * tasks[1]}])


if __name__ == "__main__":
    main()
