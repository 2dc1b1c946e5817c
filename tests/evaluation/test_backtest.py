from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError
from utilsforecast.evaluation import evaluate
from utilsforecast.losses import mae, mse

import tsforge
from tsforge.errors import ArgumentError, FrameError, LeakError
from tsforge.forecaster import Forecaster
from tsforge.frame.frame import Frame

H = 3
FITS: dict[str, list[pl.DataFrame]] = {}  # what each recorder was fitted on; clones are other objects of one name


@pytest.fixture(autouse=True)
def no_fits() -> None:
    FITS.clear()


class Recorder:
    """Forecasts the last value up to the cutoff, or, where it peeks, the one after it; keeps what it was fitted on."""

    def __init__(self, h: int = H, name: str = "Recorder", peeks: bool = False) -> None:
        self.h, self.name, self.peeks = h, name, peeks

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"h": self.h, "name": self.name, "peeks": self.peeks}

    def set_params(self, **params: Any) -> "Recorder":
        vars(self).update(params)
        return self

    def fit(self, X: Frame, y: Any = None) -> "Recorder":
        self.rows = X.table
        FITS.setdefault(self.name, []).append(X.table)
        return self

    def trained_until(self) -> pl.DataFrame:
        return self.rows.group_by("unique_id").agg(pl.col("ds").max())

    def predict(self, X: Any = None) -> Any:
        raise NotImplementedError

    def save(self, path: Any) -> Any:
        raise NotImplementedError

    def predict_at(self, X: Frame, cutoffs: pl.DataFrame, *, level: Any = (), quantiles: Any = ()) -> pl.DataFrame:
        parts = []
        for name, cutoff in cutoffs.sort("unique_id", "cutoff").iter_rows():
            mine = X.table.filter(unique_id=name)
            past, after = mine.filter(pl.col("ds") <= cutoff), mine.filter(pl.col("ds") > cutoff)
            steps = pl.Series("ds", [cutoff + k for k in range(1, self.h + 1)])
            truth = steps.to_frame().join(after, on="ds", how="left", maintain_order="left")["y"]
            point = (after["y"][0] if self.peeks else past["y"][-1]) + len(self.rows) / 1e6
            parts.append(pl.DataFrame({
                "unique_id": [name] * self.h, "ds": steps, "cutoff": [cutoff] * self.h,
                self.name: [point] * self.h, "y": truth,
            }))
        return pl.concat(parts)


def table(**lengths: int) -> pl.DataFrame:
    """Series of integer steps that start together; y is 100 times the number of the series plus the step."""
    lengths = lengths or {"a": 30, "b": 30}
    return pl.concat([
        pl.DataFrame({"unique_id": name, "ds": np.arange(n), "y": 100.0 * k + np.arange(n)})
        for k, (name, n) in enumerate(lengths.items())
    ])


def dlinear(**changes: Any) -> Any:
    return tsforge.DLinear(**({"h": H, "input_size": 6, "max_steps": 2, "accelerator": "cpu"} | changes))


def cutoffs_in(forecasts: pl.DataFrame, name: str) -> list[Any]:
    return forecasts.filter(unique_id=name)["cutoff"].unique().sort().to_list()


def test_the_recorder_is_a_forecaster():
    assert isinstance(Recorder(), Forecaster)


def test_models_are_cloned_and_what_an_earlier_fit_learned_is_not_used():
    fresh, old = dlinear(), dlinear(alias="old").fit(table(a=30).with_columns(pl.col("y") * -7))
    before = old.predict()
    forecasts = tsforge.backtest([fresh, old], table())
    assert not hasattr(fresh, "fitted_")
    assert old.predict().equals(before)
    assert np.allclose(forecasts["DLinear"], forecasts["old"])


REFITS = [(False, [0]), (True, [0, 1, 2, 3]), (1, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 3]), (9, [0])]


@pytest.mark.parametrize(("refit", "windows"), REFITS)
def test_models_are_fitted_as_often_as_asked_on_rows_up_to_the_cutoff(refit, windows):
    forecasts = tsforge.backtest(Recorder(), table(), n_windows=4, step_size=2, refit=refit)
    cutoffs = [20, 22, 24, 26]
    assert cutoffs_in(forecasts, "a") == cutoffs
    wanted = [table().filter(pl.col("ds") <= cutoffs[window]) for window in windows]
    assert [rows.equals(want) for rows, want in zip(FITS["Recorder"], wanted, strict=True)] == [True] * len(wanted)
    fitted_on = dict(zip(cutoffs, np.repeat([len(w) for w in wanted], np.diff([*windows, 4])), strict=True))
    for cutoff, point in forecasts.filter(unique_id="a").select("cutoff", "Recorder").iter_rows():
        assert point == pytest.approx(cutoff + fitted_on[cutoff] / 1e6, abs=1e-9)  # by the fit that was the latest then


