"""The tracked files, the sdist made of them, and what every wheel holds of it."""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from setuptools import Distribution

ROOT = Path(__file__).parents[2]


def epoch():
    """The time of the commit, in seconds since 1970, which every file of an archive gets."""
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def copy_tracked(folder):
    """Copy the tracked files, as they are now, to a new folder."""
    command = ["git", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def distribution():
    """What pyproject.toml in the current folder describes, without its extensions."""
    found = Distribution({"script_name": "setup.py"})
    found.parse_config_files()
    return found


def sdist(folder):
    """Make the sdist of the current folder in another one; its bytes depend on nothing else."""
    found = distribution()
    command = found.get_command_obj("sdist")
    command.dist_dir, command.formats, command.owner, command.group = folder, ["gztar"], "", ""
    found.run_command("sdist")
    path, = (Path(name) for _, _, name in found.dist_files)
    members = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                members[member.name] = member, archive.extractfile(member).read()
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (member, content) in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(os.environ["SOURCE_DATE_EPOCH"])
            entry.mode = 0o755 if member.mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    return path


def unpack(path, folder):
    """Unpack an sdist; return the folder within that has setup.py."""
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / path.name.removesuffix(".tar.gz")


def pure_files(folder):
    """Put the Python files and the metadata of the current folder's project into another one."""
    found = distribution()
    build = found.get_command_obj("build_py")
    build.build_lib, build.compile, build.optimize = str(folder), False, 0
    found.run_command("build_py")
    info = found.get_command_obj("dist_info")
    info.output_dir = str(folder)
    found.run_command("dist_info")
    return found.metadata
