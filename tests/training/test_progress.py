"""What someone who waits is told: steps, speed, time left and losses, in one line of a terminal."""

import io

import pytest
import torch

from tsforge.training import progress
from tsforge.training.arguments import TrainArguments


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def trained(clock: Clock, *, first: int = 0, steps: int = 100, stop: int | None = None) -> None:
    """A training of 10 steps a second that validates at every 25th step."""
    arguments = TrainArguments(max_steps=steps, batch_size=4)
    with progress.watching(arguments, 40, verbose=True) as watcher:
        for step in range(first + 1, (stop or steps) + 1):
            clock.now += 0.1
            watcher.step(step, torch.tensor(0.123456))
            if step % 25 == 0:
                watcher.validation({"step": step, "loss": 1234.5678, "val_loss": 0.000123456, "learning_rate": 1e-3})


def test_lines_tell_steps_speed_time_left_and_losses(clock, capsys):
    trained(clock)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "step 25/100  10.0 steps/s  0:07 left  loss 1235  val 0.0001235"
    assert lines[-1] == "step 100/100  10.0 steps/s  0:00 left  loss 1235  val 0.0001235"


def test_a_resumed_training_counts_its_own_steps_in_its_speed(clock, capsys):
    trained(clock, first=60)
    assert capsys.readouterr().err.splitlines()[-1].startswith("step 100/100  10.0 steps/s")


def test_the_last_validation_is_told_also_where_training_stops_early(clock, capsys):
    trained(clock, steps=1_000_000, stop=25)
    assert capsys.readouterr().err.splitlines()[-1].startswith("step 25/1000000  10.0 steps/s  27:46:37 left")


def test_nobody_is_told_anything_unless_asked(capsys):
    with progress.watching(TrainArguments(), 40, verbose=False) as watcher:
        assert watcher is None
    assert capsys.readouterr() == ("", "")


def test_the_bar_keeps_within_eighty_columns(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # so that rich writes the last state alone, and no control codes
    trained(clock, steps=100_000, stop=99_950)
    lines = terminal.getvalue().splitlines()
    last = next(line for line in reversed(lines) if line.strip())
    for word in ("99950/100000", "10.0 steps/s", "left", "loss 1.23e+03", "val 0.000123"):
        assert word in last
    assert max(map(len, lines)) <= 80