@pytest.mark.parametrize(("given", "calls"), [({}, 1), ({"refit": 2}, 2), ({"refit": True}, 4), ({"fit": False}, 1)])
def test_all_windows_that_one_fit_answers_are_asked_for_at_once(monkeypatch, given, calls):
    asked = []

    def predict_at(self, X, cutoffs, before=Recorder.predict_at, **levels):
        asked.append(len(cutoffs))
        return before(self, X, cutoffs, **levels)

    monkeypatch.setattr(Recorder, "predict_at", predict_at)
    tsforge.backtest(Recorder().fit(tsforge.Frame(table(a=5, b=5))), table(), n_windows=4, **given)
    assert len(asked) == calls


@pytest.mark.parametrize("refit", [0, -1])
def test_a_number_of_cutoffs_that_is_none_is_refused(refit):
    with pytest.raises(ArgumentError, match=f"refit={refit}: wanted False, True, or a number"):
        tsforge.backtest(Recorder(), table(), refit=refit)


def test_a_cutoff_is_one_time_for_all_series():
    forecasts = tsforge.backtest(Recorder(), table(a=30, b=28, c=20), n_windows=2)
    assert cutoffs_in(forecasts, "a") == cutoffs_in(forecasts, "b") == [23, 26]
    assert cutoffs_in(forecasts, "c") == []  # it ended before; the others are scored beside it, and it trains
    assert FITS["Recorder"][0].filter(unique_id="c").height == 20
    ended = forecasts.filter(unique_id="b", cutoff=26)
    assert ended["y"].to_list() == [127.0, None, None]


def test_or_it_counts_from_the_end_of_each_series():
    forecasts = tsforge.backtest(Recorder(), table(a=30, b=28, c=20), n_windows=2, align="end")
    assert {name: cutoffs_in(forecasts, name) for name in "abc"} == {"a": [23, 26], "b": [21, 24], "c": [13, 16]}
    seen = FITS["Recorder"][0].group_by("unique_id", maintain_order=True).agg(pl.col("ds").max())
    assert seen.rows() == [("a", 23), ("b", 21), ("c", 13)]
    assert forecasts["y"].null_count() == 0


def test_weeks_that_start_on_other_days_are_scored_from_their_last_step_before_the_cutoff():
    weeks = [date(2024, 1, 1) + timedelta(weeks=k) for k in range(10)]
    other = [day + timedelta(days=3) for day in weeks]
    both = pl.DataFrame({"unique_id": ["a"] * 10 + ["b"] * 10, "ds": weeks + other, "y": [*range(10), *range(10)]})
    forecasts = tsforge.backtest(tsforge.Naive(h=2), both, n_windows=2, align="time")
    assert cutoffs_in(forecasts, "b") == [other[5], other[7]]
    assert cutoffs_in(forecasts, "a") == [weeks[5], weeks[7]]
    assert (forecasts["cutoff"] < forecasts["ds"]).all()
    assert forecasts.filter(unique_id="b")["Naive"].to_list() == [5, 5, 7, 7]


def test_y_is_the_truth():
    frame = table().with_columns(pl.when(pl.col("ds") != 28).then("y"), z=-pl.col("y"))
    forecasts = tsforge.backtest(tsforge.Naive(h=H), frame, n_windows=4, step_size=1, targets=["y", "z"])
    for row in forecasts.iter_rows(named=True):
        truth = frame.filter(unique_id=row["unique_id"], ds=row["ds"])[row["target"]][0]
        assert row["y"] == truth
    assert forecasts["y"].is_null().equals((forecasts["ds"] == 28) & (forecasts["target"] == "y"))
    assert forecasts.columns == ["unique_id", "ds", "target", "cutoff", "Naive", "y"]


def test_several_models_stand_side_by_side_whatever_the_refits():
    models = [tsforge.Naive(h=H), tsforge.SeasonalNaive(h=H, season=2), Recorder()]
    keys = ["unique_id", "cutoff", "ds"]
    for refit in (False, True):
        together = tsforge.backtest(models, table(), n_windows=3, refit=refit)
        for model in models:
            alone = tsforge.backtest(model, table(), n_windows=3, refit=refit).sort(keys)
            assert together.sort(keys).select(alone.columns).equals(alone)


