"""The command where it is stopped, or cannot write: nothing that was made is lost, nothing that is
half made stands for the whole."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from calling import needs_own_ctrl_c

from fastbp._command.tables import fitting
from fastbp.io import load_model

MODULE = [sys.executable, "-m", "fastbp"]
ROWS = np.random.default_rng(0).standard_normal((60, 2))
FRAME = pd.DataFrame(ROWS, columns=["a", "b"]).assign(y=np.where(ROWS.sum(axis=1) > 0, "p", "q"))


@pytest.fixture
def run(tmp_path):
    """A function that runs the command as a process, in a folder with the table t.csv."""
    FRAME.to_csv(tmp_path / "t.csv", index=False)

    def run(*args, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.run([*MODULE, *map(str, args)], text=True, cwd=tmp_path, timeout=120,
                              **streams)

    return run


@needs_own_ctrl_c
def test_interrupt_after_a_resumed_training_counts_all_epochs(run, tmp_path):
    args = ["train", "t.csv", "--hidden", "4", "--patience", "100000000", "--checkpoint", "c",
            "--out", "model", "--epochs"]
    assert run(*args, "30").returncode == 0
    process = subprocess.Popen(
        [*MODULE, *args, "100000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    losses_of = safetensors.numpy.load_file
    while len(losses_of(tmp_path / "c")["losses"]) == 30:   # until epochs of its own are there
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    n_epochs = int(re.search(r"interrupted after (\d+) of", stderr).group(1))
    said = re.search(r"training +(\d+) epochs, (\d+) of them now, .* best was epoch (\d+)", stdout)
    assert [*map(int, said.groups()[:2])] == [n_epochs, n_epochs - 30]
    training = load_model(tmp_path / "model").recipe.training
    assert training["epochs"] == n_epochs and training["best epoch"] == int(said.group(3))
    judged = losses_of(tmp_path / "c")["validation_losses"]     # it may lack the last second
    assert training["best epoch"] in (int(np.argmin(judged)) + 1, *range(len(judged) + 1,
                                                                         n_epochs + 1))


def test_the_best_epoch_may_be_one_of_the_checkpoint(called, monkeypatch):
    """Interrupted after one more epoch, of a training whose best epoch was long before."""
    FRAME.assign(y=FRAME["y"].sample(frac=1, random_state=0).to_numpy()).to_csv("t.csv")
    args = ["train", "t.csv", "--target", "y", "--only", "a", "--patience", 1000, "--checkpoint",
            "c", "--lr", 0.1, "--out"]
    assert called(*args, "m", "--epochs", 40)[0] == 0
    best = load_model("m").recipe.training["best epoch"]
    assert best < 40

    def after_epoch(self, *given, own=fitting._Course.after_epoch):
        own(self, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting._Course, "after_epoch", after_epoch)
    code, out, err = called(*args, "n", "--epochs", 60)
    assert code == 130 and err.endswith(
        "interrupted after 41 of 60 epochs; the same command goes on from c\n")
    assert "41 epochs, 1 of them now, in" in out and f"the best was epoch {best}\n" in out
    one, other = load_model("m"), load_model("n")
    assert one.net.params.tobytes() == other.net.params.tobytes()
    assert other.recipe.training["best epoch"] == best


def test_interrupt_before_the_first_epoch_leaves_the_old_model(called, monkeypatch):
    def after_epoch(self, *given):
        raise KeyboardInterrupt

    FRAME.to_csv("t.csv", index=False)
    Path("model").write_bytes(b"old")
    monkeypatch.setattr(fitting._Course, "after_epoch", after_epoch)
    code, _, err = called("train", "t.csv", "--out", "model")
    assert code == 130 and err == "fastbp: interrupted\n"
    assert Path("model").read_bytes() == b"old"


@pytest.mark.parametrize("n_rows, n_written", [(60, 0), (65596, 65537)])
def test_a_cell_that_is_refused(n_rows, n_written, called, model):
    """Nothing of the first batch, the header neither, is on stdout; a file is as it was."""
    model({name: FRAME[name] for name in "aby"})
    cells = np.resize(FRAME["a"].to_numpy(), n_rows).astype(object)
    cells[-1] = "many"
    pd.DataFrame({"a": cells, "b": 1.0}).to_csv("new.csv", index=False)
    code, out, err = called("predict", "m", "new.csv")
    assert code == 2 and "'many' is not a number" in err and out.count("\n") == n_written
    Path("out.csv").write_text("old")
    before = sorted(os.listdir())
    for path in ("out.csv", "new.parquet"):
        code, out, err = called("predict", "m", "new.csv", "--out", path)
        assert code == 2 and not out
    assert sorted(os.listdir()) == before and Path("out.csv").read_text() == "old"


def test_a_table_without_rows(called, model):
    model({name: FRAME[name] for name in "aby"})
    pd.DataFrame({"a": FRAME["a"][:0], "b": FRAME["b"][:0]}).to_parquet("none.parquet")
    code, out, _ = called("predict", "m", "none.parquet")
    assert (code, out) == (0, "predicted_y,probability_p,probability_q\n")


@pytest.mark.parametrize("options, words", [
    (["--hidden", 4], "the columns or --hidden (layer_sizes was [2, 3, 1], it is [2, 4, 1]). Give"),
    (["--lr", 0.5], "--optimizer or --lr (optimizer was Adam(lr=0.003, "),
    (["--batch-size", 7], "what differs is --batch-size (batch_size was 32, it is 7). Give the sa"),
    (["--positive", "p"], "what differs is the target (y has other values). Give the same table"),
    (["--test-fraction", 0], "by --test-fraction, --validation-fraction or --seed (rows had the "),
    (["--seed", 1], "by --test-fraction, --validation-fraction or --seed (rows has other values)")])
def test_a_checkpoint_of_another_training(options, words, called):
    args = ["train", "t.csv", "--epochs", 2, "--hidden", 3, "--checkpoint", "c"]
    FRAME.to_csv("t.csv", index=False)
    assert called(*args)[0] == 0
    code, _, err = called(*args, *options)
    assert code == 2 and "error: --checkpoint c is of another training: what differs is " in err
    assert words in err and not re.search("[0-9a-f]{20}", err)
    assert err.endswith("to begin anew, give another FILE or remove this one\n")
    FRAME.assign(a=FRAME["a"] + (FRAME["a"] > 1)).to_csv("t.csv", index=False)
    code, _, err = called(*args)
    assert code == 2 and "the cells of the table, or the rows of the training (X has other" in err


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(),
                    reason="needs a device that is always full")
def test_progress_onto_a_full_disk(run, tmp_path):
    """Lines of progress that are lost are no reason to lose a model."""
    with open("/dev/full", "w") as full:
        done = run("train", "t.csv", "--epochs", 3, "--out", "model", stderr=full)
    assert done.returncode == 0 and "held-out accuracy" in done.stdout
    load_model(tmp_path / "model")


@pytest.mark.skipif(os.name == "nt", reason="Windows closes no descriptor of a new process")
def test_a_closed_stderr(run):
    """What would be said there is not said among the answers."""
    closed = dict(stderr=None, preexec_fn=lambda: os.close(2))
    done = run("train", "t.csv", "--epochs", 3, "--out", "m", **closed)
    assert done.returncode == 0 and "3 epochs in" in done.stdout
    assert not re.search("^epoch", done.stdout, re.MULTILINE)
    done = run("predict", "m", "t.csv", **closed)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == len(FRAME) + 1
    assert "answered" not in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /dev/stdin")
def test_what_is_no_regular_file(run, tmp_path):
    """A pipe that a model would be read from, or written to."""
    assert run("train", "t.csv", "--epochs", 2, "--hidden", 3, "--out", "m").returncode == 0
    done = run("predict", "/dev/stdin", "t.csv", input="no model")
    assert done.returncode == 2 and done.stderr == (
        "fastbp: error: /dev/stdin: is not a regular file\n")
    done = run("predict", "m", "t.csv", "--out", "/dev/stdout")
    assert done.returncode == 2 and done.stderr == (
        "fastbp: error: /dev/stdout: is not a regular file\n")


def test_a_limit_of_the_size_of_files(run):
    """The copy of the table, not the table, is too large."""
    resource = pytest.importorskip("resource")
    done = run("train", "t.csv", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                                       (64, 64)))
    assert done.returncode == 2
    assert re.fullmatch(r"fastbp: error: t.csv: its copy in .* \(TMPDIR\) cannot be written: "
                        "File too large\n", done.stderr)
