"""Columns of any kind as the numbers a network takes, and outputs as the answers a user asked for.

    columns     one column as features: a number, a date, a truth value, or levels
    judgement   what each column of a table is, learned from the rows of the training
    remarks     what texts may be that were not read as numbers or dates
    frames      the columns of a data frame or an array
    targets     what is predicted: classes, labels, numbers, counts

What was learned is a list of `Number` and `Levels`, which a model file keeps. NumPy is all that
this package needs; files are read by `fastbp._table`.
"""

from fastbp._preparation.columns import Levels, Number
from fastbp._preparation.judgement import Judgement, Wishes, judge
from fastbp._preparation.preparation import Preparation, Told
from fastbp._preparation.targets import Target

__all__ = ["Judgement", "Levels", "Number", "Preparation", "Target", "Told", "Wishes", "judge"]
