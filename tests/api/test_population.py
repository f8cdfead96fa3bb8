"""`Population`: how it is made, what it holds, what its calls take and give.

Its bits are in bits/test_l5_population.py, its errors and copies beside this file.
"""

import inspect

import numpy as np
import pytest

from fastbp import MLP, SGD, Adam, Population

N, SIZES = 4, (3, 5, 1)
X = np.random.default_rng(0).standard_normal((9, 3)).astype("f")
Y = (X[:, 0] > 0).astype("f")


def population(**options):
    return Population(N, SIZES, **{"seeds": 0, **options})


def sgds(n=N):
    return [SGD() for _ in range(n)]


def alone(**options):
    return [MLP(SIZES, seed=k, **options) for k in range(N)]


# ---- made


def test_what_it_is():
    pop = population(activation="tanh", dtype="float64", n_threads=2, label_smoothing=0.125)
    assert len(pop) == pop.n_networks == N and pop.n_params == 26 and pop.n_threads == 2
    assert pop.layer_sizes == SIZES and pop.activation == "tanh" and pop.loss == "bce"
    assert pop.loss_options == {"label_smoothing": 0.125} and pop.dtype == "float64"
    assert repr(pop) == ("Population(4, [3, 5, 1], activation='tanh', loss='bce', "
                         "dtype='float64', label_smoothing=0.125)")
    pop.n_threads = None
    assert pop.n_threads is None


def test_signatures_are_those_of_a_network():
    """Apart from what a population has not."""
    for name in ("forward", "logits", "loss_value", "backprop"):
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (Population, MLP))
        assert str(ours) == str(theirs)
    ours, theirs = (inspect.signature(kind.train_epoch).parameters for kind in (Population, MLP))
    assert set(ours) - set(theirs) == {"rows", "active"}
    assert all(ours[name].default == theirs[name].default for name in set(ours) & set(theirs))


def seeds_of(pop):
    return [next(s for s in range(20) if np.array_equal(MLP(SIZES, seed=s).params, params))
            for params in pop.params]


@pytest.mark.parametrize("seeds, expected", [
    (0, [0, 1, 2, 3]), (np.int32(5), [5, 6, 7, 8]), ([3, 1, 1, 2], [3, 1, 1, 2]),
    (np.arange(4) + 2, [2, 3, 4, 5]), (tuple(np.random.PCG64(k) for k in (9, 0, 1, 2)),
                                       [9, 0, 1, 2])])
def test_seeds(seeds, expected):
    assert seeds_of(population(seeds=seeds)) == expected


def test_seeds_that_nobody_gives():
    one, other = population(seeds=None), Population(N, SIZES)
    assert len(np.unique(np.vstack([one.params, other.params]), axis=0)) == 2 * N
    first, *_ = population(seeds=[None, 1, 2, 3]).params
    assert not np.array_equal(first, MLP(SIZES, seed=0).params)


def test_one_generator_goes_on():
    rng, theirs = np.random.default_rng(5), np.random.default_rng(5)
    np.testing.assert_array_equal(population(seeds=[rng] * N).params,
                                  [MLP(SIZES, seed=theirs).params for _ in range(N)])


@pytest.mark.parametrize("arguments, error, words", [
    ((0, SIZES), ValueError, "n_networks is 0; it should be an integer of at least 1"),
    ((2.5, SIZES), ValueError, "n_networks is 2.5"),
    (("a", SIZES), TypeError, "n_networks is 'a'"),
    ((True, SIZES), TypeError, "n_networks is True"), ((2, [3]), ValueError, "layer_sizes"),
    ((), TypeError, "^Population lacks n_networks"),
    ((2, SIZES, {"seed": 1}), TypeError, "^Population has no argument .seed. .*seeds"),
    ((2, SIZES, {"n_threads": 0}), ValueError, "n_threads is 0"),
    ((2, SIZES, {"loss": "softmax"}), ValueError, "softmax"),
    ((2, SIZES, {"seeds": -1}), ValueError, "seeds is -1; a seed should be at least 0"),
    ((2, SIZES, {"seeds": 1.5}), TypeError,
     "seeds is of type float; it should be an int, None, or a sequence of 2, one for each network"),
    ((2, SIZES, {"seeds": "ab"}), TypeError, "seeds is of type str"),
    ((2, SIZES, {"seeds": {1, 2}}), TypeError, "seeds is of type set"),
    ((2, SIZES, {"seeds": np.random.default_rng()}), TypeError, "seeds is of type Generator"),
    ((2, SIZES, {"seeds": [1]}), ValueError, "seeds has 1 entry; it should have 2"),
    ((2, SIZES, {"seeds": [1, -4]}), ValueError, r"seeds\[1\] is -4"),
    ((2, SIZES, {"seeds": [1, "b"]}), TypeError, r"seeds\[1\] is of type str")])
