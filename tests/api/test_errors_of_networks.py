"""Networks refuse what does not fit: the right exception, a message that names the argument and
says what would fit, and nothing changed. What fits is right in any layout."""

import numpy as np
import pytest
from errors import KINDS, OUTPUTS, half, refused

import fastbp
from fastbp import MLP, SGD, Adam, Layers, reference


@pytest.mark.parametrize(("changes", "kind", "words"), [
    ({"layer_sizes": []}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": [3]}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": 3}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": None}, ValueError, ["layer_sizes", "two or more"]),
    ({"layer_sizes": memoryview(half(2, 2))}, ValueError, ["layer_sizes", "two or more"]),
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
        "params": half(21), "v": half(21), "batch_size": 2, "shuffle": True, "order": None,
        "rng": 0, "memory": 1000}
LOSS = ["X", "y", "sample_weight", "reduction"]
METHODS = {
    "forward": ["X"], "logits": ["X"], "loss_value": LOSS, "backprop": [*LOSS, "l2"],
    "value_and_grad": ["params", *LOSS, "l2"], "objective": [*LOSS, "l2", "memory"],
    "linearize": [*LOSS, "l2", "memory"],
    "hvp": ["X", "y", "v", *LOSS[2:], "l2"], "gnvp": ["X", "y", "v", *LOSS[2:], "l2"],
    "train_epoch": ["X", "y", "optimizer", "batch_size", "shuffle", "order", "rng",
                    "sample_weight", "l2"],
}
BAD = [
    *[(argument, KINDS[kind](GOOD[argument].shape), TypeError, [argument, "dtype"])
      for argument in ("X", "y", "params", "v") for kind in KINDS],
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
    *[(name, half(*shape), ValueError, [name, str(shape), "(21,)"])
      for name in ("params", "v") for shape in ((20,), (21, 1), ())],
    *[("memory", bad, ValueError, ["memory", "integer of at least 0"]) for bad in (-1, 1e9)],
    *[("memory", bad, TypeError, ["memory", "integer"]) for bad in (None, "1", True)],
    *[("optimizer", bad, TypeError, ["optimizer", "SGD", "Adam"])
      for bad in (None, SGD, "adam", reference.SGD())],
    *[("batch_size", bad, ValueError, ["batch_size", "at least 1"]) for bad in (0, -1, 1.5)],
    *[("batch_size", bad, TypeError, ["batch_size", "integer"]) for bad in (None, "2", True)],
    *[("shuffle", bad, TypeError, ["shuffle", "True or False"]) for bad in (None, 1, "yes")],
    *[("order", bad, ValueError, ["order", "shape", "(n_indices,)"])
      for bad in (np.zeros((N, 1), int), np.array(0))],
    *[("order", bad, ValueError, ["order is empty", "at least one index"])
      for bad in ([], (), np.zeros(0, int))],
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
                                    "linearize", "train_epoch"])
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


def test_lists_of_weights_in_place_of_a_flat_vector():
    """The message says how the vector lies; an array of another length, too."""
    net = fastbp.MLP([3, 4, 1], seed=0)
    X, y = half(2, 3), half(2)

    def assigned(value):
        net.params = value

    calls = {"params": [assigned, lambda value: net.value_and_grad(value, X, y),
                        lambda value: net.objective(X, y)(value)],
             "v": [lambda value: net.hvp(X, y, value), lambda value: net.gnvp(X, y, value)]}
    flat = "it should have shape (21,), one flat vector: W_1.ravel(), b_1, W_2.ravel(), ..."
    for name, functions in calls.items():
        for call in functions:
            refused(lambda call=call: call(net.weights), ValueError,
                    f"{name} has 2 arrays; {flat}")
            refused(lambda call=call: call([*net.weights, *net.biases]), ValueError,
                    f"{name} has 4 arrays; {flat}")
            refused(lambda call=call: call(half(12)), ValueError,
                    f"{name} has shape (12,); {flat}")
            call(net.params.tolist())


@pytest.mark.parametrize("read", ["X", "y", "sample_weight", "v"])
def test_outputs_that_overlap_what_is_converted(read):
    """The copy that is computed with lies elsewhere; what came in would be overwritten."""
    net, memory = MLP(SIZES, seed=0), half(40)
    arguments = {name: GOOD[name] for name in ("X", "y")} | {"sample_weight": half(N)}
    for method, out in (("error_bound", "out"), ("hvp", "out"), ("gnvp", "out"),
                        ("train_epoch", "batch_losses")):
        if read == "v" and method not in ("hvp", "gnvp"):
            continue
        shape, dtype = ((net.n_params,), "f4") if out == "out" else ((N, 2), "f8")
        needed = arguments | ({"v": GOOD["v"]} if method in ("hvp", "gnvp") else {})
        shared = memory[:needed[read].size].reshape(needed[read].shape)
        given = {**needed, read: shared, out: memory.view(dtype)[:np.prod(shape)].reshape(shape)}
        if out == "batch_losses":
            given |= {"optimizer": SGD(), "batch_size": 1}
        refused(lambda method=method, given=given: getattr(net, method)(**given),
                ValueError, out, "overlaps", read)
    assert (memory == 0.5).all()


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name, values", [
    ("sample_weight", {"sample_weight": [1, 1e300]}), ("y", {"y": [1, 1e300], "loss": "poisson"})])
def test_what_is_infinite_in_float32(name, values):
    net = MLP([2, 1], loss=values.pop("loss", "bce"))
    arguments = {"X": np.ones((2, 2)), "y": np.ones(2), **values}
    with pytest.raises(ValueError, match=f"^{name} has inf in row 1, as float32; it should be"):
        net.backprop(**arguments)
