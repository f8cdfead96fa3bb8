"""Promise: a test is found by what it holds. Folders are promises, each level of the numerics
contract has a file of its name, and a file is short enough to read."""

import ast

import pytest
from places import SUPPORT, TESTS

FOLDERS = {"api", "bits", "command", "dask", "exactness", "house", "onnx", "safety", "sklearn",
           "torch"}
FILES = sorted(TESTS.rglob("*.py"))


def test_a_test_lies_in_the_folder_of_its_promise():
    files = [path for path in FILES if path.name.startswith("test_")]
    assert {path.parent for path in files} == {TESTS / folder for folder in FOLDERS}


def test_helpers_hold_no_test():
    for path in SUPPORT.glob("*.py"):
        names = [node.name for node in ast.parse(path.read_text()).body
                 if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert not [name for name in names if name.lower().startswith("test")], path.name


@pytest.mark.parametrize("level", [*(f"n{i}" for i in range(1, 7)), *(f"l{i}" for i in range(7))])
def test_a_level_of_the_contract_has_a_file(level):
    folder = "dask" if level == "l6" else "bits"    # which platforms without Dask run
    found = [path for path in FILES if path.match(f"{folder}/test_{level}_*.py")]
    assert found
    for path in found:
        assert level.upper() in (ast.get_docstring(ast.parse(path.read_text())) or ""), path.name


def test_no_file_is_longer_than_400_lines():
    lengths = {path.name: len(path.read_text().splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > 400}
