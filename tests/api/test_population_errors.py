"""Arguments that a `Population` refuses: the message names the argument and the network."""

import numpy as np
import pytest

from fastbp import MLP, SGD, Adam, Population

N, SIZES = 4, (3, 5, 1)
X = np.random.default_rng(0).standard_normal((9, 3)).astype("f")
Y = (X[:, 0] > 0).astype("f")
EACH = np.ones((N, 9), "f")


def changed(value, at=(2, 5)):
    array = EACH.copy()
    array[at] = value
    return array


def stepped(size=3, dtype="float64"):
    optimizer = Adam()
    optimizer.step(np.ones(size, dtype), np.ones(size, dtype))
    return optimizer


class Mine(SGD):
    def step(self, params, grad):
        pass


def adams(*some):
    return [*some, *(Adam() for _ in range(N - len(some)))]


def refuses(call, error, words):
    """And nothing has changed, nor is anything held."""
    population = Population(N, SIZES, seeds=0)
    before = population.params.copy()
    with pytest.raises(error, match=words):
        call(population)
    np.testing.assert_array_equal(population.params, before)
    assert not population.grad.any()
    population.train_epoch(X, Y, [SGD() for _ in range(N)])


@pytest.mark.parametrize("given, error, words", [
    (X[:, :2], ValueError, r"X has shape \(9, 2\); it should have shape \(n_samples, 3\) or "
                           r"\(4, n_samples, 3\)"),
    (np.zeros((3, 9, 3)), ValueError, r"X has shape \(3, 9, 3\); .* \(4, n_samples, 3\)"),
    (np.zeros((N, 9, 2)), ValueError, r"X has shape \(4, 9, 2\)"),
    (np.zeros((1, N, 9, 3)), ValueError, "X has shape"), ("a", TypeError, "X has dtype <U1"),
    (None, TypeError, "X is of type NoneType"), (X.astype(complex), TypeError, "X has dtype"),
    ([[1, 2, 3], [1]], ValueError, "X cannot be read as an array of real numbers")])
@pytest.mark.parametrize("method", ["forward", "logits", "loss_value", "backprop", "train_epoch"])
def test_inputs(method, given, error, words):
    more = {"forward": (), "logits": (), "train_epoch": (Y, adams())}.get(method, (Y,))
    refuses(lambda population: getattr(population, method)(given, *more), error, words)


@pytest.mark.parametrize("y, error, words", [
    (Y[:8], ValueError, r"y has shape \(8,\); it should have one of the shapes \(9,\), \(9, 1\), "
                        r"\(4, 9\), \(4, 9, 1\)"),
    (EACH[:3], ValueError, r"y has shape \(3, 9\)"), ("a", TypeError, "y has dtype <U1"),
    (None, TypeError, "y is of type NoneType"), (Y.astype(complex), TypeError, "y has dtype"),
    ([[1] * 9] * 3 + [[1]], ValueError, "y cannot be read"),
    (np.r_[Y[:8], np.nan], ValueError, r"y has nan in row 8; it should be in \[0, 1\]"),
    (changed(7), ValueError, r"y\[2\] has 7.0 in row 5; it should be in \[0, 1\]"),
    (changed(np.nan)[:, :, None], ValueError, r"y\[2\] has nan in row 5")])
@pytest.mark.parametrize("method", ["loss_value", "backprop", "train_epoch"])
def test_targets(method, y, error, words):
    more = (adams(),) if method == "train_epoch" else ()
    refuses(lambda population: getattr(population, method)(X, y, *more), error, words)


@pytest.mark.parametrize("loss, y, words", [
    ("softmax", np.full((N, 9), 3.0), r"y\[0\] has 3.0 in row 0; it should be a class"),
    ("softmax", np.full((N, 9, 3), 0.5), r"y\[0\] has a sum of 1.5 in row 0"),
    ("poisson", -np.ones((N, 9, 3)), r"y\[0\] has -1.0 in row 0")])
def test_targets_of_other_losses(loss, y, words):
    population = Population(N, [3, 3], loss=loss, seeds=0)
    with pytest.raises(ValueError, match=words):
        population.backprop(X, y)
    y[0] = 1 / 3 if y.ndim == 3 else 0
    with pytest.raises(ValueError, match=words.replace("[0\\]", "[1\\]")):
        population.backprop(X, y)


