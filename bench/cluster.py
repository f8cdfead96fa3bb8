"""Passes and fits of fastbp.dask beside one process, and fits beside other libraries'.

    pip install 'fastbp[dask]' dask-ml skorch torch
    python bench/cluster.py passes      # overhead of a pass, 2^20 and 2^24 rows, 1 and 2 workers
    python bench/cluster.py fits        # 2^23 rows of Parquet, more than a worker may have
    python bench/scaling.py             # to 256 workers, by a simulation of what it measures

Each writes its part of results/dask.json. The network is 30-64-64-1 in float32. Passes are timed in
turns, when one worker, two, and none at all have given the same bits; a figure is a median. The
workers are processes of this machine, with one thread each, and so two of them need two free cores.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import fastbp
from fastbp._command.machine import machine
from fastbp.dask import DaskMLPClassifier, objective

RESULTS = Path(__file__).parents[1] / "results" / "dask.json"
SIZES = (30, 64, 64, 1)
CHUNK = 2**16
ROUNDS = {20: 15, 24: 5}
TARGET_ITERATIONS = 30
MEMORY_LIMIT = "600MiB"     # of each of two workers; the rows are 1040 MB, and Dask has 250 MB


def write(sections=None, **tables):
    """Put tables, and what a picture is drawn from, into the results."""
    document = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"tables": {}}
    document["machine"] = machine()
    document |= sections or {}
    document["tables"] |= tables
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def rows(seed, n):
    """X, and y of two classes by the outputs of a network, as one array: y is the last column."""
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((n, SIZES[0] + 1), dtype=np.float32)
    teacher = fastbp.MLP([SIZES[0], 16, 1], activation="tanh", seed=7)
    probability = 1 / (1 + np.exp(-4 * teacher.logits(table[:, :-1])[:, 0]))
    table[:, -1] = rng.random(n) < probability
    return table


def chunk(block_info):
    info = block_info[None]
    return rows(info["chunk-location"][0], info["chunk-shape"][0])


def generated(n):
    """(X, y) as Dask arrays."""
    table = da.map_blocks(chunk, chunks=((CHUNK,) * (n // CHUNK), (SIZES[0] + 1,)), dtype="float32",
                          meta=np.empty((0, 0), np.float32))
    return table[:, :-1], table[:, -1]


def bits(result):
    return np.float64(result[0]).tobytes() + result[1].tobytes()


# ---- passes


def passes():
    found = []
    for exponent, rounds in ROUNDS.items():
        n = 2**exponent
        X, y = generated(n)
        net = fastbp.MLP(SIZES, seed=0, n_threads=1)
        with contextlib.ExitStack() as stack:
            calls = {}
            for n_workers in (1, 2):
                cluster = stack.enter_context(LocalCluster(
                    n_workers=n_workers, threads_per_worker=1, dashboard_address=None,
                    memory_limit=None))
                client = stack.enter_context(Client(cluster, set_as_default=False))
                calls[n_workers] = objective(net, X, y, client=client)
            with dask.config.set(scheduler="threads"):
                whole = np.concatenate(dask.compute(*[
                    dask.delayed(rows)(i, CHUNK) for i in range(n // CHUNK)]))
            calls["one"] = net.objective(np.ascontiguousarray(whole[:, :-1]), whole[:, -1])
            del whole
            with dask.config.set(scheduler="synchronous"):
                expected = bits(objective(net, X, y)(net.params))
            if {bits(calls[n](net.params)) for n in (1, 2)} != {expected}:
                raise SystemExit("a worker, two, and none at all have different bits")
            times = {side: [] for side in calls}
            for _ in range(rounds):
                for side, call in calls.items():
                    start = time.perf_counter()
                    call(net.params)
                    times[side].append(time.perf_counter() - start)
        seconds = {side: statistics.median(each) for side, each in times.items()}
        found.append({"rows": f"2^{exponent}", "one process s": seconds["one"],
                      "one worker s": seconds[1], "two workers s": seconds[2],
                      "one worker over one process": seconds[1] / seconds["one"],
                      "one process over two workers": seconds["one"] / seconds[2]})
        print(found[-1], flush=True)
    write(passes=found)


# ---- fits


def parquet(folder, n):
    import pandas as pd

    columns = [*(f"x{i}" for i in range(SIZES[0])), "y"]
    for i in range(n // CHUNK):
        pd.DataFrame(rows(i, CHUNK), columns=columns).to_parquet(folder / f"{i:04}.parquet")
    return columns


def to_loss(target, evaluate, step):
    """Seconds of steps until the loss is the target, the loss, and the steps."""
    seconds, steps = 0.0, 0
    while True:
        start = time.perf_counter()
        step()
        seconds, steps = seconds + time.perf_counter() - start, steps + 1
        if (loss := evaluate()) <= target or seconds > 900:
            return seconds, loss, steps


def fits(n=2**23):
    import dask.dataframe as dd

    held = rows(10**6, 2**16)
    X_held, y_held = np.ascontiguousarray(held[:, :-1]), held[:, -1]
    found = []

    def loss_of(model):
        net = model.to_local().to_network() if hasattr(model, "to_local") else model
        return net.loss_value(X_held, y_held, reduction="mean")

    def report(name, seconds, loss, passes):
        found.append({"fit": name, "seconds": seconds, "loss of other rows": loss,
                      "passes": passes})
        print(found[-1], flush=True)
        write(fits=found)       # the others take minutes more

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        columns = parquet(folder, n)
        options = {"hidden_layer_sizes": SIZES[1:-1], "activation": "tanh", "random_state": 0,
                   "dtype": "float32", "tol": 0.0, "alpha": 0.0}
        whole = np.concatenate([rows(i, CHUNK) for i in range(n // CHUNK)])
        from fastbp.sklearn import MLPClassifier

        one = MLPClassifier(solver="lbfgs", max_iter=TARGET_ITERATIONS, n_threads=2, **options)
        X, y = np.ascontiguousarray(whole[:, :-1]), whole[:, -1]
        start = time.perf_counter()
        one.fit(X, y)
        target = loss_of(one.to_network())
        report("one machine, lbfgs, 30 iterations, rows in memory", time.perf_counter() - start,
               target, one.n_iter_)
        del whole, X, y
        target *= 1.0005        # what a fit of the same loss may differ by in its last steps
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                          memory_limit=MEMORY_LIMIT) as cluster, Client(cluster) as client:
            frame = dd.read_parquet(folder)
            table = frame[columns[:-1]], frame["y"]
            for name, params in {
                    "lbfgs, 30 iterations": {"max_iter": TARGET_ITERATIONS},
                    "adam, batches of 16 blocks": {
                        "solver": "adam", "learning_rate_init": 0.01, "max_iter": 1},
                    "adam, 16 replicas averaged": {
                        "solver": "adam", "average_every": 64, "max_iter": 2}}.items():
                start = time.perf_counter()
                model = DaskMLPClassifier(client=client, **options, **params).fit(*table)
                report(f"Dask, {name}", time.perf_counter() - start, loss_of(model), model.n_iter_)
                if found[-1]["loss of other rows"] > target:
                    raise SystemExit(f"{name} did not reach the loss of {target}")
            incremental(frame, target, X_held, y_held, report)


def incremental(frame, target, X_held, y_held, report):
    """The same network by partial_fit, a partition after another, to the target."""
    from dask_ml.wrappers import Incremental
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier as Theirs

    table = frame.to_dask_array(lengths=True)
    X, y = table[:, :-1], table[:, -1]
    model = Incremental(Theirs(SIZES[1:-1], "tanh", random_state=0, alpha=0.0,
                               batch_size=1024), shuffle_blocks=False)
    seconds, loss, steps = to_loss(
        target, lambda: log_loss(y_held, model.estimator_.predict_proba(X_held)),
        lambda: model.partial_fit(X, y, classes=[0.0, 1.0]))
    report("dask-ml, Incremental of scikit-learn's MLPClassifier", seconds, loss, steps)

    import torch
    from skorch import NeuralNetBinaryClassifier

    torch.manual_seed(0)
    torch.set_num_threads(2)
    layers = []
    for a, b in zip(SIZES, SIZES[1:], strict=False):
        layers += [torch.nn.Linear(a, b), torch.nn.Tanh()]
    net = NeuralNetBinaryClassifier(torch.nn.Sequential(*layers[:-1]), optimizer=torch.optim.Adam,
                                    lr=1e-3, batch_size=1024, max_epochs=1, verbose=0,
                                    train_split=None)

    def one_pass():
        for part in frame.partitions:
            values = part.compute().to_numpy()
            net.partial_fit(np.ascontiguousarray(values[:, :-1]), values[:, -1])

    seconds, loss, steps = to_loss(
        target, lambda: log_loss(y_held, net.predict_proba(X_held)), one_pass)
    report("skorch, partial_fit of each partition", seconds, loss, steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["passes", "fits"])
    {"passes": passes, "fits": fits}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
