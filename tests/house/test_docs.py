"""Promise: what the documents say is so.

The derivation names what computes each equation, and that cites the equation back; code blocks
run, links lead somewhere, command lines parse.
"""

import re
import shlex
from importlib.util import find_spec

import pytest
from places import ROOT
from scripts import run_script

import fastbp
from fastbp import reference
from fastbp._command.main import main

PACKAGE = ROOT / "fastbp"
KERNELS = PACKAGE / "_kernels"
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md",
             *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("bench/*.md")),
             *sorted(PACKAGE.glob("**/*.md"))]
# not in the extra `test`: .ci/run has a step with each
NEEDS = {"torch.md": "torch", "privacy.md": "dp_accounting"}
RUN_AS_PAGES = ("tutorial.md", "command.md")    # with their commands, in test_pages.py
DERIVATION = (ROOT / "docs" / "derivation.md").read_text()


def name_of(path):
    return str(path.relative_to(ROOT))


# ---- the derivation


def cited(text):
    """The equations a text cites: ``E2, E3``; ``E1 to E6`` cites six."""
    numbers = set(map(int, re.findall(r"\bE([1-9])\b", text)))
    for first, last in re.findall(r"\bE([1-9])(?: to |–)E([1-9])\b", text):
        numbers |= set(range(int(first), int(last) + 1))
    return numbers


def kernel_docstring(name, path):
    """The docstring, or "", of a function defined in a Cython or Python file of the checkout."""
    definition = rf"^(?:cdef|def) (?:[^\n(=]* )?{name}\([^:]*:\n(?:\s+\"\"\"(.*?)\"\"\")?"
    found = re.search(definition, (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{path} defines no {name}"
    return found[1] or ""


def public(name):
    first, *rest = name.split(".")
    thing = {"fastbp": fastbp, "reference": reference}[first]
    for part in rest:
        thing = getattr(thing, part)
    return thing


def statements():
    """(equation or None, kernels with their file, public names) of each "Computed by"."""
    for section in re.split(r"^## ", DERIVATION, flags=re.MULTILINE)[1:]:
        equation = re.match(r"E([1-9]) ", section)
        for text in re.findall(r"^Computed by: (.*?)(?:\n\n|\Z)", section, re.M | re.S):
            kernels, names = [], []
            for code in re.findall(r"`([^`]+)`", text):
                if "/" in code:
                    kernels += [(name, code) for name in names]
                    names = []
                else:
                    names.append(code)
            yield equation and int(equation[1]), kernels, names


def test_equations_are_defined_in_order():
    assert re.findall(r"\\tag\{E(\d)\}", DERIVATION) == list("123456789")
    assert [equation for equation, *_ in statements()] == [*range(1, 8), *[None] * 6, 8, 9]


@pytest.mark.parametrize(("equation", "kernels", "names"), list(statements()),
                         ids=[f"E{n}" if n else "tails" for n, *_ in statements()])
def test_what_computes_an_equation_exists_and_cites_it(equation, kernels, names):
    assert kernels
    texts = {name: kernel_docstring(name, path) for name, path in kernels}
    texts |= {name: public(name).__doc__ for name in names}
    if equation:
        silent = [name for name, text in texts.items() if equation not in cited(text)]
        assert not silent, f"these do not cite E{equation}: {silent}"


def test_equations_are_cited():
    kernels = "".join(path.read_text() for path in KERNELS.glob("*.pxi"))
    docstrings = "".join(getattr(fastbp, name).__doc__ or "" for name in fastbp.__all__)
    assert cited(kernels) >= {8, 9}
    for text in (kernels, reference.__doc__, docstrings):
        assert cited(text) >= set(range(1, 7))
    assert all(7 in cited((ROOT / path).read_text()) for path in
               ("docs/derivation.md", "tests/support/oracle.py"))
    callers = [path for path in ROOT.glob("tests/**/test_*.py")
               if path.name != "test_docs.py" and "node_form_gradient(" in path.read_text()]
    assert callers, "no test compares with E7"


# ---- code blocks, links, command lines


def blocks(path, language):
    """The text of the fenced blocks of one language, everything else replaced by empty lines."""
    lines, inside = [], None
    for line in path.read_text().splitlines():
        fence = re.match(r"```(\w*)", line)
        if fence:
            inside = fence[1] if inside is None else None
        lines.append(line if not fence and inside == language else "")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name not in RUN_AS_PAGES],
                         ids=name_of)
def test_code_blocks_run(path, tmp_path):
    """In order, as one script that has the line numbers of the document, and without a warning."""
    needed = NEEDS.get(path.name)
    if needed and find_spec(needed) is None:
        pytest.skip(f"the extra {needed} is not installed")
    script = tmp_path / "blocks.py"
    script.write_text(blocks(path, "python"))
    status, said = run_script(script)
    assert status == 0, f"{name_of(path)} at the lines of blocks.py:\n{said}"
    assert "Warning: " not in said, f"{name_of(path)} warns:\n{said}"


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_resolve(path):
    for target in re.findall(r'(?:\]\(|src="|srcset=")([^)"\s]+)[)"]', path.read_text()):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            linked = path.parent / file if file else path
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def command_lines(path):
    """The arguments of each `fastbp …` in shell blocks and in the text of a document."""
    shell = re.split(r"&&|\||\n", blocks(path, "sh").replace("\\\n", " "))
    inline = re.findall(r"`((?:FASTBP_\w+=\S+ )?fastbp [^`]*)`", path.read_text())
    for line in (*shell, *inline):
        words = [word for word in shlex.split(line, comments=True)
                 if not re.match(r"[A-Z_]+=", word)]
        if words[:1] == ["fastbp"]:
            yield words[1:]


def help_of(capsys, *arguments):
    """The help of a command; other arguments before it are refused if they do not parse."""
    assert main([*arguments, "--help"]) == 0, arguments
    return capsys.readouterr().out


def test_readme_has_command_lines():
    assert ["train"] in list(command_lines(README))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_command_lines_parse(path, capsys):
    for arguments in command_lines(path):
        text = help_of(capsys, *arguments)
        for word in arguments:
            option = word.partition("=")[0]
            assert not option.startswith("-") or re.search(rf"{option}\b", text), arguments


def test_synopsis_names_what_there_is(capsys):
    """One entry for each subcommand, and no option that is unknown."""
    page = (ROOT / "docs" / "command.md").read_text()
    text = re.search(r"```\n(fastbp .*?)```", page, re.DOTALL)[1]
    entries = re.findall(r"^fastbp (\w+)(.*?)(?=^fastbp|\Z)", text, re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^    (\w+) ", help_of(capsys), re.MULTILINE)
    assert sorted(name for name, _ in entries) == sorted(commands)
    for name, synopsis in entries:
        options = help_of(capsys, name)
        for option in re.findall(r"--[\w-]+", synopsis):
            assert re.search(rf"{option}\b", options), f"fastbp {name} {option}"
