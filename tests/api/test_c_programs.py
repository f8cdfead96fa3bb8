"""Promise: the programs of docs/c-api.md compile as printed, and their results are those of MLP;
the header is C99 and C++, and says what the package says; an installation has it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from c_api import API, HEADER, NUMBERS
from places import PYTHONPATH, ROOT

import fastbp
from fastbp._arguments import ACTIVATIONS, LOSSES

PAGE = ROOT / "docs" / "c-api.md"
LINK = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
ENVIRONMENT = {**os.environ, "PYTHONPATH": PYTHONPATH, "CFLAGS": "-Wall -Wextra -O1"}


def run(*command, folder):
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with every block of the page that begins with the name of its file."""
    folder = tmp_path_factory.mktemp("programs")
    for text in re.findall(r"^```\w+\n(.*?)^```", PAGE.read_text(), re.S | re.M):
        name = re.match(r"(?:/\*|#) (\w+\.\w+)", text)
        if name:
            (folder / name[1]).write_text(text)
    assert {path.name for path in folder.iterdir()} == {"descend.c", "leapfrog.pyx", "setup.py",
                                                        "run.py"}
    return folder


@pytest.fixture(scope="module")
def built(programs):
    """The folder once the page's command has built what is in it, without a warning of the C."""
    command, = re.findall(r"^```sh\npython (.*)\n```", PAGE.read_text(), re.M)
    said = run(sys.executable, *command.split(), folder=programs)
    assert not re.search(r"descend\.c:\d+:\d+: warning", said), said
    return programs


def test_programs_of_the_page(built):
    assert "the energy changes by" in run(sys.executable, "run.py", folder=built)


def test_a_program_of_another_version_is_refused(programs, tmp_path):
    """By the version, and by the number of functions: with an ImportError that says both."""
    shutil.copy(programs / "descend.c", tmp_path)
    include = f"-I{sysconfig.get_path('include')}"
    for old, new in (("FASTBP_API_VERSION 1", "FASTBP_API_VERSION 2"),
                     ("} fastbp_api;", "int (*more)(void); } fastbp_api;")):
        text = HEADER.read_text()
        assert text.count(old) == 1
        (tmp_path / "fastbp.h").write_text(text.replace(old, new))
        run("cc", "-shared", "-fPIC", include, "-I.", *LINK, "descend.c", "-o", "descend.so",
            folder=tmp_path)
        script = "try:\n    import descend\nexcept ImportError as error:\n    print(error)"
        assert re.match("this program was compiled for version [12] of fastbp.h, with [0-9]+ bytes "
                        "of functions; the fastbp that is installed has version 1, with",
                        run(sys.executable, "-c", script, folder=tmp_path))


PENDING = """
#include <Python.h>
#include "fastbp.h"

/* The codes of fastbp_import(NULL), and of memory, new_plan, free_plan with an exception set; how
   often it was kept, and whether there is no plan. */
static PyObject *codes(PyObject *self, PyObject *none)
{
    const fastbp_api *fastbp;
    const ptrdiff_t sizes[] = {3, 2};
    const fastbp_problem problem = {.size = sizeof problem, .dtype = FASTBP_FLOAT64, .n_layers = 1,
                                    .sizes = sizes, .loss = FASTBP_BCE, .rows = 1};
    fastbp_plan *plan, *made;
    size_t bytes;
    int found[4], set = 0;
    (void)self, (void)none;
    found[0] = fastbp_import(NULL);
    PyErr_Clear();
    if (fastbp_import(&fastbp) != FASTBP_OK || fastbp->new_plan(&made, &problem) != FASTBP_OK)
        return NULL;
    for (int i = 1; i < 4; i++) {
        PyErr_SetString(PyExc_KeyError, "of the program");
        found[i] = i == 1 ? fastbp->memory(&bytes, &problem)
                 : i == 2 ? fastbp->new_plan(&plan, &problem) : fastbp->free_plan(made);
        set += PyErr_Occurred() != NULL && PyErr_ExceptionMatches(PyExc_KeyError);
        PyErr_Clear();
    }
    return Py_BuildValue("iiiiii", found[0], found[1], found[2], found[3], set, plan == NULL);
}

static PyMethodDef methods[] = {{"codes", codes, METH_NOARGS, NULL}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "pending", .m_size = -1,
                                    .m_methods = methods};
PyMODINIT_FUNC PyInit_pending(void) { return PyModule_Create(&module); }
"""


