"""Promise: a `Linearization` stays what it was made of, keeps no more memory than it may, and gives
SciPy symmetric operators.

(Bits are in exactness/test_linearization.py, refusals by `linearize` in test_errors_of_networks.py,
two threads in safety/test_concurrency.py.)
"""

import copy
import gc
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg, eigsh, minres

import fastbp

METHODS = pytest.mark.parametrize("method", ["hvp", "gnvp"])
MEMORY = pytest.mark.parametrize("memory", [2**30, 0])
X, Y = np.arange(15).reshape(5, 3) % 4 / 4, np.arange(10).reshape(5, 2) % 2
N_PARAMS = 26       # of 3-4-2
V = np.arange(N_PARAMS) % 7 / 8 - 0.375


def network(dtype="float32", **options):
    return fastbp.MLP((3, 4, 2), dtype=dtype, seed=0, **options)


def contents(point):
    return [np.asarray(a).tobytes() for a in (
        point.loss, point.grad, point.params, point.hvp(V), point.gnvp(V))]


# ---- what it is made of


@MEMORY
def test_nothing_that_changes_afterwards_reaches_it(dtype, memory):
    """Neither parameters nor arrays of the batch, nor what the network does next."""
    net, w = network(dtype), np.arange(1, 6).astype(dtype)
    batch = X.astype(dtype), Y.astype(dtype)
    point = net.linearize(*batch, sample_weight=w, l2=0.5, memory=memory)
    before = contents(point)
    for array in (*batch, w, net.params, net.grad):
        array[...] = 0.25
    assert contents(point) == before
    net.backprop(*batch)
    net.train_epoch(*batch, fastbp.SGD(0.5))
    net.hvp(*batch, V)
    net.linearize(*batch)
    assert contents(point) == before
    assert contents(net.linearize(*batch)) != before


@MEMORY
def test_the_network_stays_as_it_is(memory):
    net = network()
    net.backprop(X, Y)
    before = net.params.tobytes(), net.grad.tobytes()
    point = net.linearize(X, Y, memory=memory)
    contents(point)
    assert (net.params.tobytes(), net.grad.tobytes()) == before


def test_what_it_has_cannot_be_written(dtype):
    point = network(dtype).linearize(X, Y)
    for name in ("params", "grad"):
        array = getattr(point, name)
        assert array.dtype == dtype and array.shape == (N_PARAMS,)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        while array is not None:            # nor what it is a view of
            with pytest.raises((ValueError, TypeError, BufferError, AttributeError)):
                array.flags.writeable = True
            assert memoryview(array).readonly
            array = getattr(array, "base", None)
        with pytest.raises(AttributeError):
            setattr(point, name, V)
    assert type(point.loss) is float and type(point.kept) is bool
    with pytest.raises(AttributeError):
        point.loss = 0.0


@MEMORY
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy,
                                 lambda point: pickle.loads(pickle.dumps(point))])
def test_copies(way, memory, dtype):
    """With a network of their own, unless they are shallow."""
    net = network(dtype, loss="softmax", class_weight=[0.5, 2.0])
    y = [0, 1, 1, 0, 1]
    point = net.linearize(X, y, sample_weight=[1, 2, 0, 1, 3], reduction="mean", l2=0.5,
                          memory=memory)
    before = contents(point)
    net.params += 1
    twin = way(point)
    assert contents(twin) == before == contents(point)
    assert twin.kept == point.kept and twin.nbytes == point.nbytes


def test_repr():
    assert repr(network().linearize(X, Y, memory=0)) == (
        "<Linearization of MLP([3, 4, 2], activation='sigmoid', loss='bce', dtype='float32'): "
        f"5 samples, loss {network().linearize(X, Y).loss:.6g}, 0 bytes kept>")


# ---- memory


