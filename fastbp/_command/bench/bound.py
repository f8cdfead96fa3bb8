"""The least time that a gradient or a training step could take on this machine.

    bound = max(arithmetic, bytes / bandwidth)
    arithmetic = (E1 + E5 + E6) 2 lanes / peak + h t_act + z t_loss + p t_update

E1, E5 and E6 are counted in vectors of fused multiply-adds, `lanes` reals wide. By N1 the sum over
fan_in, fan_out or n is one chain, so that lanes can only lie along the other two axes:

    E1  h     (n, fan_out)        fan_in steps each, every layer
    E5  delta (n, fan_in)         fan_out steps each, every layer but the first
    E6  dW    (fan_in, fan_out)   n steps each, every layer

A vector lies along one axis of the result; what it leaves over at the end of that axis may lie
along the other one (`least_vectors`). What then stays empty is counted as if it were computed. The
biases cost nothing here: b is where the chain of E1 starts, and the n additions of db are left out.

`h` counts the hidden units of all samples, of which t_act is the time of one with its derivative,
`z` the outputs of all samples, t_loss that of one with its delta, `p` the parameters, t_update that
of one in a step of Adam: each measured on its own, on data in L1 (`limits`).

The bytes are those of `least_bytes`: X and y; W for E1 and again for E5; dW. A step of Adam also
reads dW, p, m, v and writes p, m, v. The bandwidth is that of a loop over as many bytes as the
parameters and the gradient have, so a network that fits a cache has the bandwidth of that cache.
Below `IN_CACHE` bytes, for which there is no such loop, nothing is counted.

What is assumed to overlap: all memory traffic with all arithmetic, and within the arithmetic
nothing, since products and activations use the same units. What is left out: the latency of a
chain, which is most of the time at batch 1, transposing, storing h and delta, and the call.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastbp._command.bench.networks import least_bytes, n_params

IN_CACHE = 2**17        # of the parameters and the gradient: what the shortest loop moves
VECTOR_BYTES = {"avx512": 64, "avx2": 32, "neon": 16, "relaxed": 16, "generic": 16}
UPDATE_REALS = 7        # dW, p, m, v are read; p, m, v are written


class Limits(NamedTuple):
    """What the machine can do in one dtype; seconds, bytes and operations."""

    lanes: int              # reals in a vector
    peak: float             # FMA operations per second, two for each lane
    bandwidth: float        # bytes per second, for as many bytes as are to be moved
    activation: float       # seconds for each hidden unit of a sample
    loss: float             # seconds for each output of a sample
    update: float = 0.0     # seconds for each parameter of a step


def lanes(isa, dtype):
    """Reals in a vector of a variant."""
    return VECTOR_BYTES[isa] // np.dtype(dtype).itemsize


def least_vectors(rows, columns, width):
    """Vectors of up to `width` elements, each along a row or a column, that cover a matrix."""
    return min(_along(rows, columns, width), _along(columns, rows, width))


def _along(rows, columns, width):
    """Whole vectors along the rows; for the columns left over, the better of both ways."""
    whole, left = divmod(columns, width)
    strips, corner = divmod(rows, width)
    return whole * rows + min(rows, strips * left + min(corner, left)) * (left > 0)


def product_vectors(sizes, n, width):
    """Vectors of fused multiply-adds of each product, {name: count}."""
    layers = list(pairwise(sizes))
    return {"E1": sum(a * least_vectors(n, b, width) for a, b in layers),
            "E5": sum(b * least_vectors(n, a, width) for a, b in layers[1:]),
            "E6": sum(n * least_vectors(a, b, width) for a, b in layers)}


def gradient_seconds(sizes, n, limits):
    """Seconds of arithmetic of one gradient, by what they are for."""
    seconds = {name: count * 2 * limits.lanes / limits.peak
               for name, count in product_vectors(sizes, n, limits.lanes).items()}
    return {**seconds, "activation": n * sum(sizes[1:-1]) * limits.activation,
            "loss": n * sizes[-1] * limits.loss}


def gradient_bound(sizes, n, dtype, limits, threads=1):
    """The bound of one gradient, its arithmetic shared by `threads`; a dict for JSON."""
    n_bytes = 0 if _in_cache(sizes, dtype) else least_bytes(sizes, n, dtype)
    return _bound(gradient_seconds(sizes, n, limits), n_bytes, limits, threads)


def step_bound(sizes, batch, rows, dtype, limits):
    """The bound of a step of Adam, the mean over an epoch of `rows`; a dict for JSON."""
    whole, rest = divmod(rows, batch)
    parts = [(whole, batch)] * (whole > 0) + [(1, rest)] * (rest > 0)
    steps = sum(count for count, _ in parts)
    seconds, n_bytes, size = {}, 0, n_params(sizes)
    for count, n in parts:
        terms = {**gradient_seconds(sizes, n, limits), "update": size * limits.update}
        for name, term in terms.items():
            seconds[name] = seconds.get(name, 0) + term * count / steps
        moved = least_bytes(sizes, n, dtype) + UPDATE_REALS * size * np.dtype(dtype).itemsize
        n_bytes += 0 if _in_cache(sizes, dtype) else moved * count / steps
    return _bound(seconds, n_bytes, limits)


def _in_cache(sizes, dtype):
    return 2 * n_params(sizes) * np.dtype(dtype).itemsize < IN_CACHE


def _bound(seconds, n_bytes, limits, threads=1):
    terms = {name: 1e6 * term / threads for name, term in seconds.items()}
    arithmetic, memory = sum(terms.values()), 1e6 * n_bytes / limits.bandwidth
    return {"us": max(arithmetic, memory), "arithmetic_us": arithmetic, "memory_us": memory,
            "terms_us": terms, "bytes": n_bytes, "threads": threads, "limits": limits._asdict()}
