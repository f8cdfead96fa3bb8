"""`fastbp check`: gradients, functions and bits of every kernel variant that this CPU has.

    gradient   each element within the running error bound of `_error_bound`, of wider arithmetic
    sigma      within 1 ulp of wider arithmetic on a sample; at 0, at infinity and NaN exactly
    tanh       the same
    L0         the same bits from run to run
    L1         ... for any number of threads
    L2         ... of h and delta for any batch size and position in the batch
    L3         ... of every variant with fused multiply-add; `generic` has none and stays outside

Each check is one line, and one that does not hold says FAILED. Networks, inputs and sample points
come from the raw bits of PCG64, so that digests of different machines can be compared.
"""

import hashlib
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _checks, _random
from fastbp._bench.measure import cpu_model
from fastbp._bench.networks import problem
from fastbp._error_bound import ANY, FASTBP, error_bound, own_error, tails, wider
from fastbp._kernels import dispatch


class Case(NamedTuple):
    """A network and its batch; `factor` multiplies the weights."""

    sizes: tuple
    batch: int
    factor: int = 1
    activation: str = "sigmoid"
    loss: str = "bce"

    @property
    def name(self):
        kind = [] if self[3:] == ("sigmoid", "bce") else [self.activation, self.loss]
        return " ".join(["-".join(map(str, self.sizes)), *kind, f"({self.batch})"])

    def problem(self, dtype):
        """The network, X and y."""
        net, X, y = problem(self.sizes, self.batch, dtype, 0, self.activation, self.loss)
        net.params[:] *= net.dtype.type(self.factor)
        return net, X, y


# A batch and a sum beyond the block of 256, several outputs, saturated units; then every activation
# with every loss.
NETWORKS = (
    Case((2, 8, 8, 1), 1),
    Case((30, 64, 64, 1), 300),
    Case((300, 40, 3), 33),
    Case((10, 32, 32, 1), 64, 40),
    Case((784, 256, 128, 1), 8),
    *(Case((30, 33, 17, 5), 65, 1, *kind) for kind in product(_checks.ACTIVATIONS, _checks.LOSSES)),
)
THREADS = (1, 2, 3)
PIECES = (1, 7, 64)         # rows at a time, beside the whole batch
ULPS = 1.0                  # promised for sigma and tanh
POINTS = 1 << 19            # in each of three strata
FUSED = tuple(isa for isa in dispatch.ISAS if isa != "generic")


def run(args):
    """Carry out `fastbp check`.

    Returns
    -------
    int
        0, or 1 if anything is off.
    """
    print(f"fastbp {fastbp.__version__}, contract {dispatch.CONTRACT_VERSION}, "
          f"{dispatch.COMPILER}, NumPy {np.__version__}, {cpu_model()}")
    n_failed, n_checks = 0, 0
    with _variant_restored():
        for check in (gradients, functions, digests):
            for ok, line in check():
                print("ok    " if ok else "FAILED", line, flush=True)
                n_checks += 1
                n_failed += not ok
    print(f"{n_failed} of {n_checks} checks failed" if n_failed else f"{n_checks} checks passed")
    return 1 if n_failed else 0


@contextmanager
def _variant_restored():
    before = dispatch.get_isa()
    try:
        yield
    finally:
        dispatch.set_isa(before)


# ---- gradient


def gradients():
    """Yield (ok, line) for each dtype and variant: the largest error over its bound."""
    for dtype in dispatch.DTYPES:
        wide = wider(dtype)
        worst = dict.fromkeys(dispatch.available_isas(), (0.0, ""))
        for case in NETWORKS:
            net, X, y = case.problem(dtype)
            parts = net.weights, net.biases, X, y
            kind = {"activation": case.activation, "loss": case.loss}
            exact, bound = error_bound(*parts, FASTBP, wide, **kind)
            bounds = dict.fromkeys(FUSED, bound)
            if "generic" in worst:
                bounds["generic"] = error_bound(*parts, ANY, wide, **kind)[1]
            for isa in worst:
                dispatch.set_isa(isa)
                net, X, y = case.problem(dtype)
                net.backprop(X, y)
                error = np.nan_to_num(np.abs(net.grad.astype(wide) - exact), nan=np.inf)
                ratio = float(np.max(error / bounds[isa])) / (1 + own_error(dtype, wide))
                worst[isa] = max(worst[isa], (ratio, case.name))
        for isa, (ratio, network) in worst.items():
            yield ratio <= 1.0, (f"gradient  {dtype} {isa:8} largest |error| / bound {ratio:.4f}"
                                 f" in {network}; reference in {_format(wide)}")


def _format(wide):
    """"float64", or the significand of a long double."""
    return "float64" if wide is np.float64 else f"{np.finfo(wide).nmant + 1} bits"


# ---- sigma and tanh


