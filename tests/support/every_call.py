"""Every public computation as a call whose arrays may lie anywhere; no test is here.

Those that guard memory, count it or refuse it go through the same list.
"""

import pickle
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from c_api import once, problem
from fastbp._unchecked import UncheckedLayers

import fastbp
from fastbp import _arguments

HIDDEN = tuple(_arguments.ACTIVATIONS)


class Call(NamedTuple):
    """``prepare(**arrays)`` gives what computes, and what it changes only if it succeeds.

    ``outputs`` are the shapes of the arrays that `prepare` takes: all of them are written in full,
    in the dtype of the call unless a dtype stands after the shape.
    """

    name: str
    outputs: dict
    prepare: Any

    def arrays(self, empty, dtype):
        """An array for each output, from ``empty(shape, dtype)``."""
        return {name: empty(*(shape if isinstance(shape[0], tuple) else (shape, dtype)))
                for name, shape in self.outputs.items()}


def arguments(n, sizes, dtype):
    """Inputs of every call by name, of moderate size and none NaN, for a network of two layers."""
    rng = np.random.default_rng(n + sum(sizes))
    features, hidden, K = sizes

    def uniform(*shape, low=-1):
        return rng.uniform(low, 1, shape).astype(dtype)

    def weights(fan_in, fan_out):
        return (uniform(fan_in, fan_out) / np.sqrt(fan_in)).astype(dtype)

    a = {"X": uniform(n, features), "W1": weights(features, hidden), "b1": uniform(hidden),
         "W2": weights(hidden, K), "b2": uniform(K), "z": uniform(n, K), "delta": uniform(n, K),
         "h": uniform(n, hidden, low=0), "y": uniform(n, K, low=0),
         "classes": rng.integers(0, K, n).astype(dtype), "w": uniform(n, low=0.5),
         "order": rng.integers(0, n, n), "pos_weight": rng.uniform(0.5, 2, K),
         "class_weight": rng.uniform(0.5, 2, K)}
    a["V1"], a["V2"] = np.ascontiguousarray(a["W1"].T), np.ascontiguousarray(a["W2"].T)
    a["params"] = np.concatenate([a[name].ravel() for name in ("W1", "b1", "W2", "b2")])
    a["grad"] = uniform(a["params"].size)
    shares = np.exp(a["z"].astype("float64"))
    a["probabilities"] = (shares / shares.sum(axis=1, keepdims=True)).astype(dtype)
    return a


def calls(arrays, sizes, dtype, n_threads=None):
    """All of them on the arrays that `arguments` named, wherever those lie now."""
    a = SimpleNamespace(**arrays)
    yield from equations(a)
    for (loss, y, options), activation in zip(losses(a), HIDDEN * 2, strict=False):
        yield from networks(a, sizes, y, {"loss": loss, "activation": activation, "dtype": dtype,
                                          "n_threads": n_threads, **options})
        for layout in ("io", "oi"):
            yield from losses_of_layers(a, sizes, y, {"loss": loss, **options}, dtype, layout,
                                        n_threads)
    for activation in HIDDEN:
        yield from layers(a, sizes, activation, dtype, n_threads)
    yield from plans(a, sizes, dtype, n_threads or 0)
    yield from optimizers(a)


def losses(a):
    """Triples of a loss, its y and its options."""
    yield "bce", a.y, {}
    yield "bce", a.y, {"pos_weight": a.pos_weight, "label_smoothing": 0.125}
    yield "squared_error", a.z, {}
    yield "poisson", a.y, {}
    if a.z.shape[1] > 1:
        yield "softmax", a.classes, {}
        yield "softmax", a.probabilities, {"class_weight": a.class_weight,
                                           "label_smoothing": 0.125}


def stateless(name, function, **outputs):
    return Call(name, outputs, lambda **o: (partial(function, **o), ()))


