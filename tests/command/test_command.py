"""The command does what it prints: figures, files, exit codes, and errors of one line."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from calling import needs_own_ctrl_c
from terminals import new_terminal, read_terminal

import fastbp
from fastbp._command.main import main
from fastbp.datasets import load_breast_cancer
from fastbp.io import load_model, save_model

MODULE = [sys.executable, "-m", "fastbp"]
# As in a usual shell: results are written when the buffer is full or the command ends.
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def script():
    """Return the installed `fastbp` script, or None."""
    return shutil.which("fastbp", path=sysconfig.get_path("scripts"))


@pytest.fixture
def fastbp_run(tmp_path):
    """Return a function that runs the command in an empty folder."""

    def run(*args, command=MODULE, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENV, **options}
        return subprocess.run(
            [*command, *map(str, args)], text=True, timeout=120, cwd=tmp_path, **streams
        )

    return run


@pytest.fixture
def called(tmp_path, monkeypatch, capfd):
    """Return a function that does what the command does, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        code = main([*map(str, args)])
        return subprocess.CompletedProcess(args, code, *capfd.readouterr())

    return call


@pytest.fixture
def table(tmp_path):
    """Return a CSV file of 40 rows whose classes a line separates."""
    x = np.random.default_rng(0).standard_normal((40, 2))
    lines = [f"{a!r},{b!r},1.5,{'yes' if a + b > 0 else 'no'}" for a, b in x.tolist()]
    path = tmp_path / "table.csv"
    path.write_text("a,b,constant,sick\n" + "\n".join(lines) + "\n")
    return path


