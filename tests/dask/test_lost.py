"""Promise: a worker that dies changes no bit and loses nothing; a lost scheduler is one error.

The processes of clusters are killed with SIGKILL.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import dask
import pytest
from dask_tables import cut, digest, table
from distributed import Client, LocalCluster
from distributed.core import Status

import fastbp
from fastbp import _spread
from fastbp.dask import DaskMLPClassifier, DaskMLPRegressor, SchedulerLost, _passes, objective
from fastbp.dask._places import Cluster
from fastbp.dask._resume import EvaluationLog

N_ROWS = 300_000
SECONDS = 60        # in which a call ends that would hang


@pytest.fixture(scope="module")
def killed_cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(killed_cluster):
    """Whose workers come back after they have been killed."""
    with Client(killed_cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        yield client


def pids(client):
    return list(client.run(os.getpid).values())


def kill_during(client, call, task="fastbp-"):
    """Kill a worker while `call` has such a task that runs; returns what the call does."""
    victims, killed = pids(client), []

    def kill():
        for _ in range(2000):
            if task in str(client.processing()):
                os.kill(victims[0], signal.SIGKILL)
                killed.append(victims[0])
                return
            time.sleep(0.002)

    thread = threading.Thread(target=kill)
    thread.start()
    result = call()
    thread.join()
    assert killed
    return result


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_is_killed_in_a_pass_changes_no_bit(own_cluster):
    X, y, *_ = table(n=N_ROWS)
    net = fastbp.MLP([5, 128, 128, 1], seed=1)
    f = objective(net, cut(X, 50_000), cut(y, 50_000), client=own_cluster)
    expected = digest(*f(net.params))
    for _ in range(2):      # the second time it is one that has come back, or has all the rows
        assert kill_during(own_cluster, lambda: digest(*f(net.params))) == expected
    assert digest(*f(net.params)) == expected


@pytest.mark.parametrize(("task", "model"), [
    ("gradient", DaskMLPClassifier(solver="adam", batch_size=50_000)),
    *(pytest.param(*each, marks=pytest.mark.exhaustive) for each in [
        ("hessian-product", DaskMLPRegressor(solver="newton-cg")),
        ("local-steps", DaskMLPClassifier(solver="sgd", average_every=4, n_replicas=4))])])
def test_a_worker_that_is_killed_in_a_fit_changes_no_bit(task, model, own_cluster):
    X, y, *_ = table(n=N_ROWS // 3)
    model = model.__sklearn_clone__().set_params(hidden_layer_sizes=(48, 48), max_iter=3,
                                                 random_state=0, tol=0.0)
    data = cut(X, 50_000), cut(y, 50_000)
    with dask.config.set(scheduler="synchronous"), pytest.warns(Warning):
        expected = digest(model.fit(*data))
    model.client = own_cluster
    with pytest.warns(Warning):
        assert kill_during(own_cluster, lambda: digest(model.fit(*data)), task) == expected


def slow(block):
    time.sleep(0.2)
    return block


def test_all_workers_gone_while_shards_are_made_and_another_come(monkeypatch):
    """The other one comes before this client has seen that there was none."""
    X, y, *_ = table(n=9000)
    X, y = cut(X, 1500).map_blocks(slow, dtype=X.dtype, meta=X[:0]), cut(y, 1500)
    net = fastbp.MLP([5, 4, 1], seed=1)
    with dask.config.set(scheduler="synchronous"):
        expected = digest(*objective(net, X, y)(net.params))
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, memory_limit=None,
                      dashboard_address=None) as cluster, \
            Client(cluster, set_as_default=False) as client:
        keep = Cluster._keep

        def other_worker():
            cluster.scale(0)
            client.sync(no_worker, client)
            cluster.scale(1)

        def waited(*args):
            thread = threading.Timer(0.3, other_worker)
            thread.start()
            kept = keep(*args)
            thread.join()
            return kept

        monkeypatch.setattr(Cluster, "_keep", waited)
        assert digest(*objective(net, X, y, client=client)(net.params)) == expected


def test_a_worker_that_is_paused_while_it_computes_is_waited_for(monkeypatch):
    """As one whose memory is nearly used up by the task that it has, for longer than one waits."""
    X, y, *_ = table(n=3000)
    slow = cut(X, 3000).map_blocks(lambda block: (time.sleep(3.2), block)[1], dtype=X.dtype,
                                   meta=X[:0])
    monkeypatch.setattr(_spread, "WORKER_WITHIN", 0.5)
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, memory_limit=None,
                      dashboard_address=None) as cluster, \
            Client(cluster, set_as_default=False) as client:
        def set_status(status):
            client.run(lambda dask_worker: setattr(dask_worker, "status", status))

        timers = [threading.Timer(*each) for each in [
            (0.5, set_status, [Status.paused]), (2.8, set_status, [Status.running])]]
        for timer in timers:
            timer.start()
        f = objective(fastbp.MLP([5, 4, 1]), slow, cut(y, 3000), client=client)
        for timer in timers:
            timer.join()
        assert f.n_samples == 3000


def test_shards_are_not_copied_to_a_worker_that_has_just_gone(client):
    X, y, *_ = table(n=N_ROWS)
    net = fastbp.MLP([5, 4, 1], seed=1)
    f = objective(net, cut(X, 50_000), cut(y, 50_000), client=client)
    expected = digest(*f(net.params))
    place = f._table.place
    place.slots, place.looked, place.runs = ("tcp://127.0.0.1:9", "tcp://127.0.0.1:99"), \
        time.monotonic(), None
    assert digest(*f(net.params)) == expected


async def no_worker(client):
    while await client.scheduler.ncores():
        await asyncio.sleep(0.01)


INTERRUPTED = """
import signal
import threading
import time
from dask_tables import cut, table
from distributed import Client, LocalCluster
from fastbp.dask import DaskMLPClassifier

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    X, y, *_ = table(n=9000)
    slow = cut(X, 200).map_blocks(lambda block: (time.sleep(0.5), block)[1], dtype=X.dtype,
                                  meta=X[:0])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \\
            Client(cluster) as client:
        model = DaskMLPClassifier((4,))
        threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
        try:
            model.fit(slow, cut(y, 5000))
        except KeyboardInterrupt:
            print("interrupted", hasattr(model, "local_"), client.submit(abs, -3).result())
