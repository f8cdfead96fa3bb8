"""What the course of a training suggests: in words, with the option to try.

    overfitting     the loss of the validation rose while that of the training fell
    underfitting    the penalty keeps the network from fitting better
    learning rate   one of the first two epochs was the best

These are rules of thumb: none of them is sure to help. A network is taken for underfitted where it
fits the rows of the training no better than others, and the penalty is a good part of what the
training makes small.
"""

import numpy as np

from fastbp._command.tables.fitting import LEARNING_RATES

RISEN, FALLEN = 1.1, 0.95   # of the losses at the best epoch, where curves have parted
AS_WELL = 0.8               # of the validation's loss: that of the training, if it fits as well
HEAVY = 0.25                # of the validation's loss: a penalty that weighs much
FEWEST_JUDGES = 100         # rows of a validation whose loss says so
EARLY, LATER = 2, 5         # epochs up to the best, and since then


def advice(trained, args):
    """Return (name, sentence) of each that fits a `Trained`; args are those of the command."""
    judged, best = trained.validation_losses, trained.best_epoch
    if judged is None or best < 0 or not len(judged):
        return []
    found = {"overfitting": _overfitting(trained, args),
             "underfitting": _underfitting(trained, args),
             "learning rate": _learning_rate(trained, args)}
    return [(name, sentence) for name, sentence in found.items() if sentence]


def _overfitting(trained, args):
    judged, losses, best = trained.validation_losses, trained.losses, trained.best_epoch
    if judged[-1] < RISEN * judged[best] or losses[-1] > FALLEN * losses[best]:
        return None
    ways = [f"a larger --l2 ({10 * args.l2 or 0.1:g})"]
    if any(size > 1 for size in args.hidden):
        fewer = ",".join(str(max(size // 2, 1)) for size in args.hidden)
        ways.insert(0, f"fewer units (--hidden {fewer})")
    if args.ensemble == 1:
        ways.append("--ensemble 10")
    tried = " or ".join(filter(None, (", ".join(ways[:-1]), ways[-1])))
    return (f"after epoch {best + 1} the loss of the validation rose from {judged[best]:.4g} to "
            f"{judged[-1]:.4g}, while that of the training fell from {losses[best]:.4g} to "
            f"{losses[-1]:.4g}; the network of epoch {best + 1} is kept. {tried[0].upper()}"
            f"{tried[1:]} may do better")


def _underfitting(trained, args):
    judged, best = trained.validation_losses[trained.best_epoch], trained.best_epoch
    penalty = _penalty(trained, args)
    if (best < EARLY or len(trained.rows.validation) < FEWEST_JUDGES
            or penalty < HEAVY * judged or trained.losses[best] - penalty < AS_WELL * judged):
        return None
    return ("rows of the validation fit as well as those that are learned, and the penalty of "
            f"--l2 {args.l2:g}, {penalty:.2g} per row, weighs much beside their loss of "
            f"{judged:.2g}. A smaller --l2 ({args.l2 / 10:g}) may do better")


def _penalty(trained, args):
    """The penalty of the kept network, as the mean loss of a batch contains it."""
    net = trained.model.net
    squares = sum(float(np.square(W, dtype=np.float64).sum()) for W in net.weights)
    n_networks = getattr(net, "n_networks", 1)
    return args.l2 / 2 * squares / n_networks / min(args.batch_size, len(trained.rows.train))


def _learning_rate(trained, args):
    best = trained.best_epoch + 1
    if best > EARLY or trained.n_epochs - best < LATER:
        return None
    lr = LEARNING_RATES[args.optimizer] if args.lr is None else args.lr
    return (f"epoch {best} was the best of {trained.n_epochs}: most was learned at once. A smaller "
            f"--lr ({lr / 3:.1g}) takes smaller steps, and may do better")
