"""The six lines of `fastbp check`: one for each part of it, and the verdict.

A part's line says what holds, the largest error and what is allowed, the levels of the promise, and
of how many variants. Where a check of a part fails, its lines in full stand in place of this one.
"""

from fastbp import _screen
from fastbp._command import digests
from fastbp._kernels import dispatch

PARTS = {   # the kinds of `Outcome` in each
    "gradient": ("gradient",), "functions": ("sigma", "tanh"), "repetition": ("L0", "L1", "L2"),
    "variants": ("L3", "bits"), "population": ("L5",)}
COLUMN = 7 + 12     # behind "FAILED " and the name of a part


def show_parts(outcomes):
    """Print the line of each part that the outcomes have, and that holds."""
    for part, kinds in PARTS.items():
        own = [outcome for outcome in outcomes if outcome.kind in kinds]
        if own and all(outcome.ok for outcome in own):
            _show("ok", part, _text(part, own))


def _text(part, outcomes):
    n = len(dispatch.available_isas())
    variants = f"{n} variants" if n > 1 else "1 variant"
    worst = max((each.worst for each in outcomes if each.worst is not None), default=0.0)
    if part == "gradient":
        return f"largest error {worst:.3f} of its bound, allowed 1; {variants}"
    if part == "functions":
        missing = sum(each.worst is None for each in outcomes)
        beside = ", not float64: long double is no wider" if missing else ""
        return f"sigma, tanh: largest error {worst:.3f} ulp, allowed 1; {variants}{beside}"
    if part == "repetition":
        return f"same bits for any call, threads or batch (L0-L2); {variants}"
    if part == "population":
        return f"same bits for {digests.MEMBERS} networks together and alone (L5); {variants}"
    fused = [isa for isa in dispatch.available_isas() if isa in digests.FUSED]
    if not fused:
        return "no variant with fused multiply-add, and nothing recorded for others (L3)"
    levels = "L3, L4" if "L4" in outcomes[-1].confirmed else "L3"
    return (f"same bits on {', '.join(fused)}, as recorded for contract "
            f"{dispatch.CONTRACT_VERSION} ({levels})")


def count(n_failed, n_checks):
    """How many checks failed, or that all passed."""
    return f"{n_failed} of {n_checks} checks failed" if n_failed else f"{n_checks} checks passed"


def show_verdict(n_failed, n_checks, confirmed):
    """Print how many checks failed or passed, and which levels they confirm."""
    levels = [level for level in confirmed if level != "L5"]
    named = f"L0 to {levels[-1]}" if levels[1:] else "".join(levels) or "no level"
    beside = " and L5" if "L5" in confirmed else ""
    _show("FAILED" if n_failed else "ok", "verdict",
          f"{count(n_failed, n_checks)}; {named}{beside} confirmed on this machine")


def _show(status, name, text):
    _screen.show(f"{status:6} {name}", text, COLUMN)
