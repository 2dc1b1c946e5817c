"""Forecasts in shards are those of one pass, whoever computes them, and what is done is not done again."""

import json
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import tsforge
from tsforge.cli import main as program
from tsforge.errors import (
    ArgumentError,
    ArtifactError,
    CalibrationError,
    LeakError,
    OutputExistsError,
    PackageError,
    WorkerError,
)
from tsforge.estimators.run import open_run
from tsforge.estimators.shards import contract, crew, engines, worker
from tsforge.estimators.shards.backtest import forecasts_in_shards
from tsforge.estimators.shards.contract import Shard, divide
from tsforge.estimators.shards.crew import Crew, Died
from tsforge.estimators.shards.folder import WorkFolder
from tsforge.estimators.shards.frames import StoredFrame, digest_of, write_frame
from tsforge.estimators.shards.predict import predict_in_shards
from tsforge.estimators.shards.worker import Worker, words_of
from tsforge.evaluation.backtest import cutoffs_of

H = 3


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Several shards of few windows."""
    monkeypatch.setattr(contract, "FEWEST", 5)
    monkeypatch.setattr("tsforge.estimators.shards.predict.FEWEST", 5)


def table(series: int = 12, rows: int = 60, seed: int = 0) -> pl.DataFrame:
    """Random walks with a season of 4; every fifth series begins late."""
    rng, parts = np.random.default_rng(seed), []
    for k in range(series):
        y = rng.normal(size=rows).cumsum() + np.tile([0, 3, 1, -2], rows // 4 + 1)[:rows] + 10 * k
        late = 36 if k % 5 == 4 else 0
        parts.append(pl.DataFrame({"unique_id": f"s{k:02d}", "ds": np.arange(rows), "y": y})[late:])
    return pl.concat(parts)


def dlinear(**changes: Any) -> Any:
    return tsforge.DLinear(**{"h": H, "input_size": 8, "max_steps": 3, "accelerator": "cpu", "val_size": 9} | changes)


def models() -> list[Any]:
    return [dlinear(loss="quantile"), tsforge.SeasonalNaive(h=H, season=4), tsforge.Theta(h=H, season=4)]


def unfitted(self: Any, *_: Any, **__: Any) -> None:
    raise RuntimeError("it was fitted")


ASKED: dict[str, Any] = {"n_windows": 3, "refit": 2, "freq": "1i", "season": 4}


@pytest.fixture
def jobs(monkeypatch):
    """The keys of the shards that are computed."""
    keys, local = [], engines.ENGINES["local"]

    def watched(folder, given, workers):
        keys.extend(job["key"] for job in given)
        yield from local(folder, given, workers)

    monkeypatch.setitem(engines.ENGINES, "local", watched)
    return keys


# the same numbers


def test_shards_give_the_table_of_one_pass_and_the_same_bits_for_any_number_of_workers(tmp_path, jobs):
    asked = ASKED | {"quantiles": [0.1, 0.9]}
    some = [dlinear(loss="quantile"), tsforge.Theta(h=H, season=4, val_size=0.5)]
    plain = tsforge.backtest(some, table(), **asked)
    alone = tsforge.backtest(some, table(), engine="local", workers=1, folder=tmp_path / "work", **asked)
    together = tsforge.backtest(some, table(), engine="local", workers=2, **asked)
    assert len(jobs) > 16
    assert_frame_equal(alone, plain, rel_tol=1e-5)
    assert_frame_equal(alone.select(pl.col("^Theta.*$")), plain.select(pl.col("^Theta.*$")), check_exact=True)
    assert together.equals(alone)
    made_by = {json.loads(line)["by"] for line in (tmp_path / "work" / "manifest.jsonl").read_text().splitlines()}
    assert made_by == {worker.whoami()}


def shaped(kind: str) -> tuple[Any, dict[str, Any], Any]:
    """A table, its roles and a model that reads them."""
    base = table().with_columns(
        z=pl.col("y") * 2 + 1, x=pl.col("ds").cast(pl.Float64).sin(),
        kind=pl.col("unique_id").str.slice(1).cast(pl.Int64)
    )
    times = base.with_columns(ds=datetime(2020, 1, 1) + pl.col("ds") * timedelta(hours=1))
    small = {"h": H, "input_size": 8, "max_steps": 2, "accelerator": "cpu"}
    timesnet = tsforge.TimesNet(**small, d_model=4, d_ff=4, top_k=2, num_kernels=2)
    whole = base.filter(pl.col("ds") >= 50).select("unique_id", "ds", "y")
    return {
        "two targets": (base, {"targets": ["y", "z"], "freq": "1i"}, dlinear()),
        "covariates": (base, {"targets": "y", "past": "z", "future": "x", "freq": "1i"}, timesnet),
        "pandas": (times.select("unique_id", "ds", "y").rename({"unique_id": "shop", "ds": "when"}).to_pandas(),
                   {"id_col": "shop", "time_col": "when"}, tsforge.Drift(h=H)),
        "numbered": (base.select(unique_id="kind", ds="ds", y="y"), {"freq": "1i"}, tsforge.Drift(h=H)),
        "one series": (times.filter(unique_id="s00").select("ds", "y"), {}, tsforge.Drift(h=H)),
        "channels": (whole, {"channels_from": "unique_id", "freq": "1i"}, tsforge.Drift(h=H)),
        "ensemble": (base, {"targets": "y", "freq": "1i"},
                     tsforge.Ensemble(models=[tsforge.Naive(h=H), tsforge.Drift(h=H)])),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["two targets", "covariates", "pandas", "numbered", "one series", "channels", "ensemble"]
)
def test_a_frame_of_any_roles_comes_back_as_it_does_from_one_pass(kind):
    given, roles, model = shaped(kind)
    plain = tsforge.backtest(model, given, n_windows=2, **roles)
    shards = tsforge.backtest(model, given, n_windows=2, engine="local", workers=1, **roles)
    assert type(shards) is type(plain)
    assert_frame_equal(pl.DataFrame(shards), pl.DataFrame(plain), rel_tol=1e-5)


def test_static_columns_that_a_source_offers_go_along(tmp_path):
    given = table().with_columns(size=pl.col("unique_id").str.slice(1).cast(pl.Float64))
    frame = tsforge.Frame(given, targets="y", static=["size"], freq="1i").offering()
    write_frame(frame, tmp_path)
    kept = StoredFrame(tmp_path).of(2, 5)
    assert (kept.offered, kept.ids.to_list()) == (True, ["s02", "s03", "s04"])
    assert kept.static is not None
    assert kept.static.equals(frame.static[2:5])
    plain = tsforge.backtest(dlinear(), frame, n_windows=2)
    assert_frame_equal(tsforge.backtest(dlinear(), frame, n_windows=2, engine="local", workers=1), plain, rel_tol=1e-5)


def test_fitted_models_are_scored_as_they_are_and_never_on_what_they_have_seen():
    early = table().filter(pl.col("ds") < 50)
    fitted = dlinear().fit(early, freq="1i", season=4)
    asked = {"n_windows": 2, "fit": False, "freq": "1i", "season": 4}
    shards = tsforge.backtest(fitted, table(), engine="local", workers=1, **asked)
    assert_frame_equal(shards, tsforge.backtest(fitted, table(), **asked), rel_tol=1e-5)
    with pytest.raises(LeakError, match="was fitted on series 's00'"):
        tsforge.backtest(fitted, table(), engine="local", **asked | {"n_windows": 6})


# how work is divided


def test_every_cutoff_is_in_one_shard_and_shards_stand_in_the_order_of_the_forecasts():
    cutoffs = cutoffs_of(tsforge.Frame(table(), freq="1i"), H, 9, 2)
    ids = cutoffs["unique_id"].unique().sort()
    for size in (1, 4, 5, 9, 40, 1000):
        found = []
        for (low, high), (first, last) in divide(cutoffs, ids, ids[:6], size):
            mine = pl.col("unique_id").is_in(ids[low:high].implode()) & pl.col("window").is_between(first, last - 1)
            found.append(cutoffs.filter(mine))
            assert high - low == 1 or (first, last) == (0, 9)
        assert pl.concat(found).equals(cutoffs.sort("unique_id", "cutoff"))


def test_the_windows_of_a_series_that_is_new_to_the_model_stay_together_for_else_its_numbers_change(tmp_path):
    frame = tsforge.Frame(table(), freq="1i", season=4)
    model = dlinear().fit(frame.rows(pl.col("unique_id") != "s00").up_to(pl.DataFrame({"cutoff": [40]})))
    cutoffs = cutoffs_of(frame, H, 12, 1).filter(unique_id="s00")
    plain = model.predict_at(frame, cutoffs.drop("window"))
    known = model.trained_until()["unique_id"]
    assert [windows for _, windows in divide(cutoffs, frame.ids, known, 5)] == [(0, 12)]
    apart = [model.predict_at(frame, cutoffs.filter(pl.col("window").is_between(low, high - 1)).drop("window"))
             for _, (low, high) in divide(cutoffs, frame.ids, frame.ids, 5)]
    assert len(apart) == 3
    with pytest.raises(AssertionError):
        assert_frame_equal(pl.concat(apart), plain, rel_tol=1e-5)


# what is done stays done


def test_a_folder_that_is_finished_is_read_and_nothing_is_computed(tmp_path, jobs, monkeypatch):
    first = tsforge.backtest(models(), table(), engine="local", workers=1, folder=tmp_path / "work", **ASKED)
    jobs.clear()
    monkeypatch.setattr(tsforge.DLinear, "fit", unfitted)
    again = tsforge.backtest(models(), table(), engine="ray", folder=tmp_path / "work", **ASKED)
    assert again.equals(first)
    assert jobs == []
    with pytest.raises(RuntimeError, match="it was fitted"):  # the control: elsewhere it would fit
        tsforge.backtest(models(), table(), engine="local", workers=1, **ASKED)


def torn(work: Path, key: str) -> None:
    manifest = work / "manifest.jsonl"
    lines = [line for line in manifest.read_bytes().splitlines(keepends=True) if key.encode() not in line]
    manifest.write_bytes(b"".join(lines) + b'{"shard": "' + key.encode() + b'", "ro')


def changed(work: Path, key: str) -> None:
    part = work / "parts" / f"{key}.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def gone(work: Path, key: str) -> None:
    (work / "parts" / f"{key}.parquet").unlink()


def foreign(work: Path, key: str) -> None:
    lines = [json.loads(line) for line in (work / "manifest.jsonl").read_text().splitlines()]
    told = [line | ({"plan": "of another"} if line["shard"] == key else {}) for line in lines]
    (work / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))


@pytest.mark.parametrize("damage", [torn, changed, gone, foreign], ids=lambda damage: damage.__name__)
def test_a_part_that_is_not_whole_is_computed_again_to_the_same_bytes_and_no_other(tmp_path, jobs, damage):
    work, key = tmp_path / "work", "01-0000-00001"
    asked = ASKED | {"engine": "local", "workers": 1, "folder": work}
    first = tsforge.backtest(models(), table(), **asked)
    assert key in jobs
    before = (work / "parts" / f"{key}.parquet").read_bytes()
    (work / "parts" / ".x.parquet.0.part").write_bytes(b"of a killed writer")
    jobs.clear()
    damage(work, key)
    assert tsforge.backtest(models(), table(), **asked).equals(first)
    assert jobs == [key]
    assert (work / "parts" / f"{key}.parquet").read_bytes() == before
    assert not list((work / "parts").glob(".*"))
    jobs.clear()
    assert tsforge.backtest(models(), table(), **asked).equals(first)
    assert jobs == []


def test_an_artifact_that_was_cut_is_fitted_again_and_the_others_are_not(tmp_path, caplog):
    asked = ASKED | {"engine": "local", "workers": 1, "folder": tmp_path / "work"}
    first = tsforge.backtest(models(), table(), **asked)
    weights = tmp_path / "work" / "models" / "00-0001" / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-8])
    caplog.set_level("INFO", "tsforge")
    caplog.clear()  # an earlier test may have left the level there
    assert tsforge.backtest(models(), table(), **asked).equals(first)
    assert [text for text in caplog.messages if ": fit " in text] == ["DLinear: fit 2 ..."]
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"level": [50]}, "level"), ({"refit": False}, "refit"), ({"n_windows": 2}, "cutoffs"), ({"season": 2}, "roles")],
)
def test_parts_of_other_forecasts_are_refused_and_it_says_what_differs(tmp_path, changes, named):
    asked = ASKED | {"engine": "local", "workers": 1, "folder": tmp_path / "work"}
    drift = tsforge.Drift(h=H)
    tsforge.backtest(drift, table(), **asked)
    before = (tmp_path / "work" / "plan.json").read_bytes()
    with pytest.raises(ArtifactError, match=rf"parts of other forecasts \(they differ in .*{named}"):
        tsforge.backtest(drift, table(), **asked | changes)
    for other in (table(seed=1), table().with_columns(pl.col("unique_id") + "x")):
        with pytest.raises(ArtifactError, match="they differ in frame"):
            tsforge.backtest(drift, other, **asked)
    with pytest.raises(ArtifactError, match="they differ in models"):
        tsforge.backtest(tsforge.Drift(h=H, val_size=0.2), table(), **asked)
    assert (tmp_path / "work" / "plan.json").read_bytes() == before


def test_other_parts_are_thrown_away_where_that_is_asked_for_and_other_files_never(tmp_path):
    frame = tsforge.Frame(table(), freq="1i")
    cutoffs, work = cutoffs_of(frame, H, 2, H), WorkFolder(tmp_path / "work")
    asked = {"engine": "local", "workers": 1, "overwrite": True}
    forecasts_in_shards([tsforge.Drift(h=H)], frame, cutoffs, work, **asked)
    made = forecasts_in_shards([tsforge.Mean(h=H)], frame, cutoffs, work, **asked)
    assert made.columns == ["unique_id", "ds", "cutoff", "Mean", "y"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="holds other files"):
        forecasts_in_shards([tsforge.Drift(h=H)], frame, cutoffs, WorkFolder(tmp_path / "mine"), **asked)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_digest_sees_every_value_and_no_chunks():
    first = table()
    assert digest_of(pl.concat([first[:100], first[100:]], rechunk=False)) == digest_of(first)
    y, name = first["y"].to_list(), first["unique_id"].to_list()
    changes = {"y": [*y[:-1], None], "unique_id": ["s0", *name[1:]], "ds": [-1, *first["ds"].to_list()[1:]]}
    digests = [digest_of(first.with_columns(pl.Series(column, values))) for column, values in changes.items()]
    digests += [digest_of(first.rename({"y": "z"})), digest_of(first.cast({"y": pl.Float32})), digest_of(first)]
    assert len(set(digests)) == 6


# workers


class Fake:
    """A worker that dies at some jobs."""

    def __init__(self, deaths: list[str]) -> None:
        self.deaths, self.dead = deaths, False

    def wait(self, over: Any) -> bool:
        return not over.is_set()

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        assert not self.dead, "a dead worker was asked"
        if job["key"] in self.deaths:
            self.deaths.remove(job["key"])
            self.dead = True
            raise Died("exit code -9")
        return job

    def kill(self) -> None:
        self.dead = True

    def end(self) -> None:
        assert self.dead


@pytest.mark.parametrize("workers", [1, 3])
def test_the_shard_of_a_worker_that_dies_goes_to_another_and_none_is_lost_or_done_twice(workers):
    keys = [f"{k}" for k in range(9)]
    deaths, made = ["0", "4", "8"], []
    answers = [a["key"] for a in Crew([{"key": k} for k in keys], lambda: made.append(Fake(deaths)) or made[-1],
                                      workers).run()]
    assert sorted(answers) == keys
    assert len(made) >= 4 if workers == 1 else len(made) >= 3
    assert all(hand.dead for hand in made)


def test_two_deaths_at_one_shard_are_an_error_that_says_what_stays():
    crew_ = Crew([{"key": k} for k in "abc"], lambda: Fake(["b", "b"]), 1)
    deaths = ["b", "b"]
    crew_.employ = lambda: Fake(deaths)
    with pytest.raises(WorkerError, match=r"Two workers ended in the middle of shard b \(exit code -9\)"):
        list(crew_.run())


def test_a_worker_that_cannot_be_made_is_an_error_and_no_wait():
    def refused() -> crew.Hand:
        raise OSError("no more processes")

    with pytest.raises(OSError, match="no more processes"):
        list(Crew([{"key": "a"}], refused, 2).run())


def test_a_worker_opens_a_model_once_for_all_shards_of_it(tmp_path, monkeypatch):
    work, opened = tmp_path / "work", []
    tsforge.backtest(models(), table(), engine="local", workers=1, folder=work, **ASKED)
    monkeypatch.setattr(worker, "open_run", lambda path: opened.append(path.name) or open_run(path))
    doer = Worker(str(work))
    for group in ("00-0000", "00-0001", "02-0000"):
        for k in range(3):
            doer.forecasts(Shard(f"{group}-{k}", f"models/{group}", (k, k + 1), (0, 2)))
    assert opened == ["00-0000", "00-0001", "02-0000"]


def test_the_error_of_a_shard_comes_as_what_it_is(tmp_path):
    for workers in (1, 2):
        with pytest.raises(CalibrationError, match="level=50 needs calibration windows"):
            tsforge.backtest(tsforge.Drift(h=H, val_size=None), table(), engine="local", workers=workers, level=[50],
                             freq="1i", n_windows=2)
    WorkFolder(tmp_path / "work").begin({"what": "nothing"})
    told = Worker(str(tmp_path / "work")).answer(words_of(Shard("k", "models/none", (0, 1), (0, 1))))
    assert told["error"] == "ArtifactError"


WRONG = [
    ({"engine": "dask"}, ArgumentError, "engine='dask': wanted 'local' or 'ray'"),
    ({"workers": 2}, ArgumentError, "workers= belongs to forecasts in shards"),
    ({"folder": "here"}, ArgumentError, "folder= belongs to forecasts in shards"),
    ({"engine": "local", "workers": 0}, ArgumentError, "workers=0"),
    ({"engine": "ray"}, PackageError, r"pip install 'tsforge\[ray\]'"),
]


@pytest.mark.parametrize(("given", "kind", "words"), WRONG)
def test_what_cannot_work_is_said_before_anything_is_fitted(given, kind, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    monkeypatch.setattr(tsforge.Drift, "fit", unfitted)
    with pytest.raises(kind, match=words):
        tsforge.backtest(tsforge.Drift(h=H), table(), freq="1i", **given)


# predict


@pytest.mark.parametrize("kind", ["deep", "streaming", "local", "ensemble"])
@pytest.mark.parametrize("new", [False, True], ids=["after training", "after new data"])
def test_predict_in_shards_is_predict(tmp_path, kind, new):
    small = {"h": H, "input_size": 8, "max_steps": 2, "accelerator": "cpu"}
    model: Any = {
        "deep": dlinear(), "streaming": tsforge.S4D(**small, d_model=4, d_state=4, streaming=True),
        "local": tsforge.Theta(h=H, season=4),
        "ensemble": tsforge.Ensemble(models=[tsforge.Naive(h=H), tsforge.Drift(h=H)]),
    }[kind]
    run = model.fit(table(), freq="1i", season=4).save(tmp_path / "run")
    data = table(seed=1) if new else None
    made = predict_in_shards(run, data, WorkFolder(tmp_path / "work"), "local", 1, h=2)
    assert len(WorkFolder(tmp_path / "work").lines()) == 3
    assert_frame_equal(made, open_run(run).predict(data, h=2), rel_tol=1e-5)


def test_predict_in_shards_reads_covariates_known_ahead(tmp_path):
    given = table().with_columns(x=pl.col("ds").cast(pl.Float64).sin())
    model = tsforge.TimesNet(h=H, input_size=8, max_steps=2, accelerator="cpu", d_model=4, d_ff=4, top_k=2)
    model.fit(given, future="x", freq="1i", targets="y")
    run = model.save(tmp_path / "run")
    ahead = given.select("unique_id").unique(maintain_order=True).join(
        pl.DataFrame({"ds": range(60, 60 + H), "x": [0.5, 1.5, -2.0]}), how="cross"
    )
    work = WorkFolder(tmp_path / "work")
    made = predict_in_shards(run, None, work, "local", 1, future=ahead)
    assert_frame_equal(made, model.predict(future=ahead), rel_tol=1e-5)
    with pytest.raises(ArtifactError, match="they differ in future"):
        predict_in_shards(run, None, work, "local", 1, future=ahead.with_columns(x=pl.col("x") + 1))


# the command line


@pytest.fixture
def tsforge_says(monkeypatch, capsys, tmp_path):
    """Runs the command line in an empty folder: exit code and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tsforge", *words])
        with pytest.raises(SystemExit) as end:
            program.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return run


