"""Promise: what is particular to an activation or a loss stands in its kernel, twin and descriptor.

The descriptors agree with the kernels, the twins, the stubs and the docstrings; nothing else in the
package names a loss. test_recipe.py adds one of each in a copy of the tree.
"""

import inspect
import re
import tokenize
from pathlib import Path
from typing import get_args

import pytest

import fastbp
from fastbp import _arguments
from fastbp._arguments import ACTIVATIONS, LOSSES, OUTPUTS
from fastbp._arguments.descriptors import UNIT_INTERVAL
from fastbp._twin import bounds, mathematics

PACKAGE = Path(fastbp.__file__).parent
KERNELS = PACKAGE / "_kernels"


def test_numbers_are_those_of_the_kernels():
    table = (KERNELS / "table.pxd").read_text()
    enum = re.search(r"ctypedef enum Activation:\n((?:    .*\n)+)", table)[1]
    assert re.findall(r"^    (\w+)", enum, re.M) == [
        name.upper() for name in sorted(OUTPUTS, key=OUTPUTS.get)]
    assert sorted(OUTPUTS.values()) == list(range(len(OUTPUTS)))
    listed = re.search(r"TABLE.criteria = \[(.*?)\]", (KERNELS / "variant.pxi").read_text(), re.S)
    assert re.findall(r"\w+", listed[1]) == [loss.kernel for loss in LOSSES.values()]


def test_descriptors_are_whole():
    assert get_args(_arguments.ActivationName) == tuple(ACTIVATIONS)
    assert get_args(_arguments.LossName) == tuple(LOSSES)
    for name, descriptor in (*ACTIVATIONS.items(), *LOSSES.items()):
        assert descriptor.name == name
    for loss in LOSSES.values():
        assert loss.output in OUTPUTS
        assert set(loss.options) <= {"pos_weight", "class_weight", "label_smoothing"}


def test_every_descriptor_has_its_twins():
    assert mathematics.ACTIVATIONS.keys() == bounds.ACTIVATIONS.keys() == ACTIVATIONS.keys()
    assert mathematics.LOSSES.keys() == bounds.LOSSES.keys() == LOSSES.keys()
    assert mathematics.OUTPUTS.keys() == OUTPUTS.keys()


def docstrings():
    for module in (fastbp, fastbp.reference):
        for name in module.__all__:
            thing = getattr(module, name)
            for each in (thing, *vars(thing).values()) if inspect.isclass(thing) else (thing,):
                if getattr(each, "__doc__", None):
                    yield f"{module.__name__}.{name}", each.__doc__


@pytest.mark.parametrize(("parameter", "names"), [("activation", ACTIVATIONS), ("loss", LOSSES)])
def test_docstrings_list_all_names(parameter, names):
    found = [(where, re.findall(r'"(\w+)"', listed)) for where, text in docstrings()
             for listed in re.findall(rf"^ *{parameter} : {{(.*?)}}", text, re.M)]
    assert len(found) >= 2
    assert not [each for each in found if each[1] != list(names)]


def literals(path, name):
    """The sets of strings in the Literals after a name in a stub."""
    return [set(re.findall(r'"(\w+)"', listed)) for listed in re.findall(
        rf"\b{name}: (?:TypeAlias = )?Literal\[(.*?)\]", path.read_text())]


def test_stubs_list_the_names():
    """Those of fastbp only by way of the aliases; those of scikit-learn in its stub."""
    for path in PACKAGE.rglob("*.pyi"):
        if path.parent.name != "sklearn":
            assert not literals(path, "activation") and not literals(path, "loss"), path
    stub = PACKAGE / "sklearn" / "__init__.pyi"
    assert literals(stub, "_Activation") == [
        {each.sklearn for each in ACTIVATIONS.values() if each.sklearn}]
    assert literals(stub, "_Loss") == [{name for name, loss in LOSSES.items()
                                       if loss.sklearn and loss.targets is not UNIT_INTERVAL}]


# ---- nothing else names a loss

OWN = {"_arguments/descriptors.py", "_twin/mathematics.py", "_twin/bounds.py"}
# How each peer writes a loss; scikit-learn's "softmax" is an output, and its regressor has two.
OF_PEERS = {"_command/bench/gradients.py", "sklearn/_classifier.py",
            "sklearn/__init__.pyi", "sklearn/_regressor.py"}


def is_default(token):
    """Whether a literal is the default of a parameter ``loss``."""
    return re.search(rf"\bloss\b[^,=]*= ?{token.string}", token.line)


def names_of_losses(path):
    """(line, name) of every literal that is the name of a loss, but for defaults of parameters.

    A public function of one loss hands its name to `_with_logits`, and `__all__` and `_LATER` list
    one that has the name of its loss.
    """
    before, listed = [], False
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            begins = token.string == "=" and before[-1:] in (["__all__"], ["_LATER"])
            listed = begins or listed and token.string not in ("]", "}")
            if (token.type == tokenize.STRING and token.string.strip("'\"") in LOSSES
                    and not is_default(token) and before[-2:] != ["_with_logits", "("]
                    and not listed):
                yield token.start[0], token.string
            before = [*before[-2:], token.string]


def test_nothing_else_names_a_loss():
    found = {}
    for path in sorted(PACKAGE.rglob("*.p[xy]*")):
        if path.suffix not in (".py", ".pyx", ".pxd", ".pyi"):
            continue
        name = str(path.relative_to(PACKAGE))
        if name not in OWN | OF_PEERS:
            found |= {name: list(names_of_losses(path))}
    assert not {name: lines for name, lines in found.items() if lines}


def test_a_name_of_a_loss_is_found(tmp_path):
    path = tmp_path / "some.py"
    path.write_text('def f(loss="bce"):\n'
                    '    return _with_logits("bce") if loss == "softmax" else 0\n')
    assert list(names_of_losses(path)) == [(2, '"softmax"')]
