"""Promise: the readers of docs/models.md, in NumPy and in JavaScript, read each kind of model file,
and the network that they then compute is the one that was saved.

JavaScript runs in V8, which the package mini-racer has, and in Node.js too where that is installed.
"""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
from oracle import assert_within, error_bound, random_network
from places import ROOT

import fastbp
from fastbp._command.main import main
from fastbp._twin.rounding import ANY_ORDER
from fastbp.io import save_model

PAGE = (ROOT / "docs" / "models.md").read_text()
SIZES = (5, 7, 4, 2)
NETWORKS = {
    "version 1": dict(activation="tanh"), "sigmoid": dict(activation="sigmoid"),
    "identity": dict(activation="identity", loss="squared_error"),
    "version 2": dict(activation=["relu", "tanh"], loss="softmax"),
    "float64": dict(activation="relu", loss="poisson", dtype="float64"),
}

# A script ends in a call of `show`, which makes a text its output. V8 alone has no TextDecoder,
# which browsers and Node.js have.
IN_V8 = """
const show = text => text;
globalThis.TextDecoder = class {
  decode(bytes) { return decodeURIComponent(escape(String.fromCharCode(...bytes))); }
};
"""
RUN_V8 = """
import sys
from py_mini_racer import MiniRacer
with MiniRacer() as engine, open(sys.argv[1]) as script:
    print(engine.eval(script.read()))
"""
ENGINES = {"V8": ([sys.executable, "-c", RUN_V8], IN_V8)}
if shutil.which("node"):
    ENGINES["Node.js"] = (["node"], "const show = console.log;")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def numpy_reader():
    """`read_model` of the page."""
    source, = (block for block in blocks("python") if "def read_model" in block)
    names = {"np": np}
    exec(compile(source, "docs/models.md", "exec"), names)
    return names["read_model"]


def javascript(engine, folder, path, expression):
    """The value of an expression of `model`, what `readModel` of the page makes of a file."""
    command, prelude = ENGINES[engine]
    script = folder / "script.js"
    script.write_text("\n".join([
        prelude, *blocks("js"),
        f"const pairs = '{path.read_bytes().hex()}'.match(/../g);",
        "const bytes = Uint8Array.from(pairs, pair => parseInt(pair, 16));",
        "const model = readModel(bytes.buffer);", f"show(JSON.stringify({expression}))"]))
    run = subprocess.run([*command, script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def network(options):
    net = fastbp.MLP(SIZES, seed=0, **options)
    weights, biases = random_network(np.random.default_rng(0), SIZES, net.dtype)
    for views, arrays in ((net.weights, weights), (net.biases, biases)):
        for view, array in zip(views, arrays, strict=True):
            view[...] = array
    return net


@pytest.fixture(params=[*NETWORKS, "ensemble", "table"])
def path(request, tmp_path):
    """A model file of each kind; names and labels are not of ASCII alone."""
    path = tmp_path / "model.safetensors"
    if request.param == "table":
        data = tmp_path / "data.csv"
        data.write_text("größe,stadt,y\n" + "".join(
            f"{i * 7 % 90 if i % 9 else ''},{['Köln', 'Ulm', ''][i % 3]},{i % 11 / 4}\n"
            for i in range(120)), encoding="utf-8")
        assert main(["train", str(data), "--epochs", "1", "--ensemble", "2", "--task",
                     "regression", "--out", str(path)]) == 0
    elif request.param == "ensemble":
        save_model(path, fastbp.Population(3, SIZES, seeds=0), feature_names=list("abcdé"))
    else:
        save_model(path, network(NETWORKS[request.param]), feature_mean=[1, -2, 0, 0.5, 4],
                   feature_scale=[0.5, 2, 1, 4, 0.25], target_name="größe")
    return path


def test_numpy(path):
    metadata, tensors = numpy_reader()(path)
    expected = safetensors.numpy.load_file(path)
    assert {name: (each.dtype, each.shape, each.tobytes()) for name, each in tensors.items()} == {
        name: (each.dtype, each.shape, each.tobytes()) for name, each in expected.items()}
    with safetensors.safe_open(path, framework="numpy") as file:
        assert metadata == file.metadata()


@pytest.mark.parametrize("engine", ENGINES)
def test_javascript(engine, path, tmp_path):
    found = javascript(engine, tmp_path, path, """{metadata: model.metadata, tensors:
        Object.entries(model.tensors).map(([name, {shape, data}]) =>
            [name, data.BYTES_PER_ELEMENT, shape, Array.from(data)])}""")
    metadata, tensors = numpy_reader()(path)
    assert found["metadata"] == metadata
    assert {name: rest for name, *rest in found["tensors"]} == {
        name: [each.itemsize, [*each.shape], each.ravel().tolist()]
        for name, each in tensors.items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_in_javascript(engine, name, tmp_path):
    """In float64, of features whose standardisation is exact, in any order of summation."""
    net, path = network(NETWORKS[name]), tmp_path / "model.safetensors"
    mean, scale = np.array([1, -2, 0, 0.5, 4]), np.array([0.5, 2, 1, 4, 0.25])
    X = np.random.default_rng(1).integers(-8, 8, (6, SIZES[0])) / 8
    for options in ({}, {"feature_mean": mean, "feature_scale": scale}):
        save_model(path, net, **options)
        features = X if not options else X * scale + mean
        found = javascript(engine, tmp_path, path,
                           f"{features.tolist()}.map(row => logits(model, row))")
        exact, bound = error_bound(net.weights, net.biases, X, np.zeros((6, SIZES[-1])),
                                   u=2.0**-53, rounding=ANY_ORDER, activation=net.activation)
        assert_within(found, exact.z[-1], bound.z[-1], "z")


def test_what_the_page_says_of_a_file(path):
    """The tensors and the entries of its tables are those there are."""
    named = set(re.findall(r"`([\w.]+)`", PAGE[PAGE.index("| tensor |"):PAGE.index("### Read it")]))
    metadata, tensors = numpy_reader()(path)
    first = {re.sub(r"\d+$", "0", name) for name in tensors}
    recipe = json.loads(metadata.get("recipe", "null")) or {}
    kinds = [each for column in recipe.get("columns", []) for each in (*column, column["kind"])]
    assert {*first, *metadata, *recipe, *kinds, *recipe.get("target", ())} <= named
    sizes = json.loads(metadata["layer_sizes"])
    several = [int(metadata["n_networks"])] if "n_networks" in metadata else []
    assert [[*tensors[f"weights.{l}"].shape] for l in range(len(sizes) - 1)] == [
        [*several, *pair] for pair in pairwise(sizes)]
