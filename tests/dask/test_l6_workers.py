"""Promise: L6, the same bits for any number of workers, any partitions, and without a cluster."""

import dask
import numpy as np
import pytest
from dask_tables import N_ROWS, cut, difference_of_sums, digest, table
from distributed import Client, LocalCluster
from record import needs_fma

import fastbp
from fastbp.dask import DaskMLPClassifier, DaskMLPRegressor, objective

ITERATIONS = {"max_iter": 4, "random_state": 0, "hidden_layer_sizes": (6, 5), "tol": 0.0}
STEPS = {**ITERATIONS, "batch_size": 9000, "learning_rate_init": 0.01}
LOCAL = {**ITERATIONS, "average_every": 1, "n_replicas": 3, "batch_size": 100}

# What is fitted, and which of y it is fitted to, by name.
FITS = {
    "lbfgs": (DaskMLPClassifier(**ITERATIONS), 2),
    "newton-cg": (DaskMLPRegressor(solver="newton-cg", **ITERATIONS), 3),
    "adam": (DaskMLPClassifier(solver="adam", **STEPS), 2),
    "sgd": (DaskMLPRegressor(solver="sgd", **STEPS), 3),
    "adam, averaged": (DaskMLPClassifier(solver="adam", **LOCAL), 1),
    "sgd, averaged": (DaskMLPClassifier(solver="sgd", **LOCAL), 2),
}


@pytest.fixture(scope="module", params=[1, 3, 16])
def crowd(request):
    """A client of so many workers within this process."""
    # Without a limit: a worker takes the memory of this process for its own.
    with LocalCluster(n_workers=request.param, threads_per_worker=1, processes=False,
                      memory_limit=None, dashboard_address=":0") as cluster, \
            Client(cluster, set_as_default=False) as client:
        yield client


def fitted(name, rows, client=None):
    """The digest of a fit to chunks of so many rows, with the weights."""
    model, which = FITS[name]
    data = table()
    weight = cut(data[4], rows + 1)
    model = model.__sklearn_clone__().set_params(client=client)
    with dask.config.set(scheduler="synchronous") if client is None else dask.config.set():
        model.fit(cut(data[0], rows), cut(data[which], rows // 2), weight)
    return digest(model, model.loss_)


@pytest.fixture(scope="module")
def alone():
    """The digests without a cluster."""
    with pytest.warns(Warning):     # that few iterations do not converge
        return {name: fitted(name, N_ROWS) for name in FITS}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FITS)
def test_a_fit_on_processes_has_the_bits_of_one_without_a_cluster(name, client, alone):
    assert fitted(name, 7000, client) == alone[name]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FITS)
def test_a_fit_has_the_same_bits_on_any_number_of_workers(name, crowd, alone):
    assert fitted(name, 2999, crowd) == alone[name]


