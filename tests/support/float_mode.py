"""The floating-point mode of a thread, set as another library would; no test is here.

Of x86-64 it is the mode of SSE and AVX; the x87 unit has its own, in which nothing but long double
is computed.
"""

import contextlib
import ctypes
import platform
import sys

import pytest

# The C library's fenv_t as words: how many, which of them is the control register, its bits that
# are no flags, and modes.
FENV = {
    "x86_64": (8, 7, 0xffc0, {"flush to zero": 0x8040, "round down": 0x2000, "round up": 0x4000,
                              "truncate": 0x6000}),
    "aarch64": (2, 0, 0x01c00000, {"flush to zero": 0x01000000, "round down": 0x00800000,
                                   "round up": 0x00400000, "truncate": 0x00c00000}),
}
WORDS, CONTROL, SETTINGS, MODES = FENV.get(platform.machine(), (0, 0, 0, {}))
if sys.platform == "win32":     # the bits of _controlfp_s
    SETTINGS, MODES = 0x03000300, {"flush to zero": 0x01000000, "round down": 0x100,
                                   "round up": 0x200, "truncate": 0x300}
needs_modes = pytest.mark.skipif(
    not MODES or platform.system() not in ("Linux", "Windows"),
    reason="the layouts of fenv_t are those of glibc and musl")


@contextlib.contextmanager
def caller_mode(bits):
    """Run under these bits of the control register; they must still be there at the end."""
    saved = _get_environment()
    before = current_mode()
    _set_bits(bits)
    try:
        yield
        found = current_mode()
    finally:
        _set_environment(saved)
    assert found == before | bits, "the caller's mode has changed"


def current_mode():
    """The bits of the control register that are no flags."""
    found = _get_environment()
    return (found.value if sys.platform == "win32" else found[CONTROL]) & SETTINGS


def _get_environment():
    if sys.platform == "win32":
        found = ctypes.c_uint()
        ctypes.cdll.ucrtbase._controlfp_s(ctypes.byref(found), 0, 0)
    else:
        found = (ctypes.c_uint32 * WORDS)()
        ctypes.CDLL("libm.so.6").fegetenv(found)
    return found


def _set_environment(words):
    if sys.platform == "win32":
        ctypes.cdll.ucrtbase._controlfp_s(ctypes.byref(ctypes.c_uint()), words.value, SETTINGS)
    else:
        ctypes.CDLL("libm.so.6").fesetenv(words)


def _set_bits(bits):
    words = _get_environment()
    if sys.platform == "win32":
        words.value |= bits
    else:
        words[CONTROL] |= bits
    _set_environment(words)
