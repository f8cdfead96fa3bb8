"""What is in a model file: tensors and strings, made of a model and made a model again.

| tensor                          | shape                  | dtype         | format version |
|---------------------------------|------------------------|---------------|----------------|
| `weights.0`, `weights.1`, …     | (fan_in, fan_out)      | the network's | all            |
| `biases.0`, `biases.1`, …       | (fan_out,)             | the network's | all            |
| `feature_mean`, `feature_scale` | (n_features,)          | float64       | all, optional  |
| `target_mean`, `target_scale`   | (n_outputs,)           | float64       | 3, optional    |

The metadata are strings: `format`, `format_version`, `activation`, `loss`, `dtype`, `target_name`,
as JSON lists `layer_sizes`, `feature_names` and `classes`, as a JSON object the `loss_options` if
there are any, and `class_dtype`, the name of a dtype, if the classes are numbers or truth values.
`activation` is a name under format version 1; where hidden layers differ the version is 2, which
earlier readers refuse, and `activation` is a JSON list of names.

Version 3 has ensembles and recipes. `n_networks` is the number of networks; if it is more than one
the weights and biases have a first axis of that length. `activation` is JSON, a name or a list of
names. `recipe` is JSON, null or an object: `columns`, how each becomes features (`Number` and
`Levels` of `_preparation`), `target` (`names`, `task`, `classes`), `marks` of missing cells, and
`training`, which is for readers but for `decimal` and `thousands`: see `Recipe`. `digest` is the
SHA-256 of all tensors and all other entries.
"""

import json
import reprlib

import numpy as np

import fastbp
from fastbp import _arguments
from fastbp._labels import dtype_of, labels_from, texts_of
from fastbp._preparation.preparation import Preparation, columns_from
from fastbp._preparation.targets import TASKS, Target
from fastbp._safetensors import digest
from fastbp._saved_model import Recipe, SavedModel

FORMAT = "fastbp-mlp"
FORMAT_VERSIONS = ONE_ACTIVATION, ACTIVATION_OF_EACH_LAYER, RECIPE = "1", "2", "3"
MOST_NETWORKS = 10**6


def content_of(model):
    """The tensors and the metadata of a `SavedModel`, whose mean and scale may be None."""
    net, extended = model.net, model.recipe is not None or isinstance(model.net, fastbp.Population)
    tensors = {}
    for i, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors[f"weights.{i}"] = np.ascontiguousarray(W)
        tensors[f"biases.{i}"] = np.ascontiguousarray(b)
    for name in ("feature_mean", "feature_scale"):
        if getattr(model, name) is not None:
            tensors[name] = getattr(model, name)
    alike = isinstance(net.activation, str)
    metadata = {
        "format": FORMAT,
        "format_version": RECIPE if extended else
                          ONE_ACTIVATION if alike else ACTIVATION_OF_EACH_LAYER,
        "layer_sizes": json.dumps([int(size) for size in net.layer_sizes]),
        "activation": net.activation if alike and not extended else json.dumps(net.activation),
        "loss": net.loss,
        "dtype": np.dtype(net.dtype).name,
        "feature_names": json.dumps(model.feature_names),
        "classes": json.dumps(texts_of(model.classes)),
        "target_name": model.target_name,
    }
    if net.loss_options:
        metadata["loss_options"] = json.dumps(net.loss_options)
    if dtype_of(model.classes):
        metadata["class_dtype"] = dtype_of(model.classes)
    if extended:
        _add_recipe(model, tensors, metadata)
    return tensors, metadata


def _add_recipe(model, tensors, metadata):
    net, recipe = model.net, model.recipe
    metadata["n_networks"] = str(net.n_networks if isinstance(net, fastbp.Population) else 1)
    metadata["recipe"] = "null"
    if recipe is not None:
        target = recipe.target
        if tuple(model.classes) != _classes_of(target):
            raise ValueError(f"classes is {reprlib.repr(model.classes)}; it should be what the "
                             f"recipe has, {reprlib.repr(_classes_of(target))}")
        tensors["target_mean"], tensors["target_scale"] = target.mean, target.scale
        metadata["recipe"] = json.dumps({
            "columns": recipe.preparation.as_lists(),
            "target": {"names": target.names, "task": target.task, "classes": target.classes},
            "marks": recipe.marks, "training": recipe.training})
    metadata["digest"] = _digest(tensors, metadata)


def _digest(tensors, metadata):
    """The digest that a file should have: of the names and the contents of its tensors, in the
    order of the names, and of all metadata but the entry `digest` itself."""
    rest = {name: text for name, text in metadata.items() if name != "digest"}
    text = json.dumps([sorted(tensors), rest], sort_keys=True).encode()
    return digest(np.frombuffer(text, np.uint8), *(tensors[name] for name in sorted(tensors)))


