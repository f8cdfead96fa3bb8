"""`fastbp explain`: the target as the training read it, figures that say what they are, a list
that fits the terminal."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from terminals import lines_on_terminal

from fastbp._command.explain import _aligned
from fastbp.io import save_model

MODULE = [sys.executable, "-m", "fastbp"]
N = 120
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, N))
FEW = ["--epochs", 3, "--hidden", 3]


def explained(called, *args):
    code, out, err = called("explain", *args)
    assert code == 0, err
    return out


# ---- what stood for a missing cell in the training


def test_the_next_command_after_a_training_with_marks(called):
    """The marks are those of the target, too, where it is numbers."""
    cells = np.where(np.arange(N) % 10 == 3, "TNTC", RNG.poisson(20, N).astype(str))
    features = np.where(np.arange(N) % 11 == 0, "#N/A", A.round(3).astype(str))
    pd.DataFrame({"a": features, "y": cells}).to_csv("t.csv", index=False)
    code, out, err = called("train", "t.csv", "--task", "counts", "--missing", "TNTC", "--missing",
                            "#N/A", *FEW, "--out", "m.safetensors")
    assert code == 0, err
    following = re.search(r"fastbp (explain .*)", out)[1].split()
    out = called(*following)
    assert out[0] == 0 and f"{N - 12} looked at" in out[1], out[2]


def test_a_mark_that_is_a_class_is_one(called, model):
    model({"a": A, "y": np.where(A > 0, "-", "+")})
    assert f"{N} looked at" in explained(called, "m", "train.csv")
    pd.DataFrame({"a": A, "y": np.where(A > 1, "?", "+")}).to_csv("new.csv", index=False)
    assert f"{(A <= 1).sum()} looked at" in explained(called, "m", "new.csv")


@pytest.mark.parametrize(("table", "words"), [
    ("a,y\n#LOST,p\n1,q\n2,p\n", "'#LOST' is not a number (--missing MARK"),
    ("a,y\n1,other\n", "'other' is none of the classes"), ("a,y\n", "no data row"),
    ("b,y\n1,p\n", "there is no column 'a'")])
def test_nothing_is_printed_before_the_table_is_read(called, model, tmp_path, table, words):
    model({"a": A, "y": np.where(A > 0, "p", "q")})
    (tmp_path / "new.csv").write_text(table)
    code, out, err = called("explain", "m", "new.csv")
    assert code == 2 and words in err and not out


# ---- what the figures are


@pytest.mark.parametrize(("y", "options", "moved"), [
    (np.where(A > 0, "p", "q"), [], "the logit of 'q' moves,"),
    (np.array(["p", "q", "r"])[np.arange(N) % 3], [], "the logit of a class moves, on average,"),
    (1000 * A, [], "the answer moves, in standard deviations of 'y' ("),
    (RNG.poisson(20, N), ["--task", "counts"], "the logarithm of the expected count moves,")])
def test_what_a_slope_is_of(called, model, y, options, moved):
    model({"a": A, "b": B, "y": y}, "--test-fraction", 0, *options)
    out = explained(called, "m", "train.csv")
    assert f"slope              by how much {moved}" in out
    assert "by its standard deviation\n" in out and "mean and deviation of 5 times\n" in out


def test_whether_the_rows_judge(called, model):
    model({"a": A, "y": np.where(A > 0, "p", "q")})
    assert "on some of which it was trained: no judgement" in explained(called, "m", "train.csv")
    pd.read_csv("train.csv")[:-1].to_csv("new.csv", index=False)
    assert "if it was trained on none of them" in explained(called, "m", "new.csv")


def test_a_figure_that_can_exceed_1(called, model):
    """Shuffled, a column that decides makes answers worse than the mean would be."""
    loaded = model({"a": A, "y": 3 * A}, "--activation", "identity", "--hidden", "")
    loaded.net.weights[0][...], loaded.net.biases[0][...] = 1.0, 0.0
    save_model("m", loaded)
    lost = float(re.search(r"^a +\S+ +(\S+) ±", explained(called, "m", "train.csv"), re.M)[1])
    assert 1.5 < lost < 2.5     # of independent cells 2: the variance of a difference, over one


# ---- the list


ROWS = [["a", "1.4254", "0.0701 ± 0.0113"], ["discount %", "0.5948", "-0.0338 ± 0.0058"],
        ["漢字", "10.0000", "0.0001 ± 0.0001"], ["x" * 60, "0.0000", "0.0000 ± 0.0000"]]


@pytest.mark.parametrize("width", [None, 20, 40, 80, 200])
def test_titles_stand_over_their_figures(width):
    lines = [*_aligned(["column", "slope", "accuracy lost"], ROWS, width)]
    wide = [line for line in lines if "漢" not in line]
    assert len({len(line) for line in wide}) == 1
    end = lines[0].index("slope") + len("slope")
    assert all(line[end - 1].isdigit() and line[end] == " " for line in wide[1:])
    assert width is None or len(lines[0]) <= max(width, 35)
    assert len(lines[0]) <= 40 + 2 + 7 + 2 + 16


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal(model, tmp_path, width):
    model({"a": A, "a column with a name of many words": B, "y": np.where(A > 0, "p", "q")})
    code, lines = lines_on_terminal([*MODULE, "explain", "m", "train.csv"], width, cwd=tmp_path)
    assert code == 0 and max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines[-3:]] == ["column", "a", "a"]


# ---- what is said of the training


def test_that_it_was_interrupted(called, model):
    loaded = model({"a": A, "y": np.where(A > 0, "p", "q")})
    assert "training           2 epochs, the best was epoch" in explained(called, "m")
    training = {**loaded.recipe.training, "interrupted": True}
    training["options"] = {**training["options"], "epochs": 60}
    loaded.recipe = loaded.recipe._replace(training=training)
    save_model("m", loaded)
    assert "training           interrupted after 2 of 60 epochs, the best" in explained(called, "m")


def test_that_it_was_judged_by_folds(called, model):
    model({"a": A, "y": np.where(A > 0, "p", "q")}, "--folds", 3)
    out = explained(called, "m")
    assert " held out\n" not in out and "(mean and deviation of 3 folds" in out
