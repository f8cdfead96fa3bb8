"""`fastbp check`: gradients, sigma and bits of every kernel variant that this CPU has.

    gradient   each element within the running error bound of `_error_bound`, of wider arithmetic
    sigma      within 1 ulp of wider arithmetic on a sample; sigma(0), at infinity and NaN exactly
    L0         the same bits from run to run
    L1         ... for any number of threads
    L2         ... of h and delta for any batch size and position in the batch
    L3         ... of every variant with fused multiply-add; `generic` has none and stays outside

Each check is one line, and one that does not hold says FAILED. Networks, inputs and sample points
come from the raw bits of PCG64, so that digests of different machines can be compared.
"""

import hashlib
from contextlib import contextmanager

import numpy as np

import fastbp
from fastbp import _random
from fastbp._bench.measure import cpu_model
from fastbp._bench.networks import problem
from fastbp._error_bound import ANY, FASTBP, error_bound, own_error, tails, wider
from fastbp._kernels import dispatch

# (layer sizes, batch, factor of the weights): a batch and a sum beyond the block of 256, several
# outputs, saturated units.
NETWORKS = (
    ((2, 8, 8, 1), 1, 1),
    ((30, 64, 64, 1), 300, 1),
    ((300, 40, 3), 33, 1),
    ((10, 32, 32, 1), 64, 40),
    ((784, 256, 128, 1), 8, 1),
)
THREADS = (1, 2, 3)
PIECES = (1, 7, 64)         # rows at a time, beside the whole batch
ULPS = 1.0                  # promised for sigma
SIGMA_POINTS = 1 << 19      # in each of three strata
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
        for check in (gradients, sigmas, digests):
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


def _name(sizes, batch):
    return f"{'-'.join(map(str, sizes))} ({batch})"


def _network(sizes, batch, factor, dtype):
    net, X, y = problem(sizes, batch, dtype)
    net.params[:] *= net.dtype.type(factor)
    return net, X, y


# ---- gradient


def gradients():
    """Yield (ok, line) for each dtype and variant: the largest error over its bound."""
    for dtype in dispatch.DTYPES:
        wide = wider(dtype)
        worst = dict.fromkeys(dispatch.available_isas(), (0.0, ""))
        for sizes, batch, factor in NETWORKS:
            net, X, y = _network(sizes, batch, factor, dtype)
            parts = net.weights, net.biases, X, y
            exact, bound = error_bound(*parts, FASTBP, wide)
            bounds = dict.fromkeys(FUSED, bound)
            if "generic" in worst:
                bounds["generic"] = error_bound(*parts, ANY, wide)[1]
            for isa in worst:
                dispatch.set_isa(isa)
                net, X, y = _network(sizes, batch, factor, dtype)
                net.backprop(X, y)
                error = np.nan_to_num(np.abs(net.grad.astype(wide) - exact), nan=np.inf)
                ratio = float(np.max(error / bounds[isa])) / (1 + own_error(dtype, wide))
                worst[isa] = max(worst[isa], (ratio, _name(sizes, batch)))
        for isa, (ratio, network) in worst.items():
            yield ratio <= 1.0, (f"gradient  {dtype} {isa:8} largest |error| / bound {ratio:.4f}"
                                 f" in {network}; reference in {_format(wide)}")


def _format(wide):
    """"float64", or the significand of a long double."""
    return "float64" if wide is np.float64 else f"{np.finfo(wide).nmant + 1} bits"


# ---- sigma


def sigma_points(dtype):
    """Finite bit patterns of the dtype; uniform where sigma is not 0 or 1; uniform in [-2, 2)."""
    bits = _random.raw_bits(3, SIGMA_POINTS)
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


def sigmas():
    """Yield (ok, line) for each dtype and variant: the largest error of sigma in ulp, and where."""
    for dtype in dispatch.DTYPES:
        wide = wider(dtype)
        if np.finfo(wide).nmant < 2 * np.finfo(dtype).nmant and np.finfo(wide).nmant < 63:
            yield True, f"sigma     {dtype} not measured here: long double is no wider"
            continue
        z = sigma_points(dtype)
        with np.errstate(under="ignore"):
            exact = tails(z.astype(wide))[0]
        for isa in dispatch.available_isas():
            dispatch.set_isa(isa)
            errors = ulp_errors(fastbp.sigmoid(z), exact)
            at = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
            special = fastbp.sigmoid(np.array([0.0, np.inf, -np.inf, np.nan], dtype))
            ok = errors[at] <= ULPS and np.array_equal(special, [0.5, 1, 0, np.nan], equal_nan=True)
            yield ok, (f"sigma     {dtype} {isa:8} largest error {errors[at]:.3f} ulp at z = "
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
    for sizes, batch, factor in NETWORKS:
        initial, X, y = _network(sizes, batch, factor, dtype)
        net = fastbp.MLP(sizes, dtype=dtype, seed=0, n_threads=n_threads)
        net.params[:] = initial.params
        net.backprop(X, y)
        found.append(net.grad.copy())
    return digest(found)


def _rows_digest(dtype, size):
    """Of h_L and dL/dX, `size` rows of a batch at a time, or all."""
    found = []
    for sizes, batch, factor in NETWORKS:
        net, X, y = _network(sizes, batch, factor, dtype)
        layers = fastbp.Layers(sizes, ["sigmoid"] * (len(sizes) - 1), dtype=dtype, n_threads=1)
        h, dX = np.empty_like(y), np.empty_like(X)
        for i in range(0, batch, size or batch):
            rows = slice(i, i + (size or batch))
            h[rows] = layers.forward(net.weights, net.biases, X[rows])
            layers.backward(y[rows] - 0.5, net.weight_grads, net.bias_grads, dX[rows])
        found += h, dX
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
