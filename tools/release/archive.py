"""Wheels, the bill of materials within them, and the checksums beside them."""

import hashlib
import shutil
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from Cython import __version__ as cython_version
from wheel.wheelfile import WheelFile

WHEEL = """Wheel-Version: 1.0
Generator: fastbp tools/wheels.py
Root-Is-Purelib: false
"""


def compiler_version(target):
    command = [*target.compiler, "--version"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[0]


def bill(metadata, target, python, modules, epoch):
    """The CycloneDX bill of a wheel: the package, its compiled modules, and what made them."""
    package = Component(
        name=metadata.name, version=metadata.version, type=ComponentType.LIBRARY,
        bom_ref=metadata.name, licenses=[DisjunctiveLicense(id="BSD-3-Clause")],
        properties=[
            Property(name="fastbp:target", value=f"{target.name} {python.name}"),
            Property(name="fastbp:compiler", value=compiler_version(target)),
            Property(name="fastbp:cython", value=cython_version),
            Property(name="fastbp:numpy-headers", value=numpy.__version__),
        ])
    bom = Bom()
    bom.metadata.component = package
    for path in sorted(filter(Path.is_file, modules.rglob("*"))):
        name = path.relative_to(modules).as_posix()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        bom.components.add(Component(
            name=name, type=ComponentType.FILE, bom_ref=name,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)]))
    bom.register_dependency(package, bom.components)
    # What the library would take from the clock and from chance
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, f"{target.name} {python.name} {epoch}")
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def pack(pure, modules, metadata, target, python, epoch, out):
    """Make a wheel of a folder of Python files and one of modules; return its path."""
    content = modules.with_name("content")
    shutil.copytree(pure, content)
    shutil.copytree(modules, content, dirs_exist_ok=True)
    info, = content.glob("*.dist-info")
    tags = "".join(f"Tag: {python.tag}-{tag}\n" for tag in target.tag.split("."))
    (info / "WHEEL").write_text(WHEEL + tags)
    (info / "sboms").mkdir()
    (info / "sboms" / "fastbp.cdx.json").write_text(
        bill(metadata, target, python, modules, epoch))
    for path in content.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    wheel = out / f"{metadata.name}-{metadata.version}-{python.tag}-{target.tag}.whl"
    wheel.unlink(missing_ok=True)
    with WheelFile(wheel, "w") as file:
        file.write_files(content)
    return wheel


def checksums(paths, folder):
    """Write SHA256SUMS, which `sha256sum --check` reads, of these files and of no others there."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
             for path in sorted(paths)]
    (folder / "SHA256SUMS").write_text("".join(lines))
