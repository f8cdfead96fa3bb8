"""The caller's np.errstate, and warnings that are errors, change no outcome: neither a value nor a
refusal. The arguments underflow and overflow where they are converted and where they are used."""

import contextlib
import functools
import pickle
import warnings
from decimal import Decimal
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pandas
import pytest
from every_call import arguments, calls, equations, optimizers

import fastbp
from fastbp import MLP, SGD, Adam, datasets, reference
from fastbp._command.main import main
from fastbp.io import load_model, save_model
from fastbp.sklearn import MLPClassifier, MLPRegressor

SIZES = (3, 5, 2)
WIDE = np.finfo(np.longdouble).max > np.finfo("float64").max
EXTREMES = {"float32": (1e-50, 1e-45, 1e39, 1e300)}  # float64 that a float32 does not hold
if WIDE:
    EXTREMES["float64"] = tuple(map(np.longdouble, ("1e-4900", "1e-320", "1e4000", "1e310")))


OPTIMIZERS = ("SGD", "Adam", "momentum")


class Caller:
    """Fails when NumPy calls it, or writes to it."""

    def __call__(self, *args):
        raise AssertionError(args)

    write = __call__


@contextlib.contextmanager
def warnings_are(action):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        yield


STATES = {
    "raise": lambda: np.errstate(all="raise"),
    "call": lambda: np.errstate(all="call", call=Caller()),
    "log": lambda: np.errstate(all="log", call=Caller()),
    "print": lambda: np.errstate(all="print"),
    "warn": contextlib.nullcontext,
}


@pytest.fixture(autouse=True)
def nothing_is_printed(capsys):
    yield
    assert not capsys.readouterr().err


@contextlib.contextmanager
def state(name):
    """NumPy's errors raise, and warnings are errors."""
    with warnings_are("error"), np.errstate(all="warn"), STATES[name]():
        yield


def known(value):
    """What is compared: NaN equal NaN, arrays by their bytes."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.str, value.shape, np.where(np.isnan(value), np.nan, value).tobytes()
    if isinstance(value, (list, tuple)):
        return [known(each) for each in value]
    if isinstance(value, (SGD, Adam)):
        return known(list(value.state_dict().values()))
    if isinstance(value, (reference.SGD, reference.Adam)):
        return known(list(vars(value).values()))
    return repr(value)


def outcome(prepare):
    """What a call returns or says, and what it leaves; `prepare` is under no state."""
    compute, kept, enter = prepare
    try:
        with enter():
            result = compute()
    except Exception as error:
        return type(error), str(error), known(kept)
    return known(result), known(kept)


def same(prepare):
    """``prepare()`` gives a call and what it changes; its outcome is the same in each state."""
    def quiet():
        return contextlib.nullcontext()
    with warnings_are("ignore"), np.errstate(all="ignore"):
        expected = outcome((*prepare(), quiet))
        assert expected[0] is not FloatingPointError
        for name in STATES:
            found = outcome((*prepare(), functools.partial(state, name)))
            assert found == expected, name
    return expected


def extreme(dtype):
    """`arguments` of wider numbers than the dtype's, every other element of them near its ends."""
    wide = "float64" if dtype == "float32" else np.longdouble
    a = arguments(6, SIZES, "float64")
    for name, array in a.items():
        if name in ("order", "pos_weight", "class_weight", "classes"):
            continue
        a[name] = array = array.astype(wide)
        if name == "probabilities":
            continue
        tiny, small, huge, large = EXTREMES[dtype]
        array.flat[::4], array.flat[1::4] = tiny, small
        if name not in ("y", "w"):
            array.flat[2::16], array.flat[10::32] = huge, -large
    return a


def tables(dtype, huge):
    a = extreme(dtype)
    if not huge:
        for array in a.values():
            array[abs(array) > 1e30] = 1
    return a


each_table = pytest.mark.parametrize(("dtype", "huge"), [
    (dtype, huge) for dtype in EXTREMES for huge in (False, True)])


