"""Where the shards of a table lie and who computes with them: a cluster, or this process."""

import time
import uuid
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby

import dask
from dask import delayed
from distributed import Client, TimeoutError, default_client, wait
from distributed.comm import CommClosedError

from fastbp._spread import WORKER_WITHIN, arithmetic, wait_for_a_worker
from fastbp.dask._passes import in_worker, merge

RUN_BYTES = 2**28           # of shards that one task needs in memory at the same time,
SHARE_OF_MEMORY = 8         # and at most this part of a worker's memory
GATHERED_BYTES = 2**26      # of sums that come to the client; of more, workers add FAN_IN each
FAN_IN = 8
LOOK_EVERY = 2.0            # seconds between two looks at which workers there are
ATTEMPTS = 3                # of a pass whose results were lost with the workers that held them
HERE = ("synchronous", "sync", "single-threaded", "threads", "threading", "processes",
        "multiprocessing")


def place_of(client):
    """A `Cluster` for a client, the default client if it is None, or `Here` without one."""
    if client is None:
        scheduler = dask.config.get("scheduler", None)
        if isinstance(scheduler, str) and scheduler.lower() in HERE:
            return Here()
        try:
            client = default_client()
        except ValueError:      # none was made
            return Here()
    if not isinstance(client, Client):
        raise TypeError(f"client is of type {type(client).__name__}; it should be a "
                        "distributed.Client or None")
    if client.asynchronous:
        raise ValueError("client is asynchronous; it should be one that waits for its results")
    if client.status != "running":
        raise ValueError(f"client is {client.status}; it should be connected to a scheduler")
    return Cluster(client)


def itself(made):
    """A task's result under another key."""
    return made


class Here:
    """This process, one task after another: what every cluster is held to."""

    n_slots = 1

    def compute(self, tasks):
        """The results of delayed objects, in their order."""
        return list(dask.compute(*tasks, scheduler="synchronous"))

    def keep(self, tasks, n_bytes):
        """The shards that delayed objects give, of so many bytes each, kept where they are."""
        return self.compute(tasks)

    def sum(self, shards, numbers, function, given):
        """The whole of a sum over the shards of some numbers.

        `function(shards, **given)` gives a part of it.
        """
        return function([shards[s] for s in sorted(numbers)], **given).total()

    def each(self, shards, function, chosen, given):
        """function(those shards, *args, **given) for each (numbers of shards, *args), in order."""
        return [function([shards[s] for s in numbers], *args, **given) for numbers, *args in chosen]


class SchedulerLost(ConnectionError):
    """The scheduler does not answer any more."""


