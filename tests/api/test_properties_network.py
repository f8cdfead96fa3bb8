"""Any arguments of `MLP`: the bits of the same numbers in plain arrays, or an error that names what
is wrong and leaves the network, the optimizer and every array as they were."""

import copy
import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from batches import (
    ABSENT,
    ACTIVATIONS,
    LOSSES,
    Call,
    counts,
    good_options,
    is_mean,
    options,
    penalties,
    range_faults,
    reductions,
    targets,
    threads,
    weights,
    with_range_faults,
)
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SIZES,
    WIDTHS,
    Argument,
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
from fastbp import MLP, SGD, Adam

ROWS = SIZES | st.sampled_from([257, 600])  # one block of rows, and more
OF_SAMPLES = ["per_sample_grad_norms", "per_sample_grads", "input_grad"]
PRODUCTS = ["hvp", "gnvp"]
GRADIENTS = ["loss_value", "backprop", "error_bound", "value_and_grad", "objective", *OF_SAMPLES,
             *PRODUCTS]


# ---- the constructor


def layer_sizes():
    good = st.lists(WIDTHS, min_size=2, max_size=4)
    forms = [list, tuple, np.array, lambda s: np.array(s, "u1"), lambda s: [np.int8(n) for n in s]]
    wrong = [[], [3], 3, None, "31", [3, 0], [3, -1], [3, 1.0], [3, True], [3, "1"], [3, None],
             [2**40, 2**40], [2**70, 1], range(1, 10**12), itertools.count(1), [3, Fraction(2)],
             [[3, 1]], {}, object(), memoryview(b"1234").cast("B", (2, 2)), np.ones(2), 1j, b"",
             np.zeros((2, 2), int)]
    return (st.tuples(good, st.sampled_from(forms)).map(lambda f: Argument(f[1](f[0]), None))
            | st.sampled_from(wrong).map(
                lambda s: Argument(s, None, (Fault(ValueError, "layer_sizes"),))))


def dtypes():
    good = ["float32", "float64", "f4", "=f8", "single", "double", float, np.dtype("f8")]
    wrong = [None, "float16", ">f4", "g", int, 3, "x", "f4,f4", "c8", object(), [], "(2,)f4", ""]
    return (st.sampled_from(good * 2).map(lambda d: Argument(d, None)) | st.sampled_from(wrong).map(
        lambda d: Argument(d, None, (Fault(ValueError, "dtype"),))))


def seeds(name):
    good = [0, 1, 2**200, np.uint8(3), np.random.PCG64(1), np.random.default_rng(2),
            np.random.MT19937(5), np.array(4)]
    wrong = [("1", TypeError), (1.0, TypeError), (-1, ValueError), (True, TypeError),
             (np.random.RandomState(0), TypeError), ([1], TypeError), (1j, TypeError)]
    return (st.sampled_from(good).map(lambda s: Argument(s, None))
            | st.sampled_from(wrong).map(lambda s: Argument(s[0], None, (Fault(s[1], name),))))


