"""Numbers of any kind as parameters, of every public function and estimator: NumPy's scalars,
arrays without axes, fractions. Each gives the bits that Python's number of its value gives."""

import inspect
import warnings
from fractions import Fraction
from numbers import Integral, Real

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval

import fastbp
from fastbp import MLP, SGD, Adam, Layers, Population, reference
from fastbp.io import load_model, save_model
from fastbp.sklearn import MLPClassifier, MLPRegressor
from tests.api.test_signatures import SIGNATURES, public

INTEGERS = [getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
REALS = [np.float16, np.float32, np.float64, np.longdouble, Fraction]

X, y = np.arange(12.0).reshape(4, 3) / 8, np.array([0.0, 1, 1, 0])
two = np.stack([y, 1 - y], axis=1)
W, b = [np.eye(3), np.ones((3, 2))], [np.ones(3), np.ones(2)]


def network(n_outputs=1, **options):
    return MLP([3, 2, n_outputs], seed=0, dtype="float64", **options)


def gradient(net, targets=y, **options):
    return net.backprop(X, targets, **options), net.grad


def clipped(max_norm, **options):
    net = network()
    return net.clipped_backprop(X, y, max_norm, rng=np.random.PCG64(1), **options), net.grad


def private(**options):
    return trained(**{"max_grad_norm": 0.1, "rng": np.random.PCG64(1), **options})


def one_rng(rng):
    """An int is a seed of an order, and refused for noise."""
    with pytest.raises(TypeError, match=f"rng is {int(rng)}; for noise"):
        network().clipped_backprop(X, y, 1.0, noise_multiplier=1.0, rng=rng)


def trained(**options):
    net = network()
    return net.train_epoch(X, y, Adam(), **options), net.params


def stepped(optimizer):
    params = np.ones(4)
    for _ in range(2):
        optimizer.step(params, np.arange(4.0))
    return params


def cut(module, max_norm):
    grad = np.arange(4.0)
    return module.clip_grad_norm(grad, max_norm), grad


def of_layers(**options):
    layers = Layers([3, 3, 2], ["tanh", "identity"], dtype="float64")
    dW, db = [np.empty_like(each) for each in W], [np.empty_like(each) for each in b]
    return layers.loss_and_grad(W, b, X, two, dW, db, **options), dW, db


def loaded(kind, **changes):
    optimizer = kind(0.5)
    stepped(optimizer)
    optimizer.load_state_dict({**optimizer.state_dict(), **changes})
    return stepped(optimizer), repr(optimizer.state_dict())


def with_rate(kind, lr):
    optimizer = kind()
    optimizer.lr = lr
    return stepped(optimizer), optimizer.lr


def population(sizes=(3, 2, 1), **options):
    return Population(2, sizes, dtype="float64", **{"seeds": 0, **options})


def gradients(members, **options):
    return members.backprop(X, y, **options), members.grad


def trained_together(**options):
    members = population()
    return members.train_epoch(X, y, [Adam(), Adam()], **options), members.params


def fitted(**options):
    net = network()
    options = {"epochs": 3, "shuffle": False, **options}
    return net.fit(X, y, Adam(), **options).losses, net.params


def many_epochs(**options):
    members = population()
    options = {"epochs": 3, "shuffle": False, **options}
    return members.train(X, y, Adam(), **options).losses, members.params


def separate(**options):
    nets = [network() for _ in range(2)]
    options = {"epochs": 3, "shuffle": False, **options}
    history = fastbp.train_many(nets, X, y, [Adam(), Adam()], **options)
    return history.losses, [net.params for net in nets]


def threads(n):
    try:
        fastbp.set_num_threads(n)
        assert type(fastbp.get_num_threads()) is int
        return fastbp.get_num_threads()
    finally:
        fastbp.set_num_threads(None)


TRAININGS = (("MLP.fit", fitted), ("Population.train", many_epochs), ("train_many", separate))

# (callable, parameter): what it does with a number, and that number, as Python has it.
CASES = {
    ("MLP", "layer_sizes"): (lambda v: MLP([v, v, 1], seed=0).params, 3),
    ("MLP", "seed"): (lambda v: MLP([3, 2], seed=v).params, 3),
    ("MLP", "n_threads"): (lambda v: network(n_threads=v).n_threads, 2),
    ("MLP", "pos_weight"): (lambda v: gradient(network(pos_weight=v)), 2.5),
    ("MLP", "class_weight"): (lambda v: gradient(network(class_weight={1: v})), 2.5),
    ("MLP", "label_smoothing"): (lambda v: gradient(network(label_smoothing=v)), 0.1),
    ("MLP.backprop", "l2"): (lambda v: gradient(network(), l2=v), 0.3),
    ("MLP.error_bound", "l2"): (lambda v: network().error_bound(X, y, l2=v), 0.3),
    ("MLP.clipped_backprop", "max_norm"): (clipped, 0.3),
    ("MLP.clipped_backprop", "noise_multiplier"): (lambda v: clipped(1, noise_multiplier=v), 0.3),
    ("MLP.clipped_backprop", "rng"): (one_rng, 3),
    ("MLP.hvp", "l2"): (lambda v: network().hvp(X, y, np.ones(11), l2=v), 0.3),
    ("MLP.gnvp", "l2"): (lambda v: network().gnvp(X, y, np.ones(11), l2=v), 0.3),
    ("MLP.value_and_grad", "l2"): (
        lambda v: network().value_and_grad(np.ones(11), X, y, l2=v), 0.3),
    ("MLP.objective", "l2"): (lambda v: network().objective(X, y, l2=v)(np.ones(11)), 0.3),
    ("MLP.objective", "memory"): (
        lambda v: network().objective(X, y, memory=v).hessp(np.ones(11), np.ones(11)), 1),
    ("MLP.linearize", "l2"): (lambda v: network().linearize(X, y, l2=v).hvp(np.ones(11)), 0.3),
    ("MLP.linearize", "memory"): (
        lambda v: network().linearize(X, y, memory=v).hvp(np.ones(11)), 1),
    ("MLP.train_epoch", "batch_size"): (lambda v: trained(batch_size=v, shuffle=False), 3),
    ("MLP.train_epoch", "rng"): (lambda v: trained(rng=v, batch_size=1), 3),
    ("MLP.train_epoch", "l2"): (lambda v: trained(l2=v, shuffle=False), 0.3),
    ("MLP.train_epoch", "max_norm"): (lambda v: trained(max_norm=v, shuffle=False), 0.3),
    ("MLP.fit", "max_norm"): (lambda v: fitted(max_norm=v), 0.3),
    ("MLP.train_epoch", "max_grad_norm"): (lambda v: private(max_grad_norm=v), 0.3),
    ("MLP.train_epoch", "noise_multiplier"): (lambda v: private(noise_multiplier=v), 0.3),
    ("Population", "n_networks"): (lambda v: Population(v, [3, 2], seeds=0).params, 3),
    ("Population", "layer_sizes"): (lambda v: population((v, v, 1)).params, 3),
    ("Population", "seeds"): (lambda v: population(seeds=v).params, 3),
    ("Population", "n_threads"): (lambda v: population(n_threads=v).n_threads, 2),
    ("Population", "pos_weight"): (lambda v: gradients(population(pos_weight=v)), 2.5),
    ("Population", "class_weight"): (lambda v: gradients(population(class_weight={1: v})), 2.5),
    ("Population", "label_smoothing"): (lambda v: gradients(population(label_smoothing=v)), 0.1),
    ("Population.member", "k"): (lambda v: population().member(v).params, 1),
    ("Population.backprop", "l2"): (lambda v: gradients(population(), l2=v), 0.3),
    ("Population.train_epoch", "batch_size"): (
        lambda v: trained_together(batch_size=v, shuffle=False), 3),
    ("Population.train_epoch", "rng"): (lambda v: trained_together(rng=v, batch_size=1), 3),
    ("Population.train_epoch", "l2"): (lambda v: trained_together(l2=v, shuffle=False), 0.3),
    **{(name, option): (lambda v, call=call, option=option: call(**{option: v}), number)
       for name, call in TRAININGS
       for option, number in (("epochs", 2), ("batch_size", 2), ("l2", 0.3), ("patience", 1),
                              ("min_delta", 0.5), ("schedule", 0.3))},
    **{(name, "rng"): (lambda v, call=call: call(rng=v, shuffle=True, batch_size=1), 3)
       for name, call in TRAININGS},
    ("train_many", "n_threads"): (lambda v: separate(n_threads=v), 2),
    ("poisson_order", "n"): (lambda v: fastbp.poisson_order(v, 0.5, 2, 1), 3),
    ("poisson_order", "rate"): (lambda v: fastbp.poisson_order(9, v, 2, 1), 0.3),
    ("poisson_order", "steps"): (lambda v: fastbp.poisson_order(9, 0.5, v, 1), 3),
    ("poisson_order", "rng"): (lambda v: fastbp.poisson_order(9, 0.5, 2, v), 3),
    ("Layers", "layer_sizes"): (
        lambda v: Layers([v, v], ["tanh"]).forward([np.eye(3)], [np.ones(3)], X), 3),
    ("Layers", "n_threads"): (lambda v: Layers([3, 3], ["tanh"], n_threads=v).n_threads, 2),
    ("Layers.loss_and_grad", "reduction"): (lambda v: of_layers(reduction=v), 2.5),
    ("Layers.loss_and_grad", "pos_weight"): (lambda v: of_layers(pos_weight=v), 2.5),
    ("Layers.loss_and_grad", "label_smoothing"): (lambda v: of_layers(label_smoothing=v), 0.1),
    ("Layers.loss_and_grad", "class_weight"): (
        lambda v: of_layers(loss="softmax", class_weight=[v, 1]), 2.5),
    ("SGD", "lr"): (lambda v: (stepped(SGD(v)), SGD(v).lr), 0.3),
    ("SGD", "momentum"): (lambda v: stepped(SGD(momentum=v)), 0.3),
    ("SGD", "weight_decay"): (lambda v: stepped(SGD(weight_decay=v)), 0.3),
    ("Adam", "lr"): (lambda v: stepped(Adam(v)), 0.3),
    ("Adam", "betas"): (lambda v: (stepped(Adam(betas=(v, v))), Adam(betas=(v, v)).betas), 0.3),
    ("Adam", "eps"): (lambda v: stepped(Adam(eps=v)), 0.3),
    ("Adam", "weight_decay"): (lambda v: stepped(Adam(weight_decay=v)), 0.3),
    ("SGD.load_state_dict", "d"): (lambda v: loaded(SGD, lr=v), 0.3),
    ("Adam.load_state_dict", "d"): (
        lambda v: loaded(Adam, lr=v, betas=(v, v), t=1, beta_powers=(v, v)), 0.3),
    ("bce_with_logits", "pos_weight"): (
        lambda v: fastbp.bce_with_logits(X, X / 2, pos_weight=v), 2.5),
    ("bce_with_logits", "label_smoothing"): (
        lambda v: fastbp.bce_with_logits(X, X / 2, label_smoothing=v), 0.1),
    ("softmax_with_logits", "class_weight"): (
        lambda v: fastbp.softmax_with_logits(X, y, class_weight=[v, 1, v]), 2.5),
    ("softmax_with_logits", "label_smoothing"): (
        lambda v: fastbp.softmax_with_logits(X, y, label_smoothing=v), 0.1),
    ("backprop", "pos_weight"): (lambda v: fastbp.backprop(W, b, X, two, pos_weight=v), 2.5),
    ("backprop", "class_weight"): (
        lambda v: fastbp.backprop(W, b, X, two, loss="softmax", class_weight=[v, 1]), 2.5),
    ("backprop", "label_smoothing"): (
        lambda v: fastbp.backprop(W, b, X, two, label_smoothing=v), 0.1),
    ("clip_grad_norm", "max_norm"): (lambda v: cut(fastbp, v), 0.3),
    ("set_num_threads", "n"): (threads, 3),
}
MORE = {        # attributes, whole numbers among real ones, and the twins
    "MLP.n_threads": (lambda v: setattr(network(), "n_threads", v), 2),
    "Population.n_threads": (lambda v: setattr(population(), "n_threads", v), 2),
    "l2 of each network": (lambda v: gradients(population(), l2=[v, 0]), 0.3),
    "seeds of each network": (lambda v: population(seeds=[v, 0]).params, 3),
    "rng of each network": (lambda v: trained_together(rng=[v, 0]), 3),
    "SGD.lr": (lambda v: with_rate(SGD, v), 0.3), "Adam.lr": (lambda v: with_rate(Adam, v), 0.3),
    "load_state_dict, t": (lambda v: loaded(SGD, t=v), 3),
    "lr of 2": (lambda v: (stepped(SGD(v)), type(SGD(v).lr)), 2),
    "l2 of 2": (lambda v: gradient(network(), l2=v), 2),
    "reduction of 2": (lambda v: of_layers(reduction=v), 2),
    "reference.SGD": (lambda v: stepped(reference.SGD(v, v, weight_decay=v)), 0.3),
    "reference.Adam": (lambda v: stepped(reference.Adam(v, (v, v), v, v)), 0.3),
    "reference.clip_grad_norm": (lambda v: cut(reference, v), 0.3),
    "reference.bce_with_logits": (lambda v: reference.bce_with_logits(
        X, X / 2, pos_weight=v, label_smoothing=v), 0.1),
    "reference.softmax_with_logits": (lambda v: reference.softmax_with_logits(
        X, y, class_weight=[v, 1, v], label_smoothing=v), 0.1),
    "reference.backprop": (lambda v: reference.backprop(
        W, b, X, two, pos_weight=v, label_smoothing=v), 0.1),
}
ALL = {**{".".join(key): case for key, case in CASES.items()}, **MORE}
SEQUENCES = {name for name in ALL if "class_weight" in name or "softmax" in name}


def kinds_of(value):
    """Pairs of a number of each kind, and Python's of the same value."""
    kinds = REALS if isinstance(value, float) else INTEGERS
    for kind in kinds:
        number = kind(value)
        yield number, (float if isinstance(value, float) else int)(number)


def known(value):
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    return [known(each) for each in value] if isinstance(value, (list, tuple)) else repr(value)


@pytest.mark.parametrize("name", ALL)
def test_numbers_of_every_kind(name):
    use, value = ALL[name]
    for number, plain in kinds_of(value):
        assert known(use(number)) == known(use(plain)), type(number)


@pytest.mark.parametrize("name", sorted(ALL.keys() - SEQUENCES))
def test_arrays_without_axes(name):
    use, value = ALL[name]
    if name.endswith("reduction") or name.startswith("reduction"):
        with pytest.raises((TypeError, ValueError), match="reduction is"):
            use(np.array(value))
        return
    number = np.array(value, np.float16 if isinstance(value, float) else np.uint8)
    assert known(use(number)) == known(use(number.item()))


def test_no_numeric_parameter_is_left_out():
    """Those whose default is a number, and those whose names are in the table."""
    names = {parameter for _, parameter in CASES} - {"reduction", "d"}
    for name in SIGNATURES:
        for parameter in inspect.signature(public(name)).parameters.values():
            number = isinstance(parameter.default, Real) and not isinstance(parameter.default, bool)
            if number or parameter.name in names:
                assert (name, parameter.name) in CASES


def test_files(tmp_path):
    path = tmp_path / "net.safetensors"
    save_model(path, network())
    for kind in INTEGERS:
        assert load_model(path, n_threads=kind(2)).net.n_threads == 2


# ---- estimators

VALUES = {"hidden_layer_sizes": 3, "alpha": 0.1, "batch_size": 32, "learning_rate_init": 0.1,
          "power_t": 0.5, "max_iter": 30, "tol": 0.01, "momentum": 0.7, "validation_fraction": 0.3,
          "beta_1": 0.7, "beta_2": 0.7, "epsilon": 0.01, "n_iter_no_change": 2, "max_fun": 7,
          "n_threads": 2, "random_state": 3}
SOLVERS = {"power_t": {"solver": "sgd", "learning_rate": "invscaling"},
           "momentum": {"solver": "sgd"}, "max_fun": {"solver": "lbfgs"},
           "validation_fraction": {"early_stopping": True}}
ROWS = np.random.default_rng(0).standard_normal((300, 4))


def fit(kind, **options):
    options = {"hidden_layer_sizes": 3, "max_iter": 20, "random_state": 0, **options}
    model = kind(**options)
    labels = ROWS[:, 0] > 0 if kind is MLPClassifier else ROWS[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(ROWS, labels)
    if hasattr(model, "partial_fit") and not model.early_stopping:
        model.partial_fit(ROWS, labels)
    for name, value in options.items():
        assert getattr(model, name) is value and model.get_params()[name] is value
    clone(model)
    return model.coefs_, model.intercepts_, model.loss_, model.n_iter_


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("name", VALUES)
def test_estimators(kind, name):
    value, options = VALUES[name], SOLVERS.get(name, {})
    for number, plain in kinds_of(value):
        assert known(fit(kind, **{name: number}, **options)) == known(
            fit(kind, **{name: plain}, **options)), type(number)


def test_sizes_of_an_estimator():
    expected = known(fit(MLPRegressor, hidden_layer_sizes=(3, 2)))
    for kind in INTEGERS:
        for sizes in ((kind(3), kind(2)), [kind(3), 2], np.array([3, 2], kind)):
            assert known(fit(MLPRegressor, hidden_layer_sizes=sizes)) == expected


def test_a_long_fit_whose_rate_falls():
    """(t + 1)^power_t passes what a float16 holds after a few epochs."""
    options = {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 300, "tol": 0.0}
    fit(MLPRegressor, power_t=np.float16(0.75), n_iter_no_change=np.inf, **options)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_no_parameter_of_an_estimator_is_left_out(kind):
    numeric = {name for name, constraints in kind._parameter_constraints.items()
               if any(isinstance(each, Interval) and each.type in (Integral, Real)
                      for each in constraints)}
    assert numeric == VALUES.keys() - {"random_state"}


@pytest.mark.parametrize(("name", "value", "words"), [
    ("alpha", np.float32(-1), "alpha"), ("batch_size", np.int8(0), "batch_size"),
    ("batch_size", np.float32(3), "batch_size"), ("tol", np.float16("nan"), "tol"),
    ("max_iter", np.True_, "max_iter"), ("learning_rate_init", Fraction(10**400), "learning_rate"),
])
def test_what_is_out_of_range_stays_so(name, value, words):
    with pytest.raises(ValueError, match=words):
        fit(MLPRegressor, **{name: value})