def test_no_more_is_kept_than_may_be(dtype):
    """Exactly as much as it says, or nothing."""
    net = network(dtype)
    n = 1000
    many = np.ones((n, 3)), np.ones((n, 2))
    needed = net.linearize(*many).nbytes
    size = np.dtype(dtype).itemsize
    kept = n * (4 * 3 + 2 * 3) * size       # h, act'(z), delta of every layer
    assert kept <= needed < 4 * kept + 2**17
    for memory, whole in ((needed, True), (needed - 1, False), (0, False), (2**80, True)):
        point = net.linearize(*many, memory=memory)
        assert point.kept == whole and point.nbytes == (needed if whole else 0)


def test_memory_is_given_back():
    """That of a linearization, and that of an objective, with the object."""
    resource = pytest.importorskip("resource", reason="asks for the most memory of the process")
    net = fastbp.MLP([64, 256, 1], seed=0)
    batch = np.ones((8000, 64), "f4"), np.ones(8000, "f4")
    v, most = net.params.copy(), []
    for _ in range(6):
        point, f = net.linearize(*batch), net.objective(*batch)
        point.hvp(v)
        f.hessp(v, v)
        assert point.nbytes > 24e6
        del point, f
        gc.collect()
        most.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert most[-1] - most[1] < 12e3        # in KiB; each time 48 MB


# ---- arguments


@METHODS
@MEMORY
def test_out(method, memory, dtype):
    point = network(dtype).linearize(X, Y, memory=memory)
    v = V.astype(dtype)
    expected = getattr(point, method)(v)
    assert expected.flags.owndata and expected.dtype == dtype
    out = np.full(N_PARAMS, np.nan, dtype)
    assert getattr(point, method)(v, out) is out
    np.testing.assert_array_equal(out, expected)
    for own in (point.params, point.grad):
        getattr(point, method)(own, out=out)
        np.testing.assert_array_equal(out, getattr(point, method)(own.copy()))


@METHODS
def test_arguments_are_refused(method):
    net = network()
    point = net.linearize(X, Y)
    before, v = contents(point), V.astype("f4")
    held = net.params.tobytes(), net.grad.tobytes()
    locked, memory = np.zeros(N_PARAMS, "f4"), np.zeros(N_PARAMS + 1, "f4")
    locked.flags.writeable = False
    for args, kind, words in (
            ((V[1:],), ValueError, "v has shape"), ((V[:, None],), ValueError, "v has shape"),
            ((V * 1j,), TypeError, "v has dtype complex128"), ((None,), TypeError, "v"),
            ((v, v), ValueError, "out overlaps v"),
            ((memory[1:], memory[:-1]), ValueError, "out overlaps v"),
            ((v, net.params), ValueError, "out overlaps net.params"),
            ((v, net.grad), ValueError, "out overlaps net.grad"),
            ((net.grad, net.grad), ValueError, "out overlaps v"),
            ((V, net.params), ValueError, "out overlaps net.params"),
            ((v, point.params), ValueError, "out is not writable"),
            ((v, point.grad), ValueError, "out is not writable"),
            ((v, locked), ValueError, "out is not writable"),
            ((v, np.zeros(N_PARAMS)), TypeError, "out has dtype float64"),
            ((v, memory), ValueError, "out has shape"), ((v, [0.0]), TypeError, "out is of type")):
        with pytest.raises(kind, match=words):
            getattr(point, method)(*args)
    assert contents(point) == before and not locked.any() and not memory.any()
    assert (net.params.tobytes(), net.grad.tobytes()) == held


# ---- operators


@MEMORY
def test_operators(memory, dtype):
    point = network(dtype).linearize(X, Y, memory=memory)
    for operator, product in ((point.hessian, point.hvp), (point.gauss_newton, point.gnvp)):
        assert isinstance(operator, LinearOperator)
        assert operator.shape == (N_PARAMS, N_PARAMS) and operator.dtype == dtype
        expected = product(V)
        for got in (operator @ V, operator.matvec(V), operator.rmatvec(V), operator.H @ V,
                    operator.T @ V, operator.matvec(V[:, None])[:, 0]):
            np.testing.assert_array_equal(got, expected)
        columns = operator @ np.stack([V, -2 * V], axis=1)
        np.testing.assert_array_equal(columns, np.stack([expected, -2 * expected], axis=1))