def equations(a, twin=fastbp):
    yield stateless("sigmoid", partial(twin.sigmoid, a.z), out=a.z.shape)
    yield stateless("sigmoid of its own", partial(twin.sigmoid, a.z))
    yield stateless("sigmoid_backward", partial(twin.sigmoid_backward, a.delta, a.y),
                    out=a.z.shape)
    yield stateless("delta_step", partial(twin.delta_step, a.delta, a.W2, a.h), out=a.h.shape)
    yield stateless("delta_step of one sample", partial(
        twin.delta_step, a.delta[0], a.W2, a.h[0]), out=a.h.shape[1:])
    yield stateless("weight_grad", partial(twin.weight_grad, a.h, a.delta))
    for activation in HIDDEN:
        yield stateless(f"activate {activation}", partial(twin.activate, a.z, activation))
    for loss, y, options in losses(a):
        function = {"bce": twin.bce_with_logits, "softmax": twin.softmax_with_logits,
                    "squared_error": twin.squared_error,
                    "poisson": twin.poisson_with_logits}[loss]
        name = " ".join([loss, *options])
        yield stateless(f"{name} of logits", partial(function, a.z, y, a.w, **options))
        yield stateless(f"backprop {name}", partial(
            twin.backprop, [a.W1, a.W2], [a.b1, a.b2], a.X, y, loss=loss, sample_weight=a.w,
            reduction="mean", **options))


