"""Tasks that are spread over the workers of a cluster, and started again where one is lost.

The cluster is a `distributed.Client`, or any `concurrent.futures.Executor`: one of processes, or of
MPI. A client is known by the two methods that are used of it, so that Dask is not imported.

What a task computes is to depend on its arguments alone, and on `arithmetic`, which is compared. It
may be carried out twice, where a worker dies, and its answer may come in any order. A scheduler
starts the tasks of a dead worker again; if shared data died with it, the tasks are lost, and are
started again here.

The executor that a `distributed.Client` can make of itself is not used: one of its futures is never
done if a worker dies while the answer is fetched.
"""

import asyncio
import os
import pickle
import queue
import reprlib
import time
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import suppress

from fastbp import _arguments
from fastbp._kernels.dispatch import CONTRACT_VERSION, get_isa
from fastbp._version import __version__

TASK_SECONDS = 5.0      # after which a task sends back what it has done, and what is left
PER_WORKER = 4          # tasks for each worker, so that one that is slow gets fewer of them
LARGE = 8 << 20         # bytes of an argument that a scheduler should not pass on
MOST_TRIES = 4          # of a task that is lost
LOOK_EVERY = 1.0        # seconds between two looks at a scheduler
WORKER_WITHIN = 30.0    # seconds


class Workers:
    """The workers of a client, and the tasks that they have.

    Parameters
    ----------
    client : distributed.Client or concurrent.futures.Executor
    name_of : callable
        What the task of a key is about, for errors.

    Raises
    ------
    TypeError, ValueError
        For another client; for one that is asynchronous.
    ConnectionError
        For one without a scheduler, or without a worker for `WORKER_WITHIN` seconds.
    """

    def __init__(self, client, name_of):
        self.client, self.name_of, self.tasks, self.futures = client, name_of, {}, {}
        self.done = queue.SimpleQueue()
        self.is_dask = _arguments.client(client)
        if self.is_dask:
            self.require_scheduler()
            self.number = self._threads()
        else:
            number = getattr(client, "num_workers", None) or getattr(client, "_max_workers", None)
            self.number = number or os.cpu_count()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Cancel what is not done: after an error, or Ctrl-C."""
        if not self.is_dask or self.client.status == "running":
            for future in self.futures.values():
                future.cancel()

    def n_tasks(self, n, least):
        """For n things of equal work: `PER_WORKER` for each worker, unless these would have fewer
        than `least` of them.
        """
        return max(min(n, max(self.number, min(PER_WORKER * self.number, n // least))), 1)

    def has_room(self):
        """Whether some worker would have nothing to do if its task ended now, or soon."""
        if self.is_dask and time.monotonic() - self.counted >= LOOK_EVERY:
            self.require_scheduler()
            with suppress(OSError):     # a scheduler that is lost says so when it is asked again
                self.number = sum(self.client.nthreads().values()) or self.number
            self.counted = time.monotonic()
        return len(self.tasks) < PER_WORKER * self.number

    def send_once(self, value, everywhere=True):
        """An argument of tasks that is sent once, to all workers, or to those that need it."""
        return SentOnce(self, value, everywhere) if self.is_dask else value

    def submit(self, key, function, task, *sent):
        """Have ``function(task, *sent)`` called by a worker.

        `task` is copied now; `sent` is what `send_once` returned.
        """
        pickled = pickle.dumps(task)
        if len(pickled) > LARGE:
            pickled = self.send_once(pickled, everywhere=False)
        self.tasks[key] = [0, arithmetic(), function, pickled, *sent]
        self._start(key)

    def answers(self):
        """Yield (key, what the function returned) as they come, until no task is left.

        Raises
        ------
        Exception
            What the function raised, with a note that says in which task.
        ConnectionError
            Where the scheduler is gone, or the client is closed.
        RuntimeError
            For a task that was lost `MOST_TRIES` times.
        """
        while self.futures:
            lost = []
            for key, future in self._done():
                try:
                    answer = future.result()
                except (CancelledError, asyncio.CancelledError):
                    lost.append(key)
                except BrokenExecutor as error:
                    error.add_note("client is an executor that has lost a process, which none "
                                   "replaces; a distributed.Client goes on without it")
                    raise
                except Exception as error:
                    if self._was_not_fetched(future, error):
                        lost.append(key)
                        continue
                    error.add_note(f"in a worker, in the task of {self.name_of(key)}")
                    raise
                else:
                    del self.tasks[key], self.futures[key]
                    yield key, answer
            if lost:
                self._start_again(lost)

    def require_scheduler(self):
        if self.is_dask and self.client.status != "running":
            raise ConnectionError(f"client is {reprlib.repr(self.client)}, which is "
                                  f"{self.client.status}: its scheduler is gone, or it was closed; "
                                  "what had come back by then is kept")

    def _done(self):
        """Those that are done now, after a wait for the first of them."""
        try:
            found = [self.done.get(timeout=LOOK_EVERY)]
            while not self.done.empty():
                found.append(self.done.get())
        except queue.Empty:
            self.require_scheduler()
            found = []
        return found

    def _was_not_fetched(self, future, error):
        """Whether an error is not the task's: a process has died while it passed on the answer."""
        return self.is_dask and isinstance(error, OSError) and future.status != "error"

    def _start(self, key):
        _, *arguments = self.tasks[key]
        placed = [each.in_workers() if isinstance(each, SentOnce) else each for each in arguments]
        options = {"pure": False} if self.is_dask else {}   # not the answer of an equal task
        self.futures[key] = self.client.submit(carry_out, *placed, **options)
        self.futures[key].add_done_callback(lambda future: self.done.put((key, future)))

    def _start_again(self, lost):
        """Start tasks that nobody here has cancelled."""
        time.sleep(0.1)         # a client that is being closed cancels first, and then says so
        self.require_scheduler()
        for key in lost:
            self.tasks[key][0] += 1
            if self.tasks[key][0] == MOST_TRIES:
                raise RuntimeError(f"the task of {self.name_of(key)} was lost {MOST_TRIES} times: "
                                   "its workers died, or somebody cancels it")
            self._start(key)

    def _threads(self):
        wait_for_a_worker(self.client)
        self.counted = time.monotonic()
        return sum(self.client.nthreads().values())


