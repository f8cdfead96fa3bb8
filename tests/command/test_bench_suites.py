"""Promise: `fastbp bench --suite` measures the lists that it names, in one run."""

import json

import measuring
import numpy as np
import pytest

import fastbp
from fastbp import _arguments
from fastbp._command.bench import (
    command,
    fits,
    limits,
    measure,
    networks,
    tables,
    timing,
    verify,
    widths,
)
from fastbp._command.bench.bound import lanes
from fastbp._command.main import main

FEW = {"widths": [5, 16, 17], "batches": [3], "activations": ["relu"], "rounds": 2}
CASE = fits.Case("breast cancer", (4,), 200, 3, seeds=2)


def arguments(**options):
    return measuring.arguments(**{"quick": False, **options})


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 1e-4)
    monkeypatch.setattr(timing, "LARGE_COPY", 2**20)
    monkeypatch.setattr(limits, "SLOPE_SECONDS", 0.01)
    monkeypatch.setattr(limits, "SHARED_SECONDS", 0.001)
    monkeypatch.setattr(command, "find_spec", lambda name: True)


# ---- which


def test_suites_that_are_named():
    """Each by itself; several with each network once; all of them."""
    ((task, options),) = command.tasks(arguments(suite="middle", dtype="float64"))
    assert task == "measure" and options["networks"] == networks.SUITES["middle"].networks
    assert options["dtypes"] == ["float64"] and not options["epochs"]
    ((task, options),) = command.tasks(arguments(suite="tiny"))
    assert ((5, 12, 12, 1), 20) in options["epochs"] and not options["with_startup"]
    ((_, both),) = command.tasks(arguments(suite="large, few-rows,large"))
    assert len(both["networks"]) == 6 == len(set(both["networks"]))
    tasks = dict(command.tasks(arguments(suite="all")))
    assert list(tasks) == ["measure", "measure_fits", "measure_widths", "measure_beyond",
                           "measure_population", "measure_threads", "measure_population_threads"]
    everything, threads = tasks["measure"], tasks["measure_threads"]["networks"]
    assert len(set(everything["networks"])) == len(everything["networks"])
    for suite in networks.SUITES.values():
        assert {*suite.networks} <= {*everything["networks"]}
        assert {*suite.epochs} <= {*everything["epochs"]} and {*suite.threads} <= {*threads}
    assert everything["with_startup"]


def test_without_a_suite_it_is_the_record():
    assert list(command.tasks(arguments())) == list(command.tasks(arguments(suite="record")))


def test_quick_suites():
    tasks = dict(command.tasks(arguments(suite="fits,widths,tiny", quick=True)))
    assert tasks["measure"]["seconds"] == tasks["measure_fits"]["seconds"] == command.QUICK_SECONDS
    assert tasks["measure"]["without"] == ["torch.compile"]
    assert command.QUICK_WIDTHS.items() <= tasks["measure_widths"].items()
    (_, full), = command.tasks(arguments(suite="widths"))
    assert set(full) == {"dtypes"}


@pytest.mark.parametrize("text", ["", "tiny,", "small", "Tiny", "tiny;large"])
def test_suites_that_are_none(text):
    with pytest.raises(ValueError, match="record, widths, tiny, .* or be all"):
        command.parse_suites(text)


@pytest.mark.parametrize("other", [{"networks": "2-1"}, {"threads": True}, {"loss": "poisson"}])
def test_a_suite_says_all_that_is_timed(other):
    with pytest.raises(ValueError, match="--suite says what is timed"):
        list(command.tasks(arguments(suite="tiny", **other)))


def test_fits_need_their_peer(monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"fastbp\[sklearn\]"):
        list(command.tasks(arguments(suite="fits")))


@pytest.mark.parametrize("suite", ["fits", "widths,threads"])
def test_plots_need_gradients(suite, tmp_path):
    with pytest.raises(ValueError, match="--plot draws gradients"):
        command.run(arguments(suite=suite, plot=str(tmp_path / "plot")))


