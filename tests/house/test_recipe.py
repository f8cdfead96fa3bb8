"""Promise: an activation and a loss are a kernel, its twin and a descriptor, as CONTRIBUTING says.

One of each is added to a copy of the tree, which is built for one variant; `fastbp check` then
holds them to their error bounds, and here they are held to difference quotients.
"""

import os
import shutil
import subprocess
import sys

import pytest
from places import ROOT

# (file, text, what takes its place); h = z / (1 + |z|)
SOFTSIGN = [
    ("fastbp/_kernels/table.pxd", "\n\nctypedef struct Target:",
     "\n    SOFTSIGN        # h = z / (1 + |z|)\n\nctypedef struct Target:"),
    ("fastbp/_kernels/primitives.pxi", "SIGMOID, SOFTMAX,", "SIGMOID, SOFTMAX, SOFTSIGN,"),
    ("fastbp/_kernels/elementwise.pxi", "    elif activation == EXPONENTIAL:\n        for", """\
    elif activation == SOFTSIGN:
        for u in range(count):
            scale = splat(1) / (splat(1) + magnitude(z[u]))
            slope[u] = scale * scale
            h[u] = z[u] * scale
    elif activation == EXPONENTIAL:
        for"""),
    ("fastbp/_kernels/bound.pxi", "    if activation == TANH:\n", """\
    if activation == SOFTSIGN:      # |h'| <= 1, |h''| <= 2
        e[0] = up(fma(splat(4) * u, size, e_z))
        e_slope[0] = up(fma(splat(8) * u, slope, e_z + e_z))
        return
    if activation == TANH:
"""),
    ("fastbp/_twin/mathematics.py", "ACTIVATIONS = ", """\
def softsign(z):
    return z / (1 + _abs(z)), 1 / (1 + _abs(z)) ** 2


ACTIVATIONS = """),
    ("fastbp/_twin/bounds.py", "ACTIVATIONS = ", """\
def softsign(do, z):
    scale = 1 / (1 + np.abs(z.x))
    return do.ball(z.x * scale, z.e, 4), do.ball(scale * scale, 2 * z.e, 8)


ACTIVATIONS = """),
    ("fastbp/_arguments/descriptors.py", '"relu", "identity"]', '"relu", "identity", "softsign"]'),
    ("fastbp/_arguments/descriptors.py", 'torch="Identity", contract=1),\n',
     'torch="Identity", contract=1),\n    Activation(name="softsign", number=6),\n'),
]

# (z - t)^2 / 4 of each output
QUARTER = [
    ("fastbp/_kernels/table.pxd", "    CRITERIA = 4 ", "    CRITERIA = 5 "),
    ("fastbp/_kernels/loss.pxi", "    POISSON\n", "    POISSON\n    QUARTER\n"),
    ("fastbp/_kernels/loss.pxi", "    if kind == SQUARED_ERROR:\n", """\
    if kind == QUARTER:
        out.delta = splat(0.5) * (z - t)
        out.loss = out.delta * out.delta
        return out
    if kind == SQUARED_ERROR:
"""),
    ("fastbp/_kernels/loss.pxi", "# ---- sums and ranges", """\
cdef void quarter(memory losses, memory delta, source z, source y, source sample_weight,
                  const Target* target, Py_ssize_t n, Py_ssize_t n_outputs) noexcept nogil:
    each_output(QUARTER, losses, delta, z, y, sample_weight, target, n, n_outputs, False)


# ---- sums and ranges"""),
    ("fastbp/_kernels/population.pxi", "cdef void softmax_loss_of_networks", """\
cdef void quarter_of_networks(memory losses, memory delta, source z, source y,
                              source sample_weight, const Target* target, Py_ssize_t n,
                              Py_ssize_t n_outputs) noexcept nogil:
    each_output(QUARTER, losses, delta, z, y, sample_weight, target, n, n_outputs, True)


cdef void softmax_loss_of_networks"""),
    ("fastbp/_kernels/variant.pxi", "poisson_of_networks]",
     "poisson_of_networks, quarter_of_networks]"),
    ("fastbp/_kernels/variant.pxi", "poisson_with_logits]", "poisson_with_logits, quarter]"),
    ("fastbp/_twin/mathematics.py", "LOSSES = ", """\
def quarter_loss(z, t):
    return ((z - t) / 2) ** 2, (z - t) / 2


LOSSES = """),
    ("fastbp/_twin/bounds.py", "LOSSES = ", """\
def quarter(do, z, t, _):
    delta = do.ball((z.x - t.x) / 2, z.e / 2, 2)
    return z, delta, do.ball(delta.x**2, delta.size * z.e + z.e**2, 4)


LOSSES = """),
    ("fastbp/_arguments/descriptors.py", '"squared_error", "poisson"]',
     '"squared_error", "poisson", "quarter"]'),
    ("fastbp/_arguments/descriptors.py", 'torch=("PoissonNLLLoss",), contract=1),\n',
     'torch=("PoissonNLLLoss",), contract=1),\n'
     '    Loss(name="quarter", kernel="quarter", output="identity", targets=REAL),\n'),
]