class SentOnce:
    """A value in the memory of workers, and here, from where it is sent again if it is lost."""

    def __init__(self, workers, value, everywhere):
        self.workers, self.value, self.everywhere = workers, value, everywhere
        self.future = None

    def in_workers(self):
        """The future of the value, which stands for it among the arguments of a task."""
        tries = 0
        while self.future is None or self.future.status != "finished":
            self.workers.require_scheduler()
            try:
                self.future, = self.workers.client.scatter(
                    [self.value], broadcast=self.everywhere, hash=False, timeout=WORKER_WITHIN)
            except TimeoutError:
                refuse_without_workers(self.workers.client)
            except (OSError, KeyError):     # of the scheduler: a worker has died meanwhile
                tries += 1
                if tries == MOST_TRIES:
                    raise
                time.sleep(0.1)
            except Exception as error:
                refuse_without_fastbp(error)
                raise
        return self.future


def wait_for_a_worker(client):
    """Wait for a worker that takes tasks; a paused one that still carries out one will do too."""
    try:
        client.wait_for_workers(1, timeout=WORKER_WITHIN)
    except TimeoutError:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not any(each["metrics"].get("task_counts", {}).get("executing") for each in workers):
            refuse_without_workers(client)


def refuse_without_workers(client):
    """Dask pauses a worker whose memory is nearly used up, and does not count it."""
    paused = len(client.scheduler_info(n_workers=-1)["workers"])
    seconds = f"for {WORKER_WITHIN:.0f} seconds"
    raise ConnectionError(
        f"client has had no worker {seconds}; it should have one" if not paused else
        f"client has had no worker {seconds} but {paused} that Dask has paused, since memory is "
        "short; it should have one with a larger memory_limit, or with fewer rows") from None


def refuse_without_fastbp(error):
    """Say so where an error is that of a worker which could not read what was sent to it.

    Dask passes it on as a text.
    """
    text = repr(error)
    if "ModuleNotFoundError" in text and "fastbp" in text:
        raise ImportError(f"a worker of client cannot import fastbp; fastbp {__version__}, as in "
                          "this process, should be installed in the environment of all workers"
                          ) from error


def arithmetic():
    """What bits depend on in a process."""
    fused = ", without fused multiply-add" if get_isa() == "generic" else ""
    return f"version {CONTRACT_VERSION} of the numerics contract{fused}"


def carry_out(asked, function, pickled, *sent):
    """In a worker: a task."""
    require_arithmetic(asked)
    return function(pickle.loads(pickled), *sent)


def require_arithmetic(asked):
    """In a worker: refuse to compute other bits than the process of the client would."""
    if arithmetic() != asked:
        raise RuntimeError(f"a worker has {arithmetic()}; it should have {asked}, as the process "
                           "of the client, for the same bits")
