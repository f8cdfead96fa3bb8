"""Any arguments of `Layers`: the bits of the same numbers in plain arrays, or an
error that names what is wrong and leaves every array and object as it was."""

import pickle

import numpy as np
import pytest
from batches import (
    ACTIVATIONS,
    LOSSES,
    Call,
    each,
    is_mean,
    options,
    targets,
    threads,
    weights,
    with_range_faults,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    WIDTHS,
    Argument,
    Fault,
    arrays,
    choices,
    judged,
    memory_of,
    outputs,
    same,
    scalars,
)

from fastbp import Layers

NO_SEQUENCE = [None, 3, object(), iter([]), memoryview(b"1234").cast("B", (2, 2))]


# ---- the recursion


@st.composite
def recursions(draw, last=None):
    """A `Layers`, and the shapes of each W and b."""
    sizes = draw(st.lists(WIDTHS, min_size=2, max_size=4))
    activations = [draw(st.sampled_from(ACTIVATIONS)) for _ in sizes[1:]]
    activations[-1] = last or activations[-1]
    layout = draw(st.sampled_from(["io", "oi"]))
    layers = Layers(sizes, activations, dtype=draw(st.sampled_from(["float32", "float64"])),
                    layout=layout, n_threads=draw(st.sampled_from([None, 1, 2])))
    W = [(i, o) if layout == "io" else (o, i) for i, o in zip(sizes, sizes[1:], strict=False)]
    return layers, W, [(o,) for o in sizes[1:]]


def sequences(draw, name, shapes, of=arrays, *dtype):
    """A list with an argument for each shape; seldom too short, or no list."""
    fate = draw(st.integers(0, 31))
    if fate == 0:
        return Argument(draw(st.sampled_from(NO_SEQUENCE)), None, (Fault(TypeError, name),))
    wanted = [[shape] for shape in shapes] if of is arrays else shapes
    found = [draw(of(f"{name}[{i}]", shape, *dtype)) for i, shape in enumerate(wanted)]
    if fate == 1:
        found = found[:-1] or [*found, found[-1]]
        if len(found) != len(shapes):
            first = Argument(None, None, (Fault(ValueError, name),))
            return Argument([a.value for a in found], None, first.faults)
    return found


@st.composite
def forwards(draw, made):
    layers, W, b = made
    X = draw(arrays("X", [("n_samples", layers.layer_sizes[0])]))
    return Call({"weights": sequences(draw, "weights", W), "biases": sequences(draw, "biases", b),
                 "X": X}, np.dtype(layers.dtype))


def plain_copy(layers):
    return Layers(layers.layer_sizes, layers.activations, dtype=layers.dtype, layout=layers.layout,
                  n_threads=1)


def tell(written):
    """The memory of arrays to write to."""
    return [x.memory.tobytes() for a in written for x in each(a) if hasattr(x, "memory")]


def values_of(written):
    return [[x.value for x in a] if isinstance(a, list) else a and a.value for a in written]


def assert_written(written, expected, before):
    """Every array is that of ``expected``, and nothing beside it was written."""
    found = [x for a in written if a is not None for x in each(a)]
    for out, value, memory in zip(found, expected, before, strict=True):
        same(np.array(out.value), value)
        out.value[...] = np.frombuffer(memory, "u1")[out.place()].view(value.dtype).reshape(
            value.shape)
        assert out.memory.tobytes() == memory, "a guard was written"


@given(st.data())
def test_any_pass(data):
    draw = data.draw
    made = layers, W, b = draw(recursions())
    call, keep = draw(forwards(made)), draw(st.sampled_from([True, True, False, 1]))
    faults = [*call.faults, *[Fault(TypeError, "keep")] * (type(keep) is int)]
    before = memory_of(*call.passed.values())
    h = judged(lambda: layers.forward(**call.passed, keep=keep), faults)
    assert memory_of(*call.passed.values()) == before
    kept = keep is True and not isinstance(h, Exception)
    twin, n = plain_copy(layers), 3
    if not isinstance(h, Exception):
        same(h, twin.forward(**call.plain))
        n = len(h)
    grad = draw(arrays("grad_output", [(n, layers.layer_sizes[-1])]))
    dW, db = (sequences(draw, name, shapes, outputs, layers.dtype) for name, shapes in (
        ("weight_grads", W), ("bias_grads", b)))
    assume([a.value for a in (dW, db) if isinstance(a, Argument)] != [None, None])  # E5 alone
    dX = draw(st.none() | outputs("input_grad", (n, layers.layer_sizes[0]), layers.dtype))
    written = [dW, db, dX]
    memory = tell([a for a in written if a is not None])
    if not kept:
        with pytest.raises((RuntimeError, TypeError)):
            layers.backward(grad.value, *values_of(written))
        assert tell([a for a in written if a is not None]) == memory
        return
    faults = [f for a in (grad, *written) if a is not None for x in each(a) for f in x.faults]
    result = judged(lambda: layers.backward(grad.value, *values_of(written)), faults)
    assert memory_of(*call.passed.values()) == before
    if isinstance(result, Exception):
        assert tell([a for a in written if a is not None]) == memory
        return
    expected = ([np.empty(s, layers.dtype) for s in W], [np.empty(s, layers.dtype) for s in b],
                None if dX is None else np.empty((n, layers.layer_sizes[0]), layers.dtype))
    twin.backward(Call({"g": grad}, np.dtype(layers.dtype)).plain["g"], *expected)
    assert_written(written, [*expected[0], *expected[1], *[expected[2]] * (dX is not None)], memory)


