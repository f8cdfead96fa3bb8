"""What `--plot` draws, without pyplot, so that no window system is asked for.

Two pages: the losses of the epochs with the best one marked; and how the answers on the held-out
rows compare with the truth, as calibration and a confusion matrix, or as residuals. A PDF file has
both, of other forms the second page is a file of its own.
"""

import os
from io import BytesIO

import numpy as np

from fastbp import _files
from fastbp._command.figures import import_figure
from fastbp._command.tables.metrics import measured

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"
BINS = 10
MOST_CLASSES = 20  # of a confusion matrix with figures in it


def pages(path):
    """The files of a plot."""
    stem, suffix = os.path.splitext(path)
    return [path] if suffix.lower() == ".pdf" else [path, f"{stem}-2{suffix}"]


def write(path, figures):
    """Write figures as pages; return the paths."""
    form = os.path.splitext(path)[1][1:].lower()
    if form == "pdf":
        from matplotlib.backends.backend_pdf import PdfPages
        content = BytesIO()
        with PdfPages(content) as pdf:
            for figure in figures:
                pdf.savefig(figure)
        _files.write_file(path, content.getvalue())
        return [path]
    paths = pages(path)[:len(figures)]
    for one, figure in zip(paths, figures, strict=True):
        content = BytesIO()
        figure.savefig(content, dpi=150, format=form)
        _files.write_file(one, content.getvalue())
    return paths


def draw_training(path, trained, plan):
    """Draw the two pages of a training; returns the paths."""
    figures = [losses(trained)]
    rows = trained.rows.held_out if len(trained.rows.held_out) else trained.rows.validation
    if len(rows):
        of = "held-out rows" if len(trained.rows.held_out) else "rows of the validation"
        figures.append(answers(trained.model, plan.X[rows], plan.targets[rows], of))
    return write(path, figures)


def _figure(title, n_columns=1):
    figure = import_figure()(figsize=(6.4, 4.2) if n_columns == 1 else (9.6, 4.4),
                             layout="constrained")
    figure.suptitle(title)
    return figure, np.atleast_1d(figure.subplots(1, n_columns))


def losses(trained):
    """Losses of the epochs, and the best one."""
    figure, (axes,) = _figure(f"{trained.model.target_name}: loss of each epoch")
    epochs = np.arange(1, trained.n_epochs + 1)
    axes.plot(epochs, trained.losses, color=BLUE, label="training, with penalty")
    if trained.validation_losses is not None and trained.n_epochs:
        judged, best = trained.validation_losses, trained.best_epoch
        axes.plot(epochs, judged, color=ORANGE, label="validation")
        if best >= 0:
            axes.axvline(best + 1, color=GREY, linewidth=0.8, linestyle=":")
            axes.plot([best + 1], [judged[best]], "o", color=ORANGE,
                      label=f"best: epoch {best + 1}, {judged[best]:.4g}")
    task = trained.model.target.task
    unit = {"regression": "half squared error", "counts": "half the deviance"}.get(task, "nats")
    axes.set(xlabel="epoch", ylabel=f"loss ({unit} per row)")
    axes.set_ylim(bottom=0.0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    of = "held-out" if len(trained.rows.held_out) else "validation"
    axes.legend(title="\n".join(f"{of} {figure.name} {measured(figure.value, figure.error)}"
                                for figure in trained.figures[:3]) or None)
    return figure


def answers(model, X, y, of):
    """The answers on some rows beside the truth."""
    target = model.target
    title = f"{model.target_name}: {len(y)} {of}"
    outputs = model.outputs(X)
    if target.task in ("regression", "counts"):
        predicted = target.values(outputs).reshape(len(y), -1)
        figure, axes = _figure(title, 2)
        _residuals(axes, target, predicted, y)
        return figure
    if target.task == "labels":
        figure, (axes,) = _figure(title)
        _calibration(axes, outputs.ravel(), y.ravel())
        return figure
    figure, axes = _figure(title, 2)
    probabilities = target.values(outputs)
    chance = probabilities[np.arange(len(y)), target.chosen(outputs)]
    if target.n_outputs == 1:
        _calibration(axes[0], outputs[:, 0], y, f"probability of {target.classes[0][1]}")
    else:
        _calibration(axes[0], chance, target.chosen(outputs) == y, "probability of the answer",
                     "share of right answers")
    _confusion(figure, axes[1], target, target.chosen(outputs), y)
    return figure


def _calibration(axes, probability, y, xlabel="probability", ylabel="share in the rows"):
    """In bins of equal width: the mean probability, and the share that is 1."""
    where = np.minimum((probability * BINS).astype(int), BINS - 1)
    counts = np.bincount(where, minlength=BINS)
    full = counts > 0
    mean = np.bincount(where, probability, BINS)[full] / counts[full]
    share = np.bincount(where, y, BINS)[full] / counts[full]
    error = np.sqrt(share * (1 - share) / counts[full])
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.errorbar(mean, share, error, color=BLUE, marker="o", linewidth=1, capsize=2)
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1), title="calibration")


def _confusion(figure, axes, target, chosen, y):
    classes = target.classes[0]
    n = len(classes)
    counts = np.bincount(y * n + chosen, minlength=n * n).reshape(n, n)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answer", ylabel="truth", title="confusion")
    if n <= MOST_CLASSES:
        names = [label if len(label) <= 12 else f"{label[:11]}…" for label in classes]
        axes.set_xticks(range(n), names, rotation=45 if n > 4 else 0)
        axes.set_yticks(range(n), names)
        for i, j in np.ndindex(n, n):
            axes.text(j, i, str(counts[i, j]), ha="center", va="center",
                      color="white" if shares[i, j] > 0.5 else "black")
    figure.colorbar(image, ax=axes, label="share of the truth's rows")


def _residuals(axes, target, predicted, y):
    for j, name in enumerate(target.names):
        axes[0].plot(y[:, j], predicted[:, j], ".", markersize=3, label=name)
        axes[1].hist(predicted[:, j] - y[:, j], bins=30, histtype="step", label=name)
    low, high = min(y.min(), predicted.min()), max(y.max(), predicted.max())
    axes[0].plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=":")
    axes[0].set(xlabel="truth", ylabel="answer", title="answers")
    axes[1].set(xlabel="answer - truth", ylabel="rows", title="residuals")
    if len(target.names) > 1:
        axes[0].legend()
