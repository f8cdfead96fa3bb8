"""`Layers`, optimizers and the machine refuse what does not fit: the right exception, a message
that names the argument and says what would fit, and nothing changed."""

import copy
import pickle

import numpy as np
import pytest
from errors import OUTPUTS, half, refused

import fastbp
from fastbp import SGD, Adam, Layers, reference

SIZES, N = (3, 4, 1), 5


@pytest.mark.parametrize(("changes", "words"), [
    ({"activations": "sigmoid"}, ["activations", "2 names, one for each layer"]),
    ({"activations": ["sigmoid"]}, ["activations", "2 names, one for each layer"]),
    ({"activations": ["sigmoid", "gelu"]}, ["activations[1] is 'gelu'", "'sigmoid'"]),
    ({"activations": ["sigmoid", None]}, ["activations[1] is None", "'sigmoid'"]),
    ({"layout": "xy"}, ["layout", "'io'", "'oi'"]),
])
def test_layers(changes, words):
    arguments = {"activations": ["sigmoid"] * 2, **changes}
    refused(lambda: Layers(SIZES, **arguments), ValueError, *words)


def test_activations_that_are_no_sequence():
    refused(lambda: Layers(SIZES, None), TypeError, "activations", "sequence")
    for unordered in ({"sigmoid", "tanh"}, frozenset(["sigmoid", "tanh"])):
        refused(lambda names=unordered: Layers(SIZES, names), TypeError, "activations", "sequence")


def layers_arguments():
    return {"weights": [half(3, 4), half(4, 1)], "biases": [half(4), half(1)], "X": half(N, 3),
            "grad_output": half(N, 1), "weight_grads": [half(3, 4), half(4, 1)],
            "bias_grads": [half(4), half(1)], "input_grad": half(N, 3)}


FORWARD = ["weights", "biases", "X"]
BACKWARD = ["grad_output", "weight_grads", "bias_grads", "input_grad"]


def run_layers(layers, arguments):
    layers.forward(*(arguments[name] for name in FORWARD))
    layers.backward(*(arguments[name] for name in BACKWARD))


def test_outputs_of_the_other_dtype_say_what_would_fit_them():
    refused(lambda: run_layers(Layers(SIZES, ["sigmoid"] * 2), layers_arguments()), TypeError,
            "weight_grads[0] has dtype float64; it should have dtype float32, or Layers be made "
            "with dtype='float64'")
    arguments = {**layers_arguments(), "weight_grads": [half(*shape, dtype="int64")
                                                        for shape in ((3, 4), (4, 1))]}
    with pytest.raises(TypeError, match="has dtype int64; it should have dtype float64$"):
        run_layers(Layers(SIZES, ["sigmoid"] * 2, dtype="float64"), arguments)


class Closed(np.ndarray):
    def __array_function__(self, *args, **kwargs):
        raise AssertionError("a function was called")


@pytest.mark.parametrize("l", [0, 1])
def test_a_subclass_of_ndarray_is_named(l):
    """Without a function of NumPy's, which is the subclass's to answer."""
    arguments = layers_arguments()
    arguments["weight_grads"][l] = arguments["weight_grads"][l].view(Closed)
    refused(lambda: run_layers(Layers(SIZES, ["sigmoid"] * 2, dtype="float64"), arguments),
            TypeError, f"weight_grads[{l}] is of type Closed")


@pytest.mark.parametrize("argument", ["X", "y", "sample_weight"])
def test_a_ragged_list_is_named(argument):
    """Where it is first looked at, too: as what an array to write to might overlap."""
    layers, a = Layers((3, 1), ["identity"], dtype="float64"), layers_arguments()
    given = {"weights": [half(3, 1)], "biases": [half(1)], "X": a["X"], "y": half(N, 1),
             "weight_grads": [half(3, 1)], "bias_grads": [half(1)]}
    with pytest.raises(ValueError, match=f"^{argument} cannot be read as an array of real numbers"):
        layers.loss_and_grad(**{**given, argument: [[1], [1, 2]]})


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
    *[(k, {"betas": bad}, TypeError, ["betas", "sequence"])
      for k in (Adam, reference.Adam) for bad in (0.9, memoryview(half(2, 2)))],
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
    {"beta_powers": (0.5, 1.5)}, "lr", "v", SGD().state_dict(), None, 3,
    {"v": np.array([0, -0.5, 0])}, {"v": np.array([0, 0, np.nan])},
    {"v": np.array([0, -np.inf, 0])}, {"m": np.array([0, np.nan, 0])},
    {"m": np.array([np.inf, 0, 0])},
    {"beta_powers": (0.0, 0.999)}, {"beta_powers": (0.9, 0.9989)}, {"t": 2}])
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


@pytest.mark.parametrize("name", ["momentum", "betas"])
def test_a_state_whose_vectors_are_missing_after_a_step(name):
    optimizer = SGD(0.5, momentum=0.5) if name == "momentum" else Adam(0.5)
    optimizer.load_state_dict(optimizer.state_dict())       # before a step: no vectors
    state = {**optimizer.state_dict(), "t": 1}
    if name == "betas":
        state["beta_powers"] = state["betas"]
    refused(lambda: optimizer.load_state_dict(state),
            ValueError, "state_dict has t = 1 and lacks", "v")
    assert optimizer.t == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_velocities_that_are_not_finite(bad):
    optimizer = SGD(0.5, momentum=0.5)
    optimizer.step(np.ones(3), half(3))
    given = {**optimizer.state_dict(), "v": np.array([0, 1, bad])}
    refused(lambda: optimizer.load_state_dict(given), ValueError, f"v has {bad} at position 2")


def test_states_that_steps_lead_to():
    """Squares that overflow, powers of many roundings and down to what 0.5 and 0.9 end at."""
    optimizer, grad = Adam(0.5, betas=(0.5, 0.9)), np.full(3, 1e30, "f4")
    for n_steps in (1, 7, 1100, 8000):
        for _ in range(n_steps):
            optimizer.step(np.ones(3, "f4"), grad)
        state = optimizer.state_dict()
        assert (state["v"] == np.inf).all()
        other = Adam()
        other.load_state_dict(state)
        assert repr(other.state_dict()) == repr(state)


@pytest.mark.parametrize("kind", [lambda: SGD(0.5, momentum=0.5), lambda: Adam(0.5)])
def test_an_optimizer_of_a_run_that_diverged_is_copied(kind):
    """As it is; a state of NaN is refused only where it is loaded into another."""
    optimizer = kind()
    optimizer.step(np.ones(3), np.array([np.nan, 1, np.inf]))
    for other in (copy.copy(optimizer), copy.deepcopy(optimizer),
                  pickle.loads(pickle.dumps(optimizer))):
        assert repr(other.state_dict()) == repr(optimizer.state_dict())
    refused(lambda: kind().load_state_dict(optimizer.state_dict()), ValueError, "has nan at")


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
