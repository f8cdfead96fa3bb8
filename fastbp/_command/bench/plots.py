"""The plots of `fastbp bench --plot`.

Of gradients the speed-up over each peer and the roofline, of populations the time of an epoch by
the number of networks.
"""

import hashlib
import json
from io import BytesIO

from fastbp import _files
from fastbp._command.figures import import_figure

DPI = 72
MARKERS = {"NumPy": "o", "PyTorch": "s", "torch.compile": "^", "JAX": "D", "scikit-learn": "v"}
COLOURS = dict(zip(MARKERS, ("C0", "C1", "C2", "C3", "C4"), strict=True))   # in every plot
FOUR = ("2-8-8-1 (32)", "10-32-32-1 (64)", "30-64-64-1 (256)", "784-256-128-1 (128)")
SIDES_OF_MANY = {"fastbp": ("Population", "ko-"), "one by one": ("a loop over MLP", "C7s-"),
                 "JAX": ("JAX, vmap of a scan", f"{COLOURS['JAX']}D-")}


def names(stem, sections):
    """The files that `draw` writes for a document with these sections."""
    return [f"{stem}-{name}.png" for section in sections for name in PANELS[section]]


def digest(document):
    """The digest of a run's results, which the plots carry: it tells which run they show."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def draw(document, stem):
    """Write `names` for a document of `fastbp bench --json`.

    Raises `ValueError` for one that has none of these sections.
    """
    Figure = import_figure()
    drawn = {section: PANELS[section] for section in PANELS if document.get(section)}
    if not drawn:
        raise ValueError("--plot draws gradients and populations, and these results have none")
    for section, panels in drawn.items():
        dtypes = list(dict.fromkeys(result["dtype"] for result in document[section]))
        for name, panel in zip(names(stem, [section]), panels.values(), strict=True):
            figure = Figure(figsize=(5.5 * len(dtypes) + 1.5, 5), dpi=DPI, layout="constrained")
            for axes, dtype in zip(figure.subplots(1, len(dtypes), sharey=True, squeeze=False)[0],
                                   dtypes, strict=True):
                lines = panel(axes, [r for r in document[section] if r["dtype"] == dtype],
                              document["machine"].get("memory_gbytes_per_s"))
                axes.set_title(f"{dtype}, one core of {document['machine']['cpu']}",
                               fontsize="medium")
                axes.grid(alpha=0.3)
            figure.legend(handles=lines, loc="outside right upper", fontsize="small")
            content = BytesIO()
            figure.savefig(content, format="png", metadata={"Comment": digest(document)},
                           pil_kwargs={"optimize": True})
            _files.write_file(name, content.getvalue())


def _name(result):
    return f"{result['network']} ({result['batch']})"


def _four(axes, results, memory):
    """Bars of the ratio of each peer at networks of `FOUR`; returns those of the legend."""
    results = [r for name in FOUR[::-1] for r in results if _name(r) == name] or results[3::-1]
    peers = list(results[0]["ratios"])
    height, bars = 0.8 / len(peers), []
    for i, peer in enumerate(peers):
        places = [k + 0.4 - (i + 0.5) * height for k in range(len(results))]
        bars.append(axes.barh(places, [r["ratios"][peer] for r in results], height,
                              color=COLOURS.get(peer), label=peer))
        axes.bar_label(bars[-1], [f"{r['ratios'][peer]:.3g}" for r in results], padding=2,
                       fontsize="x-small")
    axes.set_yticks(range(len(results)), [_name(r) for r in results])
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.margins(x=0.1)
    axes.set(xlabel="time of a gradient / that of fastbp", ylabel="network (rows of a batch)")
    return bars


def _speedup(axes, results, memory):
    """The ratio of each peer, the networks by their work; returns the lines of the legend."""
    results = sorted(results, key=lambda result: result["flops"])
    lines = [axes.semilogy([r["ratios"][peer] for r in results], MARKERS.get(peer, ""),
                           color=COLOURS.get(peer), linestyle="-", markersize=4, linewidth=1,
                           label=peer)[0] for peer in results[0]["ratios"]]
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(range(len(results)), [_name(r) for r in results], rotation=90,
                    fontsize="small")
    axes.set(xlabel="network (rows of a batch)", ylabel="time of a gradient / that of fastbp")
    return lines


def _roofline(axes, results, memory):
    """Operations per second over operations per least byte, under the limits of the machine.

    A network's point is its number; the lines of the legend are returned.
    """
    intensity = [r["flops"] / r["least_bytes"] for r in results]
    peak = max(r["fma_peak_gflops"] for r in results)
    first, last = min(intensity) / 2, max(intensity) * 4
    limits = []
    for bandwidth, style, what in (
            (max(r["copy_gbytes_per_s"] for r in results), "k-", "copy in cache"),
            (memory, "k--", "copy in memory")):
        corner = min(max(peak / bandwidth, first), last)
        x = [first, corner, last]
        limits += axes.loglog(x, [min(bandwidth * a, peak) for a in x], style, linewidth=1,
                              label=f"{what}, {bandwidth:.0f} GB/s")
    axes.annotate(f"FMA peak, {peak:.0f} GFLOP/s", (last, peak), ha="right", va="bottom",
                  fontsize="small")
    points = [axes.loglog(x, r["gflops"], "C0", marker=f"${i}$", markersize=6 + 3 * (i > 9),
                          linestyle="", label=_name(r))[0]
              for i, (x, r) in enumerate(zip(intensity, results, strict=True), 1)]
    axes.set(xlabel="operations per byte that must be moved", ylabel="GFLOP/s")
    axes.legend(handles=limits, loc="lower right", fontsize="small")
    return points


def _networks(axes, results, memory):
    """Time of an epoch of all networks over their number; returns the lines of the legend."""
    def milliseconds(result, side):
        return 1e-3 * result["times"][side]["median_us"] * result["steps"] * result["n_networks"]

    results = sorted(results, key=lambda result: result["n_networks"])
    lines = [axes.loglog([r["n_networks"] for r in results],
                         [milliseconds(r, side) for r in results], style, markersize=4,
                         linewidth=1, label=label)[0]
             for side, (label, style) in SIDES_OF_MANY.items() if side in results[0]["times"]]
    axes.set(xlabel=f"networks {results[0]['network']}",
             ylabel=f"ms for {results[0]['steps']} steps of {results[0]['batch']} rows of each")
    return lines


# By the sections of a document: what the end of a file's name is, and what draws it.
PANELS = {"gradients": {"speedup": _speedup, "roofline": _roofline, "four": _four},
          "growth": {"networks": _networks}}
