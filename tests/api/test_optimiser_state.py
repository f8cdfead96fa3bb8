"""What an optimizer carries from step to step is whole in copies, pickles, subclasses and
state_dict; from it, training goes on to the bit.
"""

import copy
import pickle
import time

import numpy as np
import pytest
from all_pairs import all_pairs
from rules import RULE, RULES, build, problem

from fastbp import MLP, SGD, Adam


def loaded(optimizer):
    """The state in an optimizer of other hyper-parameters, by way of a file."""
    other = type(optimizer)(lr=1.0)
    other.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    return other


class Scheduled(Adam):
    """With an argument that it needs, and something of its own."""

    def __init__(self, rates):
        super().__init__(rates[0])
        self.rates = rates


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy,
                                    lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_subclass_goes_on(copied):
    optimizer, params, grad = Scheduled([0.5, 0.25]), np.ones(5), np.arange(5.0)
    optimizer.step(params, grad)
    other, again = copied(optimizer), Scheduled([3.0])
    again.load_state_dict(optimizer.state_dict())
    assert type(other) is Scheduled and other.rates == [0.5, 0.25] and again.rates == [3.0]
    after = [params.copy() for _ in range(3)]
    for one, there in zip((optimizer, other, again), after, strict=True):
        one.step(there, grad)
        assert one.lr == 0.5 and one.t == 2
        np.testing.assert_array_equal(there, after[0])


class Clipped(SGD):
    def step(self, params, grad):
        super().step(params, np.clip(grad, -1e-3, 1e-3))


class Decaying(Adam):
    lr = property(lambda self: 0.1 / (1 + self.t))


class Forgetful(SGD):
    def __init__(self, rate):
        self.rate = rate


class Hasty(Adam):
    """An lr alone does not make an optimizer; one that comes before the others is overwritten."""

    def __init__(self, rate, goes_on):
        self.lr = rate
        if goes_on:
            super().__init__(0.25)


def stepping_otherwise():
    optimizer = Scheduled([0.1])
    optimizer.step = print
    return optimizer


@pytest.mark.parametrize("make, message", [
    (Clipped, "optimizer is of type Clipped, which overrides step; train_epoch steps as SGD does"),
    (Decaying, "optimizer is of type Decaying, which overrides lr; train_epoch steps as Adam does"),
    (stepping_otherwise, "optimizer is of type Scheduled, which overrides step")])
def test_an_epoch_refuses_what_it_would_not_call(make, message):
    net, optimizer = MLP([2, 1], seed=0), make()
    before = net.params.copy()
    with pytest.raises(TypeError, match=message):
        net.train_epoch(np.ones((4, 2)), np.ones(4), optimizer)
    assert optimizer.t == 0
    np.testing.assert_array_equal(net.params, before)


def test_an_epoch_takes_a_subclass_that_steps_alike():
    parts = np.ones((4, 2)), np.ones(4)
    net, twin = MLP([2, 1], seed=0), MLP([2, 1], seed=0)
    assert net.train_epoch(*parts, Scheduled([0.5])) == twin.train_epoch(*parts, Adam(0.5))
    np.testing.assert_array_equal(net.params, twin.params)


@pytest.mark.parametrize("use", [
    lambda o: o.step(np.ones(3), np.ones(3)), lambda o: o.state_dict(), repr, copy.copy,
    lambda o: MLP([2, 1]).train_epoch(np.ones((4, 2)), np.ones(4), o)])
def test_a_subclass_that_was_not_initialised(use):
    with pytest.raises(RuntimeError, match=r"Forgetful did not call SGD.__init__"):
        use(Forgetful(1))


class Slotted(SGD):
    __slots__ = ("rates",)


class Frugal(SGD):
    """Leaves a function of its own out, which cannot be pickled."""

    def __getstate__(self):
        return {"rates": self.rates}


class Wanting(SGD):
    def __new__(cls, rates):
        return super().__new__(cls)

    def __init__(self, rates):
        super().__init__()
        self.rates = rates


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("again", [{}, {"lr": 0.5}, {"lr": -1}, {"momentum": 0.9},
                                   {"betas": (0, 0)}, {"unknown": 1}])
@RULE
def test_a_second_init_is_refused(rule, again, steps):
    """Other hyper-parameters would meet the state of the first; the optimizer is as it was."""
    optimizer, twin = build(rule), build(rule)
    (params, grads), (there, _) = problem(7, "float32", 4), problem(7, "float32", 4)
    for g in grads[:steps]:
        optimizer.step(params, g)
        twin.step(there, g)
    with pytest.raises((RuntimeError, TypeError), match="initialised already|no argument"):
        optimizer.__init__(**again)
    for g in grads[steps:]:
        optimizer.step(params, g)
        twin.step(there, g)
    assert params.tobytes() == there.tobytes() and repr(optimizer) == repr(twin)


def test_an_lr_before_init():
    assert Hasty(0.5, True).lr == 0.25
    with pytest.raises(RuntimeError, match=r"Hasty did not call Adam.__init__"):
        Hasty(0.5, False).step(np.ones(2), np.ones(2))


@pytest.mark.parametrize("make", [copy.copy, lambda optimizer: loaded(optimizer)])
def test_a_copy_is_initialised(make):
    with pytest.raises(RuntimeError, match="this SGD is initialised already; make another"):
        make(SGD(0.5, momentum=0.5)).__init__()


