"""train_epoch is the loop it replaces: the same mini-batches, the same bits, the same loss."""

import pickle

import numpy as np
import pytest
from all_pairs import all_pairs
from shuffles import fisher_yates, raw_draws

from fastbp import MLP, SGD, Adam

SIZES, N = (3, 5, 1), 50
OPTIMIZERS = {"sgd": lambda: SGD(lr=0.1, momentum=0.9), "adam": lambda: Adam(lr=0.01)}


def samples(n=N, dtype="float64"):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    y, w = rng.random(n) < 0.5, rng.random(n) + 0.5
    return X.astype(dtype), y.astype(dtype), w.astype(dtype)


def step_by_step(net, optimizer, X, y, order, batch_size, w=None, l2=0.0):
    """What one call of train_epoch stands for; the loss per unit of weight."""
    total = weight = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start:start + batch_size]
        part = None if w is None else w[rows]
        size = float(len(rows)) if w is None else float(part.sum(dtype="float64"))
        if size > 0:
            loss = net.backprop(X[rows], y[rows], sample_weight=part, l2=l2, reduction="mean")
            optimizer.step(net.params, net.grad)
            total, weight = total + loss * size, weight + size
    return total / weight


def same(net, twin, loss, expected):
    """The same bits in the parameters. A loss is a sum of positive terms in float64, of two of
    which each has fewer than 5 N roundings, a division and a product by the weights among them."""
    np.testing.assert_array_equal(net.params, twin.params)
    assert type(loss) is float and loss == pytest.approx(expected, rel=10 * N * 2.0**-53)


def copies(dtype, optimizer):
    return (*(MLP(SIZES, dtype=dtype, seed=1) for _ in range(2)),
            *(pickle.loads(pickle.dumps(optimizer)) for _ in range(2)))


@all_pairs("isa", "dtype", optimizer=OPTIMIZERS, weighted=[False, True],
           batch_size=[1, 7, 10, 32, 49, 50, 51, 2**62, 2**70])
def test_the_bits_of_the_loop(optimizer, batch_size, weighted, dtype, isa):
    """In the order given; the last mini-batch takes what is left."""
    X, y, w = samples(dtype=dtype)
    w = w if weighted else None
    order = np.random.default_rng(2).permutation(N)
    net, twin, optimizer, twin_optimizer = copies(dtype, OPTIMIZERS[optimizer]())
    for _ in range(2):
        expected = step_by_step(twin, twin_optimizer, X, y, order, batch_size, w, l2=0.01)
        loss = net.train_epoch(X, y, optimizer, batch_size=batch_size, order=order,
                               sample_weight=w, l2=0.01)
        same(net, twin, loss, expected)


@pytest.mark.parametrize("batch_size", [255, 256, 257, 600, 700])
def test_mini_batches_larger_than_a_block(batch_size, dtype, isa):
    X, y, w = samples(700, dtype)
    order = np.random.default_rng(2).permutation(700)
    net, twin, optimizer, twin_optimizer = copies(dtype, Adam())
    step_by_step(twin, twin_optimizer, X, y, order, batch_size, w)
    net.train_epoch(X, y, optimizer, batch_size=batch_size, order=order, sample_weight=w)
    np.testing.assert_array_equal(net.params, twin.params)


def test_wide_samples_and_several_outputs(dtype, isa):
    """Rows of any length are gathered whole."""
    for sizes in ((1, 2), (17, 1), (33, 3), (70, 5, 9)):
        rng = np.random.default_rng(3)
        X, y = rng.standard_normal((20, sizes[0])).astype(dtype), rng.random((20, sizes[-1]))
        order = rng.permutation(20)
        net, twin = (MLP(sizes, dtype=dtype, seed=0) for _ in range(2))
        step_by_step(twin, SGD(lr=0.1), X, y, order, 6)
        net.train_epoch(X, y, SGD(lr=0.1), batch_size=6, order=order)
        np.testing.assert_array_equal(net.params, twin.params)


# ---- the order

