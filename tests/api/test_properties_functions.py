"""Any arguments of the functions: the result of the same numbers in plain arrays, or an error that
names what is wrong. The NumPy twins refuse the same calls in the same words; no input changes."""

import functools
from itertools import pairwise

import numpy as np
import pytest
from batches import (
    ACTIVATIONS,
    LOSSES,
    Call,
    common_dtype,
    is_mean,
    options,
    reductions,
    targets,
    weights,
    with_range_faults,
)
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SIZES,
    WIDTHS,
    Fault,
    activations,
    arrays,
    choices,
    judged,
    memory_of,
    outputs,
    same,
)

import fastbp
from fastbp import reference

WITH_LOGITS = {"bce_with_logits": "bce", "softmax_with_logits": "softmax",
               "squared_error": "squared_error", "poisson_with_logits": "poisson"}


@st.composite
def sigmoid(draw):
    z = draw(arrays("z", None, "wild"))
    return Call({"z": z}, common_dtype(z))


@st.composite
def activate(draw):
    call = draw(sigmoid())
    return Call({**call.arguments, "activation": draw(choices("activation", ACTIVATIONS))},
                call.dtype)


def related(arguments, shapes_fit):
    """Arrays whose shapes are right or wrong together: an error names any of them."""
    found = [a.plain for a in arguments.values()]
    faults = [fault for a in arguments.values() if a.plain is None for fault in a.faults]
    if faults or not shapes_fit(*map(np.shape, found)):
        faults += [Fault(ValueError, name) for name in arguments]
    free = {name: a._replace(faults=()) for name, a in arguments.items()}
    first = next(iter(free))
    return Call({**free, first: free[first]._replace(faults=tuple(faults))},
                common_dtype(*arguments.values()))


@st.composite
def sigmoid_backward(draw):
    shape = tuple(draw(st.lists(SIZES, max_size=3)))
    return related({"grad": draw(arrays("grad", [shape])),
                    "h": draw(arrays("h", [shape], "unit"))}, lambda grad, h: grad == h)


@st.composite
def delta_step(draw):
    lead = draw(st.sampled_from([(), (draw(SIZES),)]))
    here, above = draw(SIZES), draw(SIZES)
    return related({"delta_next": draw(arrays("delta_next", [(*lead, above)])),
                    "W_next": draw(arrays("W_next", [(here, above)])),
                    "h": draw(arrays("h", [(*lead, here)], "unit"))},
                   lambda d, W, h: len(d) in (1, 2) and len(W) == 2 and W[1] == d[-1]
                   and h == (*d[:-1], W[0]))


@st.composite
def weight_grad(draw):
    n, fan_in, fan_out = draw(SIZES), draw(SIZES), draw(SIZES)
    return related({"h_prev": draw(arrays("h_prev", [(n, fan_in)], "unit")),
                    "delta": draw(arrays("delta", [(n, fan_out)]))},
                   lambda h, delta: len(h) == len(delta) == 2 and h[0] == delta[0])


@st.composite
def with_logits(draw, loss):
    shapes = [("n_samples", "n_outputs")] + [("n_samples",)] * (loss != "softmax")
    z = draw(arrays("z", shapes))
    fits = z.plain is not None and not z.faults
    n, n_outputs = (*z.plain.shape, 1)[:2] if fits else (3, 2)
    flat = loss == "softmax" or fits and z.plain.ndim == 1
    y = draw(targets(loss, n, n_outputs, flat))
    if fits and loss != "softmax" and y.plain is not None and not y.faults:
        like = y.plain.shape == z.plain.shape       # (n,) and (n, 1) are not like one another
        y = y if like else y._replace(faults=(Fault(ValueError, "y"),))
    w = draw(weights(n))
    found = draw(options(loss, n_outputs))
    if not loss == "softmax":
        found.pop("class_weight", None)
    classes = loss == "softmax" and y.plain is not None and y.plain.ndim == 1
    dtype = common_dtype(z, w, *[y] * (not classes))
    if loss == "softmax" and n_outputs < 2:
        z = z._replace(faults=(*z.faults, Fault(ValueError, "output")))
    return Call(with_range_faults({"z": z, "y": y, "sample_weight": w, **found}, loss, n_outputs,
                                  dtype), dtype)


CALLS = {"sigmoid": sigmoid(), "activate": activate(), "sigmoid_backward": sigmoid_backward(),
         "delta_step": delta_step(), "weight_grad": weight_grad(),
         **{name: with_logits(loss) for name, loss in WITH_LOGITS.items()}}
WITH_OUT = ["sigmoid", "sigmoid_backward", "delta_step"]


def shape_and_dtype(result):
    if isinstance(result, (tuple, list)):
        return [shape_and_dtype(each) for each in result]
    return type(result), np.shape(result), np.asarray(result).dtype


def agree(name, call):
    """The result of fastbp, which is that of plain arrays, or the error, which is the twin's."""
    passed = call.passed
    before = memory_of(*passed.values())
    fast, slow = (judged(functools.partial(getattr(twin, name), **passed), call.faults)
                  for twin in (fastbp, reference))
    assert memory_of(*passed.values()) == before
    if isinstance(fast, Exception):
        assert (type(fast), str(fast)) == (type(slow), str(slow))
    else:
        assert shape_and_dtype(fast) == shape_and_dtype(slow)
        same(fast, judged(lambda: getattr(fastbp, name)(**call.plain), ()))
    return fast