@pytest.mark.parametrize("kind, bad", [(SGD, {"lr": 0.5, "momentum": 2}), (SGD, {"nesterov": True}),
                                       (SGD, {"weight_decay": -1}), (Adam, {"betas": (0.5, 1)}),
                                       (Adam, {"eps": 0}), (Adam, {"eps_hat": 1})])
def test_an_init_that_failed(kind, bad):
    """It leaves nothing behind: the optimizer is not initialised, and can be."""
    optimizer = kind.__new__(kind)
    with pytest.raises((ValueError, TypeError)):
        optimizer.__init__(**bad)
    with pytest.raises(RuntimeError, match="did not call"):
        optimizer.step(np.ones(2), np.ones(2))
    optimizer.__init__(0.25)
    assert repr(optimizer) == repr(kind(0.25))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy,
                                    lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
@pytest.mark.parametrize("make", [Slotted, Frugal, lambda: Wanting(None)])
def test_what_subclasses_carry_is_copied(make, copied):
    optimizer = make()
    optimizer.rates = [0.5]
    if type(optimizer) is Frugal:
        optimizer.schedule = lambda t: 0.5 ** t
    other = copied(optimizer)
    assert type(other) is type(optimizer) and other.rates == [0.5]
    assert not hasattr(other, "schedule")


@all_pairs("dtype", rule=RULES, before=[0, 1, 7], resume=[
    loaded, copy.copy, copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_resumes_to_the_bit(rule, before, resume, dtype):
    params, grads = problem(70, dtype)
    optimizer = build(rule)
    optimizer.lr /= 2
    for g in grads[:before]:
        optimizer.step(params, g)
    twin, twin_params = resume(optimizer), params.copy()
    assert repr(twin) == repr(optimizer) and twin.lr == optimizer.lr
    for g in grads[before:]:
        optimizer.step(params, g)
    end = params.copy()
    for g in grads[before:]:
        twin.step(twin_params, g)
    np.testing.assert_array_equal(twin_params, end)
    np.testing.assert_array_equal(params, end)


@RULE
def test_a_state_dict_is_a_copy(rule):
    params, grads = problem(8, "float64")
    optimizer = build(rule)
    assert not any(isinstance(x, np.ndarray) for x in optimizer.state_dict().values())
    optimizer.step(params, grads[0])
    saved = optimizer.state_dict()
    kept = pickle.dumps(saved)
    twin = loaded(optimizer)
    twin.load_state_dict(saved)
    for step in (optimizer.step, twin.step):
        step(params, grads[1])
    assert pickle.dumps(saved) == kept
    for value in saved.values():
        if isinstance(value, np.ndarray):
            value[:] = np.nan
    optimizer.step(params, grads[2])
    twin.step(params, grads[2])
    assert np.isfinite(params).all()


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_the_state_belongs_to_a_size_and_a_dtype(rule, dtype):
    """The first step sets the dtype; another is refused, and leaves the next step as it was."""
    params, grads = problem(8, dtype, 2)
    twin_params, optimizer, twin = params.copy(), build(rule), build(rule)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    optimizer.step(params, grads[0])
    twin.step(twin_params, grads[0])
    for size, kind in ((7, dtype), (9, dtype), (8, other)):
        wrong = np.ones(size, kind)
        with pytest.raises(ValueError, match=f"params has {size} entries of {kind}.*8 of {dtype}"):
            optimizer.step(wrong, wrong.copy())
        assert (wrong == 1).all()
    optimizer.step(params, grads[1])
    twin.step(twin_params, grads[1])
    np.testing.assert_array_equal(params, twin_params)


@RULE
def test_repr_and_attributes(rule):
    kind, options = RULES[rule]
    optimizer = kind(**options)
    twin = eval(repr(optimizer), {"SGD": SGD, "Adam": Adam})
    assert type(twin) is kind and repr(twin) == repr(optimizer)
    for name, value in options.items():
        assert getattr(optimizer, name) == getattr(twin, name) == value
        assert f"{name}={value!r}" in repr(optimizer)
    optimizer.lr = np.float32(0.5)
    assert optimizer.lr == 0.5 and "lr=0.5" in repr(optimizer)
    with pytest.raises(AttributeError):
        optimizer.weight_decay = 1.0


def test_loading_takes_no_longer_after_many_steps():
    """βᵗ is not multiplied up: of 3·10⁹ steps that alone would take seconds."""
    optimizer, params = Adam(lr=0.5, eps=1.0), np.zeros(1)
    optimizer.step(params, np.zeros(1))
    state = {**optimizer.state_dict(), "t": 3 * 10**9}
    if "beta_powers" in state:
        state["beta_powers"] = (0.0, 0.0)
    start = time.process_time()
    optimizer.load_state_dict(state)
    assert time.process_time() - start < 1
    optimizer.step(params, np.ones(1))  # β₁ᵗ = β₂ᵗ = 0
    m, v = 1 - 0.9, 1 - 0.999
    # Eight operations follow, each rounded by at most 2^-53: the products of m and v with g, the
    # root, its scale, the sum with eps, the quotient, the rate, the difference.
    assert params[0] == pytest.approx(-0.5 * m / (v**0.5 + 1), rel=8 * 2.0**-53)
