"""Tables and columns of pandas, polars and Arrow, and the dtypes of ml_dtypes: real numbers that
NumPy keeps as something else give the bits of the same numbers in a plain array; what is missing,
or no number, is named by its column and row."""

import subprocess
import sys
from functools import partial

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from errors import TWINS, refused

import fastbp
from fastbp._arguments import tables
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NUMBERS = {"a": [0.5, 1.5, 2.5], "b": [1, 0, 1]}
X = np.array([*zip(*NUMBERS.values(), strict=True)])


def nullable(columns):
    return pd.DataFrame(columns).convert_dtypes()


def backed_by_arrow(columns):
    return pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow")


def encoded(columns):
    return pa.table({name: pa.array(c).dictionary_encode() for name, c in columns.items()})


TABLES = {"pandas": nullable, "pandas on Arrow": backed_by_arrow, "polars": pl.DataFrame,
          "Arrow": pa.table, "a batch of Arrow": pa.record_batch, "Arrow, encoded": encoded,
          "categories": lambda c: pd.DataFrame(c).astype("category")}
COLUMNS = {"pandas": lambda c: nullable({"": c})[""], "an array": lambda c: pd.array(c),
           "an index": lambda c: pd.Index(pd.array(c)), "polars": pl.Series, "Arrow": pa.array,
           "pandas on Arrow": lambda c: backed_by_arrow({"": c})[""],
           "chunks": lambda c: pa.chunked_array([c[:1], c[1:]])}
EACH_TABLE = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
EACH_COLUMN = pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)


def regressor():
    return MLPRegressor(hidden_layer_sizes=(3,), max_iter=3, random_state=0)


def read(value):
    return fastbp.MLP([2, 1], dtype="float64", seed=0).forward(value)


@EACH_TABLE
def test_a_table_of_numbers(table):
    expected, given = read(X), table(NUMBERS)
    assert read(given).tobytes() == expected.tobytes()
    assert read(table({"a": [True, False], "b": [0.5, 2.0]})).tobytes() == read(
        np.array([[1, 0.5], [0, 2.0]])).tobytes()
    plain, found = (regressor().fit(each, X[:, 0]).predict(each) for each in (X, given))
    assert found.tobytes() == plain.tobytes()


@TWINS
@EACH_COLUMN
def test_a_column_of_numbers(twin, column):
    """Columns of every dtype, as z, y and sample_weight."""
    for values in ([0.5, 0.25, 1.0], [1, 0, 1], [True, False, True]):
        given, plain = column(values), np.array(values)
        assert twin.sigmoid(given).tobytes() == twin.sigmoid(plain).tobytes()
        found, right = (twin.bce_with_logits(each, each, each) for each in (given, plain))
        assert (found[0], found[1].tobytes()) == (right[0], right[1].tobytes())


@EACH_COLUMN
def test_a_column_for_estimators(column):
    for values in ([0.5, 0.25, 1.0], [1, 0, 1]):
        found, plain = (regressor().fit(X, y, y).predict(X)
                        for y in (column(values), np.array(values)))
        assert found.tobytes() == plain.tobytes()
    assert MLPClassifier((3,), max_iter=1).fit(X, column([1, 0, 1])).classes_.tolist() == [0, 1]


@TWINS
def test_float32_stays_float32(twin):
    """As it does in a plain array: the narrowest dtype that holds every column."""
    for given, dtype in [
            (nullable(NUMBERS).astype("Float32"), "f4"),
            (backed_by_arrow(NUMBERS).astype("float[pyarrow]"), "f4"),
            (pl.DataFrame(NUMBERS).cast(pl.Float32), "f4"),
            (pl.Series([0.5], dtype=pl.Float32), "f4"),
            (pl.DataFrame({"a": [0.5], "b": [1]}, schema={"a": pl.Float32, "b": pl.Int8}), "f4"),
            (pl.DataFrame({"a": [0.5], "b": [1]}, schema={"a": pl.Float32, "b": pl.Int64}), "f8"),
            (pd.DataFrame(NUMBERS, dtype="f4"), "f4"), (pd.DataFrame(NUMBERS), "f8")]:
        assert twin.sigmoid(given).dtype == dtype


def test_decimals_are_rounded_once():
    tenths = [0.1, 0.7, 12345.6]        # Python's floats are the nearest of these decimals
    decimals = pa.array([f"{x}" for x in tenths]).cast(pa.decimal128(7, 1))
    for given in (decimals, pl.Series(map(str, tenths)).cast(pl.Decimal(7, 1)),
                  pd.Series(decimals, dtype=pd.ArrowDtype(decimals.type))):
        assert fastbp.squared_error(given, np.zeros(3))[1].tolist() == tenths