@pytest.mark.parametrize("weights, error, words", [
    (Y[:8], ValueError, r"sample_weight has shape \(8,\); .* \(9,\), \(4, 9\)"),
    (EACH[:, :8], ValueError, r"sample_weight has shape \(4, 8\)"),
    ("a", TypeError, "sample_weight has dtype <U1"),
    (-EACH[0], ValueError, "sample_weight has -1.0 in row 0; it should be finite and at least 0"),
    (changed(-1), ValueError, r"sample_weight\[2\] has -1.0 in row 5"),
    (changed(np.inf), ValueError, r"sample_weight\[2\] has inf in row 5"),
    (0 * Y, ValueError, "sample_weight sums to 0"),
    (changed(0, 3), ValueError, r"sample_weight\[3\] sums to 0.0; for a mean it should")])
@pytest.mark.parametrize("method", ["loss_value", "backprop", "train_epoch"])
def test_weights(method, weights, error, words):
    options = {} if method == "train_epoch" else {"reduction": "mean"}
    more = (adams(),) if method == "train_epoch" else ()
    refuses(lambda population: getattr(population, method)(X, Y, *more, sample_weight=weights,
                                                           **options), error, words)


def test_weights_of_classes():
    population = Population(N, SIZES, class_weight=[0.0, 1.0])
    with pytest.raises(ValueError, match=r"sample_weight\[1\] times class_weight sums to 0"):
        population.backprop(X, changed(0, 1), reduction="mean")


def test_sums_of_weights_are_those_of_each_network():
    """Together they would overflow."""
    weights, nets = np.full((N, 9), 1.5e307), [MLP(SIZES, dtype="float64", seed=k)
                                               for k in range(N)]
    population = Population.from_networks(nets)
    y = np.full(9, 0.5)
    found = population.loss_value(X, y, sample_weight=weights, reduction="mean")
    np.testing.assert_array_equal(found, [
        net.loss_value(X, y, sample_weight=weights[0], reduction="mean") for net in nets])


@pytest.mark.parametrize("l2, error, words", [
    (-1, ValueError, "l2 is -1; it should be a number of at least 0, and finite"),
    ([1, 2], ValueError, "l2 has 2 entries; it should have 4, one for each network"),
    ([1, 2, 3, -4], ValueError, r"l2\[3\] is -4"), ([0, 1, 2, np.inf], ValueError, r"l2\[3\]"),
    ("a", TypeError, "l2 is of type str; it should be a number, or a sequence of 4"),
    (None, TypeError, "l2 is None"), (True, TypeError, "l2 is True"),
    ([0, [1], 2, 3], TypeError, r"l2\[1\] is \[1\]"),
    ({1, 2, 3, 4}, TypeError, "l2 is of type set")])
@pytest.mark.parametrize("method", ["backprop", "train_epoch"])
def test_penalties(method, l2, error, words):
    more = (adams(),) if method == "train_epoch" else ()
    refuses(lambda population: getattr(population, method)(X, Y, *more, l2=l2), error, words)