# To build no more than is needed
ONE_VARIANT = [("setup.py", ".get(platform.machine().lower(), ", '.get("", ')]

SCRIPT = """
import numpy as np, fastbp
from fastbp import reference
from fastbp._command import check, digests
from fastbp._command.problems import problem

assert list(fastbp._arguments.ACTIVATIONS)[-1] == "softsign"
found = [(case.activation, case.loss) for case in check.NETWORKS]
assert ("softsign", "quarter") in found and ("softsign", "softmax") in found, found
lines = list(check.gradients())
assert lines and all(each.ok for each in lines), lines
assert all(each.ok for each in digests.levels(check.NETWORKS))     # of the recorded pairs alone

for activation, loss in (("softsign", "bce"), ("tanh", "quarter"), ("softsign", "quarter")):
    net, X, y = problem((3, 5, 2), 7, "float64", 0, activation, loss)
    kind = {"activation": activation, "loss": loss}
    value, dW, db = reference.backprop(net.weights, net.biases, X, y, **kind)
    assert abs(net.backprop(X, y) - value) < 1e-13 * value
    twin = np.concatenate([a.ravel() for pair in zip(dW, db) for a in pair])
    # Sums over 7 samples, through two layers of at most 5 terms, are rounded fewer than 100 times:
    # 100 * 2^-53 = 1.1e-14 of terms of order 1. A wrong formula is off by far more than 1e-12.
    assert np.allclose(net.grad, twin, rtol=1e-12, atol=1e-14)
    grad, step = net.grad.copy(), 1e-5
    for i in range(net.n_params):           # the error of a quotient is step^2 and 1e-16 / step
        at = net.params[i]
        net.params[i] = at + step
        above = net.loss_value(X, y)
        net.params[i] = at - step
        quotient = (above - net.loss_value(X, y)) / (2 * step)
        assert abs(quotient - grad[i]) < 1e-8 * (1 + abs(grad[i]))
        net.params[i] = at
try:
    fastbp.MLP([2, 1], loss="quarter", label_smoothing=0.5)
    raise AssertionError("it takes no option")
except ValueError as error:
    assert "under loss='quarter' it should be 0" in str(error)
"""


def patched(folder, changes):
    for name, old, new in changes:
        path = folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new))


def test_the_texts_that_the_recipe_changes_are_there(tmp_path):
    """Quickly, what the test below needs minutes to find."""
    for name, _, _ in (*SOFTSIGN, *QUARTER, *ONE_VARIANT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    patched(tmp_path, [*SOFTSIGN, *QUARTER, *ONE_VARIANT])


@pytest.mark.exhaustive
def test_one_activation_and_one_loss_more(tmp_path):
    shutil.copytree(ROOT / "fastbp", tmp_path / "fastbp",
                    ignore=shutil.ignore_patterns("*.so", "__pycache__", "*.c"))
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    patched(tmp_path, [*SOFTSIGN, *QUARTER, *ONE_VARIANT])
    env = {**os.environ, "FASTBP_OPTIMIZE": "-O1", "PYTHONPATH": str(tmp_path), "FASTBP_ISA": ""}
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    for command in (build, [sys.executable, "-c", SCRIPT]):
        run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
