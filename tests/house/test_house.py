"""The rules of the house that no linter knows: which part may name, import or contain what."""

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from calling import in_process

import fastbp

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fastbp"
KERNELS = PACKAGE / "_kernels"


def name_of(path):
    return str(path.relative_to(ROOT))


@functools.cache
def code(path):
    """The code of a Python or Cython file, without comments and docstrings."""
    kept = [""]
    lines = io.StringIO(path.read_text()).readline
    for token in tokenize.generate_tokens(lines):
        docstring = token.type == tokenize.STRING and token.string.startswith(('"""', "'''"))
        if token.type not in (tokenize.COMMENT, tokenize.NL) and not docstring:
            kept.append(token.string)
    return " ".join(kept)


ABOVE = sorted(path for folder in (PACKAGE, PACKAGE / "_engine") for suffix in ("pyx", "pxd")
               for path in folder.glob(f"*.{suffix}"))
TEXTS = sorted(KERNELS.glob("*.pxi"))


HEADER = ("capi", "_capi", "_capi_problem")     # the names of fastbp.h, and their meaning


@pytest.mark.parametrize("path", ABOVE, ids=name_of)
def test_no_variant_is_named_above_the_kernels(path):
    """Nor a dtype, but as the default of a constructor, and that of the sums of N3.

    `dispatch.kernels` chooses the table. C programs name a dtype as they name a loss.
    """
    text = re.sub(r'\bdtype = "float32"|\bdouble \* sums\b', "", code(path))
    if path.stem in HEADER:
        text = re.sub(r"\bFASTBP_FLOAT(?:32|64)\b|\bdouble \* loss\b", "", text)
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


def imports(path, indent=" *"):
    """What a Python or Cython file imports or cimports, at any depth, or with this indent.

    ``from a import b, c`` as ``a.b`` and ``a.c``, a relative one with its package.
    """
    folder = path.relative_to(ROOT).parent.parts
    text = re.sub(r'"""(?s:.*?)"""|#.*', "", path.read_text())
    for dots, module, names in re.findall(
            rf"^{indent}from +(\.*)([\w.]*) +c?import +(\((?s:.*?)\)|.*)", text, re.M):
        base = folder[:len(folder) + 1 - len(dots)] if dots else ()
        whole = ".".join([*base, *filter(None, [module])])
        yield from (f"{whole}.{name.split()[0]}" for name in names.strip("()").split(",")
                    if name.strip())
    for names in re.findall(rf"^{indent}c?import +(.*)", text, re.M):
        yield from (name.split()[0] for name in names.split(","))


# What each part of the house may import of fastbp, by prefixes of names; "" is the public API.
# A compiled face may import what is below it:
BELOW = ("_kernels", "_engine", "_arguments", "_calls", "_copies", "_random", "_config", "_loss",
         "_problem", "_arrays", "_optimizer", "_optim", "_layers", "_logit_losses", "_network",
         "_per_sample", "_second_order", "_input_grads", "_training", "_fitting")
TWINS = ("reference", "_twin")
MAY_IMPORT = {
    "_kernels": ("_kernels",),
    "_engine": ("_engine", "_kernels"),
    "_second_order": (*BELOW, "_operators"),
    "_arguments": ("_arguments",),
    "_twin": ("_twin", "_arguments", "_random"),
    "reference": ("_twin", "_arguments"),
    "_members": (*BELOW, "_mlp", "_crew"),
    "_crew": (*BELOW, "_given"),
    "_evaluation": (*BELOW, "_members", "_crew", "_given"),
    "_epochs": (*BELOW, "_crew"),
    "_fit": ("_arguments", "_progress"),
    "_fitting": (*BELOW, "_fit", "_checkpoint"),
    "_checkpoint": ("_arguments", "_files", "_safetensors"),
    "_safetensors": (),
    "_preparation": ("_preparation", "_arguments", "_table"),
    "_labels": ("_arguments", "_preparation"),
    "_saved_model": ("", "_arguments", "_labels", "_preparation"),
    "_model_file": ("", "_arguments", "_labels", "_preparation", "_safetensors", "_saved_model"),
    "_population": (*BELOW, "_mlp", "_evaluation", "_epochs", "_crew", "_given", "_fit", "_members",
                    "_part_inputs", "_parts"),
    "_part_inputs": (),
    "_parts": ("_fit", "_optim", "_spread"),
    "_spread": ("_arguments", "_kernels.dispatch", "_version"),
    "_many": (*BELOW, "_mlp", "_epochs", "_crew", "_given", "_fit"),
    "_command": ("", "_command", "_arguments", "_checkpoint", "_files", "_progress", "_random",
                 "_screen", "_engine.orders", "_kernels.dispatch", "_preparation", "_safetensors",
                 "_saved_model", "_table",
                 "io", "datasets", "sklearn", *TWINS),
    "sklearn": ("", "sklearn", "_arguments", "_many", "_progress", "_spread"),
    "torch": ("", "torch", "_unchecked", *BELOW),
    "dask": ("", "dask", "_arguments", "_checkpoint", "_progress", "_spread", "sklearn"),
    "onnx": ("", "onnx", "_arguments", "_files", "io", "sklearn"),
    "io": ("", "_arguments", "_files", "_labels", "_model_file", "_safetensors", "_saved_model"),
    "datasets": ("_arguments", "_table"),
    "_table": ("_table", "_arguments"),
    "_config": ("_arguments", "_cgroup", "_engine.plan", "_engine.team", "_kernels.dispatch",
                "_screen", "_version"),
    "_random": ("_arguments",),
    "_capi": ("capi", "_capi_problem", *BELOW),
    "_capi_problem": ("capi", *BELOW),
    "capi": (), "_cgroup": (), "_progress": (), "_files": ("_locks",), "_locks": (), "_refusal": (),
    "_operators": (), "_modules": (), "_screen": (), "_version": (), "data": (),
    "__init__": ("_refusal", "_modules", "_version", "_config", "_equations", "_layers",
                 "_logit_losses", "_many", "_mlp", "_optim", "_population", "_random",
                 "_kernels.dispatch", "reference"),
    "__main__": ("_command.main",),
}


