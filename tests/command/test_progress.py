"""What is shown of a long run: one line of a terminal, the time left once it is known."""

import re
import subprocess
import sys

import pytest
from terminals import lines_on_terminal

from fastbp import _progress

SHOWN = """
import sys, time
from fastbp import _progress
_progress.SECONDS = 0.0
total, last = int(sys.argv[1]), int(sys.argv[2])
with _progress.progress(sys.argv[3], total) as show:
    for done in range(1, last + 1):
        show(done, ["loss 0.123", "validation 0.456"], lambda: ("accuracy 0.789",))
        time.sleep(0.15)    # rich draws ten times a second
"""
PARTS = ["loss 0.123", "validation 0.456", "accuracy 0.789"]
CONTROL = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


def frames(width, total=200, last=3, what="epoch", **environment):
    """What a terminal shows, change after change."""
    env = {"PATH": "", "TERM": "xterm", "PYTHONPATH": ":".join(sys.path), **environment}
    code, lines = lines_on_terminal(
        [sys.executable, "-c", SHOWN, str(total), str(last), what], width, "stderr", env=env)
    assert code == 0
    found = [CONTROL.sub("", part).rstrip() for line in lines for part in line.split("\r")]
    return [frame for frame in found if frame]


@pytest.mark.parametrize("no_color", [{}, {"NO_COLOR": "1"}], ids=["color", "no_color"])
@pytest.mark.parametrize(("width", "n_parts"), [(200, 3), (80, 3), (40, 1), (20, 0)])
def test_one_line_of_a_terminal(width, n_parts, no_color):
    """It has the parts that fit, and keeps those of the losses when the run ends early."""
    *others, last = frames(width, **no_color)
    assert all(len(frame) <= width and frame.startswith("epoch ") for frame in (*others, last))
    assert any(frame.endswith(", ".join(PARTS[3 - n_parts:])) for frame in others)
    assert last.startswith("epoch   3/200") and "accuracy" not in last
    assert ("validation 0.456" in last) == (width >= 40)


def test_the_bar_is_wide_enough_to_be_read():
    for width, least in ((40, 6), (80, 8), (200, 40)):
        assert any(frame.count("━") + frame.count("╸") + frame.count("╺") >= least
                   for frame in frames(width))


def test_the_caption_of_folds_leaves_room():
    assert any(frame.endswith(", ".join(PARTS)) for frame in frames(80, what="fold 2/3, epoch"))


def test_a_whole_run_ends_with_all_that_is_known():
    assert frames(80, total=3)[-1].endswith(", ".join(PARTS))


@pytest.mark.parametrize("parts", [PARTS, ["a" * 50, "b"], ["a", "b" * 50]])
@pytest.mark.parametrize("room", [0, 1, 15, 30, 50, 100])
def test_parts_that_fit(parts, room):
    found = _progress._fitting(parts, room)
    assert len(found) <= room
    kept = found.split(", ") if found else []
    assert kept == [part for part in parts if part in kept]
    for part in set(parts) - set(kept):     # nothing after it could be left out to make room
        after = [each for each in kept if parts.index(each) > parts.index(part)]
        assert len(", ".join([part, *after])) > room


# ---- lines, and the time left


@pytest.fixture
def clock(monkeypatch):
    """A list whose last number is the time."""
    times = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: times[-1])
    return times


@pytest.mark.parametrize(("may_end_early", "mark"), [(False, ""), (True, "≤ ")])
def test_the_time_left(clock, capsys, may_end_early, mark):
    """The first epoch, which may have taken long, does not count; too short a time says nothing."""
    with _progress.progress("epoch", 10, may_end_early) as show:
        for done, time in enumerate([30.0, 30.2, 30.4, 33.0, 34.0, 35.0, 36.0, 37.0, 38.0, 39.0],
                                    start=1):
            clock.append(time)
            show(done, ["loss 1"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [f"epoch {done:>2}/10  loss 1" for done in (1, 2, 3)]
    assert lines[3:5] == [f"epoch  4/10  loss 1, {mark}6 s left",
                          f"epoch  5/10  loss 1, {mark}5 s left"]
    assert lines[-1] == "epoch 10/10  loss 1"


def test_a_run_that_goes_on_from_a_checkpoint(clock, capsys):
    """Its epochs before take no time now."""
    with _progress.progress("epoch", 100) as show:
        for done, time in ((81, 10.0), (90, 19.0)):
            clock.append(time)
            show(done, [])
    assert capsys.readouterr().err.splitlines()[-1] == "epoch  90/100  10 s left"


def test_a_run_of_a_fraction_of_a_second_says_nothing_of_seconds(tmp_path):
    done = subprocess.run([sys.executable, "-m", "fastbp", "train", "--epochs", "3"],
                          capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "3/3  loss" in done.stderr and "left" not in done.stderr