def test_what_cannot_be_made(arguments, error, words):
    *given, options = arguments if arguments and isinstance(arguments[-1], dict) else (*arguments,
                                                                                       {})
    with pytest.raises(error, match=words):
        Population(*given, **options)


def test_it_is_made_once():
    pop = population()
    with pytest.raises(RuntimeError, match="initialised already"):
        pop.__init__(2, SIZES)
    assert len(pop) == N


# ---- from networks


def test_from_networks():
    options = {"loss": "softmax", "class_weight": {1: 2.5}, "dtype": "float64", "n_threads": 3}
    nets = [MLP([2, 4, 3], seed=k, **options) for k in range(3)]
    pop = Population.from_networks(nets)
    assert repr(pop)[len("Population(3, "):] == repr(nets[0])[len("MLP("):] and pop.n_threads == 3
    np.testing.assert_array_equal(pop.params, [net.params for net in nets])
    pop.params += 1
    np.testing.assert_array_equal(nets[1].params, MLP([2, 4, 3], seed=1, **options).params)


@pytest.mark.parametrize("networks, error, words", [
    ([], ValueError, "networks is empty"), (None, TypeError, "networks is of type NoneType"),
    (MLP(SIZES), TypeError, "networks is of type MLP; it should be a sequence"),
    ([MLP(SIZES), 3], TypeError, r"networks\[1\] is of type int; it should be a fastbp.MLP"),
    ([MLP(SIZES), MLP([3, 5, 2])], ValueError, r"networks\[1\] is MLP\(\[3, 5, 2\]"),
    ([MLP(SIZES), MLP(SIZES, dtype="float64")], ValueError, r"networks\[1\] is .*float64"),
    ([MLP(SIZES), MLP(SIZES, label_smoothing=0.1)], ValueError, r"networks\[1\] is"),
    ([MLP(SIZES), MLP(SIZES, activation="relu")], ValueError, r"networks\[1\] is"),
    ([MLP.__new__(MLP)], RuntimeError, "MLP.__init__ was not called")])
def test_networks_that_are_no_population(networks, error, words):
    with pytest.raises(error, match=words):
        Population.from_networks(networks)


def test_options_that_differ_where_they_are_not_printed():
    """An array of very many numbers is printed with dots."""
    weights = np.ones(3000)
    one = MLP([1, 3000], pos_weight=weights)
    weights[1500] = 2
    with pytest.raises(ValueError, match=r"networks\[1\] is"):
        Population.from_networks([one, MLP([1, 3000], pos_weight=weights)])


# ---- params, grad, members


@pytest.mark.parametrize("name", ["params", "grad"])
def test_vectors_are_written_in_place(name):
    pop = population()
    held = getattr(pop, name)
    held[1] = 7
    setattr(pop, name, held)
    setattr(pop, name, 2 * held.astype("d"))
    assert getattr(pop, name) is held and (held[1] == 14).all()
    views = (pop.weights, pop.biases) if name == "params" else (pop.weight_grads, pop.bias_grads)
    assert [W.shape for W in views[0]] == [(N, 3, 5), (N, 5, 1)]
    assert [b.shape for b in views[1]] == [(N, 5), (N, 1)]
    for arrays in views:
        for array in arrays:
            assert np.shares_memory(array, held) and (array[1] == 14).all()
    views[1][1][:] = 3
    assert (held[:, -1] == 3).all()
    with pytest.raises(ValueError, match=rf"{name} has shape \(3,\); it should have shape \(4, 26"):
        setattr(pop, name, np.zeros(3))
    with pytest.raises(TypeError, match=f"{name} has dtype"):
        setattr(pop, name, "a")


@pytest.mark.parametrize("name", ["n_networks", "weights", "biases", "weight_grads", "bias_grads",
                                  "n_params", "layer_sizes", "activation", "loss", "loss_options",
                                  "dtype", "workspace_bytes", "anything"])
def test_what_is_read_only(name):
    with pytest.raises(AttributeError):
        setattr(population(), name, 1)


@pytest.mark.parametrize("k", [0, 2, -1, -N, np.int64(1)])
def test_a_member_has_the_same_memory(k):
    pop, net = population(n_threads=2), MLP(SIZES, seed=int(k) % N)
    member, others = pop.member(k), np.arange(N) != k % N
    before = pop.params.copy()
    assert repr(member) == repr(net) and member.n_threads == 2
    assert member.backprop(X, Y) == net.backprop(X, Y)
    np.testing.assert_array_equal(pop.grad[k], net.grad)
    assert member.train_epoch(X, Y, Adam(), rng=0) == net.train_epoch(X, Y, Adam(), rng=0)
    np.testing.assert_array_equal(pop.params[k], net.params)
    np.testing.assert_array_equal(pop.params[others], before[others])
    member.params = np.arange(26)
    np.testing.assert_array_equal(pop.params[k], np.arange(26))
    pop.params[k] = 1
    assert (member.weights[0] == 1).all()
    del pop
    assert np.isfinite(member.backprop(X, Y))       # it holds the memory