def model_of(metadata, tensors, n_threads):
    """The `SavedModel` of what a file holds.

    Raises
    ------
    ValueError, AttributeError, IndexError, KeyError, TypeError, RecursionError
        The file is damaged, or not one of a network.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError("a safetensors file, but not one of a fastbp network")
    version = metadata.get("format_version")
    if version not in FORMAT_VERSIONS:
        raise ValueError(f"format version {version}; known here are "
                         f"{', '.join(FORMAT_VERSIONS[:-1])} and {FORMAT_VERSIONS[-1]}")
    extended = version == RECIPE
    if extended and metadata["digest"] != _digest(tensors, metadata):
        raise ValueError("damaged: the digest is not that of the content")
    sizes = _arguments.layer_sizes(json.loads(metadata["layer_sizes"]))
    dtype = _arguments.real_dtype(metadata["dtype"])
    n_networks = _arguments.count("n_networks", int(metadata["n_networks"]),
                                  most=MOST_NETWORKS) if extended else 1
    recipe = _recipe(json.loads(metadata["recipe"]), tensors, sizes) if extended else None
    # First: then the sizes allocate what the file can fill.
    _check_tensors(tensors, sizes, dtype, n_networks, recipe is not None)
    net = _network(metadata, tensors, sizes, dtype, n_networks, n_threads)
    names, classes = (json.loads(metadata[name]) for name in ("feature_names", "classes"))
    mean, scale = (
        _arguments.standardisation(name, tensors.get(name, default), sizes[0])
        for name, default in (("feature_mean", np.zeros(sizes[0])),
                              ("feature_scale", np.ones(sizes[0]))))
    if recipe is not None:
        recipe = recipe._replace(preparation=recipe.preparation._replace(mean=mean, scale=scale))
        if recipe.target.loss != net.loss:
            raise ValueError(f"damaged: a network with loss {net.loss!r} does not predict "
                             f"{recipe.target.task}")
        if tuple(classes) != _classes_of(recipe.target):
            raise ValueError(f"damaged: classes {classes} are not those of its target")
        names = recipe.preparation.features
    else:
        names = _arguments.distinct_names("feature_names", names, sizes[0])
    return SavedModel(
        net, mean, scale, names,
        labels_from(classes, metadata.get("class_dtype", ""), n_classes(net)),
        _arguments.string("target_name", metadata["target_name"]), recipe)


def _recipe(found, tensors, sizes):
    if found is None:
        return None
    target = found["target"]
    names, task, marks = _texts(target["names"]), target["task"], _texts(found["marks"])
    classes = tuple(map(_texts, target["classes"]))
    if task not in TASKS or not all(len(set(texts)) == len(texts) for texts in (names, *classes)):
        raise ValueError("damaged: the target is none that a model can have")
    pairs = task == "labels" and len(classes) == len(names) and all(
        len(labels) == 2 for labels in classes)
    several = task == "classes" and len(classes) == len(names) == 1 and len(classes[0]) > 1
    if not (pairs or several or (task in TASKS[2:] and not classes and names)):
        raise ValueError(f"damaged: {classes} are no classes of a model of {task}")
    target = Target(names, task, classes, *(
        _arguments.standardisation(name, tensors[name], sizes[-1])
        for name in ("target_mean", "target_scale")))
    preparation = Preparation(columns_from(found["columns"]), None, None)
    if len(preparation.features) != sizes[0] or target.n_outputs != sizes[-1]:
        raise ValueError(f"damaged: a network of sizes {list(sizes)} does not fit its columns")
    if not isinstance(found["training"], dict):
        raise ValueError("damaged: what is said of the training is no object")
    return Recipe(preparation, target, marks, found["training"])


def _texts(found):
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"damaged: {reprlib.repr(found)} is no list of names")
    return tuple(found)


def _classes_of(target):
    """What `classes` is beside a recipe with this target."""
    return target.classes[0] if target.task == "classes" else ()


def _network(metadata, tensors, sizes, dtype, n_networks, n_threads):
    activation = metadata["activation"]
    if metadata["format_version"] != ONE_ACTIVATION:
        activation = json.loads(activation)
    options = dict(
        activation=activation, loss=metadata["loss"], dtype=dtype.name, n_threads=n_threads,
        **json.loads(metadata.get("loss_options", "{}")))
    if n_networks > 1:
        net = fastbp.Population(n_networks, sizes, seeds=range(n_networks), **options)
    else:
        net = fastbp.MLP(sizes, seed=0, **options)
    for i, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        W[...] = tensors[f"weights.{i}"]
        b[...] = tensors[f"biases.{i}"]
    return net


def n_classes(net):
    """How many classes the outputs tell apart; None if they do not, or each output tells two."""
    return _arguments.LOSSES[net.loss].n_classes(net.layer_sizes[-1])


def _check_tensors(tensors, sizes, dtype, n_networks, has_recipe):
    """Raise a ValueError unless every tensor is there with the shape and dtype it should have."""
    expected, several = {}, (n_networks,) if n_networks > 1 else ()
    for i, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        expected[f"weights.{i}"] = ((*several, fan_in, fan_out), dtype)
        expected[f"biases.{i}"] = ((*several, fan_out), dtype)
    for name in {"feature_mean", "feature_scale"} & tensors.keys():
        expected[name] = ((sizes[0],), np.dtype("float64"))
    if has_recipe:
        for name in ("target_mean", "target_scale"):
            expected[name] = ((sizes[-1],), np.dtype("float64"))
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
