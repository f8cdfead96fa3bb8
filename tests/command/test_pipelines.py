"""Messy files, each trained and predicted by one command, beside a scikit-learn pipeline with the
same preparation and the same weights."""

import gzip

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastbp._preparation import Levels
from fastbp.io import load_model

N = 240
FEW = ["--epochs", 3, "--hidden", 4, "--dtype", "float64", "--test-fraction", 0]
U = 2.0**-53


def clean():
    """The table before it is messed up: the columns that say something, and the target."""
    rng = np.random.default_rng(0)
    age = np.round(rng.normal(40, 12, N), 1)
    age[rng.random(N) < 0.1] = np.nan
    city = rng.choice(["Köln", "Bern, CH", "007", "Oslo"], N).astype(object)
    city[rng.random(N) < 0.1] = None
    y = np.where(np.nan_to_num(age, nan=40) + 10 * (city == "Oslo") > 41, "yes", "no")
    return pd.DataFrame({"age": age, "dose": np.round(rng.exponential(1234.5, N), 2), "city": city,
                         "y": y})


def numbered(frame, values, name):
    return pd.concat([pd.Series(values, name=name), frame], axis=1)


def dates(frame):
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N) * 7 % 365, "D")
    return frame.assign(when=days.strftime("%d.%m.%Y"))


def many_levels(frame):
    rng = np.random.default_rng(1)
    return frame.assign(code=[f"c{k}" for k in np.minimum(rng.geometric(0.02, N), 90)])


def text(frame, **options):
    return frame.to_csv(index=False, **options).encode()


MESSES = {
    "ids": lambda f: text(numbered(f, np.arange(N) + 1000, "id")),
    "dates": lambda f: text(dates(f)),
    "decimal commas": lambda f: text(f, sep=";", decimal=","),
    "marks": lambda f: text(f, na_rep="NA"),
    "many levels": lambda f: text(many_levels(f)),
    "byte order mark": lambda f: b"\xef\xbb\xbf" + text(f),
    "mixed line ends": lambda f: text(f).replace(b"\n", b"\r\n", 100),
    "headers": lambda f: text(f.assign(extra=1.0)).replace(b"age,dose", b"dose,dose").replace(
        b",extra\n", b",\n"),
    "big integers": lambda f: text(numbered(f, 2**60 + np.arange(N)[::-1], "account")),
    "gz": lambda f: gzip.compress(text(f)),
}


def rounding(model, frame, prepared):
    """How far rounding may lead the outputs (n,) of two ways to features of a table, and a network.

    A feature is (x - m) / s with x >= 0. The mean m is a sum of N terms and s the root of one, so
    that either way the feature is right to (N + 3) u (|feature| + m / s); those of levels are
    exact. A hidden relu has no slope above 1, so that this reaches z through |W1| and |W2|, where a
    chain of fan_in terms and a bias add (fan_in + 1) u of the sum of the magnitudes for each layer;
    sigma has no slope above 1/4 and rounds its value below 1 by 2 u at most.
    """
    apart = []
    for column in model.recipe.preparation.columns:
        far = 0
        if not isinstance(column, Levels):
            values = frame[column.name].astype(float).fillna(column.fill)
            far = values.mean() / values.std(ddof=0)
        apart += [far] * len(column.features)
    (W1, W2), (b1, b2) = map(np.abs, model.net.weights), map(np.abs, model.net.biases)
    z = (((np.abs(prepared) + apart) @ W1 + b1) @ W2 + b2)[:, 0]
    return 2 * ((N + 3 + len(W1) + 1 + len(W2) + 1) * U * z / 4 + 2 * U)


def pipeline(model, frame):
    """The features of scikit-learn for the columns of a model, in its order."""
    parts = []
    for column in model.recipe.preparation.columns:
        if isinstance(column, Levels):
            levels = [*column.levels, *["missing"] * column.missing]
            encoder = OneHotEncoder(categories=[levels], handle_unknown="ignore", dtype=np.float64)
            if column.other:
                encoder = OneHotEncoder(max_categories=51, handle_unknown="infrequent_if_exist")
            parts.append((column.name, encoder, [column.name]))
            continue
        parts.append((column.name, make_pipeline(SimpleImputer(strategy="median"),
                                                 StandardScaler()), [column.name]))
        if column.flag:
            parts.append((f"{column.name}?", make_pipeline(
                SimpleImputer(strategy="median", add_indicator=True),
                ColumnTransformer([("flag", "passthrough", [1])])), [column.name]))
    return ColumnTransformer(parts, sparse_threshold=0).fit(frame)


@pytest.mark.parametrize("mess", MESSES)
def test_one_command_each_and_the_answers_of_a_pipeline(called, tmp_path, mess):
    name = "t.csv.gz" if mess == "gz" else "t.csv"
    (tmp_path / name).write_bytes(MESSES[mess](clean()))
    code, out, err = called("train", name, "--target", "y", "--out", "m", *FEW)
    assert code == 0, err
    code, _, err = called("predict", "m", name, "--out", "answers.csv")
    assert code == 0, err
    found = pd.read_csv("answers.csv")

    model, frame = load_model("m"), many_levels(clean()) if mess == "many levels" else clean()
    if mess == "headers":
        frame = frame.rename(columns={"age": "dose", "dose": "dose_2"})
        assert "2 columns are named 'dose'" in out and "column 5 has no name" in out
    if mess == "dates":
        days = pd.to_datetime(dates(frame)["when"], format="%d.%m.%Y")
        frame = frame.assign(when=(days - pd.Timestamp(0)) / pd.Timedelta(days=1))
    if mess in ("ids", "big integers"):
        assert "left out: an id" in out
    assert set(model.columns) == set(frame.columns) - {"y"}

    filled = frame.assign(city=frame["city"].fillna("missing"))
    prepared = pipeline(model, filled).transform(filled)
    h = model.net.forward(np.asarray(prepared, dtype=np.float64))
    bound = rounding(model, filled, np.asarray(prepared, dtype=np.float64))
    assert (np.abs(found["probability_yes"] - h[:, 0]) <= bound).all()
    assert (found["predicted_y"] == np.where(h[:, 0] >= 0.5, "yes", "no")).all()
    if mess != "dates":
        again = model.predict_proba(frame.astype({"city": object}))
        np.testing.assert_array_equal(again[:, 1], found["probability_yes"])
