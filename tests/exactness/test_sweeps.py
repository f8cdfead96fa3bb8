"""Promise: σ, tanh, e^z, their derivatives, p, δ_L and the loss of a sample are within a few units
in the last place (ulps.py has the promises), saturated or not: E1 to E4 for the exact z given.

Every float32 and very many float64 with `-m exhaustive`, which is minutes on two cores; a part of
them otherwise. All variants are held against the same exact values (sweeps.py). `pytest -s` prints
the largest errors and their inputs. How errors of z travel is for test_gradient_bound.py.
"""

import os

import families
import numpy as np
import oracle
import pytest
import sweeps
from ulps import BULK, Worst, hexadecimal, needs_wide, sample_losses, wide_error

import fastbp
from fastbp._kernels import dispatch

DTYPES = ["float32", pytest.param("float64", marks=needs_wide)]


def check(largest):
    for (function, dtype, isa), worst in largest.items():
        print(function, end=": ")
        worst.check(families.PROMISES[function], isa, dtype)


def test_every_997th_float32():
    check(sweeps.run(sweeps.every_float32(997, pieces=4)))


@pytest.mark.exhaustive
def test_every_float32():
    check(sweeps.run(sweeps.every_float32(), os.cpu_count()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", families.FAMILIES)
def test_many_points(name, dtype):
    check(sweeps.run(sweeps.many_points(name, dtype, 1 << 15, 1)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", families.FAMILIES)
def test_very_many_points(name, dtype):
    if dtype == "float64" or name not in families.OF_ONE_NUMBER:
        check(sweeps.run(sweeps.many_points(name, dtype, sweeps.POINTS[name], 2), os.cpu_count()))


@pytest.mark.parametrize("name", families.FAMILIES)
def test_to_50_digits(dtype, name):
    """A plain σ(z) − y, p − y or h (1 − h) has no correct digit where units saturate.

    Nor are the wide values off by more than the sweeps allow for.
    """
    family, n = families.FAMILIES[name], 800 if name in families.OF_ONE_NUMBER else 400
    inputs = family.points(dtype, n, np.random.default_rng(3))
    if name in families.OF_ONE_NUMBER:
        hardest = np.concatenate([z for z, in sweeps.hardest(dtype)])
        even = np.linspace(-750, 750, 301).astype(dtype)
        inputs = np.sort(np.concatenate([*inputs, hardest[::hardest.size // 1500], even])),
    wide = family.wide(*inputs)
    for function, (promise, evaluate) in family.functions.items():
        exact = evaluate(*inputs)
        if dtype == "float32" or BULK:
            assert own_error(wide[function], exact, dtype) <= wide_error(dtype), function
        for isa in dispatch.available_isas():
            worst = Worst()
            worst.see(sweeps.error_of(name, function, isa, *inputs, exact=exact), *inputs)
            worst.check(promise, isa, dtype)


def own_error(wide, exact, dtype):
    """Errors of wide values, in ulps of the dtype; a long double is split into two float64."""
    m, exponent = np.frexp(wide)
    head = m.astype(np.float64)

    def error(head, tail, exponent, x):
        found = oracle.mp.ldexp(oracle.mp.mpf(head) + oracle.mp.mpf(tail), int(exponent))
        return float(abs(found - x) / oracle.ulp(x, dtype))

    errors = np.frompyfunc(error, 4, 1)(head, (m - head).astype(np.float64), exponent, exact)
    return errors.astype(np.float64).max()


@pytest.mark.parametrize("options", [{}, {"pos_weight": 2.5}])
def test_a_loss_by_itself(isa, dtype, options):
    """What sweeps count ulps of is what a call with one sample returns."""
    z = families.FAMILIES["sigmoid"].points(dtype, 300, np.random.default_rng(9))[0]
    for name, found in families.hard_labels(z, **options).items():
        if name.startswith("loss"):
            alone = sample_losses(fastbp.bce_with_logits, z, np.full_like(z, name[-1]), **options)
            assert np.array_equal(found, alone)


def test_an_error_is_counted(isa, dtype):
    """One unit too many is found by a sweep, and by the digits after it."""
    z = np.linspace(1, 2, 100, dtype=dtype)
    exact = families.wide_logistic(z)["σ"]
    h = fastbp.sigmoid(z)
    h[37] = np.nextafter(np.nextafter(h[37], 2, dtype=dtype), 2, dtype=dtype)
    worst = Worst(wide_error(dtype))
    worst.see(sweeps.errors_of(h, exact, {}), z)
    assert 1.2 < worst.error < 3 and worst.at == (hexadecimal(z[37]),)
    again = worst.settled(lambda z: oracle.ulp_error(h[37:38], oracle.exact_sigmoid(z)))
    assert abs(again.error - worst.error) <= wide_error(dtype)
    h[38] = np.nan
    worst.see(sweeps.errors_of(h, exact, {}), z)
    assert worst.error == np.inf and worst.at == (hexadecimal(z[38]),)
