"""Time to the same loss with L-BFGS: fastbp's objective beside NumPy's and PyTorch's.

    python bench/solve_scipy.py [--json results/scipy.json]

Every side minimises the same function from the same parameters: the mean loss with a penalty, in
float64, on one core. `scipy.optimize.minimize` drives fastbp, a gradient written in NumPy, and
PyTorch's through autograd; `torch.optim.LBFGS` is PyTorch's own. First the gradients are compared,
then fastbp goes STEPS iterations, and the loss it reached is the target that each side is timed to.
Needs scipy and scikit-learn (for the digits), and PyTorch for its columns.
"""

import argparse
import json
import statistics
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

import fastbp
from fastbp._command.bench.environment import start_again
from fastbp._command.bench.timing import one_core
from fastbp._command.machine import machine
from fastbp.datasets import load_breast_cancer

STEPS = 60                  # iterations of fastbp that set the target
MAX_STEPS = 20 * STEPS      # iterations after which a side has not reached it
SEEDS = range(5)
L2 = 0.1
PROBLEMS = [("breast cancer", (30, 16, 16, 1), "sigmoid", "bce"),
            ("digits", (64, 32, 10), "tanh", "softmax"),
            ("digits", (64, 128, 64, 10), "tanh", "softmax")]


class Reached(Exception):
    pass


def data(name):
    if name == "breast cancer":
        table = load_breast_cancer()
        return (table.X - table.X.mean(axis=0)) / table.X.std(axis=0), table.y
    from sklearn.datasets import load_digits
    digits = load_digits()
    return digits.data / 16, digits.target


def numpy_loss(loss, z, y):
    """The loss of the outputs, summed, and its derivative."""
    if loss == "bce":
        return (np.logaddexp(0, z) - y * z).sum(), 1 / (1 + np.exp(-z)) - y
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    value = -np.log(p[rows, y]).sum()
    p[rows, y] -= 1
    return value, p


def numpy_objective(net, X, y):
    """The gradient as one writes it in NumPy, of flat parameters."""
    y = y.reshape(-1, 1) if net.loss == "bce" else y
    activate, slope = {"sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda h: h * (1 - h)),
                       "tanh": (np.tanh, lambda h: 1 - h * h)}[net.activation]
    shapes = [shape for i, o in pairwise(net.layer_sizes) for shape in ((i, o), (o,))]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def objective(params):
        arrays = [a.reshape(shape) for a, shape in
                  zip(np.split(params, ends), shapes, strict=True)]
        W, b, h = arrays[::2], arrays[1::2], [X]
        for W_l, b_l in zip(W[:-1], b[:-1], strict=True):
            h.append(activate(h[-1] @ W_l + b_l))
        value, delta = numpy_loss(net.loss, h[-1] @ W[-1] + b[-1], y)
        grads = []
        for k in reversed(range(len(W))):
            grads[:0] = (h[k].T @ delta + L2 * W[k]).ravel(), delta.sum(axis=0)
            if k > 0:
                delta = delta @ W[k].T * slope(h[k])
        value += L2 / 2 * sum((w * w).sum() for w in W)
        return value / len(X), np.concatenate(grads) / len(X)

    return objective


def torch_model(net, X, y):
    """The same network as a module, and a closure of its loss."""
    import torch
    torch.set_num_threads(1)
    layers = []
    for W, b in zip(net.weights, net.biases, strict=True):
        linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
        linear.weight.data[:], linear.bias.data[:] = torch.tensor(W.T), torch.tensor(b)
        layers += [linear, {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}[net.activation]()]
    model = torch.nn.Sequential(*layers[:-1])
    inputs = torch.tensor(X)
    if net.loss == "bce":
        target = torch.tensor(y.reshape(-1, 1), dtype=torch.float64)
        criterion = torch.nn.BCEWithLogitsLoss()
    else:
        target, criterion = torch.tensor(y), torch.nn.CrossEntropyLoss()
    weights = [layer.weight for layer in layers[::2]]

    def loss():
        return criterion(model(inputs), target) + L2 / 2 / len(X) * sum(
            (w * w).sum() for w in weights)

    return model, loss


