"""Rule: CONTRIBUTING names every module and every text of the kernels, and no other."""

import re

import pytest
from places import ROOT

PACKAGE = ROOT / "fastbp"
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SECTION = TEXT.partition("## Where things are\n")[2].partition("\n## ")[0]
SUFFIXES = {".py", ".pyx", ".pxd", ".pxi", ".h"}


def tables():
    """{the first cell of its head: the rows of a table, as lists of their cells}."""
    found = {}
    for table in re.findall(r"(?:^\|.*\n)+", SECTION, re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.strip("|\n").split(" | ")]
                          for line in table.splitlines())
        found[head[0].strip(" |")] = rows
    return found


TABLES = tables()


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def files(folder):
    return {path.name for path in folder.iterdir() if path.suffix in SUFFIXES}


def stems(folder):
    return {name.rpartition(".")[0] for name in files(folder)}


def named_above():
    """What the table of layers names, by folder: `_engine/team`, `atomics` are both of _engine."""
    named = {}
    for cell, *_ in TABLES["layer"]:
        folder = ""
        for name in quoted(cell):
            if "/" in name:
                folder, _, name = name.rpartition("/")
            named.setdefault(folder, set()).add(name)
    return named


@pytest.mark.parametrize("folder", ["", "_engine"])
def test_every_module_has_a_line(folder):
    named = {name.partition(".")[0] for name in named_above()[folder]} - {""}
    assert named == stems(PACKAGE / folder) - ({"__init__"} if folder else set())


def test_every_folder_has_a_line():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and files(path)}
    assert folders == {name.partition("/")[0] for name in named_above()} - {""}


def test_every_file_of_the_kernels_has_a_line():
    named = [name for cell, *_ in TABLES["in `_kernels/`"] for name in quoted(cell)]
    found = [[path.name for path in (PACKAGE / "_kernels").glob(name)] for name in named]
    assert all(found), f"there is nothing that one of {named} names"
    assert {*sum(found, [])} == files(PACKAGE / "_kernels") - {"__init__.py", "dispatch.pxd"}
    assert len(named) == len(set(named))


def test_the_modules_of_the_other_folders_are_named():
    rows = {quoted(folder)[0]: set(quoted(modules)) for folder, modules in TABLES["folder"]}
    for folder, named in rows.items():
        assert named == stems(PACKAGE / folder) - {"__init__"}, folder
    listed = {name for name in named_above() if name} - {"_engine", "_kernels", "data", "include"}
    assert {folder.split("/")[0] for folder in rows} == {name.split("/")[0] for name in listed}


def test_the_classes_of_an_mlp_are_in_order():
    """Each derives from the one in the row above, in the module of its row."""
    rows = [(quoted(name)[0], quoted(module)[0]) for name, module, _ in TABLES["class"]]
    assert len(rows) == 8
    for (base, _), (name, module) in zip(rows, rows[1:], strict=False):
        text = (PACKAGE / f"{module}.pyx").read_text()
        assert f"cdef class {name}({base}):" in text
    assert "cdef class Copied:" in (PACKAGE / "_copies.pyx").read_text()
