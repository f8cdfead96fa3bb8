"""Promise L0: the same bits from run to run, from process to process, wherever arrays lie.

That each Python that .ci/run has gives the same is in the recorded digests (L3).
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from all_pairs import all_pairs
from bits import EVERY_KIND, everything, moved, name_of, network, same_bits
from places import PYTHONPATH, SUPPORT
from record import FMA_ISAS, all_digests, recorded

import fastbp


def test_digests_of_a_fresh_process(isa):
    """Another process, another heap, another hash seed; the variant chosen by FASTBP_ISA."""
    env = {**os.environ, "FASTBP_ISA": isa, "PYTHONPATH": PYTHONPATH}
    run = subprocess.run([sys.executable, SUPPORT / "record.py", "--print"], env=env, text=True,
                         check=True, capture_output=True)
    # what this process finds with FMA is what is recorded: L3
    assert json.loads(run.stdout) == (recorded() if isa in FMA_ISAS else all_digests())


@pytest.mark.parametrize("sizes, n", [((3, 5, 1), 300), ((17, 13, 11, 7), 100), ((33, 16, 1), 7)])
def test_alignment_and_repetition(isa, dtype, sizes, n):
    net, X, y = network(sizes, n, dtype)
    loss, expected, z = net.backprop(X, y), net.grad.copy(), net.logits(X)
    for offset in range(0, 64, np.dtype(dtype).itemsize):
        net.grad[:] = np.nan
        assert same_bits(net.backprop(moved(X, offset), moved(y, (3 * offset) % 64)), loss)
        assert same_bits(net.grad, expected)
        out = moved(z, offset)
        assert same_bits(net.logits(X, out=out), z)
        weights = [moved(W, offset) for W in net.weights]
        dW, db = fastbp.backprop(weights, [moved(b, offset) for b in net.biases], X, y)[1:]
        assert all(map(same_bits, dW, net.weight_grads))
        assert all(map(same_bits, db, net.bias_grads))


@all_pairs("isa", "dtype", kind=EVERY_KIND, ids=name_of)
def test_alignment_and_repetition_of_every_kind(isa, dtype, kind):
    expected = everything(kind, dtype)
    size = np.dtype(dtype).itemsize
    for offset in (size, 32 + size, 64 - size):
        found = everything(kind, dtype, place=lambda a, offset=offset: moved(a, offset))
        assert all(map(same_bits, found, expected)), offset
