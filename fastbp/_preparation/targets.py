"""What is predicted: the target of a table, and outputs of a network as answers.

| task       | target                         | loss            | outputs                         |
|------------|--------------------------------|-----------------|---------------------------------|
| classes    | two labels                     | "bce"           | the probability of the second   |
| classes    | three or more labels           | "softmax"       | the probability of each         |
| labels     | several columns of two labels  | "bce"           | for each that of its second     |
| regression | one column of numbers, or more | "squared_error" | the numbers, standardised       |
| counts     | one column of counts, or more  | "poisson"       | the expected counts             |
"""

import shlex
from collections import Counter
from typing import NamedTuple

import numpy as np

from fastbp._arguments.descriptors import COUNTS, LOSSES, REAL
from fastbp._preparation.columns import MOST_LEVELS, level_texts
from fastbp._preparation.judgement import standardisation
from fastbp._preparation.remarks import number_kind
from fastbp._table.faults import DataError, listed
from fastbp._table.numerals import in_some_mark, unit_of

TASKS = ("classes", "labels", "regression", "counts")
MOST_CLASSES = 10  # whole numbers of more different values are taken for a number
LIMIT_OF_CLASSES = 1000


class Target(NamedTuple):
    """What is predicted.

    Attributes
    ----------
    names : tuple of str
        The columns.
    task : str
        One of TASKS.
    classes : tuple of tuples of str
        For "classes" one tuple of all labels, for "labels" two of each column, else none.
    mean, scale : (n_outputs,) ndarray of float64
        Under "regression" an output is ``(number - mean) / scale``; elsewhere 0 and 1.
    """

    names: tuple
    task: str
    classes: tuple
    mean: np.ndarray
    scale: np.ndarray

    @property
    def n_outputs(self):
        if self.task == "classes":
            return len(self.classes[0]) if len(self.classes[0]) > 2 else 1
        return len(self.names)

    @property
    def loss(self):
        """The name of the loss of the network, which its outputs go with."""
        fits = {"classes": lambda loss: loss.is_distribution if self.n_outputs > 1 else loss.labels,
                "labels": lambda loss: loss.labels, "regression": lambda loss: loss.targets is REAL,
                "counts": lambda loss: loss.targets is COUNTS}[self.task]
        return next(name for name, loss in LOSSES.items() if fits(loss))

    @property
    def is_one_of_several(self):
        """Whether the outputs are the probabilities of three or more classes."""
        return self.task == "classes" and self.n_outputs > 1

    def learned(self, y):
        """The target with the standardisation of numbers `y` (n, n_outputs)."""
        if self.task != "regression":
            return self
        pairs = [standardisation(column) for column in y.T]
        return self._replace(mean=np.array([mean for mean, _ in pairs]),
                             scale=np.array([scale for _, scale in pairs]))

    def numbers_of(self, columns):
        """The numbers that stand for this target in another table.

        Parameters
        ----------
        columns : sequence of Column
            In the order of `names`, read as "label".

        Returns
        -------
        y : ndarray
            As `target_of` gives it.
        there : (n,) ndarray of bool

        Raises
        ------
        DataError
            A label is none of the classes, or a cell is no number or no count.
        """
        there = ~np.any([column.missing for column in columns], axis=0)
        if self.task in ("regression", "counts"):
            return np.stack([_numbers(column, there, self.task) for column in columns],
                            axis=1), there
        found = [_places(column, there, classes)
                 for column, classes in zip(columns, self.classes, strict=True)]
        return (found[0] if self.task == "classes" else np.stack(found, axis=1)), there

    def for_network(self, y, dtype):
        """The numbers that a network is trained on."""
        if self.task == "regression":
            return ((y - self.mean) / self.scale).astype(dtype)
        return y if self.is_one_of_several else y.astype(dtype)

    def values(self, outputs):
        """Outputs as probabilities, numbers or counts in the units of the table.

        Parameters
        ----------
        outputs : (n, n_outputs) ndarray

        Returns
        -------
        ndarray
            "classes": (n, n_classes) probabilities; "labels": (n, n_labels), of the second label;
            else (n,), or (n, n_outputs) of several columns.
        """
        if self.task == "classes" and self.n_outputs == 1:
            return np.concatenate([1 - outputs, outputs], axis=1)
        if self.task in ("classes", "labels"):
            return outputs
        if self.task == "regression":
            outputs = outputs * self.scale + self.mean
        return outputs[:, 0] if len(self.names) == 1 else outputs

    def chosen(self, outputs):
        """The index of the chosen class (n,); for labels 1 where the second is chosen, else 0
        (n, n_labels)."""
        if self.is_one_of_several:
            return outputs.argmax(axis=1)
        chosen = (outputs >= 0.5).astype(np.intp)
        return chosen if self.task == "labels" else chosen[:, 0]

    def answers(self, outputs):
        """Outputs as labels (n,) or (n, n_labels) of str, numbers or counts."""
        if self.task == "classes":
            return np.array(self.classes[0], dtype=object)[self.chosen(outputs)]
        if self.task == "labels":
            pairs = np.array(self.classes, dtype=object)
            return pairs[np.arange(len(pairs)), self.chosen(outputs)]
        return self.values(outputs)


