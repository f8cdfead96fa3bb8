"""`fastbp train` on real tables beside a tuned pipeline of scikit-learn, and on a large file.

    python bench/tables.py [--seeds 10] [--only NAME,NAME] [--large] [--json results/tables.json]

Six tables that packages ship: of scikit-learn `digits` and `breast cancer`; `penguins` of
palmerpenguins, with text and missing cells; of ISLP `wages` and `bikes`, and of plotnine
`diamonds`, with text. Of the last two 4,000 rows are drawn once, so that the search ends.

For each seed a quarter of the rows is held out, the same for both sides. One side is `fastbp train`
with its defaults. The other imputes, standardises and encodes, and searches layers, penalty,
learning rate, activation and early stopping of scikit-learn's MLP by cross-validation on the other
rows: 8 candidates on 3 folds, then a fit to all of these rows. A row has the mean and the standard
deviation over the seeds, and the mean difference of a seed with its standard error. The runs of
scikit-learn that the file of --json has are not made again.

--large: the time from a file of 500,000 rows and 30 columns to the first epoch, beside DuckDB's
reading of it, in processes that take turns.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastbp._command import options
from fastbp._command.bench.fits import quiet
from fastbp._command.bench.timing import one_core
from fastbp._command.machine import machine
from fastbp._command.tables.data import load
from fastbp._command.tables.fitting import divided, plan, trained
from fastbp._command.tables.splits import stratified_split

CANDIDATES, FOLDS, MOST_ROWS, HELD_OUT = 8, 3, 4000, 0.25
SPACE = {
    "hidden_layer_sizes": [(16, 16), (32,), (64,), (100,), (64, 64)],
    "activation": ["relu", "tanh"], "alpha": np.logspace(-5, 1, 7),
    "learning_rate_init": [0.001, 0.003, 0.01], "early_stopping": [True, False],
}
LARGE_ROWS, ROUNDS = 500_000, 7


class Case(NamedTuple):
    """A table: where it is, its target, the task, and columns that would give the target away."""

    name: str
    package: str
    file: str
    target: str
    task: str
    drop: tuple = ()


CASES = (
    Case("digits", "sklearn", "load_digits", "target", "classes"),
    Case("breast cancer", "sklearn", "load_breast_cancer", "target", "classes"),
    Case("penguins", "palmerpenguins", "data/penguins.csv", "species", "classes"),
    Case("wages", "ISLP", "data/Wage.csv", "wage", "regression", ("logwage",)),
    Case("diamonds", "plotnine", "data/diamonds.csv", "price", "regression"),
    Case("bikes", "ISLP", "data/Bikeshare.csv", "bikers", "counts", ("casual", "registered")),
)


def frame_of(case):
    """The table as a data frame."""
    import pandas as pd
    from sklearn import datasets
    if case.package == "sklearn":
        return getattr(datasets, case.file)(as_frame=True).frame
    folder = Path(importlib.util.find_spec(case.package).origin).parent
    frame = pd.read_csv(folder / case.file).drop(columns=[*case.drop])
    return frame if len(frame) <= MOST_ROWS else frame.sample(MOST_ROWS, random_state=0)


def arguments(*words):
    """What the command makes of its arguments."""
    parser = argparse.ArgumentParser()
    options.add_train(parser.add_subparsers(), None)
    return parser.parse_args(["train", *map(str, words)])


def fastbp_run(args, data, train, held_out):
    """Answers on the rows held out: probabilities (n, n_classes) or numbers (n,)."""
    prepared = plan(data, divided(data, train, held_out, args), args)
    model = trained(prepared, args).model
    return model.target.values(model.outputs(prepared.X[held_out]))


def scikit_learn_run(case, frame, y, train, held_out, seed):
    """The same of the best candidate."""
    from sklearn.compose import (
        ColumnTransformer,
        TransformedTargetRegressor,
        make_column_selector,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    numbers = make_column_selector(dtype_include="number")
    others = make_column_selector(dtype_exclude="number")
    prepare = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True),
                                  StandardScaler()), numbers),
        ("levels", OneHotEncoder(handle_unknown="ignore", sparse_output=False), others)])
    common = {"max_iter": 150, "random_state": seed}
    before, scoring = "mlp__", "neg_log_loss"
    if case.task == "classes":
        network = MLPClassifier(**common)
    elif case.task == "counts":
        network, scoring = MLPRegressor("poisson", **common), "d2_score"
        scoring = "neg_mean_poisson_deviance"
    else:
        network = TransformedTargetRegressor(MLPRegressor(**common), transformer=StandardScaler())
        before, scoring = "mlp__regressor__", "r2"
    search = RandomizedSearchCV(
        Pipeline([("prepare", prepare), ("mlp", network)]),
        {before + name: values for name, values in SPACE.items()}, n_iter=CANDIDATES, cv=FOLDS,
        scoring=scoring, random_state=seed, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that max_iter was reached, say
        search.fit(frame.iloc[train], y[train])
        answer = search.predict_proba if case.task == "classes" else search.predict
        return answer(frame.iloc[held_out])


def judged(case, answers, y):
    """The two figures of a task."""
    from sklearn import metrics
    if case.task == "classes":
        return {"accuracy": float((answers.argmax(axis=1) == y).mean()),
                "log loss": float(metrics.log_loss(y, answers.astype(float)))}
    counts = case.task == "counts"
    share = metrics.d2_tweedie_score(y, answers, power=1) if counts else \
        metrics.r2_score(y, answers)
    return {"D²" if counts else "R²": float(share),
            "MAE": float(metrics.mean_absolute_error(y, answers))}


def run_case(case, n_seeds, kept):
    """Make the runs of a table.

    Returns
    -------
    rows : int
    runs : dict
        {side: [figures of a seed, ...]}.
    seconds : float
        The median of a training by fastbp, of the prepared table.
    """
    frame, seconds = frame_of(case), []
    runs = {"fastbp": [], "scikit-learn": kept.get("scikit-learn", [])[:n_seeds]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        frame.to_csv(path, index=False)
        for seed in range(n_seeds):
            args = arguments(path, "--target", case.target, "--task", case.task, "--seed", seed)
            data = load(args)
            y = data.y.ravel()
            train, held_out = stratified_split(data.strata, HELD_OUT, seed)
            start = time.perf_counter()
            answers = fastbp_run(args, data, train, held_out)
            seconds.append(time.perf_counter() - start)
            runs["fastbp"].append(judged(case, answers, y[held_out]))
            if len(runs["scikit-learn"]) <= seed:
                answers = scikit_learn_run(case, frame.drop(columns=case.target), y, train,
                                           held_out, seed)
                runs["scikit-learn"].append(judged(case, answers, y[held_out]))
    return len(frame), runs, statistics.median(seconds)


def compared(case, rows, runs, seconds):
    """A row for each figure: both sides over the seeds, and their difference."""
    for name in runs["fastbp"][0]:
        ours, theirs = (np.array([run[name] for run in runs[side]]) for side in runs)
        digits = 1 if abs(ours.mean()) > 10 else 4
        difference = ours - theirs
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        yield {"table": case.name, "rows": rows, "figure": name,
               **{side: f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"
                  for side, values in (("fastbp", ours), ("scikit-learn", theirs))},
               "difference": f"{difference.mean():+.{digits}f} ± {error:.{digits}f}",
               "fit s": seconds}


# ---- a large file


def write_large(path):
    """500,000 rows of 27 columns of numbers, a seventh with missing cells, 2 of text, a target."""
    rng, columns = np.random.default_rng(0), {}
    for j in range(27):
        if j % 3:
            cells = np.char.mod(f"%.{2 + j % 5}f", rng.normal(0, 10.0 ** (j % 4), LARGE_ROWS))
        else:
            cells = np.char.mod("%d", rng.integers(0, 10 ** (1 + j % 5), LARGE_ROWS))
        columns[f"x{j}"] = np.where(rng.random(LARGE_ROWS) < 0.03 * (j % 7 == 1), "", cells)
    columns["colour"] = np.array(["red", "green", "blue"])[rng.integers(0, 3, LARGE_ROWS)]
    columns["city"] = np.char.mod("city %d", rng.integers(0, 20, LARGE_ROWS))
    columns["target"] = np.array(["no", "yes"])[rng.integers(0, 2, LARGE_ROWS)]
    with open(path, "w") as file:
        file.write(",".join(columns) + "\n")
        file.writelines(map("{}\n".format, map(",".join, zip(
            *(column.tolist() for column in columns.values()), strict=True))))


BY_DUCKDB = """
duckdb.connect(config={"threads": 2}).read_csv(path).fetchnumpy()
"""
BY_FASTBP = """
data = load(args)
train, held_out = stratified_split(data.strata, 0.25, 0)
prepared = plan(data, divided(data, train, held_out, args), args)
"""
CHILD = """
import sys, time
sys.path.insert(0, {bench!r})
import duckdb
from tables import arguments, divided, load, plan, stratified_split
path = {path!r}
args = arguments(path)
start = time.perf_counter()
{code}
print(time.perf_counter() - start)
"""


def large():
    """The row of a large file: medians of processes that take turns."""
    taken = {BY_FASTBP: [], BY_DUCKDB: []}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "large.csv")
        write_large(path)
        for _ in range(ROUNDS):
            for code, times in taken.items():
                child = CHILD.format(bench=str(Path(__file__).parent), path=path, code=code)
                done = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE,
                                      check=True, text=True)
                times.append(float(done.stdout))
    ours, theirs = map(statistics.median, taken.values())
    return {"file": f"{LARGE_ROWS:,} rows, 30 columns", "DuckDB's reading s": theirs,
            "to the first epoch s": ours, "of DuckDB's": ours / theirs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="names of tables, divided by commas")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    kept = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    document = {"machine": machine(), "tables": kept.get("tables", {}),
                "runs": kept.get("runs", {})}
    if given.large:
        document["tables"]["large"] = [large()]
        print(*document["tables"]["large"])
    else:
        chosen = given.only.split(",") if given.only else [case.name for case in CASES]
        found = [row for row in document["tables"].get("held-out", ())
                 if row["table"] not in chosen]
        with one_core(), quiet():
            for case in CASES:
                if case.name not in chosen:
                    continue
                rows, runs, seconds = run_case(case, given.seeds,
                                               document["runs"].get(case.name, {}))
                document["runs"][case.name] = runs
                found += compared(case, rows, runs, seconds)
                print(*found[-2:], sep="\n", flush=True)
        document["tables"]["held-out"] = found
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
