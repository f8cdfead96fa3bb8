"""How good answers are: figures of held-out rows, each with its standard error.

The error is that of a mean over the rows, sqrt(var / n), for the figures that are means; for the
area under the curve it is DeLong's, and for the explained share of a variance or a deviance that
of its first-order expansion: for 1 - A/B, with A and B the means of a_i and b_i, the mean of
-a_i/B + b_i A/B^2.
"""

from typing import NamedTuple

import numpy as np

import fastbp


class Figure(NamedTuple):
    """A figure: its name, its value, its standard error (NaN for fewer than two rows), a remark."""

    name: str
    value: float
    error: float
    remark: str = ""


def measured(value, error):
    """A figure and its standard error as text, both to two digits of the error."""
    if np.isnan(error):
        return f"{value:.4g}"
    if error == 0 or not np.isfinite(value):
        return f"{value:.4g} ± {error:.2g}"
    # The exponent of the rounded error: 0.0996 is 0.10.
    decimals = max(1 - int(f"{error:.1e}".partition("e")[2]), 0)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def figures(model, X, y):
    """The figures that fit the task.

    Parameters
    ----------
    model : SavedModel
    X : (n, n_features) ndarray
        Prepared.
    y : ndarray
        As `target_of` gives it: classes, labels of 0 and 1, or numbers in the units of the table.

    Returns
    -------
    list of Figure
    """
    target = model.target
    answers = _answers(target, _logits(model.net, X))
    if target.task in ("regression", "counts"):
        of_column = _of_numbers if target.task == "regression" else _of_counts
        return [figure for j, name in enumerate(target.names) for figure in of_column(
            f" of {name}" * (len(target.names) > 1), answers[:, j], y[:, j])]
    right = target.chosen(model.outputs(X)) == y
    return (_of_classes if target.task == "classes" else _of_labels)(target, answers, right, y)


def _logits(net, X):
    """The logits of each network, as float64 (n_networks, n, n_outputs)."""
    z = net.logits(X).astype(np.float64)
    return z[None] if z.ndim == 2 else z


def _answers(target, z):
    """Means over the networks: (n, n_outputs) numbers, counts or probabilities of classes; of two
    classes and of labels (2, n, n_outputs), P(0) and P(1)."""
    if target.task == "regression":
        return z.mean(axis=0) * target.scale + target.mean
    if target.task == "counts":
        return np.exp(z).mean(axis=0)
    if target.is_one_of_several:
        weights = np.exp(z - z.max(axis=2, keepdims=True))
        return (weights / weights.sum(axis=2, keepdims=True)).mean(axis=0)
    # Neither is rounded to 0 before |z| is beyond 700.
    return np.stack([fastbp.sigmoid(-z).mean(axis=0), fastbp.sigmoid(z).mean(axis=0)])


def _mean(name, values, remark=""):
    return Figure(name, float(values.mean()), _error(values), remark)


def _error(values):
    n = len(values)
    return float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan


def _log_loss(likelihood):
    with np.errstate(divide="ignore"):
        return -np.log(likelihood)


def _of_classes(target, answers, right, y):
    two = target.n_outputs == 1
    P = answers[:, :, 0].T if two else answers
    counts = np.bincount(y)
    always = f"always {target.classes[0][counts.argmax()]!r}: {counts.max()}"
    found = [_mean("accuracy", right, f"{int(right.sum())} of {len(y)}; {always}")]
    if two and len(np.unique(y)) == 2:
        found.append(Figure("AUC", *auc(y, P[:, 1])))
    return [*found, _mean("log loss", _log_loss(P[np.arange(len(y)), y]), "nats per row")]


def _of_labels(target, answers, right, y):
    exact = right.all(axis=1)
    losses = _log_loss(np.where(y == 1, answers[1], answers[0]))
    return [_mean("accuracy", right.mean(axis=1), "of single labels"),
            _mean("exact", exact, f"{int(exact.sum())} of {len(y)} rows have all labels right"),
            _mean("log loss", losses.sum(axis=1), "nats per row, of all labels"),
            *(_mean(f"accuracy of {name}", right[:, j]) for j, name in enumerate(target.names))]


def _of_numbers(of, predicted, y):
    errors = predicted - y
    return [Figure(f"R²{of}", *explained(errors**2, (y - y.mean())**2),
                   "share of the variance explained"),
            _mean(f"MAE{of}", np.abs(errors), "mean absolute error")]


def _of_counts(of, expected, y):
    return [Figure(f"D²{of}", *explained(_deviance(y, expected), _deviance(y, y.mean())),
                   "share of the deviance explained"),
            _mean(f"MAE{of}", np.abs(expected - y), "mean absolute error")]


def _deviance(counts, expected):
    """The deviance of each row, 2 (y log(y/h) - y + h)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(counts > 0, counts * np.log(counts / expected), 0.0)
    return 2 * (logs - counts + expected)


def explained(left, whole):
    """1 - mean(left) / mean(whole) and its standard error; NaN if the whole is 0."""
    A, B = left.mean(), whole.mean()
    if not B > 0:
        return np.nan, np.nan
    return float(1 - A / B), _error(-left / B + whole * A / B**2)


def auc(y, score):
    """The area under the ROC curve, and its standard error.

    Parameters
    ----------
    y : (n,) ndarray
        Labels 0 and 1, at least one of each.
    score : (n,) ndarray
        Larger for what is more likely 1.

    Returns
    -------
    value : float
        P(score of a random 1 > score of a random 0), ties counted half, from integer rank sums.
    error : float
        By the method of DeLong, DeLong and Clarke-Pearson (1988).
    """
    value = doubled_wins(y, score)
    n_pos, n_neg = int((y == 1).sum()), int((y != 1).sum())
    above = value[y == 1] / (2 * n_neg)  # of each 1 the share of zeros below it
    below = 1 - value[y != 1] / (2 * n_pos)
    error = np.hypot(_error(above), _error(below))
    return int(value[y == 1].sum()) / (2 * n_pos * n_neg), float(error)


def doubled_wins(y, score):
    """For each row, twice the number of rows of the other class that have a lower score, plus the
    number of those that have the same score."""
    _, group = np.unique(score, return_inverse=True)
    wins = np.empty(len(y), dtype=np.int64)
    for label in (0, 1):
        counts = np.bincount(group[y != label], minlength=group.max() + 1)
        doubled = 2 * np.cumsum(counts) - counts
        wins[y == label] = doubled[group[y == label]]
    return wins