# ---- what is missing


@EACH_TABLE
def test_a_table_that_lacks_values(table):
    lacking = table({"a": [0.5, 1.5, 2.5], "b": [1, None, None]})
    net = fastbp.MLP([2, 1], seed=0)
    for call in (read, lambda X: net.loss_value(X, [0, 1, 1]), lambda X: net.backprop(X, [0, 1, 1]),
                 lambda X: fastbp.sigmoid(X), lambda X: fastbp.reference.sigmoid(X),
                 lambda X: fastbp.Layers([2, 1], ["relu"]).forward(net.weights, net.biases, X),
                 lambda X: MLPClassifier().fit(X, [0, 1, 1]),
                 regressor().fit(X, X[:, 0]).predict):
        refused(partial(call, lacking), ValueError, "['b'] has no value in row 1")


@EACH_COLUMN
@pytest.mark.parametrize("value", [1, 0.5, True])
def test_a_column_that_lacks_values(column, value):
    net, lacking = fastbp.MLP([2, 1], loss="squared_error", seed=0), column([value, value, None])
    for name, call in [
            ("y", lambda: net.loss_value(X, lacking)),
            ("y", lambda: MLPRegressor().fit(X, lacking)),
            ("sample_weight", lambda: net.backprop(X, X[:, 0], sample_weight=lacking)),
            ("sample_weight", lambda: MLPRegressor().fit(X, X[:, 0], lacking)),
            ("z", lambda: fastbp.sigmoid(lacking)),
            ("y", lambda: MLPClassifier().fit(X, lacking))]:
        refused(call, ValueError, f"{name} has no value in row 2")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_a_nan_of_floats_is_a_number(make):
    """scikit-learn refuses it in its words, as docs/sklearn.md says."""
    with pytest.raises(ValueError, match="^Input X contains NaN"):
        MLPClassifier().fit(make({"a": [0.5, float("nan"), 2.5], "b": [1.0, 2.0, 3.0]}), [0, 1, 1])


def test_labels_that_are_missing():
    for y in (pl.Series(["a", None, "b"]), pd.Series(["a", None, "b"], dtype="string"),
              pd.Series(["a", None, "b"], dtype="category")):
        refused(lambda y=y: MLPClassifier().fit(X, y), ValueError, "y has no value in row 1")
    with pytest.raises(ValueError, match="y contains NaN"):
        MLPRegressor().fit(X, [0.5, None, 1.5])


def test_nan_is_a_number():
    """But not in pandas' nullable columns, which make no difference between it and nothing."""
    for given in (pd.DataFrame({"a": [np.nan], "b": [1.0]}), pa.table({"a": [np.nan], "b": [1]}),
                  pl.DataFrame({"a": [np.nan], "b": [1]}),
                  pd.DataFrame({"a": pd.arrays.SparseArray([np.nan]), "b": [1]})):
        assert np.isnan(read(given)).all()


# ---- what is no number


@pytest.mark.parametrize("given", [
    pd.DataFrame({"a": [0.5], "b": ["1"]}), pd.DataFrame({"a": [0.5], "b": pd.array([1], object)}),
    pd.DataFrame({"a": [0.5], "b": [1j]}), pd.DataFrame({"a": [0.5], "b": pd.to_datetime([0])}),
    pd.DataFrame({"a": [0.5], "b": pd.array(["1"], "string[pyarrow]")}),
    pl.DataFrame({"a": [0.5], "b": ["1"]}), pl.DataFrame({"a": [0.5], "b": [[1.0]]}),
    pl.DataFrame({"a": [1], "b": [1]}, schema={"a": pl.Int8, "b": pl.Date}),
    pl.DataFrame({"a": [1], "b": [1]}, schema={"a": pl.Int8, "b": pl.Duration}),
    pl.DataFrame({"a": [1], "b": [1]}, schema={"a": pl.Int8, "b": pl.Int128}),
    pa.table({"a": [0.5], "b": ["1"]}), pa.table({"a": [0.5], "b": [{"c": 1}]}),
    pa.table({"a": [0.5], "b": pa.array([1], pa.timestamp("s"))}),
])
def test_columns_that_are_no_numbers(given):
    refused(lambda: read(given), TypeError, "X['b'] has dtype", "real numbers")