def networks(a, sizes, y, options):
    name = " ".join(["MLP", *(str(v) for v in options.values() if isinstance(v, str)),
                     *(k for k in options if "weight" in k)])
    batches, shape = -(-len(a.X) // 3), (len(a.X), sizes[-1])

    def network():
        net = fastbp.MLP(sizes, seed=0, **options)
        net.params[:] = a.params
        return net

    def of(method, *args, **given):
        def prepare(**out):
            net = network()
            return partial(getattr(net, method), *args, **given, **out), (net.params, net.grad)
        return prepare

    def gradient():
        net = network()
        return (lambda: net.backprop(a.X, y, sample_weight=a.w, l2=0.5)), (net.params, net.grad)

    def objective():
        net = network()
        return (lambda: net.objective(a.X, y, sample_weight=a.w)(a.params),
                (net.params, net.grad))

    def curvature():
        net = network()
        return (lambda: net.objective(a.X, y, sample_weight=a.w).hessp(a.params, a.grad),
                (net.params, net.grad))

    def linearized():
        net = network()
        return (lambda: net.linearize(a.X, y, sample_weight=a.w).grad), (net.params, net.grad)

    def at_a_point(method):
        def prepare(out):
            net = network()
            point = net.linearize(a.X, y, sample_weight=a.w, reduction="mean", l2=0.5)
            return partial(getattr(point, method), a.grad, out), (net.params, net.grad)
        return prepare

    def epoch(optimizer, **given):
        def prepare(**out):
            net, opt = network(), optimizer()
            return (partial(net.train_epoch, a.X, y, opt, batch_size=3, **given, **out),
                    (net.params, net.grad, opt))
        return prepare

    def with_noise():
        net = network()
        return (lambda: net.clipped_backprop(a.X, y, 0.5, noise_multiplier=2.0,
                                             rng=np.random.PCG64(1)), (net.params, net.grad))

    def private(**out):
        net, opt = network(), fastbp.Adam()
        steps = [a.order, a.order[:2], a.order[:1]]
        return (lambda: net.train_epoch(a.X, y, opt, batch_size=3, order=steps, sample_weight=a.w,
                                        max_grad_norm=0.5, noise_multiplier=2.0,
                                        rng=np.random.PCG64(1), **out),
                (net.params, net.grad, opt))

    def copied():
        net = network()
        return lambda: pickle.loads(pickle.dumps(net)).params, (net.params, net.grad)

    yield Call(f"{name}: made", {}, lambda: (lambda: fastbp.MLP(sizes, seed=0, **options).params,
                                             ()))
    yield Call(f"{name}: pickle", {}, copied)
    yield Call(f"{name}: forward", {"out": shape}, of("forward", a.X))
    yield Call(f"{name}: logits", {"out": shape}, of("logits", a.X))
    yield Call(f"{name}: loss_value", {}, of("loss_value", a.X, y, sample_weight=a.w))
    yield Call(f"{name}: backprop", {}, gradient)
    yield Call(f"{name}: error_bound", {"out": a.params.shape},
               of("error_bound", a.X, y, sample_weight=a.w, reduction="mean", l2=0.5))
    yield Call(f"{name}: per_sample_grad_norms", {"out": (len(a.X),)},
               of("per_sample_grad_norms", a.X, y, sample_weight=a.w))
    yield Call(f"{name}: per_sample_grads", {"out": (len(a.X), a.params.size)},
               of("per_sample_grads", a.X, y, sample_weight=a.w))
    yield Call(f"{name}: clipped_backprop", {},
               of("clipped_backprop", a.X, y, 0.5, sample_weight=a.w, reduction="mean"))
    yield Call(f"{name}: clipped_backprop with noise", {}, with_noise)
    for method, more in (("hvp", {"reduction": "mean", "l2": 0.5}), ("gnvp", {})):
        yield Call(f"{name}: {method}", {"out": a.params.shape},
                   of(method, a.X, y, a.grad, sample_weight=a.w, **more))
    yield Call(f"{name}: hessp", {}, curvature)
    yield Call(f"{name}: input_grad", {"out": a.X.shape},
               of("input_grad", a.X, y, sample_weight=a.w))
    last = a.X[-2:]                     # of all rows it would be the largest array by far
    yield Call(f"{name}: jacobian", {"out": (len(last), sizes[-1], a.params.size)},
               of("jacobian", last))
    yield Call(f"{name}: jacobian by input", {"out": (*shape, sizes[0])},
               of("jacobian", a.X, wrt="input"))
    yield Call(f"{name}: linearize", {}, linearized)
    for method in ("hvp", "gnvp"):
        yield Call(f"{name}: {method} of linearize", {"out": a.params.shape}, at_a_point(method))
    yield Call(f"{name}: value_and_grad", {}, of("value_and_grad", a.params, a.X, y,
                                                 reduction="mean", l2=0.5))
    yield Call(f"{name}: objective", {}, objective)
    yield Call(f"{name}: train_epoch in order", {"batch_losses": ((batches, 2), "float64")},
               epoch(fastbp.Adam, order=a.order, sample_weight=a.w))
    yield Call(f"{name}: train_epoch shuffled", {}, epoch(partial(fastbp.SGD, 1e-3, momentum=0.5),
                                                          rng=0, l2=0.5))
    yield Call(f"{name}: private train_epoch", {"batch_losses": ((3, 2), "float64")}, private)
    yield Call(f"{name}: train_epoch of a limited norm", {},
               epoch(fastbp.Adam, order=a.order[:5], sample_weight=a.w, max_norm=0.25))
    yield Call(f"{name}: train_epoch", {}, epoch(partial(fastbp.SGD, 1e-3),
                                                 shuffle=False))


def shapes_of(weights):
    return {"dW1": weights[0].shape, "dW2": weights[1].shape}


def layers(a, sizes, activation, dtype, n_threads):
    for layout, weights in (("io", [a.W1, a.W2]), ("oi", [a.V1, a.V2])):
        made = partial(fastbp.Layers, sizes, [activation, HIDDEN[-1]], dtype=dtype, layout=layout,
                       n_threads=n_threads)
        biases, name = [a.b1, a.b2], f"Layers {activation} {layout}"

        def forward(made=made, weights=weights, biases=biases):
            recursion = made()
            return lambda: (recursion.forward(weights, biases, a.X, keep=False),
                            recursion.forward(weights, biases, a.X)), ()

        def backward(dX, made=made, weights=weights, biases=biases, **out):
            recursion = made()
            recursion.forward(weights, biases, a.X)
            grads = ([out["dW1"], out["dW2"]], [out["db1"], out["db2"]]) if out else (None, None)
            return lambda: recursion.backward(a.delta, *grads, dX), ()

        def unchecked(made=made, weights=weights, biases=biases, layout=layout):
            recursion = UncheckedLayers(*made.args, **made.keywords)
            params = [p.ctypes.data for pair in zip(weights, biases, strict=True) for p in pair]
            at, n = (params, a.X.ctypes.data), len(a.X)

            def run():
                inference = recursion.forward_at(*at, n, False)
                h = recursion.forward_at(*at, n, True)
                dX, grads = recursion.backward_at(*at, a.delta.ctypes.data, n, True, True)
                return inference, h, dX, *grads
            return run, ()

        grads = {**shapes_of(weights), "db1": a.b1.shape, "db2": a.b2.shape}
        yield Call(f"{name}: forward", {}, forward)
        yield Call(f"{name}: backward", {"dX": a.X.shape, **grads}, backward)
        yield Call(f"{name}: input_grad", {"dX": a.X.shape}, backward)
        yield Call(f"{name}: unchecked", {}, unchecked)


def losses_of_layers(a, sizes, y, options, dtype, layout, n_threads):
    weights = [a.W1, a.W2] if layout == "io" else [a.V1, a.V2]
    biases = [a.b1, a.b2]
    grads = {**shapes_of(weights), "db1": a.b1.shape, "db2": a.b2.shape}
    name = " ".join(["Layers", layout, *options, options["loss"]])
    made = {"layer_sizes": sizes, "activations": ["tanh", "identity"], "dtype": dtype,
            "layout": layout, "n_threads": n_threads}

    def checked(dW1, db1, dW2, db2):
        recursion = fastbp.Layers(**made)
        return partial(recursion.loss_and_grad, weights, biases, a.X, y, [dW1, dW2], [db1, db2],
                       sample_weight=a.w, reduction="mean", **options), ()

    def unchecked(dW1, db1, dW2, db2):
        recursion = UncheckedLayers(**made)
        params = [p.ctypes.data for pair in zip(weights, biases, strict=True) for p in pair]
        written = [dW1, db1, dW2, db2]

        def run():
            return recursion.loss_and_grad_at(
                params, a.X.ctypes.data, len(a.X), y, [grad.ctypes.data for grad in written],
                sample_weight=a.w, **options)
        return run, ()

    yield Call(f"{name}: loss_and_grad", grads, checked)
    yield Call(f"{name}: loss_and_grad unchecked", grads, unchecked)


def plans(a, sizes, dtype, threads):
    """Those of C programs: each call makes one, runs it, and frees it."""
    params = [a.W1, a.b1, a.W2, a.b2]
    grads = {**shapes_of([a.W1, a.W2]), "db1": a.b1.shape, "db2": a.b2.shape}
    for loss, y, options in losses(a):
        options = {name: value.astype(dtype) if name == "pos_weight" else value
                   for name, value in options.items() if name != "class_weight"}
        made = problem(sizes, dtype, "tanh", loss, len(a.X), threads=threads, mean=1, l2=0.5,
                       classes=int(y.ndim == 1), **options)
        name, samples = " ".join(["plan", loss, *options]), (params, a.X, y, a.w)

        def gradient(dW1, db1, dW2, db2, made=made, samples=samples):
            return partial(once, made, "gradient", [dW1, db1, dW2, db2], *samples), ()

        def outputs(out, made=made):
            return partial(once, made, "outputs", "forward", out, params, a.X), ()

        yield Call(f"{name}: gradient of a plan", grads, gradient)
        yield stateless(f"{name}: loss of a plan", partial(once, made, "loss", *samples))
        yield Call(f"{name}: forward of a plan", {"out": (len(a.X), sizes[-1])}, outputs)


def optimizers(a):
    def clipped():
        grad = a.grad.copy()
        return partial(fastbp.clip_grad_norm, grad, 0.25), (grad,)

    yield Call("clip_grad_norm", {}, clipped)
    for name, kind in (("SGD", fastbp.SGD), ("Adam", fastbp.Adam),
                       ("momentum", partial(fastbp.SGD, momentum=0.5, nesterov=True))):
        def steps(before, kind=kind):
            def prepare():
                params, optimizer = a.params.copy(), kind()
                for _ in range(before):
                    optimizer.step(params, a.grad)
                return partial(optimizer.step, params, a.grad), (params, optimizer)
            return prepare

        def loaded(kind=kind):
            source, optimizer, params = kind(), kind(), a.params.copy()
            source.step(params, a.grad)
            for _ in range(2):
                optimizer.step(params, a.grad)
            return lambda: optimizer.load_state_dict(source.state_dict()), (optimizer,)

        def copied(kind=kind):
            optimizer = kind()
            optimizer.step(a.params.copy(), a.grad)
            return lambda: pickle.loads(pickle.dumps(optimizer)).t, (optimizer,)

        yield Call(f"{name}, first step", {}, steps(0))
        yield Call(f"{name}, later step", {}, steps(2))
        yield Call(f"{name}, load_state_dict", {}, loaded)
        yield Call(f"{name}, pickle", {}, copied)


def one_of_each(found):
    """The last call of each kind: what stands after a colon is done to several networks."""
    return list({call.name.rpartition(": ")[2]: call for call in found}.values())