SOURCES = {
    "int": (lambda: 5, np.random.PCG64),
    "Generator": (lambda: np.random.default_rng(5), np.random.PCG64),
    "PCG64": (lambda: np.random.PCG64(5), np.random.PCG64),
    "MT19937": (lambda: np.random.MT19937(5), np.random.MT19937),
    "Philox": (lambda: np.random.Generator(np.random.Philox(5)), np.random.Philox),
}


@pytest.mark.parametrize("source", SOURCES)
def test_shuffling_is_specified(source):
    """A Fisher–Yates permutation of raw draws; an int starts afresh, a generator goes on."""
    X, y, _ = samples(dtype="float32")
    make, bit_generator = SOURCES[source]
    rng, bits = make(), bit_generator(5)
    net, twin, optimizer, twin_optimizer = copies("float32", SGD())
    for _ in range(3):
        bits = bit_generator(5) if source == "int" else bits
        order = fisher_yates(N, raw_draws(bits, N - 1))
        expected = step_by_step(twin, twin_optimizer, X, y, order, 8)
        same(net, twin, net.train_epoch(X, y, optimizer, batch_size=8, rng=rng), expected)


def test_without_shuffling():
    X, y, w = samples(dtype="float32")
    net, twin, optimizer, twin_optimizer = copies("float32", SGD())
    expected = step_by_step(twin, twin_optimizer, X, y, np.arange(N), 8, w)
    loss = net.train_epoch(X, y, optimizer, batch_size=8, shuffle=False, sample_weight=w)
    same(net, twin, loss, expected)


def test_no_generator_is_fresh_entropy():
    X, y, _ = samples()
    state = np.random.get_state()[1].copy()
    nets = [MLP(SIZES, seed=1) for _ in range(2)]
    for net in nets:
        net.train_epoch(X, y, SGD(), batch_size=1)
    assert not np.array_equal(nets[0].params, nets[1].params)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


SUBSETS = {"one row": [7], "few": [3, 41, 3], "a part": np.arange(N)[::3], "more rows than X":
           np.arange(3 * N + 5) % N, "a multiple": np.arange(16)}


@all_pairs("isa", "dtype", rows=SUBSETS, optimizer=OPTIMIZERS, weighted=[False, True],
           batch_size=[1, 8, 32, 1000], n_threads=[1, 2, 3], limit=[None, 0.25])