@pytest.mark.parametrize("options, error, words", [
    ({"rows": [9]}, ValueError, r"rows has 9 at position 0; it should be in \[0, 9\)"),
    ({"rows": [[0], [1], [-1], [0]]}, ValueError, r"rows\[2\] has -1 at position 0"),
    ({"rows": [[0]] * 3}, ValueError, "rows has 3 entries; it should have 4, one for each network"),
    ({"rows": [[0], 1, [2], [3]]}, ValueError, r"rows\[1\] has shape \(\)"),
    ({"rows": [0, [1], 2, 3]}, ValueError, r"rows\[0\] has shape \(\)"),
    ({"rows": [[0], [], [1], [2]]}, ValueError, r"rows\[1\] is empty; .* at least one index"),
    ({"rows": []}, ValueError, r"rows\[0\] is empty"), ({"rows": "a"}, TypeError, "rows has dtype"),
    ({"rows": [0.5]}, TypeError, "rows has dtype float64; it should be an array of integers"),
    ({"rows": [[0], [0, 1], [0], [1]], "rng": 0}, ValueError,
     r"rng is 0, and the networks take different numbers of rows, 1 to 2; .* such as range\(4\)"),
    ({"rng": "a"}, TypeError, "rng is of type str; it should be an int, a generator, None, or"),
    ({"rng": 1.5}, TypeError, "rng is of type float"), ({"rng": -1}, ValueError, "rng is -1"),
    ({"rng": [1, 2]}, ValueError, "rng has 2 entries"),
    ({"rng": [1, 2, 3, -1]}, ValueError, r"rng\[3\] is -1"),
    ({"rng": [1, 2, 3, "a"]}, TypeError, r"rng\[3\] is of type str"),
    ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ({"batch_size": "a"}, TypeError, "batch_size is of type str; it should be an integer, or"),
    ({"batch_size": [1, 2, 3]}, ValueError, "batch_size has 3 entries"),
    ({"batch_size": [1, 2, 0, 4]}, ValueError, r"batch_size\[2\] is 0"),
    ({"active": [True] * 3}, ValueError, r"active has shape \(3,\) .* should have shape \(4,\)"),
    ({"active": [0, 1, 2, 3]}, TypeError, "active has shape .* int64; .* dtype bool"),
    ({"active": [[True], [True, False]]}, TypeError, "active has shape"),
    ({"batch_losses": [np.zeros((1, 2))] * 3}, ValueError, "batch_losses has 3 entries"),
    ({"batch_losses": [np.zeros((1, 2))] * 4}, ValueError,
     r"batch_losses\[1\] overlaps batch_losses\[0\]"),
    ({"batch_losses": [np.zeros((1, 2)), None, None, None]}, TypeError,
     r"batch_losses\[1\] is None"),
    ({"batch_losses": np.zeros((4, 2, 2))}, ValueError,
     r"batch_losses\[0\] has shape \(2, 2\); it should have shape \(1, 2\)"),
    ({"shuffle": 1}, TypeError, "shuffle is 1; it should be True or False"),
    ({"max_norm": 1.0}, TypeError, "train_epoch has no argument 'max_norm': MLP.fit and"),
    ({"order": [0]}, TypeError, "order")])
def test_epochs(options, error, words):
    refuses(lambda population: population.train_epoch(X, Y, adams(), **options), error, words)


ONE = Adam()


@pytest.mark.parametrize("optimizer, error, words", [
    (None, TypeError, "optimizer is of type NoneType"), ("abcd", TypeError, "optimizer is of type"),
    (adams()[:3], ValueError, "optimizer has 3 entries; it should have 4"),
    (adams(SGD(), 1), TypeError, r"optimizer\[1\] is of type int; it should be a fastbp.SGD"),
    (adams(SGD(), Mine()), TypeError, r"optimizer\[1\] is of type Mine, which overrides step"),
    (adams(SGD(), SGD(), ONE, ONE), ValueError, r"optimizer\[3\] is optimizer\[2\]"),
    (adams(SGD(), Adam.__new__(Adam)), RuntimeError, r"optimizer\[1\]: Adam did not call"),
    (adams(SGD(), Adam(), stepped()), ValueError,
     r"optimizer\[2\]: params has 26 entries of float32; it should have 3 of float64"),
    (adams(SGD(), Adam(), stepped(26)), ValueError, r"optimizer\[2\]: .*26 of float64"),
    (adams(SGD(), Adam(eps=1e-300)), ValueError, r"optimizer\[1\]: eps is 1e-300")])
def test_optimizers(optimizer, error, words):
    """None of them has begun, or is held, after one was refused."""
    given = optimizer if isinstance(optimizer, list) else []
    before = [repr(one.state_dict()) for one in filter(valid, given)]
    refuses(lambda population: population.train_epoch(X, Y, optimizer), error, words)
    assert [repr(one.state_dict()) for one in filter(valid, given)] == before


def valid(one):
    try:
        return isinstance(one, SGD | Adam) and bool(one.state_dict())
    except RuntimeError:
        return False


def test_reductions():
    refuses(lambda population: population.backprop(X, Y, reduction="max"), ValueError,
            "reduction is 'max'; it should be one of 'sum', 'mean'")
