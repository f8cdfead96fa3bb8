"""Promise: `hvp` and `gnvp` take arrays like every method, and write `out` alone.

(Values are in exactness/test_second_order.py, refusals of each argument in
test_errors_of_networks.py.)
"""

import numpy as np
import pytest

import fastbp

SIZES = (3, 4, 2)
METHODS = pytest.mark.parametrize("method", ["hvp", "gnvp"])
X, Y = np.arange(15).reshape(5, 3) % 4 / 4, np.arange(10).reshape(5, 2) % 2


def network(dtype="float32"):
    net = fastbp.MLP(SIZES, dtype=dtype, seed=0)
    net.backprop(X, Y)
    return net


def direction(net):
    return (np.arange(net.n_params) % 7 / 8 - 0.375).astype(net.dtype)


@METHODS
def test_out_and_what_stays(method, dtype):
    net, v = network(dtype), direction(network(dtype))
    batch = X.astype(dtype), Y.astype(dtype)
    before = [a.tobytes() for a in (*batch, v, net.params, net.grad)]
    expected = getattr(net, method)(*batch, v)
    assert expected.dtype == dtype and expected.flags.owndata
    for w in (None, np.ones(5, dtype)):
        out = np.full(net.n_params, np.nan, dtype)
        assert getattr(net, method)(*batch, v, sample_weight=w, out=out) is out
        np.testing.assert_array_equal(out, expected)
    assert [a.tobytes() for a in (*batch, v, net.params, net.grad)] == before


@METHODS
def test_directions_of_any_make(method, dtype):
    """Converted like every argument: strided, reversed, of another dtype or byte order, a list, a
    subclass, read-only; and the network's own vectors."""
    net = network(dtype)
    v = direction(net)
    wide, locked = np.repeat(v, 2), v.copy()
    locked.flags.writeable = False
    call, expected = getattr(net, method), getattr(net, method)(X, Y, v)
    for other in (wide[::2], v[::-1].copy()[::-1], v.astype("float64"), v.astype("float32"),
                  v.astype(v.dtype.newbyteorder()), v.tolist(), v.view(np.memmap), locked):
        np.testing.assert_array_equal(call(X, Y, other), expected)
    for own in (net.params, net.grad):
        before = net.params.tobytes(), net.grad.tobytes()
        np.testing.assert_array_equal(call(X, Y, own), call(X, Y, own.copy()))
        assert (net.params.tobytes(), net.grad.tobytes()) == before
    np.testing.assert_array_equal(call(X, Y, np.arange(net.n_params) % 2 == 0),
                                  call(X, Y, (np.arange(net.n_params) + 1) % 2))


@METHODS
def test_outputs_are_refused(method):
    net = network()
    v, n = direction(net), net.n_params
    memory, locked = np.zeros(2 * n, "f4"), np.zeros(n, "f4")
    locked.flags.writeable = False
    rows = np.zeros((n, 3), "f4")
    batch = (rows[:5], Y)
    for out, kind, words in (
            (v, ValueError, "out overlaps v"), (net.grad, ValueError, "out overlaps net.grad"),
            (net.params, ValueError, "out overlaps net.params"),
            (rows.reshape(-1)[:n], ValueError, "out overlaps X"),
            (memory[::2], ValueError, "out is not C-contiguous"),
            (locked, ValueError, "out is not writable"),
            (np.zeros(n), TypeError, "out has dtype float64"),
            (np.zeros(n - 1, "f4"), ValueError, "out has shape"),
            (np.zeros((n, 1), "f4"), ValueError, "out has shape"),
            (np.zeros(n, "f4").view(np.memmap), TypeError, "out is of type memmap"),
            ([0.0] * n, TypeError, "out is of type list")):
        before = np.array(out), v.copy(), net.params.copy(), net.grad.copy()
        with pytest.raises(kind, match=words):
            getattr(net, method)(*batch, v, out=out)
        for a, b in zip((out, v, net.params, net.grad), before, strict=True):
            np.testing.assert_array_equal(a, b)


@METHODS
@pytest.mark.parametrize("shift", [1, 20, -1, -20])
def test_out_that_shares_a_part_of_the_direction(method, shift):
    net = network()
    n = net.n_params
    memory = np.zeros(n + 40, "f4")
    v, out = memory[20:20 + n], memory[20 + shift:20 + shift + n]
    with pytest.raises(ValueError, match="out overlaps v"):
        getattr(net, method)(X, Y, v, out=out)
    beside = np.zeros(2 * n, "f4")
    getattr(net, method)(X, Y, beside[:n], out=beside[n:])


def test_the_memory_is_counted():
    net = network()
    before = net.workspace_bytes
    net.hvp(X, Y, direction(net))
    after = net.workspace_bytes
    net.gnvp(X, Y, direction(net))
    assert before < after == net.workspace_bytes


@pytest.mark.parametrize("copies", [1, 3])
def test_products_after_other_passes(copies):
    """A gradient, a bound and an epoch between two products disturb neither."""
    net = network("float64")
    batch = np.tile(X, (60 * copies, 1)), np.tile(Y, (60 * copies, 1))
    v = direction(net)
    expected, bound = net.hvp(*batch, v), net.error_bound(*batch)
    net.backprop(*batch)
    grad = net.grad.copy()
    np.testing.assert_array_equal(net.hvp(*batch, v), expected)
    np.testing.assert_array_equal(net.error_bound(*batch), bound)
    np.testing.assert_array_equal(net.hvp(*batch, v), expected)
    np.testing.assert_array_equal(net.grad, grad)
    before = net.params.copy()
    net.train_epoch(*batch, fastbp.SGD(0.5))
    net.params[:] = before
    np.testing.assert_array_equal(net.hvp(*batch, v), expected)
