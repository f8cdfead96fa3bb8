"""`Population.train(client=)` on a cluster of Dask: the same bits, whoever dies meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import dask
import numpy as np
import pytest
from calling import keyboard_interrupt, press_ctrl_c, takes_signals
from clients import OPTIONS, N, Trained, X, y
from clusters import client_of_own_cluster
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

import fastbp._parts
import fastbp._spread
from fastbp import SGD, Population

EPOCHS = 400        # of which 100 are a task


@pytest.fixture
def lonely():
    """The client of a cluster that a test may kill."""
    with client_of_own_cluster() as made:
        yield made


def pids(client):
    return list(client.run(os.getpid).values())


def at(epoch, function):
    """Options with a schedule that calls a function when the rates of that epoch are asked for."""
    def schedule(asked):
        if asked == epoch:
            function()
        return 0.01 / (1 + asked)

    return lambda: {**OPTIONS["generators"](), "patience": None, "schedule": schedule}


def expected():
    return Trained(None, at(-1, None), epochs=EPOCHS)


@pytest.mark.parametrize("name", ["generators", "one generator", "rates of each", "rows"])
def test_same_bits_as_without(client, name, monkeypatch):
    monkeypatch.setattr(fastbp._parts, "TASK_SECONDS", 0.0)
    Trained(client, OPTIONS[name]).same_as(Trained(None, OPTIONS[name]))


def test_samples_of_each_and_large_parts(client, monkeypatch):
    """Parts that a scheduler does not pass on."""
    monkeypatch.setattr(fastbp._spread, "LARGE", 100)
    given = {"X": np.array([X] * N), "y": np.array([y] * N)}
    Trained(client, OPTIONS["plain"], **given).same_as(Trained(None, OPTIONS["plain"], **given))


@pytest.mark.parametrize("how_many", [1, 2])
def test_killed_workers(lonely, how_many):
    """With both of them the samples are lost, too."""
    killed = []

    def kill():
        for pid in pids(lonely)[:how_many]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    found = Trained(lonely, at(250, kill), epochs=EPOCHS)
    assert len(killed) == how_many
    found.same_as(expected())


def test_worker_that_comes_later(lonely):
    found = Trained(lonely, at(150, lambda: lonely.cluster.scale(3)), epochs=EPOCHS)
    found.same_as(expected())


def test_client_that_is_closed(cluster, monkeypatch):
    monkeypatch.setattr(fastbp._parts, "TASK_SECONDS", 0.5)
    with Client(cluster, set_as_default=False) as client:
        population, start = Population(N, (4, 6, 1), seeds=0), time.monotonic()
        threading.Timer(0.5, client.close).start()
        with pytest.raises(ConnectionError, match="^client is <Client.*, which is clos"):
            population.train(X, y, SGD(), epochs=10**8, rng=range(N), client=client)
        assert time.monotonic() - start < 20
        with pytest.raises(ConnectionError, match="^client is <Client.*, which is closed"):
            population.train(X, y, SGD(), epochs=1, client=client)


CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


def test_scheduler_that_is_killed(tmp_path):
    """One error; the networks have what had come back, and go on from there."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        client = Client(process.stdout.readline().strip(), set_as_default=False)
        population, optimizer = Population(2, (4, 6, 1), seeds=0), SGD(lr=0.1)
        kept, generators = [], [np.random.default_rng(k) for k in range(2)]

        def callback(epoch, losses, _):
            kept.append(population.params.copy())
            if epoch == 3:
                process.kill()
                process.wait()

        with pytest.raises(ConnectionError, match="its scheduler is gone"):
            population.train(X, y, optimizer, epochs=10**6, rng=generators, callback=callback,
                             client=client)
        client.close(timeout=1)
    n_epochs = len(kept)
    assert n_epochs >= 4 and (population.params == kept[-1]).all()
    population.train(X, y, optimizer, epochs=2, rng=generators)
    whole = Population(2, (4, 6, 1), seeds=0)
    whole.train(X, y, SGD(lr=0.1), epochs=n_epochs + 2,
                rng=[np.random.default_rng(k) for k in range(2)])
    assert (population.params == whole.params).all()


def test_cluster_without_workers(monkeypatch):
    monkeypatch.setattr(fastbp._spread, "WORKER_WITHIN", 0.2)
    with (LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
          Client(cluster, set_as_default=False) as client,
          pytest.raises(ConnectionError, match="^client has had no worker for 0 seconds")):
        Population(2, (4, 1)).train(X, y, SGD(), epochs=1, client=client)


def test_cluster_whose_worker_is_paused(monkeypatch):
    monkeypatch.setattr(fastbp._spread, "WORKER_WITHIN", 2.0)
    with (LocalCluster(n_workers=1, threads_per_worker=1, processes=False, memory_limit="10MiB",
                       dashboard_address=None) as cluster,
          Client(cluster, set_as_default=False) as client):
        paused_within(client, 30.0)
        with pytest.raises(ConnectionError, match="no worker for 2 seconds but 1 that Dask has "):
            Population(2, (4, 1)).train(X, y, SGD(), epochs=1, client=client)


def paused_within(client, seconds):
    end = time.monotonic() + seconds
    while {each["status"] for each in client.scheduler_info()["workers"].values()} != {"paused"}:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_client_that_is_asynchronous(cluster):
    async def train():
        async with Client(cluster.scheduler_address, asynchronous=True,
                          set_as_default=False) as client:
            Population(2, (4, 1)).train(X, y, SGD(), epochs=1, client=client)

    with pytest.raises(ValueError, match="^client is asynchronous"):
        asyncio.run(train())


def test_task_that_kills_its_workers():
    """As one that needs too much memory: Dask gives it up, and the error says whose it was."""
    with (dask.config.set({"distributed.scheduler.allowed-failures": 1}),
          client_of_own_cluster(1) as client,
          fastbp._spread.Workers(client, "network {}".format) as workers):
        workers.submit(3, os._exit, 1)
        with pytest.raises(KilledWorker) as raised:
            list(workers.answers())
    assert raised.value.__notes__ == ["in a worker, in the task of network 3"]


@takes_signals
def test_ctrl_c(client, monkeypatch):
    """The workers end what they have, within the seconds of a task."""
    monkeypatch.setattr(fastbp._parts, "TASK_SECONDS", 0.5)
    population, start = Population(N, (4, 6, 1), seeds=0), time.monotonic()
    threading.Timer(0.5, press_ctrl_c).start()
    with keyboard_interrupt():
        population.train(X, y, SGD(), epochs=10**8, rng=range(N), client=client)
    assert time.monotonic() - start < 5
