"""What the targets of tools/wheels.py promise: names that pip and Python look for."""

import importlib.machinery
import platform
import re
import runpy
import sys
import sysconfig

import pytest
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename
from places import ROOT

RELEASE = ROOT / "tools" / "release"
TARGETS, PYTHONS, Python = (runpy.run_path(str(RELEASE / "targets.py"))[name]
                            for name in ("TARGETS", "PYTHONS", "Python"))


def tags_of(target, name):
    """The tags in the name of a wheel."""
    return parse_wheel_filename(f"fastbp-1.0-{Python(name).tag}-{target.tag}.whl")[3]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_names_of_wheels(target):
    assert target.name.startswith(target.system)
    for name in PYTHONS:
        version = name.removesuffix("t").replace(".", "")
        for tag in tags_of(target, name):
            assert tag.interpreter == f"cp{version}"
            assert tag.abi == f"cp{version}" + "t" * name.endswith("t")
            assert target.machine in tag.platform


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc",
                    reason="it compares with the Python of one target, manylinux")
def test_the_names_are_those_that_this_python_looks_for():
    target = TARGETS[f"manylinux-{platform.machine()}"]
    free = sysconfig.get_config_var("Py_GIL_DISABLED")
    name = f"{sys.version_info[0]}.{sys.version_info[1]}" + "t" * bool(free)
    assert tags_of(target, name) & set(sys_tags())
    suffix = target.suffix.format(Python(name).digits)
    assert suffix in importlib.machinery.EXTENSION_SUFFIXES


def test_every_machine_has_variants():
    line = re.search(r"^MACHINES = .*", (ROOT / "setup.py").read_text(), re.MULTILINE)[0]
    assert {target.machine for target in TARGETS.values()} <= set(re.findall(r'"(\w+)"', line))