@each_table
def test_every_call(dtype, huge):
    computed = 0
    a = tables(dtype, huge)
    for call in calls(a, SIZES, dtype):
        owner = call.name.partition(",")[0]
        if "unchecked" in call.name or dtype == "float64" and owner in OPTIMIZERS:
            continue                        # they take memory as it is
        of_network = call.name.startswith(("MLP", "Layers"))

        def prepare(call=call, of_network=of_network):
            outputs = call.arrays(np.zeros, dtype if of_network else "float64")
            compute, kept = call.prepare(**outputs)
            return compute, (*kept, *outputs.values())

        computed += not isinstance(same(prepare)[0], type)
    assert computed > 100                   # the rest is refused, in the same words


@each_table
def test_every_twin(dtype, huge, monkeypatch):
    a = SimpleNamespace(**tables(dtype, huge))
    for call in equations(a, reference):
        def prepare(call=call):
            outputs = call.arrays(np.zeros, "float64")
            return call.prepare(**outputs)[0], tuple(outputs.values())
        same(prepare)
    same(lambda: (lambda: reference.forward([a.W1, a.W2], [a.b1, a.b2], a.X), ()))
    monkeypatch.setattr(fastbp, "SGD", reference.SGD)
    monkeypatch.setattr(fastbp, "Adam", reference.Adam)
    if dtype == "float32":
        steps = [call for call in optimizers(a) if call.name.endswith("step")]
        for call in steps:
            same(call.prepare)
        assert len(steps) == 2 * len(OPTIMIZERS)


@pytest.mark.parametrize("use", [
    lambda net, f: setattr(net, "params", np.full(net.n_params, 1e-50)),
    lambda net, f: setattr(net, "params", np.full(net.n_params, 1e50)),
    lambda net, f: setattr(net, "grad", np.full(net.n_params, 1e-50)),
    lambda net, f: f(np.full(net.n_params, 1e39)), lambda net, f: f(np.full(net.n_params, 1e-50)),
    lambda net, f: f(np.float64(net.params) * 1e-44),
    lambda net, f: net.forward([[1e-50, 1e50, 0]]),
    lambda net, f: net.backprop([[1, 2, 3]], [[1e-50, 1]], sample_weight=[1e-50]),
    lambda net, f: net.backprop([[1, 2, 3]], [[0, 1]], sample_weight=[1e50]),
    lambda net, f: MLP([1, 1], seed=0).forward([[1e-50]]),
    lambda net, f: MLP([1, 1], seed=0, pos_weight=1e-50),
    lambda net, f: MLP([1, 1], seed=0, pos_weight=1e50),
    lambda net, f: MLP([1, 1], seed=0, class_weight=[1e-50, 1]).backprop([[1]], [1]),
    lambda net, f: MLP([1, 1], seed=0, class_weight=[1e50, 1]).backprop([[1]], [0]),
    lambda net, f: MLP([1, 1], seed=0, class_weight=[1e-30, 1]).backprop(
        [[1]], [0], sample_weight=[1e-30]),
    lambda net, f: MLP([1, 1], seed=0, class_weight=[1e30, 1]).backprop(
        [[1]], [0], sample_weight=[1e30]),
    lambda net, f: Adam(eps=1e-50).step(np.ones(3, "f"), np.ones(3, "f")),
    lambda net, f: Adam(eps=1e50).step(np.ones(3, "f"), np.ones(3, "f")),
    lambda net, f: SGD(np.longdouble("1e-4000") if WIDE else 1.0),
    lambda net, f: SGD(np.longdouble("1e4000") if WIDE else 1.0),
    lambda net, f: net.backprop([[1, 2, 3]], [[1, 1]], l2=np.float16(6e-8)),
    lambda net, f: net.loss_value([[np.nan, 2, 3]], [[np.nan, 1]]),
    lambda net, f: net.loss_value([[np.inf, 2, 3]], [[np.inf, 1]]),
    # a signalling NaN is "invalid" where it is converted
    lambda net, f: net.forward(np.array([0x7FF0000000000001] * 3, "u8").view("f8")[None]),
    lambda net, f: fastbp.sigmoid_backward(np.array([0x7F800001], "u4").view("f4"), np.ones(1)),
    lambda net, f: fastbp.bce_with_logits(np.ones(1), np.array([0x7F800001], "u4").view("f4")),
    lambda net, f: net.forward(np.array([0x7F81] * 3, "u2").view(ml_dtypes.bfloat16)[None]),
    lambda net, f: net.forward(pandas.DataFrame({0: [1e-50], 1: [1e50], 2: [1]}).convert_dtypes()),
    lambda net, f: net.forward(pandas.DataFrame({0: [Decimal("1e-400")], 1: [1], 2: [1]})),
    lambda net, f: fastbp.backprop([np.ones((3, 2), "f")], [np.ones(2)], [[1, 2, 3]], [[0, 1]],
                                   sample_weight=[1e308] * 1),
])
def test_conversions(use):
    def prepare():
        net = MLP((3, 2), seed=0)
        f = net.objective([[1, 2, 3]], [[0, 1]])
        return (lambda: use(net, f)), (net.params, net.grad)
    same(prepare)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("options", [{"solver": "lbfgs"}, {"solver": "newton-cg"},
                                     {"early_stopping": True},
                                     {"solver": "sgd", "momentum": 0.5}], ids=str)
