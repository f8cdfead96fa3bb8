"""What `fastbp train`, `predict` and `explain` share.

    data        a table, its columns judged, and its target
    splits      rows that are held out, and folds
    fitting     a network or an ensemble, trained until it no longer gets better
    metrics     how good answers are, with standard errors
    report      what is printed
    pictures    what is drawn
"""
