"""The sides of a comparison: fastbp first, then the peers that are installed.

A peer is a line of `PEERS` and its functions in `gradients` and `epochs`; a library that is not
installed is absent. Nothing here imports one.
"""

from importlib.util import find_spec
from typing import NamedTuple

from fastbp._command.bench import epochs, gradients
from fastbp._command.problems import problem


class Peer(NamedTuple):
    """A side's name, the distribution and module it needs, and its functions or None.

    `eps_hat`: its Adam is the form that `fastbp.Adam(eps_hat=True)` has.
    """

    name: str
    distribution: str
    module: str
    gradient: object
    epoch: object
    eps_hat: bool = False


PEERS = (
    Peer("fastbp", "fastbp", "fastbp", gradients.by_fastbp, epochs.by_fastbp),
    Peer("NumPy", "numpy", "numpy", gradients.by_numpy, epochs.by_numpy),
    Peer("PyTorch", "torch", "torch", gradients.by_torch, epochs.by_torch),
    Peer("torch.compile", "torch", "torch", gradients.by_torch_compile, None),
    Peer("JAX", "jax", "jax", gradients.by_jax, epochs.by_jax),
    Peer("scikit-learn", "scikit-learn", "sklearn", gradients.by_sklearn, epochs.by_sklearn, True),
)


def installed(without=()):
    """The peers whose library is installed, except those named in `without`."""
    return tuple(peer for peer in PEERS if peer.name not in without and find_spec(peer.module))


def compiles(peer):
    """None if the peer's gradient of the least network can be had, or one line why not.

    torch.compile needs a C++ compiler and Python's headers, and raises whatever its parts raise.
    """
    net, X, y = problem((2, 1), 1, "float32")
    try:
        peer.gradient(net, X, y).call()
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return None
