"""The options of `fastbp train`, `predict` and `explain`."""

import argparse
import math
import re

from fastbp import _arguments

LARGEST = 2**63 - 1
MINUS = re.compile(r"-+|-[\d.,].*")  # of marks
DATA = ("CSV file of any dialect, gzip of it, Parquet, JSON or NPZ file, or a pattern in quotes, "
        "such as 'part-*.csv'")

BESIDE = "beside those of the training"


def joined(argv):
    """The arguments, where marks such as --- and -9,9 are joined to their option, so that they are
    not taken for options."""
    found = []
    for text in argv:
        if found and found[-1] in ("--missing", "--only-missing") and MINUS.fullmatch(text):
            found[-1] += f"={text}"
        else:
            found.append(text)
    return found


def add_train(commands, run):
    """`fastbp train`."""
    train = commands.add_parser(
        "train", help="train a network on a table",
        description="Train a network on a table, and say how good it is on rows that it was not "
        "trained on. The columns may be numbers, dates, true or false, or text; a table before the "
        "training says what is done with each.")
    train.set_defaults(run=run)
    train.add_argument("data", nargs="?", type=_file, metavar="DATA",
                       help=f"{DATA}; without it the bundled data set")
    _add_target(train.add_argument_group("what is predicted"))
    _add_reading(train.add_argument_group("how the file is read"))
    _add_columns(train.add_argument_group(
        "columns", "Each option once or several times, with a name, or several divided by commas."))
    _add_network(train.add_argument_group("the network"))
    _add_training(train.add_argument_group("the training"))
    _add_judging(train.add_argument_group("how it is judged"))
    add = train.add_argument_group("what is written").add_argument
    add("--out", type=_file, metavar="MODEL.safetensors",
        help="save the model, for fastbp predict and fastbp.io.load_model")
    add("--plot", type=_file, metavar="FILE.png", help="draw the losses of the epochs, and on a "
        "second page (FILE-2.png, or within a PDF) the answers on the held-out rows")
    add("--checkpoint", type=_file, metavar="FILE", help="keep the state of the training here, "
        "about once a second; if the file is there, the training goes on from it")


def _add_target(group):
    add = group.add_argument
    add("--target", action="append", metavar="NAME", help="column to predict, if it is not called "
        "target, y or label; several make several labels or numbers")
    add("--task", choices=("classes", "labels", "regression", "counts"),
        help="by default what the target looks like: text or at most 10 whole numbers are classes, "
        "other numbers regression, several columns of two labels each are labels")
    add("--positive", metavar="LABEL", help="of two classes the one whose probability is given; "
        "by default the second in order")


def _add_reading(group, beside=None):
    add = group.add_argument
    add("--decimal", choices=[".", ","], metavar="MARK", help="decimal mark of a CSV file, . or ,; "
        "the other one may stand between thousands; found if not given")
    add("--delimiter", type=_character, metavar="CHARACTER",
        help=r"of a CSV file, \t for a tab; found if not given")
    add("--encoding", default="utf-8", metavar="NAME", help="of a CSV file; default %(default)s")
    add("--skip", type=_whole(0), default=0, metavar="N",
        help="leave out so many lines before the header of a CSV file")
    beside = beside or "beside NA, N/A, NaN, NULL, None, ?, - and their like"
    add("--missing", action="append", metavar="MARK", help="text that stands for a missing cell, "
        f"in the target too, {beside}; once or several times, or divided by commas; empty cells "
        "are always missing")
    add("--only-missing", action="append", metavar="MARK", help="the same, in place of those")


def _add_columns(group):
    add = group.add_argument
    add("--drop", action="append", metavar="NAME", help="leave these out")
    add("--only", action="append", metavar="NAME", help="use these alone")
    add("--numeric", action="append", metavar="NAME",
        help="take these for numbers, also where all cells differ")
    add("--categorical", action="append", metavar="NAME",
        help="take these for levels, also where they are numbers")
    add("--strict", action="store_true", help="refuse a table in which something would be filled, "
        "left out or guessed: missing cells, text that --categorical does not name, the task")


def _add_network(group):
    add = group.add_argument
    add("--hidden", type=_sizes, default="64,64", metavar="N,N",
        help="widths of the hidden layers, '' for none; default %(default)s")
    add("--activation", type=_names, metavar="NAME,NAME",
        help=f"of all hidden layers, or one for each: {', '.join(_arguments.ACTIVATIONS)}; "
        "default relu, and tanh for counts")
    add("--ensemble", type=_whole(1), default=1, metavar="N",
        help="train so many networks, and answer with their mean")
    add("--class-weight", choices=("balanced",),
        help="balanced: each class counts the same, however many rows it has")
    add("--dtype", choices=("float32", "float64"), default="float32",
        help="of the network; default %(default)s")