def sources():
    """(part of the house, file) of every Python and Cython file of the package."""
    for path in sorted(PACKAGE.rglob("*.p[xy]*")):
        if path.suffix in (".py", ".pyx", ".pxd", ".pxi"):
            yield path.relative_to(PACKAGE).with_suffix("").parts[0], path


def test_every_part_imports_what_it_may():
    """The arrows between the layers; compiled faces may use all that is below them."""
    for part, path in sources():
        allowed = [f"fastbp.{name}".rstrip(".") for name in MAY_IMPORT.get(part, BELOW)]
        for module in imports(path):
            if module == "fastbp":
                assert "fastbp" in allowed, f"{name_of(path)} imports the public API"
            elif module.startswith("fastbp."):
                assert any(f"{module}.".startswith(f"{name}.") for name in allowed
                           if name != "fastbp"), f"{name_of(path)} imports {module}"


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_modules_import_each_other_in_one_direction():
    """As they are loaded. So threads that import different modules wait, and never for each other.

    All else waits for `fastbp` itself, if another thread has begun to import it; what it imports
    does not, and says `from fastbp._module import ...`.
    """
    modules = {module_of(path) for _, path in sources()}
    needs = {module: set() for module in modules}
    for _, path in sources():
        for name in imports(path, ""):
            while name not in modules and "." in name:
                name = name.rpartition(".")[0]
            needs[module_of(path)].add(name)
    before = TopologicalSorter({module: {name for name in names & modules
                                         if name not in ("fastbp", module)}
                                for module, names in needs.items() if module != "fastbp"})
    assert list(before.static_order())
    loaded = in_process("import sys, fastbp; print(*(name for name in sys.modules "
                        "if name.startswith('fastbp.') and '_cython' not in name))")
    assert "fastbp._kernels.dispatch" in loaded and len(loaded) > 15
    for name in loaded:
        for path in ROOT.glob(f"{name.replace('.', '/')}.py*"):
            waits = r"^(?:from fastbp import|import fastbp|from \.\. import)\b"
            assert path.suffix == ".pyi" or not re.search(waits, path.read_text(), re.M), name


def test_imports_are_found(tmp_path, monkeypatch):
    """In all forms that the house uses."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "fastbp" / "_twin" / "some.pyx"
    path.parent.mkdir(parents=True)
    path.write_text("from fastbp import _a, _b as c\nfrom fastbp._c cimport (\n    d,\n)\n"
                    "from . import e\nfrom .. import _f\nfrom .g import h\nimport fastbp, numpy\n"
                    "def i():\n    from fastbp.j import k\n")
    assert sorted(imports(path)) == sorted([
        "fastbp._a", "fastbp._b", "fastbp._c.d", "fastbp._twin.e", "fastbp._f", "fastbp._twin.g.h",
        "fastbp", "numpy", "fastbp.j.k"])


def test_a_gradient_has_one_entry():
    """MLP, Layers, PyTorch's face and C programs all prepare it by the functions of one file."""
    for plan, entry in (("add_loss_and_gradient", "prepare_gradient"),
                        ("add_outputs", "prepare_outputs")):
        naming = {name_of(path) for _, path in sources() if re.search(rf"\b{plan}\b", code(path))}
        assert naming == {"fastbp/_engine/gradient.pyx"}
        using = {name_of(path) for _, path in sources() if re.search(rf"\b{entry}\b", code(path))}
        assert using == {*naming, "fastbp/_engine/gradient.pxd", "fastbp/_capi.pyx"}
    for _, path in sources():
        if path.suffix == ".pyx" and path.parts[-2] != "_engine":
            assert not re.search(r"\. prepare \( &", code(path)), name_of(path)


def exists(name):
    """Whether a dotted name is a module, or a word in the source of one."""
    *parents, last = name.split(".")
    module, parent = ROOT.joinpath(*parents, last), ROOT.joinpath(*parents)
    files = module, module.with_suffix(".py"), module.with_suffix(".pyx")
    if any(path.exists() for path in files):
        return True
    return any(path.is_file() and re.search(rf"\b{last}\b", path.read_text()) for path in (
        parent / "__init__.py", parent.with_suffix(".py"), parent.with_suffix(".pyx")))


