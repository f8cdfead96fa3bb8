"""A call with too few, too many or misspelt arguments says which are missing, which there are, and
which was meant; and weights in the other layout, that they look transposed."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from errors import TWINS, half, refused

import fastbp
from fastbp import MLP, SGD, Adam, Layers, Population, datasets, io, reference
from fastbp._command.main import main
from fastbp.sklearn import MLPClassifier, MLPRegressor
from tests.api.test_signatures import SIGNATURES, public

net = MLP([2, 1], seed=0)
OBJECTS = {"MLP": net, "Population": Population(2, [2, 1], seeds=0),
           "Layers": Layers([2, 1], ["tanh"]), "SGD": SGD(), "Adam": Adam()}


def calls():
    """{name in errors: (callable, its signature)} of every public function, class and method."""
    found = {}
    for name in SIGNATURES:
        owner, _, method = name.rpartition(".")
        call = getattr(OBJECTS[owner], method) if owner else public(name)
        found[name] = call
    for name in (*reference.__all__, *(f"{kind}.step" for kind in ("SGD", "Adam"))):
        owner, _, method = name.rpartition(".")
        found[f"reference.{name}"] = getattr(getattr(reference, owner)() if owner else reference,
                                             method)
    for kind in (MLPClassifier, MLPRegressor):
        found[kind.__name__] = kind
        for method in ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba",
                       "input_gradient"):
            if hasattr(kind, method):
                found[f"{kind.__name__}.{method}"] = getattr(kind(), method)
    found["f"] = net.objective([[1, 2]], [1])
    for method in ("hvp", "gnvp"):
        found[f"Linearization.{method}"] = getattr(net.linearize([[1, 2]], [1]), method)
    for function in (io.save_model, io.load_model, datasets.read_table,
                     datasets.load_breast_cancer, main):
        found[function.__name__] = function
    found["SavedModel.forward"] = io.SavedModel(net, 0, 1, (), (), "").forward
    return found


CALLS = calls()
each_call = pytest.mark.parametrize("name", CALLS)


def parameters(name):
    if name == "f":
        return {"params": inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)}
    found = dict(inspect.signature(CALLS[name]).parameters)
    found.pop("self", None)
    return found


def required(name):
    return [p.name for p in parameters(name).values() if p.default is p.empty]


def says(name, *args, **named):
    """What is said of a call, after the name of what was called."""
    with pytest.raises(TypeError) as caught:
        CALLS[name](*args, **named)
    message, called = str(caught.value), name.removeprefix("reference.")
    assert message.startswith(f"{called} "), message
    assert caught.value.__context__ is None
    if name in SIGNATURES:                  # how it should be called
        usage = SIGNATURES[name].replace("(self, ", "(").replace("(self)", "()")
        assert message.endswith(f"; the call should be {called.rpartition('.')[2]}{usage}")
    else:
        assert f"; the call should be {called.rpartition('.')[2]}(" in message
    return message[len(called) + 1:].partition("; the call")[0]


NO_ARGUMENTS = ("get_isa", "available_isas")    # "f() takes no arguments (1 given)" says it all


@each_call
def test_too_few(name):
    names = required(name)
    for n in range(len(names)):
        assert says(name, *[None] * n) == f"lacks {', '.join(names[n:])}"
        if n:                               # the first by name, or the last alone
            assert says(name, **{names[0]: None}) == f"lacks {', '.join(names[1:])}"
            assert says(name, **{names[-1]: None}) == f"lacks {', '.join(names[:-1])}"


@each_call
def test_too_many(name):
    if name in NO_ARGUMENTS:
        with pytest.raises(TypeError, match=rf"{name}\(\) takes no arguments \(1 given\)"):
            CALLS[name](None)
        return
    places = [p for p in parameters(name).values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    plural = "s" * (len(places) != 1)
    for n in (len(places) + 1, len(places) + 30):
        assert says(name, *[None] * n) == (
            f"takes {len(places)} argument{plural} by position and got {n}")
    if places:
        assert says(name, *[None] * len(places), **{places[0].name: None}) == (
            f"got {places[0].name!r} both by position and by name")


@each_call
def test_misspelt(name):
    if name in NO_ARGUMENTS:
        with pytest.raises(TypeError, match=rf"{name}\(\) takes no keyword arguments"):
            CALLS[name](isa=None)
        return
    for known in parameters(name):
        wrong = f"{known}_{known[-1]}" if len(known) > 1 else known.swapcase()
        if wrong in parameters(name):       # both V and v
            continue
        assert says(name, **{wrong: None}) == f"has no argument {wrong!r} (did you mean {known!r}?)"
    given = [None] * len(required(name))
    assert says(name, *given, quixotic=None) == "has no argument 'quixotic'"


@pytest.mark.parametrize("function, other, here", [
    (Adam, "learning_rate", "lr"), (MLP.fit, "lr", "optimizer"), (MLP.fit, "clip", "max_norm"),
    (MLP.fit, "verbose", "progress"), (MLP.fit, "early_stopping", "patience"),
    (MLP.fit, "max_iter", "epochs"), (MLP.fit, "validation_split", "validation_rows"),
    (MLP, "random_state", "seed"), (MLP.train_epoch, "random_state", "rng")],
    ids=lambda value: getattr(value, "__qualname__", value))
def test_names_of_other_libraries(function, other, here):
    with pytest.raises(TypeError) as caught:
        function(**{other: 0})
    assert f"has no argument {other!r} (did you mean {here!r}?)" in str(caught.value)


def test_sizes_one_by_one():
    with pytest.raises(TypeError) as caught:
        MLP(30, 32, 1)
    assert str(caught.value) == ("MLP takes 1 argument by position and got 3; the call should be "
                                 "MLP([30, 32, 1]): layer_sizes is a sequence")
    with pytest.raises(TypeError, match=r"Layers\(\[30, 32, 1\], \.\.\.\): layer_sizes is a seq"):
        Layers(30, 32, 1)


class Scheduled(Adam):
    def __init__(self, rate, **options):
        super().__init__(rate, **options)


def test_subclasses():
    """Their own arguments are Python's; those of fastbp's `__init__` are named as its."""
    with pytest.raises(TypeError, match=r"^Adam has no argument 'beta' \(did you mean 'betas'\?\)"):
        Scheduled(0.5, beta=3)
    with pytest.raises(TypeError, match="^Scheduled.step lacks grad; the call should be step"):
        Scheduled(0.5).step(np.ones(3))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'rate'"):
        Scheduled()
    for optimizer in (copy.copy(Scheduled(0.5)), pickle.loads(pickle.dumps(Scheduled(0.5)))):
        assert optimizer.lr == 0.5


def test_calls_without_an_object():
    with pytest.raises(TypeError):
        MLP.forward()
    with pytest.raises(TypeError, match="^MLP.backprop lacks y;"):
        MLP.backprop(net, [[1, 2]])
    with pytest.raises(TypeError, match="^MLP.backprop lacks y;"):
        MLP.__dict__["backprop"].__get__(net)([[1, 2]])


@pytest.mark.parametrize(("call", "words"), [
    (lambda: net.forward([["a", "b"]]), "X has dtype"),
    (lambda: net.train_epoch([[1, 2]], [1], None), "optimizer is of type NoneType"),
    (lambda: fastbp.sigmoid(None), "z is of type NoneType"),
    (lambda: reference.sigmoid(None), "z is of type NoneType"),
    (lambda: Adam(betas=3), "betas is of type int"),
    (lambda: net.objective([[1, 2]], [1])(None), "params is of type NoneType"),
    (lambda: fastbp.set_num_threads("two"), "n is 'two'"),
])
def test_a_type_that_does_not_fit_is_another_matter(call, words):
    with pytest.raises(TypeError, match=f"^{words}"):
        call()


def test_other_errors_pass():
    class Row(list):
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.forward(Row())


# ---- weights in the other layout


def transposed(*sizes):
    return [half(b, a) for a, b in zip(sizes, sizes[1:], strict=False)], [*map(half, sizes[1:])]


SIZES = [(30, 32, 1), (3, 3, 1), (3, 2, 3), (5, 1), (1, 5), (4, 4, 4, 2), (2, 4, 4, 4), (1, 1, 2),
         (2, 3, 3, 2, 4)]


@TWINS
@pytest.mark.parametrize("sizes", SIZES)
def test_weights_that_look_transposed(twin, sizes):
    W, b = transposed(*sizes)
    X, y = half(2, sizes[0]), half(2, sizes[-1])
    refused(lambda: twin.backprop(W, b, X, y), ValueError, "weights look transposed",
            "(fan_out, fan_in)", "should be (fan_in, fan_out)", "Layers(layout='oi')")
    twin.backprop([each.T for each in W], b, X, y)
    lists = [each.tolist() for each in W]
    refused(lambda: twin.backprop(lists, b, X, y), ValueError, "weights look transposed")


def test_forward_of_the_reference():
    refused(lambda: reference.forward(*transposed(3, 2, 1), half(2, 3)), ValueError,
            "weights look transposed", "Layers(layout='oi')")


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("layout", "other"), [("io", "oi"), ("oi", "io")])
def test_weights_of_layers_that_look_transposed(sizes, layout, other):
    layers = Layers(sizes, ["tanh"] * (len(sizes) - 2) + ["identity"], layout=layout,
                    dtype="float64")
    W, b = transposed(*sizes)
    right = [each.T.copy() for each in W]
    if layout == "oi":
        W, right = right, W
    X, y = half(2, sizes[0]), half(2, sizes[-1])
    words = "look transposed", f"Layers(layout='{other}')"
    refused(lambda: layers.forward(W, b, X), ValueError, "weights", *words)
    refused(lambda: layers.loss_and_grad(W, b, X, y, right, b), ValueError, "weights", *words)
    layers.forward(right, b, X)
    before = [each.copy() for each in W]
    grads = [np.empty_like(each) for each in W], [np.empty_like(each) for each in b]
    refused(lambda: layers.backward(half(2, sizes[-1]), *grads), ValueError, "weight_grads", *words)
    refused(lambda: layers.loss_and_grad(right, b, X, y, *grads), ValueError, "weight_grads",
            *words)
    np.testing.assert_equal(W, before)


@TWINS
@pytest.mark.parametrize(("W", "b", "words"), [
    ([half(3, 3), half(3, 2)], [half(3), half(3)], "biases[1]"),        # one fits, one does not
    ([half(3, 4), half(5, 2)], [half(4), half(2)], "weights[1] has shape (5, 2)"),
    ([half(4, 3), half(2, 4)], [half(3), half(2)], "weights[1] has shape (2, 4)"),
    ([half(3), half(3, 2)], [half(3), half(2)], "weights[0] has shape (3,)"),
    ([half(), half(3, 2)], [half(3), half(2)], "weights[0] has shape ()"),
])
def test_weights_that_fit_in_no_layout(twin, W, b, words):
    with pytest.raises(ValueError) as caught:
        twin.backprop(W, b, half(2, 3), half(2, 2))
    assert words in str(caught.value) and "look transposed" not in str(caught.value)
