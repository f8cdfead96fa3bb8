"""The floating-point mode of a thread, set as another library would; no test is here.

Of x86-64 it is the mode of SSE and AVX; the x87 unit has its own, in which nothing but long double
is computed.
"""

import contextlib
import ctypes
import platform

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


@contextlib.contextmanager
def caller_mode(bits):
    """Run under these bits of the control register; they must still be there at the end."""
    libm = ctypes.CDLL("libm.so.6")
    saved, other = (ctypes.c_uint32 * WORDS)(), (ctypes.c_uint32 * WORDS)()
    libm.fegetenv(saved)
    libm.fegetenv(other)
    other[CONTROL] |= bits
    libm.fesetenv(other)
    try:
        yield
        libm.fegetenv(other)
    finally:
        libm.fesetenv(saved)
    assert other[CONTROL] & SETTINGS == saved[CONTROL] & SETTINGS | bits, (
        "the caller's mode has changed")

needs_modes = pytest.mark.skipif(not MODES or platform.libc_ver()[0] != "glibc",
                                 reason="the layouts of fenv_t are those of glibc")


def current_mode():
    """The bits of the control register that are no flags."""
    words = (ctypes.c_uint32 * WORDS)()
    ctypes.CDLL("libm.so.6").fegetenv(words)
    return words[CONTROL] & SETTINGS