def test_scripts_and_tests_import_what_there_is():
    """In bench/, examples/, tools/ and tests/, parts of which run only now and then."""
    for folder in ("bench", "examples", "tools", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            missing = [name for name in imports(path)
                       if name.startswith("fastbp.") and not exists(name)]
            assert not missing, f"{name_of(path)} imports {missing}"
    assert not exists("fastbp._command.none") and not exists("fastbp.reference.none_of_these")


def test_twins_and_arguments_import_numpy_alone():
    """Nothing that is compiled, so that they run and can be read without a build."""
    for part, path in sources():
        if part in ("reference", "_twin", "_arguments"):
            others = {module.partition(".")[0] for module in imports(path)}
            assert others <= {*sys.stdlib_module_names, "numpy", "fastbp"}, name_of(path)


def test_packages_are_those_that_are_installed():
    """A flat layout names its packages; one that is missing would be missing in a wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [".".join(path.parent.relative_to(ROOT).parts)
             for path in sorted(PACKAGE.rglob("__init__.py"))]
    assert sorted(listed) == found


def test_refusals_of_arguments_are_in_one_place():
    """A compiled face raises for the state that an object is in, and asks _arguments otherwise."""
    for path in (*PACKAGE.glob("*.pyx"), PACKAGE / "_random.py"):
        found = re.search(r"raise (?:Type|Value) ?Error", code(path))
        assert not found, f"{name_of(path)}: {found[0]}"


def test_files_are_of_a_size_to_be_read():
    """No source of the package has more than 400 lines."""
    long = {name_of(path): n for _, path in sources()
            if (n := len(path.read_text().splitlines())) > 400}
    assert not long


FIGURE_OF_SPEED = re.compile(
    r"\b\d[\d.]* ?(?:us|µs|ns|cycles)\b|\b\d\.\d+ (?:times|of the time|better|worse|for \d)"
    r"|\b\d[\d.]* times as long|\btook \d|\bcosts? up to \d|: \d\.\d\d (?:for|with|over)\b")


def test_comments_have_no_figures_of_speed():
    """No comment has a figure of speed: later nobody knows which machine it was measured on."""
    for path in (*PACKAGE.rglob("*.p[xy]*"), *KERNELS.glob("*.h")):
        if path.suffix in (".pyx", ".pxd", ".pxi", ".h"):
            found = FIGURE_OF_SPEED.search(path.read_text())
            assert not found, f"{name_of(path)}: {found[0]}"
    for text in ("14.1 -> 14.8 us", "took 7.7 ms", "34 cycles a vector", "0.85 of the time",
                 "1.16 times as long", "sample: 1.26 for 1"):
        assert FIGURE_OF_SPEED.search(text), text


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
    return ({module.partition(".")[0] for module in imports(path)}
            - {*sys.stdlib_module_names, "numpy", "fastbp"})


def within(package):
    """{module: modules of the same package that it imports}, names as in ``bench.tables``."""
    folder, prefix = PACKAGE / package, f"fastbp.{package}."
    found = {".".join(path.relative_to(folder).with_suffix("").parts): path
             for path in folder.rglob("*.py")}
    arrows = {}
    for name, path in found.items():
        targets = [target.removeprefix(prefix) for target in imports(path)
                   if target.startswith(prefix)]
        arrows[name] = {other for other in found for target in targets
                        if f"{target}.".startswith(f"{other}.")}
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
    shared = {"exits", "figures", "machine", "outputs", "problems"}
    assert not any(arrows[name] for name in shared)
    for name in ("check", "summary", "digests"):
        assert arrows[name] <= shared | {"digests", "summary"}
    tables = {name for name in arrows if name.startswith("tables.")}
    for name in ("train", "predict", "explain", *tables):
        assert arrows[name] <= shared | tables | {"predict"}
    assert all(others <= shared | {each for each in arrows if each.startswith("bench.")}
               for name, others in arrows.items() if name.startswith("bench."))


def test_the_command_knows_a_third_party_where_it_says():
    """Each in the function that needs it: peers in a few modules, the others in one."""
    found = {path.stem: path for path in (PACKAGE / "_command").rglob("*.py")}
    parties = {name: third_parties(path) for name, path in found.items()}
    assert {name: packages for name, packages in parties.items() if packages} == {
        "gradients": {"torch", "jax", "sklearn"}, "epochs": {"torch", "sklearn"},
        "fits": {"sklearn"}, "vmap": {"torch"},
        "machine": {"threadpoolctl"}, "tables": {"rich"},
        "figures": {"matplotlib"}, "pictures": {"matplotlib"}, "answers": {"duckdb"}}
    for name in found:
        tree = ast.parse(found[name].read_text())
        tops = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {getattr(node, "module", None) or node.names[0].name for node in tops}
        assert {module.partition(".")[0] for module in modules} <= {
            *sys.stdlib_module_names, "numpy", "fastbp"}
