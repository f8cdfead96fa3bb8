"""Promise: bad input is refused before training starts, in words that name the partition."""

import re

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask import delayed
from dask_tables import cut, table

import fastbp
from fastbp.dask import DaskMLPClassifier, DaskMLPRegressor, objective

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def without_a_cluster():
    with dask.config.set(scheduler="synchronous"):
        yield


def frame(n=60):
    X, y, names, _, weight = table(n=n)
    return pd.DataFrame(X, columns=list("abcde")).assign(y=y, name=names, weight=weight)


def parts(*frames):
    """A Dask DataFrame of unknown divisions, whose partitions may differ."""
    meta = frames[0].iloc[:0]
    return dd.from_delayed([delayed(each) for each in frames], meta=meta, verify_meta=False)


def changed(**columns):
    """Three partitions; the second has other columns."""
    whole = frame()
    return parts(whole[:20], whole[20:40].assign(**columns), whole[40:])


FEATURES = list("abcde")


def refuse(words, X, y, model=None, **given):
    model = model or DaskMLPClassifier((3,), max_iter=1)
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        model.fit(X, y, **given)


def arrays(*rows, dtype="float32"):
    """A Dask array of given chunks."""
    return da.concatenate([da.from_array(np.asarray(each, dtype), chunks=-1) for each in rows])


def test_faults_name_the_partition():
    good, y = frame(), frame()["y"].to_numpy()
    whole = dd.from_pandas(good, npartitions=3)
    refuse("partition 1 of X has column 'a' of int64; it should be float32, as in partition 0",
           changed(a=np.arange(20))[FEATURES], whole["y"])
    refuse("partition 1 of X has NaN or infinite values in column 'c'",
           changed(c=np.float32([np.nan] * 20))[FEATURES], whole["y"])
    refuse("partition 1 of X has column 'b' of dtype object; it should be numbers",
           changed(b=pd.Series(["x"] * 20, index=range(20, 40), dtype=object))[FEATURES],
           whole["y"])
    refuse("partition 1 of y lacks the label of 1 row",
           whole[FEATURES], changed(name=["a"] * 19 + [None])["name"])
    refuse("partition 2 of sample_weight has a weight of -1.0; it should not be negative",
           whole[FEATURES], whole["y"],
           sample_weight=da.from_array(np.r_[np.ones(59), -1.0], chunks=20))
    lacking = parts(good[FEATURES][:20], good[FEATURES[:4]][20:40], good[FEATURES][40:])
    refuse("partition 1 of X lacks column 'e'", lacking, whole["y"])
    more = parts(good[FEATURES][:20], good[[*FEATURES, "weight"]][20:40])
    refuse("partition 1 of X has column 'weight'; it should not", more, cut(y[:40], 20))
    other_order = parts(good[FEATURES][:20], good[FEATURES[::-1]][20:])
    refuse("partition 1 of X has its columns in another order", other_order, cut(y, 20))
    refuse("partition 1 of y has labels of several kinds", whole[FEATURES],
           changed(name=pd.Series([1, "b"] * 10, index=range(20, 40), dtype=object))["name"])
    dense = da.from_array(good[FEATURES].to_numpy(), chunks=(20, 5))
    refuse("partition 1 of X is sparse", dense.map_blocks(
        sparse_second, dtype="float32", meta=np.empty((0, 0), "float32")), cut(y, 20))


def sparse_second(block, block_info=None):
    from scipy.sparse import csr_array

    return csr_array(block) if block_info[0]["chunk-location"][0] == 1 else block


def test_a_partition_that_cannot_be_read_is_the_error_of_reading_it(client):
    whole = frame()
    lost = dd.from_delayed([delayed(whole[:30]), delayed(open)("no such file")],
                           meta=whole.iloc[:0], verify_meta=False)
    model = DaskMLPClassifier((3,), client=client)
    with pytest.raises(FileNotFoundError, match="no such file"):
        model.fit(lost[FEATURES], cut(whole["y"].to_numpy(), 20))


def test_lengths_that_differ_name_the_partition():
    X, y, *_ = table(n=60)
    refuse("y has 59 rows; it should have 60, as X has: partition 2 has 19 rows of y and 20 of X",
           cut(X, 20), cut(y[:59], 20))
    refuse("y has 50 rows; it should have 60, as X has", cut(X, 20), cut(y[:50], 50))