@given(st.data())
def test_any_network(data):
    draw = data.draw
    loss = draw(choices("loss", LOSSES))
    name = "squared_error" if loss.faults else loss.value
    arguments = {
        "layer_sizes": draw(layer_sizes()), "loss": loss, "dtype": draw(dtypes()),
        "seed": draw(seeds("seed")), "n_threads": draw(threads())}
    sizes = arguments["layer_sizes"]
    n_hidden = 2 if sizes.faults else len(sizes.value) - 2
    arguments["activation"] = draw(activations(ACTIVATIONS, n_hidden))
    n_outputs = int(sizes.value[-1]) if not sizes.faults else 2
    if name == "softmax" and n_outputs < 2:
        arguments["loss"] = loss._replace(faults=(*loss.faults, Fault(ValueError, "output")))
    arguments |= draw(options(name, n_outputs))
    found = [fault for dtype in ("f4", "f8") for fault in range_faults(
        arguments, name, n_outputs, np.dtype(dtype))]
    dtype = arguments["dtype"]
    kind = np.dtype("f4") if dtype.faults else np.dtype(dtype.value)
    call = Call(arguments, kind)
    others = range_faults(arguments, name, n_outputs, kind) if not call.faults else found
    wrong = [*call.faults, *others]
    if not sizes.faults or not any(key in arguments for key in ("pos_weight", "class_weight")):
        net = judged(lambda: MLP(**call.passed), wrong)
    else:       # how many outputs there are is not known
        with pytest.raises((TypeError, ValueError)):
            MLP(**call.passed)
        return
    if isinstance(net, MLP):
        assert net.layer_sizes == tuple(map(int, sizes.value)) and net.dtype == kind
        again = pickle.loads(pickle.dumps(net))
        assert repr(again) == repr(net) and again.n_threads == net.n_threads
        same(again.params, net.params)
        assert np.isfinite(net.params).all() and not any(b.any() for b in net.biases)


# ---- one batch


@st.composite
def networks(draw):
    """A network whose parameters are random, and whose gradient is not zero."""
    loss = draw(st.sampled_from(LOSSES))
    sizes = draw(st.lists(WIDTHS, min_size=2, max_size=4))
    sizes[-1] = max(sizes[-1], 2) if loss == "softmax" else sizes[-1]
    hidden = draw(activations(ACTIVATIONS, len(sizes) - 2).filter(lambda a: not a.faults)).value
    net = MLP(sizes, activation=hidden, loss=loss,
              dtype=draw(st.sampled_from(["float32", "float64"])), seed=draw(st.integers(0, 9)),
              n_threads=draw(st.sampled_from([None, 1, 1, 2, 3])),
              **draw(good_options(loss, sizes[-1])))
    net.grad[:] = 7
    return net


def copy_of(net):
    """The same network for plain arrays, on one thread."""
    twin = copy.deepcopy(net)
    twin.n_threads = 1
    return twin


def inputs_of(draw, net):
    X = draw(arrays("X", [("n_samples", net.layer_sizes[0])]))
    return X, X.plain.shape[0] if X.plain is not None and not X.faults else 3


@st.composite
def batches(draw, net, mean=None):
    """X, y, sample_weight; `mean` None draws the reduction."""
    X, n = inputs_of(draw, net)
    n_outputs = net.layer_sizes[-1]
    arguments = {"X": X, "y": draw(targets(net.loss, n, n_outputs)),
                 "sample_weight": draw(weights(n))}
    if mean is None:
        arguments["reduction"] = draw(reductions())
        mean = is_mean(arguments["reduction"])
    known = net.loss_options
    if "class_weight" in known:
        arguments["class_weight"] = Argument(dict(enumerate(known["class_weight"])), None)
    found = with_range_faults(arguments, net.loss, n_outputs, net.dtype, mean, n)
    found.pop("class_weight", None)
    return found


@pytest.mark.parametrize("method", ["forward", "logits", "jacobian"])
@given(st.data())
def test_any_rows(method, data):
    net = data.draw(networks())
    X, n = inputs_of(data.draw, net)
    shape, options = (n, net.layer_sizes[-1]), {}
    if method == "jacobian":
        shape, options = (*shape, net.layer_sizes[0]), {"wrt": "input"}
    out = data.draw(st.none() | outputs("out", shape, net.dtype))
    faults = [*X.faults, *(() if out is None else out.faults)]
    before = memory_of(X.value, net.params, net.grad), None if out is None else out.memory.tobytes()
    result = judged(lambda: getattr(net, method)(
        X.value, out=None if out is None else out.value, **options), faults)
    assert memory_of(X.value, net.params, net.grad) == before[0]
    if isinstance(result, Exception):
        assert out is None or out.memory.tobytes() == before[1]
        return
    same(result, getattr(copy_of(net), method)(Call({"X": X}, net.dtype).plain["X"], **options))
    if out is not None:
        assert result is out.value
        result[...] = np.frombuffer(before[1], "u1")[out.place()].view(net.dtype).reshape(
            result.shape)
        assert out.memory.tobytes() == before[1], "a guard was written"