def points(dtype):
    """Finite bit patterns of the dtype; uniform where sigma is not 0 or 1; uniform in [-2, 2)."""
    bits = _random.raw_bits(3, POINTS)
    single = dtype == "float32"
    patterns = (bits >> np.uint64(32)).astype(np.uint32) if single else bits
    patterns = patterns.view(dtype)
    unit = (bits >> np.uint64(11)) * 2.0**-53
    lowest, highest = (-104.0, 18.0) if single else (-746.0, 38.0)
    return np.concatenate([patterns[np.isfinite(patterns)],
                           (lowest + (highest - lowest) * unit).astype(dtype),
                           (4.0 * unit - 2.0).astype(dtype)])


def ulp_errors(h, exact):
    """|h - exact| in units of the last place that h's dtype, subnormal or not, has at `exact`."""
    info = np.finfo(h.dtype)
    exponent = np.where(exact == 0, info.minexp, np.frexp(exact)[1])
    last = np.maximum(exponent, info.minexp + 1) - info.nmant - 1
    return np.ldexp(np.abs(h.astype(exact.dtype) - exact), -last).astype(np.float64)


def wide_tanh(z):
    """tanh z, which cancels nowhere."""
    e = np.expm1(-2 * np.abs(z))
    return np.sign(z) * -e / (2 + e)


def functions():
    """Yield (ok, line) for sigma and tanh, dtype and variant: the largest error in ulp, and where.

    tanh is evaluated at halves, because it is 2 sigma(2 z) - 1 and saturates where sigma does.
    """
    for name, function, wide_function, limits, scale in (
            ("sigma", lambda z: fastbp.sigmoid(z), lambda z: tails(z)[0], [0.5, 1, 0], 1),
            ("tanh ", lambda z: fastbp.activate(z, "tanh")[0], wide_tanh, [0, 1, -1], 2)):
        for dtype in dispatch.DTYPES:
            wide = wider(dtype)
            if np.finfo(wide).nmant < 2 * np.finfo(dtype).nmant and np.finfo(wide).nmant < 63:
                yield True, f"{name}     {dtype} not measured here: long double is no wider"
                continue
            z = points(dtype) / scale
            with np.errstate(under="ignore"):
                exact = wide_function(z.astype(wide))
            for isa in dispatch.available_isas():
                dispatch.set_isa(isa)
                errors = ulp_errors(function(z), exact)
                at = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
                special = function(np.array([0.0, np.inf, -np.inf, np.nan], dtype))
                ok = errors[at] <= ULPS and np.array_equal(
                    special, [*limits, np.nan], equal_nan=True)
                yield ok, (f"{name}     {dtype} {isa:8} largest error {errors[at]:.3f} ulp at z = "
                           f"{float(z[at]).hex()}; {len(z)} points")


# ---- bits


def digest(arrays):
    """The first 16 hexadecimal digits of the SHA-256 of the bytes, little-endian."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return total.hexdigest()[:16]


def _gradient_digest(dtype, n_threads=1):
    """Of all NETWORKS, in the variant in use."""
    found = []
    for case in NETWORKS:
        net, X, y = case.problem(dtype)
        net.n_threads = n_threads
        net.backprop(X, y)
        found.append(net.grad.copy())
    return digest(found)


def _rows_digest(dtype, size):
    """Of f, h_L and dL/dX, `size` rows of a batch at a time, or all."""
    found = []
    for case in NETWORKS:
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
        found += f, h, dX
    return digest(found)


def digests():
    """Yield (ok, line) for each dtype, variant and level."""
    for dtype in dispatch.DTYPES:
        found = {}
        for isa in dispatch.available_isas():
            dispatch.set_isa(isa)
            head, first = f"{dtype} {isa:8}", _gradient_digest(dtype)
            yield _gradient_digest(dtype) == first, f"L0        {head} {first} in two runs"
            threads = {_gradient_digest(dtype, n) for n in THREADS}
            yield threads == {first}, f"L1        {head} {first} for {_list(THREADS)} threads"
            rows = {_rows_digest(dtype, size) for size in (None, *PIECES)}
            yield len(rows) == 1, (f"L2        {head} {' '.join(sorted(rows))} for the batch and "
                                   f"{_list(PIECES)} rows at a time")
            found[isa] = f"{first} {min(rows)}"
        fused = {isa: bits for isa, bits in found.items() if isa in FUSED}
        bits = " and ".join(sorted(set(fused.values())))
        if len(fused) > 1:
            yield len(set(fused.values())) == 1, f"L3        {dtype} {bits} of {_list(fused)}"
        else:
            yield True, f"L3        {dtype} nothing to compare: {_list(found)}"
        if fused and found.get("generic", bits) != bits:
            yield True, f"          {dtype} {found['generic']} of generic, outside the promise"


def _list(names):
    return ", ".join(map(str, names))
