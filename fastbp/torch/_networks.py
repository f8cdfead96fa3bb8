"""Networks of fastbp as modules of PyTorch's, and back: copies of the weights.

A module has a Linear for each layer, whose weight is (fan_out, fan_in), W transposed, and its
activation after each but the last. Its outputs are the logits z_L, which PyTorch's losses take.
"""

import numpy as np
import torch
from torch import nn

import fastbp
from fastbp import _arguments
from fastbp.torch._children import ACTIVATIONS, has_hooks, layers_of
from fastbp.torch._fused import FusedSequential
from fastbp.torch._losses import of_network
from fastbp.torch._tensors import readable

KINDS = {name: kind for kind, name in ACTIVATIONS.items()}
DTYPES = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}


def to_torch(net: fastbp.MLP) -> nn.Sequential:
    """A network as an nn.Sequential with copies of its weights, whose outputs are the logits.

    What a network's loss is in PyTorch: "bce" `nn.BCEWithLogitsLoss`, "softmax"
    `nn.CrossEntropyLoss`, "squared_error" `nn.MSELoss`, "poisson" `nn.PoissonNLLLoss`; there "mean"
    divides by the number of outputs too, and a squared error has no factor of a half. The outputs
    h_L are the sigmoid, the softmax, the logits themselves, and their exponential.

    Parameters
    ----------
    net : fastbp.MLP
        Its `loss_options` stay behind.

    Returns
    -------
    torch.nn.Sequential
        Linear, activation, Linear, …, Linear, on the CPU, in the dtype of `net`. The keys of its
        state_dict are "0.weight" of shape (fan_out, fan_in), "0.bias", "2.weight", and so on.

    Raises
    ------
    TypeError
        For an argument that is no `fastbp.MLP`.
    """
    if not isinstance(net, fastbp.MLP):
        raise TypeError(f"net is of type {type(net).__name__}; it should be a fastbp.MLP"
                        f"{_arguments.way_to_a_network(net)}")
    hidden = _arguments.each_activation(net.activation, len(net.layer_sizes) - 2)
    children = []
    for W, b, activation in zip(net.weights, net.biases, (*hidden, None), strict=True):
        # without random numbers, which would be drawn from PyTorch's generator
        linear = nn.utils.skip_init(nn.Linear, *W.shape, device="cpu", dtype=DTYPES[net.dtype])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        children += [linear, *([KINDS[activation]()] if activation else [])]
    return nn.Sequential(*children)


def from_torch(module: nn.Sequential, loss: str | nn.Module) -> fastbp.MLP:
    """A network with copies of the weights of an nn.Sequential.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, Sigmoid, Tanh, ReLU and Identity, and of Sequentials of these, fused or not, on
        the CPU. It ends in a Linear, whose outputs are the logits, or in the output of the loss: a
        Sigmoid for "bce" and nn.BCELoss.
    loss : {"bce", "softmax", "squared_error", "poisson"} or torch.nn.Module
        The loss of the network, which says what its outputs are; "cross_entropy" is another name
        of "softmax". Of an instance that `loss_and_grad_` takes too, an `nn.CrossEntropyLoss` for
        one, the network has the `pos_weight`, `class_weight` and `label_smoothing`; reductions, and
        the half of a squared error, are fastbp's own.

    Returns
    -------
    fastbp.MLP
        In the dtype of the parameters. A Linear without a bias gets one of zeros.

    Raises
    ------
    TypeError
        For a module that is no such Sequential, has hooks, a forward of its own, or weights that
        are computed; for parameters that are not float32 or float64, all of one, on the CPU.
    ValueError
        For a loss that there is not, or that does not fit the end of the module, and an option of
        one that fastbp does not have.
    """
    if type(module) not in (nn.Sequential, FusedSequential):
        raise TypeError(f"module is of type {type(module).__name__}; it should be an "
                        "nn.Sequential of Linear and activations"
                        f"{_arguments.way_to_a_network(module)}")
    children = _flat(module)
    linears, activations = layers_of(children.values())
    options = of_network(loss, activations[-1])
    for place, each in children.items():
        _check_as_made(f"child {place}", each)
    weights, biases, dtype = _arrays({place: each for place, each in children.items()
                                      if each in linears})
    sizes = [linears[0].in_features, *(linear.out_features for linear in linears)]
    net = fastbp.MLP(sizes, activation=activations[:-1], dtype=dtype, seed=0, **options)
    for view, weight in zip(net.weights, weights, strict=True):
        view[...] = weight.T
    for view, bias in zip(net.biases, biases, strict=True):
        view[...] = 0 if bias is None else bias
    return net


def _flat(module, inside=""):
    """The children by their places, "0" and "2.1", those of Sequentials inside in their order."""
    if has_hooks(module, *module):
        raise TypeError("module or a child has hooks, which a network does not; remove them first")
    if "forward" in vars(module):
        raise TypeError(f"{f'child {inside}' if inside else 'module'} has a forward of its own; it "
                        "should be that of its class")
    found = {}
    for i, child in enumerate(module):
        place = f"{inside}.{i}" if inside else str(i)
        if type(child) in (nn.Sequential, FusedSequential):
            found |= _flat(child, place)
        else:
            found[place] = child
    return found


def _check_as_made(name, child):
    """Raise where a call of the child may not be what its kind and parameters say."""
    if "forward" in vars(child):
        raise TypeError(f"{name} has a forward of its own; it should be that of its class")
    for parameter in ("weight", "bias"):
        if hasattr(child, parameter) and parameter not in child._parameters:
            raise TypeError(f"{name} computes its {parameter} in each call; it should be a "
                            "parameter, as torch.nn.utils.parametrize.remove_parametrizations, "
                            "remove_weight_norm or prune.remove leave it")


def _arrays(linears):
    """The weights, and the biases or None, as arrays; and their dtype."""
    found, dtype = {"weight": [], "bias": []}, None
    for place, linear in linears.items():
        for name, arrays in found.items():
            tensor = linear._parameters[name]
            if tensor is None:
                arrays.append(None)
                continue
            tensor = readable(f"{place}.{name}", tensor)
            if tensor.dtype not in (DTYPES.values() if dtype is None else [dtype]):
                wanted = ("float32 or float64" if dtype is None else
                          f"{plain(dtype)}, as those before it")
                raise TypeError(f"{place}.{name} is {plain(tensor.dtype)}; it should be {wanted}")
            arrays.append(tensor.detach().numpy())
            dtype = tensor.dtype
    return found["weight"], found["bias"], plain(dtype)


def plain(dtype):
    """The name of a dtype of PyTorch's, which NumPy knows."""
    return str(dtype).removeprefix("torch.")
