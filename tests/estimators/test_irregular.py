"""On irregular rows a forecast is h grid steps after the last row seen, and is judged by the nearest observations."""

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.data.splits import Parts
from tsforge.data.store import build_store
from tsforge.errors import FrameError, LeakError, RecipeError, TsforgeError
from tsforge.estimators.backtests import Backtest, write_backtest
from tsforge.estimators.comparison import compared
from tsforge.estimators.division import divide
from tsforge.estimators.outputs import cutoff_rows, last_rows, truth_of
from tsforge.estimators.reporting import report_run
from tsforge.estimators.run import open_run, run_recipe
from tsforge.evaluation.backtest import cutoffs_of
from tsforge.frame.frame import Frame
from tsforge.training.recipe import SplitPart, read_recipe

H, GRID = 3, 10
IRREGULAR = {"freq": "irregular", "grid": f"{GRID}i", "season": 1}


def series(name, stamps, seed: int = 0) -> pl.DataFrame:
    rng, stamps = np.random.default_rng(seed), np.asarray(stamps)
    y = np.sin(stamps / 40) + 0.1 * rng.normal(size=len(stamps))
    z = np.where(rng.random(len(stamps)) < 0.3, np.nan, np.cos(stamps / 40))
    return pl.DataFrame({"unique_id": name, "ds": stamps, "y": y, "z": z})