def _add_training(group):
    add = group.add_argument
    add("--epochs", type=_whole(1), default=200, metavar="N",
        help="passes over the training rows, at most; default %(default)s")
    add("--patience", type=_whole(1), default=20, metavar="N",
        help="stop after so many epochs that were not better; default %(default)s")
    add("--batch-size", type=_whole(1), default=32, metavar="N",
        help="rows per step; default %(default)s")
    add("--optimizer", choices=("adam", "sgd"), default="adam",
        help="sgd has momentum 0.9; default %(default)s")
    add("--lr", type=_positive, metavar="X",
        help="learning rate; default 0.003 for adam, 0.1 for sgd")
    add("--l2", type=_real, default=0.1, metavar="X",
        help="half of X times the sum of squared weights is added to a batch's summed loss: per "
        "row it weighs less in a larger batch; default %(default)s")
    add("--seed", type=_whole(0), default=0, metavar="N",
        help="of the splits, the weights and the shuffling; default %(default)s")


def _add_judging(group):
    add = group.add_argument
    add("--test-fraction", type=_fraction, metavar="X",
        help="share of the rows, of each class, that is held out to judge the result; default "
        "0.25; 0 for none")
    add("--validation-fraction", type=_fraction, default=0.15, metavar="X",
        help="share of the other rows that judges the epochs, of which the best is kept; default "
        "%(default)s; 0 for none, then all epochs are made")
    add("--folds", type=_whole(2), metavar="K", help="in place of --test-fraction: hold out each "
        "of K parts in turn, and train the final network on all rows")


def add_predict(commands, run):
    """`fastbp predict`."""
    what = "predict the target of the rows of a table"
    predict = commands.add_parser("predict", help=what, description=(
        f"{what.capitalize()}, with a model of fastbp train. Columns are found by their names. "
        "Without --out the answers go to the standard output as CSV."))
    predict.set_defaults(run=run)
    add = predict.add_argument
    add("model", type=_file, metavar="MODEL", help="file that fastbp train --out wrote")
    add("data", type=_file, metavar="DATA", help=f"{DATA}; it may be larger than memory")
    add("--out", type=_file, metavar="FILE",
        help="CSV file, or Parquet if the name ends in .parquet")
    add("--out-decimal", choices=[".", ","], default=".", help="decimal mark of the CSV that is "
        "written; with a comma semicolons divide its columns; default %(default)s")
    add("--keep", action="append", metavar="NAME", help="columns of DATA that go before the "
        "answers as they stand, an id say; once or several times, or divided by commas; 'all' for "
        "all")
    _add_reading(predict.add_argument_group("how the file is read"), BESIDE)


def add_explain(commands, run):
    """`fastbp explain`."""
    what = "say what a model is, and which columns its answers depend on"
    explain = commands.add_parser("explain", help=what, description=(
        f"{what.capitalize()}: on the rows of DATA, by how much answers change with a column, and "
        "how much worse they are when its cells are shuffled."))
    explain.set_defaults(run=run)
    add = explain.add_argument
    add("model", type=_file, metavar="MODEL", help="file that fastbp train --out wrote")
    add("data", nargs="?", type=_file, metavar="DATA",
        help=f"{DATA}, with the target for the second figure")
    add("--plot", type=_file, metavar="FILE.png", help="draw the figures of the columns")
    add("--repeats", type=_whole(1), default=5, metavar="N",
        help="times that each column is shuffled; default %(default)s")
    add("--seed", type=_whole(0), default=0, metavar="N",
        help="of the shuffling; default %(default)s")
    _add_reading(explain.add_argument_group("how the file is read"), BESIDE)


def _file(text):
    if text == "-":
        raise argparse.ArgumentTypeError(
            "'-' is not the name of a file; the standard input is /dev/stdin, and answers without "
            "--out go to the standard output")
    if not text:
        raise argparse.ArgumentTypeError("'' is not the name of a file")
    return text


def _character(text):
    return "\t" if text == r"\t" else text


def _sizes(text):
    """Parse "64,64" to (64, 64) and "" to ()."""
    return tuple(_whole(1)(size) for size in text.split(",")) if text.strip() else ()


def _names(text):
    """Parse "tanh,relu" to ("tanh", "relu") and "tanh" to itself."""
    return tuple(name.strip() for name in text.split(",")) if "," in text else text.strip()


def _whole(least):
    def parse(text):
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        if number > LARGEST:
            raise argparse.ArgumentTypeError(f"{text!r} is above {LARGEST}")
        return number

    return parse


def _positive(text):
    number = _number(text)
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _fraction(text):
    number = _number(text)
    if not 0.0 <= number < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0 and below 1")
    return number


def _real(text):
    number = _number(text)
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
