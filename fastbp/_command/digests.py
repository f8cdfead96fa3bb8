"""The bits of `fastbp check`: digests of results, compared with each other and with the record.

    L0         the same bits from run to run
    L1         ... for any number of threads, of a gradient and of ten epochs of Adam
    L2         ... of h and dL/dX for any batch size and position in the batch
    L3         ... of every variant with fused multiply-add; `generic` has none and stays outside
    L4         ... on ARM as on x86-64
    L5         ... of networks that are trained together, as a `Population`, and alone

check_digests.json has the digests that x86-64 machines found with both of their variants: a machine
that finds the same ones confirms L3, or L4 on ARM, with one variant alone. It is written by
`python tests/support/record.py --record`, once per version of the contract.
"""

import hashlib
import json
import platform
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _files
from fastbp._command.problems import problem
from fastbp._kernels import dispatch

RECORD = Path(fastbp.__file__).with_name("check_digests.json")
LEVELS = ("L0", "L1", "L2", "L3")       # each confirmed where those before it are; L5 beside them
THREAD_COUNTS = (1, 2, 3)
BATCH_SIZES = (1, 7, 64)    # rows at a time, beside the whole batch
FUSED = tuple(isa for isa in dispatch.ISAS if isa != "generic")
EPOCHS = 10
TRAINED, ROWS, BATCH = (6, 19, 9, 1), 333, 48
MEMBERS = 27                # full vectors of networks, and some left, with 4, 8 and 16 lanes


class Outcome(NamedTuple):
    """A check of one variant and dtype, or one of all of them."""

    kind: str                   # "gradient", "sigma", "tanh", one of LEVELS, "L5", "bits"
    ok: bool
    line: str
    worst: float | None = None  # the largest error, in units of what the kind is allowed
    confirmed: tuple = ()       # of "bits": the levels that hold on this machine


def digest(arrays):
    """The first 16 hexadecimal digits of the SHA-256 of the bytes, little-endian."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return total.hexdigest()[:16]


class Bits(NamedTuple):
    """Digests of one dtype, of the variant in use."""

    gradients: str
    rows: str
    epochs: str


def found(networks, dtype):
    """`Bits` with one thread and whole batches."""
    return Bits(_gradients(networks, dtype), _rows(networks, dtype), _epochs(dtype))


def recorded():
    """{dtype: Bits} of this version of the contract, or nothing if the record has another."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    if record["contract_version"] != dispatch.CONTRACT_VERSION:
        return {}
    return {dtype: Bits(**record[dtype]) for dtype in dispatch.DTYPES}


def record(networks):
    """Write what the variant in use finds."""
    bits = {dtype: found(networks, dtype)._asdict() for dtype in dispatch.DTYPES}
    document = {"contract_version": dispatch.CONTRACT_VERSION, **bits}
    _files.write_file(RECORD, (json.dumps(document, indent=1) + "\n").encode())


def _recorded(networks):
    """The networks whose digests this version of the contract has on record."""
    return [case for case in networks if case.contract <= dispatch.CONTRACT_VERSION]


def _gradients(networks, dtype, n_threads=1):
    arrays = []
    for case in _recorded(networks):
        net, X, y = case.problem(dtype)
        net.n_threads = n_threads
        net.backprop(X, y)
        arrays.append(net.grad.copy())
    return digest(arrays)


def _rows(networks, dtype, size=None):
    """The digest of f, h_L and dL/dX, computed for `size` rows of a batch at a time, or for all."""
    arrays = []
    for case in _recorded(networks):
        net, X, _ = case.problem(dtype)
        layers = fastbp.Layers(case.sizes, [case.activation] * (len(case.sizes) - 1), dtype=dtype,
                               n_threads=1)
        f, h = (np.empty((case.batch, case.sizes[-1]), dtype) for _ in range(2))
        dX = np.empty_like(X)
        for i in range(0, case.batch, size or case.batch):
            rows = slice(i, i + (size or case.batch))
            f[rows] = net.forward(X[rows])
            h[rows] = layers.forward(net.weights, net.biases, X[rows])
            layers.backward(h[rows] - 0.5, net.weight_grads, net.bias_grads, dX[rows])
        arrays += f, h, dX
    return digest(arrays)


def _epochs(dtype, n_threads=1):
    """The digest of the parameters and losses of a shuffled training run."""
    net, X, y = problem(TRAINED, ROWS, dtype)
    net.n_threads = n_threads
    optimizer = fastbp.Adam(2.0**-6)
    losses = [net.train_epoch(X, y, optimizer, batch_size=BATCH, rng=epoch)
              for epoch in range(EPOCHS)]
    return digest([net.params, np.array(losses)])


def _optimizers():
    return [fastbp.Adam(2.0**-(5 + k % 3)) for k in range(MEMBERS)]


def _together(dtype, n_threads):
    """The digest of parameters, losses and outputs of a population, a row for each network."""
    _, X, y = problem(TRAINED, ROWS, dtype)
    population = fastbp.Population(MEMBERS, TRAINED, dtype=dtype, seeds=0, n_threads=n_threads)
    optimizers = _optimizers()
    losses = [population.train_epoch(X, y, optimizers, batch_size=BATCH,
                                     rng=range(epoch, epoch + MEMBERS))
              for epoch in range(EPOCHS)]
    return digest([population.params, np.array(losses), population.forward(X)])