def test_partitions_without_rows_and_unknown_divisions_change_nothing():
    whole = frame(9000)
    known = dd.from_pandas(whole, npartitions=2)
    unknown = parts(whole[:0], whole[:100], whole[100:100], whole[100:], whole[:0])
    assert not unknown.known_divisions
    fits = [DaskMLPClassifier((3,), max_iter=2, random_state=0).fit(each[FEATURES], each["name"])
            for each in (known, unknown)]
    assert fits[0].coefs_[0].tobytes() == fits[1].coefs_[0].tobytes()
    chunked = known[FEATURES].to_dask_array()       # of chunks whose sizes are not known
    again = DaskMLPClassifier((3,), max_iter=2, random_state=0).fit(chunked, unknown["name"])
    assert again.coefs_[0].tobytes() == fits[0].coefs_[0].tobytes()
    empty = parts(whole[:0], whole[:0])
    refuse("X has no rows in any partition", empty[FEATURES], empty["name"])
    assert len(fits[0].predict(unknown[FEATURES]).compute()) == 9000


def test_what_is_no_collection_says_what_would_be():
    X, y, *_ = table(n=60)
    refuse("X is of type ndarray; it should be a Dask array, DataFrame or Series", X, y)
    refuse("X has one dimension; it should have two", cut(y, 20), cut(y, 20))
    refuse("X has 3 dimensions", cut(X[:, :, None], 20), cut(y, 20))
    with pytest.raises(TypeError, match="client is of type str; it should be a distributed.Client"):
        DaskMLPClassifier(client="tcp://127.0.0.1").fit(cut(X, 20), cut(y, 20))
    with pytest.raises(ValueError, match="X has 4 columns; it should have 5"):
        DaskMLPClassifier((3,), max_iter=1).fit(cut(X, 20), cut(y, 20)).predict(cut(X[:, :4], 20))


def test_weights_that_do_not_fit():
    X, y, _, _, weight = table(n=60)
    refuse("sample_weight has 2 columns; it should have one", cut(X, 20), cut(y, 20),
           sample_weight=cut(np.column_stack([weight, weight]), 20))
    for model in [DaskMLPClassifier((3,)), DaskMLPRegressor(solver="adam"),
                  DaskMLPRegressor("poisson", solver="sgd", average_every=1)]:
        refuse("the weight of every row is 0; it should be positive", cut(X, 20), cut(y, 20), model,
               sample_weight=cut(0 * weight, 20))
    net = fastbp.MLP([5, 3, 1])
    with pytest.raises(ValueError, match="the weight of every row is 0"):
        objective(net, cut(X, 20), cut(y, 20), sample_weight=cut(0 * weight, 20), reduction="mean")
    f = objective(net, cut(X, 20), cut(y, 20), sample_weight=cut(0 * weight, 20))
    assert f(net.params)[0] == 0 and not f(net.params)[1].any()


def test_labels_that_do_not_fit(monkeypatch):
    X, y, names, real, _ = table(n=60)
    refuse("y has the label 1 alone", cut(X, 20), cut(np.ones(60, int), 20))
    refuse("partition 0 of y has labels that are not whole, such as -", cut(X, 20), cut(real, 20))
    absent = y.astype(object)
    refuse("partition 0 of y has numbers of dtype object for labels; .astype(int) makes",
           cut(X, 20), cut(absent, 20))
    absent[3] = pd.NA
    refuse("partition 0 of y has labels of several kinds", cut(X, 20), cut(absent, 20))
    dates = [pd.Timestamp(2020, 1, 1 + k % 2) for k in range(20)]
    mixed = arrays(names[:40], dtype=object), arrays(dates, dtype=object)
    refuse("y has labels of several kinds in different partitions", cut(X, 20),
           da.concatenate(mixed))
    refuse("y has 2 columns with values such as 2", cut(X, 20),
           cut(np.column_stack([y, y + 1]), 20))
    refuse("class_weight is 'balanced' with sample_weight", cut(X, 20), cut(y, 20),
           DaskMLPClassifier((3,), class_weight="balanced"), sample_weight=cut(real**2, 20))
    monkeypatch.setattr(fastbp.dask._looks, "MOST_LABELS", 2)
    refuse("partition 0 of y has 3 different labels; it should have 2", cut(X, 20), cut(names, 20))


def test_parameters_that_do_not_fit():
    X, y, *_ = table(n=60)
    for words, model in [
            ("'solver' parameter", DaskMLPClassifier(solver="rmsprop")),
            ("'average_every' parameter", DaskMLPClassifier(average_every=0)),
            ("'n_replicas' parameter", DaskMLPRegressor(n_replicas=2.5)),
            ("average_every is 2 with solver 'lbfgs'", DaskMLPClassifier(average_every=2)),
            ("random_state is None with a checkpoint; it should be an int",
             DaskMLPClassifier(checkpoint="fit"))]:
        refuse(words, cut(X, 20), cut(y, 20), model)


