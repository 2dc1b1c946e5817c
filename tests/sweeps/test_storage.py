"""A journal survives what kills its writers, and an address that cannot be is refused with what to use."""

import threading

import optuna
import pytest

from tsforge.errors import ArgumentError, DataNotFoundError, WorkerError
from tsforge.sweeps.proposal import quiet
from tsforge.sweeps.storage import cut_torn_line, hidden, open_storage


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"torn", b""), (b"a\n" + b"x" * 200_000, b"a\n")],
    ids=["empty", "whole", "torn", "torn only", "long"],
)
def test_a_torn_line_is_cut_off_and_whole_ones_stay(tmp_path, content, kept):
    path = tmp_path / "journal"
    path.write_bytes(content)
    cut_torn_line(path)
    assert path.read_bytes() == kept


def test_a_journal_whose_writer_died_in_the_middle_of_a_line_goes_on(tmp_path):
    path = tmp_path / "sweep.journal"
    with quiet():
        study = optuna.create_study(storage=open_storage(path), study_name="s")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
        with path.open("ab") as file:
            file.write(b'{"op_code":4,"worker')
        plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        with pytest.raises((ValueError, AttributeError)):  # what optuna's own does of it
            optuna.load_study(storage=plain, study_name="s").optimize(lambda trial: 0.0, n_trials=2)
    path.write_bytes(path.read_bytes().rpartition(b'{"op_code":4,"worker')[0] + b'{"op_code":4,"worker')
    with quiet():
        again = optuna.load_study(storage=open_storage(path), study_name="s")
        again.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        assert len(optuna.load_study(storage=open_storage(path), study_name="s").trials) == 5


def test_many_writers_lose_no_line(tmp_path):
    path = tmp_path / "sweep.journal"
    with quiet():
        optuna.create_study(storage=open_storage(path), study_name="s")

        def write():
            study = optuna.load_study(storage=open_storage(path), study_name="s")
            study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(optuna.load_study(storage=open_storage(path), study_name="s").trials) == 20


def test_sqlite_is_for_one_worker_and_says_what_to_use(tmp_path):
    address = f"sqlite:///{tmp_path}/s.db"
    with pytest.raises(ArgumentError, match=r"sqlite is for one worker.*--storage sweep.journal.*postgresql://"):
        open_storage(address, shared=True)
    with quiet():
        study = optuna.create_study(storage=open_storage(address))
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)


@pytest.mark.parametrize(
    ("given", "words"),
    [("redis://here", "no such kind"), ("grpc://nowhere", "wanted grpc://host:port"), ("grpc://host:x", "wanted grpc")],
)
def test_an_address_of_no_storage_is_refused(given, words):
    with pytest.raises(ArgumentError, match=words):
        open_storage(given)


def test_what_is_to_be_there_and_is_not_is_said(tmp_path):
    with pytest.raises(DataNotFoundError, match="no journal at"):
        open_storage(tmp_path / "none.journal", exists=True)
    with pytest.raises(ArgumentError, match="is a folder"):
        open_storage(tmp_path)
    (tmp_path / "text").write_text("some words\nmore\n")
    with pytest.raises(ArgumentError, match="is no journal of a sweep"):
        open_storage(tmp_path / "text")


def test_a_database_that_does_not_answer_is_said_without_its_password():
    with pytest.raises(WorkerError, match=r"//user:\*\*\*@127.0.0.1:1/none: the database does not answer") as raised:
        open_storage("postgresql://user:secret@127.0.0.1:1/none")
    assert "secret" not in str(raised.value)
    assert hidden("mysql://a:b:c@h/d") == "mysql://a:***@h/d"
    assert hidden("sweep.journal") == "sweep.journal"
