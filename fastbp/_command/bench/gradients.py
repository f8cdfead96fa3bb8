"""One gradient, E1 to E6, by each library: functions of net, X, y that give a `Side`.

All have the network's W and b, its activation and loss, and the same X and y, converted once,
outside of what is timed. Each is written as a user of the library who wants speed would write it; a
comment says what was tried. Where a library takes the mean of the losses, `flat` multiplies by n.
NumPy's is the loop of `plain`; `by_reference` is fastbp's own twin, as accurate as its kernels.
"""

import inspect
from functools import partial

import numpy as np

from fastbp import _arguments
from fastbp._arguments.descriptors import UNIT_INTERVAL
from fastbp._command.bench import plain
from fastbp._command.bench.networks import Side, flatten
from fastbp._twin import mathematics

# The activations and losses for which the functions of the peers are given, below and in `plain`;
# without them a peer is left out.
OF_PEERS = {"sigmoid", "tanh", "relu", "identity", "bce", "softmax", "squared_error", "poisson"}


def by_fastbp(net, X, y):
    return Side(partial(net.backprop, X, y), lambda loss: net.grad)


def by_numpy(net, X, y):
    """Raises FloatingPointError where e^-z overflows, about which `plain` promises nothing."""
    gradient, grad = plain.gradient_of(net, len(X))
    call = partial(gradient, X, plain.targets(net, y))
    with np.errstate(over="raise"):
        call()
    return Side(call, lambda loss: grad)


def by_reference(net, X, y):
    """The reference without its argument checks; it is not timed."""
    call = partial(mathematics.gradient, net.weights, net.biases, X, y,
                   _arguments.loss_options(net.loss, net.layer_sizes[-1]), None, net.activation)
    return Side(call, lambda result: flatten(*result[1:]))


def _classes(net, y):
    """Classes as integers, which they are to these libraries; other targets as they are."""
    return y.astype(np.int64) if _arguments.LOSSES[net.loss].is_distribution else y


# ---- PyTorch


def torch_leaves(torch, net):
    """W_1, b_1, W_2, ... as parameters; W is (fan_out, fan_in), as in `torch.nn.Linear`."""
    return [torch.tensor(np.ascontiguousarray(a.T)).requires_grad_()
            for layer in zip(net.weights, net.biases, strict=True) for a in layer]


def torch_flat(leaves):
    """Parameters, or their gradients, in the order and layout of `net.params`."""
    return np.concatenate([a.numpy().T.ravel() for a in leaves])


def torch_loss(torch, net, reduction):
    """The loss as a function of the leaves, X and y."""
    F = torch.nn.functional
    activation = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
                  "identity": lambda z: z}[net.activation]
    of_logits = {
        "bce": F.binary_cross_entropy_with_logits,
        "softmax": F.cross_entropy,
        "squared_error": lambda z, y, reduction: F.mse_loss(z, y, reduction=reduction) / 2,
        "poisson": partial(F.poisson_nll_loss, log_input=True, full=False),
    }[net.loss]

    def loss(leaves, X, y):
        for W, b in zip(leaves[:-2:2], leaves[1:-2:2], strict=True):
            X = activation(F.linear(X, W, b))
        return of_logits(F.linear(X, leaves[-2], leaves[-1]), y, reduction=reduction)

    return loss


def _by_torch(net, X, y, prepare):
    """`.backward()` into gradients that were set to None; `torch.autograd.grad` was slower."""
    import torch

    torch.set_num_threads(1)
    leaves, X, y = torch_leaves(torch, net), torch.tensor(X), torch.tensor(_classes(net, y))
    loss = prepare(torch, torch_loss(torch, net, "sum"))

    def call():
        for leaf in leaves:
            leaf.grad = None
        loss(leaves, X, y).backward()

    return Side(call, lambda _: torch_flat([leaf.grad for leaf in leaves]))


def by_torch(net, X, y):
    return _by_torch(net, X, y, lambda torch, loss: loss)


def by_torch_compile(net, X, y):
    """Forward and loss compiled, and with them their backward, for this one shape.

    The reset gives each network the compiler afresh: it stops after eight shapes of one function.
    """
    def compiled(torch, loss):
        torch.compiler.reset()
        return torch.compile(loss, dynamic=False)

    return _by_torch(net, X, y, compiled)


# ---- JAX


def jax_for(dtype):
    """The modules jax and jax.numpy, set to the dtype.

    The switch for float64 is the process's. One dtype is timed at a time, and the other one's sides
    are made anew; a context around each call would add to its time.
    """
    import jax

    jax.config.update("jax_enable_x64", np.dtype(dtype) == np.float64)
    return jax, jax.numpy


def jax_params(jnp, net):
    """W_1, b_1, W_2, ...; one flat vector, sliced inside, was slower."""
    return [jnp.array(a) for layer in zip(net.weights, net.biases, strict=True) for a in layer]


def jax_loss(jax, jnp, net, total):
    """E2 of the parameters, X and y; `total` is jnp.sum or jnp.mean."""
    activation = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu,
                  "identity": lambda z: z}[net.activation]
    of_logits = {
        "bce": lambda z, y: jnp.maximum(z, 0) - y * z + jnp.log1p(jnp.exp(-jnp.abs(z))),
        "softmax": lambda z, y: -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1),
        "squared_error": lambda z, y: (z - y) ** 2 / 2,
        "poisson": lambda z, y: jnp.exp(z) - y * z,
    }[net.loss]

    def loss(params, X, y):
        for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            X = activation(X @ W + b)
        return total(of_logits(X @ params[-2] + params[-1], y))

    return loss


def by_jax(net, X, y):
    jax, jnp = jax_for(X.dtype)
    gradient = jax.jit(jax.value_and_grad(jax_loss(jax, jnp, net, jnp.sum)))
    params, X, y = jax_params(jnp, net), jnp.array(X), jnp.array(_classes(net, y))
    return Side(lambda: jax.block_until_ready(gradient(params, X, y)),
                lambda result: np.concatenate([np.ravel(a) for a in result[1]]))


# ---- scikit-learn


def by_sklearn(net, X, y):
    """Its own forward pass and `_backprop`, which takes the mean, in arrays that are kept."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    loss = _arguments.LOSSES[net.loss]
    options = {"hidden_layer_sizes": net.layer_sizes[1:-1], "alpha": 0.0,
               "activation": _arguments.ACTIVATIONS[net.activation].sklearn}
    if net.loss == "poisson":
        options["loss"] = "poisson"     # since 1.7
    model = (MLPClassifier if loss.targets is UNIT_INTERVAL else MLPRegressor)(**options)
    model.coefs_, model.intercepts_ = list(net.weights), list(net.biases)
    model.n_layers_, model.n_outputs_ = len(net.layer_sizes), net.layer_sizes[-1]
    model.out_activation_ = loss.sklearn
    if loss.is_distribution:
        y = np.eye(net.layer_sizes[-1], dtype=X.dtype)[_classes(net, y)]
    dW, db = ([np.empty_like(a) for a in arrays] for arrays in (net.weights, net.biases))
    weighted = "sample_weight" in inspect.signature(model._backprop).parameters  # since 1.7
    call = partial(model._backprop, X, y, *([None] if weighted else []),
                   [X] + [None] * len(dW), [None] * len(dW), dW, db)
    return Side(call, lambda result: flatten(*result[1:]).astype(np.float64) * len(X))
