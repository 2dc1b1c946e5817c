"""Trials are claimed once, given up when their worker dies, and never counted twice."""

import os
import subprocess
import sys
import threading
import time

import optuna
import pytest
from optuna.trial import TrialState

from tsforge.sweeps import identity
from tsforge.sweeps.identity import Watch, myself
from tsforge.sweeps.ledger import CRASHED, DEAD, REASON, WORKER, Ledger, study_of
from tsforge.sweeps.proposal import INDEX, Proposer, quiet
from tsforge.sweeps.settings import read_space
from tsforge.sweeps.storage import open_storage

SPACE = read_space({"kernel_size": [7, 13, 25, 49], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
                   {"model": {"name": "dlinear", "h": 4}})


def proposer(**changes) -> Proposer:
    return Proposer(SPACE, **{"minimise": True, "seed": 0, "sampler": "random", "pruner": None} | changes)


@pytest.fixture
def ledger(tmp_path):
    return opened(tmp_path)


def opened(folder, grace=120.0):
    storage = open_storage(folder / "sweep.journal")
    return Ledger(storage, study_of(storage, "s", True), grace)


def taken(ledger, count, **changes):
    """Claims of so many trials, none of them ended."""
    return [ledger.claim(proposer(**changes), 10) for _ in range(count)]


@pytest.fixture
def gone():
    """Who a process was that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who = myself() | {"pid": process.pid, "started": identity._started(process.pid)}
    process.kill()
    process.wait()
    process.stdin.close()
    return who


def test_each_trial_is_claimed_once_and_then_none_is_left(ledger):
    claims = [ledger.claim(proposer(), 3) for _ in range(4)]
    assert [claim and claim.index for claim in claims] == [0, 1, 2, None]
    assert claims[0].trial.user_attrs[WORKER]["pid"] == os.getpid()


def test_many_workers_at_once_hold_different_trials(tmp_path):
    claims, barrier = [], threading.Barrier(4)

    def work():
        mine = opened(tmp_path)
        barrier.wait()
        for _ in range(5):
            claims.append(mine.claim(proposer(), 20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.index for claim in claims) == list(range(20))


def test_of_two_records_of_one_trial_the_earlier_holds_it(tmp_path, monkeypatch):
    first, second = opened(tmp_path), opened(tmp_path)
    real = second.standing
    stale = real()  # what the second has seen before the first one claims
    one = first.claim(proposer(), 1)
    looks = iter([stale])
    monkeypatch.setattr(second, "standing", lambda: next(looks, None) or real())
    assert second.claim(proposer(), 1) is None
    assert first.standing().running[0]._trial_id == one.id
    assert [trial.user_attrs[DEAD] for trial in first.standing().hidden[0]] == [True]


def test_a_trial_of_a_living_worker_is_left_to_it(ledger):
    [claim] = taken(ledger, 1)
    ledger.reap()
    assert ledger.standing().running[0]._trial_id == claim.id


def test_a_trial_whose_worker_died_is_taken_up_with_its_parameters(ledger, gone):
    [claim] = taken(ledger, 1, seed=5)
    ledger.storage.set_trial_user_attr(claim.id, WORKER, gone)
    ledger.reap()
    assert ledger.standing().running == {}
    again = ledger.claim(proposer(seed=99), 10)
    assert again.index == 0
    assert again.trial.params == claim.trial.params
    assert again.trial.user_attrs["attempt"] == 1
    assert ledger.claim(proposer(seed=99), 10).trial.params != claim.trial.params


def test_a_process_with_the_pid_of_a_dead_one_is_not_taken_for_it(ledger):
    [claim] = taken(ledger, 1)
    ledger.storage.set_trial_user_attr(claim.id, WORKER, myself() | {"started": "1"})
    ledger.reap()
    assert ledger.standing().running == {}


def test_a_child_that_ended_and_was_not_asked_how_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    who = myself() | {"pid": process.pid, "started": identity._started(process.pid)}
    while True:
        if Watch(60).dead(0, who, 0):
            break
        time.sleep(0.01)
    process.wait()


def test_a_worker_of_another_machine_is_dead_when_its_heart_stands_still_and_only_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(identity.time, "monotonic", lambda: now[0])
    watch, other = Watch(60.0), {"host": "elsewhere", "pid": os.getpid(), "started": "1"}
    assert not watch.dead(0, other, 0)
    now[0] = 59.0
    assert not watch.dead(0, other, 0)
    assert not watch.dead(0, other, 1), "it beat"
    now[0] = 118.0
    assert not watch.dead(0, other, 1)
    now[0] = 120.0
    assert watch.dead(0, other, 1)


def test_a_heart_beats_while_a_trial_is_done(ledger):
    [claim] = taken(ledger, 1)
    with ledger.beating(claim, pulse=0.01):
        deadline = time.monotonic() + 10
        while ledger.standing().running[0].user_attrs["beat"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_a_worker_that_was_given_up_brings_does_not_count(ledger):
    [claim] = taken(ledger, 1)
    ledger.give_up(claim.id)
    assert not ledger.finish(claim, TrialState.COMPLETE, 0.5)
    assert ledger.standing().done == {}
    again = ledger.claim(proposer(), 10)
    assert ledger.finish(again, TrialState.COMPLETE, 0.25)
    assert [trial.value for trial in ledger.standing().complete()] == [0.25]


def test_a_trial_whose_process_crashes_again_and_again_fails_and_the_others_go_on(ledger, gone):
    for _ in range(3):
        claim = ledger.claim(proposer(), 2)
        assert claim.index == 0
        ledger.storage.set_trial_user_attr(claim.id, WORKER, gone)
        ledger.reap(crashed=[gone["pid"]])
    assert ledger.claim(proposer(), 2).index == 1
    assert "its process ended 3 times" in ledger.standing().done[0].user_attrs[REASON]


def test_kills_from_outside_are_no_crashes_however_many(ledger, gone):
    for _ in range(5):
        claim = ledger.claim(proposer(), 2)
        assert claim.index == 0
        ledger.storage.set_trial_user_attr(claim.id, WORKER, gone)
        ledger.reap()
    assert not any(CRASHED in trial.user_attrs for trial in ledger.standing().hidden[0])


def test_records_of_others_in_the_study_are_left_alone(ledger):
    with quiet():
        ledger.study.add_trial(optuna.trial.create_trial(value=1.0))
        ledger.study.enqueue_trial({})
    assert ledger.claim(proposer(), 1).index == 0
    assert ledger.standing().complete() == []


def test_dead_records_change_no_proposal(tmp_path, gone):
    values = [0.3, 0.1, 0.4, 0.15, 0.9, 0.2, 0.6, 0.5, 0.35, 0.8]

    def proposals(folder, kills):
        mine, found = opened(folder), []
        for value in values:
            for _ in range(kills):
                dead = mine.claim(proposer(sampler={"name": "tpe", "n_startup_trials": 3}), 10)
                mine.storage.set_trial_user_attr(dead.id, WORKER, gone)
                mine.reap()
            claim = mine.claim(proposer(sampler={"name": "tpe", "n_startup_trials": 3}), 10)
            mine.finish(claim, TrialState.COMPLETE, value)
            found.append((claim.trial.user_attrs[INDEX], claim.trial.params))
        return found

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert proposals(tmp_path / "a", 0) == proposals(tmp_path / "b", 1)