@pytest.mark.parametrize("given", [80, [80], (80.0,)])
def test_levels_may_be_one_or_several(given):
    forecasts = tsforge.backtest(tsforge.Naive(h=H, val_size=0.6), table(), level=given, quantiles=0.3)
    assert forecasts.columns[3:] == ["Naive", "Naive-lo-80", "Naive-hi-80", "Naive-q-0.3", "y"]


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_the_kind_and_the_names_of_the_table_come_back(kind):
    mine = table().rename({"unique_id": "store", "ds": "when"})
    forecasts = tsforge.backtest(tsforge.Naive(h=H), mine.to_pandas() if kind == "pandas" else mine, id_col="store",
                                 time_col="when")
    assert isinstance(forecasts, pd.DataFrame if kind == "pandas" else pl.DataFrame)
    assert list(forecasts.columns) == ["store", "when", "cutoff", "Naive", "y"]


# no leak


def changed_after(rows: pl.DataFrame, cutoff: int) -> pl.DataFrame:
    return rows.with_columns(y=pl.when(pl.col("ds") > cutoff).then(-999.0).otherwise("y"))


@pytest.mark.parametrize("peeks", [False, True])
def test_a_forecaster_that_looks_past_the_cutoff_is_found_out_by_other_data_there(peeks):
    before = tsforge.backtest(Recorder(peeks=peeks), table())
    after = tsforge.backtest(Recorder(peeks=peeks), changed_after(table(), 26))
    assert before.drop("y").equals(after.drop("y")) is not peeks
    assert not before["y"].equals(after["y"])


OURS = {"deep": lambda: dlinear(val_size=0.5), "local": lambda: tsforge.SeasonalNaive(h=H, season=4, val_size=0.4)}


@pytest.mark.parametrize("align", ["time", "end"])
@pytest.mark.parametrize("kind", OURS)
def test_ours_do_not(kind, align):
    wave = table().with_columns(y=(pl.col("y") * 0.7).sin())
    before, after = (tsforge.backtest(OURS[kind](), rows, align=align, level=[50], n_windows=2, step_size=2)
                     for rows in (wave, changed_after(wave, 24)))
    early, late = pl.col("cutoff") == 24, pl.col("cutoff") == 26
    assert before.filter(early).drop("y").equals(after.filter(early).drop("y"))
    assert not before.filter(late).drop("y").equals(after.filter(late).drop("y"))  # the control: 26 has seen other rows


def test_a_finished_model_is_scored_on_later_rows_alone():
    model = dlinear().fit(table(a=24, b=26))
    forecasts = tsforge.backtest(model, table(), fit=False, n_windows=1)
    assert cutoffs_in(forecasts, "b") == [26]
    assert tsforge.backtest(model, table(a=30, b=20), fit=False, n_windows=2).height == 2 * H  # from 23 on
    with pytest.raises(LeakError, match=r"series 'b' up to 25, and the cutoff 24 lies before that \(1 such cutoffs\)"):
        tsforge.backtest(model, table(), fit=False, n_windows=2, step_size=2)
    numbers = table().with_columns(pl.col("unique_id").replace_strict({"a": 1, "b": 2}, return_dtype=pl.Int64))
    words, fitted = numbers.cast({"unique_id": pl.String}), tsforge.Naive(h=H).fit(numbers)
    with pytest.raises(LeakError, match="fit=True"):  # also where the series have names of another type
        tsforge.backtest(fitted, words, fit=False)


def test_an_unfitted_model_is_not_scored_as_it_is():
    with pytest.raises(NotFittedError):
        tsforge.backtest(dlinear(), table(), fit=False)


# what cannot work


WRONG = [
    ({"models": []}, "at least one model"),
    ({"models": [tsforge.Naive(h=2), tsforge.Naive(h=2)]}, "Two models are called 'Naive'.*alias="),
    ({"models": [tsforge.Naive(h=2), tsforge.SeasonalNaive(h=3)]}, r"different numbers of steps \({'Naive': 2, 'Sea"),
    ({"models": [tsforge.Naive(h=2), "naive"]}, "'naive' is no forecaster"),
    ({"models": tsforge.Naive}, r"class 'tsforge\.Naive'.* is no forecaster"),
    ({"models": Recorder(name="y")}, "cannot be called 'y'"),
    ({"n_windows": 0}, "n_windows=0: wanted a whole number"),
    ({"n_windows": True}, "n_windows=True: wanted a whole number"),
    ({"step_size": -1}, "step_size=-1: wanted a whole number"),
    ({"align": "ends"}, "align='ends': wanted 'time' or 'end'"),
    ({"level": [100]}, "level=100"),
    ({"fit": False, "refit": True}, "exclude each other"),
]