def test_objective_refuses_what_does_not_fit():
    X, y, *_ = table(n=60)
    net, data = fastbp.MLP([5, 3, 1]), (cut(X, 20), cut(y, 20))
    for words, call in [
            ("net is of type list", lambda: objective([5, 1], *data)),
            ("reduction is 'max'; it should be 'sum' or 'mean'",
             lambda: objective(net, *data, reduction="max")),
            ("l2 is -1", lambda: objective(net, *data, l2=-1.0)),
            ("X has 4 columns; it should have 5", lambda: objective(net, data[0][:, :4], data[1])),
            ("sample_weight has 40 rows; it should have 60",
             lambda: objective(net, *data, sample_weight=data[1][:40]))]:
        with pytest.raises((TypeError, ValueError), match=re.escape(words)):
            call()
    of_softmax, poisson = fastbp.MLP([5, 3], loss="softmax"), fastbp.MLP([5, 1], loss="poisson")
    for words, fitted, targets in [
            (f"partition 0 of y has {y[0] + 5.0} in row 0; it should be", net, y + 5.0),
            ("partition 1 of y has -1.0 in row 3", poisson, minus_one(23)),
            ("partition 2 of y has -1.0 in row 19", of_softmax, minus_one(59).astype(int)),
            ("partition 0 of y has shape (20, 2); it should", net, np.stack([y, y], axis=1))]:
        with pytest.raises(ValueError, match=re.escape(words)):
            objective(fitted, data[0], cut(targets, 20))


def minus_one(row):
    y = np.ones(60)
    y[row] = -1
    return y


def test_targets_that_do_not_fit():
    X, *_ = table(n=60)
    model = DaskMLPRegressor("poisson")
    refuse("partition 1 of y has -1.0 in row 3; it should be", cut(X, 20), cut(minus_one(23), 20),
           model)
    refuse("partition 1 of y has -1.0 in row 3; it should be", cut(X, 20),
           cut(np.stack([np.ones(60), minus_one(23)], axis=1), 20), model)


def test_numbers_that_are_too_large():
    """Also for float32, to which they are cast where the network is of that dtype."""
    X, y, *_ = table("float64", n=60)
    large, weight = X.copy(), np.ones(60)
    large[45, 2] = weight[25] = 1e39
    small = DaskMLPClassifier((3,), dtype="float32")
    refuse("partition 2 of X has values in column 2 that are too large for float32",
           cut(large, 20), cut(y, 20), small)
    refuse("partition 1 of sample_weight has values that are too large for float32", cut(X, 20),
           cut(y, 20), small, sample_weight=cut(weight, 20))
    refuse("partition 1 of y has values that are too large for float32",
           cut(X.astype("float32"), 20), cut(weight, 20), DaskMLPRegressor())
    net = fastbp.MLP([5, 1], dtype="float32")
    with pytest.raises(ValueError, match="partition 2 of X has values in column 2 that are too la"):
        objective(net, cut(large, 20), cut(y, 20))
    refuse("sample_weight has an infinite sum", cut(X, 20), cut(y, 20),
           sample_weight=cut(np.full(60, 1e307), 20))
    refuse("Solver produced a loss of", cut(X, 20), cut(X[:, 0] * 1e200, 20), DaskMLPRegressor())


def test_cells_that_are_masked():
    X, y, *_ = table(n=60)
    masked = np.ma.masked_array(X, np.arange(300).reshape(X.shape) == 130)
    refuse("partition 1 of X has masked cells; they should be filled or left out",
           da.from_array(masked, chunks=(20, 5)), cut(y, 20))


def test_an_error_names_the_partitions_of_the_caller(tmp_path):
    """Dask reads several small files as one where few columns are needed."""
    for i, part in enumerate(np.split(np.arange(60), 6)):
        rows = frame().iloc[part]
        rows["y"] = np.where(rows.index == 42, np.nan, rows["y"])
        rows.to_parquet(tmp_path / f"{i}.parquet")
    rows = dd.read_parquet(tmp_path)
    assert rows["y"].npartitions == 6 and rows["y"].optimize().npartitions < 6
    refuse("partition 4 of y has NaN or infinite values in column 'y'", rows[FEATURES], rows[["y"]],
           DaskMLPRegressor())