def _alone(dtype):
    """The same of its networks, each as an `MLP`."""
    _, X, y = problem(TRAINED, ROWS, dtype)
    networks = [fastbp.MLP(TRAINED, dtype=dtype, seed=k, n_threads=1) for k in range(MEMBERS)]
    optimizers = _optimizers()
    losses = [[net.train_epoch(X, y, optimizer, batch_size=BATCH, rng=epoch + k)
               for k, (net, optimizer) in enumerate(zip(networks, optimizers, strict=True))]
              for epoch in range(EPOCHS)]
    return digest([np.stack([net.params for net in networks]), np.array(losses),
                   np.stack([net.forward(X) for net in networks])])


def levels(networks):
    """Yield an `Outcome` for each dtype, variant and level, and last what they confirm."""
    holds, of_variants = dict.fromkeys((*LEVELS, "L5"), True), {}
    for dtype in dispatch.DTYPES:
        bits = {}
        for isa in dispatch.available_isas():
            dispatch.set_isa(isa)
            bits[isa] = found(networks, dtype)
            for level, (ok, line) in zip(("L0", "L1", "L2", "L5"),
                                         _own(networks, dtype, bits[isa]), strict=True):
                holds[level] &= ok
                yield Outcome(level, ok, f"{level}        {dtype} {isa:8} {line}")
        texts = {isa: " ".join(digests) for isa, digests in bits.items()}
        fused = {isa: text for isa, text in texts.items() if isa in FUSED}
        of_variants[dtype] = sorted(set(fused.values()))
        here = " and ".join(of_variants[dtype])
        if len(fused) > 1:
            ok = len(of_variants[dtype]) == 1
            holds["L3"] &= ok
            yield Outcome("L3", ok, f"L3        {dtype} {here} of {_list(fused)}")
        else:
            yield Outcome("L3", True, f"L3        {dtype} nothing to compare: {_list(bits)}")
        if fused and texts.get("generic", here) != here:
            yield Outcome("L3", True,
                          f"          {dtype} {texts['generic']} of generic, outside the promise")
    yield _verdict(holds, of_variants)


def _own(networks, dtype, first):
    """Yield (ok, line) for L0, L1, L2 and L5 of the variant in use."""
    yield _gradients(networks, dtype) == first.gradients, f"{first.gradients} in two calls"
    threads = {(_gradients(networks, dtype, n), _epochs(dtype, n)) for n in THREAD_COUNTS}
    yield threads == {(first.gradients, first.epochs)}, (
        f"{first.gradients} and {first.epochs} after {EPOCHS} epochs for {_list(THREAD_COUNTS)} "
        "threads")
    rows = {first.rows, *(_rows(networks, dtype, size) for size in BATCH_SIZES)}
    yield len(rows) == 1, (f"{' '.join(sorted(rows))} for the batch and {_list(BATCH_SIZES)} rows "
                           "at a time")
    alone = _alone(dtype)
    found = {alone, *(_together(dtype, n) for n in THREAD_COUNTS)}
    yield len(found) == 1, (f"{' '.join(sorted(found))} of {MEMBERS} networks after {EPOCHS} "
                            f"epochs, alone and together on {_list(THREAD_COUNTS)} threads")


def _verdict(holds, of_variants):
    """The `Outcome` "bits": the digest of all, the recorded one, the levels that they confirm."""
    expected = {dtype: [" ".join(bits)] for dtype, bits in recorded().items()}
    version = dispatch.CONTRACT_VERSION
    here = _total(of_variants)
    if not all(of_variants.values()):
        ok, holds["L3"] = True, False
        text = "no variant with fused multiply-add, and nothing recorded for others"
    elif of_variants == expected:
        ok, text = True, f"digest {here} of the lines L3, as recorded for contract {version}"
    else:
        ok, holds["L3"] = False, False
        text = (f"digest {here} of the lines L3, but {_total(expected)} is recorded for "
                f"contract {version}")
    confirmed = [level for i, level in enumerate(LEVELS) if all(map(holds.get, LEVELS[:i + 1]))]
    if confirmed[-1:] == ["L3"] and platform.machine() in ("aarch64", "arm64"):
        confirmed.append("L4")
    level = confirmed[-1] if confirmed else "no level"
    beside = ("L5",) if confirmed and holds["L5"] else ()
    line = f"bits: {text}; {level} confirmed on this machine{', and L5' if beside else ''}"
    return Outcome("bits", ok, line, confirmed=(*confirmed, *beside))


def _total(of_dtypes):
    """A digest of digests."""
    text = " ".join(" ".join(of_dtypes.get(dtype, "")) for dtype in dispatch.DTYPES)
    return hashlib.sha256(text.encode()).hexdigest()[:16] if of_dtypes else "nothing"


def _list(names):
    return ", ".join(map(str, names))
