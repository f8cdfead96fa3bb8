"""Training with Adam, an epoch of 1280 rows: shuffle, gather, gradient, update."""

from fastbp._command.bench import networks
from fastbp._command.bench.verify import verify_epoch
from fastbp._command.problems import problem


def test_epoch(benchmark, epoch, dtype, trainer):
    sizes, batch = epoch
    verify_epoch(sizes, batch, dtype, [trainer])
    side = trainer.epoch(*problem(sizes, networks.EPOCH_ROWS, dtype), batch)
    benchmark.group = f"epoch {networks.name(sizes)}({batch}) {dtype}"
    benchmark.extra_info["steps"] = -(-networks.EPOCH_ROWS // batch)
    benchmark(side.call)