@pytest.mark.parametrize("k, error, words", [
    (4, IndexError, r"k is 4; it should be in \[-4, 4\)"), (-5, IndexError, "k is -5"),
    (2**70, IndexError, "k is"), (1.0, TypeError, "k is 1.0; it should be an integer"),
    (slice(0, 2), TypeError, "k is slice"), (None, TypeError, "k is None"),
    (True, TypeError, "k is True"), ((0,), TypeError, r"k is \(0,\)"), ([0, 1], TypeError, "k is"),
    (..., TypeError, "k is Ellipsis"), ("a", TypeError, "k is 'a'")])
def test_no_member(k, error, words):
    with pytest.raises(error, match=words):
        population().member(k)


# ---- calls


def test_out():
    pop = population()
    out = np.empty((N, 9, 1), "f")
    assert pop.forward(X, out=out) is out
    np.testing.assert_array_equal(out, pop.forward(X))
    assert pop.logits(X, out) is out
    np.testing.assert_array_equal(out, pop.logits(X))


room = np.zeros((36, 3), "f")


@pytest.mark.parametrize("out, error, words", [
    (np.zeros((N, 9, 1)), TypeError, "out has dtype float64"),
    (np.zeros((N, 9), "f"), ValueError, r"out has shape \(4, 9\); it should have shape \(4, 9, 1"),
    ([1], TypeError, "out is of type list"),
    (np.zeros((9, N, 1), "f").transpose(1, 0, 2), ValueError, "C-contiguous"),
    (room.reshape(-1)[:36].reshape(N, 9, 1), ValueError, "out overlaps X")])
def test_out_that_does_not_fit(out, error, words):
    with pytest.raises(error, match=words):
        population().forward(room[:9], out=out)


def test_out_within_the_parameters():
    pop = population()
    with pytest.raises(ValueError, match=r"out overlaps population\.params"):
        pop.forward(X, out=pop.params.reshape(-1)[:36].reshape(N, 9, 1))


def test_arrays_are_converted():
    pop = population()
    expected = pop.backprop(X, Y, sample_weight=Y + 1)
    for copied in (np.asfortranarray(X), X.astype("d"), X.tolist(), np.repeat(X, 2, 0)[::2]):
        found = pop.backprop(copied, Y.astype(bool), sample_weight=(Y + 1).astype(int).tolist())
        np.testing.assert_array_equal(found, expected)


def test_no_samples():
    """Sums are 0, means and epochs refused, as of a network."""
    pop = population()
    pop.grad = np.ones((N, 26))
    for empty in (X[:0], np.zeros((N, 0, 3))):
        assert pop.forward(empty).shape == (N, 0, 1)
        assert not pop.loss_value(empty, Y[:0]).any() and not pop.backprop(empty, Y[:0]).any()
        assert not pop.grad.any()
        optimizers = [Adam() for _ in range(N)]
        with pytest.raises(ValueError, match="X has no samples"):
            pop.backprop(empty, Y[:0], reduction="mean")
        with pytest.raises(ValueError, match="X has no samples"):
            pop.train_epoch(empty, Y[:0], optimizers)
        assert not any(optimizer.t for optimizer in optimizers)


@pytest.mark.parametrize("batch_size", [9, 10, 2**62, 2**70])
def test_a_mini_batch_of_all(batch_size):
    pop = population()
    found = pop.train_epoch(X, Y, sgds(), batch_size=batch_size, rng=1)
    np.testing.assert_array_equal(found, [net.train_epoch(X, Y, SGD(), batch_size=9, rng=1)
                                          for net in alone()])


def test_a_generator_for_all_goes_on():
    pop, nets, rng = population(), alone(), np.random.default_rng(3)
    sources, optimizers, theirs = [np.random.default_rng(3) for _ in nets], sgds(), sgds()
    for _ in range(3):
        found = pop.train_epoch(X, Y, optimizers, batch_size=2, rng=rng)
        np.testing.assert_array_equal(found, [
            net.train_epoch(X, Y, theirs[k], batch_size=2, rng=sources[k])
            for k, net in enumerate(nets)])


def test_workspace_does_not_grow_with_the_networks():
    held = []
    for n in (64, 640):
        pop = Population(n, SIZES, seeds=0, n_threads=1)
        pop.train_epoch(X, Y, sgds(n))
        held.append(pop.workspace_bytes)
    assert held[0] == held[1] > 0
