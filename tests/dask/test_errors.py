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


def test_labels_that_do_not_fit():
    X, y, names, real, _ = table(n=60)
    refuse("y has the label 1 alone", cut(X, 20), cut(np.ones(60, int), 20))
    refuse("for real targets there is DaskMLPRegressor", cut(X, 20), cut(real, 20))
    absent = y.astype(object)
    absent[30] = pd.NA
    refuse("partition 1 of y has labels of several kinds", cut(X, 20), cut(absent, 20))
    mixed = arrays(y[:20], dtype=object), arrays(names[20:60], dtype=object)
    refuse("partition 0 of y has numbers for labels and partition 1 has not", cut(X, 20),
           da.concatenate(mixed))
    refuse("y has 2 columns with values such as 2", cut(X, 20),
           cut(np.column_stack([y, y + 1]), 20))
    refuse("class_weight is 'balanced' with sample_weight", cut(X, 20), cut(y, 20),
           DaskMLPClassifier((3,), class_weight="balanced"), sample_weight=cut(real**2, 20))


def test_parameters_that_do_not_fit():
    X, y, *_ = table(n=60)
    for words, model in [
            ("'solver' parameter", DaskMLPClassifier(solver="rmsprop")),
            ("'average_every' parameter", DaskMLPClassifier(average_every=0)),
            ("'n_replicas' parameter", DaskMLPRegressor(n_replicas=2.5)),
            ("average_every is 2 with solver 'lbfgs'", DaskMLPClassifier(average_every=2))]:
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
    with pytest.raises(ValueError, match="y") as refused:
        objective(net, data[0], data[1] + 5)(net.params)
    assert "rows 0 to 59" in "".join(refused.value.__notes__)
