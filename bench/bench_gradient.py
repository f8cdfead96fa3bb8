"""One gradient, E1 to E6: fastbp beside its peers on the networks that figures are stated for."""

import pytest

from fastbp import get_isa
from fastbp._measure import verify
from fastbp._sides import GRADIENTS, NETWORKS, gradient_flops, problem


def name(network):
    sizes, batch = network
    return f"{'-'.join(map(str, sizes))}({batch})"


@pytest.mark.parametrize("make", GRADIENTS)
@pytest.mark.parametrize("network", NETWORKS, ids=name)
def test_gradient(benchmark, network, dtype, make):
    sizes, batch = network
    net, X, y = problem(sizes, batch, dtype)
    side = make(net, X, y)
    verify(net, X, y, [side, *(other(net, X, y) for other in GRADIENTS if other is not make)])
    benchmark.group = f"gradient {name(network)} {dtype}"
    benchmark.extra_info.update(flops=gradient_flops(sizes, batch), isa=get_isa())
    benchmark(side.call)