@pytest.mark.parametrize("rows", [N_ROWS, 4096, 12_288, 777])
def test_partitions_do_not_change_a_bit(rows, dtype):
    X, _, _, y, weight = table(dtype)
    net = fastbp.MLP([5, 7, 1], activation="tanh", loss="squared_error", dtype=dtype, seed=1)
    v = np.linspace(-1, 1, net.n_params)
    with dask.config.set(scheduler="synchronous"):
        found = []
        for of_X, of_y, of_weight in [(10_000, 10_000, 10_000), (rows, N_ROWS // 3, rows // 2)]:
            f = objective(net, cut(X, of_X), cut(y.astype(dtype), of_y), l2=0.5,
                          sample_weight=cut(weight, of_weight), reduction="mean")
            found.append(digest(*f(net.params), f.hessp(net.params, v)))
    assert found[0] == found[1]


def test_a_deep_tree_has_the_same_bits_wherever_its_nodes_are_added(client, monkeypatch):
    """469 blocks in nine shards or more, whose sums workers add two by two."""
    monkeypatch.setattr(fastbp.dask._tables, "rows_per_block", lambda n_rows: 64)
    X, _, _, y, weight = table()
    net = fastbp.MLP([5, 7, 1], activation="tanh", loss="squared_error", seed=1)
    data = cut(X, 4000), cut(y.astype("float32"), 900)
    with dask.config.set(scheduler="synchronous"):
        expected = digest(*objective(net, *data, sample_weight=cut(weight, 5000))(net.params))
    for name, value in (("GATHERED_BYTES", 0), ("FAN_IN", 2), ("RUN_BYTES", 2**14)):
        monkeypatch.setattr(fastbp.dask._places, name, value)
    f = objective(net, *data, sample_weight=cut(weight, 5000), client=client)
    assert [digest(*f(net.params)) for _ in range(2)] == [expected] * 2
    assert len(f._table.place.runs) > 8


# The digests of a loss, a gradient and a product of the Hessian, for version 1 of the contract.
RECORDED = {"float32": "82f09cdb73705252", "float64": "96ed024f85210321"}


@needs_fma
def test_the_bits_are_those_on_record(isa, dtype):
    X, _, _, y, weight = table(dtype)
    net = fastbp.MLP([5, 7, 1], activation="tanh", loss="squared_error", dtype=dtype, seed=1)
    with dask.config.set(scheduler="synchronous"):
        f = objective(net, cut(X, 7000), cut(y.astype(dtype), 7000), l2=0.5,
                      sample_weight=cut(weight, 7000), reduction="mean")
    v = np.linspace(-1, 1, net.n_params)
    assert digest(*f(net.params), f.hessp(net.params, v)) == RECORDED[dtype]


# The digests of fits of some steps.
RECORDED_FITS = {"adam": "53388cd97706de74", "sgd": "7bcd4f942aa6e664",
                 "adam, averaged": "b3d64a6ef70a7be3", "sgd, averaged": "84f50c3481d2ddaf"}


@needs_fma
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", RECORDED_FITS)
def test_the_bits_of_fits_are_those_on_record(isa, name):
    assert fitted(name, 7000) == RECORDED_FITS[name]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_tasks_that_share_a_process_do_not_change_a_bit(alone):
    with LocalCluster(n_workers=1, threads_per_worker=4, processes=False, memory_limit=None,
                      dashboard_address=None) as cluster, \
            Client(cluster, set_as_default=False) as client:
        for name in ("newton-cg", "adam", "sgd, averaged"):
            assert fitted(name, 5000, client) == alone[name]


def test_threads_do_not_change_a_bit(client):
    data = table()
    X, y = cut(data[0], 9000), cut(data[1], 9000)
    found = {digest(objective(fastbp.MLP([5, 64, 1], seed=1, n_threads=n), X, y, client=client)(
        fastbp.MLP([5, 64, 1], seed=1).params)[1]) for n in (1, 2)}
    assert len(found) == 1


def test_what_is_minimised_is_the_loss_of_one_machine(dtype):
    """Within what the order of sums may change; see `MLP.error_bound`."""
    X, _, _, y, weight = table(dtype)
    y = y.astype(dtype)
    net = fastbp.MLP([5, 7, 1], activation="tanh", loss="squared_error", dtype=dtype, seed=1)
    with dask.config.set(scheduler="synchronous"):
        f = objective(net, cut(X, 7000), cut(y, 7000), sample_weight=cut(weight, 7000), l2=0.5)
    loss, grad = f(net.params)
    bound = net.error_bound(X, y, sample_weight=weight, l2=0.5)
    exact = net.backprop(X, y, sample_weight=weight, l2=0.5)
    # Each of the two is within its bound of the exact gradient; that of blocks is the smaller one.
    assert (np.abs(grad - net.grad) <= 2 * bound).all()
    # A sample's loss has the same bits, and a sum of samples is in float64, for both dtypes.
    assert loss == pytest.approx(exact, rel=difference_of_sums(N_ROWS))
    assert f.n_samples == N_ROWS and f.total_weight == weight.sum(dtype=np.float64)