def arguments_of(draw, net, method):
    """Those of one of GRADIENTS, without `params`."""
    arguments = draw(batches(net, False if method in OF_SAMPLES else None))
    if method not in ("loss_value", *OF_SAMPLES):
        arguments["l2"] = draw(penalties())
    if method in PRODUCTS:
        arguments["v"] = draw(arrays("v", [(net.n_params,)]))
    return arguments


@pytest.mark.parametrize("method", GRADIENTS)
@given(st.data())
def test_any_batch(method, data):
    net = data.draw(networks())
    twin = copy_of(net)
    arguments = arguments_of(data.draw, net, method)
    params = data.draw(arrays("params", [(net.n_params,)]))
    later = () if method != "objective" else params.faults
    if method == "value_and_grad":
        arguments["params"] = params
    call = Call(arguments, net.dtype)
    before = memory_of(net.params, net.grad, *call.passed.values())

    def gradient(net, passed, params):
        result = getattr(net, method)(**passed)
        return judged(lambda: result(params), later) if method == "objective" else result

    result = judged(lambda: gradient(net, call.passed, params.value), call.faults)
    after = memory_of(net.params, net.grad, *call.passed.values())
    if method == "backprop" and not isinstance(result, Exception):
        before[1] = after[1]        # as it should be, below
    assert after == before
    if not isinstance(result, Exception):
        plain = Call({"params": params}, net.dtype).plain["params"]
        expected = judged(lambda: gradient(twin, call.plain, plain), ())
        if isinstance(expected, tuple):     # the gradient has the dtype of params
            single = params.plain.dtype.kind == "f" and params.plain.dtype.itemsize == 4
            expected = expected[0], expected[1].astype("f4" if single else "f8")
        same(result, expected)
        same(net.grad, twin.grad)


# ---- an epoch


def orders(n):
    """Indices of any number of samples in some dtype, twice or not at all too."""
    def order(seed, dtype, size):
        return np.random.default_rng(seed).integers(0, max(n, 1), size).astype(dtype)

    good = st.builds(order, st.integers(0, 99), st.sampled_from(["i8", "u1", "i2", ">i4", "u8"]),
                     st.sampled_from([n, n, 1, 2 * n + 1]) if n else st.just(0))
    forms = st.sampled_from([np.copy, np.ndarray.tolist, lambda a: np.repeat(a, 2)[::2]])
    wrong = st.sampled_from([
        (TypeError, np.full(n, 0.0) if n else "x"), (TypeError, np.full(n, False) if n else {}),
        (ValueError, np.zeros(0 if n else 1, int)), (ValueError, np.zeros((n, 1), int)),
        (ValueError, 0),
        (TypeError, np.ma.zeros(n, int)), (TypeError, "order"),
        *[(ValueError, [bad] * n) for bad in (n, -1, 2**63 - 1) if n]])
    good = st.tuples(good, forms).filter(lambda f: n < 256)
    return (st.just(ABSENT) | good.map(lambda f: Argument(f[1](f[0]), None))
            | wrong.map(lambda f: Argument(f[1], None, (Fault(f[0], "order"),))))


def optimizers():
    good = st.sampled_from([lambda: SGD(0.25), lambda: SGD(0.1, momentum=0.5, nesterov=True),
                            lambda: Adam(0.01, weight_decay=0.1), lambda: Adam(eps_hat=True)])
    wrong = st.sampled_from([None, SGD, "adam", fastbp.reference.SGD(), object()])
    return (good | good | good).map(lambda make: Argument(make(), None)) | wrong.map(
        lambda o: Argument(o, None, (Fault(TypeError, "optimizer"),)))


