"""The plots of `fastbp bench --plot`.

Of gradients the speed-up over each peer and the roofline, of populations the time of an epoch by
the number of networks; of passes on a cluster, for bench/scaling.py, those by the number of
workers. Networks stand on the axis by their names, and a peer has one colour and one
marker in every plot. The dtypes stand below each other, so that a picture is as narrow as a page on
a phone: there a letter is as high as one of a caption. The documents have each plot on a light and
on a dark ground.
"""

import hashlib
import json
from io import BytesIO
from textwrap import fill

from fastbp import _files
from fastbp._command.bench.tables import three_digits
from fastbp._command.figures import import_figure, settings

DPI = 100
TITLE_WIDTH = 36        # in letters
WIDTH = 4.8             # of a picture, in inches
HEIGHTS = {"speedup": 3.1, "roofline": 3.1, "four": 3.6, "networks": 3.0,
           "workers": 3.4}      # of one dtype
MARKERS = {"NumPy": "o", "PyTorch": "s", "torch.compile": "^", "JAX": "D", "scikit-learn": "v"}
COLOURS = dict(zip(MARKERS, ("C0", "C1", "C2", "C3", "C4"), strict=True))   # in every plot
FOUR = ("2-8-8-1 (32)", "10-32-32-1 (64)", "30-64-64-1 (256)", "784-256-128-1 (128)")
SIDES_OF_MANY = {"fastbp": ("Population", "o", None),
                 "one by one": ("a loop over MLP", "s", "C7"),
                 "JAX": ("JAX, vmap of a scan", MARKERS["JAX"], COLOURS["JAX"])}
INK, PAPER = "#e6e9ef", "#1e2129"       # of the dark ground
DARK = {**dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color",
                         "ytick.color", "xtick.labelcolor", "ytick.labelcolor"), INK),
        **dict.fromkeys(("figure.facecolor", "savefig.facecolor", "axes.facecolor",
                         "legend.facecolor"), PAPER), "grid.color": "#8a90a0"}


def names(stem, sections):
    """The files that `draw` writes for a document with these sections."""
    return [f"{stem}-{name}.png" for section in sections for name in PANELS[section]]


def digest(document):
    """The digest of a run's results, which the plots carry: it tells which run they show."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def dark(stem):
    """The stem of the plots on a dark ground."""
    return f"{stem}-dark"


def markup(name, dark_name, words):
    """The HTML of a document that shows the one or the other picture, as the reader's system is."""
    return (f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark_name}">'
            f'<img alt="{words}" src="{name}"></picture>')


def draw_both(document, stem):
    """`draw`, on a light ground and on a dark one."""
    draw(document, stem)
    before = {name: settings()[name] for name in DARK}
    settings().update(DARK)
    try:
        draw(document, dark(stem))
    finally:
        settings().update(before)


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
        for (which, panel), name in zip(panels.items(), names(stem, [section]), strict=True):
            shown = dtypes[:1] if which == "four" else dtypes   # it is there for a glance
            figure = Figure(figsize=(WIDTH, HEIGHTS[which] * len(shown) + 0.5), dpi=DPI,
                            layout="constrained")
            for axes, dtype in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown,
                                   strict=True):
                lines = panel(axes, [r for r in document[section] if r["dtype"] == dtype],
                              document["machine"].get("memory_gbytes_per_s"))
                title = f"{dtype}, one core of {document['machine']['cpu']}"
                axes.set_title(fill(title, TITLE_WIDTH), fontsize="medium")
                axes.grid(alpha=0.3)
            columns = 1 if section == "scaling" else 3      # of long names
            figure.legend(handles=lines, loc="outside upper center", ncols=columns,
                          fontsize="small")
            content = BytesIO()
            figure.savefig(content, format="png", metadata={"Comment": digest(document)},
                           pil_kwargs={"optimize": True})
            _files.write_file(name, content.getvalue())


def _name(result):
    return f"{result['network']} ({result['batch']})"