class Cluster:
    """The workers of a `distributed.Client`."""

    def __init__(self, client):
        self.client, self.looked, self.slots = client, -LOOK_EVERY, ()
        self.runs, self.planned = [], None      # the latter: the slots that runs are planned for
        self.with_fastbp = set()                # workers
        self.address = client.scheduler.address

    @property
    def n_slots(self):
        self._retried(lambda: None)
        return len(self.slots)

    def compute(self, tasks):
        # Under other keys each time: a client takes one that it has cancelled for cancelled.
        return self._retried(lambda: self._gather(
            self.client.compute([delayed(itself)(task) for task in tasks])))

    def keep(self, tasks, n_bytes):
        self.shard_bytes = n_bytes
        return self._retried(lambda: self._keep([delayed(itself)(task) for task in tasks]))

    def _keep(self, tasks):
        """Futures of tasks that belong to workers, and that any worker may have once they are made.

        A task that became ready while there was no worker at all waits for its own for ever, even
        if it may go to others from then on. So where one has gone, what is not made is cancelled
        and asked for under another key.
        """
        n, slots, futures, anew = len(tasks), self.slots, [], set()
        homes = [slots[i * len(slots) // n] for i in range(n)]
        for worker, group in groupby(zip(homes, tasks, strict=True), lambda pair: pair[0]):
            futures += self.client.compute([task for _, task in group], workers=[worker],
                                           allow_other_workers=True)
        keys = {key for task in tasks for key in task.__dask_graph__()}

        def ask_anew():
            if set(homes) <= set(self.slots):
                return
            self._let_any_worker_have(keys)
            late = {i for i, future in enumerate(futures)
                    if i not in anew and future.status in ("pending", "lost")}
            self.client.cancel([futures[i] for i in late])
            for i in late:
                futures[i] = self.client.compute(delayed(itself)(tasks[i]))
            anew.update(late)

        with self._cancelled_on_error(futures):
            self._finish(futures, ask_anew)
            self._let_any_worker_have(keys)
        return futures

    def _let_any_worker_have(self, keys):
        self.client.sync(self.client.scheduler.set_restrictions, worker=dict.fromkeys(keys))

    def sum(self, shards, numbers, function, given):
        """As `Here.sum`, a task for each run of shards that one worker has."""
        return self._retried(self._sum, shards, numbers, function, given)

    def each(self, shards, function, chosen, given):
        return self._retried(self._each, shards, function, chosen, given)

    # ---- tasks

    def _sum(self, shards, numbers, function, given):
        if self.planned != self.slots:
            self.runs, self.planned = self._plan(shards), self.slots
        chosen = ([shards[s] for s in run if s in numbers] for run in self.runs)
        parts = self._map(function, [run for run in chosen if run], **given)
        n_bytes = 8 * given["net"].n_params if "net" in given else 0
        while len(parts) > FAN_IN and len(parts) * n_bytes > GATHERED_BYTES:
            parts = self._map(merge, [parts[i:i + FAN_IN] for i in range(0, len(parts), FAN_IN)])
        return merge(self._gather(parts)).total()

    def _each(self, shards, function, chosen, given):
        numbers, *args = zip(*chosen, strict=True)
        of_tasks = [[shards[s] for s in each] for each in numbers]
        return self._gather(self._map(function, of_tasks, *args, **given))

    def _map(self, function, *args, **given):
        """Futures of calls, in one message to the scheduler: half the time of one for each.

        The network goes with them. Of a large one Dask would say each time that it is large.
        """
        name = function.__name__.replace("_", "-")
        keys = [f"fastbp-{name}-{uuid.uuid4().hex}" for _ in args[0]]
        task = partial(in_worker, arithmetic(), function, **given)
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            return self.client.map(task, *args, pure=False, key=keys)

    def _finish(self, futures, meanwhile=lambda: None):
        """Wait as long as there are workers, and raise the error of a task that has failed.

        `meanwhile()` is called from time to time, and may put other futures into the list.
        """
        while True:
            self._require_scheduler(None)
            try:
                with self.client.as_current():
                    wait(futures, timeout=LOOK_EVERY)
                break
            except TimeoutError:
                self._look()
                meanwhile()
        for future in futures:
            if future.status == "error":
                self.failed = True
                future.result()

    def _gather(self, futures):
        with self._cancelled_on_error(futures):
            self._finish(futures)   # `gather` prints a traceback for each if it is interrupted
            return self.client.gather(futures)

    @contextmanager
    def _cancelled_on_error(self, futures):
        try:
            yield
        except BaseException:
            if self.client.status == "running":
                self.client.cancel(futures)
            raise

    def _retried(self, task, *args):
        """Call `task` again where data were lost with a worker; one error without a scheduler.

        `failed` is whether a task of a worker ended with an error of the data or of its code.
        """
        self.failed = False
        for attempt in range(ATTEMPTS):
            self._require_scheduler(None)
            try:
                self._look()
                return task(*args)
            except (CancelledError, CommClosedError, OSError) as error:
                self._require_scheduler(error)
                is_lost = isinstance(error, (CancelledError, CommClosedError))
                if self.failed or not is_lost or attempt == ATTEMPTS - 1:
                    raise
                self.looked, self.planned = -LOOK_EVERY, None

    def _require_scheduler(self, cause):
        if self.client.status != "running":
            raise SchedulerLost(f"the scheduler {self.address} of the cluster does not answer any "
                                "more") from cause

    # ---- workers

    def _look(self):
        """Learn which workers there are, from time to time."""
        if time.monotonic() - self.looked < LOOK_EVERY:
            return
        wait_for_a_worker(self.client)
        threads = self.client.ncores()
        self._require_fastbp(threads)
        self.looked = time.monotonic()
        self.slots = tuple(worker for worker in sorted(threads) for _ in range(threads[worker]))

    def _require_fastbp(self, workers):
        """Refuse a worker without fastbp: it would die of the first task that it cannot read."""
        if others := [worker for worker in workers if worker not in self.with_fastbp]:
            found = self.client.run(exec, "import fastbp.dask._passes", workers=others,
                                    on_error="return")
            for worker, error in found.items():
                if isinstance(error, Exception) and not isinstance(error, OSError):     # it died
                    raise ImportError(f"worker {worker} of client cannot import fastbp.dask: "
                                      f"{error}; it should have the version of the client")
            self.with_fastbp.update(others)

    def _plan(self, shards):
        """The numbers of the shards of each task of a pass, all on one worker.

        A shard is read where it lies, unless that worker has more than its share: then it is copied
        to one that has less, and the scheduler drops the other copy in time.
        """
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        held, n = self.client.who_has(shards), len(shards)
        share = {worker: 0 for worker in self.slots}
        for i, worker in enumerate(self.slots):
            share[worker] += n * (i + 1) // len(self.slots) - n * i // len(self.slots)
        own, homeless = {worker: [] for worker in share}, []
        for number, shard in enumerate(shards):
            home = next((worker for worker in held.get(shard.key, ())
                         if len(own.get(worker, ())) < share.get(worker, 0)), None)
            (homeless if home is None else own[home]).append(number)
        for worker, numbers in own.items():
            more = share[worker] - len(numbers)
            if moved := homeless[:more]:
                numbers += moved
                # It may have gone, or take no more: then they are read where they are.
                with suppress(KeyError, ValueError, AssertionError, TimeoutError):
                    self.client.replicate([shards[s] for s in moved], n=1, workers=[worker],
                                          callback_timeout=WORKER_WITHIN)
            del homeless[:more]
        runs = []
        for worker, numbers in own.items():
            limit = workers.get(worker, {}).get("memory_limit") or RUN_BYTES * SHARE_OF_MEMORY
            most = max(min(RUN_BYTES, limit // SHARE_OF_MEMORY) // self.shard_bytes, 1)
            tasks = max(-(-len(numbers) // most), min(self.slots.count(worker), len(numbers)))
            numbers.sort()
            runs += [numbers[len(numbers) * i // tasks:len(numbers) * (i + 1) // tasks]
                     for i in range(tasks)]
        return runs
