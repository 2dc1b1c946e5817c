"""A terminal shows a line for each worker and the best so far; elsewhere lines follow one another."""

import io
import sys

import pytest
from optuna.trial import TrialState, create_trial

from tsforge.sweeps.ledger import Standing
from tsforge.sweeps.progress import Shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def standing():
    running = {n: create_trial(state=TrialState.RUNNING, user_attrs={"worker": {"pid": 40 + n}}) for n in (1, 2)}
    return Standing(done={0: create_trial(value=1.0)}, running=running)


def shown_on(stream, monkeypatch, standing):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with Shown(lambda trial: {"model.d_model": 8}, 4) as shown:
        shown.say("trial 0 [red]: mse 1")
        shown.update(standing, "best 1 of trial 0")
        return stream.getvalue()


def test_on_a_terminal_each_worker_has_a_line_and_what_was_said_stays(monkeypatch, standing):
    told = shown_on(Terminal(), monkeypatch, standing)
    assert "trial 0 [red]: mse 1\n" in told
    assert "worker 41: trial 1 0 s; d_model=8" in told
    assert "worker 42: trial 2" in told
    assert "1 of 4 trials, best 1 of trial 0" in told


def test_elsewhere_only_what_is_said_is_there(monkeypatch, standing):
    assert shown_on(io.StringIO(), monkeypatch, standing) == "trial 0 [red]: mse 1\n"
