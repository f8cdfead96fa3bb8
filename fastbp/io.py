"""Networks in safetensors files: plain tensors and strings, no code that runs on loading.

| tensor                                   | shape               | dtype             |
|------------------------------------------|---------------------|-------------------|
| `weights.0`, `weights.1`, …              | (fan_in, fan_out)   | the network's     |
| `biases.0`, `biases.1`, …                | (fan_out,)          | the network's     |
| `feature_mean`, `feature_scale`          | (n_features,)       | float64, optional |

The metadata are strings: `format`, `format_version`, `activation`, `loss`, `dtype`, `target_name`,
as JSON lists `layer_sizes`, `feature_names` and `classes`, and as a JSON object the
`loss_options` if there are any. `activation` is a name under format version 1; where hidden layers
differ the version is 2, which earlier readers refuse, and `activation` is a JSON list of names. The
same network always gives the same bytes. The state of an optimizer is not stored.
"""

import json
import os
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments, _files
from fastbp._arguments import tables

__all__ = ["SavedModel", "load_model", "save_model"]

FORMAT = "fastbp-mlp"
FORMAT_VERSIONS = ONE_ACTIVATION, ACTIVATION_OF_EACH_LAYER = "1", "2"


class SavedModel(NamedTuple):
    """What `load_model` returns.

    Attributes
    ----------
    net : fastbp.MLP
        The network; it expects standardised features.
    feature_mean, feature_scale : ndarray of shape (n_features,), float64
        The standardisation; zeros and ones if the file has none.
    feature_names : tuple of str
        The columns, by which `forward` reads a table; may be empty.
    classes : tuple of str
        For a classifier, the labels in the order of y; may be empty.
    target_name : str
        The name of the target; may be empty.
    """

    net: "fastbp.MLP"
    feature_mean: np.ndarray
    feature_scale: np.ndarray
    feature_names: tuple[str, ...]
    classes: tuple[str, ...]
    target_name: str

    @_arguments.public
    def forward(self, X):
        """Standardise X and return the network's outputs.

        Parameters
        ----------
        X : array-like or table of shape (n, n_features)
            A table (pandas, polars, Arrow, a structured array, whatever has `columns`) whose
            columns have names is read by `feature_names`, if the model has them, in whatever order
            its columns are; others are left out.

        Returns
        -------
        ndarray of shape (n, n_outputs)

        Raises
        ------
        TypeError
            X is not an array of real numbers.
        ValueError
            X lacks a column, has two of its name, lacks a value, or has another shape.
        """
        X = tables.by_name("X", X, self.feature_names)
        X = _arguments.real_array("X", X, np.float64, shape=("n_samples", self.net.layer_sizes[0]))
        return self.net.forward((X - self.feature_mean) / self.feature_scale)

    def __repr__(self):
        return f"SavedModel({self.net!r}, target_name={self.target_name!r})"


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
    net : fastbp.MLP
        The network.
    feature_mean, feature_scale : array-like of shape (n_features,), optional
        The standardisation `(X - feature_mean) / feature_scale` applied before the network: finite,
        and `feature_scale` above 0.
    feature_names : sequence of str, optional
        The names of the columns of `X`, all different; `SavedModel.forward` looks for them.
    classes : sequence of str, optional
        The labels in the order of y; two for a "bce" of one output, one for each output of a
        "softmax".
    target_name : str, optional
        The name of the target.

    Raises
    ------
    ImportError
        safetensors is not installed.
    TypeError
        net is no MLP, the standardisation no real numbers, a name no str.
    ValueError
        The standardisation does not have the shape (n_features,) or cannot be divided by; names
        are too many, too few, or the same.
    OSError
        The file cannot be written.
    """
    safetensors = import_safetensors()
    if not isinstance(net, fastbp.MLP):
        raise TypeError(f"net is of type {type(net).__name__}; it should be a fastbp.MLP")
    tensors = {}
    for i, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors[f"weights.{i}"] = np.ascontiguousarray(W)
        tensors[f"biases.{i}"] = np.ascontiguousarray(b)
    n_features = net.layer_sizes[0]
    for name, values in (("feature_mean", feature_mean), ("feature_scale", feature_scale)):
        if values is not None:
            tensors[name] = _arguments.standardisation(name, values, n_features)
    alike = isinstance(net.activation, str)
    metadata = {
        "format": FORMAT,
        "format_version": ONE_ACTIVATION if alike else ACTIVATION_OF_EACH_LAYER,
        "layer_sizes": json.dumps([int(size) for size in net.layer_sizes]),
        "activation": net.activation if alike else json.dumps(net.activation),
        "loss": net.loss,
        "dtype": np.dtype(net.dtype).name,
        "feature_names": json.dumps(
            _arguments.distinct_names("feature_names", feature_names, n_features)),
        "classes": json.dumps(_arguments.distinct_names("classes", classes, _n_classes(net))),
        "target_name": _arguments.string("target_name", target_name),
    }
    if net.loss_options:
        metadata["loss_options"] = json.dumps(net.loss_options)
    _files.write_file(path, sorted_header(safetensors.numpy.save(tensors, metadata)))


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
            if metadata.get("format") != FORMAT:
                raise ValueError("a safetensors file, but not one of a fastbp network")
            version = metadata.get("format_version")
            if version not in FORMAT_VERSIONS:
                raise ValueError(f"format version {version}; known here are "
                                 f"{' and '.join(FORMAT_VERSIONS)}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        return _rebuild(metadata, tensors, n_threads)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (AttributeError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error!r}") from None


def _rebuild(metadata, tensors, n_threads):
    sizes = _arguments.layer_sizes(json.loads(metadata["layer_sizes"]))
    dtype = _arguments.real_dtype(metadata["dtype"])
    _check_tensors(tensors, sizes, dtype)  # first: then the sizes allocate what the file can fill
    activation = metadata["activation"]
    if metadata["format_version"] == ACTIVATION_OF_EACH_LAYER:
        activation = json.loads(activation)
    net = fastbp.MLP(
        sizes,
        activation=activation,
        loss=metadata["loss"],
        dtype=dtype.name,
        seed=0,
        n_threads=n_threads,
        **json.loads(metadata.get("loss_options", "{}")),
    )
    for i, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        W[...] = tensors[f"weights.{i}"]
        b[...] = tensors[f"biases.{i}"]
    names, classes = (json.loads(metadata[name]) for name in ("feature_names", "classes"))
    return SavedModel(
        net,
        _arguments.standardisation(
            "feature_mean", tensors.get("feature_mean", np.zeros(sizes[0])), sizes[0]),
        _arguments.standardisation(
            "feature_scale", tensors.get("feature_scale", np.ones(sizes[0])), sizes[0]),
        _arguments.distinct_names("feature_names", names, sizes[0]),
        _arguments.distinct_names("classes", classes, _n_classes(net)),
        metadata["target_name"],
    )


def _n_classes(net):
    """How many classes the outputs tell apart; None if they do not, or each output tells two."""
    return _arguments.LOSSES[net.loss].n_classes(net.layer_sizes[-1])


def _check_tensors(tensors, sizes, dtype):
    """Raise a ValueError unless every tensor is there with the shape and dtype it should have."""
    expected = {}
    for i, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        expected[f"weights.{i}"] = ((fan_in, fan_out), dtype)
        expected[f"biases.{i}"] = ((fan_out,), dtype)
    for name in {"feature_mean", "feature_scale"} & tensors.keys():
        expected[name] = ((sizes[0],), np.dtype("float64"))
    for name, (shape, kind) in expected.items():
        if name not in tensors:
            raise ValueError(f"damaged: there is no tensor {name!r}")
        found = tensors[name]
        if found.shape != shape or found.dtype != kind:
            raise ValueError(
                f"damaged: {name} is {found.dtype}{found.shape}, expected {kind}{shape}"
            )
    for name in sorted(tensors.keys() - expected.keys()):
        raise ValueError(f"damaged: a network of sizes {list(sizes)} has no tensor {name!r}")


def import_safetensors():
    """Return safetensors with its NumPy part, or raise an ImportError that names the extra."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "model files need safetensors: pip install 'fastbp[io]' or 'fastbp[cli]'"
        ) from None
    return safetensors


def sorted_header(content):
    """Return a safetensors file with the keys of its header sorted.

    The library writes the metadata in the order of a hash map, which changes from run to run.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":"))
    encoded = header.encode()
    encoded += b" " * (-len(encoded) % 8)  # the format aligns the tensors to 8 bytes
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + size :]
