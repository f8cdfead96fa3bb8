"""`MLP.fit(checkpoint=)`: stopped at any moment, a fit ends in the bits of one that never was."""

import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
from populations import samples

from fastbp import MLP, SGD, Adam, _checkpoint, io

SIZES = (3, 6, 1)
X, Y = samples(50, 3, 1, "float32")
HELD_OUT = samples(20, 3, 1, "float32", seed=1)
GENERATORS = (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64,
              np.random.MT19937)
RULES = {"adam": lambda: Adam(0.2), "momentum": lambda: SGD(0.5, momentum=0.9),
         "sgd": lambda: SGD(0.5)}


@pytest.fixture
def after_every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(_checkpoint, "SHARE_OF_WRITING", np.inf)


def fit(path, rule=RULES["adam"], generator=np.random.PCG64, stop=None, dtype="float32", epochs=8,
        **options):
    """A fit of a network that is always made anew; after so many epochs of its own it fails."""
    net, optimizer, epochs_made = MLP(SIZES, seed=1, dtype=dtype), rule(), []

    def callback(epoch, loss, validation_loss):
        if len(epochs_made) == stop:        # what came before is in the file
            raise ZeroDivisionError
        epochs_made.append(epoch)

    history = net.fit(X, Y, optimizer, epochs=epochs, rng=generator(5), callback=callback,
                      checkpoint=path, **options)
    return net, optimizer, history, epochs_made


def assert_same(found, expected):
    (net, optimizer, history, _), (other, other_optimizer, other_history, _) = found, expected
    assert net.params.tobytes() == other.params.tobytes()
    for one, two in zip(history, other_history, strict=True):
        np.testing.assert_array_equal(one, two)
    ours, theirs = optimizer.state_dict(), other_optimizer.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.usefixtures("after_every_epoch")
@pytest.mark.parametrize("options", [
    {}, {"validation": HELD_OUT}, {"validation": HELD_OUT, "patience": 2},
    {"max_norm": 0.05}, {"shuffle": False, "l2": 0.1, "schedule": lambda epoch: 0.3 / (epoch + 1)}],
    ids=lambda options: "-".join(options) or "training")
@pytest.mark.parametrize("rule", RULES)
def test_resumed_after_every_epoch(isa, dtype, rule, options, tmp_path):
    given = {"rule": RULES[rule], "dtype": dtype, **options}
    expected = fit(None, **given)
    for stop in (1, 3):
        path, made = tmp_path / f"{stop}.checkpoint", 0
        while made < 50:
            try:
                found = fit(path, stop=stop, **given)
                break
            except ZeroDivisionError:
                made += stop
        assert made < 50 and (made > 0 or stop > 1)
        assert_same(found, expected)


@pytest.mark.usefixtures("after_every_epoch")
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_goes_on(generator, tmp_path):
    path, expected = tmp_path / "it", fit(None, generator=generator)
    with pytest.raises(ZeroDivisionError):
        fit(path, generator=generator, stop=4)
    assert_same(fit(path, generator=generator), expected)


def test_a_fit_that_has_ended(tmp_path):
    """Is not trained again, and goes on where more epochs are wished."""
    path = tmp_path / "it"
    for epochs in (3, 8):
        expected = fit(None, epochs=epochs, validation=HELD_OUT)
        for made in (epochs if epochs == 3 else 5, 0):
            found = fit(path, epochs=epochs, validation=HELD_OUT)
            assert_same(found, expected)
            assert len(found[3]) == made


def test_a_callback_ends_it_for_good(tmp_path):
    path, calls = tmp_path / "it", []
    for _ in range(2):
        history = MLP(SIZES, seed=1).fit(X, Y, epochs=9, checkpoint=path, rng=1,
                                         callback=lambda *epoch: calls.append(epoch) or True)
        assert history.n_epochs == 1
    assert len(calls) == 1


