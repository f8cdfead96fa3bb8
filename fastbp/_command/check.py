"""`fastbp check`: gradients, functions and bits of every kernel variant that this CPU has.

    gradient   each element within the running error bound of `_twin` and within that of
               `MLP.error_bound`, of wider arithmetic
    sigma      within 1 ulp of wider arithmetic on a sample; at 0, at infinity and NaN exactly
    tanh       the same
    L0 to L5   the same bits, and those that other machines found: `digests`

With --verbose each check is one line; without, `summary` says in six lines what all of them found.
One that does not hold says FAILED, and is printed in full either way. Networks, inputs and sample
points come from the raw bits of PCG64, so that digests of different machines can be compared.
"""

from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import numpy as np

import fastbp
from fastbp import _arguments, _random, _screen
from fastbp._command import digests, summary
from fastbp._command.digests import Outcome
from fastbp._command.machine import cpu_model
from fastbp._command.problems import problem
from fastbp._kernels import dispatch
from fastbp._twin import mathematics
from fastbp._twin.error_bound import error_bound
from fastbp._twin.rounding import ANY_ORDER, FASTBP, own_error, wider


class Case(NamedTuple):
    """A network and its batch; `factor` multiplies the weights."""

    sizes: tuple
    batch: int
    factor: int = 1
    activation: str = "sigmoid"
    loss: str = "bce"

    @property
    def contract(self):
        """The first version of the contract that has digests of its activation and loss."""
        return max(_arguments.ACTIVATIONS[self.activation].contract,
                   _arguments.LOSSES[self.loss].contract)

    @property
    def name(self):
        kind = [self.activation, self.loss]
        kind = [] if kind == [*_arguments.DEFAULTS.values()] else kind
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
    *(Case((30, 33, 17, 5), 65, 1, activation, loss)
      for activation, loss in product(_arguments.ACTIVATIONS, _arguments.LOSSES)),
)
ULPS = 1.0                  # promised for sigma and tanh
POINTS = 1 << 19            # in each of three strata


def run(args):
    """Carry out `fastbp check`.

    Returns
    -------
    int
        0, or 1 if anything is off.
    """
    if args.verbose:
        _screen.show("fastbp", f"{fastbp.__version__}, contract {dispatch.CONTRACT_VERSION}, "
                     f"{dispatch.COMPILER}, NumPy {np.__version__}, {cpu_model()}; "
                     f"{dispatch.get_isa()} in use", 7)
    n_failed, n_checks, confirmed = 0, 0, ()
    with _variant_restored():
        for stage in (gradients(), functions(), digests.levels(NETWORKS)):
            found = []
            for outcome in stage:
                found.append(outcome)
                n_failed += not outcome.ok
                if args.verbose or not outcome.ok:
                    _screen.show("ok" if outcome.ok else "FAILED", outcome.line, 7)
            if not args.verbose:
                summary.show_parts(found)
            n_checks += len(found)
            confirmed = found[-1].confirmed
    if args.verbose:
        print(summary.count(n_failed, n_checks))
    else:
        summary.show_verdict(n_failed, n_checks, confirmed)
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
    """Yield an `Outcome` for each dtype and variant: the largest error over its bound."""
    for dtype in dispatch.DTYPES:
        wide = wider(dtype)
        worst = dict.fromkeys(dispatch.available_isas(), (0.0, ""))
        for case in NETWORKS:
            net, X, y = case.problem(dtype)
            parts = net.weights, net.biases, X, y
            kind = {"activation": case.activation, "loss": case.loss}
            exact, bound = error_bound(*parts, FASTBP, wide, **kind)
            bounds = dict.fromkeys(digests.FUSED, bound)
            if "generic" in worst:
                bounds["generic"] = error_bound(*parts, ANY_ORDER, wide, **kind)[1]
            for isa in worst:
                dispatch.set_isa(isa)
                net, X, y = case.problem(dtype)
                net.backprop(X, y)
                error = np.nan_to_num(np.abs(net.grad.astype(wide) - exact), nan=np.inf)
                ratio = max(_ratio(error, bounds[isa]), _ratio(error, net.error_bound(X, y)))
                worst[isa] = max(worst[isa], (ratio / (1 + own_error(dtype, wide)), case.name))
        for isa, (ratio, network) in worst.items():
            line = (f"gradient  {dtype} {isa:8} largest |error| / error bound {ratio:.4f}, "
                    f"allowed 1, in {network}; errors against {_format(wide)}")
            yield Outcome("gradient", ratio <= 1.0, line, ratio)


def _ratio(error, bound):
    """The largest error / bound; infinite if a bound is infinite, NaN or negative, or 0 with an
    error above 0.
    """
    ratio = np.where((error == 0) & (bound == 0), error, np.inf)
    return float(np.max(np.divide(error, bound, out=ratio, where=(bound > 0) & (bound < np.inf))))


def _format(wide):
    """"float64", or the significand of a long double."""
    if wide is np.float64:
        return "float64"
    return f"long double of {np.finfo(wide).nmant + 1} bits"


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
    """Yield an `Outcome` of sigma and tanh, dtype and variant: the largest error in ulp, where.

    tanh is evaluated at halves, because it is 2 sigma(2 z) - 1 and saturates where sigma does.
    """
    for name, function, wide_function, limits, scale in (
            ("sigma", lambda z: fastbp.sigmoid(z), lambda z: mathematics.sigmoid(z)[0],
             [0.5, 1, 0], 1),
            ("tanh", lambda z: fastbp.activate(z, "tanh")[0], wide_tanh, [0, 1, -1], 2)):
        for dtype in dispatch.DTYPES:
            wide = wider(dtype)
            if np.finfo(wide).nmant < 2 * np.finfo(dtype).nmant and np.finfo(wide).nmant < 63:
                line = f"{name:9} {dtype} not measured here: long double is no wider"
                yield Outcome(name, True, line)
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
                line = (f"{name:9} {dtype} {isa:8} largest error {errors[at]:.3f} ulp, allowed "
                        f"{ULPS:g}, at z = {float(z[at]).hex()} of {len(z)} points")
                yield Outcome(name, ok, line, float(errors[at]))