@MEMORY
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy,
                                 lambda operator: pickle.loads(pickle.dumps(operator))])
def test_operators_are_copied(way, memory, dtype):
    """With the linearization; and what SciPy makes of them, too."""
    point = network(dtype).linearize(X, Y, memory=memory)
    for operator in (point.hessian, point.gauss_newton, 2 * point.hessian + point.gauss_newton.T):
        twin = way(operator)
        assert twin.shape == operator.shape and twin.dtype == operator.dtype
        assert (twin @ V).tobytes() == (operator @ V).tobytes()


def test_solvers_of_scipy():
    """The largest eigenvalue of the whole matrix, and systems with it: to their tolerances.

    A product with a matrix is off by n_params eps of its norm, that of the vector and |v|.
    """
    net = network("float64")
    point, eps = net.linearize(X, Y, l2=0.5), 2.0**-52
    H, G = (np.stack([product(e) for e in np.eye(N_PARAMS)])
            for product in (point.hvp, point.gnvp))
    b, norm = -point.grad, np.linalg.norm
    # Either solver's eigenvalues are those of a matrix that is off by so much (Weyl).
    (largest,), _ = eigsh(point.hessian, k=1, which="LM", v0=V)
    values = np.linalg.eigvalsh(H)
    assert abs(largest - values[np.abs(values).argmax()]) <= 2 * N_PARAMS * eps * norm(H, 2)

    asked = 1e-12       # of the solvers, which stop there by their own measure of the residual
    steps, shift = [], LinearOperator(G.shape, matvec=lambda v: v, dtype="f8")
    x, failed = cg(point.gauss_newton + shift, b, rtol=asked, callback=steps.append)
    A = G + np.eye(N_PARAMS)
    # Its residual, and that which it updates, part by the rounding of a product at each step.
    rounding = len(steps) * N_PARAMS * eps * norm(A, 2) * norm(x)
    assert not failed and norm(A @ x - b) <= asked * norm(b) + rounding

    steps = []
    x, failed = minres(point.hessian, b, rtol=asked, maxiter=1000, callback=steps.append)
    # It stops by the Frobenius norm; rounding as by Sleijpen, van der Vorst, Modersitzki (2000),
    # Differences in the effects of rounding errors in Krylov solvers, SIAM J. Matrix Anal. 22.
    rounding = 3 * 3**0.5 * len(steps) * eps * np.linalg.cond(H)**2 * norm(b)
    assert not failed and norm(H @ x - b) <= asked * norm(H) * norm(x) + rounding


def test_an_operator_outlives_the_rest():
    operator = network().linearize(X, Y).hessian
    gc.collect()
    np.testing.assert_array_equal(operator @ V, network().hvp(X, Y, V))


def test_without_scipy():
    """Products need none of it; an operator says what to install."""
    script = ("import sys; sys.modules['scipy'] = None\n"
              "import fastbp\n"
              "point = fastbp.MLP([2, 1], seed=0).linearize([[1, 2]], [1])\n"
              "point.hvp([1, 2, 3])\n"
              "try:\n    point.hessian\n"
              "except ImportError as error:\n    print(error)")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "a LinearOperator needs SciPy: pip install 'fastbp[sklearn]', or scipy\n"


def test_arrays_of_a_state_are_copies():
    point = network("f8").linearize(X, Y)
    before = contents(point)
    for item in point.__reduce__()[1]:
        if isinstance(item, np.ndarray):
            item[:] = 0
    assert contents(point) == before


def test_an_objective_that_keeps_reads_no_later_change():
    net, v = network("f8"), V.astype("f8")
    data, labels = X.astype("f8"), Y.astype("f8")
    f = net.objective(data, labels)
    expected = f.hessp(net.params, v)
    data *= 0.5
    labels[:] = 1 - labels
    np.testing.assert_array_equal(f.hessp(net.params, v), expected)
    assert f(net.params)[0] == net.objective(X.astype("f8"), Y.astype("f8"))(net.params)[0]
