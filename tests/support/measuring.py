"""Small and quick runs of `fastbp bench`; no test is here."""

import argparse

from fastbp._command.bench import command, measure, peers

SMALL = (((2, 3, 1), 5), ((4, 6, 2), 3))
QUICKLY = {"without": ["torch.compile"]}    # it needs seconds for each network
MORE_QUICKLY = {"without": ["torch.compile", "JAX"]}    # JAX a third of one for each function
ALL_PEERS = [peer.name for peer in peers.PEERS[1:]]
ROUNDED = 8 * 2.0**-53      # at most eight products and quotients on either side


def arguments(**options):
    return argparse.Namespace(**{"networks": None, "suite": None, "dtype": None, "quick": True,
                                 "json": None, "plot": None, "threads": False, "population": False,
                                 "from_file": None, **command.DEFAULTS, **options})


def measured(cases=SMALL, dtypes=("float32", "float64"), epochs=(), seconds=0.0, **options):
    return list(measure.measure(cases, dtypes, epochs, seconds, **{**QUICKLY, **options}))


def in_this_process(cases=SMALL, epochs=()):
    """What `command.run` takes in place of `spawn`: small cases, whatever was asked for."""
    def run(task, **options):
        if task == "measure":
            return measured(cases, ("float32",), epochs)
        return list(measure.measure_threads(cases, ("float32",), 0.0))

    return run
