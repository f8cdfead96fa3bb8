"""Promise: all of an output is written, nothing beside it; nothing beside an input is read.

Outputs start as NaN between canaries, inputs lie between values that would show or crash, and in a
process of its own every array ends or begins where the memory does. The memory that fastbp owns
itself is AddressSanitizer's to guard.
"""

import ctypes
import mmap
import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from all_pairs import all_pairs
from every_call import arguments, calls
from places import PYTHONPATH

import fastbp
from fastbp._kernels import dispatch

# (n, fan_in, fan_out) around vectors of 2 to 16 lanes, panels, tiles and the block of 256
SHAPES = [
    (1, 1, 1), (1, 2, 3), (2, 3, 1), (3, 1, 2), (5, 7, 9), (7, 15, 17), (13, 16, 31), (14, 33, 15),
    (15, 17, 33), (16, 8, 4), (17, 65, 3), (31, 3, 65), (64, 130, 129), (129, 64, 128),
    (255, 5, 2), (256, 2, 5), (257, 9, 12), (300, 129, 1), (4, 257, 63), (66, 67, 257),
]
CANARY, MARGIN = 0xA5, 256  # bytes


def flat(result):
    """The arrays and numbers of a result."""
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in flat(part)]
    return [] if result is None else [np.asarray(result)]


class Guarded:
    """Arrays of NaN between canaries; `check` asserts that they, and only they, were written."""

    def __init__(self):
        self.buffers = []

    def __call__(self, shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        buffer = np.full(size + 2 * MARGIN, CANARY, np.uint8)
        array = buffer[MARGIN:MARGIN + size].view(dtype).reshape(shape)
        array[...] = np.nan
        self.buffers.append((buffer, array))
        return array

    def check(self, what):
        for buffer, array in self.buffers:
            assert not np.isnan(array).any(), f"{what}: not every element was written"
            assert np.all(buffer[:MARGIN] == CANARY), f"{what}: written before the array"
            assert np.all(buffer[-MARGIN:] == CANARY), f"{what}: written after the array"
        self.buffers.clear()


def between(a):
    """A copy of `a` between NaN, or indices far outside: a read beside it shows, or crashes."""
    beside = np.iinfo(a.dtype).max // 2 if a.dtype.kind == "i" else np.nan
    buffer = np.full(a.size + 2 * MARGIN, beside, a.dtype)
    view = buffer[MARGIN:MARGIN + a.size].reshape(a.shape)
    view[...] = a
    return view


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.exhaustive)])
@all_pairs("isa", "dtype", shape=SHAPES)
def test_outputs_are_written_and_nothing_beside_them(isa, dtype, shape, which):
    n, fan_in, fan_out = shape
    sizes, turn = (fan_in, fan_out, fan_in), SHAPES.index(shape)
    plain = arguments(n, sizes, dtype)
    a = {name: between(x) for name, x in plain.items()}
    pairs = list(zip(calls(a, sizes, dtype), calls(plain, sizes, dtype), strict=True))
    guarded = Guarded()
    for call, twin in pairs[turn % 8::8] if which == "some" else pairs:
        run, _ = call.prepare(**call.arrays(guarded, dtype))
        found = flat(run())
        guarded.check(call.name)
        run, _ = twin.prepare(**twin.arrays(np.empty, dtype))
        for x, y in zip(found, flat(run()), strict=True):
            assert np.isfinite(x).all() and np.array_equal(x, y), call.name
    for name, x in a.items():
        assert np.array_equal(x, plain[name]), f"{name} was written to"


def test_deep_networks_write_every_gradient(isa, dtype):
    for sizes in ((2, 8, 8, 1), (5, 17, 1, 33, 3), (64, 65, 1)):
        guarded, pairs = Guarded(), list(zip(sizes, sizes[1:], strict=False))
        rng = np.random.default_rng(31)
        W = [rng.uniform(-1, 1, pair).astype(dtype) for pair in pairs]
        b = [rng.uniform(-1, 1, pair[1]).astype(dtype) for pair in pairs]
        layers = fastbp.Layers(sizes, ["sigmoid"] * len(pairs), dtype=dtype)
        for n in (1, 300, 2):  # a smaller batch after a larger one
            layers.forward(W, b, rng.uniform(-1, 1, (n, sizes[0])))
            layers.backward(rng.uniform(-1, 1, (n, sizes[-1])), [guarded(p, dtype) for p in pairs],
                            [guarded(p[1:], dtype) for p in pairs], guarded((n, sizes[0]), dtype))
            guarded.check(f"{sizes}, {n} rows")


def test_in_place(isa, dtype):
    z = np.linspace(-5, 5, 77).astype(dtype)
    h, grad = fastbp.sigmoid(z), z[::-1].copy()
    expected = fastbp.sigmoid_backward(grad, h)
    assert fastbp.sigmoid_backward(grad, h, out=grad) is grad and np.array_equal(grad, expected)
    assert fastbp.sigmoid(z, out=z) is z and np.array_equal(z, h)


# ---- where the memory ends


def forbid(address, nbytes):
    """Let any access to these pages kill the process."""
    pages = ctypes.c_void_p(address), ctypes.c_size_t(nbytes)
    if sys.platform == "win32":
        no_access, before = 1, ctypes.c_ulong()
        if not ctypes.windll.kernel32.VirtualProtect(*pages, no_access, ctypes.byref(before)):
            raise ctypes.WinError()
    elif ctypes.CDLL(None, use_errno=True).mprotect(*pages, 0):
        raise OSError(ctypes.get_errno(), "mprotect")


def against_the_edge(a, at_end):
    """A copy of `a` whose last byte lies before, or whose first lies after, a forbidden page."""
    page, nbytes = mmap.PAGESIZE, max(a.nbytes, 1)
    room = -(-nbytes // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    for edge in (start, start + page + room):
        forbid(edge, page)
    offset = page + (room - a.nbytes if at_end else 0)
    view = np.frombuffer(memory, a.dtype, a.size, offset).reshape(a.shape)
    view[...] = a
    return view


def work_at_the_edge(which):
    """The inputs lie there once for all variants."""
    for dtype, (turn, shape), at_end in product(
            ("float32", "float64"), enumerate(SHAPES), (False, True)):
        def empty(shape, dtype, at_end=at_end):
            return against_the_edge(np.empty(shape, dtype), at_end)

        n, fan_in, fan_out = shape
        sizes = (fan_in, fan_out, fan_in)
        a = {name: against_the_edge(x, at_end) for name, x in arguments(n, sizes, dtype).items()}
        for isa in dispatch.available_isas():
            dispatch.set_isa(isa)
            found = list(calls(a, sizes, dtype))
            if which == "some":     # every call for some shape, at both ends
                found = found[turn % 16::16]
            for call in found:
                print(isa, dtype, n, sizes, call.name, "end" if at_end else "start", flush=True)
                call.prepare(**call.arrays(empty, dtype))[0]()


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.exhaustive)])
def test_nothing_is_touched_beyond_the_end_of_memory(which):
    """Any access outside the arrays kills the process; its last line says where."""
    run = subprocess.run(
        [sys.executable, "-c",
         f"from {__name__} import work_at_the_edge; work_at_the_edge({which!r})"],
        text=True, capture_output=True, env={**os.environ, "PYTHONPATH": PYTHONPATH})
    assert run.returncode == 0, (run.returncode, run.stdout.splitlines()[-1:], run.stderr)
