"""Files that a fit writes while it goes on, from which it resumes where it stopped.

A safetensors file: the vectors of the network, of the optimizer and of the best epoch, and what the
epochs returned; beside them, as JSON in the metadata, the counts, the generator, and `fit`, the
arguments that must be the same. It is replaced as a whole, at a boundary of two epochs.
"""

import json
import os
import time

import numpy as np

from fastbp import _arguments, _files
from fastbp._safetensors import digest, import_safetensors, sorted_header

FORMAT, VERSION = "fastbp-checkpoint", "2"
SECONDS = 1.0               # between two files, at least,
SHARE_OF_WRITING = 0.05     # and so long that writing takes no more of the time


class OtherFit(ValueError):
    """A checkpoint is not of this fit.

    Attributes
    ----------
    differences : list of (str, str)
        The names of the arguments that differ, and in words how.
    """

    def __init__(self, path, differences, remedy):
        super().__init__(f"checkpoint {path} is of another fit: "
                         f"{'; '.join(words for _, words in differences)}; {remedy}, or another "
                         "path")
        self.differences = differences


class Checkpoint:
    """The file of one fit.

    Parameters
    ----------
    path : str or path-like
    fit : dict
        What the fit is of, as JSON has it; arrays as `described` gives them. A file of another fit
        is refused.
    """

    def __init__(self, path, fit):
        self.safetensors = import_safetensors()
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"checkpoint is of type {type(path).__name__}; it should be a path")
        self.path, self.fit = os.fsdecode(path), json.loads(json.dumps(fit))
        self.next = time.monotonic() + SECONDS

    def load(self):
        """The tensors, and what else `save` was given; None if there is no file.

        Raises OSError now where `save` would: for a pipe or a device, for example.
        """
        _files.check_writable(self.path)
        try:
            with _files.held(self.path), self.safetensors.safe_open(self.path, "numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except FileNotFoundError:
            return None
        except self.safetensors.SafetensorError as error:
            raise self._damaged(f"it is not a safetensors file: {error}") from None
        if metadata.get("format") != FORMAT:
            raise self._damaged("it is a safetensors file of another kind")
        if metadata.get("format_version") != VERSION:
            raise self._damaged(f"it has the format version {metadata.get('format_version')}; "
                                f"known here is {VERSION}")
        if metadata.get("digest") != content_digest(tensors, metadata):
            raise self._damaged("it is damaged: its content is not that of its digest")
        try:
            fit, rest = json.loads(metadata["fit"]), json.loads(metadata["rest"])
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"it is damaged: {error!r}") from None
        if not isinstance(fit, dict) or not isinstance(rest, dict):
            raise self._damaged("it is damaged")
        differences = [(name, _difference(name, fit.get(name), value))
                       for name, value in self.fit.items() if fit.get(name) != value]
        if differences:
            raise OtherFit(self.path, differences, "give the same arguments")
        return tensors, rest

    def _damaged(self, what):
        return ValueError(f"checkpoint {self.path} cannot be used: {what}; give another path, or "
                          "remove it to start anew")

    def of_another(self, name, words):
        """The error of a file whose fit began with another seed."""
        return OtherFit(self.path, [(name, words)], "give the same seeds")

    def unfit(self, error):
        """The error of a file whose content does not make a fit."""
        return self._damaged(f"it is damaged: {error}")

    def due(self):
        return time.monotonic() >= self.next

    def save(self, tensors, rest):
        start = time.monotonic()
        metadata = {"format": FORMAT, "format_version": VERSION, "fit": json.dumps(self.fit),
                    "rest": json.dumps(rest)}
        metadata["digest"] = content_digest(tensors, metadata)
        content = self.safetensors.numpy.save(tensors, metadata)
        _files.write_file(self.path, sorted_header(content))
        end = time.monotonic()
        self.next = end + max(SECONDS, (end - start) / SHARE_OF_WRITING)


def described(array):
    """An array, or None, as a checkpoint keeps what must be the same."""
    return None if array is None else {"shape": array.shape, "digest": digest(array)}


def _difference(name, was, now):
    """In words how an argument differs, the values of an array aside."""
    if not isinstance(was, dict) or not isinstance(now, dict) or "shape" not in now:
        was, now = ("given" if isinstance(value, dict) and "shape" in value else value
                    for value in (was, now))
        return f"{name} was {was}, it is {now}"
    if was.get("shape") == now["shape"]:
        return f"{name} has other values"
    return f"{name} had the shape {_shape(was.get('shape'))}, it has {_shape(now['shape'])}"


def _shape(found):
    return tuple(found) if isinstance(found, list) else found


def content_digest(tensors, metadata):
    """The digest of a checkpoint: of its tensors, their names, and the rest of its metadata."""
    names = sorted(tensors)
    text = json.dumps([names, metadata.get("fit"), metadata.get("rest")]).encode()
    return digest(np.frombuffer(text, np.uint8), *(tensors[name] for name in names))


# ---- generators and optimizers as JSON and tensors ------------------------------------------


def generator_state(source):
    """The state of a bit generator, arrays as lists; None of None."""
    return None if source is None else plain(source.state)


def plain(value):
    """Dicts and arrays as JSON has them."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


MOST_USED = {"Philox": ("buffer_pos", 4), "MT19937": ("pos", 624)}   # numbers made ahead


def set_generator(source, state):
    """Set the state that `generator_state` gave; ValueError for another."""
    if source is None:
        return
    try:
        name, most = MOST_USED.get(type(source).__name__, (None, 0))
        if name is not None and not 0 <= {**state, **state["state"]}[name] <= most:
            raise ValueError(f"{name} is not in [0, {most}]")   # which NumPy takes as it is
        source.state = state
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"the state of the generator: {error!r}") from None


def optimizer_state(optimizer, prefix="optimizer."):
    """The vectors of its state with a prefix, and the numbers."""
    state = optimizer.state_dict()
    vectors = {prefix + name: value for name, value in state.items()
               if isinstance(value, np.ndarray)}
    return vectors, {name: value for name, value in state.items()
                     if not isinstance(value, np.ndarray)}


def set_states(source, state, optimizer, tensors, numbers):
    """`set_generator` and `set_optimizer`; where one of them fails both are as they were."""
    before = generator_state(source)
    try:
        set_generator(source, state)
        set_optimizer(optimizer, tensors, numbers)
    except ValueError:
        set_generator(source, before)
        raise


def set_optimizer(optimizer, tensors, numbers, prefix="optimizer."):
    """Load what `optimizer_state` gave; ValueError for another."""
    params = tensors["params"]
    vectors = {name.removeprefix(prefix): vector(tensors, name, params.shape, params.dtype)
               for name in tensors if name.startswith(prefix)}
    try:
        optimizer.load_state_dict({**numbers, **vectors})
    except TypeError as error:
        raise ValueError(error) from None


def vector(tensors, name, shape, dtype):
    """A tensor that must be there, of this shape and dtype."""
    found = tensors.get(name)
    if found is None or found.shape != shape or found.dtype != dtype:
        what = "missing" if found is None else f"{found.dtype}{found.shape}"
        raise ValueError(f"{name} is {what}; it should be {np.dtype(dtype)}{shape}")
    return found


def counts(rest, **least):
    """Integers of ``rest``, each at least so large."""
    return [_arguments.count(name, rest.get(name), minimum) for name, minimum in least.items()]