def reductions_of_layers():
    """A name, or a number above 0 that divides."""
    return (st.sampled_from(["sum", "mean", 2, 0.5, np.float32(3)]).map(lambda r: Argument(r, None))
            | scalars("reduction", [2.5], lambda x: 0 < x < np.inf).filter(
                lambda a: isinstance(a.value, (int, float)))
            | st.sampled_from(["max", None, [1]]).map(
                lambda r: Argument(r, None, (Fault(ValueError, "reduction"),))))


@given(st.data())
def test_any_loss(data):
    draw = data.draw
    name = draw(st.sampled_from(LOSSES))
    last = draw(st.sampled_from(["identity"] * 9 + ["tanh"]))
    made = layers, W, b = draw(recursions(last))
    n_outputs, dtype = layers.layer_sizes[-1], np.dtype(layers.dtype)
    arguments = dict(draw(forwards(made)).arguments)
    X = arguments["X"]
    n = X.plain.shape[0] if X.plain is not None and not X.faults else 3
    reduction = draw(reductions_of_layers())
    wrong = [Fault(ValueError, "activations")] if last != "identity" else []
    wrong += [Fault(ValueError, "output")] if name == "softmax" and n_outputs < 2 else []
    arguments |= {"y": draw(targets(name, n, n_outputs)), "sample_weight": draw(weights(n)),
                  "loss": Argument(name, None, tuple(wrong)), "reduction": reduction,
                  **draw(options(name, n_outputs))}
    dW, db = (sequences(draw, kind, shapes, outputs, layers.dtype) for kind, shapes in (
        ("weight_grads", W), ("bias_grads", b)))
    mean = isinstance(reduction.value, str) and is_mean(reduction)
    call = Call(with_range_faults(arguments, name, n_outputs, dtype, mean, n), dtype)
    before, memory = memory_of(*call.passed.values()), tell([dW, db])
    passed = {**call.passed, "weight_grads": values_of([dW])[0], "bias_grads": values_of([db])[0]}
    faults = [*call.faults, *(f for a in (dW, db) for x in each(a) for f in x.faults)]
    loss = judged(lambda: layers.loss_and_grad(**passed), faults)
    assert memory_of(*call.passed.values()) == before
    if isinstance(loss, Exception):
        assert tell([dW, db]) == memory
        return
    expected = [np.empty(s, dtype) for s in W], [np.empty(s, dtype) for s in b]
    same(loss, judged(lambda: plain_copy(layers).loss_and_grad(
        **call.plain, weight_grads=expected[0], bias_grads=expected[1]), ()))
    assert_written([dW, db], [*expected[0], *expected[1]], memory)


@given(st.data())
def test_any_layers(data):
    draw = data.draw
    sizes = draw(st.lists(WIDTHS, min_size=2, max_size=4))
    found = [draw(choices("activations", ACTIVATIONS)) for _ in sizes[1:]]
    layout, n_threads = draw(choices("layout", ["io", "oi"])), draw(threads())
    faults = [f for a in (*found, layout, n_threads) for f in a.faults]
    count = draw(st.sampled_from([0] * 9 + [1, -1]))
    names = [a.value for a in found][:len(found) + min(count, 0)] + ["tanh"] * max(count, 0)
    faults += [Fault(ValueError, "activations")] * (count != 0)
    layers = judged(lambda: Layers(sizes, names, layout=layout.value, n_threads=n_threads.value),
                    faults)
    if isinstance(layers, Layers):
        again = pickle.loads(pickle.dumps(layers))
        assert repr(again) == repr(layers) and again.n_threads == layers.n_threads
