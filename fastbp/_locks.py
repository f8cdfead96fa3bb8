"""A lock on an open file: shared by readers, or of one writer alone.

It goes when the file is closed. POSIX has flock. Windows has LockFileEx, which keeps all others
from the bytes that it names, so that the byte named here lies behind the end of any file. Pyodide,
which is one process, has no locks.
"""

import contextlib
import os

try:
    import fcntl
except ImportError:     # Windows and Pyodide
    fcntl = None

_EXCLUSIVE = 2
_BEHIND = 0x7fff_ffff   # where the byte is, in units of 2^32 bytes


def lock(file, shared):
    """Wait for the lock and take it; nothing, where the file system has no locks.

    Parameters
    ----------
    file : open file
    shared : bool
        Whether others may share it.
    """
    with contextlib.suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        elif os.name == "nt":
            _lock_on_windows(file, 0 if shared else _EXCLUSIVE)


def _lock_on_windows(file, kind):
    import ctypes
    import msvcrt
    from ctypes.wintypes import DWORD, HANDLE

    class Overlapped(ctypes.Structure):     # OVERLAPPED: where the locked bytes begin
        _fields_ = [("internal", ctypes.c_size_t), ("internal_high", ctypes.c_size_t),
                    ("offset", DWORD), ("offset_high", DWORD), ("event", HANDLE)]

    where = Overlapped(offset_high=_BEHIND)
    handle = HANDLE(msvcrt.get_osfhandle(file.fileno()))
    if not ctypes.windll.kernel32.LockFileEx(handle, DWORD(kind), DWORD(0), DWORD(1), DWORD(0),
                                             ctypes.byref(where)):
        raise ctypes.WinError()
