"""SGD and Adam follow the formulas within their rounding, on every vector length and instruction
set, and go on to the bit from a saved state.

`trajectory` evaluates the formulas in a wider format. Beside every value x stands e_x, how far a
computation with unit roundoff u may be off, whatever the order of its operations:

    a + c b with a rounded constant c   e = e_a + |c| e_b + 4 u (|a| + e_a + |c| (|b| + e_b))
                                        at most three roundings, each of no more than that sum
    √v                                  |√v̂ − √v| = |v̂ − v|/(√v̂ + √v) ≤ min(e_v/√v, √e_v)
    m/d                                 (e_m + |m/d| e_d)/(d − e_d), and a rounding
    1 − βᵗ                              t roundings of βᵗ in float64: t 2⁻⁵² absolute
"""

import copy
import pickle
import time
from fractions import Fraction

import numpy as np
import pytest
from all_pairs import all_pairs

from fastbp import MLP, SGD, Adam, reference

RULES = {
    "sgd": (SGD, {"lr": 0.1}),
    "sgd-decay": (SGD, {"lr": 0.1, "weight_decay": 0.03}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "nesterov-decay": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True,
                             "weight_decay": 0.03}),
    "adam": (Adam, {"lr": 0.03, "eps": 0.01}),
    "adam-betas": (Adam, {"lr": 0.03, "betas": (0.7, 0.95), "eps": 0.01}),
    "adamw": (Adam, {"lr": 0.03, "eps": 0.01, "weight_decay": 0.3}),
    "eps-hat": (Adam, {"lr": 0.03, "eps": 0.01, "eps_hat": True}),
}
RULE = pytest.mark.parametrize("rule", RULES)
STEPS = 60


def build(rule, twin=False):
    kind, options = RULES[rule]
    return (getattr(reference, kind.__name__) if twin else kind)(**options)


def problem(size, dtype, steps=STEPS, seed=0):
    """Parameters, and a gradient for every step."""
    rng = np.random.default_rng(seed)
    params = rng.standard_normal(size).astype(dtype)
    return params, rng.standard_normal((steps, size)).astype(dtype)


def schedule(lr, step):
    return lr / (1 + step % 3)


# ---- the formulas, with bounds


class Ball:
    """Wide values x, and the bound e of what a computation of them may be off."""

    def __init__(self, x, e=0.0):
        self.x, self.e = x, np.broadcast_to(e, x.shape)

    @property
    def size(self):
        return np.abs(self.x) + self.e


def axpy(a, c, b, u):
    """a + c b for a rounded constant c."""
    rounding = 4 * u * (a.size + abs(c) * b.size)
    return Ball(a.x + c * b.x, a.e + abs(c) * b.e + rounding)


def square(a, u):
    return Ball(a.x**2, (2 * np.abs(a.x) + a.e) * a.e + u * a.size**2)


