"""Rule: a release says the same everywhere: its version, the oldest Python and NumPy, its files."""

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib

import numpy
import pytest
import yaml
from places import ROOT
from setuptools.command.egg_info import FileList

import fastbp

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(name):
    return (ROOT / name).read_text()


def only(pattern, text):
    """Return what the one group of a pattern is in a text, which has the pattern once."""
    found = set(re.findall(pattern, text))
    assert len(found) == 1, f"{pattern} is {sorted(found)}; it should be one"
    return found.pop()


def test_the_version_is_the_same_everywhere():
    """The changelog has it on top, and its date is that of the citation; neither has one before."""
    assert read("fastbp/_version.py") == f'__version__ = "{fastbp.__version__}"\n'
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "fastbp._version.__version__"}
    assert str(CITATION["version"]) == fastbp.__version__
    version, date = re.search(r"^## (\S+) \((\S+)\)$", read("CHANGELOG.md"), re.MULTILINE).groups()
    assert version == fastbp.__version__
    assert date == str(CITATION.get("date-released", "unreleased"))


def test_the_citation_agrees_with_the_package():
    """In its title, license, authors, keywords and addresses, of which neither may have none."""
    project = PROJECT["project"]
    assert CITATION["title"] == project["name"]
    assert CITATION["abstract"] == f"{project['description']}."
    assert CITATION["license"] == project["license"]
    assert CITATION["authors"] == project["authors"]
    assert CITATION["keywords"] == project["keywords"]
    assert CITATION.get("repository-code") == project.get("urls", {}).get("Source")


def test_the_oldest_python_is_the_same_everywhere():
    """And the classifiers and .ci/run name all from it on, none left out."""
    oldest = only(r"^>=(3\.\d+)$", PROJECT["project"]["requires-python"])
    for name in ("README.md", "docs/index.md"):
        assert only(r"Python (3\.\d+) or later", read(name)) == oldest, name
    assert only(r"Python (3\.\d+) and NumPy \S+ are the oldest", read("CONTRIBUTING.md")) == oldest
    named = re.findall(r"^Programming Language :: Python :: 3\.(\d+)$",
                       "\n".join(PROJECT["project"]["classifiers"]), re.MULTILINE)
    minors = [int(minor) for minor in named]
    assert minors == list(range(int(oldest.partition(".")[2]), max(minors) + 1))
    tried = only(r"for version in ([\d. ]+); do", read(".ci/run")).split()
    assert tried == [f"3.{minor}" for minor in reversed(minors)]


def test_the_oldest_numpy_is_the_same_everywhere():
    """What a wheel needs, what it is built with at least, and the oldest API that it calls."""
    oldest = only(r"'numpy>=([\d.]+)'", str(PROJECT["project"]["dependencies"]))
    assert f"numpy>={oldest}" in PROJECT["build-system"]["requires"]
    assert only(r"and NumPy (\d+\.\d+) are the oldest", read("CONTRIBUTING.md")) == oldest
    api = only(r"NPY_(\d+_\d+)_API_VERSION", read("setup.py"))
    assert api == oldest.replace(".", "_")
    assert numpy.lib.NumpyVersion(numpy.__version__) >= f"{oldest}.0"


@pytest.fixture
def wheels():
    """tools/release/targets.py."""
    path = ROOT / "tools" / "release" / "targets.py"
    spec = importlib.util.spec_from_file_location("release_targets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wheels_are_for_every_supported_python(wheels):
    """And those of 3.13 and later for the builds without the GIL, too; all have their headers."""
    named = re.findall(r"Python :: (3\.\d+)'", str(PROJECT["project"]["classifiers"]))
    assert [name for name in wheels.PYTHONS if not name.endswith("t")] == named
    free = [name for name in named if int(name.partition(".")[2]) >= 13]
    assert [name for name in wheels.PYTHONS if name.endswith("t")] == [f"{name}t" for name in free]
    assert only(r"for version in ([\d. ]+ 3\.12 [\d. ]+); do", read("tools/headers.sh")) == \
        " ".join(named)


def test_every_target_is_built_in_turn_and_documented(wheels):
    """By .ci/run, but for that of the machine itself, which is built each time."""
    own = {"manylinux-x86_64"}
    foreign = only(r"local foreign=\(([^)]*)\)", read(".ci/run")).split()
    assert sorted(foreign) == sorted(set(wheels.TARGETS) - own)
    table = read("docs/platforms.md").partition("## What ran where")[0]
    systems = {"manylinux": "Linux with glibc", "musllinux": "Linux with musl",
               "macos": "macOS", "windows": "Windows"}
    for target in wheels.TARGETS.values():
        machine = {"x86_64": "x86-64", "amd64": "x86-64"}.get(target.machine, target.machine)
        assert re.search(rf"^\| {systems[target.system]}[^|]*\|[^|]*{machine}\b", table,
                         re.MULTILINE), target.name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows what belongs to it")
def test_the_source_archive_has_all_files(monkeypatch):
    """setuptools adds the modules of packages and the files of a project; MANIFEST.in the rest."""
    monkeypatch.chdir(ROOT)
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    archive = FileList()
    archive.findall()
    for line in read("MANIFEST.in").splitlines():
        archive.process_template_line(line)
    left_out = set(tracked.stdout.split()) - set(archive.files)
    by_setuptools = {"MANIFEST.in", "README.md", "pyproject.toml", "setup.py",
                     *PROJECT["project"]["license-files"]}
    assert {name for name in left_out - by_setuptools
            if not re.fullmatch(r"fastbp/.*\.py", name)} == {".gitignore"}


SDIST = """
import os, sys
from pathlib import Path
from release import source
folder = Path(sys.argv[1])
os.environ["SOURCE_DATE_EPOCH"] = str(source.epoch())
source.copy_tracked(folder / "tree")
os.chdir(folder / "tree")
source.sdist(folder)
"""


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows what belongs to it")
def test_two_source_archives_are_the_same(tmp_path):
    """To the byte, though made at other times and under other masks of modes."""
    contents = []
    for name, mask in (("one", 0o022), ("two", 0o077)):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, "-c", SDIST, tmp_path / name], check=True, umask=mask,
                       capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT / "tools")})
        path, = (tmp_path / name).glob("fastbp-*.tar.gz")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "fastbp/_mlp.pyx", "tools/release/stack.S", ".ci/run"} < names


def test_there_is_a_form_for_each_kind_of_issue():
    assert [path.stem for path in FORMS] == ["bug", "performance", "wrong-number"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one(path):
    """With the keys that GitHub asks for, and `fastbp info` as an answer that is required."""
    form = yaml.safe_load(path.read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z]+", name) for name in ids)
    assert len({field["attributes"]["label"] for field in fields}) == len(fields)
    for field in fields:
        assert field["type"] in ("textarea", "dropdown")
        assert field["type"] != "dropdown" or field["attributes"]["options"]
    info = next(field for field in fields if field["id"] == "info")
    assert info["attributes"]["label"] == "Output of `fastbp info`"
    assert info["validations"] == {"required": True}
