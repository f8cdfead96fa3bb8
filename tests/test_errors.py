"""What does not fit is refused: the right exception, a message that names the argument and says
what would fit, and nothing changed. What fits is right. Nothing crashes, whatever comes in."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import FASTBP, NUMPY

import fastbp
from fastbp import MLP, SGD, Adam, Layers, reference

TWINS = pytest.mark.parametrize("twin", [fastbp, reference], ids=["fast", "reference"])


def refused(call, kind, *words):
    """``call()`` raises exactly ``kind``, and says ``words`` and what should be."""
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        call()
    message = str(caught.value)
    assert caught.type is kind, message
    for word in (*words, "should"):
        assert word in message, message


def half(*shape, dtype="float64"):
    return np.full(shape, 0.5, dtype)


# Not real numbers, each of the shape it is given.
KINDS = {
    "complex": lambda shape: np.zeros(shape, complex),
    "object": lambda shape: np.full(shape, None),
    "string": lambda shape: np.full(shape, "a"),
    "masked": np.ma.zeros,
    "date": lambda shape: np.zeros(shape, "M8[s]"),
    "None": lambda shape: None,
}

# Arrays of a given shape that cannot be written to, or not directly: (make, exception, word).
OUTPUTS = {
    "dtype": (lambda s, t: np.full(s, 7, "float64" if t == "float32" else "float32"),
              TypeError, "dtype"),
    "byte order": (lambda s, t: np.full(s, 7, np.dtype(t).newbyteorder()), TypeError, "dtype"),
    "list": (lambda s, t: np.full(s, 7.0).tolist(), TypeError, "list"),
    "subclass": (lambda s, t: np.ma.zeros(s, t), TypeError, "MaskedArray"),
    "shape": (lambda s, t: np.full((*s[:-1], s[-1] + 1), 7, t), ValueError, "shape"),
    "one more axis": (lambda s, t: np.full((1, *s), 7, t), ValueError, "shape"),
    "strided": (lambda s, t: np.full((*s[:-1], 2 * s[-1]), 7, t)[..., ::2],
                ValueError, "C-contiguous"),
    "read-only": (lambda s, t: np.broadcast_to(np.full(s, 7, t), s), ValueError, "writable"),
    "misaligned": (lambda s, t: np.zeros(8 * np.prod(s) + 1, "b")[1:].view(t)[:np.prod(s)]
                   .reshape(s), ValueError, "aligned"),
}


# ---- one function per equation, and its twin


def fitting():
    """Arguments of every function that fit."""
    return {
        "sigmoid": {"z": half(3)},
        "sigmoid_backward": {"grad": half(2, 3), "h": half(2, 3)},
        "delta_step": {"delta_next": half(4, 2), "W_next": half(3, 2), "h": half(4, 3)},
        "weight_grad": {"h_prev": half(4, 3), "delta": half(4, 2)},
        "bce_with_logits": {"z": half(4, 2), "y": half(4, 2), "sample_weight": half(4)},
        "backprop": {"weights": [half(3, 2), half(2, 1)], "biases": [half(2), half(1)],
                     "X": half(4, 3), "y": half(4, 1), "sample_weight": half(4)},
    }


def call(twin, name, **changes):
    """The function with arguments that fit, but for ``changes``; keys are like ``weights[1]``."""
    arguments = fitting()[name]
    for key, value in changes.items():
        argument, _, index = key.partition("[")
        if index:
            arguments[argument][int(index[:-1])] = value
        else:
            arguments[argument] = value
    return getattr(twin, name)(**arguments)


ARRAYS = [
    ("sigmoid", "z"), ("sigmoid_backward", "grad"), ("sigmoid_backward", "h"),
    ("delta_step", "delta_next"), ("delta_step", "W_next"), ("delta_step", "h"),
    ("weight_grad", "h_prev"), ("weight_grad", "delta"), ("bce_with_logits", "z"),
    ("bce_with_logits", "y"), ("bce_with_logits", "sample_weight"), ("backprop", "weights[1]"),
    ("backprop", "biases[0]"), ("backprop", "X"), ("backprop", "y"),
    ("backprop", "sample_weight"),
]


@TWINS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_arrays_of_another_kind(twin, name, argument, kind):
    if (argument, kind) == ("sample_weight", "None"):
        call(twin, name, sample_weight=None)  # every sample counts once
        return
    key, _, index = argument.partition("[")
    value = fitting()[name][key]
    shape = (value[int(index[:-1])] if index else value).shape
    refused(lambda: call(twin, name, **{argument: KINDS[kind](shape)}),
            TypeError, argument, "dtype", "real numbers")


@TWINS
@pytest.mark.parametrize(("name", "argument", "shape", "wanted"), [
    ("sigmoid_backward", "h", (3, 2), "(2, 3)"),
    ("sigmoid_backward", "h", (3,), "(2, 3)"),
    ("delta_step", "delta_next", (), "(n_samples, n_next)"),
    ("delta_step", "delta_next", (4, 2, 1), "(n_samples, n_next)"),
    ("delta_step", "W_next", (2, 3), "(n_here, 2)"),
    ("delta_step", "W_next", (2,), "(n_here, 2)"),
    ("delta_step", "h", (4, 2), "(4, 3)"),
    ("delta_step", "h", (3,), "(4, 3)"),
    ("weight_grad", "h_prev", (4,), "(n_samples, fan_in)"),
    ("weight_grad", "h_prev", (1, 4, 3), "(n_samples, fan_in)"),
    ("weight_grad", "delta", (3, 2), "(4, fan_out)"),
    ("weight_grad", "delta", (4,), "(4, fan_out)"),
    ("bce_with_logits", "z", (), "(n_samples, n_outputs)"),
    ("bce_with_logits", "z", (1, 4, 2), "(n_samples, n_outputs)"),
    ("bce_with_logits", "y", (4, 1), "(4, 2)"),
    ("bce_with_logits", "y", (4,), "(4, 2)"),
    ("bce_with_logits", "sample_weight", (4, 1), "(4,)"),
    ("bce_with_logits", "sample_weight", (), "(4,)"),
    ("backprop", "weights[0]", (3,), "(fan_in, fan_out)"),
    ("backprop", "weights[0]", (3, 0), "at least 1"),
    ("backprop", "weights[1]", (3, 1), "(2, fan_out)"),
    ("backprop", "biases[0]", (1,), "(2,)"),
    ("backprop", "biases[0]", (1, 2), "(2,)"),
    ("backprop", "X", (4, 2), "(n_samples, 3)"),
    ("backprop", "X", (3,), "(n_samples, 3)"),
    ("backprop", "y", (1,), "(4,) or (4, 1)"),
    ("backprop", "y", (), "(4,) or (4, 1)"),
    ("backprop", "y", (4, 2), "(4, 1)"),
    ("backprop", "sample_weight", (1,), "(4,)"),
])
def test_shapes(twin, name, argument, shape, wanted):
    refused(lambda: call(twin, name, **{argument: half(*shape)}),
            ValueError, argument, str(shape), wanted)


@TWINS
@pytest.mark.parametrize(("changes", "kind", "words"), [
    ({"weights": None}, TypeError, ["weights", "sequence"]),
    ({"biases": iter([half(2), half(1)])}, TypeError, ["biases", "sequence"]),
    ({"weights": [], "biases": []}, ValueError, ["weights", "at least one"]),
    ({"biases": [half(2)]}, ValueError, ["weights", "biases", "as many"]),
    ({"reduction": "none"}, ValueError, ["reduction", "'sum'", "'mean'"]),
    ({"reduction": None}, ValueError, ["reduction", "'sum'", "'mean'"]),
    ({"reduction": "mean", "sample_weight": np.zeros(4)}, ValueError, ["sample_weight", "0"]),
    ({"reduction": "mean", "sample_weight": None, "X": half(0, 3), "y": half(0)},
     ValueError, ["X", "at least one"]),
])
def test_backprop(twin, changes, kind, words):
    refused(lambda: call(twin, "backprop", **changes), kind, *words)


BAD_TARGETS = pytest.mark.parametrize("bad", [1.5, -2.0**-20, np.nan, np.inf, -np.inf])
BAD_WEIGHTS = pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])


@TWINS
@BAD_TARGETS
@pytest.mark.parametrize("name", ["bce_with_logits", "backprop"])
def test_targets_outside_the_unit_interval(twin, name, bad):
    y = fitting()[name]["y"]
    y[2:, -1] = bad
    refused(lambda: call(twin, name, y=y), ValueError, "y has", "row 2", "[0, 1]")


@TWINS
@BAD_WEIGHTS
@pytest.mark.parametrize("name", ["bce_with_logits", "backprop"])
def test_sample_weights(twin, name, bad):
    w = np.array([1, 0, bad, bad])
    refused(lambda: call(twin, name, sample_weight=w),
            ValueError, "sample_weight", "row 2", "at least 0")


WITH_OUT = {"sigmoid": (3,), "sigmoid_backward": (2, 3), "delta_step": (4, 3)}


@TWINS
@pytest.mark.parametrize("bad", OUTPUTS)
@pytest.mark.parametrize("name", WITH_OUT)
def test_out(twin, name, bad):
    make, kind, word = OUTPUTS[bad]
    out = make(WITH_OUT[name], "float64")
    before = np.array(out)
    refused(lambda: call(twin, name, out=out), kind, "out", word)
    np.testing.assert_array_equal(out, before)


@TWINS
@pytest.mark.parametrize("how", ["itself", "shifted", "strided", "converted"])
@pytest.mark.parametrize(("name", "argument"), [a for a in ARRAYS if a[0] in WITH_OUT])
def test_out_that_overlaps_an_input(twin, name, argument, how):
    """Only sigmoid(z, out=z) and sigmoid_backward(grad, h, out=grad) work in place."""
    given, shape = fitting()[name][argument], WITH_OUT[name]
    memory = np.full(100, 0.5)
    out = memory[:np.prod(shape)].reshape(shape)
    value = {
        "itself": memory[:given.size],
        "shifted": memory[1:1 + given.size],
        "strided": memory[:2 * given.size:2],
        "converted": memory.view("int64")[:given.size],
    }[how].reshape(given.shape)
    if how == "converted":
        memory[:] = 0
    before = memory.copy()
    if how == "itself" and (name, argument) in (("sigmoid", "z"), ("sigmoid_backward", "grad")):
        expected = call(twin, name, **{argument: value.copy()})
        assert call(twin, name, **{argument: value}, out=out) is out
        np.testing.assert_array_equal(out, expected)
    else:
        refused(lambda: call(twin, name, **{argument: value}, out=out),
                ValueError, "out", "overlaps", argument)
        np.testing.assert_array_equal(memory, before)


@TWINS
@pytest.mark.parametrize(("dtypes", "expected"), [
    (("float32", "float32"), "float32"), (("float32", "float64"), "float64"),
    (("float32", "int8"), "float64"), (("bool", "float32"), "float64"),
    (("int64", "uint8"), "float64"), (("float16", "float32"), "float64"),
    (("longdouble", "float64"), "float64"), ((">f4", "float32"), "float32"),
])
def test_dtype_of_the_computation(twin, dtypes, expected):
    a, b = (np.ones((2, 3), dtype) for dtype in dtypes)
    assert twin.sigmoid(a).dtype == ("float32" if "f" in a.dtype.str and a.itemsize == 4
                                     else "float64")
    assert twin.sigmoid_backward(a, b).dtype == expected
    assert twin.delta_step(a, b, np.ones((2, 2), "float32")).dtype == expected
    assert twin.weight_grad(a, b)[0].dtype == expected
    assert twin.bce_with_logits(a, b)[1].dtype == expected
    assert twin.backprop([b.T], [np.ones(2, "float32")], a, np.ones((2, 2)))[1][0].dtype == expected


# ---- the network


@pytest.mark.parametrize(("changes", "kind", "words"), [
    ({"layer_sizes": []}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": [3]}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": 3}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": None}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": [3, 0]}, ValueError, ["layer_sizes", "[3, 0]", "at least 1"]),
    ({"layer_sizes": [3, -1]}, ValueError, ["layer_sizes", "at least 1"]),
    ({"layer_sizes": [3, 1.0]}, ValueError, ["layer_sizes", "integers"]),
    ({"layer_sizes": [3, True]}, ValueError, ["layer_sizes", "integers"]),
    ({"layer_sizes": "31"}, ValueError, ["layer_sizes", "integers"]),
    ({"layer_sizes": [2**40, 2**40]}, ValueError, ["layer_sizes", "fit"]),
    ({"layer_sizes": [2**70, 1]}, ValueError, ["layer_sizes", "fit"]),
    ({"dtype": "float16"}, ValueError, ["dtype", "'float32'", "'float64'"]),
    ({"dtype": None}, ValueError, ["dtype", "'float32'", "'float64'"]),
    ({"dtype": ">f4"}, ValueError, ["dtype", "'float32'", "'float64'"]),
    ({"dtype": 3}, ValueError, ["dtype", "'float32'", "'float64'"]),
    ({"n_threads": 0}, ValueError, ["n_threads", "at least 1"]),
    ({"n_threads": 1.5}, ValueError, ["n_threads", "integer"]),
    ({"n_threads": "1"}, TypeError, ["n_threads", "integer"]),
])
@pytest.mark.parametrize("kind_of_net", [MLP, Layers])
def test_network(kind_of_net, changes, kind, words):
    arguments = {"layer_sizes": [3, 1], **changes}
    if kind_of_net is Layers:
        arguments["activations"] = ["sigmoid"]
    refused(lambda: kind_of_net(**arguments), kind, *words)


@pytest.mark.parametrize(("changes", "kind", "words"), [
    ({"activation": "gelu"}, ValueError, ["activation", "'gelu'", "'sigmoid'", "'relu'"]),
    ({"activation": None}, ValueError, ["activation", "'sigmoid'"]),
    ({"loss": "hinge"}, ValueError, ["loss", "'hinge'", "'bce'", "'softmax'"]),
    ({"loss": 1}, ValueError, ["loss", "'bce'"]),
    ({"seed": -1}, ValueError, ["seed", "at least 0"]),
    ({"seed": 1.0}, TypeError, ["seed", "int"]),
    ({"seed": "1"}, TypeError, ["seed", "int"]),
])
def test_names_and_seeds_of_a_network(changes, kind, words):
    refused(lambda: MLP([3, 1], **changes), kind, *words)


@pytest.mark.parametrize("sizes", [[10**8, 10**8], [2**30, 2**29]])
def test_parameters_that_do_not_fit(sizes):
    with pytest.raises(MemoryError):
        MLP(sizes)


SIZES, N = (3, 4, 1), 5
GOOD = {"X": half(N, 3), "y": half(N), "sample_weight": None, "reduction": "sum", "l2": 0.0,
        "params": half(21), "batch_size": 2, "shuffle": True, "order": None, "rng": 0}
LOSS = ["X", "y", "sample_weight", "reduction"]
METHODS = {
    "forward": ["X"], "logits": ["X"], "loss_value": LOSS, "backprop": [*LOSS, "l2"],
    "value_and_grad": ["params", *LOSS, "l2"], "objective": [*LOSS, "l2"],
    "train_epoch": ["X", "y", "optimizer", "batch_size", "shuffle", "order", "rng",
                    "sample_weight", "l2"],
}
BAD = [
    *[(argument, KINDS[kind](GOOD[argument].shape), TypeError, [argument, "dtype"])
      for argument in ("X", "y", "params") for kind in KINDS],
    *[("sample_weight", KINDS[kind]((N,)), TypeError, ["sample_weight", "dtype"])
      for kind in KINDS if kind != "None"],
    *[("X", half(*shape), ValueError, [f"X has shape {shape}", "(n_samples, 3)"])
      for shape in ((N, 2), (3,), (N, 3, 1), ())],
    *[("y", half(*shape), ValueError, [f"y has shape {shape}", "(5,) or (5, 1)"])
      for shape in ((1,), (N, 2), (1, N), (N, 1, 1))],
    *[("y", np.array([0, 1, 0, bad, bad]), ValueError, ["y has", "row 3", "[0, 1]"])
      for bad in (1.5, -2.0**-20, np.nan, np.inf)],
    *[("sample_weight", half(*shape), ValueError, [f"sample_weight has shape {shape}", "(5,)"])
      for shape in ((1,), (N, 1), ())],
    *[("sample_weight", np.array([0, 1, 0, bad, bad]), ValueError, ["sample_weight", "row 3"])
      for bad in (-1, np.nan, np.inf)],
    ("reduction", "none", ValueError, ["reduction", "'sum'", "'mean'"]),
    ("reduction", None, ValueError, ["reduction", "'sum'", "'mean'"]),
    *[("l2", bad, ValueError, ["l2", "at least 0"]) for bad in (-1e-9, np.nan, np.inf, 10**400)],
    *[("l2", bad, TypeError, ["l2", "number"]) for bad in ("0", None, True, [0.0])],
    ("params", half(20), ValueError, ["params", "(20,)", "(21,)"]),
    ("params", half(21, 1), ValueError, ["params", "(21, 1)", "(21,)"]),
    *[("optimizer", bad, TypeError, ["optimizer", "SGD", "Adam"])
      for bad in (None, SGD, "adam", reference.SGD())],
    *[("batch_size", bad, ValueError, ["batch_size", "at least 1"]) for bad in (0, -1, 1.5)],
    *[("batch_size", bad, TypeError, ["batch_size", "integer"]) for bad in (None, "2", True)],
    *[("shuffle", bad, TypeError, ["shuffle", "True or False"]) for bad in (None, 1, "yes")],
    *[("order", bad, ValueError, ["order", "shape", "(5,)"])
      for bad in ([0], [], np.zeros((N, 1), int))],
    *[("order", [0, 1, bad, 0, bad], ValueError, ["order", "position 2", "[0, 5)"])
      for bad in (N, -1, 2**63 - 1)],
    *[("order", np.zeros(N, dtype), TypeError, ["order", dtype, "integers"])
      for dtype in ("float64", "bool", "complex128")],
    ("rng", -1, ValueError, ["rng", "at least 0"]),
    *[("rng", bad, TypeError, ["rng", "Generator"])
      for bad in ("0", 0.5, np.random.RandomState(0))],
]


def state(net, optimizer):
    options = optimizer.state_dict()
    return net.params.tobytes(), net.grad.tobytes(), optimizer.lr, options["t"], len(options)


@pytest.mark.parametrize(("method", "argument", "value", "kind", "words"), [
    pytest.param(method, *case, id=f"{method}-{case[0]}-{i}")
    for method, accepted in METHODS.items() for i, case in enumerate(BAD) if case[0] in accepted])
def test_methods(method, argument, value, kind, words, dtype):
    net, optimizer = MLP(SIZES, dtype=dtype, seed=0), Adam()
    net.backprop(GOOD["X"], GOOD["y"])
    before = state(net, optimizer)
    arguments = {**GOOD, "optimizer": optimizer, argument: value}
    refused(lambda: getattr(net, method)(**{name: arguments[name] for name in METHODS[method]}),
            kind, *words)
    assert state(net, optimizer) == before


@pytest.mark.parametrize("method", ["loss_value", "backprop", "value_and_grad", "objective",
                                    "train_epoch"])
@pytest.mark.parametrize(("changes", "words"), [
    ({"sample_weight": np.zeros(N)}, ["sample_weight", "0", "positive"]),
    ({"X": half(0, 3), "y": half(0)}, ["X", "at least one"]),
])
def test_mean_over_nothing(method, changes, words):
    net, optimizer = MLP(SIZES, seed=0), Adam()
    before = state(net, optimizer)
    arguments = {**GOOD, "optimizer": optimizer, **changes, "reduction": "mean"}
    refused(lambda: getattr(net, method)(**{name: arguments[name] for name in METHODS[method]}),
            ValueError, *words)
    assert state(net, optimizer) == before


@pytest.mark.parametrize("bad", OUTPUTS)
@pytest.mark.parametrize("method", ["forward", "logits"])
def test_out_of_a_network(method, bad, dtype):
    make, kind, word = OUTPUTS[bad]
    out = make((N, 1), dtype)
    before = np.array(out)
    net = MLP(SIZES, dtype=dtype)
    refused(lambda: getattr(net, method)(GOOD["X"], out), kind, "out", word)
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("method", ["forward", "logits"])
def test_out_of_a_network_that_overlaps(method):
    net = MLP(SIZES, dtype="float64", seed=0)
    run = getattr(net, method)
    memory = half(100)
    X, strided = memory[:15].reshape(N, 3), memory[:30].reshape(N, 6)[:, ::2]
    for inputs in (X, strided):
        refused(lambda inputs=inputs: run(inputs, memory[3:8].reshape(N, 1)),
                ValueError, "out", "overlaps", "X")
    before = net.params.copy()
    refused(lambda: run(half(N, 3), net.params[:N].reshape(N, 1)),
            ValueError, "out", "overlaps", "params")
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nan_and_infinity_propagate(reduction, dtype):
    """They are no error, and they stay in their row."""
    net = MLP(SIZES, dtype=dtype, seed=0)
    X = np.array(GOOD["X"])
    X[1, 0], X[2, 0] = np.nan, np.inf
    h, finite = net.forward(X), net.forward(GOOD["X"])
    assert np.isnan(h[1, 0])
    np.testing.assert_array_equal(h[[0, 3, 4]], finite[[0, 3, 4]])
    assert np.isnan(net.backprop(X, GOOD["y"], reduction=reduction))
    assert np.isnan(net.grad).any()
    net.params[:] = np.nan
    assert np.isnan(net.forward(GOOD["X"])).all()


def test_no_samples(dtype):
    """The sum over no samples is zero, and so is its gradient."""
    net = MLP(SIZES, dtype=dtype, seed=0)
    X, y = np.zeros((0, 3)), np.zeros(0)
    net.grad[:] = 7
    assert net.forward(X).shape == net.logits(X).shape == (0, 1)
    assert net.backprop(X, y) == 0 == net.loss_value(X, y)
    assert not net.grad.any()
    for twin in (fastbp, reference):
        loss, dW, db = twin.backprop(net.weights, net.biases, X, y)
        assert loss == 0 and not any(g.any() for g in (*dW, *db))


@pytest.mark.parametrize("change", [
    lambda a: a.astype("float64"), lambda a: a.astype("int8"), lambda a: a.astype(bool),
    lambda a: a.astype(">f4"), np.asfortranarray, lambda a: a[::-1].copy()[::-1],
    lambda a: np.repeat(a, 2, axis=-1)[..., ::2], lambda a: np.broadcast_to(a, a.shape),
    lambda a: a.tolist(),
])
def test_another_dtype_or_layout_is_converted(change):
    rng = np.random.default_rng(0)
    X, y, w = (rng.integers(0, 2, s).astype("float32") for s in ((N, 3), (N, 1), N))
    net = MLP(SIZES, seed=0)
    expected = net.backprop(X, y, sample_weight=w), net.grad.copy()
    net.grad[:] = 7
    assert net.backprop(change(X), change(y), sample_weight=change(w)) == expected[0]
    np.testing.assert_array_equal(net.grad, expected[1])


# ---- the recursion


@pytest.mark.parametrize(("changes", "words"), [
    ({"activations": "sigmoid"}, ["activations", "one name for each"]),
    ({"activations": ["sigmoid"]}, ["activations", "2 layers"]),
    ({"activations": ["sigmoid", "gelu"]}, ["activations", "'gelu'", "'sigmoid'"]),
    ({"activations": ["sigmoid", None]}, ["activations", "'sigmoid'"]),
    ({"layout": "xy"}, ["layout", "'io'", "'oi'"]),
])
def test_layers(changes, words):
    arguments = {"activations": ["sigmoid"] * 2, **changes}
    refused(lambda: Layers(SIZES, **arguments), ValueError, *words)


def test_activations_that_are_no_sequence():
    refused(lambda: Layers(SIZES, None), TypeError, "activations", "sequence")


def layers_arguments():
    return {"weights": [half(3, 4), half(4, 1)], "biases": [half(4), half(1)], "X": half(N, 3),
            "grad_output": half(N, 1), "weight_grads": [half(3, 4), half(4, 1)],
            "bias_grads": [half(4), half(1)], "input_grad": half(N, 3)}


FORWARD = ["weights", "biases", "X"]
BACKWARD = ["grad_output", "weight_grads", "bias_grads", "input_grad"]


def run_layers(layers, arguments):
    layers.forward(*(arguments[name] for name in FORWARD))
    layers.backward(*(arguments[name] for name in BACKWARD))


@pytest.mark.parametrize(("argument", "value", "kind", "words"), [
    *[(name, None, TypeError, [name, "sequence"])
      for name in ("weights", "biases", "weight_grads", "bias_grads")],
    *[(name, [half(3, 4)], ValueError, [name, "1 array", "2"])
      for name in ("weights", "biases", "weight_grads", "bias_grads")],
    ("weights", [half(4, 3), half(4, 1)], ValueError, ["weights[0]", "(4, 3)", "(3, 4)"]),
    ("weights", [half(3, 4), half(4)], ValueError, ["weights[1]", "(4,)", "(4, 1)"]),
    ("weights", [half(3, 4), np.full((4, 1), "a")], TypeError, ["weights[1]", "dtype"]),
    ("biases", [half(4), half(1, 1)], ValueError, ["biases[1]", "(1, 1)", "(1,)"]),
    ("biases", [half(4), np.zeros(1, complex)], TypeError, ["biases[1]", "dtype"]),
    ("X", half(N, 2), ValueError, ["X", "(5, 2)", "(n_samples, 3)"]),
    ("X", half(3), ValueError, ["X", "(3,)", "(n_samples, 3)"]),
    ("X", None, TypeError, ["X", "dtype"]),
    ("grad_output", half(N), ValueError, ["grad_output", "(5,)", "(5, 1)"]),
    ("grad_output", half(N + 1, 1), ValueError, ["grad_output", "(6, 1)", "(5, 1)"]),
    ("grad_output", None, TypeError, ["grad_output", "dtype"]),
])
def test_arguments_of_layers(argument, value, kind, words):
    """What `forward` saw before stays good for `backward`."""
    layers = Layers(SIZES, ["sigmoid"] * 2, dtype="float64")
    arguments = layers_arguments()
    run_layers(layers, arguments)
    outputs = pickle.dumps([arguments[name] for name in BACKWARD])
    refused(lambda: run_layers(layers, {**arguments, argument: value}), kind, *words)
    assert pickle.dumps([arguments[name] for name in BACKWARD]) == outputs
    layers.backward(*(arguments[name] for name in BACKWARD))
    assert pickle.dumps([arguments[name] for name in BACKWARD]) == outputs


@pytest.mark.parametrize("bad", OUTPUTS)
@pytest.mark.parametrize("argument", ["weight_grads", "bias_grads", "input_grad"])
def test_outputs_of_layers(argument, bad):
    make, kind, word = OUTPUTS[bad]
    layers, arguments = Layers(SIZES, ["sigmoid"] * 2, dtype="float64"), layers_arguments()
    if argument == "input_grad":
        arguments[argument] = make((N, 3), "float64")
    else:
        arguments[argument][0] = make(arguments[argument][0].shape, "float64")
    before = [np.array(a) for name in BACKWARD[1:3] for a in arguments[name]]
    refused(lambda: run_layers(layers, arguments), kind, argument, word)
    for a, b in zip(arguments["weight_grads"] + arguments["bias_grads"], before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("read", ["weights", "biases", "X", "grad_output"])
@pytest.mark.parametrize("written", ["weight_grads", "bias_grads", "input_grad"])
def test_outputs_of_layers_that_overlap_an_input(written, read, layout):
    layers, arguments = Layers(SIZES, ["sigmoid"] * 2, dtype="float64"), layers_arguments()
    memory = half(64)

    def place(name, at, step=1):
        a = arguments[name][0] if isinstance(arguments[name], list) else arguments[name]
        a = memory[at:at + step * a.size:step].reshape(a.shape)
        arguments[name] = [a, arguments[name][1]] if isinstance(arguments[name], list) else a

    place(written, 1)
    place(read, 0, 2 if layout == "strided" else 1)
    refused(lambda: run_layers(layers, arguments), ValueError, written, "overlaps", read)
    assert (memory == 0.5).all()


# ---- optimizers, the machine


@pytest.mark.parametrize(("kind_of_optimizer", "changes", "kind", "words"), [
    *[(k, {"lr": bad}, ValueError, ["lr", "above 0"])
      for k in (SGD, Adam, reference.SGD, reference.Adam) for bad in (0, -1.0, np.nan, np.inf)],
    *[(k, {"lr": bad}, TypeError, ["lr", "number"])
      for k in (SGD, Adam, reference.SGD, reference.Adam) for bad in ("1", None, True)],
    *[(k, {"weight_decay": -1}, ValueError, ["weight_decay", "at least 0"])
      for k in (SGD, Adam, reference.SGD, reference.Adam)],
    *[(k, {"momentum": bad}, ValueError, ["momentum", "[0, 1)"])
      for k in (SGD, reference.SGD) for bad in (1, -0.1, np.nan)],
    *[(k, {"nesterov": 1}, TypeError, ["nesterov", "True or False"])
      for k in (SGD, reference.SGD)],
    *[(k, {"nesterov": True}, ValueError, ["nesterov", "momentum", "above 0"])
      for k in (SGD, reference.SGD)],
    *[(k, {"betas": (0.9, 1.0)}, ValueError, ["betas[1]", "[0, 1)"])
      for k in (Adam, reference.Adam)],
    *[(k, {"betas": (-0.1, 0.9)}, ValueError, ["betas[0]", "[0, 1)"])
      for k in (Adam, reference.Adam)],
    *[(k, {"betas": (0.9,)}, ValueError, ["betas", "two"]) for k in (Adam, reference.Adam)],
    *[(k, {"betas": 0.9}, TypeError, ["betas", "sequence"]) for k in (Adam, reference.Adam)],
    *[(k, {"eps": bad}, ValueError, ["eps", "above 0"])
      for k in (Adam, reference.Adam) for bad in (0, -1e-8, np.nan)],
    *[(k, {"eps_hat": 1}, TypeError, ["eps_hat", "True or False"])
      for k in (Adam, reference.Adam)],
])
def test_hyper_parameters(kind_of_optimizer, changes, kind, words):
    refused(lambda: kind_of_optimizer(**changes), kind, *words)


@pytest.mark.parametrize("kind_of_optimizer", [SGD, Adam])
def test_lr_stays_as_it_was(kind_of_optimizer):
    optimizer = kind_of_optimizer(lr=0.5)
    for bad, kind in ((0, ValueError), ("1", TypeError)):
        refused(lambda bad=bad: setattr(optimizer, "lr", bad), kind, "lr")
    assert optimizer.lr == 0.5


@pytest.mark.parametrize("kind_of_optimizer", [SGD, Adam, reference.SGD, reference.Adam])
@pytest.mark.parametrize(("params", "grad", "kind", "words"), [
    (half(3).tolist(), half(3), TypeError, ["params", "list"]),
    (half(3), half(3).tolist(), TypeError, ["grad", "list"]),
    (np.ma.zeros(3), half(3), TypeError, ["params", "MaskedArray"]),
    (np.zeros(3, int), half(3), TypeError, ["params", "int64", "float32"]),
    (np.zeros(3, complex), half(3), TypeError, ["params", "complex128", "float32"]),
    (half(3), half(3, dtype="float32"), TypeError, ["grad", "float32", "float64"]),
    (half(3), half(2), ValueError, ["grad", "(2,)", "(3,)"]),
    (half(3, 1), half(3, 1), ValueError, ["params", "(3, 1)", "(n_params,)"]),
    (np.broadcast_to(half(3), 3), half(3), ValueError, ["params", "writable"]),
    (half(6)[::2], half(3), ValueError, ["params", "C-contiguous"]),
    (half(3), half(6)[::2], ValueError, ["grad", "C-contiguous"]),
])
def test_arrays_of_a_step(kind_of_optimizer, params, grad, kind, words):
    refused(lambda: kind_of_optimizer().step(params, grad), kind, *words)
    assert (np.asarray(params) == np.asarray(params).flat[0]).all()


@pytest.mark.parametrize("kind_of_optimizer", [SGD, Adam, reference.SGD, reference.Adam])
def test_a_gradient_that_overlaps_the_parameters(kind_of_optimizer):
    memory = np.arange(9.0)
    refused(lambda: kind_of_optimizer().step(memory[:8], memory[1:]),
            ValueError, "grad", "overlaps")
    np.testing.assert_array_equal(memory, np.arange(9.0))


@pytest.mark.parametrize("bad", [
    {"lr": 0}, {"lr": "a"}, {"t": -1}, {"t": 1.5}, {"t": "a"}, {"t": 2**70}, {"betas": 3},
    {"m": half(2)}, {"m": half(3, dtype="float32")}, {"m": half(3, 1)}, {"m": None},
    {"m": np.zeros(3, complex)}, {"unknown": 1}, {"beta_powers": (0.5,)}, {"beta_powers": 0.5},
    {"beta_powers": (0.5, 1.5)}, "lr", "v", SGD().state_dict(), None, 3])
def test_a_state_dict_that_does_not_fit(bad):
    optimizer, params = Adam(lr=0.5), np.ones(3)
    optimizer.step(params, half(3))
    given = optimizer.state_dict()
    before = repr((optimizer, given))
    if isinstance(bad, str):
        del given[bad]
    elif bad is None or bad == 3 or "nesterov" in bad:
        given = bad
    else:
        given = {**given, "lr": 0.25, **bad}
    with pytest.raises((TypeError, ValueError), match="should"):
        optimizer.load_state_dict(given)
    assert repr((optimizer, optimizer.state_dict())) == before


@pytest.mark.parametrize(("bad", "kind"), [(0, ValueError), (-1, ValueError), (1.5, ValueError),
                                           ("2", TypeError), (True, TypeError)])
def test_set_num_threads(bad, kind):
    before = fastbp.get_num_threads()
    refused(lambda: fastbp.set_num_threads(bad), kind, "integer of at least 1")
    assert fastbp.get_num_threads() == before


@pytest.mark.parametrize("bad", ["dictionary", None, 1])
def test_show_config(bad, capsys):
    refused(lambda: fastbp.show_config(bad), ValueError, "mode", "'print'", "'dict'")
    assert capsys.readouterr().out == ""


# ---- nothing crashes


def run(code):
    """The output of ``code`` in a process of its own, which must live to the end."""
    root = Path(fastbp.__file__).parents[1]
    prelude = f"import sys; sys.path.insert(0, {str(root)!r}); import fastbp, numpy as np\n"
    ended = subprocess.run([sys.executable, "-c", prelude + code], capture_output=True, text=True,
                           timeout=60)
    assert ended.returncode == 0, f"exit status {ended.returncode}: {ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize("code", [
    # a scalar of the network's own dtype
    "net = fastbp.MLP([2, 1]); net.backprop(np.ones((1, 2), 'f'), np.array(1, 'f'))",
    # subclasses that forget super().__init__()
    "type('Net', (fastbp.MLP,), {'__init__': lambda self: None})().forward(np.ones((1, 0)))",
    "type('Net', (fastbp.MLP,), {'__init__': lambda self: None})().backprop("
    "np.ones((1, 0)), np.ones((1, 0)))",
    "type('Net', (fastbp.Layers,), {'__init__': lambda self: None})().forward("
    "[], [], np.ones((1, 0)))",
    # memory that goes away
    "o, p = fastbp.Adam(), np.ones(10**6); o.step(p, p.copy())\n"
    "getattr(o, 'state', {}).clear(); o.step(p, p.copy()); raise ValueError",
])
def test_no_crash(code):
    guarded = "\n".join(f"    {line}" for line in code.splitlines())
    out = run(f"try:\n{guarded}\nexcept Exception as error: print(type(error).__name__)")
    assert out.strip() in ("ValueError", "TypeError", "RuntimeError", "AttributeError")


def test_a_state_that_is_exchanged_during_a_step():
    assert run("""