@pytest.fixture
def no_type_checks():
    """What tests alone check before us."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(("given", "words"), WRONG)
def test_an_argument_that_cannot_work_says_what_was_wanted(given, words):
    with pytest.raises(ArgumentError, match=words):
        tsforge.backtest(**({"models": tsforge.Naive(h=2), "frame": table()} | given))


@pytest.mark.parametrize("align", ["time", "end"])
def test_more_windows_than_there_are_rows_for_says_how_many_are_needed(align):
    assert tsforge.backtest(Recorder(), table(), n_windows=9, align=align)["cutoff"].n_unique() == 9
    with pytest.raises(FrameError, match=r"too short for 10 windows of h=3, 3 steps apart: 31 steps are needed"):
        tsforge.backtest(Recorder(), table(), n_windows=10, align=align)


def test_cutoffs_outside_the_series_are_no_forecast():
    model = tsforge.Naive(h=H).fit(table())
    for cutoff in (-1, 30, 99):
        with pytest.raises(FrameError, match="None of 1 cutoffs lies between"):
            model.predict_at(table(), pl.DataFrame({"unique_id": ["a"], "cutoff": [cutoff]}))
    assert model.predict_at(table(), pl.DataFrame({"unique_id": ["a"], "cutoff": [29]})).height == H


# nixtla and scikit-learn


def test_the_result_works_in_utilsforecast():
    models = [tsforge.Naive(h=H), tsforge.SeasonalNaive(h=H, season=2)]
    names = [model.name for model in models]
    two = table().with_columns(z=pl.col("y") ** 2)
    for mine in (two.select("unique_id", "ds", "y"), two, two.to_pandas()):
        forecasts = tsforge.backtest(models, mine, n_windows=2, targets=[c for c in mine.columns if c in "yz"])
        theirs = evaluate(tsforge.forecasts_to_nixtla(forecasts), metrics=[mse, mae], models=names)
        ours = tsforge.evaluate(forecasts, ["mse", "mae"], by=())
        ours = ours if isinstance(ours, pl.DataFrame) else pl.DataFrame(ours)
        theirs = theirs if isinstance(theirs, pl.DataFrame) else pl.DataFrame(theirs)
        for name in names:
            for metric in ("mse", "mae"):
                want = theirs.filter(metric=metric)[name].mean()
                assert ours.filter(model=name, metric=metric)["value"][0] == pytest.approx(want)
    assert set(theirs["unique_id"]) == {"a/y", "a/z", "b/y", "b/z"}


@pytest.mark.parametrize("kind", ["polars", "pandas", "frame"])
def test_a_split_has_the_rows_of_all_series_by_time_in_whatever_order_they_stand(kind):
    rows = table(a=30, b=25).sample(fraction=1.0, shuffle=True, seed=3).rename({"unique_id": "store", "ds": "when"})
    roles = {"id_col": "store", "time_col": "when"}
    given = {"polars": rows, "pandas": rows.to_pandas(), "frame": tsforge.Frame(rows, **roles)}[kind]
    times = tsforge.Frame(rows, **roles).table["ds"] if kind == "frame" else rows["when"]
    split = tsforge.WindowSplit(H, 2, 4, **({} if kind == "frame" else roles))
    parts = list(split.split(given))
    assert len(parts) == split.get_n_splits() == 2
    for (train, test), cutoff in zip(parts, (22, 26), strict=True):
        assert sorted(train) == np.flatnonzero(times.to_numpy() <= cutoff).tolist()
        assert sorted(test) == np.flatnonzero(times.to_numpy() <= cutoff + H).tolist()


def test_a_split_reads_dates_written_as_text():
    days = [str(date(2024, 1, 1) + timedelta(days=k)) for k in range(12)]
    train, test = next(iter(tsforge.WindowSplit(2, 1).split(pl.DataFrame({"ds": days, "y": range(12)}))))
    assert (len(train), len(test)) == (10, 12)


def test_a_split_that_cannot_be_made_says_why():
    with pytest.raises(FrameError, match="too short for 10 windows of h=3"):
        next(tsforge.WindowSplit(3, 10).split(table()))
    for wrong in (tsforge.WindowSplit(3, 0), tsforge.WindowSplit(3, 2, 0), tsforge.WindowSplit(0)):
        with pytest.raises(ArgumentError, match="=0: wanted a whole number"):
            next(wrong.split(table()))