def test_it_is_written_at_the_end_and_about_once_a_second(tmp_path, monkeypatch):
    times, now, write = [], [0.0], _checkpoint.Checkpoint.save
    monkeypatch.setattr(_checkpoint.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(_checkpoint.Checkpoint, "save",
                        lambda *given: times.append(now[0]) or write(*given))

    def callback(epoch, *losses):
        now[0] += 0.25

    MLP(SIZES, seed=1).fit(X, Y, epochs=10, checkpoint=tmp_path / "it", callback=callback)
    assert times == [1.0, 2.0, 2.5]


PROGRAM = """
import os, random, select, signal, sys, time
import numpy as np
from fastbp import MLP, Adam, _checkpoint
_checkpoint.SECONDS, _checkpoint.SHARE_OF_WRITING = 0.0, float("inf")
X = np.random.default_rng(0).normal(size=(4000, 8))
y = (X[:, 0] > X[:, 1]).astype(float)
path, random = sys.argv[1], random.Random(1)

def start(path):
    "A process that fits, and the end of a pipe where its parameters arrive."
    there, here = os.pipe()
    process = os.fork()
    if not process:
        net = MLP((8, 16, 1), seed=0)
        net.fit(X, y, Adam(0.01), epochs=600, rng=0, validation=(X[:500], y[:500]), checkpoint=path)
        os.write(here, net.params.tobytes())
        os._exit(0)
    os.close(here)
    return process, open(there, "rb")

def end(process, pipe):
    "What it found, once it has ended; nothing, if it was killed."
    with pipe:
        found = pipe.read()
    os.waitpid(process, 0)
    return found

def file():
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None

expected, killed, after_writing = end(*start(None)), 0, 0
for kills in range(60):
    before, (process, pipe) = file(), start(path)
    while kills % 2 == 0 and file() == before:      # so that the fit goes on
        if select.select([pipe], [], [], 0.0005)[0]:
            break                                   # it has ended
    after_writing += file() != before
    time.sleep(0.02 * random.random())
    os.kill(process, signal.SIGKILL)
    killed += not end(process, pipe)
found = end(*start(path))
print(killed, after_writing, len(found), found == expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process can be forked there")
def test_kill_9_in_a_loop(tmp_path):
    """Fits are killed at random moments, often just after a write; the last one runs to its end."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "it"], text=True,
                           capture_output=True)
    assert ended.returncode == 0, ended.stderr
    killed, after_writing, size, same = ended.stdout.split()
    assert int(killed) >= 10 and int(after_writing) >= 10
    assert int(size) == 4 * (8 * 16 + 16 + 16 + 1) and same == "True"


# ---- files that do not fit


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "it"
    fit(path, validation=HELD_OUT)
    return path.read_bytes()


def refused(path, **options):
    """The message of the refusal, which changes nothing."""
    net, optimizer = MLP(SIZES, seed=1), Adam(0.2)
    before = net.params.copy()
    with pytest.raises(ValueError) as caught:
        net.fit(**{"X": X, "y": Y, "optimizer": optimizer, "epochs": 8,
                   "rng": np.random.PCG64(5), "checkpoint": path, "validation": HELD_OUT,
                   **options})
    np.testing.assert_array_equal(net.params, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("changed, words", [
    ({"max_norm": 0.5}, "max_norm was None, it is 0.5"),
    ({"batch_size": 16}, "batch_size was 32, it is 16"), ({"l2": 0.5}, "l2 was 0.0, it is 0.5"),
    ({"validation": None}, "X of the validation was given, it is None; y of the validation was"),
    ({"shuffle": False}, "shuffle was True"), ({"optimizer": SGD(1)}, "optimizer was Adam(lr=0.2"),
    ({"rows": np.arange(49)}, "fit: rows had the shape (50,), it has (49,); give the same arg"),
    ({"rows": np.arange(50)[::-1]}, "fit: rows has other values; give the same arguments, or ano"),
    ({"sample_weight": np.ones(50)}, "fit: sample_weight was None, it is given; give the same"),
    ({"X": X + 1, "y": 1 - Y}, "fit: X has other values; y has other values; give the same"),
    ({"X": X[:40], "y": Y[:40]}, "X had the shape (50, 3), it has (40, 3); y had the shape (50"),
    ({"patience": 3}, "patience was None, it is 3"),
    ({"rng": np.random.Philox(0)}, "rng began otherwise"), ({"rng": 6}, "rng began otherwise")])
def test_another_fit(changed, words, content, tmp_path):
    path = tmp_path / "it"
    path.write_bytes(content)
    message = refused(path, **changed)
    assert words in message and str(path) in message


def test_another_seed_of_the_network(content, tmp_path):
    """A loop over seeds with one path would have got the same network each time."""
    path = tmp_path / "it"
    path.write_bytes(content)
    net = MLP(SIZES, seed=2)
    with pytest.raises(ValueError, match="is of another fit: the network began with other "
                       "parameters; give the same seeds, or another path$"):
        net.fit(X, Y, Adam(0.2), epochs=8, rng=np.random.PCG64(5), checkpoint=path,
                validation=HELD_OUT)


@pytest.mark.parametrize("max_norm", [None, np.inf])
def test_a_limit_that_is_none(max_norm, content, tmp_path):
    """Infinity clips nothing, as None does."""
    path = tmp_path / "it"
    path.write_bytes(content)
    assert_same(fit(path, validation=HELD_OUT, max_norm=max_norm), fit(None, validation=HELD_OUT))


def test_the_same_network_goes_on(tmp_path):
    """In the process where the fit was stopped, without being made again."""
    path, net, rng = tmp_path / "it", MLP(SIZES, seed=1), np.random.PCG64(5)
    expected = fit(None, validation=HELD_OUT)
    for epochs in (5, 8):
        net.fit(X, Y, Adam(0.2), epochs=epochs, rng=rng, checkpoint=path, validation=HELD_OUT)
    assert net.params.tobytes() == expected[0].params.tobytes()


def test_a_refusal_leaves_optimizer_and_generator(content, tmp_path):
    def of_another_size(tensors, rest):
        tensors.update({"optimizer.m": np.zeros(5, np.float32)})

    path, optimizer, rng = tmp_path / "it", Adam(0.2), np.random.PCG64(5)
    for change in (of_another_size, lambda tensors, rest: rest.update(generator=3)):
        path.write_bytes(rewritten(content, change))
        with pytest.raises(ValueError, match="cannot be used"):
            MLP(SIZES, seed=1).fit(X, Y, optimizer, epochs=8, rng=rng, checkpoint=path,
                                   validation=HELD_OUT)
        assert optimizer.t == 0 and rng.state == np.random.PCG64(5).state


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/null", ""):
        with pytest.raises(OSError):
            fit(path)
    for path in (3, 1.5):
        with pytest.raises(TypeError, match="checkpoint is of type"):
            fit(path)


def test_truncated_swapped_and_oversized(content, tmp_path):
    path = tmp_path / "it"
    io.save_model(path, MLP(SIZES, seed=0))
    assert "of another kind" in refused(path)
    for n in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n])
        assert "cannot be used" in refused(path)
    for wrong in (content + b"\0", (2**62).to_bytes(8, "little") + content[8:], b"\0" * 10**6,
                  content[:8] + b"[" * (len(content) - 8)):
        path.write_bytes(wrong)
        assert "cannot be used" in refused(path)


