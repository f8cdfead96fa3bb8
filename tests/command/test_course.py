"""What `fastbp train` says of a training: advice, losses of counts, folds, Ctrl-C, checkpoints."""

import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from calling import needs_own_ctrl_c

import fastbp
from fastbp._command.tables.advice import advice
from fastbp._command.tables.fitting import least_loss
from fastbp._preparation import Target

MODULE = [sys.executable, "-m", "fastbp"]
RNG = np.random.default_rng(0)


# ---- advice

ARGS = {"l2": 0.1, "lr": None, "optimizer": "adam", "hidden": (64, 30), "ensemble": 1,
        "batch_size": 32}


def advised(losses, judged, best, n_judges=1000, weight=0.0, **args):
    """{name: sentence} of a training of 1000 rows whose network has 9 equal weights."""
    net = fastbp.MLP([9, 1], seed=0)
    net.weights[0][:] = weight
    trained = SimpleNamespace(
        losses=np.array(losses, float), best_epoch=best - 1, n_epochs=len(losses),
        validation_losses=None if judged is None else np.array(judged, float),
        model=SimpleNamespace(net=net),
        rows=SimpleNamespace(train=np.arange(1000), validation=np.arange(n_judges)))
    return dict(advice(trained, SimpleNamespace(**ARGS | args)))


RISING = {"losses": [4, 3, 2, 2, 1, 1], "judged": [4, 3, 2, 3, 3, 4], "best": 3}


@pytest.mark.parametrize(("args", "ways"), [
    ({}, "Fewer units (--hidden 32,15), a larger --l2 (1) or --ensemble 10 may do better"),
    ({"l2": 0.0, "ensemble": 5}, "Fewer units (--hidden 32,15) or a larger --l2 (0.1) may do"),
    ({"hidden": (), "l2": 0.02}, "A larger --l2 (0.2) or --ensemble 10 may do better"),
    ({"hidden": (1,), "ensemble": 2}, "kept. A larger --l2 (1) may do better")])
def test_overfitting(args, ways):
    found = advised(**RISING, **args)
    assert list(found) == ["overfitting"] and ways in found["overfitting"]
    assert "rose from 2 to 4, while that of the training fell from 2 to 1" in found["overfitting"]


FLAT = {"losses": [4, 2, 1.0, 1.0], "judged": [4, 2, 0.8, 0.8], "best": 3}
# The penalty of a row: 0.1 / 2 of 9 w^2, over a batch of 32.
HALF_OF_IT = np.sqrt(0.4 * 32 / (0.05 * 9))     # a penalty of 0.4


@pytest.mark.parametrize(("changes", "said"), [
    ({}, False), ({"weight": HALF_OF_IT, "judged": [4, 2, 0.7, 0.8]}, True),
    ({"weight": HALF_OF_IT}, False),            # rows of the training fit better: 0.6 of 0.8
    ({"weight": HALF_OF_IT, "losses": [4, 2, 1.1, 1]}, True),
    ({"weight": HALF_OF_IT, "losses": [4, 2, 1.1, 1], "n_judges": 99}, False),
    ({"weight": HALF_OF_IT, "losses": [4, 1.1, 1, 1], "judged": [4, 0.8, 1, 1], "best": 2}, False),
    ({"weight": HALF_OF_IT, "losses": [4, 2, 1.1, 1], "l2": 0.01}, False)])
def test_underfitting(changes, said):
    found = advised(**FLAT | changes)
    assert ("underfitting" in found) == said
    if said:
        assert "the penalty of --l2 0.1, 0.4 per row" in found["underfitting"]
        assert "A smaller --l2 (0.01) may do better" in found["underfitting"]


@pytest.mark.parametrize(("best", "n", "args", "words"), [
    (1, 6, {}, "epoch 1 was the best of 6: most was learned at once. A smaller --lr (0.001)"),
    (2, 20, {"optimizer": "sgd"}, "(0.03)"), (2, 20, {"lr": 3.0}, "(1)"), (3, 20, {}, None),
    (2, 2, {}, None), (2, 6, {}, None)])
def test_the_first_epochs_were_the_best(best, n, args, words):
    judged = np.ones(n)
    judged[best - 1] = 0.99
    found = advised(np.ones(n), judged, best, **args)
    assert words in found["learning rate"] if words else not found


def test_nothing_is_advised_without_a_validation():
    assert not advised([3, 2, 1], None, 3) and not advised([], [], 0)


