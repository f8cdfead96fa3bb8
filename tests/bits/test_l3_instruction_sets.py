"""Promise L3: every instruction set with FMA gives the same bits, those that digests.json records.

They are recorded once per version of the contract by `python tests/support/record.py --record`,
which also writes those of `fastbp check`. tools/bits.py holds other compilers and levels of
optimisation to them. `generic` has no FMA, is outside L3 and held to everything else.
"""

import numpy as np
import pytest
from bits import EVERY_KIND, everything, name_of, same_bits
from record import FMA_ISAS, all_digests, needs_fma, recorded
from ulps import adversarial, stratified

import fastbp
from fastbp import _arguments
from fastbp._kernels import dispatch

OTHER_FMA_ISAS = [isa for isa in FMA_ISAS if isa != "avx2"]


@needs_fma
def test_digests_are_the_recorded_ones(isa):
    assert all_digests() == recorded()


@pytest.mark.skipif("avx2" not in fastbp.available_isas(), reason="one variant with FMA")
@pytest.mark.parametrize("isa", OTHER_FMA_ISAS, indirect=True)
@pytest.mark.parametrize("kind", EVERY_KIND, ids=name_of)
def test_every_call_of_a_network(isa, dtype, kind):
    """Also those that came after the digests were recorded."""
    found = everything(kind, dtype)
    dispatch.set_isa("avx2")
    assert all(map(same_bits, found, everything(kind, dtype)))


@pytest.mark.skipif("avx2" not in fastbp.available_isas(), reason="one variant with FMA")
@pytest.mark.parametrize("isa", OTHER_FMA_ISAS, indirect=True)
@pytest.mark.parametrize("activation", _arguments.ACTIVATIONS)
def test_activations_agree(isa, dtype, activation):
    z = np.concatenate([stratified(dtype, 100_000, np.random.default_rng(35)), adversarial(dtype)])
    found = fastbp.activate(z, activation)
    dispatch.set_isa("avx2")
    for a, b in zip(found, fastbp.activate(z, activation), strict=True):
        assert np.array_equal(a.view(np.uint8), b.view(np.uint8))