def test_null_and_exceptions_that_are_pending(tmp_path):
    """What Python then raises in place of a plan is a code; an error path may free one."""
    (tmp_path / "pending.c").write_text(PENDING)
    run("cc", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}",
        f"-I{fastbp.get_include()}", *LINK, "pending.c", "-o", "pending.so", folder=tmp_path)
    said = run(sys.executable, "-c", "import pending; print(*pending.codes())", folder=tmp_path)
    failed = NUMBERS["FAILED"]
    assert said.split() == [str(n) for n in (NUMBERS["NULL_POINTER"], failed, failed, 0, 1, 1)]


@pytest.mark.parametrize("module", ["None", "types.ModuleType('without')",
                                    "types.SimpleNamespace(api=sys)"])
def test_a_program_without_fastbp_is_refused(module, built):
    """No module, one without the struct of functions, and another object in its place."""
    script = (f"import sys, types, fastbp\nsys.modules['fastbp._capi'] = {module}\n"
              "try:\n    import descend\nexcept Exception as error:\n    print(repr(error))")
    assert re.match("(ModuleNotFound|Attribute|Value)Error",
                    run(sys.executable, "-c", script, folder=built))


@pytest.mark.parametrize("compiler", [["cc", "-std=c99"], ["c++", "-x", "c++", "-std=c++11"]],
                         ids=["C", "C++"])
@pytest.mark.parametrize("python", ["", "#include <Python.h>\n"], ids=["alone", "Python"])
def test_the_header_compiles(compiler, python, tmp_path):
    """By itself as strictly as there is; with Python.h, whose own text is less strict."""
    (tmp_path / "program.c").write_text(
        f'{python}#include "fastbp.h"\n#include "fastbp.h"\n'
        "int size(void);\nint size(void) { return (int)sizeof(fastbp_api); }\n")
    strict = ["-Wall", "-Wextra", "-Werror", *([] if python else ["-pedantic"])]
    run(*compiler, *strict, f"-isystem{sysconfig.get_path('include')}",
        f"-I{fastbp.get_include()}", "-fsyntax-only", "program.c", folder=tmp_path)


def test_numbers_of_the_header():
    """Those of the kernels and the descriptors, which a compiled program has for ever."""
    assert {name: NUMBERS[name.upper()] for name in ACTIVATIONS} == {
        name: activation.number for name, activation in ACTIVATIONS.items()}
    assert {name: NUMBERS[name.upper()] for name in LOSSES} == {
        name: i + 1 for i, name in enumerate(LOSSES)}
    assert (NUMBERS["FLOAT32"], NUMBERS["FLOAT64"], NUMBERS["API_VERSION"]) == (4, 8, API.version)
    codes = re.search(r"enum {\n    FASTBP_OK(.*?)}", HEADER.read_text(), re.S)[1]
    numbers = [int(number) for number in re.findall(r"= (\d+)", codes)]
    assert numbers == list(range(len(numbers)))
    assert len({API.message(number) for number in numbers}) == len(numbers)
    for number in (-1, len(numbers), 2**31 - 1, -2**31):
        assert API.message(number) == b"not a code of fastbp"


def test_the_declarations_for_cython_are_those_of_the_header():
    text = (HEADER.parents[1] / "capi.pxd").read_text()
    assert set(re.findall(r"FASTBP_(\w+)", text)) == set(NUMBERS)
    header = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    for struct in ("fastbp_problem", "fastbp_api"):
        of_header = re.search(rf"typedef struct {struct} {{(.*?)}} {struct};", header, re.S)[1]
        of_cython = re.search(rf"ctypedef struct {struct}:\n(.*?)\n\n", text, re.S)[1]
        pattern = r"\(\*(\w+)\)\(|(\w+)(?:;|$)"
        assert (re.findall(pattern, re.sub(r"\((?!\*)[^)]*\)", "(", of_header), re.M)
                == re.findall(pattern, re.sub(r"\((?!\*)[^)]*\).*", "(", of_cython), re.M))


def test_an_installation_has_the_header(monkeypatch):
    from setuptools.dist import Distribution
    monkeypatch.chdir(ROOT)
    distribution = Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["pyproject.toml"])
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    files = {str(Path(path).relative_to(build.build_lib))
             for path in build.get_outputs(include_bytecode=False)}
    assert {"fastbp/include/fastbp.h", "fastbp/capi.pxd"} <= files
    assert Path(fastbp.get_include()) == HEADER.parent