def target_of(columns, task=None, positive=None):
    """Find the task, and the numbers that stand for the target.

    Parameters
    ----------
    columns : sequence of Column
        Read as "label".
    task : str, optional
        One of TASKS; else the values decide.
    positive : str, optional
        Of two classes the one whose probability the output is; else the second in order.

    Returns
    -------
    target : Target
    y : (n,) or (n, n_outputs) ndarray
        0 and 1, classes, or numbers as float64.
    there : (n,) ndarray of bool
        Rows that have a target.

    Raises
    ------
    DataError
        The values do not fit the task, are all the same, or one row alone has a target.
    """
    there = ~np.any([column.missing for column in columns], axis=0)
    if not there.any():
        raise DataError(f"target {columns[0].name!r}: no row has a value")
    if there.sum() == 1:
        raise DataError(f"1 row has a value of the target {columns[0].name!r}; it should be 2 rows "
                        "or more")
    names = tuple(column.name for column in columns)
    task = task or _task(columns, there)
    if task in ("regression", "counts"):
        y = np.stack([_numbers(column, there, task) for column in columns], axis=1)
        for name, values in zip(names, y[there].T, strict=True):
            if (values == values[0]).all():
                raise DataError(f"target {name!r} is {values[0]:g} in all {len(values)} rows; it "
                                "should have two values or more")
        classes = ()
    elif task == "classes":
        if len(columns) > 1:
            raise DataError(f"the targets {listed(names)} are several columns: they can be labels, "
                            "regression or counts (--task)")
        y, classes = _classes(columns[0], there)
        classes = (classes,)
    else:
        pairs = [_classes(column, there) for column in columns]
        for name, (_, pair) in zip(names, pairs, strict=True):
            if len(pair) != 2:
                raise DataError(f"target {name!r} must hold two labels, it holds {_few(pair)}")
        y, classes = np.stack([y for y, _ in pairs], axis=1), tuple(pair for _, pair in pairs)
    if positive is not None:
        y, classes = _with_positive(y, classes, positive, task)
    target = Target(names, task, classes, np.zeros(0), np.ones(0))
    n = target.n_outputs
    return target._replace(mean=np.zeros(n), scale=np.ones(n)), y, there


def _task(columns, there):
    kinds = []
    for column in columns:
        values = column.values[there]
        if values.dtype.kind != "f":
            if values.dtype == object and _are_mostly_numbers(values.tolist()):
                raise DataError(_no_numbers(column, there))
            n = len(set(values.tolist()))
            kinds.append("pair" if n <= 2 else "classes")
            continue
        distinct = np.unique(values)
        repeated = bool((distinct == np.floor(distinct)).all()) and 2 * len(distinct) <= len(values)
        few = len(distinct) <= (MOST_CLASSES if repeated else 2)
        kinds.append("pair" if few and len(distinct) <= 2 else "classes" if few else "number")
    if len(columns) == 1:
        return "regression" if kinds[0] == "number" else "classes"
    if all(kind == "pair" for kind in kinds):
        return "labels"
    return "regression"


