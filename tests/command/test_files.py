"""Writing a file: readers find the old content or the new, whatever happens; mode, owner and links
stay; nothing else is left in the folder. Every file that the package writes is written so."""

import errno
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from places import IMPORTED, ROOT

import fastbp
from fastbp import _files
from fastbp._command.main import main
from fastbp.io import load_model, save_model

PACKAGE = Path(fastbp.__file__).parent
has_modes = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes and owners")


def network(k, width=64):
    """A network whose parameters are all k; of another size for each k."""
    net = fastbp.MLP([k, width, 1], seed=0)
    net.params[:] = k
    return net


def loaded(path):
    """The k of a network that is as `network` made it."""
    net = load_model(path).net
    k = net.layer_sizes[0]
    assert (net.params == k).all()
    return k


def mode(path):
    return os.stat(path).st_mode & 0o7777


# ---- many at once


@pytest.mark.parametrize("n_names", [1, 2])
def test_threads_that_save_and_load_one_file(tmp_path, n_names):
    """Also a file of two names, which is written in place."""
    path, other = tmp_path / "m", tmp_path / "other"
    save_model(path, network(1))
    if n_names == 2:
        os.link(path, other)
    failures, found, done = [], set(), threading.Event()

    def work(call):
        try:
            call()
        except BaseException as error:
            failures.append(repr(error))

    def save(k):
        for _ in range(10):
            save_model(path, network(k))

    def load():
        while not done.is_set():
            found.add(loaded(path))

    readers = [threading.Thread(target=work, args=[load]) for _ in range(3)]
    writers = [threading.Thread(target=work, args=[lambda k=k: save(k)]) for k in range(1, 7)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not failures and found <= set(range(1, 7))
    assert loaded(path) in range(1, 7)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m", "other"][:n_names]
    assert n_names == 1 or os.path.samefile(path, other)


def test_processes_that_save_one_file(tmp_path):
    path = tmp_path / "m"
    save_model(path, network(1))
    script = ("import sys; sys.path += sys.argv[3:]\n"
              f"from {__name__} import network, save_model\n"
              "for _ in range(20): save_model(sys.argv[1], network(int(sys.argv[2])))")
    writers = [subprocess.Popen([sys.executable, "-c", script, path, str(k), *IMPORTED])
               for k in range(1, 4)]
    n_loads = 0
    while any([each.poll() is None for each in writers]):
        assert loaded(path) in (1, 2, 3)
        n_loads += 1
    assert n_loads and [each.wait() for each in writers] == [0, 0, 0]
    assert [each.name for each in tmp_path.iterdir()] == ["m"]


# ---- what stays


@has_modes
@pytest.mark.parametrize("bits", [0o600, 0o640, 0o666, 0o755, 0o200])
def test_the_mode_stays(tmp_path, bits):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    path.chmod(bits)
    _files.write_file(path, b"new")
    assert mode(path) == bits
    path.chmod(0o600)
    assert path.read_bytes() == b"new"


@has_modes
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        _files.write_file(tmp_path / "m", b"new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "m") == 0o666 & ~mask


@has_modes
def test_nobody_reads_a_secret_before_it_has_its_mode(tmp_path, monkeypatch):
    path, seen = tmp_path / "m", []
    path.write_bytes(b"old")
    path.chmod(0o640)
    fchmod = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda descriptor, bits: (
        seen.append(os.fstat(descriptor).st_mode & 0o777), fchmod(descriptor, bits)))
    _files.write_file(path, b"new")
    assert seen == [0o600] and mode(path) == 0o640


@has_modes
def test_owner_and_group_stay(tmp_path, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    try:
        os.chown(path, 12345, 54321)
    except PermissionError:
        pytest.skip("only root gives files to others")
    path.chmod(0o660)
    _files.write_file(path, b"new")
    found = os.stat(path)
    assert (found.st_uid, found.st_gid, mode(path)) == (12345, 54321, 0o660)

    def refuse(*args):
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "fchown", refuse)       # as for anybody who is not root
    _files.write_file(path, b"newer")
    found = os.stat(path)
    assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    assert mode(path) == 0o600, "another group got the rights of the file's own"


def test_extended_attributes_stay(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.fastbp", b"kept")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes in this file system")
    _files.write_file(path, b"new")
    assert os.getxattr(path, "user.fastbp") == b"kept"


@pytest.mark.parametrize("size", [0, 1, 10_000])
def test_hard_links_stay(tmp_path, size):
    path, other = tmp_path / "m", tmp_path / "folder" / "other"
    other.parent.mkdir()
    path.write_bytes(b"old" * 1000)
    path.chmod(0o640)
    before = mode(path)
    os.link(path, other)
    _files.write_file(path, b"n" * size)
    assert os.path.samefile(path, other) and mode(path) == before
    assert path.read_bytes() == other.read_bytes() == b"n" * size
    assert {each.name for each in tmp_path.iterdir()} == {"m", "folder"}


@pytest.mark.skipif(os.name == "nt", reason="Windows gives few the right to make such links")
def test_symbolic_links_stay(tmp_path):
    target = tmp_path / "folder" / "m"
    target.parent.mkdir()
    for name, to in (("link", "folder/m"), ("chain", "link")):
        (tmp_path / name).symlink_to(to)
    for content in (b"first, where the link leads to nothing", b"second"):
        _files.write_file(tmp_path / "chain", content)
        assert target.read_bytes() == content and not target.is_symlink()
        assert (tmp_path / "chain").is_symlink() and (tmp_path / "link").is_symlink()
    assert os.listdir(target.parent) == ["m"]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        _files.write_file(tmp_path / "loop", b"")
    assert (tmp_path / "loop").is_symlink()


@pytest.mark.parametrize("name", ["m", ".m", "é" * 50, *(
    pytest.param(name, marks=pytest.mark.skipif(os.name == "nt", reason="illegal on Windows"))
    for name in ("m" * 255, "é" * 127, b"m\xff"))])
def test_every_legal_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for k, path in ((1, name), (2, os.path.join(os.fsencode(tmp_path), os.fsencode(name)))):
        save_model(path, network(k))
        assert loaded(path) == k
    assert os.listdir(os.fsencode(tmp_path)) == [os.fsencode(name)]


def test_what_is_refused(tmp_path):
    cases = [(tmp_path, errno.EINVAL), (os.devnull, errno.EINVAL),
             (tmp_path / "no" / "m", errno.ENOENT)]
    if os.name != "nt":                 # where the length of the whole path counts
        cases.append((tmp_path / ("m" * 256), errno.ENAMETOOLONG))
    for path, code in cases:
        for call in (_files.check_writable, lambda path: _files.write_file(path, b"")):
            with pytest.raises(OSError) as caught:
                call(path)
            assert caught.value.errno == code and caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


# ---- what fails, and when


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file is written")
def test_content_is_on_the_disk_before_the_old_file_goes(tmp_path, monkeypatch):
    path, steps = tmp_path / "m", []
    path.write_bytes(b"old")
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor):
        steps.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def note_replace(a, b):
        steps.append(("replace", a))
        replace(a, b)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    _files.write_file(path, b"new")
    part = steps[0][1]
    assert steps == [("fsync", part), ("replace", part), ("fsync", str(tmp_path))]
    assert os.path.dirname(part) == str(tmp_path)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"),
                                     KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize(("step", "at", "n_names"), [
    ("fsync", 0, 1), ("replace", 0, 1), ("fsync", 0, 2), ("fsync", 1, 2)])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, step, at, n_names, failure):
    """Also in place, where the second fsync is that of the file itself."""
    path, calls, do = tmp_path / "m", [], getattr(os, step)
    path.write_bytes(b"the old content")
    if n_names == 2:
        os.link(path, tmp_path / "other")

    def fail(*args):
        calls.append(args)
        if len(calls) == at + 1:
            raise failure
        do(*args)

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(failure)) as caught:
        _files.write_file(path, b"new")
    assert not isinstance(failure, OSError) or caught.value.filename == str(path)
    for each in tmp_path.iterdir():
        assert each.read_bytes() == b"the old content"
    assert len(list(tmp_path.iterdir())) == n_names