def torch_objective(net, X, y):
    """PyTorch's gradient for SciPy, with parameters in fastbp's order."""
    import torch
    model, loss = torch_model(net, X, y)
    parameters = list(model.parameters())
    shapes = [p.shape[::-1] for p in parameters]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def objective(params):
        with torch.no_grad():
            for p, a, shape in zip(parameters, np.split(params, ends), shapes, strict=True):
                p.copy_(torch.from_numpy(a.reshape(shape).T))
        model.zero_grad()
        value = loss()
        value.backward()
        return value.item(), np.concatenate([p.grad.numpy().T.ravel() for p in parameters])

    return objective


def to_target(make, net, X, y, target):
    """Seconds until SciPy's L-BFGS-B reaches the target, and the evaluations it took."""
    objective, count = make(net, X, y), 0

    def watched(params):
        nonlocal count
        count += 1
        value, grad = objective(params)
        if value <= target:
            raise Reached
        return value, grad

    start = time.perf_counter()
    try:
        minimize(watched, net.params, jac=True, method="L-BFGS-B",
                 options={"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "ftol": 0, "gtol": 0})
    except Reached:
        return time.perf_counter() - start, count
    raise RuntimeError(f"the target {target} was not reached")


def own_lbfgs(net, X, y, target):
    """Seconds until torch.optim.LBFGS reaches the target, and its evaluations."""
    import torch
    model, loss = torch_model(net, X, y)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=MAX_STEPS, max_eval=2 * MAX_STEPS,
                                  history_size=10, tolerance_grad=0, tolerance_change=0,
                                  line_search_fn="strong_wolfe")
    count = 0

    def closure():
        nonlocal count
        count += 1
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if value.item() <= target:
            raise Reached
        return value

    start = time.perf_counter()
    try:
        optimizer.step(closure)
    except Reached:
        return time.perf_counter() - start, count
    raise RuntimeError(f"the target {target} was not reached")


def fastbp_objective(net, X, y):
    return net.objective(X, y, reduction="mean", l2=L2)


def sides():
    found = {"fastbp": lambda *args: to_target(fastbp_objective, *args),
             "NumPy": lambda *args: to_target(numpy_objective, *args)}
    if find_spec("torch") is None:
        return found
    found["PyTorch"] = lambda *args: to_target(torch_objective, *args)
    found["torch.optim.LBFGS"] = own_lbfgs
    return found


def verify(net, X, y):
    """All gradients are one: to a rounding of each of the sums of at most n terms."""
    value, grad = fastbp_objective(net, X, y)(net.params)
    scale = len(X) * 2.0**-53
    for make in [numpy_objective] + [torch_objective] * ("PyTorch" in sides()):
        other, other_grad = make(net, X, y)(net.params)
        assert abs(value - other) <= scale * abs(value)
        assert np.abs(grad - other_grad).max() <= 10 * scale * np.abs(grad).max()


def measure():
    for name, sizes, activation, loss in PROBLEMS:
        X, y = data(name)
        taken = {side: [] for side in sides()}
        for seed in SEEDS:
            net = fastbp.MLP(sizes, activation=activation, loss=loss, dtype="float64", seed=seed,
                             n_threads=1)
            verify(net, X, y)
            target = minimize(fastbp_objective(net, X, y), net.params, jac=True,
                              method="L-BFGS-B", options={"maxiter": STEPS}).fun
            for side, solve in sides().items():
                taken[side].append(solve(net, X, y, target))
        medians = {side: statistics.median(seconds for seconds, _ in each)
                   for side, each in taken.items()}
        evaluations = {side: statistics.median(count for _, count in each)
                       for side, each in taken.items()}
        row = {"problem": name, "network": "-".join(map(str, sizes)), "loss": loss,
               "fastbp ms": 1e3 * medians["fastbp"]}
        row |= {f"/ {side}": medians[side] / medians["fastbp"] for side in taken
                if side != "fastbp"}
        row["evaluations"] = " / ".join(f"{count:.0f}" for count in evaluations.values())
        print(row)
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    with one_core():
        start_again()
        document = {"machine": machine(), "tables": {"solve": list(measure())}}
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
