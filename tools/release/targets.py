"""For what wheels are built: systems, machines and versions of Python."""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")
FOUND = find_spec("ziglang")
ZIG = str(Path(FOUND.origin).parent / "zig") if FOUND else "zig"


class Python(NamedTuple):
    """A version of CPython: "3.13", or "3.13t" without the GIL."""

    name: str

    @property
    def version(self):
        return self.name.removesuffix("t")

    @property
    def free(self):
        return self.name.endswith("t")

    @property
    def digits(self):
        return self.name.replace(".", "")

    @property
    def tag(self):
        """The interpreter and the ABI in the name of a wheel."""
        return f"cp{self.version.replace('.', '')}-cp{self.digits}"


class Target(NamedTuple):
    """A system and a machine.

    `compiler` is a list of words, `suffix` ends the name of a module, with {} for the digits of
    the Python, and `config` names the pyconfig.h of `tools/headers.sh`.
    """

    name: str
    machine: str                # a key of setup.MACHINES
    tag: str                    # in the name of a wheel
    suffix: str
    config: str
    compiler: list

    @property
    def system(self):
        return self.name.partition("-")[0]


def zig(triple):
    return [ZIG, "cc", "-target", triple]


def linux(kind, machine):
    libc, tag = {"manylinux": ("gnu", "manylinux_2_17_{0}.manylinux2014_{0}"),
                 "musllinux": ("musl", "musllinux_1_2_{0}")}[kind]
    triple = f"{machine}-linux-{libc}" + (".2.17" if libc == "gnu" else "")
    return Target(f"{kind}-{machine}", machine, tag.format(machine),
                  f".cpython-{{}}-{machine}-linux-{libc}.so", f"linux-{machine}",
                  zig(triple))


TARGETS = {target.name: target for target in (
    *(linux(kind, machine) for kind in ("manylinux", "musllinux")
      for machine in ("x86_64", "aarch64")),
    Target("macos-arm64", "arm64", "macosx_11_0_arm64", ".cpython-{}-darwin.so", "linux-aarch64",
           zig("aarch64-macos.11.0")),
    Target("macos-x86_64", "x86_64", "macosx_10_15_x86_64", ".cpython-{}-darwin.so",
           "linux-x86_64", zig("x86_64-macos.10.15")),
    Target("windows-amd64", "amd64", "win_amd64", ".cp{}-win_amd64.pyd", "windows",
           zig("x86_64-windows-gnu")),
    Target("windows-arm64", "arm64", "win_arm64", ".cp{}-win_arm64.pyd", "windows",
           zig("aarch64-windows-gnu")),
)}