@pytest.mark.filterwarnings("ignore::polars.exceptions.PerformanceWarning")
def test_what_is_no_table():
    refused(lambda: read(pl.DataFrame({"a": [[0.5, 1.0]], "b": [1]}, schema={
        "a": pl.Array(pl.Float64, 2), "b": pl.Int8})), ValueError, "X['a'] has shape (1, 2)")
    refused(lambda: read(pl.DataFrame(NUMBERS).lazy()), TypeError, "X is of type LazyFrame")
    refused(lambda: read({"a": [0.5], "b": [1]}), TypeError, "X is of type dict")
    refused(lambda: read(np.zeros(3, [("a", "f8"), ("b", "f8")])), TypeError, "X has dtype")
    refused(lambda: read(pl.DataFrame({"a": [0.5]})), ValueError, "X has shape (1, 1)")


@pytest.mark.parametrize("where", ["__getitem__", "__array__"])
def test_memory_that_cannot_be_had(monkeypatch, where):
    """While a column is taken out of a table, or converted: it is not the column's fault."""
    def fail(*args, **options):
        raise MemoryError

    monkeypatch.setattr(pl.DataFrame if where == "__getitem__" else pl.Series, where, fail)
    with pytest.raises(MemoryError):
        read(pl.DataFrame(NUMBERS))


@pytest.mark.parametrize("frame", [
    pd.DataFrame([[0.5, 1.0]], columns=["a", "a"]).convert_dtypes(),
    pd.DataFrame([[0.5, 1.0]]).convert_dtypes(), pd.DataFrame([[0.5, True]]),
    pa.Table.from_arrays([pa.array([0.5]), pa.array([1])], names=["a", "a"])])
def test_names_of_columns_do_not_matter(frame):
    assert read(frame).tobytes() == read([[0.5, 1.0]]).tobytes()


# ---- dtypes of ml_dtypes


def others():
    """Every dtype of ml_dtypes."""
    found = (getattr(ml_dtypes, name) for name in sorted(dir(ml_dtypes)))
    return [np.dtype(each) for each in found
            if isinstance(each, type) and issubclass(each, np.generic)]


@TWINS
def test_dtypes_that_are_not_of_numpy(twin):
    """All are exact in float64; the complex ones are refused."""
    assert {"bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"} <= {str(t) for t in others()}
    for dtype in others():
        given = np.array([[1, 0.5], [0, 1]]).astype(dtype)
        if "complex" in str(dtype):
            refused(lambda given=given: twin.sigmoid(given), TypeError, "z", "dtype", str(dtype))
            continue
        plain = given.astype("f8")
        for each in (given, [*given], given[::-1][::-1]):
            assert twin.sigmoid(each).dtype == "f8"
            assert twin.sigmoid(each).tobytes() == twin.sigmoid(plain).tobytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_small_floats_in_every_place(dtype):
    plain = np.array([[0.5, 1], [0, 1], [1, 0.5]])
    given, net = plain.astype(dtype), fastbp.MLP([2, 1], dtype="float64", seed=0)
    right = net.loss_value(plain, plain[:, 0], sample_weight=plain[:, 1])
    assert net.loss_value(given, given[:, 0], sample_weight=given[:, 1]) == right
    net.params = given.ravel()[:3]
    assert net.params.tolist() == plain.ravel()[:3].tolist()
    for kind in (MLPRegressor, MLPClassifier):
        found, right = (kind(hidden_layer_sizes=(3,), max_iter=3, random_state=0).fit(
            each, each[:, 1] * each.dtype.type(2), each[:, 1]).predict(each)
            for each in (given, plain))
        assert found.tobytes() == right.tobytes()
    order = np.array([2, 0, 1], ml_dtypes.int4)
    losses = [fastbp.MLP([2, 1], seed=0).train_epoch(plain, plain[:, 0], fastbp.SGD(0.5),
                                                     order=each, batch_size=1)
              for each in (order, order.astype(int))]
    assert losses[0] == losses[1]


def test_nothing_is_imported():
    script = ("import sys, numpy as np, fastbp; fastbp.sigmoid([0.5]); fastbp.sigmoid(np.ones(2));"
              "print({'pandas', 'polars', 'pyarrow', 'ml_dtypes', 'numpy.ma'} & set(sys.modules))")
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"


def test_a_plain_array_is_asked_nothing(monkeypatch):
    monkeypatch.setattr(tables, "column_names", lambda value: pytest.fail("asked"))
    for given in (X, X.tolist(), tuple(X[0]), 0.5, X.astype("f2"), X.view(np.matrix)):
        fastbp.sigmoid(given)
