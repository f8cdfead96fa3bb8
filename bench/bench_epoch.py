"""Training with Adam, an epoch of 1280 rows: shuffle, gather, gradient, update."""

import pytest

from fastbp._measure import verify_epoch
from fastbp._sides import EPOCH_ROWS, EPOCHS, EPOCHS_OF, problem


@pytest.mark.parametrize("make", EPOCHS_OF)
@pytest.mark.parametrize("network", EPOCHS, ids=lambda case: f"{case[0]}({case[1]})")
def test_epoch(benchmark, network, dtype, make):
    sizes, batch = network
    verify_epoch(sizes, batch, dtype)
    side = make(*problem(sizes, EPOCH_ROWS, dtype), batch)
    benchmark.group = f"epoch {'-'.join(map(str, sizes))}({batch}) {dtype}"
    benchmark.extra_info["steps"] = -(-EPOCH_ROWS // batch)
    benchmark(side.call)