def rewritten(content, change):
    """The file with its tensors, and what is beside them, changed."""
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8:8 + size])["__metadata__"]
    tensors, rest = safetensors.numpy.load(content), json.loads(metadata["rest"])
    change(tensors, rest)
    metadata["rest"] = json.dumps(rest)
    metadata["digest"] = _checkpoint.content_digest(tensors, metadata)
    return safetensors.numpy.save(tensors, metadata)


@pytest.mark.parametrize("change", [
    lambda tensors, rest: rest.update(n_epochs=10**18),
    lambda tensors, rest: rest.update(n_epochs=-1), lambda tensors, rest: rest.update(waited=-1),
    lambda tensors, rest: rest.update(best_epoch="x"), lambda tensors, rest: rest.pop("least"),
    lambda tensors, rest: rest.update(least="x"), lambda tensors, rest: rest.update(optimizer=3),
    lambda tensors, rest: rest["optimizer"].update(t=-1),
    lambda tensors, rest: rest["optimizer"].update(lr="x"),
    lambda tensors, rest: rest["optimizer"].pop("eps"),
    lambda tensors, rest: rest.update(generator=None),
    lambda tensors, rest: rest["generator"]["state"].update(state=-1),
    lambda tensors, rest: rest["generator"].update(bit_generator="MT19937"),
    lambda tensors, rest: tensors.pop("params"), lambda tensors, rest: tensors.pop("best"),
    lambda tensors, rest: tensors.update(params=np.zeros(3, np.float32)),
    lambda tensors, rest: tensors.update(losses=np.zeros((8, 1))),
    lambda tensors, rest: tensors.update({"optimizer.m": np.zeros(5, np.float32)}),
    lambda tensors, rest: tensors.update({f"optimizer.{name}": np.zeros(5, np.float32)
                                          for name in "mv"}),
    lambda tensors, rest: tensors.pop("optimizer.v")])
def test_lies(change, content, tmp_path):
    path = tmp_path / "it"
    path.write_bytes(rewritten(content, change))
    assert "cannot be used" in refused(path)


@pytest.mark.parametrize("generator, where, value", [
    (np.random.Philox, "buffer_pos", 10**6), (np.random.Philox, "buffer_pos", -1),
    (np.random.MT19937, "pos", 10**6), (np.random.MT19937, "pos", -5)])
def test_a_generator_past_its_numbers(generator, where, value, tmp_path):
    """NumPy would read beyond an array."""
    path = tmp_path / "it"
    fit(path, generator=generator, validation=HELD_OUT)

    def change(tensors, rest):
        of = rest["generator"] if where in rest["generator"] else rest["generator"]["state"]
        of[where] = value

    path.write_bytes(rewritten(path.read_bytes(), change))
    assert "the state of the generator" in refused(path, rng=generator(5))


def test_bytes_at_random(content, tmp_path):
    """One byte changed: the file is refused, unless it says the same."""
    path, draws = tmp_path / "it", random.Random(0)
    expected, kept = fit(None, validation=HELD_OUT), 0
    for _ in range(300):
        wrong = bytearray(content)
        wrong[draws.randrange(len(wrong))] ^= 1 + draws.randrange(255)
        path.write_bytes(wrong)
        try:
            found = fit(path, validation=HELD_OUT)
        except ValueError as error:
            assert "checkpoint" in str(error) and "\n" not in str(error)
        else:
            assert_same(found, expected)
            kept += 1
    assert kept < 10


def test_a_file_that_cannot_be_written(tmp_path):
    start = time.monotonic()
    with pytest.raises(OSError, match="nowhere"):
        fit(tmp_path / "nowhere" / "it", epochs=10**9)
    assert time.monotonic() - start < 10


def test_without_safetensors(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"fastbp\[io\]"):
        fit(tmp_path / "it")
