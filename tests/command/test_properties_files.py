"""Any bytes in a file: a data set or a network that can be used, or one line that says what is
wrong. Nothing hangs, and nothing of a file's size or text reaches the interpreter unchecked."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays

from fastbp import MLP
from fastbp.datasets import DataError, read_table
from fastbp.io import SavedModel, load_model, save_model

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.sampled_from([2**70, 0.5, "a", "sigmoid"])
    | st.floats(), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["pos_weight", "dtype", "seed", "0"]), inner, max_size=2),
    max_leaves=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("files") / "file"


@st.composite
def damaged(draw, content):
    """The bytes with some of them exchanged, cut out, repeated, or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        at, n = draw(st.integers(0, len(content))), draw(st.integers(0, 9))
        new = draw(st.sampled_from([b"", bytes(n), content[at:at + n] * 2, b"\xff" * n])
                   | st.binary(max_size=9))
        content = content[:at] + new + content[at + n:]
    return content[:draw(st.integers(0, len(content)))] if draw(st.booleans()) else content


def read(path, target):
    """A data set that holds what it promises, or the one line of an error."""
    try:
        data = read_table(path, target)
    except DataError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return
    assert data.X.dtype == np.float64 and data.X.flags.c_contiguous and data.X.size
    assert np.isfinite(data.X).all() and data.y.shape == (len(data.X),)
    assert set(data.y.tolist()) == {0, 1} and len(set(data.classes)) == 2
    assert len(data.feature_names) == data.X.shape[1] and data.target_name not in data.feature_names


TABLE = b'a,b c,"d",y\r\n1,2.5,-3e2,yes\r\n4,0,.5,no\r\n7,8,9,"yes"\n'
PIECES = [b"a", b"y", b"1", b"-0", b"1e999", b"nan", b",", b",", b";", b"\t", b"\n", b"\n", b"\r",
          b'"', b'""', b"1_0", b"\x00", b"\xef\xbb\xbf", "½".encode(), "٣".encode(), b"0x1", b" "]
LINES = st.lists(st.sampled_from(PIECES), max_size=40)


@given(content=st.binary(max_size=60) | LINES.map(b"".join) | damaged(TABLE),
       target=st.sampled_from([None, None, "y", "a", "", "b c"]))
def test_any_csv(path, content, target):
    path.write_bytes(content)
    read(path, target)


@st.composite
def archives(draw):
    """An NPZ file of any arrays, or a damaged one, or a ZIP file of something else."""
    n, file = draw(st.integers(2, 5)), io.BytesIO()
    kind = draw(st.sampled_from(["arrays", "arrays", "members", "pickled"]))
    if kind == "arrays":
        held = {"X": draw(arrays("X", [(n, 3)])).value, "y": draw(arrays("y", [(n,)])).value}
        labels = draw(st.sampled_from([None, np.arange(n) % 2, np.array(["a", "b"] * n)[:n]]))
        held["y"] = held["y"] if labels is None else labels
        held |= draw(st.sampled_from([{}, {"Xy": 1}]))
        held = {name: a if isinstance(a, (np.ndarray, list)) else 0 for name, a in held.items()}
        try:
            np.savez(file, **held)
        except (TypeError, ValueError, NotImplementedError, AssertionError):
            np.savez(file, X=np.ones((n, 3)))   # nobody can save such an array
    elif kind == "pickled":
        np.savez(file, X=np.ones((n, 3)), y=np.array([{}, "a"] * n, object)[:n])
    else:
        with zipfile.ZipFile(file, "w", draw(st.sampled_from([0, 8]))) as archive:
            for name in ("X.npy", "y.npy", "z"):
                archive.writestr(name, draw(st.binary(max_size=20) | st.just(
                    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': "
                    b"(1000000000000000000, 3), }".ljust(128) + b"\n")))
    content = file.getvalue()
    return draw(damaged(content)) if draw(st.booleans()) else content


@pytest.mark.filterwarnings("ignore:Custom dtypes are saved as python objects")
@given(content=archives(), target=st.sampled_from([None, None, "y", "X", "Xy"]))
def test_any_npz(path, content, target):
    path.write_bytes(content)
    read(path, target)


# ---- networks


def saved(path, activation="sigmoid"):
    pytest.importorskip("safetensors")
    net = MLP([2, 3, 4, 1], activation=activation, seed=0, pos_weight=2.0)
    save_model(path, net, feature_mean=[0, 1], feature_scale=[1, 2], feature_names=["a", "b"])
    return path.read_bytes()


def with_metadata(content, changes):
    """The file with other metadata; None removes an entry."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    kept = {**header["__metadata__"], **changes}
    header["__metadata__"] = {name: text for name, text in kept.items() if text is not None}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + size:]


ENTRIES = ["format", "format_version", "layer_sizes", "activation", "loss", "dtype",
           "feature_names", "classes", "target_name", "loss_options"]
TEXTS = (st.none() | JSON.map(json.dumps) | st.text(max_size=5) | st.sampled_from(
    ["[" * 10_000, "f4,f4", "(2,)f4", "float64", "float16", "[2, 3, 4, 1]",
     "[2, 3, 4, 1" + ", 1" * 9, "1", "2", "tanh", '["relu", "relu"]', '{"tanh": 0, "relu": 1}',
     '{"pos_weight": 1e999}', '{"dtype": "float64"}', "{" * 9, "9" * 5000, '["\\ud800"]']))


def load(path):
    try:
        model = load_model(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
        return
    assert isinstance(model, SavedModel)
    with np.errstate(all="ignore"):
        assert model.forward(np.zeros((2, 2))).shape == (2, model.net.layer_sizes[-1])


@given(data=st.data())
def test_any_damaged_network(path, data):
    activation = data.draw(st.sampled_from(["sigmoid", ["tanh", "relu"]]))
    path.write_bytes(data.draw(damaged(saved(path, activation))))
    load(path)


@given(changes=st.dictionaries(st.sampled_from(ENTRIES), TEXTS, min_size=1, max_size=2),
       activation=st.sampled_from(["sigmoid", ["tanh", "relu"]]))
def test_any_metadata(path, changes, activation):
    path.write_bytes(with_metadata(saved(path, activation), changes))
    load(path)
