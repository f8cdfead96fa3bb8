"""The weight of a sample: its own times that of its class.

Losses, scores and the penalty are divided by the sum of the weights, so that each set of samples
that is trained on or validated on needs a sum above 0. It is checked here, once for each set.
"""

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from fastbp import _arguments


def name_of(sample_weight, of_class, name="sample_weight"):
    """The parameters that a weight comes from, as a message names them."""
    given = [(name, sample_weight), ("class_weight", of_class)]
    return " times ".join(name for name, value in given if value is not None)


@np.errstate(all="ignore")
def of_samples(sample_weight, of_class, dtype, name="sample_weight"):
    """(n,) finite weights of at least 0 in `dtype`; None if every sample counts 1.

    `of_class` is what each sample counts by its class, or None.
    """
    if of_class is None:
        weight = sample_weight
    else:
        weight = of_class.astype(dtype)
        if sample_weight is not None:
            weight = sample_weight * weight
    return _arguments.sample_weight(weight, None if weight is None else len(weight), "sum", dtype,
                                    name=name_of(sample_weight, of_class, name))


def require(weight, name, which, remedy=""):
    """Refuse weights that the loss of some samples cannot be divided by the sum of.

    `name` is of the weights, `which` says of these samples what they are, `remedy` what would help.
    """
    if weight is None:
        return
    with np.errstate(over="ignore"):
        total = weight.sum(dtype=np.float64)
    samples = _arguments.counted(len(weight), "sample")
    if total == 0:
        raise ValueError(f"{name} is 0 for each of the {samples}{which}; it should be "
                         f"above 0 for at least one of them{remedy}")
    if total == np.inf:
        raise ValueError(f"{name} has an infinite sum over the {samples}{which}; it "
                         "should have a finite one")


def require_both(train, held_out, name):
    """Refuse a split for early stopping of which one part has no weight."""
    for weight, which, change in ((train, " that early_stopping leaves to train on", "decrease"),
                                  (held_out, " that early_stopping holds out", "increase")):
        require(weight, name, which, ". Leave out the samples that count 0, "
                f"{change} validation_fraction, change random_state, or give X_val and y_val")


def of_classes(class_weight, classes, y, sample_weight):
    """The weight of each class, (n_classes,); 0 under "balanced" if its samples count 0."""
    with np.errstate(divide="ignore"):
        weight = compute_class_weight(class_weight, classes=classes, y=y,
                                      sample_weight=sample_weight)
    return np.where(np.isinf(weight), 0.0, weight)


def check_class_weight(class_weight):
    """Refuse a weight of a class that is not a finite number of at least 0."""
    several = isinstance(class_weight, list)
    for i, weights in enumerate(class_weight if several else [class_weight]):
        for label, weight in weights.items() if isinstance(weights, dict) else ():
            _arguments.non_negative(f"class_weight{f'[{i}]' * several}[{label!r}]", weight)
