"""Promise: what the documents say is so, and the rules of the house hold.

The derivation names what computes each equation, and that cites the equation back; code blocks
run, links lead somewhere, command lines parse. Then, as tests, the rules that no linter knows:
which layer may name, import or contain what.
"""

import ast
import io
import os
import re
import shlex
import subprocess
import sys
import tokenize
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastbp
from fastbp import reference
from fastbp._command.main import main

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastbp"
KERNELS = PACKAGE / "_kernels"
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
             *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("bench/*.md")),
             *sorted(PACKAGE.glob("**/*.md"))]
NEEDS = {"torch.md": "torch"}       # not in the extra `test`: .ci/run has a step with it
DERIVATION = (ROOT / "docs" / "derivation.md").read_text()


def name_of(path):
    return str(path.relative_to(ROOT))


# ---- the derivation


def cited(text):
    """The equations a text cites: ``E2, E3``; ``E1 to E6`` cites six."""
    numbers = set(map(int, re.findall(r"\bE([1-7])\b", text)))
    for first, last in re.findall(r"\bE([1-7])(?: to |–)E([1-7])\b", text):
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
        equation = re.match(r"E([1-7]) ", section)
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
    assert re.findall(r"\\tag\{E(\d)\}", DERIVATION) == list("1234567")
    assert [equation for equation, *_ in statements()] == [*range(1, 8), None, None, None]


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
    for text in (kernels, reference.__doc__, docstrings):
        assert cited(text) >= set(range(1, 7))
    assert all(7 in cited((ROOT / path).read_text()) for path in
               ("docs/derivation.md", "tests/oracle.py"))
    callers = [path for path in ROOT.glob("tests/test_*.py")
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


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_code_blocks_run(path, tmp_path):
    """In order, as one script that has the line numbers of the document."""
    needed = NEEDS.get(path.name)
    if needed and find_spec(needed) is None:
        pytest.skip(f"the extra {needed} is not installed")
    script = tmp_path / "blocks.py"
    script.write_text(blocks(path, "python"))
    found = [str(Path(fastbp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    run = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))})
    assert run.returncode == 0, f"{name_of(path)} at the lines of blocks.py:\n{run.stderr}"


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_resolve(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not re.match(r"\w+:", target):
            file, _, anchor = target.partition("#")
            linked = path.parent / file if file else path
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def command_lines(path):
    """The arguments of each `fastbp …` in shell blocks and in the text of a document."""
    shell = re.split(r"&&|\n", blocks(path, "sh").replace("\\\n", " "))
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
    """The README's synopsis: one entry for each subcommand, and no option that is unknown."""
    text = re.search(r"```\n(fastbp .*?)```", README.read_text(), re.DOTALL)[1]
    entries = re.findall(r"^fastbp (\w+)(.*?)(?=^fastbp|\Z)", text, re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^    (\w+) ", help_of(capsys), re.MULTILINE)
    assert sorted(name for name, _ in entries) == sorted(commands)
    for name, synopsis in entries:
        options = help_of(capsys, name)
        for option in re.findall(r"--[\w-]+", synopsis):
            assert re.search(rf"{option}\b", options), f"fastbp {name} {option}"


# ---- the rules of the house


def code(path):
    """The code of a Python or Cython file, without comments and docstrings."""
    kept = [""]
    lines = io.StringIO(path.read_text()).readline
    for token in tokenize.generate_tokens(lines):
        docstring = token.type == tokenize.STRING and token.string.startswith(('"""', "'''"))
        if token.type not in (tokenize.COMMENT, tokenize.NL) and not docstring:
            kept.append(token.string)
    return " ".join(kept)


ABOVE = sorted(path for suffix in ("pyx", "pxd") for path in PACKAGE.glob(f"*.{suffix}"))
TEXTS = sorted(KERNELS.glob("*.pxi"))


@pytest.mark.parametrize("path", ABOVE, ids=name_of)
def test_no_variant_is_named_above_the_kernels(path):
    """Only the default of a constructor's `dtype` may; `dispatch.kernels` chooses the table."""
    text = re.sub(r'\bdtype = "float32"', "", code(path))
    assert not re.search(r"(?i)avx|neon|\bsse|\b_mm|float(?:32|64)|\bfloat \*|\bdouble \*", text)
    assert not re.search(r"(?i)sklearn|torch", text)


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_kernel_texts(path):
    """No variant is named, no Python object touched, nothing allocated, no thread started."""
    text = code(path)
    assert not re.search(r"(?i)avx|neon|\bsse|\b_mm|float(?:32|64)", text)
    assert not re.search(r"\bobject\b|\bimport\b|\bwith gil\b|\braise\b|\bmalloc\b|pthread", text)
    assert not re.search(r"(?<!c)\bdef \w+", text)
    for definition in re.findall(r"\bcdef [^=\n]*?\) [^:\n]*:", text):
        assert definition.endswith("noexcept nogil :"), definition


@pytest.mark.parametrize("path", sorted(KERNELS.glob("*_float*.pyx")), ids=name_of)
def test_a_variant_is_a_name_and_the_text(path):
    isa, _, _ = path.stem.partition("_")
    assert code(path).split() == ["cdef", "const", "char", "*", "ISA", "=", f'"{isa}"',
                                  "include", '"variant.pxi"']


def test_compiler_flags():
    """Wheels run on every CPU of their architecture, and arithmetic is IEEE's."""
    build = [ROOT / "setup.py", ROOT / "pyproject.toml", ROOT / ".ci" / "run",
             *PACKAGE.glob("**/*.p[yx][xdi]"), *KERNELS.glob("*.h")]
    for path in filter(Path.exists, build):
        found = re.search(r"-march|-mtune|fast-math|-Ofast|fopenmp|prange", path.read_text())
        assert not found, f"{name_of(path)}: {found[0]}"
    assert "-ffp-contract=off" in (ROOT / "setup.py").read_text()
    assert len((ROOT / "setup.py").read_text().splitlines()) <= 150


def imports(path):
    """(level, module or name) of every import of a Python file, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, node.module or alias.name) for alias in node.names)


def test_the_reference_imports_nothing_compiled():
    assert set(imports(PACKAGE / "reference.py")) == {
        (0, "numpy"), (1, "_arguments"), (1, "_twin"), (1, "_twin.optimizers")}
    twins = [path.stem for path in (PACKAGE / "_twin").glob("*.py")]
    for name in twins:
        for level, module in imports(PACKAGE / "_twin" / f"{name}.py"):
            assert (module in twins if level == 1 else module == "_arguments" if level == 2
                    else module.partition(".")[0] in {*sys.stdlib_module_names, "numpy"})
    own = [path.stem for path in (PACKAGE / "_arguments").glob("*.py")]
    for name in own:
        for level, module in imports(PACKAGE / "_arguments" / f"{name}.py"):
            assert (module in own if level == 1 else level == 0
                    and module.partition(".")[0] in {*sys.stdlib_module_names, "numpy"})


def test_import_loads_numpy_and_no_other_package():
    """Nor a module of fastbp that could: the command, the integrations, what reads files."""
    script = ("import sys, numpy; before = set(sys.modules); import fastbp; "
              "print(*set(sys.modules) - before)")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                         cwd=Path(fastbp.__file__).parents[1])
    loaded = set(run.stdout.split())
    packages = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert {name for name in packages if "cython" not in name} <= {"fastbp", "numpy"}
    users = {".".join(("fastbp", *path.relative_to(PACKAGE).with_suffix("").parts))
             for path in PACKAGE.rglob("*.py") if third_parties(path)}
    assert users and not loaded & {*users, "fastbp._command.main", "fastbp.io", "fastbp.datasets"}


def third_parties(path):
    """Packages that a file imports, besides NumPy."""
    return ({module.partition(".")[0] for level, module in imports(path) if level == 0}
            - {*sys.stdlib_module_names, "numpy", "fastbp"})


def within(package):
    """{module: modules of the same package that it imports}, names as in ``bench.tables``."""
    folder = PACKAGE / package
    found = {".".join(path.relative_to(folder).with_suffix("").parts): path
             for path in folder.rglob("*.py")}
    prefix = f"fastbp.{package}."
    arrows = {}
    for name, path in found.items():
        tree = ast.walk(ast.parse(path.read_text()))
        targets = [f"{node.module}.{alias.name}" for node in tree
                   if isinstance(node, ast.ImportFrom) and node.level == 0 for alias in node.names]
        targets = [target.removeprefix(prefix) for target in targets if target.startswith(prefix)]
        arrows[name] = {other for other in found for target in targets
                        if target == other or target.startswith(f"{other}.")}
    return arrows


def test_the_command_imports_downwards():
    """`main` the subcommands, those what they share; no circle, and nothing imports main."""
    arrows = within("_command")
    assert arrows["main"] >= {"train", "check", "bench.command"}
    assert not any("main" in others for others in arrows.values())
    rest = dict(arrows)
    while rest:
        lowest = {name for name, others in rest.items() if not others & rest.keys()}
        assert lowest, f"a circle among {sorted(rest)}"
        rest = {name: others for name, others in rest.items() if name not in lowest}
    shared = {"exits", "figures", "machine", "problems"}
    assert not any(arrows[name] for name in shared)
    for name in ("train", "check", "digests"):
        assert arrows[name] <= shared | {"digests"}
    assert all(others <= shared | {each for each in arrows if each.startswith("bench.")}
               for name, others in arrows.items() if name.startswith("bench."))


def test_the_command_knows_a_third_party_where_it_says():
    """Each in the function that needs it: peers in two modules, rich in two, the others in one."""
    found = {path.stem: path for path in (PACKAGE / "_command").rglob("*.py")}
    parties = {name: third_parties(path) for name, path in found.items()}
    assert {name: packages for name, packages in parties.items() if packages} == {
        "gradients": {"torch", "jax", "sklearn"}, "epochs": {"torch", "sklearn"},
        "machine": {"threadpoolctl"}, "tables": {"rich"}, "train": {"rich"},
        "figures": {"matplotlib"}}
    for name in found:
        tree = ast.parse(found[name].read_text())
        tops = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {getattr(node, "module", None) or node.names[0].name for node in tops}
        assert {module.partition(".")[0] for module in modules} <= {
            *sys.stdlib_module_names, "numpy", "fastbp"}
