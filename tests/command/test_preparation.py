"""A model answers the same to the same rows, whatever they are written in: CSV, Parquet, frames."""

import io

import numpy as np
import pandas as pd
import pytest

from fastbp.io import load_model

N = 60
A = np.random.default_rng(0).standard_normal(N)
Y = np.where(A + np.arange(N) % 2 > 0.5, "p", "q")


def answers(called, frame, suffix=".csv"):
    """The probabilities of the command for a file, which must know all levels."""
    (frame.to_csv if suffix == ".csv" else frame.to_parquet)(f"new{suffix}", index=False)
    code, out, err = called("predict", "m", f"new{suffix}")
    assert code == 0 and "unknown" not in err, err
    return pd.read_csv(io.StringIO(out)).iloc[:, 1:].to_numpy(np.float32)


TRUTHS = np.arange(N) % 2 == 0
DAYS = pd.date_range("2020-01-01", periods=4)[np.arange(N) % 4]
FORMS = {
    "truth": (np.where(TRUTHS, "True", "False"), [
        TRUTHS, np.where(TRUTHS, "TRUE", "FALSE"), TRUTHS.astype(object),
        np.array([*map(np.bool_, TRUTHS), None], dtype=object)[:-1]]),
    "dates": (DAYS.strftime("%Y-%m-%d"), [DAYS, DAYS.date, DAYS.strftime("%Y-%m-%d")]),
    "numbers": (np.arange(N) % 3, [
        np.arange(N) % 3 * 1.0, np.array([f"{k % 3}.0" for k in range(N)], dtype=object),
        np.array([*map(np.float64, np.arange(N) % 3), None], dtype=object)[:-1],
        np.array([*map(np.float32, np.arange(N) % 3), None], dtype=object)[:-1],
        np.where(np.arange(N) % 3 == 0, -0.0, np.arange(N) % 3)]),
}


@pytest.mark.parametrize("kind", FORMS)
def test_levels_of_every_form(called, model, kind):
    """A level is the same one as a truth value, a date, a number, and as their texts."""
    cells, forms = FORMS[kind]
    loaded = model({"a": A, "f": cells, "y": Y}, "--categorical", "f")
    expected = answers(called, pd.DataFrame({"a": A, "f": cells}))
    assert len(np.unique(loaded.prepared(pd.DataFrame({"a": A, "f": cells}))[:, 1:], axis=0)) > 1
    for form in forms:
        frame = pd.DataFrame({"a": A, "f": form})
        np.testing.assert_array_equal(loaded.predict_proba(frame).astype(np.float32), expected)
        np.testing.assert_array_equal(answers(called, frame), expected)


@pytest.mark.parametrize("form", range(3))
def test_levels_of_parquet(called, model, form):
    loaded = model({"a": A, "f": FORMS["dates"][0], "g": FORMS["truth"][0], "y": Y},
                   "--categorical", "f,g")
    frame = pd.DataFrame({"a": A, "f": FORMS["dates"][1][form], "g": FORMS["truth"][1][form]})
    np.testing.assert_array_equal(
        answers(called, frame, ".parquet"), loaded.predict_proba(frame).astype(np.float32))


def test_truth_values_and_texts_of_them_in_one_column(called, model):
    loaded = model({"a": A, "f": np.where(TRUTHS, "true", "false"), "y": Y})
    expected = loaded.predict_proba(pd.DataFrame({"a": A, "f": TRUTHS}))
    mixed = [[True, "true", 1, "1"][k % 4] if truth else [False, "False", 0.0][k % 3]
             for k, truth in enumerate(TRUTHS)]
    frame = pd.DataFrame({"a": A, "f": np.array(mixed, dtype=object)})
    np.testing.assert_array_equal(loaded.predict_proba(frame), expected)
    for cells in (np.full(N, 2.0), np.full(N, 2, object), np.full(N, "maybe", object)):
        with pytest.raises(ValueError, match="true nor false|truth values"):
            loaded.predict(pd.DataFrame({"a": A, "f": cells}))


def test_dates_and_texts_of_them_in_one_column(called, model):
    loaded = model({"a": A, "f": DAYS.strftime("%Y-%m-%d"), "y": Y})
    mixed = np.array([day if k % 2 else str(day) for k, day in enumerate(DAYS.date)], dtype=object)
    np.testing.assert_array_equal(
        loaded.predict_proba(pd.DataFrame({"a": A, "f": mixed})),
        loaded.predict_proba(pd.DataFrame({"a": A, "f": DAYS})))
    mixed[0] = "01.02.2020"
    with pytest.raises(ValueError, match="'01.02.2020' is not a date such as those"):
        loaded.predict(pd.DataFrame({"a": A, "f": mixed}))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_moments_of_parquet(called, monkeypatch, zone):
    """They do not depend on the zone of the machine, and CSV files have them too."""
    monkeypatch.setenv("TZ", zone)
    t = pd.date_range("2020-01-01 10:30", periods=N, freq="37h")
    frame = pd.DataFrame({"t": t, "z": t.tz_localize("UTC").tz_convert("Asia/Tokyo"), "y": Y})
    frame.to_parquet("t.parquet")
    code, _, err = called("train", "t.parquet", "--epochs", 2, "--out", "m")
    assert code == 0, err
    loaded = load_model("m")
    days = (t - pd.Timestamp(0)) / pd.Timedelta("1D")
    assert loaded.feature_mean[0] == loaded.feature_mean[1]
    assert abs(loaded.feature_mean[0] - days.to_numpy().mean()) < 20
    expected = loaded.predict_proba(frame).astype(np.float32)
    np.testing.assert_array_equal(answers(called, frame, ".parquet"), expected)
    np.testing.assert_array_equal(answers(called, frame.assign(z=t)), expected)


def test_levels_that_are_numbers_of_24_bits(model):
    values = np.array([0.1, 0.3, 0.7] * 20)
    found = model({"a": values, "y": ["p", "q"] * 30}, "--categorical", "a")
    wide, narrow = (found.prepared(pd.DataFrame({"a": values.astype(dtype)}))
                    for dtype in ("float64", "float32"))
    assert wide.any(axis=1).all() and (wide == narrow).all()


def test_codes_that_became_numbers_are_refused(model):
    codes = np.array([f"00{k % 5}" for k in range(60)], dtype=object)
    found = model({"a": codes, "y": ["p", "q"] * 30})
    assert found.prepared(pd.DataFrame({"a": codes})).any(axis=1).all()
    with pytest.raises(ValueError, match="holds numbers; it should hold texts such as '00"):
        found.predict(pd.DataFrame({"a": np.arange(60) % 5}))


def test_texts_of_numbers_have_the_decimal_mark_of_the_training(called, tmp_path):
    rows = "".join(f"{k},{k % 7};{'pq'[k % 2]}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("a;y\n" + rows)
    code, _, err = called("train", "t.csv", "--epochs", 2, "--hidden", 3, "--out", "m")
    assert code == 0, err
    found = load_model(tmp_path / "m")
    texts, numbers = pd.DataFrame({"a": ["2,5", "3"]}), pd.DataFrame({"a": [2.5, 3.0]})
    assert (found.prepared(texts) == found.prepared(numbers)).all()
    with pytest.raises(ValueError, match="holds '2.345' in row 0; it should hold numbers"):
        found.predict(pd.DataFrame({"a": ["2.345"]}))