def test_the_help_names_every_suite(capsys):
    main(["bench", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"all, record (the default), {', '.join([*networks.SUITES][1:])}" in text


# ---- widths


@pytest.mark.parametrize(("width", "pair"), [
    (3, (8, 8)), (8, (8, 16)), (12, (8, 16)), (16, (16, 16)), (17, (16, 32)), (47, (32, 48))])
def test_neighbours_by_hand(width, pair):
    assert widths.neighbours(width, 16) == pair


def test_line_by_hand():
    us = {8: 1.0, 16: 2.0, 32: 6.0}
    assert [widths.line(us, width, 16) for width in (4, 12, 16, 20)] == [1.0, 1.5, 2.0, 3.0]


def test_curves(dtype):
    machine, curve = widths.measure_widths([dtype], **FEW)
    assert machine["kind"] == "machine"
    assert (curve["kind"], curve["dtype"], curve["batch"]) == ("width", dtype, 3)
    assert curve["widths"] == [5, 16, 17]
    assert len(curve["us"]) == len(curve["ratios"]) == len(curve["bounds_us"]) == 3
    if not 16 % lanes(fastbp.get_isa(), dtype):
        assert curve["ratios"][1] == 1
    assert curve["bounds_us"] == sorted(curve["bounds_us"])
    curve["ratios"] = [1.1, 1.0, 1.13]
    assert widths.worst(curve, 2) == [2, 0] and widths.n_above(curve) == 1
    cells = [cell for cell, _ in tables.cells(curve)]
    assert cells[0] == "relu" and cells[3:5] == ["5-17", "17"] and cells[-2:] == ["1.130", "1"]
    assert len(cells) == len(tables.columns(curve))


def test_widths_with_a_wrong_gradient_are_not_timed(monkeypatch):
    class Wrong(fastbp.MLP):
        def backprop(self, *args, **options):
            loss = super().backprop(*args, **options)
            self.grad[-1] = 0
            return loss

    monkeypatch.setattr(fastbp, "MLP", Wrong)
    with pytest.raises(verify.Deviation):
        list(widths.measure_widths(["float32"], **FEW))


# ---- fits


def test_fits(dtype):
    pytest.importorskip("sklearn")
    _, fit = fits.measure_fits([dtype], 0.0, [CASE])
    own, theirs = (fit["times"][side]["median_us"] for side in fits.SIDES)
    assert (fit["kind"], fit["network"], fit["batch"]) == ("fit", "30-4-1", 200)
    assert fit["steps"] == 3 * 3 and fit["ratios"] == {"scikit-learn": theirs / own}
    assert fit["fraction_of_bound"] == fit["bound"]["us"] / own
    assert all(len(scores) == 2 for scores in fit["scores"].values())
    with fits.quiet():
        model = fits.estimator("fastbp", CASE, 0).fit(*_rows(dtype))
    assert model.coefs_[0].dtype == dtype and model.n_iter_ == 3
    assert fits.loss_of(model) == "bce"


def _rows(dtype):
    X, y = fits.data(CASE.data)
    return X.astype(dtype), y


def test_fits_that_score_lower_are_not_timed():
    fits.verify_scores({"fastbp": np.array([0.9, 0.8]), "scikit-learn": np.array([0.8, 0.9])})
    with pytest.raises(verify.Deviation, match="scores are lower"):
        fits.verify_scores({"fastbp": np.array([0.8, 0.81]), "scikit-learn": np.array([0.9, 0.9])})


@pytest.mark.parametrize(("data", "loss"), [("digits", "softmax"), ("diabetes", "squared_error")])
def test_losses_of_fits(data, loss):
    pytest.importorskip("sklearn")
    case = CASE._replace(data=data, epochs=1)
    with fits.quiet():
        assert fits.loss_of(fits.estimator("fastbp", case, 0).fit(*fits.data(data))) == loss


def test_sizes_of_fits():
    X = np.zeros((20, 5))
    assert fits.layer_sizes(CASE, X, np.arange(20) % 2) == (5, 4, 1)
    assert fits.layer_sizes(CASE, X, np.arange(20) % 3) == (5, 4, 3)
    assert fits.layer_sizes(CASE, X, np.linspace(0, 1, 20)) == (5, 4, 1)


# ---- threads


def test_bound_of_threads():
    """That of all threads beside their time; the copies of the threads add up."""
    fastbp.set_num_threads(2)
    try:
        _, result = measure.measure_threads([((2, 3, 1), 5)], ["float32"], 0.0)
    finally:
        fastbp.set_num_threads(None)
    assert result["bound"]["threads"] == 2
    assert result["fraction_of_bound"] == result["bound"]["us"] / result["times"]["2"]["median_us"]
    assert result["copy_gbytes_per_s"] > 0 and "read_gbytes_per_s" not in result


# ---- tables and files


def test_a_run_of_suites_is_printed_again_from_its_file(tmp_path, capsys):
    pytest.importorskip("sklearn")
    path = str(tmp_path / "results.json")

    def run(task, **options):
        if task == "measure_fits":
            return fits.measure_fits(["float32"], 0.0, [CASE])
        return widths.measure_widths(["float32"], **FEW)

    assert command.run(arguments(suite="fits,widths", json=path), run) == 0
    text = capsys.readouterr().out
    assert "30-4-1" in text and "5-17" in text
    assert max(map(len, text.splitlines()[4:])) <= tables.WIDTH
    assert command.run(arguments(from_file=path)) == 0
    assert capsys.readouterr().out == text
    with open(path) as file:
        document = json.load(file)
    assert len(document["fits"]) == len(document["widths"]) == 1
    assert {"lanes", "peak", "activation"} <= document["widths"][0]["limits"].keys()


def test_files_from_before_the_suites(tmp_path):
    old = {"machine": None, "gradients": [], "epochs": [], "threads": [], "startup": None}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(old))
    assert command.read(arguments(from_file=str(path))) == old
    assert [result for result in command.replay(old) if result] == []


def test_every_activation_has_a_curve():
    defaults = widths.measure_widths.__defaults__
    assert tuple(_arguments.ACTIVATIONS) in defaults
