"""Promise: the bound that `fastbp bench` prints beside a time is the arithmetic it says it is."""

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fastbp
from fastbp import _arguments
from fastbp._command.bench import bound, limits, timing
from fastbp._kernels import dispatch

# Powers of two, so that sums and quotients are exact: 16 lanes, 2^30 vectors of FMAs per second.
LIMITS = bound.Limits(lanes=16, peak=2.0**35, bandwidth=2.0**33, activation=2.0**-30,
                      loss=2.0**-28, update=2.0**-29)
VECTOR = 2.0**-30
SIZES = (17, 32, 1)
LARGE = (1024, 256, 1)      # 2 x 1 MiB of parameters and gradient: out of `IN_CACHE`


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 1e-4)
    monkeypatch.setattr(limits, "SLOPE_SECONDS", 0.01)


# ---- vectors


@pytest.mark.parametrize(("rows", "columns", "vectors"), [
    (1, 1, 1), (1, 16, 1), (1, 17, 2), (128, 16, 128),
    (128, 1, 8),        # the rows are the lanes
    (128, 17, 136),     # 16 columns in a vector of each row, the last one in eight of the rows
    (4, 17, 5),         # the last column in one vector, a quarter full
    (20, 17, 22),       # the last column in one full vector, and one of four rows
    (31, 31, 61)])      # 31 of 16 columns, 15 of 16 rows, and the corner of 15 by 15
def test_vectors_by_hand(rows, columns, vectors):
    assert bound.least_vectors(rows, columns, 16) == vectors
    assert bound.least_vectors(columns, rows, 16) == vectors


