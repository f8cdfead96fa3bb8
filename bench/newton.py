"""What loss fits of a photograph reach in the same time: Gauss-Newton, L-BFGS, Newton, Adam, SGD.

    python bench/newton.py [--json results/newton.json]

The problem, and the steps of Gauss-Newton, are the code of docs/newton.md. Every side starts from
the same parameters, in float64 on one core, and has as many seconds of processor time; each has its
losses taken after AT seconds, the last of which end it. Batch size and rate of Adam and SGD end
with a lower loss from the first start than the next smaller and the next larger of each.
"""

import argparse
import json
import re
import statistics
import time
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

import fastbp
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.timing import one_core
from fastbp._command.machine import machine

PAGE = Path(__file__).parents[1] / "docs" / "newton.md"
AT = (1.0, 3.0, 10.0)       # seconds
SEEDS = range(3)
SIZES = (2, 32, 32, 1)
BATCHES = (1, 3, 6, 12, 25, 50, 100, 200, 400, 800, 1600)
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RULES = {"Adam": fastbp.Adam, "SGD": partial(fastbp.SGD, momentum=0.9)}

code = {}
exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], code)


class Ended(Exception):
    pass


class Clock:
    """Seconds of the process, without those in which losses are recorded; the losses after AT."""

    def __init__(self):
        self.start, self.losses = time.process_time(), []

    def look(self, loss):
        """Take the loss, from a function, if it is time; Ended after the last."""
        now = time.process_time()
        if now - self.start < AT[len(self.losses)]:
            return
        self.losses.append(loss())
        if len(self.losses) == len(AT):
            raise Ended
        self.start += time.process_time() - now


def run(fit, seed, X, y):
    """The losses of a side after AT seconds."""
    net = fastbp.MLP(SIZES, activation="tanh", loss="squared_error", dtype="float64", seed=seed,
                     n_threads=1)
    clock = Clock()
    try:
        fit(clock, net, X, y)
    except Ended:
        return clock.losses
    raise RuntimeError("a side ended before its time")


def by_gauss_newton(clock, net, X, y):
    best = [np.inf]

    class Watched(fastbp.MLP):
        """A network that knows the least loss of its linearizations."""

        def linearize(self, *args, **options):
            point = super().linearize(*args, **options)
            clock.look(lambda: best[0])         # this one came too late to count
            best[0] = min(best[0], point.loss)
            return point

    watched = Watched(net.layer_sizes, activation=net.activation, loss=net.loss,
                      dtype=net.dtype, n_threads=1)
    watched.params = net.params
    code["gauss_newton"](watched, X, y, repeat(None))


def by_scipy(method, options, clock, net, X, y):
    objective, best = net.objective(X, y, reduction="mean"), [np.inf]

    def watched(params):
        loss, grad = objective(params)
        clock.look(lambda: best[0])
        best[0] = min(best[0], loss)
        return loss, grad

    hessp = {} if method == "L-BFGS-B" else {"hessp": objective.hessp}
    minimize(watched, net.params, jac=True, method=method, options=options, **hessp)


def by_epochs(name, batch, rate, clock, net, X, y):
    rule, rng = RULES[name](rate), np.random.default_rng(0)
    while True:
        net.train_epoch(X, y, rule, batch_size=batch, rng=rng)
        clock.look(lambda: net.loss_value(X, y, reduction="mean"))


def tuned(name, X, y):
    """A batch size and a rate to which none of the settings beside it is preferable.

    They are places in BATCHES and RATES; one at an end would be no answer.
    """
    ends, best = {}, (BATCHES.index(50), RATES.index(0.01))
    while True:
        b, r = best
        if not (0 < b < len(BATCHES) - 1 and 0 < r < len(RATES) - 1):
            raise RuntimeError(f"{name} is best at the end of the grid; it should be longer")
        beside = [best, (b - 1, r), (b + 1, r), (b, r - 1), (b, r + 1)]
        for each in beside:
            if each not in ends:
                batch, rate = BATCHES[each[0]], RATES[each[1]]
                loss = run(partial(by_epochs, name, batch, rate), SEEDS[0], X, y)[-1]
                ends[each] = loss if np.isfinite(loss) else np.inf
                print(name, batch, rate, ends[each], flush=True)
        least = min(beside, key=ends.get)       # of equals the first: `best`
        if least == best:
            return BATCHES[b], RATES[r]
        best = least


def sides(X, y):
    yield "Gauss-Newton, this page", by_gauss_newton
    yield "L-BFGS-B", partial(by_scipy, "L-BFGS-B", {
        "maxiter": 10**7, "maxfun": 10**7, "ftol": 0, "gtol": 0, "maxcor": 20})
    yield "trust-ncg", partial(by_scipy, "trust-ncg", {"gtol": 0, "maxiter": 10**7})
    for name in RULES:
        batch, rate = tuned(name, X, y)
        momentum = ", momentum 0.9" if name == "SGD" else ""
        yield f"{name}, batches of {batch}, rate {rate}{momentum}", partial(
            by_epochs, name, batch, rate)


def measure():
    X, y = code["photograph"]()
    for name, fit in sides(X, y):
        losses = [run(fit, seed, X, y) for seed in SEEDS]
        row = {"method": name, **{f"after {seconds:.0f} s": statistics.median(each) for
                                  seconds, each in zip(AT, zip(*losses, strict=True), strict=True)}}
        print(row, flush=True)
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    with one_core():
        start_again()
        document = {"machine": machine(), "tables": {"fit": list(measure())}}
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