def test_the_advice_of_a_large_table_helps(called):
    """The target is a function of the columns, and the default penalty is in the way."""
    X = np.random.default_rng(1).standard_normal((8000, 4))
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["y"] = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3]
    frame.to_csv("t.csv", index=False)
    found = []
    for options in ([], ["--l2", 0.01]):
        code, out, err = called("train", "t.csv", "--epochs", 40, *options)
        assert code == 0, err
        assert options or "A smaller --l2 (0.01) may do better" in out
        found.append(float(re.search(r"held-out R² +(\S+)", out)[1]))
    assert found[1] > found[0]


# ---- the losses of counts


def test_the_losses_of_counts_are_not_below_0(called):
    y = RNG.poisson(np.exp(4 + RNG.standard_normal(200)))
    pd.DataFrame({"a": np.log1p(y), "y": y}).to_csv("t.csv", index=False)
    code, _, err = called("train", "t.csv", "--task", "counts", "--epochs", 20)
    losses = [float(x) for x in re.findall(r"(?:loss|validation) (\S+),", err)]
    assert code == 0 and len(losses) > 4 and min(losses) >= 0, err


def test_the_least_loss_of_counts():
    """It is that of outputs that are the counts: exp(z) - y z with z = ln y, and 0 of y = 0."""
    y = RNG.poisson(3.0, (50, 2)).astype(float)
    target = Target(("a", "b"), "counts", (), np.zeros(2), np.ones(2))
    z = np.log(np.maximum(y, 1e-300))
    expected = sum(fastbp.poisson_with_logits(z[:, [j]], y[:, [j]])[0] for j in range(2)) / 50
    # Each of 100 terms is a sum of y and y |ln y|, relative to which it has at most 8 roundings on
    # either side: those of ln y, which exp takes to y |ln y| 2^-53, of exp, the product and the
    # difference. Adding 100 terms in any order has 99 more for each.
    magnitude = (y + y * np.abs(z)).sum() / 50
    assert abs(least_loss(target, y) - expected) <= 2 * (8 + 99) * 2.0**-53 * magnitude
    assert least_loss(target._replace(task="regression"), y) == 0.0


# ---- folds, Ctrl-C, checkpoints


def table(n=80):
    a = RNG.standard_normal(n)
    pd.DataFrame({"a": a, "y": np.where(a > 0, "p", "q")}).to_csv("t.csv", index=False)


def test_rows_of_folds(called):
    table()
    code, out, err = called("train", "t.csv", "--folds", 3, "--epochs", 2)
    assert code == 0 and re.search(r"^rows +all 80: \d+ for training, \d+ to judge its epochs; the "
                                   "held-out figures are those of 3 folds$", out, re.M), err
    assert "0 held out" not in out and "fold 3/3, epoch 2/2" in err


def test_a_checkpoint_that_goes_on_and_one_that_has_ended(called):
    table()
    for epochs, there, course in ((2, False, "2 epochs in"), (5, True, "5 epochs, 3 of them now,"),
                                  (5, True, "5 epochs, all of them in the checkpoint: nothing was "
                                   "left to do, the best was epoch")):
        code, out, err = called("train", "t.csv", "--epochs", epochs, "--checkpoint", "c")
        assert code == 0 and f"\ntraining           {course}" in out, err
        line = "\ncheckpoint         c is there: the training goes on from it\n"
        assert (line in out) == there


def interrupted(folder, *args, there=None):
    """What a training prints that is interrupted after an epoch, and once a file is there."""
    endless = ["--epochs", "100000000", "--patience", "100000000"]
    process = subprocess.Popen(
        [*MODULE, "train", *endless, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=folder, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert "epoch" in process.stderr.readline()
    while there and not (folder / there).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    return out, err.splitlines()[-1]


@needs_own_ctrl_c
def test_ctrl_c_in_a_fold(tmp_path):
    out, last = interrupted(tmp_path, "--folds", "3", "--out", "m")
    assert last == "fastbp: interrupted in fold 1 of 3: nothing is written"
    assert "held-out accuracy" not in out and not (tmp_path / "m").exists()


@needs_own_ctrl_c
def test_ctrl_c_says_what_goes_on_from_a_checkpoint(tmp_path):
    out, last = interrupted(tmp_path, "--checkpoint", "c", there="c")
    assert re.fullmatch(r"fastbp: interrupted after \d+ of 100000000 epochs; the same command goes "
                        "on from c", last)
    assert "held-out accuracy" in out
