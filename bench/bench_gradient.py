"""One gradient, E1 to E6: fastbp and each peer on the networks that figures are stated for."""

from fastbp import get_isa
from fastbp._command.bench import networks
from fastbp._command.bench.peers import PEERS
from fastbp._command.bench.verify import verify
from fastbp._command.problems import problem


def test_gradient(benchmark, network, dtype, peer):
    sizes, batch = network
    net, X, y = problem(sizes, batch, dtype)
    side = peer.gradient(net, X, y)
    verify(net, X, y, {"fastbp": PEERS[0].gradient(net, X, y), peer.name: side})
    benchmark.group = f"gradient {networks.name(sizes)}({batch}) {dtype}"
    benchmark.extra_info.update(flops=networks.gradient_flops(sizes, batch), isa=get_isa())
    benchmark(side.call)