import threading
optimizer, p = fastbp.Adam(), np.ones(10**5)
optimizer.step(p, p.copy())
saved, going = optimizer.state_dict(), True
def steps():
    while going:
        try: optimizer.step(p, p)
        except RuntimeError: pass
thread = threading.Thread(target=steps)
thread.start()
for _ in range(300):
    try: optimizer.load_state_dict(saved)
    except RuntimeError: pass
going = False
thread.join()
print("alive")
""").strip() == "alive"


def test_no_memory_for_the_workspace():
    """A block of 256 rows and 10^6 units needs gigabytes; the network is as it was."""
    out = run("""
import resource
net = fastbp.MLP([1, 10**6, 1], seed=0)
X, y = np.ones((256, 1), "f"), np.ones(256)
before = net.params.copy()
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**28, resource.RLIM_INFINITY))
for call in (lambda: net.forward(X), lambda: net.loss_value(X, y), lambda: net.backprop(X, y),
             lambda: net.value_and_grad(net.params, X, y),
             lambda: net.train_epoch(X, y, fastbp.SGD(), batch_size=256)):
    try: call()
    except MemoryError: print("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert (net.params == before).all() and not net.grad.any()
net.backprop(X[:1], y[:1])
assert net.grad.any()
""") if sys.platform == "linux" else pytest.skip("needs RLIMIT_AS")
    assert out.split() == ["MemoryError"] * 5


# ---- arbitrary arguments

# Sums and products of these are exact in float32, so twins agree to the bit wherever both of them
# only add and multiply.
VALUES = [0.0, 0.25, 0.5, 1.0, 1.0, 0.0, -1.0, 2.0, -3.0, np.nan, np.inf]
DTYPES = ["float32", "float64", "float32", "float64", "bool", "int8", "uint64", "float16",
          "longdouble", ">f4", ">f8", "complex64", "object", "U3", "M8[s]"]
JUNK = [None, "a", 1, 0.5, True, [], [[]], [1, [2]], {}, object(), b"x", np.ma.zeros(2), 2**70]


@st.composite
def arrays(draw, shape):
    """Mostly an array of ``shape``; else of another shape, dtype or layout, or none at all."""
    odd = draw(st.integers(0, 39))
    if odd == 0:
        return draw(st.sampled_from(JUNK))
    if odd == 1:
        shape = draw(st.lists(st.integers(0, 4), max_size=3).map(tuple))
    dtype = draw(st.sampled_from(DTYPES if odd == 2 else DTYPES[:4]))
    tame = 6 if draw(st.integers(0, 5)) else len(VALUES)  # the first six are targets, too
    size = int(np.prod(shape))
    values = draw(st.lists(st.sampled_from(VALUES[:tame]), min_size=size, max_size=size))
    with np.errstate(invalid="ignore"):
        array = np.array(values, "float64").reshape(shape).astype(dtype)
    layout = draw(st.integers(0, 9))
    if layout == 0:
        array = np.asfortranarray(array)
    elif layout == 1 and array.ndim:
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif layout == 2 and array.ndim:
        array = array[::-1].copy()[::-1]
    elif layout == 3:
        array.flags.writeable = False
    elif layout == 4:
        array = array.tolist()
    return array


def outcome(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except (TypeError, ValueError, MemoryError) as error:
        assert str(error)
        return type(error)


def same(a, b):
    np.testing.assert_array_equal(a, b)
    assert np.asarray(a).dtype == np.asarray(b).dtype


def close(a, b, units, scale):
    """|a − b| ≤ units · u · scale, or both NaN; u is the roundoff of a's dtype."""
    assert a.dtype == b.dtype and a.shape == b.shape
    info = np.finfo(a.dtype)
    ok = np.abs(a - b) <= units * (info.eps / 2 * np.abs(scale) + info.smallest_subnormal)
    assert np.all(ok | (a == b) | np.isnan(a) & np.isnan(b))


dims = st.integers(0, 4)
fuzzed = settings(max_examples=150, deadline=None, derandomize=True)


@fuzzed
@given(st.data(), dims, dims, dims)
@np.errstate(all="ignore")
def test_any_arguments_of_the_equations(data, n, fan_in, fan_out):
    """Either the twins give the same, within what `oracle` grants each, or both refuse alike."""
    def draw(*shape):
        return data.draw(arrays(shape))

    both = [f(z) for z in [draw(n, fan_in)] for f in (
        lambda z: outcome(fastbp.sigmoid, z), lambda z: outcome(reference.sigmoid, z))]
    if isinstance(both[0], type) or isinstance(both[1], type):
        assert both[0] is both[1]
    else:
        close(*both, FASTBP.sigma + NUMPY.sigma + 1, both[1])

    # here both round once: products of the values are exact
    for name, args in (
            ("sigmoid_backward", (draw(n, fan_in), draw(n, fan_in))),
            ("delta_step", (draw(n, fan_out), draw(fan_in, fan_out), draw(n, fan_in))),
            ("weight_grad", (draw(n, fan_in), draw(n, fan_out)))):
        fast, slow = (outcome(getattr(twin, name), *args) for twin in (fastbp, reference))
        if isinstance(fast, type) or isinstance(slow, type):
            assert fast is slow, name
        else:
            for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (fast, slow)),
                            strict=True):
                same(a, b)

    args = draw(n, fan_out), draw(n, fan_out), data.draw(st.none() | arrays((n,)))
    fast, slow = (outcome(twin.bce_with_logits, *args) for twin in (fastbp, reference))
    if isinstance(fast, type) or isinstance(slow, type):
        assert fast is slow
    else:
        # δ is within its units of M ≤ 1, and each of the two rounds δ times the weight once
        weight = 1 if args[2] is None else np.max(np.asarray(args[2], float), initial=0)
        close(fast[1], slow[1], FASTBP.delta + NUMPY.delta + 3, weight)