def root(a):
    r = np.sqrt(a.x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Ball(r, np.fmin(a.e / r, np.sqrt(a.e)))


def quotient(a, b, u):
    x = a.x / b.x
    e = (a.e + np.abs(x) * b.e) / (b.x - b.e)
    return Ball(x, e + u * (np.abs(x) + e))


def scaled(a, c, relative):
    """c a, for a constant c that is off by a relative error itself."""
    return Ball(c * a.x, abs(c) * (a.e + relative * a.size))


def sgd_steps(p, grads, u, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = Ball(0 * p.x)
    for t, g in enumerate(grads):
        g = axpy(Ball(g), weight_decay, p, u) if weight_decay else Ball(g)
        v = axpy(g, momentum, v, u) if momentum else g
        p = axpy(p, -schedule(lr, t), axpy(g, momentum, v, u) if nesterov else v, u)
        yield p


def adam_steps(p, grads, u, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, eps_hat=False):
    (b1, b2), m, v = betas, Ball(0 * p.x), Ball(0 * p.x)
    wide = p.x.dtype.type
    for t, g in enumerate(grads):
        g, rate = Ball(g), schedule(lr, t)
        m = axpy(scaled(m, b1, 2 * u), 1 - b1, g, u)
        v = axpy(scaled(v, b2, 2 * u), 1 - b2, square(g, u), u)
        c1, c2 = 1 - wide(b1)**(t + 1), 1 - wide(b2)**(t + 1)
        # off by these, and by the rounding of the constants made of them
        e1, e2 = ((t + 2) * 2.0**-52 / c + 2 * u for c in (c1, c2))
        d = root(v) if eps_hat else scaled(root(v), 1 / np.sqrt(c2), e2 + 2 * u)
        d = axpy(d, eps, Ball(np.ones_like(d.x)), u)
        if eps_hat:
            rate = rate * np.sqrt(c2)
        step = scaled(quotient(m, d, u), rate / c1, e1 + e2 + 4 * u)
        p = axpy(scaled(p, 1 - schedule(lr, t) * weight_decay, 3 * u), -1, step, u)
        yield p


def trajectory(rule, params, grads):
    """The exact parameters after every step, and their bounds."""
    kind, options = RULES[rule]
    u = float(np.finfo(params.dtype).eps) / 2
    wide = np.float64 if params.dtype == np.float32 else np.longdouble
    steps = sgd_steps if kind is SGD else adam_steps
    own = 1 + 2 * float(np.finfo(wide).eps) / u  # the wide format errs within the same bound
    for p in steps(Ball(params.astype(wide)), grads.astype(wide), u, **options):
        yield p.x, own * p.e


@all_pairs("isa", "dtype", rule=RULES, twin=[False, True])
def test_within_rounding_of_the_formulas(rule, twin, dtype, isa):
    """Fast and reference, hence one of the other, under a schedule of learning rates."""
    params, grads = problem(70, dtype)
    optimizer, lr = build(rule, twin), RULES[rule][1]["lr"]
    for t, (exact, bound) in enumerate(trajectory(rule, params.copy(), grads)):
        optimizer.lr = schedule(lr, t)
        optimizer.step(params, grads[t])
        assert (np.abs(params - exact) <= bound).all(), f"step {t + 1}"


def test_the_bound_tells_the_rules_apart(dtype):
    params, grads = problem(70, dtype)
    ends = {}
    for rule in RULES:
        *_, ends[rule] = trajectory(rule, params, grads)
    for a in ends:
        for b in ends:
            if a < b:
                assert (np.abs(ends[a][0] - ends[b][0]) > ends[a][1] + ends[b][1]).any(), (a, b)


@pytest.mark.parametrize("options", [
    {"lr": 0.5}, {"lr": 0.5, "weight_decay": 0.25}, {"lr": 0.5, "momentum": 0.5},
    {"lr": 0.25, "momentum": 0.5, "nesterov": True},
    {"lr": 0.25, "momentum": 0.5, "nesterov": True, "weight_decay": 0.25}])
def test_sgd_is_exact_where_nothing_rounds(options, dtype, isa):
    """v ← μ v + g; p ← p − lr (g + μ v if nesterov else v), in fractions of a power of two."""
    lr, mu, decay = (Fraction(options.get(k, 0)) for k in ("lr", "momentum", "weight_decay"))
    params = np.arange(-9, 10, dtype=dtype)
    p, v = [Fraction(float(x)) for x in params], [Fraction(0)] * 19
    optimizer = SGD(**options)
    for step in range(3):
        grad = np.roll(np.arange(-9, 10, dtype=dtype), step)
        optimizer.step(params, grad)
        g = [Fraction(float(x)) + decay * y for x, y in zip(grad, p, strict=True)]
        v = [mu * x + y for x, y in zip(v, g, strict=True)]
        s = [x + mu * y if options.get("nesterov") else y for x, y in zip(g, v, strict=True)]
        p = [x - lr * y for x, y in zip(p, s, strict=True)]
        assert [Fraction(float(x)) for x in params] == p


@pytest.mark.parametrize("g", [1.0, -3.0])
def test_adam_under_a_constant_gradient(g, dtype, isa):
    """m̂ = g and v̂ = g² whatever the betas: every step is lr g/(|g| + eps)."""
    params = np.zeros(5, dtype)
    grads = np.full((20, 5), g, dtype)
    optimizer, (lr, eps) = build("adam"), (RULES["adam"][1][k] for k in ("lr", "eps"))
    moved, own = 0, 40 * 2.0**-53  # two roundings a step of |moved| < 1
    for t, (_, bound) in enumerate(trajectory("adam", params.copy(), grads)):
        optimizer.lr = schedule(lr, t)
        moved -= optimizer.lr * g / (abs(g) + eps)
        optimizer.step(params, grads[t])
        assert (np.abs(params - moved) <= bound + own).all()


def test_adam_decays_without_a_gradient(dtype, isa):
    """AdamW: p (1 − lr weight_decay)ᵗ, and no 0/0 anywhere."""
    params = np.ones(5, dtype)
    optimizer = Adam(lr=0.25, weight_decay=0.5)
    for t in range(1, 6):  # 7ᵗ/8ᵗ has 3 t bits
        optimizer.step(params, np.zeros(5, dtype))
        assert (params == 0.875**t).all()


# ---- any length, anywhere


@RULE
def test_any_length_has_the_same_bits(rule, dtype, isa):
    """Vectors of 1 to 70 inside a larger one: every element as in the longest, none beside."""
    params, grads = problem(70, dtype, 3)
    whole, optimizer = params.copy(), build(rule)
    for g in grads:
        optimizer.step(whole, g)
    for size in range(1, 71):
        memory = np.full(size + 2, 7, dtype)
        part, optimizer = memory[1:-1], build(rule)
        part[:] = params[70 - size:]
        for g in grads:
            optimizer.step(part, g[70 - size:])
        np.testing.assert_array_equal(part, whole[70 - size:])
        assert memory[0] == memory[-1] == 7


@RULE
def test_the_gradient_is_read_only(rule, dtype):
    """It is not written to, may be read-only, and may be the parameters themselves."""
    params, grads = problem(70, dtype, 1)
    frozen, twin = np.broadcast_to(grads[0], 70), params.copy()
    build(rule).step(params, frozen)
    build(rule).step(twin, grads[0])
    np.testing.assert_array_equal(params, twin)
    build(rule).step(params, params)
    build(rule).step(twin, twin.copy())
    np.testing.assert_array_equal(params, twin)


# ---- state


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


def stepping_otherwise():
    optimizer = Scheduled([0.1])
    optimizer.step = print
    return optimizer


@pytest.mark.parametrize("make, message", [
    (Clipped, "optimizer is a Clipped, whose step is its own; train_epoch steps as SGD does"),
    (Decaying, "optimizer is a Decaying, whose lr is its own; train_epoch steps as Adam does"),
    (stepping_otherwise, "optimizer is a Scheduled, whose step is its own")])
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
    assert params[0] == pytest.approx(-0.5 * m / (v**0.5 + 1), rel=8 * 2.0**-53)
