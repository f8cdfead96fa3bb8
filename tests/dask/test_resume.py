"""Promise: a fit that was stopped goes on from its checkpoint, and ends with the same bits."""

import dask
import numpy as np
import pytest
from dask_tables import cut, digest, table

from fastbp.dask import DaskMLPClassifier, _passes, _resume

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COMMON = {"hidden_layer_sizes": (4,), "max_iter": 6, "random_state": 3, "tol": 0.0}
FITS = {"lbfgs": DaskMLPClassifier(**COMMON),
        "newton-cg": DaskMLPClassifier(solver="newton-cg", **COMMON),
        "adam": DaskMLPClassifier(solver="adam", batch_size=4096, **COMMON),
        "sgd": DaskMLPClassifier(solver="sgd", learning_rate="invscaling", batch_size=4096,
                                 **COMMON),
        "averaged": DaskMLPClassifier(solver="adam", average_every=1, n_replicas=2, **COMMON)}


@pytest.fixture(autouse=True)
def without_a_cluster():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def data():
    X, y, *_ = table(n=9000)
    return cut(X, 4000), cut(y, 4000)


class Stopped(Exception):
    pass


def stop_after(monkeypatch, n):
    """Sums end with Stopped after n of them that a fit makes for its solver."""
    left = iter(range(n))

    def counted(function):
        def call(*args, **given):
            if next(left, None) is None:
                raise Stopped
            return function(*args, **given)
        return call

    for name in ("gradient", "hessian_product"):
        monkeypatch.setattr(_passes, name, counted(getattr(_passes, name)))


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("n", [1, 5])
def test_a_stopped_fit_ends_with_the_bits_of_one_that_was_not(name, n, data, tmp_path, monkeypatch):
    model = FITS[name].__sklearn_clone__()
    expected = digest(model.fit(*data), model.loss_), model.n_iter_
    model.set_params(checkpoint=tmp_path / "fit")
    if name == "averaged":              # it makes no sum of gradients, and goes on after its end
        model.set_params(max_iter=n).fit(*data)
        model.set_params(max_iter=COMMON["max_iter"])
        assert (digest(model.fit(*data), model.loss_), model.n_iter_) == expected
        return
    with monkeypatch.context() as patched:
        stop_after(patched, n)
        with pytest.raises(Stopped):
            model.fit(*data)
    assert (digest(model.fit(*data), model.loss_), model.n_iter_) == expected
    with monkeypatch.context() as patched:      # a fit that has ended asks for nothing
        stop_after(patched, 0)
        assert (digest(model.fit(*data), model.loss_), model.n_iter_) == expected


def test_an_epoch_that_has_been_made_is_not_taken_back(data, tmp_path):
    model = FITS["adam"].__sklearn_clone__().set_params(checkpoint=tmp_path / "fit").fit(*data)
    with pytest.raises(ValueError, match="^max_iter is 2; it should be 6 or more, the epochs of"):
        model.set_params(max_iter=2).fit(*data)


def test_a_minimiser_that_asks_for_something_else_is_refused(data, tmp_path, monkeypatch):
    """As it does where SciPy or NumPy has another BLAS."""
    model = FITS["newton-cg"].__sklearn_clone__().set_params(checkpoint=tmp_path / "fit")
    model.fit(*data)
    hessp = _resume.EvaluationLog.hessp
    monkeypatch.setattr(_resume.EvaluationLog, "hessp",
                        lambda log, x, v: hessp(log, x, v * (1 + 2.0**-52)))
    with pytest.raises(ValueError, match="asks for other evaluations. SciPy, or the BLAS with"):
        model.fit(*data)


def test_a_checkpoint_of_other_data_or_parameters_is_refused(data, tmp_path):
    model = DaskMLPClassifier(checkpoint=tmp_path / "fit", **COMMON).fit(*data)
    with pytest.raises(ValueError, match="of another fit: the table of X, y and the weights has"):
        model.fit(data[0] + 1, data[1])
    turned = data[1].compute()
    turned[:2000] = turned[:2000][::-1]
    with pytest.raises(ValueError, match="of another fit: the table of X, y and the weights has"):
        model.fit(data[0], cut(turned, 4000))
    blocks = [data[0].compute()[i:i + 4096] for i in (0, 4096, 8192)], [
        data[1].compute()[i:i + 4096] for i in (0, 4096, 8192)]
    with pytest.raises(ValueError, match="of another fit: the table of X, y and the weights has"):
        model.fit(*(cut(np.concatenate([each[1], each[0], each[2]]), 4000) for each in blocks))
    with pytest.raises(ValueError, match="is of another fit: alpha was 0.0001, it is 0.5"):
        model.set_params(alpha=0.5).fit(*data)
    with pytest.raises(ValueError, match="of another fit: the vector of initial parameters has"):
        model.set_params(alpha=0.0001, random_state=4).fit(*data)
    (tmp_path / "fit").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="it is not a safetensors file"):
        model.fit(*data)
