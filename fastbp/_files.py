"""Files that are replaced as a whole: a reader sees the old content or the new.

The content goes to a new file in the same folder, reaches the disk, and then takes the place of
the old file. It has the mode, owner, group and extended attributes of that (with them its access
list), as far as the system lets this process give them. Symbolic links go on leading there.

A new file would leave the other names of an old one, its hard links, with the old content. A file
of several names is therefore written in place: once the new content is on the disk beside it, under
a lock that `held` waits for, and back to the old content if that fails. Readers that do not ask for
the lock, and a machine that stops within these moments, can meet a file of both.

Windows knows neither owners nor modes of this kind, and lets no file take the place of one that
somebody has open, or be opened at that moment. There both wait for each other; a file that is open
again and again for two seconds is written in place.
"""

import contextlib
import errno
import os
import stat
import time
from functools import partial

from fastbp._locks import lock

LONGEST_WAIT = 2.0      # seconds, on Windows, for those that have a file open


def check_writable(path):
    """Raise now the OSError that `write_file` would raise after a long computation."""
    path, old = _regular(path)
    with _part(path, old):
        pass


def write_file(path, content):
    """Write bytes to a file that appears complete or not at all.

    Raises OSError, with `path` in it; the file is as it was then, and no other is left.
    """
    path, old = _regular(path)
    with _part(path, old) as part:
        _fill(part, content)
        if old is not None and old.st_nlink > 1:
            _write_in_place(path, content)
        else:
            _take_place(part, path)


@contextlib.contextmanager
def replaced(path):
    """A new file, open for writing bytes, that takes the place of `path` if nothing fails.

    It may be closed, so that others write to it by its name. Raises OSError as `write_file` does.
    """
    path, old = _regular(path)
    with _part(path, old) as part:
        yield part
        with open(part.name, "r+b") if part.closed else part as file:
            os.fsync(file.fileno())
        if old is not None and old.st_nlink > 1:
            with open(part.name, "rb") as file:
                _write_in_place(path, file.read())
        else:
            _take_place(part, path)


@contextlib.contextmanager
def held(path):
    """The file, open for reading, while nothing is written to it in place."""
    with _patiently(open, path, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, _not_regular(found), path)
        lock(file, shared=True)
        yield file


def _not_regular(found):
    return "is a folder" if stat.S_ISDIR(found.st_mode) else "is not a regular file"


def _regular(path):
    """What `path` leads to, and its status, None if nothing is there; a file that can be written.

    os.replace would put a file in the place of a device such as /dev/null, or of a folder.
    """
    given = os.fsdecode(path)
    path = os.path.realpath(given)
    try:
        old = os.stat(given)  # a pipe's real path, such as that of /dev/stdout, leads nowhere
    except FileNotFoundError:
        return path, None
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, _not_regular(old), given)
    if not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, "is write-protected", path)
    return path, old


@contextlib.contextmanager
def _part(path, old):
    """A new file in the folder of `path` that is gone in the end, unless it was renamed."""
    # Its name is as short as any file system takes, and no other thread or process has it.
    name = os.path.join(os.path.dirname(path), f".fastbp-{os.urandom(8).hex()}")
    mode = 0o666 if old is None else 0o600  # until `_inherit`: the old one may be a secret
    try:
        with open(name, "xb", buffering=0, opener=partial(os.open, mode=mode)) as part:
            if old is not None:
                _inherit(part.fileno(), path, old)
            yield part
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        with contextlib.suppress(OSError):      # as a rule it is not there: it was renamed
            _patiently(os.remove, name)


def _inherit(descriptor, path, old):
    """Give a file the owner, group, extended attributes and mode of another, if that is allowed."""
    if os.name == "nt":
        return
    for owner, group in ((old.st_uid, -1), (-1, old.st_gid)):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, owner, group)
    with contextlib.suppress(OSError, AttributeError):  # the latter on macOS
        for name in os.listxattr(path):
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(path, name))
    mode = stat.S_IMODE(old.st_mode)
    if os.fstat(descriptor).st_gid != old.st_gid:
        mode &= ~stat.S_IRWXG  # the group's permissions were meant for another group
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, mode)


def _fill(file, content):
    """Make `content` all that a file holds, on the disk too."""
    file.seek(0)
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest):]
    file.truncate()
    os.fsync(file.fileno())


def _write_in_place(path, content):
    with open(path, "r+b", buffering=0) as file:
        lock(file, shared=False)
        before = file.read()
        try:
            _fill(file, content)
        except BaseException:
            _fill(file, before)
            raise


def _take_place(part, path):
    """Rename a new file to `path`, and bring that to the disk."""
    part.close()            # Windows cannot rename a file while it is open.
    try:
        _patiently(os.replace, part.name, path)
    except PermissionError:
        if os.name != "nt":
            raise
        with open(part.name, "rb") as file:
            _write_in_place(path, file.read())
    _sync_folder(os.path.dirname(path))


def _patiently(call, path, *arguments):
    """What `call` gives, on Windows as soon as nobody has the file open, or replaces it."""
    end = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            return call(path, *arguments)
        except PermissionError:
            if os.name != "nt" or time.monotonic() > end:
                raise
            if os.path.isdir(path):         # which Windows does not open
                raise OSError(errno.EINVAL, "is a folder", path) from None
        time.sleep(0.001)


def _sync_folder(folder):
    """Bring a rename to the disk; some systems, and folders not to be read, do not let it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
