"""The accuracy of gradients where units saturate: fastbp beside PyTorch, for docs/accuracy.md.

    pip install -e '.[test,torch]'
    python tools/saturation.py

Exact values have 50 digits, of the z that the computation is given. PyTorch's δ is that of autograd
through `BCEWithLogitsLoss`, and through `Sigmoid` with `BCELoss`. Results go to
results/saturation.json, from which tools/figures.py writes the tables.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tools")]

import figures  # noqa: E402
import oracle  # noqa: E402

import fastbp  # noqa: E402
from fastbp._command.machine import machine  # noqa: E402

FILE = ROOT / "results" / "saturation.json"
LOGITS = {"float32": (10, 15, 17, 20, 40, 80), "float64": (20, 30, 36, 40, 100, 700)}
# z of the hidden units, of both signs, and of the output, whose label is 1
NETWORKS = {"float32": ((15, 1), (20, 1), (80, 1), (1, 15), (1, 20), (1, 80), (40, 40)),
            "float64": ((36, 1), (40, 1), (700, 1), (1, 36), (1, 40), (1, 700), (350, 350))}


def of_value(found, exact):
    """The largest relative error, in words."""
    error = max(float(abs(oracle.mp.mpf(float(a)) - x) / abs(x))
                for a, x in zip(np.ravel(found), np.ravel(exact), strict=True))
    return f"{error:.1e}" if error < 1e-3 else f"{100 * error:.3g}%"


def few_digits(x):
    return oracle.mp.nstr(x, 4, min_fixed=0, max_fixed=0)


def gradient_of(loss, z):
    """∂L/∂z by autograd."""
    x = torch.tensor(z, requires_grad=True)
    loss(x).sum().backward()
    return x.grad.numpy()


def outputs():
    """δ_L of y = 1, and of z = −|z| with y = 0, which have the same size."""
    for dtype, logits in LOGITS.items():
        for z in logits:
            for y, z_y in ((1, z), (0, -z)):
                given, label = np.array([z_y], dtype), np.array([y], dtype)
                exact = oracle.exact_delta(given, label)
                target = torch.tensor(label)
                sides = {
                    "fastbp": fastbp.bce_with_logits(given, label)[1],
                    "BCEWithLogitsLoss": gradient_of(
                        lambda x, t=target: nn.BCEWithLogitsLoss()(x, t), given),
                    "Sigmoid, BCELoss": gradient_of(
                        lambda x, t=target: nn.BCELoss()(torch.sigmoid(x), t), given)}
                yield {"dtype, z": f"{dtype}, {z_y}", "y": y, "exact δ": few_digits(exact[0]),
                       **{name: of_value(found, exact) for name, found in sides.items()}}


def slopes():
    for dtype, logits in LOGITS.items():
        for z in logits:
            for given in (np.array([z], dtype), np.array([-z], dtype)):
                exact = oracle.exact_slope(given)
                yield {"dtype, z": f"{dtype}, {given[0]:g}", "exact σ′": few_digits(exact[0]),
                       "fastbp": of_value(fastbp.activate(given, "sigmoid")[1], exact),
                       "torch.sigmoid": of_value(gradient_of(torch.sigmoid, given), exact)}


def network(dtype, hidden, output):
    """Weights, biases and one sample of a 2-3-1 network with units of such |z|."""
    rng = np.random.default_rng(1)
    weights, biases = oracle.random_network(rng, (2, 3, 1), dtype, 0.25)
    biases[0][:], biases[1][:] = [hidden, -hidden, hidden], output
    return weights, biases, rng.uniform(-0.5, 0.5, (1, 2)).astype(dtype)


def torch_gradient(weights, biases, X, y):
    """[dW_1, dW_2] of the same network."""
    first, last = nn.Linear(2, 3), nn.Linear(3, 1)
    for layer, W, b in zip((first, last), weights, biases, strict=True):
        layer.weight = nn.Parameter(torch.tensor(np.ascontiguousarray(W.T)))
        layer.bias = nn.Parameter(torch.tensor(b))
    z = last(torch.sigmoid(first(torch.tensor(X))))
    nn.BCEWithLogitsLoss(reduction="sum")(z, torch.tensor(y)).backward()
    return [layer.weight.grad.numpy().T for layer in (first, last)]


def gradients():
    """The largest error of an element of each dW."""
    for dtype, sizes in NETWORKS.items():
        u = 2.0**-24 if dtype == "float32" else 2.0**-53
        for hidden, output in sizes:
            weights, biases, X = network(dtype, hidden, output)
            y = np.array([[1]], dtype)
            exact, _ = oracle.error_bound(weights, biases, X, y, u=u, wide=oracle.DIGITS)
            _, dW, _ = fastbp.backprop(weights, biases, X, y)
            other = torch_gradient(weights, biases, X, y)
            for name, x, own, theirs in zip(("dW_1", "dW_2"), exact.dW, dW, other, strict=True):
                yield {"dtype, z of the layers": f"{dtype}, ±{hidden}, {output}", "array": name,
                       "an exact element": few_digits(np.ravel(x)[0]),
                       "fastbp": of_value(own, x), "PyTorch": of_value(theirs, x)}


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    document = {"machine": machine(), "tables": {
        "outputs": list(outputs()), "slopes": list(slopes()), "gradients": list(gradients())}}
    FILE.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    figures.main([])


if __name__ == "__main__":
    main()