"""


def test_an_interrupted_fit_ends_in_silence_and_the_client_goes_on(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    support = os.path.join(os.path.dirname(os.path.dirname(__file__)), "support")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=SECONDS,
                          env={**os.environ, "PYTHONPATH": support})
    assert done.stdout == "interrupted False 3\n"
    assert "never retrieved" not in done.stderr


CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def killable(folder):
    """A client of a cluster that is a process of its own, and a function that kills this."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE,
                               stdin=subprocess.PIPE, text=True, start_new_session=True)
    try:
        with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
            client = Client(process.stdout.readline().strip(), set_as_default=False)
            yield client, lambda: os.kill(process.pid, signal.SIGKILL)
            client.close(timeout=1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stdin.close()


def test_a_scheduler_that_is_killed_is_one_error_at_once(tmp_path):
    X, y, *_ = table(n=N_ROWS)
    with killable(tmp_path) as (client, kill):
        net = fastbp.MLP([5, 64, 64, 1], seed=1)
        f = objective(net, cut(X, 50_000), cut(y, 50_000), client=client)
        f(net.params)
        threading.Timer(0.02, kill).start()
        start = time.monotonic()
        with pytest.raises(SchedulerLost, match=r"the scheduler tcp://.* does not answer"):
            while time.monotonic() - start < SECONDS:
                f(net.params)
        with pytest.raises(SchedulerLost):
            f(net.params)
        assert time.monotonic() - start < SECONDS


def test_a_scheduler_that_is_killed_while_shards_are_made(tmp_path, monkeypatch):
    X, y, *_ = table(n=9000)
    slow = cut(X, 1500).map_blocks(lambda block: (time.sleep(0.5), block)[1], dtype=X.dtype,
                                   meta=X[:0])
    with killable(tmp_path) as (client, kill):
        keep = Cluster._keep

        def killed(*args):
            threading.Timer(0.3, kill).start()
            return keep(*args)

        monkeypatch.setattr(Cluster, "_keep", killed)
        with pytest.raises(SchedulerLost, match=r"the scheduler tcp://.* does not answer"):
            objective(fastbp.MLP([5, 4, 1]), slow, cut(y, 1500), client=client)


def test_a_fit_whose_scheduler_is_killed_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    X, y, *_ = table(n=N_ROWS)
    data = cut(X, 50_000), cut(y, 50_000)
    model = DaskMLPClassifier((16, 16), random_state=0, max_iter=8, tol=0.0)
    with dask.config.set(scheduler="synchronous"), pytest.warns(Warning):
        expected = digest(model.fit(*data))
    with killable(tmp_path) as (client, kill), monkeypatch.context() as patched:
        evaluate = EvaluationLog.__call__

        def evaluated(log, params):
            if len(log.made) == 5:
                kill()
            return evaluate(log, params)

        patched.setattr(EvaluationLog, "__call__", evaluated)
        model.set_params(client=client, checkpoint=tmp_path / "fit")
        with pytest.raises(SchedulerLost) as lost:
            model.fit(*data)
    assert "goes on from here on another cluster" in lost.value.__notes__[0]
    passes, gradient = [], _passes.gradient
    monkeypatch.setattr(_passes, "gradient", lambda *args, **given: (
        passes.append(1), gradient(*args, **given))[1])
    with dask.config.set(scheduler="synchronous"), pytest.warns(Warning):
        assert digest(model.set_params(client=None).fit(*data)) == expected
    n_passes = len(passes)
    model.set_params(checkpoint=None)
    with dask.config.set(scheduler="synchronous"), pytest.warns(Warning):
        model.fit(*data)
    assert len(passes) - n_passes == n_passes + 5       # those that were read


def test_workers_of_other_bits_are_refused():
    """A worker without fused multiply-add would compute a gradient of its own."""
    X, y, *_ = table(n=9000)
    net, own = fastbp.MLP([5, 4, 1], seed=1), fastbp.get_isa()
    other = "avx2" if own == "generic" else "generic"
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None,
                      env={"FASTBP_ISA": other}) as cluster, \
            Client(cluster, set_as_default=False) as client, \
            pytest.raises(RuntimeError, match="a worker has version 1 of the numerics contract"):
        objective(net, cut(X, 5000), cut(y, 5000), client=client)(net.params)


def test_a_worker_without_fastbp_is_refused():
    """It would die of each task that it cannot read, and nobody would say why."""
    X, y, *_ = table(n=9000)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, \
            Client(cluster, set_as_default=False) as client:
        client.run(exec, "import sys; sys.modules['fastbp.dask._passes'] = None")
        with pytest.raises(ImportError, match=r"^worker tcp://\S+ of client cannot import fastbp"):
            objective(fastbp.MLP([5, 4, 1]), cut(X, 5000), cut(y, 5000), client=client)