@pytest.mark.parametrize("size", [1e-300, 1e-50, 1.0, 1e30])
def test_estimators(kind, options, size):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)) * size, np.arange(40) % 2
    y = y * size if kind is MLPRegressor else y

    def prepare():
        model = kind(hidden_layer_sizes=(3,), max_iter=2, dtype="float32", random_state=0,
                     **options)

        def use():
            with warnings.catch_warnings():     # of scikit-learn's, not of NumPy's
                warnings.filterwarnings("ignore", category=UserWarning)
                model.fit(X, y, sample_weight=np.full(40, 1e-30))
                if hasattr(model, "partial_fit") and "early_stopping" not in options:
                    model.partial_fit(X, y)
                with np.errstate(divide="ignore"):      # the metric of a classifier
                    score = model.score(X, y)
            return (model.predict(X), score, model.coefs_, model.loss_,
                    getattr(model, "predict_log_proba", model.predict)(X * 1e8))
        return use, ()
    same(prepare)


def test_callbacks_have_the_state_of_the_caller():
    seen = []

    class Callback:
        max_propagation_depth = 0

        def setup(self, *args, **kwargs):
            pass

        teardown = setup

        def on_fit_task_begin(self, *args, **kwargs):
            seen.append(np.geterr())

        def on_fit_task_end(self, *args, **kwargs):
            seen.append(np.geterr())

    model = MLPClassifier((3,), max_iter=2, tol=0, random_state=0)
    with np.errstate(divide="raise", over="print", under="log", invalid="ignore"), \
            warnings_are("ignore"):
        expected = np.geterr()
        model.set_callbacks(Callback()).fit(np.ones((4, 1)), [0, 1, 0, 1])
        assert np.geterr() == expected
    assert len(seen) >= 6 and all(each == expected for each in seen)


def test_files(tmp_path):
    path, table = tmp_path / "net.safetensors", tmp_path / "table.npz"
    wide = np.array([["1e-4900", "1"], ["2", "3"]] if WIDE else [[1e-300, 1], [2, 3]])
    np.savez(table, X=wide.astype(np.longdouble), y=[0, 1])

    def prepare():
        def use():
            net = MLP((2, 1), seed=0)
            save_model(path, net, feature_mean=[1e-300, 0], feature_scale=[1e300, 1e-300])
            read = datasets.read_table(table)
            return load_model(path).forward([[1e-300, 1e300], [0, 1]]), read.X, read.y
        return use, ()
    assert len(same(prepare)[0]) == 3


def test_the_command(capsys):
    def prepare():
        def use():
            code = main(["train", "--epochs", "2", "--lr", "1e-30"])
            return code, [line for line in capsys.readouterr().out.splitlines() if "AUC" in line]
        return use, ()
    assert same(prepare)[0][0] == "0"


def test_copies():
    def prepare():
        net = MLP((3, 2), seed=0)
        net.params[:] = 1e-44
        return lambda: pickle.loads(pickle.dumps(net)).params, ()
    same(prepare)
