"""Does a wheel hold what its name promises? Each check ends the run with a sentence."""

import subprocess
import sys
from pathlib import Path

import lief

lief.logging.disable()

# What a module may ask of the system besides Python and the C library.
WINDOWS = ("kernel32.dll", "api-ms-win-crt-", "python3")
MACOS = ("/usr/lib/libSystem.B.dylib",)
LINUX = {"manylinux": ("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2",
                       "ld-linux-aarch64.so.1"),
         "musllinux": ("libc.so",)}
MACHINES = {"x86_64": "X86_64", "amd64": "AMD64", "aarch64": "AARCH64", "arm64": "ARM64"}


def fail(path, sentence):
    sys.exit(f"{path}: {sentence}")


def elf(path, target):
    binary = lief.ELF.parse(str(path))
    if binary.header.machine_type.name != MACHINES[target.machine]:
        fail(path, f"is for {binary.header.machine_type.name}")
    if strange := set(binary.libraries) - set(LINUX[target.system]):
        fail(path, f"needs {strange}")
    if any(isinstance(entry, lief.ELF.DynamicEntryRpath | lief.ELF.DynamicEntryRunPath)
           for entry in binary.dynamic_entries):
        fail(path, "names a folder of libraries")


def mach_o(path, target):
    binary = lief.MachO.parse(str(path)).at(0)
    if binary.header.cpu_type.name != {"arm64": "ARM64", "x86_64": "X86_64"}[target.machine]:
        fail(path, f"is for {binary.header.cpu_type.name}")
    own = {f"@rpath/{path.name}"}
    if strange := {library.name for library in binary.libraries} - set(MACOS) - own:
        fail(path, f"needs {strange}")
    if binary.rpaths:
        fail(path, "names a folder of libraries")
    promised = [int(part) for part in target.tag.split("_")[1:3]]
    minimum = (binary.build_version or binary.version_min)
    found = list(getattr(minimum, "minos", None) or minimum.version)[:2]
    if found != promised:
        fail(path, f"needs macOS {found}, and the wheel promises {promised}")
    if target.machine == "arm64" and not binary.has_code_signature:
        fail(path, "has no signature")


def pe(path, target, python):
    binary = lief.PE.parse(str(path))
    if binary.header.machine.name != MACHINES[target.machine]:
        fail(path, f"is for {binary.header.machine.name}")
    for library in binary.imports:
        name = library.name.lower()
        if not name.startswith(WINDOWS):
            fail(path, f"needs {name}")
        if name.startswith("python3") and name != f"python{python.digits}.dll":
            fail(path, f"needs {name}")


def check(wheel, modules, target, python):
    """Look at each module of a wheel, then let the tools of its system look at the wheel."""
    for path in modules.rglob("*.*"):
        if target.system == "macos":
            mach_o(path, target)
        elif target.system == "windows":
            pe(path, target, python)
        else:
            elf(path, target)
    commands = [["check-wheel-contents", wheel]]
    if target.system in LINUX:
        commands.append(["auditwheel", "show", wheel])
    for command in commands:
        command[0] = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run(command, capture_output=True, text=True)
        text = " ".join((done.stdout + done.stderr).split())
        if done.returncode or "auditwheel" in command[0] and target.tag.split(".")[0] not in text:
            fail(wheel, text)
