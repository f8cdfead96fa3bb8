"""Networks in safetensors files: plain tensors and strings, no code that runs on loading.

`_model_file` says what a file holds; docs/models.md has readers in other languages. The same model
always gives the same bytes. The state of an optimizer is not stored: `MLP.fit` has checkpoints.
"""

import os
import reprlib

import fastbp
from fastbp import _arguments, _files
from fastbp._labels import labels_of
from fastbp._model_file import content_of, model_of, n_classes
from fastbp._safetensors import import_safetensors, sorted_header
from fastbp._saved_model import SavedModel

__all__ = ["SavedModel", "load_model", "save_model"]

OF_A_PIPELINE = ("; of a StandardScaler and such an estimator save_model(path, pipe[-1], "
                 "feature_mean=pipe[0].mean_, feature_scale=pipe[0].scale_)")


@_arguments.public
def save_model(
    path,
    net,
    *,
    feature_mean=None,
    feature_scale=None,
    feature_names=(),
    classes=(),
    target_name="",
):
    """Write a network to a safetensors file.

    Who reads a file that is there gets the old network or the new one, however many threads or
    processes save it: the new content is on the disk before it takes the place of the old. Mode,
    owner and group stay, as far as the system lets it, and links, symbolic or hard, go on leading
    to the file. A file of several names (hard links) is written in place, while `load_model` waits;
    there alone other readers, and a machine that stops, can meet a file of both.

    Parameters
    ----------
    path : str or path-like
        The file, usually with the suffix `.safetensors`.
    net : fastbp.MLP, fastbp.Population, SavedModel, or estimator of fastbp.sklearn or fastbp.dask
        The network; an ensemble; a model with all that belongs to it, then nothing else is given;
        or a fitted estimator, whose `classes_` and `feature_names_in_` are kept unless others are
        given; of a search its `best_estimator_`.
    feature_mean, feature_scale : array-like of shape (n_features,), optional
        The standardisation `(X - feature_mean) / feature_scale` applied before the network: finite,
        and `feature_scale` above 0.
    feature_names : sequence of str, optional
        The names of the columns of `X`, all different; `SavedModel.forward` looks for them.
    classes : sequence of str, or of bool, int or float, optional
        The labels in the order of y; two for a "bce" of one output, one for each output of a
        "softmax". The dtype of numbers is kept.
    target_name : str, optional
        The name of the target.

    Raises
    ------
    ImportError
        safetensors is not installed.
    TypeError
        net is none of these, the standardisation no real numbers, a name no str, a label neither a
        str nor a number.
    ValueError
        The standardisation does not have the shape (n_features,) or cannot be divided by; names
        are too many, too few, or the same; a label is not finite, or has more than 64 bits.
    OSError
        The file cannot be written.
    """
    safetensors = import_safetensors()
    given = dict(feature_mean=feature_mean, feature_scale=feature_scale,
                 feature_names=feature_names, classes=classes, target_name=target_name)
    model = _model(net, given)
    tensors, metadata = content_of(model)
    _files.write_file(path, sorted_header(safetensors.numpy.save(tensors, metadata)))


def _model(net, given):
    """The `SavedModel` that is to be written; None stands for a standardisation that is not."""
    if isinstance(net, SavedModel):
        for name, value in given.items():
            if value is not None and len(value):
                raise ValueError(f"{name} is {reprlib.repr(value)}; with a SavedModel, which has "
                                 "its own, it should not be given")
        return net
    net = getattr(net, "best_estimator_", net)      # of a search
    net = net.to_local() if hasattr(net, "to_local") else net       # of fastbp.dask
    if hasattr(net, "to_network"):
        net, own = _of_estimator(net)
        given = {name: value if value is not None and len(value) else own.get(name, value)
                 for name, value in given.items()}
    if not isinstance(net, (fastbp.MLP, fastbp.Population)):
        kind = type(net).__name__
        hint = OF_A_PIPELINE if kind == "Pipeline" else _arguments.way_to_a_model(net)
        raise TypeError(f"net is of type {kind}; it should be a fastbp.MLP, a fastbp.Population, a "
                        f"SavedModel, or an estimator of fastbp.sklearn{hint}")
    n_features = net.layer_sizes[0]
    mean, scale = (
        None if given[name] is None else _arguments.standardisation(name, given[name], n_features)
        for name in ("feature_mean", "feature_scale"))
    return SavedModel(
        net, mean, scale,
        _arguments.distinct_names("feature_names", given["feature_names"], n_features),
        labels_of(given["classes"], n_classes(net)),
        _arguments.string("target_name", given["target_name"]))


def _of_estimator(estimator):
    """The network of a fitted estimator, and what it knows of columns and classes."""
    net, own = estimator.to_network(), {}
    if hasattr(estimator, "feature_names_in_"):
        own["feature_names"] = [str(name) for name in estimator.feature_names_in_]
    if hasattr(estimator, "classes_") and n_classes(net) is not None:
        labels = estimator.classes_
        own["classes"] = labels if labels.dtype.kind in "biuf" else [str(each) for each in labels]
    return net, own


@_arguments.public
def load_model(path, *, n_threads=None):
    """Read a network that `save_model` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.
    n_threads : int, optional
        As in `fastbp.MLP`.

    Returns
    -------
    SavedModel
        The network with the saved bits in its parameters, and what was saved beside it.

    Raises
    ------
    ImportError
        safetensors is not installed.
    ValueError
        The file is damaged, is not a fastbp model, or has a newer format version.
    TypeError, ValueError
        n_threads is not an integer, or below 1.
    OSError
        The file cannot be read.
    """
    safetensors = import_safetensors()
    n_threads = _arguments.n_threads(n_threads)
    path = os.fsdecode(path)
    try:
        # A missing file becomes an OSError with its path.
        with _files.held(path), safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        return model_of(metadata, tensors, n_threads)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (AttributeError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error!r}") from None
