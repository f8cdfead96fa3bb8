"""Promise: no instruction of a variant outside its own extension module.

Read from the machine code of every file that is built, as objdump shows it: an import on a
processor that lacks an instruction set then cannot meet one of its instructions. Which table is
chosen is held in api/test_import.py.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import fastbp
from fastbp import _modules
from fastbp._kernels import dispatch

if shutil.which("objdump") is None:
    pytest.skip("needs objdump, of the GNU binutils", allow_module_level=True)

MACHINE = os.uname().machine
PACKAGE = Path(fastbp.__file__).parent
SUFFIX = EXTENSION_SUFFIXES[0]
MODULES = sorted(PACKAGE.rglob(f"*{SUFFIX}"))
VARIANTS = {f"{isa}_{dtype}": isa for isa in dispatch.ISAS for dtype in dispatch.DTYPES}

LEGACY_PREFIX = re.compile(r"^((66|f2|f3|f0|2e|36|3e|26|64|65|67) )*(4[0-9a-f] )?")
SVE = re.compile(r"\bz[0-9]+\.[bhsdq]\b|\bp[0-9]+(/[mz]|\.[bhsdq]\b)|\{ ?z[0-9]")


def variant_of(path):
    return VARIANTS.get(path.name.split(".")[0], "baseline")


def instructions(path):
    """Pairs of the encoding's bytes and the text of each instruction."""
    listing = subprocess.run(["objdump", "--disassemble", "--wide", path], capture_output=True,
                             text=True, check=True).stdout
    lines = (line.split("\t") for line in listing.splitlines())
    return [(fields[1], " ".join(fields[2:])) for fields in lines if len(fields) >= 3]


def x86_kinds(code, text):
    """What an instruction asks of a processor beyond the first x86-64, and what it uses.

    In 64-bit mode the bytes c4 and c5 begin the VEX encodings (AVX, AVX2, FMA, BMI, masks) and
    62 the EVEX encoding (AVX-512); the opcodes after 0f 38 and 0f 3a came with SSSE3 and later.
    tzcnt may stand anywhere: what lacks it reads bsf, with the result that the compiler wants.
    """
    opcode = LEGACY_PREFIX.sub("", code)
    name = text.split()[0]
    if opcode.startswith("62 "):
        yield "evex"
    elif opcode.startswith(("c4 ", "c5 ")):
        yield "vex" if name.startswith("v") else "mask" if name.startswith("k") else "bmi"
    elif opcode.startswith(("0f 38 ", "0f 3a ")) or name.startswith(("popcnt", "lzcnt")):
        yield "later"
    for register in ("ymm", "zmm"):
        if f"%{register}" in text:
            yield register
    if name.startswith("vfmadd"):
        yield "fma"


def aarch64_kinds(_, text):
    if SVE.search(text):
        yield "sve"
    if text.startswith("fmla"):
        yield "fma"


# What the code of a variant contains, and what it may contain besides.
X86 = {
    "baseline": ((), ()),
    "generic": ((), ()),
    "avx2": (("vex", "ymm", "fma"), ()),
    "avx512": (("evex", "zmm", "fma"), ("vex", "mask", "ymm")),
}
AARCH64 = {"baseline": ((), ("fma",)), "generic": ((), ("fma",)), "neon": (("fma",), ())}
KINDS, RULES = {"x86_64": (x86_kinds, X86), "aarch64": (aarch64_kinds, AARCH64)}.get(
    MACHINE, (None, None))
needs_rules = pytest.mark.skipif(RULES is None, reason="rules for x86-64 and aarch64")


@needs_rules
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name.split(".")[0])
def test_instructions(path):
    code = instructions(path)
    assert len(code) > 500
    found, example = Counter(), {}
    for instruction in code:
        for kind in KINDS(*instruction):
            found[kind] += 1
            example.setdefault(kind, instruction)
    needed, allowed = RULES[variant_of(path)]
    strange = {kind: example[kind] for kind in found if kind not in (*needed, *allowed)}
    assert not strange
    assert set(needed) <= set(found), f"of {needed} only {dict(found)}"


def test_every_module_is_read():
    """Two for each variant, and one that holds all others: those that `_modules` lists."""
    names = [path.name.split(".")[0] for path in MODULES]
    assert sorted(name for name in names if name in VARIANTS) == sorted(
        f"{isa}_{dtype}" for isa in dispatch.built_isas() for dtype in dispatch.DTYPES)
    assert [name for name in names if name not in VARIANTS] == ["_cython_fastbp"]
    listed = [*_modules.FAST, *_modules.SMALL]
    for name in (f"fastbp.{name}" for name in listed if not name.startswith("torch.")):
        assert import_module(name).__file__.endswith(os.sep + "_cython_fastbp" + SUFFIX)
    sources = {"dispatch", *(path.stem for path in PACKAGE.rglob("*.pyx")
                             if path.parent.name != "_kernels")}
    if len(sources) > 1:        # an installation may lack them
        assert sorted(name.rpartition(".")[2] for name in listed) == sorted(sources)