@fuzzed
@given(st.data(), dims, st.sampled_from(["float32", "float64"]))
@np.errstate(all="ignore")
def test_any_arguments_of_a_network(data, n, dtype):
    """A call is refused and leaves everything as it was, or it does what the functions do."""
    net, optimizer = MLP([2, 3, 1], dtype=dtype, seed=0), SGD()
    X, y = data.draw(arrays((n, 2))), data.draw(arrays((n, 1)) | arrays((n,)))
    w = data.draw(st.none() | arrays((n,)))
    reduction = data.draw(st.sampled_from(["sum", "mean", "sum", "mean", "max", None]))
    params = net.params.copy()

    loss = outcome(net.backprop, X, y, sample_weight=w, reduction=reduction)
    twin = outcome(fastbp.backprop, net.weights, net.biases, X, y, sample_weight=w,
                   reduction=reduction)
    if isinstance(loss, type):
        assert isinstance(twin, type) and not net.grad.any()
    elif dtype == "float64" or twin[1][0].dtype == "float32":
        same(loss, twin[0])
        same(net.grad, np.concatenate([g.ravel() for pair in zip(*twin[1:], strict=True)
                                       for g in pair]))
    value = outcome(net.loss_value, X, y, sample_weight=w, reduction=reduction)
    assert value is loss if isinstance(loss, type) else np.array_equal(value, loss, equal_nan=True)
    np.testing.assert_array_equal(net.params, params)

    permutation = st.permutations(range(n))
    order = data.draw(permutation | permutation | permutation | arrays((n,)))
    size = data.draw(st.sampled_from([1, 2, 3, 4, 5, 2**62, 2**70, 0, -1, "1", None]))
    step_by_step = pickle.loads(pickle.dumps(net))
    epoch = outcome(net.train_epoch, X, y, optimizer, batch_size=size, order=order,
                    sample_weight=w)
    if not isinstance(epoch, type):
        for at in range(0, n, size):
            rows = np.asarray(order)[at:at + size]
            weights = None if w is None else np.asarray(w)[rows]
            if weights is None or weights.any():
                step_by_step.backprop(np.asarray(X)[rows], np.asarray(y)[rows],
                                      sample_weight=weights, reduction="mean")
                SGD().step(step_by_step.params, step_by_step.grad)
    np.testing.assert_array_equal(net.params, step_by_step.params)