def in_steps(net, optimizer, plain, batch_size, order, l2):
    """The epoch as the same sequence of backprop and step; what it returns without weights."""
    total, weight = 0.0, 0.0
    for at in range(0, len(order), batch_size):
        rows = order[at:at + batch_size]
        arrays = {name: None if a is None else a[rows] for name, a in plain.items()}
        try:
            net.backprop(**arrays, reduction="mean", l2=l2)
        except ValueError as error:
            assert "positive sum" in str(error), error
            continue        # a mini-batch without weight makes no step
        total += net.backprop(**arrays, l2=l2)
        weight += len(rows)
        net.backprop(**arrays, reduction="mean", l2=l2)
        optimizer.step(net.params, net.grad)
    return total / weight if weight else None


@given(st.data())
def test_any_epoch(data):
    draw, net = data.draw, data.draw(networks())
    twin, arguments = copy_of(net), draw(batches(net, mean=True))
    X = arguments["X"]
    n = X.plain.shape[0] if X.plain is not None and not X.faults else 3
    optimizer = draw(optimizers())
    extra = {"optimizer": optimizer, "batch_size": draw(counts("batch_size")),
             "order": draw(orders(n)), "l2": draw(penalties()), "rng": draw(seeds("rng")),
             "shuffle": draw(st.sampled_from([Argument(True, None), Argument(np.False_, None)] * 4
                             + [Argument(1, None, (Fault(TypeError, "shuffle"),))]))}
    call = Call(arguments | extra, net.dtype)
    rule = copy.deepcopy(optimizer.value)
    rng = copy.deepcopy(extra["rng"].value)
    if not call.faults and net.params.size:
        chosen = extra["order"].value
        taken = n if chosen is None else len(chosen)
        size = min(int(extra["batch_size"].value), max(taken, 1))
        losses = draw(st.none() | outputs("batch_losses", (-(-taken // size), 2), "f8"))
    else:
        losses = None
    passed = call.passed if losses is None else {**call.passed, "batch_losses": losses.value}
    faults = call.faults if losses is None else [*call.faults, *losses.faults]
    inputs = [call.passed[name] for name in ("X", "y", "sample_weight", "order")]
    before = memory_of(*inputs), memory_of(net.params, net.grad), repr(optimizer.value)
    result = judged(lambda: net.train_epoch(**passed), faults)
    assert memory_of(*inputs) == before[0]
    if isinstance(result, Exception):
        assert (memory_of(net.params, net.grad), repr(optimizer.value)) == before[1:]
        assert optimizer.faults or optimizer.value.t == 0
        return
    order = np.arange(n)
    if extra["order"].value is not None:
        order = np.asarray(extra["order"].value, int)
    elif extra["shuffle"].value is True:
        order = fastbp._random.permutation(n, fastbp._random.raw_bits(rng, n - 1))
    plain = {name: call.plain[name] for name in ("X", "y", "sample_weight")}
    with np.errstate(all="ignore"):
        expected = in_steps(twin, rule, plain, size, order, float(extra["l2"].value))
    same(net.params, twin.params)
    assert optimizer.value.t == rule.t
    if arguments["sample_weight"].value is None and "class_weight" not in net.loss_options:
        same(result, expected)


# ---- what can be assigned


@given(st.data())
def test_any_assignment(data):
    net = data.draw(networks())
    name = data.draw(st.sampled_from(["params", "grad"]))
    value = data.draw(arrays(name, [(net.n_params,)]))
    n_threads = data.draw(threads())
    memory, before = getattr(net, name), (memory_of(net.params, net.grad), net.n_threads)
    result = judged(lambda: setattr(net, name, value.value), value.faults)
    assert getattr(net, name) is memory
    if isinstance(result, Exception):
        assert memory_of(net.params, net.grad) == before[0]
    else:
        same(memory, Call({name: value}, net.dtype).plain[name])
    result = judged(lambda: setattr(net, "n_threads", n_threads.value), n_threads.faults)
    if isinstance(result, Exception):
        assert net.n_threads == before[1]