def _numbers(column, there, task):
    values = column.values
    if values.dtype.kind not in "fiub":
        raise DataError(_no_numbers(column, there))
    values = np.where(there, values.astype(np.float64), 0.0)
    if task == "counts":
        bad = np.flatnonzero((values < 0) | (values != np.floor(values)))
        if len(bad):
            others = f" and in {len(bad) - 1} more" if len(bad) > 1 else ""
            raise DataError(f"target {column.name!r} is {values[bad[0]]:g} in data row "
                            f"{bad[0] + 1}{others}; counts should be whole numbers of at least 0 "
                            "(--task regression takes any numbers)")
    return values


def _are_mostly_numbers(texts):
    """Whether more than half of the texts are numbers, or look like some, of many values."""
    counts = Counter(texts)     # a table of many rows has few labels
    if len(counts) <= MOST_CLASSES:
        return False
    numbers = [text for text in counts if text is not None and number_kind(text)]
    return (2 * sum(counts[text] for text in numbers) > len(texts)
            and len(numbers) > MOST_CLASSES)


def _no_numbers(column, there):
    """Words for a target of texts where numbers are wanted."""
    texts = {int(i): str(column.values[i]) for i in np.flatnonzero(there)}
    strays = {i: text for i, text in texts.items() if not in_some_mark(text)} or texts
    row, text = next(iter(strays.items()))
    cells = "1 cell is no number" if len(strays) == 1 else (
        f"{len(strays)} of {len(texts)} cells are no numbers")
    words = f"target {column.name!r}: {cells}, {text!r} in data row {row + 1} for one"
    kinds = Counter(number_kind(text) for text in strays.values())
    kind = kinds.most_common(1)[0][0] or ("with a unit" if unit_of(strays.values()) else None)
    if kind and kind != "plain":
        return f"{words}; they look like numbers {kind}; it should hold numbers alone"
    if 2 * len(strays) >= len(texts):
        return f"{words} (--task classes)"
    most, n = Counter(strays.values()).most_common(1)[0]
    return (f"{words} ({shlex.quote(f'--missing={most}')} leaves "
            f"{'this row' if n == 1 else f'{n} rows'} out, --task classes takes all for classes)")


def _classes(column, there):
    values = column.values
    if values.dtype.kind in "fiu":
        distinct = np.unique(values[there])
        classes = level_texts(column._replace(values=distinct))
    else:
        classes = sorted(set(np.array(level_texts(column), dtype=object)[there].tolist()))
    if len(classes) < 2:
        others = "" if there.all() else f" beside {int((~there).sum())} missing"
        raise DataError(f"target {column.name!r} holds {classes[0]!r} alone{others}; it should "
                        "hold two classes or more")
    if len(classes) > LIMIT_OF_CLASSES:
        raise DataError(f"target {column.name!r} holds {len(classes)} different labels; at most "
                        f"{LIMIT_OF_CLASSES} can be classes")
    n_rows = int(there.sum())
    if values.dtype == object and len(classes) > MOST_LEVELS and 2 * len(classes) > n_rows:
        if Counter(map(number_kind, classes)).most_common(1)[0][0] or unit_of(classes):
            raise DataError(_no_numbers(column, there))
        raise DataError(f"target {column.name!r} holds {len(classes)} different texts in {n_rows} "
                        f"rows, {classes[0]!r} for one; classes should have more rows than that")
    return _places(column, there, classes), tuple(classes)


def _places(column, there, classes):
    """Which of the classes each cell is, 0 where it is missing."""
    places = {label: k for k, label in enumerate(classes)}
    y = np.array([places.get(text, -1) for text in level_texts(column)], dtype=np.int64)
    y[~there] = 0
    if (y < 0).any():
        bad = level_texts(column)[int((y < 0).argmax())]
        raise DataError(f"target {column.name!r}: {bad!r} is none of the classes "
                        f"{listed(classes)}")
    return y


def _with_positive(y, classes, positive, task):
    if task != "classes" or len(classes[0]) != 2:
        raise DataError("--positive needs a target of two classes")
    if positive not in classes[0]:
        raise DataError(f"--positive is {positive!r}; the classes are {listed(classes[0])}")
    if classes[0][1] == positive:
        return y, classes
    return 1 - y, (classes[0][::-1],)


def _few(classes):
    return f"{len(classes)}: {listed(classes[:5])}" + ", ..." * (len(classes) > 5)
