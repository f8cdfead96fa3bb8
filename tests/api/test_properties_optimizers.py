"""Any arguments of `SGD` and `Adam`: the bits of the same numbers in plain arrays, or an error that
names what is wrong and leaves arrays and state as they were; their NumPy twins say the same."""

import copy
import functools
import pickle

import numpy as np
import pytest
from batches import Call
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SIZES,
    Argument,
    Fault,
    Sealed,
    arrays,
    judged,
    of_networks,
    one_number,
    outputs,
    same,
)

import fastbp
from fastbp import SGD, Adam, reference


def hyper_parameters():
    """A kind of optimizer, fast and in NumPy, and keywords."""
    def positive(x):
        return 0 < x < np.inf

    def fraction(x):
        return 0 <= x < 1

    lr = one_number("lr", [0.1, 1e-3], positive)
    decay = one_number("weight_decay", [0.0, 0.1], lambda x: 0 <= x < np.inf)

    def flags(name):
        return st.sampled_from([Argument(False, None), Argument(True, None),
                                Argument(np.True_, None),
                                Argument(1, None, (Fault(TypeError, name),))])

    betas = st.tuples(one_number("betas[0]", [0.9, 0.5], fraction),
                      one_number("betas[1]", [0.99, 0], fraction)).map(list)
    wrong_betas = st.sampled_from([(TypeError, 0.9), (TypeError, None), (ValueError, (0.9,)),
                                   (TypeError, "ab"), (ValueError, [0.1] * 3)]).map(
        lambda b: Argument(b[1], None, (Fault(b[0], "betas"),)))
    sgd = st.fixed_dictionaries({"lr": lr, "momentum": one_number("momentum", [0.0, 0.5], fraction),
                                 "nesterov": flags("nesterov"), "weight_decay": decay})
    adam = st.fixed_dictionaries({"lr": lr, "betas": betas | betas | betas | wrong_betas,
                                  "eps": one_number("eps", [1e-8, 0.1], positive),
                                  "weight_decay": decay, "eps_hat": flags("eps_hat")})
    return st.tuples(st.just("SGD"), sgd) | st.tuples(st.just("Adam"), adam)


@given(st.data())
def test_any_hyper_parameters(data):
    kind, arguments = data.draw(hyper_parameters())
    call = Call(arguments, None)
    faults = list(call.faults)
    nesterov = arguments.get("nesterov")
    if nesterov is not None and nesterov.value and not nesterov.faults:
        momentum = arguments["momentum"]
        none = not momentum.faults and momentum.value == 0
        faults += [Fault(ValueError, "momentum")] * int(none)
    fast, slow = (judged(lambda k=k: k(**call.passed), faults) for k in (
        {"SGD": SGD, "Adam": Adam}[kind], getattr(reference, kind)))
    if isinstance(fast, Exception):
        assert (type(fast), str(fast)) == (type(slow), str(slow))
    else:
        assert repr(pickle.loads(pickle.dumps(fast))) == repr(fast) == repr(copy.copy(fast))
        lr = data.draw(one_number("lr", [0.5], lambda x: 0 < x < np.inf))
        before = fast.lr
        result = judged(lambda: setattr(fast, "lr", lr.value), lr.faults)
        assert fast.lr == (before if isinstance(result, Exception) else float(lr.value))


# what a gradient may be, and is refused as
GRADIENTS = {"as it is": (np.copy, None),
             "read-only": (lambda g: np.broadcast_to(g, g.shape), None),
             "integers": (lambda g: g.astype(int), TypeError),
             "another byte order": (lambda g: g.astype(g.dtype.newbyteorder()), TypeError),
             "a list": (np.ndarray.tolist, TypeError), "masked": (np.ma.asarray, TypeError),
             "a column": (lambda g: g[:, None], ValueError),
             "longer": (lambda g: np.append(g, g.dtype.type(1)), ValueError),
             "every other": (lambda g: np.repeat(g, 2)[::2] if g.size > 1 else g[None], ValueError)}


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@given(st.data())
def test_any_step(kind, data):
    n, dtype = data.draw(SIZES), data.draw(st.sampled_from(["f4", "f8"]))
    fast, slow = (getattr(module, kind)(lr=0.25) for module in (fastbp, reference))
    twin = copy.deepcopy(fast)
    for _ in range(3):
        state = repr(fast.state_dict())
        params = data.draw(outputs("", (n,), dtype))     # "": another dtype is grad's fault
        change, wrong = GRADIENTS[data.draw(st.sampled_from(["as it is"] * 8 + [*GRADIENTS]))]
        good = np.random.default_rng(n).standard_normal(n).astype(dtype)
        grad, before = change(good), params.memory.tobytes()
        if isinstance(params.value, Sealed):
            continue        # written to like any ndarray
        faults = [*params.faults, *[Fault(wrong, "grad")] * (wrong is not None)]
        result, again = (judged(functools.partial(optimizer.step, p, grad), faults)
                         for optimizer, p in (
            (fast, params.value), (slow, params.value if faults else params.value.copy())))
        if isinstance(result, Exception):
            assert (type(result), str(result)) == (type(again), str(again))
            assert params.memory.tobytes() == before and repr(fast.state_dict()) == state
        else:
            expected = np.frombuffer(before, "u1")[params.place()].view(dtype).copy()
            twin.step(expected, good)
            same(params.value, expected)
            params.memory[params.place()] = np.frombuffer(before, "u1")[params.place()]
            assert params.memory.tobytes() == before, "a guard was written"


@pytest.mark.parametrize("kind", [SGD, Adam])
@given(st.data())
def test_any_state_dict(kind, data):
    optimizer = kind(0.5, momentum=0.5) if kind is SGD else kind(0.5)
    for _ in range(data.draw(st.integers(0, 2))):
        optimizer.step(np.ones(3), np.ones(3))
    given, before = optimizer.state_dict(), repr(optimizer.state_dict())
    for name in data.draw(st.lists(st.sampled_from([*given, "unknown"]), max_size=2)):
        if data.draw(st.integers(0, 3)) == 0:
            given.pop(name, None)
        else:
            given[name] = data.draw(
                st.sampled_from([0, -1, 0.5, 2**70, None, "a", (0.5,), (0.5, 0.25), (1.0, 0.1), {},
                                 np.nan, np.ones(2), np.zeros(3, "f4"), np.zeros((3, 1)), 1j])
                | arrays(name, [(3,)]).map(lambda a: a.value if a.plain is None else a.plain))
    try:
        with np.errstate(all="ignore"):
            optimizer.load_state_dict(given)
    except (TypeError, ValueError) as error:
        assert "should" in str(error) or "cannot be read" in str(error)
        assert repr(optimizer.state_dict()) == before
    else:
        assert optimizer.state_dict().keys() == given.keys()
        if any(of_networks(given[name]) for name in ("lr", "momentum", "eps", "weight_decay")
               if name in given):
            with pytest.raises(ValueError, match="for the networks of a population"):
                optimizer.step(np.ones(3), np.ones(3))
            return
        size = {len(v) for v in optimizer.state_dict().values() if isinstance(v, np.ndarray)}
        dtype = {v.dtype for v in optimizer.state_dict().values() if isinstance(v, np.ndarray)}
        n, dtype = size.pop() if size else 4, dtype.pop() if dtype else "f4"
        params = np.ones(n, dtype)
        optimizer.step(params, params.copy())
        assert optimizer.t == given["t"] + 1
