"""Does a wheel hold what its name promises? Each check ends the run with a sentence."""

import json
import subprocess
import sys

import lief

lief.logging.disable()

# What a module may ask of the system besides Python and the C library.
WINDOWS = ("kernel32.dll", "api-ms-win-crt-", "python3")
MACOS = ("/usr/lib/libSystem.B.dylib",)
LINUX = {"manylinux": ("libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2",
                       "ld-linux-aarch64.so.1"),
         "musllinux": ("libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1")}
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
    # The linker leaves what no library has to the process: those of Python, and no mistake of ours.
    if strange := {symbol.name for symbol in binary.imported_symbols
                   if not (symbol.has_binding_info and symbol.binding_info.has_library)
                   and not symbol.name.startswith(("_Py", "__Py"))}:
        fail(path, f"calls {strange}, which neither macOS nor Python has")
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
    answer(wheel, "check_wheel_contents")
    if target.system in LINUX:
        found = json.loads(answer(wheel, "auditwheel", "show", "--json"))
        if found["overall_tag"] != target.tag.split(".")[0]:
            fail(wheel, f"is {found['overall_tag']} by auditwheel: {found['policy_upgrades']}")


def answer(wheel, module, *options):
    """What a tool prints of a wheel; its failure ends the run."""
    command = [sys.executable, "-m", module, *options, wheel]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        fail(wheel, done.stdout + done.stderr)
    return done.stdout