def _four(axes, results, memory):
    """The ratio of each peer, on a line of its own, at networks of `FOUR`; returns the legend's."""
    results = [r for name in FOUR for r in results if _name(r) == name] or results[:4]
    peers = list(results[0]["ratios"])
    apart, lines = 0.8 / len(peers), []
    for i, peer in enumerate(peers):
        ratios = [r["ratios"][peer] for r in results]
        places = [k - 0.4 + (i + 0.5) * apart for k in range(len(results))]
        lines += axes.plot(ratios, places, MARKERS.get(peer, "."), color=COLOURS.get(peer),
                           markersize=5, label=peer)
        for ratio, place in zip(ratios, places, strict=True):
            axes.annotate(three_digits(ratio), (ratio, place), (6, 0), textcoords="offset points",
                          va="center", fontsize="small")
    axes.set_yticks(range(len(results)), [_name(r) for r in results], fontsize="small")
    axes.set_ylim(len(results) - 0.5, -0.5)
    for k in range(1, len(results)):
        axes.axhline(k - 0.5, color=_ink(), linewidth=0.4)
    axes.margins(x=0.14)
    _ratios(axes)
    return lines


def _speedup(axes, results, memory):
    """The ratio of each peer at every network; returns what the legend has."""
    places = _rows(axes, results)
    lines = [axes.plot([r["ratios"][peer] for r in results], places, MARKERS.get(peer, "."),
                       color=COLOURS.get(peer), markersize=5, label=peer)[0]
             for peer in results[0]["ratios"]]
    _ratios(axes)
    return lines


def _ratios(axes):
    """The axis of ratios, with a line at 1."""
    _plain_log(axes)
    axes.axvline(1, color=_ink(), linewidth=1)
    axes.set(xlabel="time of a gradient / that of fastbp")


def _plain_log(axes):
    """A logarithmic axis whose powers of 10 are written out."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def _roofline(axes, results, memory):
    """Operations per second of each network, and the limits of the machine; returns the legend.

    A limit is the operations per byte that must be moved times the bandwidth, or the peak.
    """
    places = _rows(axes, results)
    intensity = [r["flops"] / r["least_bytes"] for r in results]
    peak = max(r["fma_peak_gflops"] for r in results)
    cache = max(r["copy_gbytes_per_s"] for r in results)
    lines = [axes.plot([min(bandwidth * x, peak) for x in intensity], places, marker, color=_ink(),
                       markersize=7, markerfacecolor="none", linestyle="", label=label)[0]
             for bandwidth, marker, label in ((cache, ">", "limit, data in cache"),
                                              (memory, "d", "limit, data in memory"))]
    lines += axes.plot([r["gflops"] for r in results], places, "C0o", markersize=5, label="fastbp")
    _plain_log(axes)
    axes.axvline(peak, color=_ink(), linestyle="--", linewidth=1)
    axes.set(xlabel=f"GFLOP/s\nFMA peak {peak:.0f}, copies {cache:.0f} and {memory:.0f} GB/s")
    return lines


def _rows(axes, results):
    """The places of the results, each with its network's name, the first one on top."""
    places = range(len(results))[::-1]
    axes.set_yticks(places, [_name(r) for r in results], fontsize="small")
    axes.set(ylabel="network (rows of a batch)")
    return places


def _ink():
    """The colour of lines that are no peer's."""
    return settings()["text.color"]


def _networks(axes, results, memory):
    """Time of an epoch of all networks over their number; returns the lines of the legend."""
    def milliseconds(result, side):
        return 1e-3 * result["times"][side]["median_us"] * result["steps"] * result["n_networks"]

    results = sorted(results, key=lambda result: result["n_networks"])
    lines = [axes.loglog([r["n_networks"] for r in results],
                         [milliseconds(r, side) for r in results], marker=marker,
                         color=colour or _ink(), markersize=4,
                         linewidth=1, label=label)[0]
             for side, (label, marker, colour) in SIDES_OF_MANY.items()
             if side in results[0]["times"]]
    axes.set(xlabel=f"networks {results[0]['network']}",
             ylabel=f"ms for {results[0]['steps']} steps of {results[0]['batch']} rows of each")
    return lines


def _scaling(axes, results, memory):
    """How many times as fast many workers are as one; returns the lines of the legend."""
    workers = results[0]["workers"]
    lines = axes.loglog(workers, workers, color=_ink(), linewidth=0.8, linestyle=":",
                        label="as many times as workers")
    for result, marker in zip(results, MARKERS.values(), strict=False):
        lines += axes.loglog(workers, result["speedup"], marker=marker, markersize=4, linewidth=1,
                             label=result["name"])
    axes.set(xlabel="workers", ylabel="speed over one worker's, simulated")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xticks(workers[::2], [str(n) for n in workers[::2]])
    axes.minorticks_off()
    return lines


# By the sections of a document: what the end of a file's name is, and what draws it.
PANELS = {"gradients": {"speedup": _speedup, "roofline": _roofline, "four": _four},
          "growth": {"networks": _networks}, "scaling": {"workers": _scaling}}