@pytest.mark.parametrize("name", CALLS)
@given(st.data())
def test_any_arguments(name, data):
    agree(name, data.draw(CALLS[name]))


# ---- the whole gradient


def chained(W, b, X):
    """Whether shapes are those of a network and its samples."""
    X, = X
    return (all(len(shape) == 2 and min(shape) > 0 for shape in W)
            and all(this[1] == that[0] for this, that in pairwise(W))
            and [(shape[1],) for shape in W] == b and len(X) == 2 and X[1] == W[0][0])


@st.composite
def backprop(draw):
    sizes = draw(st.lists(WIDTHS, min_size=2, max_size=4))
    loss = draw(choices("loss", LOSSES))
    activation = draw(activations(ACTIVATIONS, len(sizes) - 2))
    name = "squared_error" if loss.faults else loss.value
    W = [draw(arrays(f"weights[{i}]", [shape])) for i, shape in enumerate(pairwise(sizes))]
    b = [draw(arrays(f"biases[{i}]", [(size,)])) for i, size in enumerate(sizes[1:])]
    X = draw(arrays("X", [("n_samples", sizes[0])]))
    known = [a.plain for a in (*W, *b, X)]
    n, kinds = 3, [fault for a in (*W, *b, X) if a.plain is None for fault in a.faults]
    if kinds or not chained(*(list(map(np.shape, part)) for part in (
            known[:len(W)], known[len(W):-1], known[-1:]))):
        kinds += [Fault(ValueError, name) for name in ("weights[", "biases[", "X", "y", "output")]
    else:
        n, sizes[-1] = known[-1].shape[0], known[-2].shape[0]
    W, b = ([a._replace(faults=()) for a in part] for part in (W, b))
    X = X._replace(faults=tuple(kinds))
    y, w, reduction = draw(targets(name, n, sizes[-1])), draw(weights(n)), draw(reductions())
    dtype = common_dtype(*W, *b, X)
    if name == "softmax" and sizes[-1] < 2:
        loss = loss._replace(faults=(Fault(ValueError, "output"),))
    arguments = {"weights": W, "biases": b, "X": X, "y": y, "sample_weight": w, "loss": loss,
                 "activation": activation, "reduction": reduction,
                 **draw(options(name, sizes[-1]))}
    return Call(with_range_faults(arguments, name, sizes[-1], dtype, is_mean(reduction), n), dtype)


@given(st.data())
def test_any_gradient(data):
    agree("backprop", data.draw(backprop()))


# ---- where to write to


@pytest.mark.parametrize("name", WITH_OUT)
@given(st.data())
def test_any_out(name, data):
    call = data.draw(CALLS[name])
    expected = judged(lambda: getattr(fastbp, name)(**call.passed), call.faults)
    shape = (2, 3) if isinstance(expected, Exception) else np.shape(expected)
    for twin in (fastbp, reference):
        out = data.draw(outputs("out", shape, call.dtype))
        before = out.memory.tobytes()
        given = {**call.passed, "out": out.value}
        result = judged(functools.partial(getattr(twin, name), **given),
                        [*call.faults, *out.faults])
        if isinstance(result, Exception):
            assert out.memory.tobytes() == before
        else:
            assert result is out.value
            if twin is fastbp:
                same(np.array(result), np.array(expected))
            result[...] = np.frombuffer(before, "u1")[out.place()].view(call.dtype).reshape(shape)
            assert out.memory.tobytes() == before, "a guard was written"


@pytest.mark.parametrize("name", WITH_OUT)
@given(st.data())
def test_arguments_in_one_memory(name, data):
    """`out` overlaps an input, be it by one byte: refused, unless it is the one that may be out."""
    shapes = {"sigmoid": {"z": (2, 3), "out": (2, 3)},
              "sigmoid_backward": {"grad": (2, 3), "h": (2, 3), "out": (2, 3)},
              "delta_step": {"delta_next": (2, 2), "W_next": (3, 2), "h": (2, 3), "out": (2, 3)}}
    dtype = data.draw(st.sampled_from(["f4", "f8"]))
    memory = np.zeros(60)
    memory.view(dtype)[:] = np.arange(len(memory.view(dtype))) / 64
    places, given = {}, {}
    for argument, shape in shapes[name].items():
        step = 1 if argument == "out" else data.draw(st.integers(1, 2))
        at = data.draw(st.integers(0, 24))
        where = np.arange(at, at + step * shape[0] * shape[1], step)
        places[argument] = at, step, set(where.tolist())
        given[argument] = memory.view(dtype)[where[0]:where[-1] + 1:step].reshape(shape)
    in_place = {"sigmoid": "z", "sigmoid_backward": "grad"}.get(name)
    faults = [Fault(ValueError, f"out overlaps {argument}") for argument, place in places.items()
              if argument != "out" and place[2] & places["out"][2]
              and not (argument == in_place and place[:2] == places["out"][:2])]
    expected = getattr(fastbp, name)(**{key: a.copy() for key, a in given.items() if key != "out"})
    before = memory.tobytes()
    result = judged(lambda: getattr(fastbp, name)(**given), faults)
    if isinstance(result, Exception):
        assert memory.tobytes() == before
    else:
        same(result, expected)
