"""Promise: `fastbp bench --population` times many networks once each has the bits of its `MLP`, and
what the others compute differs by no more than rounding explains.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from measuring import arguments

import fastbp
from fastbp._command.bench import command, networks, plots, population, tables
from fastbp._command.bench.networks import Side
from fastbp._command.bench.verify import EPS, LR, Deviation
from fastbp._command.problems import problem

SIZES, BATCH = (3, 4, 1), 200
FEW = {"growth": [1, 3], "n_answering": 17}
pytestmark = pytest.mark.usefixtures("short_samples")


@pytest.fixture
def without_peers(monkeypatch):
    monkeypatch.setattr(population, "find_spec", lambda name: None)


def measured(dtypes=("float32",)):
    return list(population.measure_population([(SIZES, BATCH)], dtypes, 0.0, **FEW))


# ---- rows


def test_rows(dtype, monkeypatch, without_peers):
    """A ratio is to the time of fastbp, which is per network and step."""
    monkeypatch.setattr(population, "GROWING", (SIZES, BATCH))
    machine, own, one, outputs, *growth = measured([dtype])
    assert machine["kind"] == "machine"
    assert [r["kind"] for r in (own, one, outputs, *growth)] == [
        "population", "population", "outputs", "growth", "growth"]
    assert (own["order"], one["order"]) == ("own", "one")
    assert [r["n_networks"] for r in (own, outputs, *growth)] == [32, 17, 1, 3]
    assert [r["steps"] for r in (own, *growth)] == [7, 2, 2]      # 1280 and 320 rows, 200 a step
    for result in (own, one, outputs, *growth):
        times = {name: side["median_us"] for name, side in result["times"].items()}
        assert result["ratios"] == {"one by one": times["one by one"] / times["fastbp"]}
        assert result["dtype"] == dtype


@pytest.mark.parametrize("one_order", [False, True])
def test_jax_is_verified_and_timed(one_order):
    pytest.importorskip("jax")
    if not one_order:
        population.verify_jax(SIZES, BATCH, "float64", 4)
    result = population.time_epochs("population", SIZES, 640, "float32", 0.0, one_order=one_order)
    assert list(result["ratios"]) == ["one by one", "JAX"]


def test_pytorch_is_verified_and_timed(dtype):
    pytest.importorskip("torch")
    result = population.time_outputs(dtype, 0.0, 17)
    assert list(result["ratios"]) == ["one by one", "PyTorch"]


def test_threads(dtype):
    fastbp.set_num_threads(2)
    try:
        _, result = population.measure_population_threads([(SIZES, BATCH)], [dtype], 0.0)
    finally:
        fastbp.set_num_threads(None)
    assert list(result["times"]) == ["1", "2", "auto"] and list(result["speedups"]) == ["2", "auto"]
    own, other = (result["times"][name]["median_us"] for name in ("1", "2"))
    assert result["speedups"]["2"] == pytest.approx(own / other, rel=2.0**-50)   # two quotients


# ---- what is not timed


class Wrong(fastbp.Population):
    """Network 1 is off by one bit after an epoch, and so are its outputs."""

    def train_epoch(self, *args, **options):
        losses = super().train_epoch(*args, **options)
        self.params[1, 0] = np.nextafter(self.params[1, 0], 9, dtype=self.dtype)
        return losses

    def forward(self, X, out=None):
        out = super().forward(X, out)
        out[1] = np.nextafter(out[1], 9)
        return out


@pytest.mark.parametrize("timed", [
    lambda: population.time_epochs("population", SIZES, BATCH, "float32", 0.0),
    lambda: population.time_epochs("growth", SIZES, BATCH, "float32", 0.0, 2, one_order=True),
    lambda: population.time_outputs("float32", 0.0, 3),
    lambda: population.time_threads(SIZES, BATCH, "float32", 0.0)])
def test_other_bits_are_not_timed(timed, monkeypatch, without_peers):
    monkeypatch.setattr(fastbp, "Population", Wrong)
    with pytest.raises(Deviation, match="of network 1 has other bits than that of its MLP"):
        timed()


@pytest.mark.parametrize("off", [0.0, 2.0**-12])
def test_wrong_parameters_of_jax_are_not_timed(off, dtype, monkeypatch):
    """An epoch of fastbp in its place is within the bound; parameters that are off are not."""
    def epoch(many, X, y, batch, **options):
        assert options == {"shuffle": False, "lr": LR, "eps": EPS}
        many.train_epoch(X, y, fastbp.Adam(lr=LR, eps=EPS), batch_size=batch, shuffle=False)
        many.params[2] *= 1 + off
        return Side(lambda: many.params, np.asarray)

    monkeypatch.setattr(population, "find_spec", lambda name: True)
    monkeypatch.setattr(population.vmap, "epoch_by_jax", epoch)
    if off:
        with pytest.raises(Deviation, match="of network 2 by JAX are off"):
            population.verify_jax(SIZES, 8, dtype, 4)
    else:
        population.verify_jax(SIZES, 8, dtype, 4)


def test_wrong_outputs_of_pytorch_are_not_timed(dtype):
    many = fastbp.Population(50, population.ANSWERING, activation="tanh", loss="squared_error",
                             dtype=dtype, seeds=0)
    found = many.forward(problem(population.ANSWERING, 1, dtype)[1])
    population.verify_torch(many, found, found)
    with pytest.raises(Deviation, match="outputs by PyTorch differ"):
        population.verify_torch(many, found, found * (1 + 2.0**-12))
    with pytest.raises(Deviation, match="outputs by PyTorch differ"):
        population.verify_torch(many, found, np.full_like(found, np.nan))


# ---- the command


def test_the_option_is_the_suite():
    both = [list(command.tasks(arguments(quick=False, **which)))
            for which in ({"population": True}, {"suite": "population"})]
    assert both[0] == both[1]
    (one, options), (several, of_threads) = both[0]
    assert (one, several) == ("measure_population", "measure_population_threads")
    assert options["networks"] == of_threads["networks"] == networks.POPULATION
    (_, quick), _ = command.tasks(arguments(population=True))
    assert command.QUICK_MANY.items() <= quick.items() and len(quick["networks"]) == 1
    together = command.tasks(arguments(population=True, suite="fits"))
    assert [task for task, _ in together] == ["measure_fits", one, several]


def test_the_option_says_all_that_is_timed():
    with pytest.raises(ValueError, match="--population says what is timed"):
        list(command.tasks(arguments(population=True, threads=True)))


def test_a_run_is_printed_drawn_and_read_back(tmp_path, capsys, without_peers):
    def run(task, **options):
        if task == "measure_population":
            return measured(options["dtypes"])
        return population.measure_population_threads([(SIZES, BATCH)], options["dtypes"], 0.0)

    path, stem = tmp_path / "results.json", str(tmp_path / "plot")
    assert command.run(arguments(population=True, json=str(path), plot=stem), run) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[3:])) <= tables.WIDTH
    assert "one by one" in printed and "own" in printed
    document = json.loads(path.read_text())
    assert [len(document[name]) for name in ("population", "outputs", "growth",
                                             "population_threads")] == [4, 2, 2, 2]
    (picture,) = plots.names(stem, ["growth"])
    assert [Path(picture)] == [*tmp_path.glob("*.png")]
    drawn = Path(picture).read_bytes()
    assert plots.digest(document).encode() in drawn
    Path(picture).unlink()
    assert command.run(arguments(quick=False, from_file=str(path), plot=stem)) == 0
    assert capsys.readouterr().out == printed and Path(picture).read_bytes() == drawn


@pytest.mark.parametrize("kind", tables.TITLES)
def test_a_title_stands_alone(kind):
    """It has the unit of the times and what the marks mean, and points to no other table."""
    title = tables.TITLES[kind]
    assert "µs per" in title and "the same" not in title and "as above" not in title
    assert (f"{tables.DISTURBED} where other work disturbed it" in title) == (kind != "width")


@pytest.mark.parametrize("kind, call, peers", [
    ("population", "Population.train_epoch", ["one by one", "JAX"]),
    ("outputs", "Population.forward", ["loop over MLP", "PyTorch"]),
    ("growth", "number of networks (`nets`)", ["loop over MLP", "JAX"])])
def test_titles_say_what_is_timed_beside_what(kind, call, peers):
    assert all(word in tables.TITLES[kind] for word in (call, *peers))


def test_titles_are_printed_in_lines_that_fit(capsys, without_peers):
    with tables.table(measured()[1]):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 4 and max(map(len, lines)) <= tables.WIDTH
