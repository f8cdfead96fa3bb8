"""PyTorch's losses, and fastbp's by name, as keywords of `fastbp.Layers.loss_and_grad`.

| torch.nn          | last activation | fastbp          | "mean" divides the sum by      |
|-------------------|-----------------|-----------------|--------------------------------|
| BCEWithLogitsLoss | identity        | "bce"           | n n_outputs                    |
| BCELoss           | sigmoid         | "bce"           | n n_outputs                    |
| CrossEntropyLoss  | identity        | "softmax"       | n, or the sum of class weights |
| MSELoss           | identity        | "squared_error" | n n_outputs / 2                |
| PoissonNLLLoss    | identity        | "poisson"       | n n_outputs                    |

Options of PyTorch's losses that fastbp's do not have are refused.
"""

import torch
from torch import nn

from fastbp import _arguments
from fastbp._arguments import LOSSES
from fastbp.torch._tensors import array

# fastbp's names, and PyTorch's of the loss of a distribution.
NAMES = {name: name for name in LOSSES}
NAMES["cross_entropy"] = next(name for name, loss in LOSSES.items() if loss.is_distribution)


def keywords(loss, reduction, sample_weight, n, n_outputs, activation, y):
    """Those of a loss by name, or of one of PyTorch's; `activation` is the last of the network."""
    if isinstance(loss, nn.Module):
        if reduction is not None or sample_weight is not None:
            raise ValueError("reduction and sample_weight go with a loss by name; "
                             f"{type(loss).__name__} has its own")
        wanted, options = _translated(loss, n, n_outputs, y)
    else:
        name = name_of(loss)
        wanted = activation if activation == LOSSES[name].output else "identity"
        reduction = "mean" if reduction is None else reduction
        options = {"loss": name,
                   "reduction": _arguments.choice("reduction", reduction, ("mean", "sum"))}
        if sample_weight is not None:
            options["sample_weight"] = sample_weight
    options["mean"] = (loss.reduction if isinstance(loss, nn.Module) else reduction) == "mean"
    if activation != wanted:
        refuse_ending(activation, wanted)
    return options


def of_network(loss, activation):
    """The `loss` of a network whose module ends in `activation`, and the options it has."""
    if not isinstance(loss, nn.Module):
        name = name_of(loss)
        if activation not in ("identity", LOSSES[name].output):
            refuse_ending(activation, "identity")
        return {"loss": name}
    wanted, options = _translated(loss, 1, 1, torch.empty(0))
    if activation != wanted:
        refuse_ending(activation, wanted)
    del options["reduction"]        # which a call of the network has
    return {name: value for name, value in options.items() if value is not None}


def _translated(loss, n, n_outputs, y):
    """What the module should end in under one of PyTorch's losses, and its keywords."""
    translate = TRANSLATIONS.get(type(loss))
    if translate is None:
        raise TypeError(f"loss is of type {type(loss).__name__}; it should be one of "
                        f"{', '.join(kind.__name__ for kind in TRANSLATIONS)}, or a name")
    return ("sigmoid" if type(loss) is nn.BCELoss else "identity",
            {"loss": NAME_OF[type(loss)], **translate(loss, n, n_outputs, y)})


def name_of(loss):
    """fastbp's name of a loss by name."""
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        raise TypeError(f"loss is the class {loss.__name__}; it should be an instance, "
                        f"nn.{loss.__name__}()")
    return NAMES[_arguments.choice("loss", loss, tuple(NAMES))]


def refuse_ending(activation, wanted):
    """Raise for a module whose last activation is not the one that a loss is of."""
    raise ValueError(f"the module ends in {activation!r}; under this loss it should end in "
                     f"{wanted!r}")


def scale_of_samples(options, n):
    """What divides the sum, and what each sample's part is over the loss of that sample alone."""
    _arguments.at_least_one_sample(n, "mean" if options["mean"] else "sum")
    if options["divisor"] == 0 and options.get("class_weight") is not None:
        raise ValueError("CrossEntropyLoss has a weight and reduction='mean', which divides by the "
                         "classes of a batch; to clip gradients reduction should be 'sum'")
    divisor = options["divisor"] or n
    return divisor, divisor / n if options["mean"] else divisor


def _reduction(loss, elements):
    """What divides the sum: 1, or the number of elements that PyTorch takes the mean of."""
    if loss.reduction not in ("mean", "sum"):
        raise ValueError(f"{type(loss).__name__} has reduction={loss.reduction!r}; "
                         "it should be 'mean' or 'sum'")
    # the mean over no samples is refused under that name
    return 1.0 if loss.reduction == "sum" else elements or "mean"


def _refuse(loss, **unwanted):
    """Raise for an attribute that is not what it should be: {name: (wanted, is it so)}."""
    for name, (wanted, fits) in unwanted.items():
        if not fits:
            raise ValueError(f"{type(loss).__name__} has {name}={getattr(loss, name)!r}; "
                             f"for a fused module it should be {wanted}")


def _bce(loss, n, n_outputs, y):
    _refuse(loss, weight=("None", loss.weight is None))
    pos_weight = getattr(loss, "pos_weight", None)
    if pos_weight is not None:
        pos_weight = array("pos_weight", pos_weight)
    return {"reduction": _reduction(loss, n * n_outputs), "pos_weight": pos_weight}


def _cross_entropy(loss, n, n_outputs, y):
    weight = loss.weight
    _refuse(loss, ignore_index=("-100, with no such class in y", loss.ignore_index == -100),
            weight=("None where y has probabilities, or label_smoothing is above 0",
                    weight is None or y.dim() == 1 and not loss.label_smoothing))
    _reduction(loss, n)
    return {"reduction": loss.reduction,
            "class_weight": None if weight is None else array("weight", weight),
            "label_smoothing": loss.label_smoothing}


def _squared_error(loss, n, n_outputs, y):
    divisor = _reduction(loss, n * n_outputs)
    return {"reduction": divisor if divisor == "mean" else divisor / 2}


def _poisson(loss, n, n_outputs, y):
    _refuse(loss, log_input=("True", loss.log_input), full=("False", not loss.full))
    return {"reduction": _reduction(loss, n * n_outputs)}


TRANSLATIONS = {nn.BCEWithLogitsLoss: _bce, nn.BCELoss: _bce,
                nn.CrossEntropyLoss: _cross_entropy, nn.MSELoss: _squared_error,
                nn.PoissonNLLLoss: _poisson}
NAME_OF = {getattr(nn, kind): name for name, loss in LOSSES.items() for kind in loss.torch}