def test_the_command_goes_on_in_out_partial_which_is_gone_when_out_is_there(tsforge_says, jobs, monkeypatch):
    table().write_parquet("x.parquet")
    words = ["backtest", "x.parquet", "--model", "drift", "--h", "3", "--windows", "3", "--season", "4", "-q"]
    words.append("--refit")
    assert tsforge_says(*words, "--out", "plain") == (0, "")
    shards, done = [*words, "--engine", "local", "--workers", "1", "--out", "bt"], engines.ENGINES["local"]

    def killed(folder, given, workers):
        for number, answer in enumerate(done(folder, given, workers)):
            if number == 4:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setitem(engines.ENGINES, "local", killed)
    code, err = tsforge_says(*shards)
    assert (code, err) == (130, "interrupted. What is done is in bt.partial; go on with the same command.\n")
    assert not Path("bt").exists()
    assert len(WorkFolder("bt.partial").lines()) == 4
    monkeypatch.setitem(engines.ENGINES, "local", done)
    many = len(jobs)
    jobs.clear()
    assert tsforge_says(*shards) == (0, "")
    assert len(jobs) == many - 4
    assert not Path("bt.partial").exists()
    assert {path.name for path in Path("bt").iterdir()} == {path.name for path in Path("plain").iterdir()}
    assert pl.read_parquet("bt/forecasts.parquet").equals(pl.read_parquet("plain/forecasts.parquet"))
    code, err = tsforge_says(*words, "--workers", "2")
    assert code == 2
    assert "workers= belongs to forecasts in shards" in err


def test_predict_on_the_command_line_takes_the_same_engines(tsforge_says):
    table().write_parquet("x.parquet")
    tsforge.Theta(h=H, season=4).fit(table(), freq="1i", season=4).save("run")
    words = ["predict", "run", "--data", "x.parquet", "--level", "50", "-q"]
    assert tsforge_says(*words, "--out", "plain.parquet") == (0, "")
    shards = [*words, "--engine", "local", "--workers", "1", "--out", "f.parquet"]
    shutil.copytree("run", "f.parquet.partial")  # not of these forecasts
    code, err = tsforge_says(*shards)
    assert code == 2
    assert "holds other files" in err
    shutil.rmtree("f.parquet.partial")
    assert tsforge_says(*shards) == (0, "")
    assert pl.read_parquet("f.parquet").equals(pl.read_parquet("plain.parquet"))
    assert not Path("f.parquet.partial").exists()
