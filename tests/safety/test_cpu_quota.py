"""Promise: the CPUs that control groups grant are those of the tightest quota above the process.

Each case is a directory that stands for the root of a system: /proc/self/cgroup and mountinfo as
the kernel writes them (cgroups(7), proc(5)), and the files of the groups.
"""

import importlib.util
import itertools
import os

import pytest

from fastbp import _cgroup, _config
from fastbp._cgroup import cpu_quota

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct"
OTHERS = ("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
          "25 30 0:25 / /sys/fs/cgroup ro shared:8 - tmpfs tmpfs ro,mode=755",
          "34 25 0:30 / /sys/fs/cgroup/cpuset rw shared:16 - cgroup cgroup rw,cpuset")


@pytest.fixture
def system(tmp_path):
    def make(group, mounts, files):
        """A root: lines of /proc/self/cgroup and mountinfo, and {path: content}."""
        proc = {"proc/self/cgroup": group, "proc/self/mountinfo": "\n".join((*OTHERS, *mounts))}
        for name, text in (proc | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
        return tmp_path

    return make


def v1(folder, quota, period=100000):
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": str(period)}


def v2(folder, quota, period=100000):
    return {f"{folder}/cpu.max": f"{quota} {period}"}


# ---- one group

@pytest.mark.parametrize(("quota", "period", "cpus"), [
    (400000, 100000, 4), (150000, 100000, 2), (100000, 100000, 1), (100001, 100000, 2),
    (50000, 100000, 1), (1000, 1000000, 1), (1, 10**9, 1), (30000, 10000, 3),
    (10**30, 1, 10**30)])
def test_a_quota_is_rounded_up(quota, period, cpus, system):
    """Below one CPU it is one."""
    assert cpu_quota(system("0::/", [V2], v2("sys/fs/cgroup", quota, period))) == cpus
    folder = "sys/fs/cgroup/cpu,cpuacct"
    assert cpu_quota(system("4:cpu,cpuacct:/", [V1], v1(folder, quota, period))) == cpus


@pytest.mark.parametrize("version", [1, 2])
def test_no_quota(version, system):
    assert cpu_quota(system("0::/", [V2], v2("sys/fs/cgroup", "max"))) is None
    folder = "sys/fs/cgroup/cpu,cpuacct"
    assert cpu_quota(system("4:cpu,cpuacct:/", [V1], v1(folder, -1))) is None


# ---- the group itself, its parents, no others

@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("quotas", list(itertools.permutations((2, 5, None, 9))))
def test_the_tightest_of_all_parents_counts(version, quotas, system):
    """Wherever it is; neither siblings nor children count."""
    mount, line, files, top = [
        (V1, "7:cpuacct,cpu:/a/b c/d", v1, "sys/fs/cgroup/cpu,cpuacct"),
        (V2, "0::/a/b c/d", v2, "sys/fs/cgroup")][version - 1]
    content = {}
    for folder, cpus in zip(("", "/a", "/a/b c", "/a/b c/d"), quotas, strict=True):
        if cpus:
            content |= files(f"{top}{folder}", cpus * 100000)
    for folder in ("/other", "/a/other", "/a/b c/d/child"):
        content |= files(f"{top}{folder}", 1000)
    assert cpu_quota(system(line, [mount], content)) == 2


def test_only_the_group_of_the_process_has_a_quota(system):
    """The root of version 2 has no cpu.max at all."""
    files = v2("sys/fs/cgroup/user.slice/user-1000.slice/job.scope", 300000)
    assert cpu_quota(system("0::/user.slice/user-1000.slice/job.scope", [V2], files)) == 3
    assert cpu_quota(system("0::/user.slice/user-1000.slice", [V2], files)) is None


# ---- hybrids

GROUPS = "12:cpuset:/\n5:cpu,cpuacct:/job\n1:name=systemd:/cpu\n0::/unified"
UNIFIED = "36 25 0:32 / /sys/fs/cgroup/unified rw shared:18 - cgroup2 cgroup2 rw"
NAMED = "37 25 0:33 / /sys/fs/cgroup/systemd rw shared:19 - cgroup cgroup rw,xattr,name=systemd"


@pytest.mark.parametrize(("first", "second", "cpus"), [(2, 3, 2), (3, 2, 2), (3, None, 3),
                                                       (None, 3, 3), (None, None, None)])
def test_hybrid(first, second, cpus, system):
    """The controller is in one of the two; the least, should both have it."""
    files = v1("sys/fs/cgroup/systemd/cpu", 1000) | v1("sys/fs/cgroup/cpuset", 1000)
    files |= v1("sys/fs/cgroup/cpu,cpuacct/job", first * 100000) if first else {}
    files |= v2("sys/fs/cgroup/unified/unified", second * 100000) if second else {}
    for mounts in itertools.permutations((V1, UNIFIED, NAMED)):
        assert cpu_quota(system(GROUPS, mounts, files)) == cpus


def test_a_controller_mounted_elsewhere_and_alone(system):
    mount = r"40 22 0:40 / /mnt/my\040cpu\134s rw - cgroup none rw,cpu"
    assert cpu_quota(system("2:cpu:/x", [mount], v1("mnt/my cpu\\s/x", 200000))) == 2


# ---- namespaces and containers: a part of the hierarchy is mounted

@pytest.mark.parametrize(("line", "part", "files"), [
    # a namespace of groups: its root is "/" on both sides
    ("0::/", "/", {"": 4, "/sibling": 1}),
    ("0::/inner", "/", {"": 4, "/inner": 6, "/sibling": 1}),
    # no namespace: the host's names, and the container's group mounted at the usual place
    ("0::/docker/0a1b", "/docker/0a1b", {"": 4, "/docker/0a1b": 1}),
    ("0::/docker/0a1b/job", "/docker/0a1b", {"": 6, "/job": 4, "/docker/0a1b/job": 1}),
    # names of which one begins as the other does
    ("0::/docker/0a1b-2", "/docker/0a1b", {"": 4, "-2": 1}),
    # the part begins above the root of the namespace: an unknown number of names are between
    ("0::/", "/..", {"": 4}),
    ("0::/job", "/../..", {"": 4, "/job": 1}),
    ("0::/../job", "/..", {"": 6, "/job": 4}),
    # a group outside of the namespace, and one outside of what is mounted
    ("0::/../other", "/", {"": 4, "/other": 1, "/../other": 1}),
    ("0::/pool/bad", "/pool/good", {"": 4, "/bad": 1, "/pool/bad": 1})])
@pytest.mark.parametrize("version", [1, 2])
def test_a_part_is_mounted(line, part, files, version, system):
    """The quota that counts is of 4 CPUs in each case."""
    top = "sys/fs/cgroup/cpu" if version == 1 else "sys/fs/cgroup"
    kind = "cgroup cgroup rw,cpu" if version == 1 else "cgroup2 cgroup2 rw"
    quota = {1: v1, 2: v2}[version]
    content = {}
    for folder, cpus in files.items():
        content |= quota(top + folder, cpus * 100000)
    line = line.replace("0::", "3:cpu:") if version == 1 else line
    assert cpu_quota(system(line, [f"33 25 0:29 {part} /{top} rw - {kind}"], content)) == 4


def test_a_mount_that_has_the_group_goes_before_others(system):
    """Another container's part, seen beside the whole, is nobody's parent."""
    other = "50 22 0:26 /docker/ffff /var/lib/other rw - cgroup2 cgroup2 rw"
    files = v2("sys/fs/cgroup/job", 400000) | v2("var/lib/other", 100000)
    for mounts in ((V2, other), (other, V2)):
        assert cpu_quota(system("0::/job", mounts, files)) == 4


# ---- what does not fail

@pytest.mark.parametrize("content", [
    b"", b"\n", b"max", b"50000", b"max 100000", b"0 100000", b"-1 100000", b"100000 0",
    b"100000 -5", b"1e5 100000", b"nan nan", b"\xff\xfe 7", b"9" * 5000 + b" 1", b"many words here",
    b"\0 \0"])
def test_odd_contents_set_no_limit(content, system):
    """The parent's quota still counts."""
    files = {"sys/fs/cgroup/a/cpu.max": content} | v2("sys/fs/cgroup", 700000)
    assert cpu_quota(system("0::/a", [V2], files)) == 7
    quota, _, period = content.partition(b" ")
    top = "sys/fs/cgroup/cpu,cpuacct"
    files = {f"{top}/a/cpu.cfs_quota_us": quota, f"{top}/a/cpu.cfs_period_us": period}
    assert cpu_quota(system("2:cpu,cpuacct:/a", [V1], files | v1(top, 700000))) == 7


ODD_LINES = [b"", b"0", b"0:", b"0::", b"::", b"0::\0", b"0::///a//b/", b"\xff", b"cpu", b"x:cpu",
             b"0::/\xff\x85\x0c/\r", b"0::" + b"/n" * 2100, b"0::/" + b"n" * 5000,
             b"0::/../../..", b"1:cpu:\0"]


@pytest.mark.skipif(os.name == "nt", reason="Windows, without such groups, decodes no odd bytes")
@pytest.mark.parametrize("mount", ["", " - ", "-", " - cgroup2", "1 2 3 / /x - cgroup2",
                                   "1 2 3 // //x rw - cgroup", "1 2 3 /\0 /\0 rw - cgroup2 a b",
                                   "1 2 3 / /x rw - cgroup cgroup", "1 2 3 / /x rw -  cgroup2 rw",
                                   "1 2 3 /../../.. /.. rw - cgroup2 a rw,cpu"])
def test_odd_lines_do_not_fail(mount, system):
    """Every other line is read."""
    for line in ODD_LINES:
        assert cpu_quota(system(line, [mount], {})) is None
    for line in ODD_LINES:
        files = v2("sys/fs/cgroup", 300000)
        assert cpu_quota(system(line + b"\n0::/\n", [mount, V2], files)) == 3


def test_a_group_may_be_named_by_any_bytes(system, tmp_path):
    name = "ab:c\x85\x0c\r"
    files = v2(f"sys/fs/cgroup/{name}", 300000)
    assert cpu_quota(system(f"0::/{name}".encode(), [V2], files)) == 3


def test_what_cannot_be_read_sets_no_limit(system, tmp_path):
    """No /proc, as on macOS; directories where files should be, which nobody can read."""
    assert cpu_quota(tmp_path / "nothing") is None
    root = system("0::/a", [V2], v2("sys/fs/cgroup", 300000))
    (root / "sys/fs/cgroup/a/cpu.max").mkdir(parents=True)
    assert cpu_quota(root) == 3
    (root / "proc/self/mountinfo").unlink()
    assert cpu_quota(root) is None
    (root / "proc/self/cgroup").unlink()
    (root / "proc/self/cgroup").mkdir()
    assert cpu_quota(root) is None


@pytest.mark.parametrize(("quota", "threads"), [(1, 1), (10**9, None), (None, None)])
def test_threads_are_capped(quota, threads, monkeypatch):
    """`_config`, executed anew under another quota."""
    for name in (_config.ENVIRONMENT, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_cgroup, "cpu_quota", lambda: quota)
    spec = importlib.util.spec_from_file_location("config_anew", _config.__file__)
    config = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(config)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert config.get_num_threads() == config.show_config("dict")["threads"] == (threads or cpus)