def test_an_order_of_some_rows(isa, dtype, rows, optimizer, weighted, batch_size, n_threads, limit):
    """Any number of them: the bits, the loss and its parts are those of X[rows], not shuffled.
    With a limit of each sample's norm, the divisor, too."""
    X, y, w = samples(dtype=dtype)
    rows = np.array(SUBSETS[rows])
    w = w + 1 if weighted else None
    net, twin, optimizer, twin_optimizer = copies(dtype, OPTIMIZERS[optimizer]())
    net.n_threads = n_threads
    losses = [np.zeros((-(-len(rows) // batch_size), 2)) for _ in range(2)]
    given = {"batch_size": batch_size, "l2": 0.25, "max_grad_norm": limit}
    for _ in range(2):
        loss = net.train_epoch(X, y, optimizer, order=rows, sample_weight=w,
                               batch_losses=losses[0], **given)
        expected = twin.train_epoch(X[rows], y[rows], twin_optimizer, shuffle=False,
                                    sample_weight=w[rows] if weighted else None,
                                    batch_losses=losses[1], **given)
        assert loss == expected
        np.testing.assert_array_equal(net.params, twin.params)
        np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("order", [
    [0] * N, list(range(N)), np.arange(N)[::-1], np.arange(N, dtype="uint8"),
    np.arange(N, dtype=">i4")], ids=["one sample", "list", "strided", "uint8", "byte order"])
def test_orders(order):
    """Any integers; a sample may come twice, or not at all. An order wins over `shuffle`."""
    X, y, _ = samples()
    net, twin, optimizer, twin_optimizer = copies("float64", SGD())
    expected = step_by_step(twin, twin_optimizer, X, y, np.array(order, "intp"), 8)
    same(net, twin, net.train_epoch(X, y, optimizer, batch_size=8, order=order), expected)


# ---- the loss, weights, learning


def test_the_loss_is_a_mean_before_the_updates(dtype):
    """One mini-batch: that of `loss_value`, to the bit. Equal mini-batches without a step to
    speak of: the mean of all."""
    X, y, w = samples(dtype=dtype)
    net = MLP(SIZES, dtype=dtype, seed=1)
    expected = net.loss_value(X, y, sample_weight=w, reduction="mean")
    assert net.train_epoch(X, y, SGD(), batch_size=N, shuffle=False, sample_weight=w) == expected
    before = net.params.copy()
    expected = net.loss_value(X, y, reduction="mean")
    loss = net.train_epoch(X, y, SGD(lr=1e-300 if dtype == "float64" else 1e-45), rng=0)
    np.testing.assert_array_equal(net.params, before)
    assert loss == pytest.approx(expected, rel=2 * N * 2.0**-53)  # another order of the sum


def test_weights_of_zero(dtype, isa):
    """Such samples do not count, whatever they are; a mini-batch of them makes no step."""
    X, y, w = samples(dtype=dtype)
    w[8:24], w[30] = 0, 0
    net, twin, optimizer, twin_optimizer = copies(dtype, Adam())
    expected = step_by_step(twin, twin_optimizer, X, y, np.arange(N), 8, w)
    X[10], y[30] = 1e3, 1 - y[30]
    loss = net.train_epoch(X, y, optimizer, batch_size=8, shuffle=False, sample_weight=w)
    same(net, twin, loss, expected)
    assert optimizer.state_dict()["t"] == 5  # of 7


def test_no_weight_at_all(dtype, isa):
    """No step, and the mean of nothing."""
    X, y, w = samples(dtype=dtype)
    w[3] = 0
    net, twin, optimizer, _ = copies(dtype, Adam())
    assert np.isnan(net.train_epoch(X, y, optimizer, sample_weight=w, order=np.full(N, 3)))
    np.testing.assert_array_equal(net.params, twin.params)
    assert optimizer.state_dict()["t"] == 0


@pytest.mark.parametrize("n", [1, 2])
def test_very_few_samples(n, dtype):
    X, y, _ = samples(n, dtype)
    net, twin, optimizer, twin_optimizer = copies(dtype, SGD())
    order = fisher_yates(n, raw_draws(np.random.PCG64(1), n - 1))
    expected = step_by_step(twin, twin_optimizer, X, y, order, 1)
    same(net, twin, net.train_epoch(X, y, optimizer, batch_size=1, rng=1), expected)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: X.astype("float32"),
                                    lambda X: np.repeat(X, 2, axis=1)[:, ::2]])
def test_samples_are_converted_once_for_the_epoch(layout):
    X, y, _ = samples(dtype="float32")
    X = X.astype("float64")
    net, twin, optimizer, twin_optimizer = copies("float64", SGD())
    expected = step_by_step(twin, twin_optimizer, X, y, np.arange(N), 8)
    loss = net.train_epoch(layout(X), y.astype(bool), optimizer, batch_size=8, shuffle=False)
    same(net, twin, loss, expected)


def test_the_gradient_is_that_of_the_last_step(dtype):
    X, y, _ = samples(dtype=dtype)
    net, twin, optimizer, twin_optimizer = copies(dtype, Adam())
    step_by_step(twin, twin_optimizer, X, y, np.arange(N), 8)
    net.train_epoch(X, y, optimizer, batch_size=8, shuffle=False)
    np.testing.assert_array_equal(net.grad, twin.grad)
    held = net.workspace_bytes
    net.train_epoch(X, y, optimizer, batch_size=8)
    assert net.workspace_bytes == held


@pytest.mark.parametrize("optimizer", [SGD(lr=2.0, momentum=0.9), Adam(lr=0.1)],
                         ids=["sgd", "adam"])
def test_it_learns(optimizer, dtype, isa):
    """XOR, which no single layer can."""
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype)
    y = np.array([0, 1, 1, 0])
    net, rng = MLP([2, 8, 1], dtype=dtype, seed=0), np.random.default_rng(0)
    optimizer = pickle.loads(pickle.dumps(optimizer))
    first = net.train_epoch(X, y, optimizer, batch_size=4, rng=rng)
    for _ in range(1000):
        loss = net.train_epoch(X, y, optimizer, batch_size=4, rng=rng)
    assert loss < 0.1 < first
    np.testing.assert_array_equal(net.forward(X)[:, 0] > 0.5, y)


# ---- errors


def test_an_optimizer_of_another_network_is_refused(dtype):
    """An optimizer of another size or dtype is refused; nothing has moved."""
    X, y, _ = samples()
    for other in (MLP([3, 4, 1], dtype=dtype),
                  MLP(SIZES, dtype="float32" if dtype == "float64" else "float64")):
        optimizer = Adam()
        other.train_epoch(X, y, optimizer)
        saved = pickle.dumps(optimizer.state_dict())
        net = MLP(SIZES, dtype=dtype, seed=1)
        before = net.params.copy()
        with pytest.raises(ValueError, match="params has 26 entries"):
            net.train_epoch(X, y, optimizer)
        np.testing.assert_array_equal(net.params, before)
        assert pickle.dumps(optimizer.state_dict()) == saved


def test_no_samples_are_refused():
    net, optimizer = MLP(SIZES, seed=1), Adam()
    before = net.params.copy()
    with pytest.raises(ValueError, match="X has no samples"):
        net.train_epoch(np.zeros((0, 3)), np.zeros(0), optimizer)
    np.testing.assert_array_equal(net.params, before)
    assert optimizer.state_dict()["t"] == 0


# ---- the losses of the mini-batches


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_the_mini_batches(weighted, l2, dtype):
    """Loss and penalty before the update, per unit of weight; no row for what has no weight.

    Both losses have float64 sums of 8 terms or fewer. The penalty is the difference of two of
    them, each rounded once, so off by 2u of the sum, beside the kernel's own sum over W.
    """
    X, y, w = samples(dtype=dtype)
    w[16:24] = 0
    w = w if weighted else None
    net, twin, optimizer, twin_optimizer = copies(dtype, SGD(lr=0.1, momentum=0.9))
    found = np.full((7, 2), -1.0)
    net.train_epoch(X, y, optimizer, batch_size=8, shuffle=False, sample_weight=w, l2=l2,
                    batch_losses=found)
    for i in range(7):
        rows = slice(8 * i, 8 * i + 8)
        part = None if w is None else w[rows]
        if weighted and i == 2:
            assert (found[i] == -1).all()
            continue
        weight = len(X[rows]) if w is None else part.sum(dtype=float)
        squares = sum((np.float64(W) ** 2).sum() for W in twin.weights)
        loss = twin.loss_value(X[rows], y[rows], sample_weight=part, reduction="mean")
        penalty = l2 / 2 * squares / weight
        twin.backprop(X[rows], y[rows], sample_weight=part, reduction="mean", l2=l2)
        twin_optimizer.step(twin.params, twin.grad)
        assert found[i, 0] == pytest.approx(loss, rel=4 * 2.0**-53)
        assert found[i, 1] == pytest.approx(
            penalty, rel=twin.n_params * 2.0**-53, abs=4 * 2.0**-53 * (loss + penalty))
    np.testing.assert_array_equal(net.params, twin.params)


@pytest.mark.parametrize(("batch_losses", "error", "words"), [
    ([[0.0, 0.0]] * 7, TypeError, "list"),
    (np.zeros((7, 2), "float32"), TypeError, "float32"),
    (np.zeros((6, 2)), ValueError, r"\(6, 2\); it should have shape \(7, 2\)"),
    (np.zeros((2, 7)).T, ValueError, "C-contiguous")], ids=["list", "float32", "shape", "layout"])
def test_batch_losses_that_do_not_fit(batch_losses, error, words):
    X, y, _ = samples()
    net = MLP(SIZES, seed=1)
    before = net.params.copy()
    with pytest.raises(error, match=f"batch_losses .*{words}"):
        net.train_epoch(X, y, SGD(), batch_size=8, batch_losses=batch_losses)
    np.testing.assert_array_equal(net.params, before)


def test_batch_losses_have_memory_of_their_own():
    net = MLP(SIZES, dtype="float64", seed=1)
    X, y, _ = samples(n=3)
    inside = net.params[:6].reshape(3, 2)
    with pytest.raises(ValueError, match="batch_losses overlaps net.params"):
        net.train_epoch(X, y, SGD(), batch_size=1, batch_losses=inside)