def without(tmp_path, package):
    """Return an environment in which the import of a package fails."""
    folder = tmp_path / f"no_{package}"
    folder.mkdir()
    (folder / f"{package}.py").write_text("raise ImportError('blocked by the test')\n")
    paths = [str(folder), *ENV.get("PYTHONPATH", "").split(os.pathsep)]
    return {**ENV, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def figure(output, name):
    return float(re.search(rf"^{name} +(\S+)", output, re.MULTILINE).group(1))


def assert_error(done, words):
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("fastbp: error: ") and words in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n")


@pytest.mark.parametrize("seed", range(3))
def test_bundled_data_reach_95_percent(called, seed):
    done = called("train", "--seed", seed)
    assert done.returncode == 0, done.stderr
    assert figure(done.stdout, "held-out accuracy") >= 0.95
    assert figure(done.stdout, "held-out AUC") >= 0.97
    assert 0.0 < figure(done.stdout, "held-out log loss") < 0.2
    assert "rows per second" in done.stdout and "positive class 'malignant'" in done.stdout
    assert 2 <= len(done.stderr.splitlines()) <= 12


def test_script(fastbp_run):
    assert script() is not None, "the entry point is not installed"
    done = fastbp_run("--version", command=[script()])
    assert (done.returncode, done.stdout) == (0, f"fastbp {fastbp.__version__}\n")


@pytest.mark.parametrize("command", [MODULE, [sys.executable, "-I", "fastbp"]])
def test_a_variant_that_there_is_not(fastbp_run, tmp_path, command):
    """The import fails before the command begins, and says so as the command would."""
    folder = str(Path(fastbp.__file__).parents[1])
    code = (f"import sys; sys.path.insert(0, {folder!r}); from fastbp._command.main import main; "
            "main()")
    (tmp_path / "fastbp").write_text(code)      # as an installed script is named
    done = fastbp_run("info", command=command, env={**ENV, "FASTBP_ISA": "sse9"})
    assert_error(done, "FASTBP_ISA is 'sse9'")


def test_info(fastbp_run):
    done = fastbp_run("info")
    assert done.returncode == 0 and done.stdout and not done.stderr


@pytest.mark.parametrize("options", [[], ["--optimizer", "sgd", "--dtype", "float64"]])
def test_own_table(called, table, options):
    done = called("train", table, "--target", "sick", "--hidden", "4", *options)
    assert done.returncode == 0, done.stderr
    assert "positive class 'yes'" in done.stdout and "2-4-1" in done.stdout
    assert re.search("^  constant +left out: constant$", done.stdout, re.M)
    assert figure(done.stdout, "held-out accuracy") >= 0.8


@pytest.mark.parametrize(("given", "kept", "said"), [
    ("tanh", "tanh", "2-4-5-1 of tanh units, "), ("relu, relu", "relu", "2-4-5-1 of relu units, "),
    ("relu,tanh", ("relu", "tanh"), "2-4-5-1 of relu, tanh units, "),
    ("sigmoid", "sigmoid", "2-4-5-1 of sigmoid units, ")])
def test_activations(called, table, tmp_path, given, kept, said):
    done = called("train", table, "--target", "sick", "--hidden", "4,5", "--activation", given,
                  "--out", "m")
    assert done.returncode == 0, done.stderr
    assert said in done.stdout and figure(done.stdout, "held-out accuracy") >= 0.8
    assert load_model(tmp_path / "m").net.activation == kept


def test_npz_without_hidden_layers(called, tmp_path):
    data = load_breast_cancer()
    np.savez(tmp_path / "t.npz", X=data.X, y=data.y)
    done = called("train", "t.npz", "--hidden", "", "--epochs", 20)
    assert done.returncode == 0, done.stderr
    assert "30-1 of" in done.stdout
    assert figure(done.stdout, "held-out accuracy") >= 0.9


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["train", "--fly"], "unrecognized arguments: --fly"),
        (["train", "--epochs", "0"], "'0' is not a whole number of at least 1"),
        (["train", "--hidden", "8,x"], "'x' is not a whole number"),
        (["train", "--activation", "gelu"], "activation is 'gelu'; it should be one of 'sigmoid'"),
        (["train", "--activation", "relu,gelu"], "activation[1] is 'gelu'"),
        (["train", "--activation", "relu,"], "activation[1] is ''"),
        (["train", "--activation", "relu,tanh,relu"], "activation has 3 names; it should have 2"),
        (["bench", "--activation", "relu,tanh"], "invalid choice: 'relu,tanh'"),
        (["train", "--lr", "-1"], "'-1' is not a number above 0"),
        (["train", "--lr", "0"], "'0' is not a number above 0"),
        (["train", "--lr", "nan"], "'nan' is not a number above 0"),
        (["train", "--l2", "-1"], "'-1' is not a number of at least 0"),
        (["train", "--l2", "inf"], "'inf' is not a number"),
        (["train", "--optimizer", "lbfgs"], "invalid choice: 'lbfgs'"),
        (["train", "--seed", "-1"], "'-1' is not a whole number of at least 0"),
        (["train", "--test-fraction", "1"], "'1' is not a number of at least 0 and below 1"),
        (["train", "--batch-size", "1" + "0" * 30], "is above 9223372036854775807"),
        (["train", "--folds", "1"], "'1' is not a whole number of at least 2"),
        (["train", "--folds", "3", "--test-fraction", "0.1"], "were both given"),
        (["train", "--folds", "3", "--checkpoint", "c"], "--checkpoint goes with one network"),
        (["train", "--drop", "mean_radiu"], "did you mean 'mean_radius'?"),
        (["train", "--target", "sick"], "--target needs DATA"),
        # the words after it are the system's
        (["train", "missing.csv"], "fastbp: error: missing.csv: "),
        (["train", "table.csv"], "name the target column (--target NAME)"),
        (["train", "table.csv", "--target", "sik"], "did you mean 'sick'?"),
        (["train", "table.csv", "--target", "a", "--numeric", "sick"],
         "column 'sick': 'no' is not a number"),
        (["train", "table.csv", "--target", "sick", "--numeric", "sick"], "is the target (--num"),
        (["train", "table.csv", "--target", "sick", "--strict"], "'constant' would be left out"),
        (["train", "table.csv", "--target", "sick", "--task", "counts"],
         "40 of 40 cells are no numbers"),
        (["train", "table.csv", "--target", "sick,a"],
         "'no' in data row 1 for one (--task classes)"),
        (["train", "table.csv", "--target", "sick", "--positive", "maybe"], "the classes are 'no'"),
        (["train", "table.csv", "--target", "sick", "--out", "table.csv"], "would overwrite"),
        (["train", "t*.csv", "--target", "sick", "--out", "table.csv"], "would overwrite"),
        (["train", "--decimal", ","], "--decimal needs DATA"),
        (["train", "--plot", "loss.docx"], "the suffix must be .png"),
        (["train", "--plot", "nowhere/loss.png"], "loss.png: No such file or directory"),
        (["train", "--out", "nowhere/model"], "model: No such file or directory"),
        (["train", "--out", "."], "error: .: is a folder"),
        (["train", "--out", ""], "argument --out: '' is not the name of a file"),
        (["train", "--checkpoint", "-"], "argument --checkpoint: '-' is not the name of a file;"),
        (["train", "-", "--epochs", "2"], "'-' is not the name of a file; the standard input"),
        (["predict", "m", ""], "argument DATA: '' is not the name of a file"),
        (["train", "table.csv", "--missing", "\udcff"], "missing has '\\udcff'; it should"),
        (["train", "table.csv", "--delimiter", "\udcff"], "delimiter is '\\udcff'; it should"),
        (["train", "table.csv", "--encoding", "\udcff"], "encoding is '\\udcff'; it should"),
        (["train", "--out", "m", "--plot", "./m.png/../m"], "the suffix must be .png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line_before_training(called, table, tmp_path, args, words):
    before = sorted(tmp_path.iterdir())
    done = called(*args)
    assert_error(done, words)
    assert not done.stdout
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("args, words", [(["fly"], "'fly'"), (["train", "t.csv"], "no data row")])
def test_an_error_of_a_process_is_one_line(fastbp_run, tmp_path, args, words):
    (tmp_path / "t.csv").write_text("a,y\n")
    assert_error(fastbp_run(*args), words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "t.csv: is empty"),
        ("\0", "neither a CSV file in UTF-8 nor an NPZ, Parquet or JSON file"),
        ("PK\x03\x04", "is not an NPZ file that can be read"),
        ("a,y\n", "no data row"),
        ("a,y\n1,0\n1\n", "line 3 has 1 cell, the header has 2"),
        ("a,y\n1,0\n2,1\n3,0\nx,1\n", "column 'a': 'x' is not a number (--missing=x if th"),
        ("a,y\n1,0\ninf,1\n", "column 'a': the value is inf"),
        ("a,y\n1,0\n2,0\n", "target 'y' holds '0' alone"),
        ("a,y\n1,\n2,\n", "target 'y': no row has a value"),
        ("a,y\n1,0\n2,1\n", "no class has two rows"),
        ("a,y\n1,0\n1,0\n1,1\n1,1\n", "no column is left to learn from: a: left out: constant"),
        ("a,y\n1e308,0\n-1e308,0\n1e308,1\n-1e308,1\n9e307,1\n9e307,0\n",
         "column 'a': the values are too large"),
    ],
)
def test_bad_tables_are_one_line(called, tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    assert_error(called("train", "t.csv"), words)


@pytest.mark.parametrize(
    ("package", "args", "words"),
    [
        ("safetensors", ["train", "--out", "m.safetensors"], "pip install 'fastbp[io]'"),
        ("matplotlib", ["train", "--plot", "loss.png"], "pip install 'fastbp[plot]'"),
        ("matplotlib", ["bench", "--plot", "stem"], "pip install 'fastbp[plot]'"),
    ],
)
def test_missing_extra_is_named_before_it_is_needed(fastbp_run, tmp_path, package, args, words):
    done = fastbp_run(*args, env=without(tmp_path, package))
    assert_error(done, words)
    assert not done.stdout


@pytest.mark.parametrize("blocked", [False, True], ids=["rich", "no_rich"])
def test_terminal(fastbp_run, tmp_path, blocked):
    env = {**(without(tmp_path, "rich") if blocked else ENV), "TERM": "xterm"}
    leader, follower = new_terminal()
    shown = []
    reader = threading.Thread(target=lambda: shown.extend(read_terminal(leader)))
    reader.start()
    done = fastbp_run("train", "--epochs", 20, env=env, stderr=follower)
    os.close(follower)
    reader.join()
    shown = b"".join(shown).decode()
    assert done.returncode == 0 and "held-out accuracy" in done.stdout
    assert "20/20" in shown and "loss" in shown
    assert ("\x1b[" in shown) != blocked  # cursor movements: the bar


def test_saved_model(called, table, tmp_path):
    tensors_of = safetensors.numpy.load_file
    path = tmp_path / "model.safetensors"
    done = called("train", table, "--target", "sick", "--hidden", "5,4", "--out", path)
    assert done.returncode == 0, done.stderr
    model, tensors = load_model(path), tensors_of(path)
    assert tuple(model.net.layer_sizes) == (2, 5, 4, 1)
    assert model.classes == ("no", "yes") and model.target_name == "sick"
    assert model.feature_names == model.columns == ("a", "b")
    for i, (W, b) in enumerate(zip(model.net.weights, model.net.biases, strict=True)):
        assert W.dtype == np.float32 and W.tobytes() == tensors[f"weights.{i}"].tobytes()
        assert b.dtype == np.float32 and b.tobytes() == tensors[f"biases.{i}"].tobytes()
    assert model.forward([[2.0, 2.0]]) > 0.5 > model.forward([[-2.0, -2.0]])

    save_model(tmp_path / "again", model)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_seed_decides_every_byte(fastbp_run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fastbp_run("train", "--epochs", 3, "--seed", seed, "--out", name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_plot(called, tmp_path):
    done = called("train", "--epochs", 3, "--plot", "loss.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@needs_own_ctrl_c
def test_interrupt_reports_and_saves(tmp_path):
    process = subprocess.Popen(
        [*MODULE, "train", "--epochs", "100000000", "--out", "model"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENV,
        # a test run in the background of a shell hands down an ignored signal
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr.readline().startswith("epoch")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"fastbp: interrupted after \d+ of 100000000 epochs\n", stderr)
    assert "held-out accuracy" in stdout
    assert load_model(tmp_path / "model").classes == ("benign", "malignant")


def test_reader_that_leaves(tmp_path):
    process = subprocess.Popen(
        [*MODULE, "train", "--epochs", "3", "--out", "model"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENV,
    )
    process.stdout.close()
    stderr = process.stderr.read()
    assert process.wait(timeout=60) == 141
    assert all(line.startswith("epoch") for line in stderr.splitlines())
    load_model(tmp_path / "model")


@pytest.mark.skipif(os.name == "nt" or not Path("/dev/full").exists(),
                    reason="needs a device that is always full")
@pytest.mark.parametrize("args", [[], ["info"], ["--help"], ["--version"]])
def test_full_disk(fastbp_run, args):
    with open("/dev/full", "w") as full:
        done = fastbp_run(*args, stdout=full)
    assert_error(done, "No space left on device")