def uneven(**lengths: int) -> pl.DataFrame:
    """Rows closer than a step, further apart, and a hole of ten steps in the middle."""
    parts = []
    for seed, (name, n) in enumerate((lengths or {"a": 110, "b": 90}).items()):
        gaps = np.random.default_rng(seed).integers(1, 15, size=n)
        gaps[n // 2] = 10 * GRID
        parts.append(series(name, np.cumsum(gaps), seed))
    return pl.concat(parts)


def frame_of(table: pl.DataFrame) -> Frame:
    return Frame(table, targets=["y", "z"], **IRREGULAR)


def multifit(**changes):
    given = {"h": H, "input_size": 6, "hidden": 4, "d_model": 2, "max_steps": 3, "accelerator": "cpu", "val_size": 12}
    return tsforge.MultiFIT(**given | changes)


def nearest(table: pl.DataFrame, name: str, wanted: int, column: str) -> float | None:
    """The observation of a series nearest to a time, if it lies within half a step; the earlier of two."""
    own = table.filter(unique_id=name)
    apart = [(abs(ds - wanted), ds) for ds in own["ds"]]
    best, at = min(apart)
    value = own.filter(ds=at)[0, column]
    return value if best <= GRID / 2 and value is not None and value == value else None


def truths(forecasts: pl.DataFrame, table: pl.DataFrame) -> list[float | None]:
    return [nearest(table, *row) for row in forecasts.select("unique_id", "ds", "target").iter_rows()]


# --- cutoffs and the truth, by hand ----------------------------------------------------------------------------------


def hours() -> Frame:
    day = datetime(2024, 1, 1)
    minutes = [0, 70, 135, 150, 185, 260, 420]
    table = pl.DataFrame({"ds": [day + timedelta(minutes=m) for m in minutes], "y": np.arange(7.0)})
    return Frame(table, freq="irregular", grid="1h", season=1)


def test_the_truth_is_the_nearest_observation_within_half_a_step():
    store = build_store(hours(), ahead=4)
    series, rows = np.zeros(3, dtype=int), np.array([0, 1, 5])
    # from 0: 60 -> 70, 120 -> 135, 180 -> 185, 240 -> 260; from 70: 130 -> 135, 190 -> 185, 250 -> 260, 310 is 50 off;
    # from 260: 320, 380 -> 420 is 40 off, 440 -> 420, 500
    wanted = [[1, 2, 4, 5], [2, 4, 5, np.nan], [np.nan, np.nan, 6, np.nan]]
    assert np.array_equal(truth_of(store, series, rows, 4)[..., 0], wanted, equal_nan=True)


@pytest.mark.parametrize(("asked", "row"), [
    (-1, None), (0, 0), (69.99, 0), (70, 1), (134, 1), (150, 3), (419.99, 5), (420, 6), (479, 6), (480, None),
])
def test_a_cutoff_is_the_last_row_at_or_before_it(asked, row):
    cutoffs = pl.DataFrame({"unique_id": ["series"], "cutoff": [datetime(2024, 1, 1) + timedelta(minutes=asked)]})
    _, rows = cutoff_rows(build_store(hours(), ahead=2), cutoffs)
    assert rows.tolist() == ([] if row is None else [row])


def test_cutoffs_between_which_there_is_no_row_are_one():
    frame = hours()
    stamps = [datetime(2024, 1, 1) + timedelta(minutes=m) for m in (300, 265, 150, 260)]
    asked = pl.DataFrame({"unique_id": ["series"] * 4, "cutoff": stamps})
    assert cutoff_rows(build_store(frame), asked)[1].tolist() == [3, 5]
    # the last hour but one to four: 360, 300, 240, 180, of which the first two follow 260
    found = cutoffs_of(frame, h=1, n_windows=4, step_size=1)
    assert [(stamp.hour, window) for stamp, window in found.select("cutoff", "window").iter_rows()] == [
        (3, 0), (4, 1), (5, 2)]


# --- backtests -------------------------------------------------------------------------------------------------------


def by_hand(table: pl.DataFrame, cutoffs: list[int], refit: bool) -> pl.DataFrame:
    """Every window by itself: fitted on the rows up to its cutoff, or the first, asked after the rows it may see."""
    parts, fitted = [], None
    for cutoff in cutoffs:
        seen = frame_of(table.filter(pl.col("ds") <= cutoff))
        if refit or fitted is None:
            fitted = multifit().fit(seen)
        goes_on = table.filter(pl.col("ds") > cutoff).select("unique_id").unique()
        last = seen.table.join(goes_on, on="unique_id").group_by("unique_id").agg(cutoff=pl.col("ds").max())
        parts.append(fitted.predict(seen, level=[50]).join(last, on="unique_id", how="inner", maintain_order="left"))
    return pl.concat(parts).sort("unique_id", "cutoff", maintain_order=True)


@pytest.mark.parametrize("refit", [False, True])
def test_a_backtest_is_that_of_a_loop_over_windows(refit):
    table = uneven()
    end = table["ds"].max()
    wanted = by_hand(table, [end - GRID * (H + 7 * k) for k in (2, 1, 0)], refit)
    found = tsforge.backtest(multifit(), frame_of(table), n_windows=3, step_size=7, refit=refit, level=[50])
    found = found.sort("unique_id", "cutoff", maintain_order=True)
    assert found.select("unique_id", "cutoff").n_unique() == 3 + 1  # one of the series ends before the second cutoff
    for key in ("unique_id", "ds", "target", "cutoff"):
        assert found[key].equals(wanted[key])
    for column in ("MultiFIT", "MultiFIT-lo-50", "MultiFIT-hi-50"):
        np.testing.assert_allclose(found[column], wanted[column], rtol=1e-4, atol=1e-5)
    assert found["y"].to_list() == truths(found, table)
    assert 0 < found["y"].null_count() < len(found)
    off = found.filter(~pl.struct("unique_id", "ds").is_in(table.select(pl.struct("unique_id", "ds")).to_series()))
    assert off["y"].is_not_null().any()  # the truth of a step at which there is no row


@pytest.mark.parametrize("align", ["time", "end"])
def test_no_forecast_looks_at_what_comes_after_its_cutoff(align):
    table = uneven()
    given = {"n_windows": 2, "step_size": 6, "level": [50], "align": align}
    first = tsforge.backtest(multifit(), frame_of(table), **given)
    cutoff = first.group_by("unique_id").agg(cut=pl.col("cutoff").min())
    later = (pl.col("ds") > pl.col("cut")).fill_null(False)
    marked = table.join(cutoff, on="unique_id", how="left", maintain_order="left")

    def changed(where: pl.Expr) -> pl.DataFrame:
        other = marked.with_columns(pl.when(where).then(pl.col(c) * -5 + 3).otherwise(c).alias(c) for c in ("y", "z"))
        found = tsforge.backtest(multifit(), frame_of(other.drop("cut")), **given)
        return found.join(cutoff, on="unique_id").filter(pl.col("cutoff") == pl.col("cut")).drop("cut")

    kept = first.join(cutoff, on="unique_id").filter(pl.col("cutoff") == pl.col("cut")).drop("cut")
    assert changed(later).drop("y").equals(kept.drop("y"))
    assert not changed(~later).drop("y").equals(kept.drop("y"))  # the control


def without_calibration(table: pl.DataFrame, model) -> pl.DataFrame:
    """The forecast of a fit on the table, but with other values in the last 6 steps, which calibrate; asked early."""
    end = pl.col("ds") > pl.col("ds").max().over("unique_id") - 6 * GRID
    other = table.with_columns(pl.when(end).then(pl.col(c) * 100 + 50).otherwise(c).alias(c) for c in ("y", "z"))
    cutoffs = pl.DataFrame({"unique_id": ["a", "b"], "cutoff": [300, 300]})
    return model.fit(frame_of(other)).predict_at(frame_of(table), cutoffs, level=[50])


def test_rows_that_calibrate_train_nothing_and_choose_no_weights(monkeypatch):
    table, cutoffs = uneven(), pl.DataFrame({"unique_id": ["a", "b"], "cutoff": [300, 300]})
    plain = multifit(max_steps=20).fit(frame_of(table)).predict_at(frame_of(table), cutoffs, level=[50])
    other = without_calibration(table, multifit(max_steps=20))
    assert other["MultiFIT"].equals(plain["MultiFIT"])
    assert not other["MultiFIT-lo-50"].equals(plain["MultiFIT-lo-50"])
    monkeypatch.setattr(Parts, "after_cutoffs", lambda self, ends, h: np.minimum(ends + 12, self.end - 1))  # planted
    planted = multifit(max_steps=20).fit(frame_of(table)).predict_at(frame_of(table), cutoffs)
    assert not without_calibration(table, multifit(max_steps=20))["MultiFIT"].equals(planted["MultiFIT"])


def test_a_finished_run_is_not_scored_on_rows_it_was_fitted_on():
    table = uneven(a=80)
    model = multifit().fit(frame_of(table.filter(pl.col("ds") <= 400)))
    until = model.trained_until()[0, "ds"]
    with pytest.raises(LeakError, match=f"fitted on series 'a' up to {until}"):
        tsforge.backtest(model, frame_of(table), n_windows=30, step_size=1, fit=False)
    fair = tsforge.backtest(model, frame_of(table.filter(pl.col("ds") <= 470)), n_windows=2, step_size=1, fit=False)
    assert fair["cutoff"].min() >= until


def test_a_series_is_forecast_alike_alone_and_in_company():
    table = uneven(a=60, b=90, c=40)
    model = multifit().fit(frame_of(table))
    asked = pl.DataFrame({"unique_id": ["a", "b", "c", "b"], "cutoff": [301, 277, 203, 160]})
    together = model.predict_at(frame_of(table), asked)
    for name in "abc":
        alone = model.predict_at(frame_of(table.filter(unique_id=name)), asked.filter(unique_id=name))
        mine = together.filter(unique_id=name)
        np.testing.assert_allclose(alone["MultiFIT"], mine["MultiFIT"], rtol=1e-5, atol=1e-6)
        assert alone.drop("MultiFIT").equals(mine.drop("MultiFIT"))


def test_cross_validation_goes_on_from_the_last_row_before_a_cutoff():
    table = uneven(a=110)
    found = multifit().cross_validation(table, n_windows=2, targets=["y", "z"], **IRREGULAR)
    assert found.equals(tsforge.backtest(multifit(), frame_of(table), n_windows=2))
    end = table["ds"].max()
    rows = table.filter(pl.col("ds") <= end - GRID * H).group_by("unique_id").agg(pl.col("ds").max())
    assert found.group_by("unique_id").agg(ds=pl.col("cutoff").max()).sort("ds").equals(rows.sort("ds"))


# --- scores and intervals --------------------------------------------------------------------------------------------


def test_score_is_that_of_the_nearest_observations_after_the_fitted_rows():
    table = uneven()
    past = frame_of(table.filter(pl.col("ds") <= 300))
    model = multifit(val_size=0).fit(past)
    forecast = model.predict()
    y = np.array(truths(forecast, table), dtype=float)
    scaling = model.fitted_.preparation.targets
    scale = {(name, target): scaling.scale[i, k] for i, name in enumerate("ab") for k, target in enumerate("yz")}
    widths = np.array([scale[key] for key in forecast.select("unique_id", "target").iter_rows()])
    errors = ((forecast["MultiFIT"].to_numpy() - y) / widths) ** 2
    assert model.score(frame_of(table)) == pytest.approx(-np.nanmean(errors), rel=1e-5)
    assert 0 < np.isnan(y).sum() < len(y)
    early = {name: table.filter(unique_id=name)["ds"].to_list() for name in "ab"}
    starts = {name: sum(ds <= 300 for ds in stamps) for name, stamps in early.items()}
    by_rows = [table.filter(unique_id=name)[starts[name] + k, target] for name in "ab" for target in "yz"
               for k in range(H)]
    assert not np.array_equal(np.array(by_rows, dtype=float), y, equal_nan=True)  # the control: rows are not steps


def test_intervals_are_calibrated_on_the_nearest_observations():
    table = uneven(a=150)
    model = multifit(val_size=24).fit(frame_of(table))
    stamps = table["ds"].to_numpy()
    stop = max(ds for ds in stamps if ds <= stamps[-1] - 12 * GRID)
    cutoffs = [ds for ds in stamps if ds >= stop and ds + H * GRID <= stamps[-1]]
    windows = model.predict_at(frame_of(table), pl.DataFrame({"unique_id": ["a"] * len(cutoffs), "cutoff": cutoffs}))
    y = np.array(truths(windows, table), dtype=float)
    errors = np.abs(windows["MultiFIT"].to_numpy() - y).reshape(len(cutoffs), 2, H)
    assert windows["cutoff"].n_unique() == len(cutoffs)
    forecast = model.predict(level=[50])
    half = (forecast["MultiFIT-hi-50"] - forecast["MultiFIT"]).to_numpy().reshape(2, H)
    for channel in range(2):
        for k in range(H):
            own = np.sort(errors[~np.isnan(errors[:, channel, k]), channel, k])
            rank = int(np.ceil(0.5 * (len(own) + 1)))
            assert half[channel, k] == pytest.approx(own[rank - 1], rel=1e-4)


# --- rows that lie on the grid are those of a regular frame ----------------------------------------------------------


def on_the_grid() -> tuple[Frame, Frame]:
    table = pl.concat([series("a", GRID * np.arange(70)), series("b", GRID * np.arange(55), seed=1)])
    return Frame(table, targets=["y", "z"], freq=f"{GRID}i", season=1), frame_of(table)


@pytest.mark.parametrize("given", [
    {"n_windows": 3, "step_size": 5, "refit": True, "level": [50]}, {"n_windows": 4, "step_size": 1, "align": "end"},
], ids=["refitted", "by end"])
def test_on_the_grid_backtests_are_those_of_a_regular_frame(given):
    regular, irregular = (tsforge.backtest(multifit(), frame, **given) for frame in on_the_grid())
    assert regular.equals(irregular)


def test_on_the_grid_scores_and_intervals_are_those_of_a_regular_frame():
    found = []
    for frame in on_the_grid():
        model = multifit().fit(frame.rows(pl.col("ds") < 450))
        found.append((model.score(frame), model.predict(level=[50]).to_dicts(), model.history_))
    assert found[0] == found[1]


def test_on_the_grid_a_run_is_adapted_as_on_a_regular_frame():
    found = []
    for frame in on_the_grid():
        model = multifit().fit(frame.rows(pl.col("ds") < 300))
        adapted = tsforge.adapt(model, "full", frame, max_steps=2)
        found.append((adapted.predict(frame, level=[50]).to_dicts(), adapted.history_))
    assert found[0] == found[1]


def test_splits_by_time_train_and_score_on_irregular_rows():
    table = uneven()
    splitter = tsforge.WindowSplit(h=H, n_windows=2, **IRREGULAR, targets=["y", "z"])
    for train, test in splitter.split(table):
        frame = frame_of(table[test])
        model = multifit().fit(frame_of(table[train]))
        after = model.predict()
        y = np.array(truths(after, table[test]), dtype=float)
        assert np.isfinite(y).any()
        assert np.isfinite(model.score(frame))
        assert table[train]["ds"].max() < table[test]["ds"].max()


SPLITS = [{"test": 12}, {"test": 12, "windows": 3}, {"test": 12, "windows": 2, "step": 4}, {"test": 9, "step": 2},
          {"cutoff": 405}, {"cutoff": 405, "windows": 2}, {"cutoff": 530, "step": 3}, {"test": 60}]


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_on_the_grid_the_test_part_is_that_of_a_regular_frame(split):
    regular, irregular = (divide(frame, SplitPart(**split), H) for frame in on_the_grid())
    assert regular.fitted.table.equals(irregular.fitted.table)
    assert regular.cutoffs is not None
    assert regular.cutoffs.equals(irregular.cutoffs)


# --- the test part of a recipe ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [{"test": 12}, {"cutoff": 305}, {"cutoff": 305, "windows": 4}], ids=str)
def test_no_row_of_the_test_part_is_fitted_and_every_window_tests(split):
    table = uneven()
    divided = divide(frame_of(table), SplitPart(**split), H)
    last = table.group_by("unique_id").agg(pl.col("ds").max())
    limit = {name: split.get("cutoff", end - GRID * split.get("test", 0)) for name, end in last.iter_rows()}
    limits = table.select(pl.col("unique_id").replace_strict(limit)).to_series()
    assert divided.fitted.table.equals(frame_of(table).table.filter(table["ds"] <= limits))
    assert divided.cutoffs is not None
    _, rows = cutoff_rows(build_store(divided.frame), divided.cutoffs)
    assert len(rows) == len(divided.cutoffs)  # each follows another row
    fitted = dict(divided.fitted.table.group_by("unique_id").agg(pl.col("ds").max()).iter_rows())
    for name, cutoff in divided.cutoffs.select("unique_id", "cutoff").iter_rows():
        assert fitted[name] <= cutoff <= dict(last.iter_rows())[name] - GRID * H


@pytest.mark.parametrize(("split", "error", "words"), [
    ({"protocol": "published"}, RecipeError, "counts steps of a regular frame"),
    ({"test": 500}, FrameError, "leaves no row to fit on"), ({"test": 2}, FrameError, "no test window of h=3"),
    ({"cutoff": "2024-01-01"}, RecipeError, "counted in whole numbers"),
])
def test_test_parts_that_cannot_be_are_refused(split, error, words):
    with pytest.raises(error, match=words):
        divide(frame_of(uneven()), SplitPart(**split), H)


def recipe(path, **changes):
    return read_recipe({
        "frame": {"path": str(path), "targets": ["y", "z"], **IRREGULAR}, "split": {"test": 14},
        "model": {"name": "multifit", "h": H, "input_size": 6, "hidden": 4, "d_model": 2},
        "train": {"max_steps": 3, "accelerator": "cpu", "val_size": 12},
        "evaluate": {"metrics": ["mse", "coverage"], "scale": "train", "level": [50]}, **changes,
    })


def test_a_run_is_scored_on_its_irregular_test_part_and_reported(tmp_path):
    table = uneven()
    table.write_parquet(tmp_path / "x.parquet")
    result = run_recipe(recipe(tmp_path / "x.parquet"), tmp_path / "run")
    divided = divide(frame_of(table), SplitPart(test=14), H)
    assert divided.cutoffs is not None
    fitted = multifit().fit(divided.fitted)
    forecasts = fitted.predict_at(divided.frame, divided.cutoffs.drop("window"), level=[50])
    assert forecasts["y"].to_list() == truths(forecasts, table)
    end = pl.col("ds") <= pl.col("ds").max().over("unique_id") - 12 * GRID
    by_hand = tsforge.evaluate(
        forecasts, ["mse", "coverage"], by=(), scale="train", train=divided.fitted.table.filter(end), season=1
    )
    for row, expected in zip(result.test, by_hand.to_dicts(), strict=True):
        assert row == {**expected, "value": pytest.approx(expected["value"], rel=1e-6)}
    assert result.windows == len(divided.cutoffs)
    assert open_run(tmp_path / "run").predict(frame_of(table)).equals(result.model.predict(frame_of(table)))
    page = report_run(tmp_path / "run", tmp_path / "report.html").read_text(encoding="utf-8")
    assert "irregular" in page


def test_runs_on_irregular_rows_are_compared_without_a_baseline(tmp_path):
    uneven().write_parquet(tmp_path / "x.parquet")
    for name, hidden in (("small", 3), ("large", 5)):
        model = {"name": "multifit", "h": H, "input_size": 6, "hidden": hidden, "d_model": 2}
        run_recipe(recipe(tmp_path / "x.parquet", model=model), tmp_path / name)
    found = compared([tmp_path / "small", tmp_path / "large"], ["mse"])
    assert not [name for name in found.forecasts.columns if "Naive" in name]
    assert set(found.board(test="t")["model"]) == {"small", "large"}


def test_a_fault_of_the_scores_shows_before_the_training(tmp_path):
    uneven().write_parquet(tmp_path / "x.parquet")
    faults = {"no argument 'x'": {"metrics": ["mae(x=1)"]}, "coverage needs": {"metrics": ["coverage"]},
              "level=120": {"metrics": ["mse"], "level": [120]}}
    for words, evaluate in faults.items():
        with pytest.raises(TsforgeError, match=words):
            run_recipe(recipe(tmp_path / "x.parquet", evaluate=evaluate), tmp_path / "run")
        assert not (tmp_path / "run.partial").exists()
    frame = frame_of(uneven())
    tried = last_rows(frame, pl.DataFrame({"unique_id": ["a"], "cutoff": [300]}), 2, [80])
    last = frame.table.filter((pl.col("unique_id") == "a") & (pl.col("ds") <= 300))["y"][-1]
    assert tried.filter(target="y").select("LastRow", "LastRow-lo-80", "LastRow-hi-80").rows() == [(last,) * 3] * 2


def test_a_backtest_of_the_command_line_is_written(tmp_path):
    frame = frame_of(uneven())
    run = Backtest([multifit()], frame, n_windows=2, step_size=None, refit=False, align="time", level=[50],
                   metrics=["mse", "mase"])
    write_backtest(run, tmp_path / "out", {})
    assert json.loads((tmp_path / "out" / "backtest.json").read_text())["n_windows"] == 2
    assert run.forecasts.equals(tsforge.backtest(multifit(), frame, n_windows=2, level=[50]))
    assert np.isfinite(run.scores["mse"][0])


@pytest.mark.slow
def test_shards_of_an_irregular_backtest_are_the_whole(tmp_path):
    frame = frame_of(uneven())
    given = {"n_windows": 3, "step_size": 4, "level": [50]}
    whole = tsforge.backtest(multifit(), frame, **given)
    shards = tsforge.backtest(multifit(), frame, engine="local", workers=1, folder=tmp_path / "shards", **given)
    keys = ["unique_id", "target", "cutoff", "ds", "y"]
    assert whole.select(keys).equals(shards.select(keys))
    np.testing.assert_allclose(shards["MultiFIT"], whole["MultiFIT"], rtol=1e-5, atol=1e-6)