def test_vectors_between_their_limits():
    """No fewer than the elements fill, no more than with lanes along one axis; growing."""
    for width, rows, columns in itertools.product((1, 2, 4, 8), range(1, 20), range(1, 20)):
        vectors = bound.least_vectors(rows, columns, width)
        assert -(-rows * columns // width) <= vectors
        assert vectors <= min(rows * -(-columns // width), -(-rows // width) * columns)
        assert vectors <= bound.least_vectors(rows + 1, columns, width)
        assert vectors <= bound.least_vectors(rows, columns + 1, width)


def test_products_by_hand():
    """17-32-1 with 20 rows, vectors of 16.

    E1: 17 steps of 20 rows of two vectors; 32 steps of 20 outputs, in two vectors of rows.
    E5: one step of the same 20 by 32, which is delta of the hidden layer.
    E6: 20 steps of 17 by 32, 34 vectors, and of the column of 32, 2 vectors.
    """
    assert bound.product_vectors(SIZES, 20, 16) == {
        "E1": 17 * 40 + 32 * 2, "E5": 40, "E6": 20 * (34 + 2)}


@pytest.mark.parametrize("isa", ["generic", "neon", "avx2", "avx512"])
def test_full_lanes_waste_nothing(isa):
    """Widths and rows that are multiples of the vector: the operations of the products."""
    for dtype in ("float32", "float64"):
        lanes, n = bound.lanes(isa, dtype), 48
        counts = bound.product_vectors((64, 32, 48, 16), n, lanes)
        weights = 64 * 32 + 32 * 48 + 48 * 16
        assert counts["E1"] * lanes == counts["E6"] * lanes == n * weights
        assert counts["E5"] * lanes == n * (weights - 64 * 32)


def test_every_variant_has_the_width_of_its_kernels():
    """VEC_BYTES of simd.h: AVX-512, AVX2, NEON, relaxed SIMD and the rest, in that order."""
    text = (Path(fastbp.__file__).parent / "_kernels" / "simd.h").read_text()
    given = [int(n) for n in re.findall(r"#define VEC_BYTES (\d+)", text)]
    assert list(bound.VECTOR_BYTES) == list(dispatch.ISAS)
    assert list(bound.VECTOR_BYTES.values()) == given


# ---- terms


def test_gradient_by_hand():
    """16 lanes of two operations: 2^30 vectors per second. 2 KiB of parameters stay in cache."""
    found = bound.gradient_bound(SIZES, 20, "float32", LIMITS)
    seconds = {"E1": 744 * VECTOR, "E5": 40 * VECTOR, "E6": 720 * VECTOR,
               "activation": 20 * 32 * 2.0**-30, "loss": 20 * 2.0**-28}
    assert found["terms_us"] == {name: 1e6 * term for name, term in seconds.items()}
    assert found["us"] == found["arithmetic_us"] == sum(found["terms_us"].values())
    assert found["bytes"] == found["memory_us"] == 0
    assert found["limits"] == LIMITS._asdict()


def test_memory_by_hand():
    """Few rows: W_1 read once, W_2 twice, both dW written, X twice and y once."""
    found = bound.gradient_bound(LARGE, 1, "float32", LIMITS)
    assert found["bytes"] == 4 * (2 * 1024 * 256 + 3 * 256 + 2 * 1024 + 1)
    assert found["us"] == found["memory_us"] == 1e6 * found["bytes"] / 2**33
    assert found["memory_us"] > found["arithmetic_us"]
    slow = bound.gradient_bound(LARGE, 1024, "float32", LIMITS)
    assert slow["us"] == slow["arithmetic_us"] > slow["memory_us"]


def test_threads_share_the_arithmetic_alone():
    one, two = (bound.gradient_bound(LARGE, 64, "float64", LIMITS, threads) for threads in (1, 2))
    assert two["arithmetic_us"] == one["arithmetic_us"] / 2
    assert two["memory_us"] == one["memory_us"] and two["threads"] == 2


def test_step_by_hand():
    """A gradient and 2^-29 s for each of 609 parameters; out of cache, seven reals more for each.

    33 rows in batches of 16 are three steps, of which the last has one row.
    """
    gradient = bound.gradient_bound(SIZES, 16, "float32", LIMITS)
    step = bound.step_bound(SIZES, 16, 32, "float32", LIMITS)
    assert step["terms_us"]["update"] == 1e6 * (17 * 32 + 32 + 32 + 1) * 2.0**-29
    # Seconds are exact; each term is rounded once as it becomes microseconds, each sum once.
    assert step["us"] == pytest.approx(gradient["us"] + step["terms_us"]["update"],
                                       rel=4 * 2.0**-53)
    large = bound.step_bound(LARGE, 16, 32, "float32", LIMITS)
    n_params = 1024 * 256 + 256 + 256 + 1
    assert large["bytes"] == 4 * 7 * n_params + bound.gradient_bound(
        LARGE, 16, "float32", LIMITS)["bytes"]
    whole, short = (bound.step_bound(SIZES, n, n, "float32", LIMITS)["us"] for n in (16, 1))
    mean = bound.step_bound(SIZES, 16, 33, "float32", LIMITS)["us"]
    # Both sides make three microseconds of seconds, two sums and a quotient, each rounded once.
    assert mean == pytest.approx((2 * whole + short) / 3, rel=6 * 2.0**-53)
    assert bound.step_bound(SIZES, 16, 7, "float32", LIMITS) == bound.step_bound(
        SIZES, 7, 7, "float32", LIMITS)


def test_more_work_has_no_smaller_bound():
    """In the rows and in each width."""
    for n, width in itertools.product((1, 5, 16, 100), (4, 15, 16, 17, 64)):
        least = bound.gradient_bound((width, width, 1), n, "float32", LIMITS)["us"]
        for sizes, rows in (((width, width, 1), n + 1), ((width + 1, width, 1), n),
                            ((width, width + 1, 1), n), ((width, width, 2), n)):
            assert bound.gradient_bound(sizes, rows, "float32", LIMITS)["us"] >= least
        assert bound.step_bound((width, width, 1), n, 10 * n, "float32", LIMITS)["us"] >= least


# ---- what is measured


@pytest.mark.parametrize("activation", _arguments.ACTIVATIONS)
def test_activations_and_updates_have_a_time(activation, dtype):
    """How long depends on what else runs on this machine."""
    for measured in (limits.activation_seconds(activation, dtype), limits.update_seconds(dtype)):
        assert 0 <= measured < np.inf


@pytest.mark.parametrize("loss", _arguments.LOSSES)
@pytest.mark.parametrize("n_outputs", [2, 10, 5000])
def test_losses_have_a_time_for_any_number_of_outputs(loss, n_outputs):
    assert 0 <= limits.loss_seconds(loss, n_outputs, "float32") < np.inf


def test_a_loss_without_a_public_function_has_no_time(monkeypatch):
    monkeypatch.setattr(limits, "fastbp", SimpleNamespace())
    limits.loss_seconds.cache_clear()
    assert limits.loss_seconds("poisson", 1, "float32") == 0
    limits.loss_seconds.cache_clear()


def test_a_slope_leaves_the_call_out(monkeypatch):
    """100 µs for the call, 1 µs for an element: seconds per element are those of the latter."""
    class Timer:
        def __init__(self, size):
            self.size = size

        def timeit(self, count):
            return count * (1e-4 + 1e-6 * self.size)

        def repeat(self, times, count):
            return [self.timeit(count)] * times

    monkeypatch.setattr(limits.timeit, "Timer", Timer)
    assert limits._slope(lambda size: size, 10, 50) == pytest.approx(1e-6)
    assert limits._slope(lambda size: -size, 10, 50) == 0


def test_loops_give_the_best_sample(dtype):
    """Operations and bytes over the least time of each; the better bandwidth of the two."""
    loops = limits.Loops(dtype, 2**20)
    found = loops.found([[2.0, 1.0], [4.0, 8.0], [2.0, 3.0]])
    assert found["fma_peak_gflops"] == loops.calls[0]() * 1e-9
    moved = timing.read_loop(2**20)[1]
    assert moved == timing.copy_loop(2**20)[1]
    assert found["copy_gbytes_per_s"] == pytest.approx(moved / 4e9)
    assert found["read_gbytes_per_s"] == pytest.approx(moved / 2e9)
    given = limits.limits(found, dtype, "relu", "bce", 1)
    assert given.bandwidth == 1e9 * found["read_gbytes_per_s"]
    assert given.lanes * np.dtype(dtype).itemsize == bound.VECTOR_BYTES[fastbp.get_isa()]
    assert given.update == limits.update_seconds(dtype)