@pytest.mark.skipif(os.name == "nt", reason="Windows sets no limit on the size of files")
def test_a_disk_that_is_full(tmp_path):
    """A limit on the size of files stands for it: part of the content is written."""
    (tmp_path / "m").write_bytes(b"old")
    script = ("import resource, sys; from fastbp import _files\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
              "try: _files.write_file(sys.argv[1], bytes(2000))\n"
              "except OSError as error: print(error.strerror, error.filename)")
    run = subprocess.run([sys.executable, "-c", script, tmp_path / "m"], check=True, text=True,
                         capture_output=True)
    assert run.stdout == f"File too large {tmp_path / 'm'}\n"
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("m", b"old")]


# ---- all that the package writes


def test_a_writer_that_loses_the_new_file(tmp_path):
    """An empty file does not take the place of the old one."""
    path = tmp_path / "answers"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), _files.replaced(str(path)) as part:
        part.close()
        os.remove(part.name)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["answers"]


def test_no_other_module_writes_files():
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("_files.py", "temporary.py"):
            found = re.search(r"write_text|write_bytes|\bopen\([^)\n]*[\"'][wxa+]|"
                              r"(?<!\.checkpoint\.)savez?\(|(?<!pdf\.)savefig\((?!content)",
                              path.read_text(encoding="utf-8"))
            to_bytes = path.name in ("io.py", "_checkpoint.py")     # by safetensors.numpy
            assert not found or found[0] == "save(" and to_bytes, (path, found)


def test_files_of_the_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    results = ROOT / "results" / "amd-epyc-avx512.json"
    names = ["m", "loss.png", "loss-2.png", "stem-speedup.png", "stem-roofline.png",
             "stem-four.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"old")
        (tmp_path / name).chmod(0o600)
    before = mode(tmp_path / "m")
    assert main(["train", "--epochs", "1", "--out", str(tmp_path / "m"), "--plot",
                     str(tmp_path / "loss.png")]) == 0
    assert main(["bench", "--from", str(results), "--plot", str(tmp_path / "stem")]) == 0
    for name in names:
        assert mode(tmp_path / name) == before and (tmp_path / name).stat().st_size > 1000
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    load_model(tmp_path / "m")
