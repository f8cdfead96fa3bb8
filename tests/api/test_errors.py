"""Functions refuse what does not fit: the right exception, a message that names the argument and
says what would fit, and nothing changed. Their twins do the same."""

import numpy as np
import pytest
from errors import KINDS, OUTPUTS, TWINS, half, refused

import fastbp
from fastbp import reference


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
    ("backprop", "biases[0]", (3,), "transposed"),
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


@pytest.mark.parametrize(("name", "changes"), [
    ("delta_step", {"delta_next": half(4, 2, 1)}), ("delta_step", {"delta_next": half()}),
    ("backprop", {"X": half(0, 3), "y": None, "reduction": "mean"}),
    ("softmax_with_logits", {"z": half(4, 0), "y": half(4)}),
])
def test_twins_say_the_same(name, changes):
    """They report the same one of several faults, in the same words."""
    found = []
    for twin in (fastbp, reference):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(twin, name, **changes) if name in fitting() else getattr(twin, name)(**changes)
        found.append((caught.type, str(caught.value)))
    assert found[0] == found[1]


@TWINS
def test_a_weight_of_no_outputs(twin):
    refused(lambda: twin.bce_with_logits(half(4, 0), half(4, 0), pos_weight=-1),
            ValueError, "pos_weight is -1.0", "above 0")


@TWINS
@pytest.mark.parametrize("name, hint", [
    ("mse", "'squared_error' is half the square, summed over the outputs"),
    ("MSE", "'squared_error' is half the square"),
    ("cross_entropy", "'softmax' is that of one class among several, 'bce' is that of each"),
    ("binary_crossentropy", "'bce' is that of each output by itself")])
def test_losses_of_other_libraries(twin, name, hint):
    refused(lambda: twin.backprop([half(2, 1)], [half(1)], half(3, 2), half(3), loss=name),
            ValueError, f"loss is {name!r}; it should be one of 'bce', ", hint)


@pytest.mark.parametrize("name", ["X", "y"])
def test_rows_of_different_lengths(name):
    given = {"X": half(2, 2), "y": half(2), name: [[1.0, 2.0], [1.0]]}
    with pytest.raises(ValueError) as caught:
        fastbp.MLP([2, 1]).backprop(**given)
    assert str(caught.value) == (f"{name} cannot be read as an array of real numbers: its entries "
                                 "have different lengths")


def test_an_activation_of_the_outputs():
    refused(lambda: fastbp.MLP([2, 2, 1], activation=["tanh", "identity"]), ValueError,
            "activation has 2 names; it should have 1, one for each hidden layer; that of the "
            "outputs comes from loss")


@pytest.mark.parametrize("call, words", [
    (lambda: fastbp.MLP([2, 2, 1], activation=["tanh"] * 2), "2 names; it should have 1"),
    (lambda: fastbp.MLP([2, 2, 2, 1], activation=["tanh"]), "1 name; it should have 2"),
    (lambda: fastbp.Layers([2, 1], ["tanh"] * 2), "list 1 name, one for each layer"),
    (lambda: fastbp.Adam(betas=[0.9]), "betas has 1 entry; it should have two"),
    (lambda: fastbp.backprop([half(2, 1)], [], half(3, 2), half(3)), "1 array and biases has 0"),
    (lambda: fastbp.MLP([2, 1], loss="squared_error", class_weight=[1, 2]), "with 1 output it")])
def test_one_is_no_plural(call, words):
    refused(call, ValueError, words)
