"""Ensembles: what they forecast out of what their members forecast, and what their weights may look at."""

import logging
import pickle
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import tsforge
from tsforge.errors import (
    ArgumentError,
    CalibrationError,
    CapabilityError,
    FrameError,
    UnknownArgumentError,
    UnknownNameError,
)
from tsforge.evaluation.backtest import backtest
from tsforge.evaluation.combine import Judge, greedy_weights
from tsforge.evaluation.metrics.point import absolute
from tsforge.forecaster import Forecaster

H = 3
START = datetime(2024, 1, 1)


def table(n: int = 60, ids: tuple[str, ...] = ("a", "b", "c"), seed: int = 0) -> pl.DataFrame:
    """Days of waves with a trend and noise, a different one for each series."""
    rng = np.random.default_rng(seed)
    days = [START + timedelta(days=k) for k in range(n)]
    t = np.arange(n)
    own = [10.0**k * (np.sin(t / 3 + k) + 0.05 * k * t + rng.normal(size=n)) for k in range(len(ids))]
    return pl.concat([pl.DataFrame({"unique_id": i, "ds": days, "y": y}) for i, y in zip(ids, own, strict=True)])


def members(h: int = H) -> list[Any]:
    return [tsforge.Naive(h=h), tsforge.SeasonalNaive(h=h), tsforge.Drift(h=h), tsforge.Mean(h=h)]


def names(models: list[Any]) -> list[str]:
    return [model.name for model in models]


class Planted:
    """The truth and an error of a fixed size for each series, with signs in turn; a forecaster by the protocol alone.

    It looks at what comes: what it is good for is planted, and validation has to find it.
    """

    def __init__(self, name: str = "Planted", size: Any = 1.0, missing: str = "", h: int = H) -> None:
        self.name, self.size, self.missing, self.h = name, size, missing, h

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"name": self.name, "size": self.size, "missing": self.missing, "h": self.h}

    def set_params(self, **params: Any) -> "Planted":
        vars(self).update(params)
        return self

    def fit(self, X: Any, y: Any = None) -> "Planted":
        self.frame = X
        return self

    def trained_until(self) -> pl.DataFrame:
        return self.frame.spans().select("unique_id", ds="last")

    def save(self, path: Any) -> Any:
        raise NotImplementedError

    def predict(self, X: Any = None) -> Any:
        frame = self.frame if X is None else X
        last = frame.spans().select("unique_id", cutoff="last")
        return self._after(tsforge.Naive(h=self.h).fit(self.frame).predict_at(frame, last)).drop("cutoff", "y")

    def predict_at(self, X: Any, cutoffs: pl.DataFrame, *, level: Any = (), quantiles: Any = ()) -> pl.DataFrame:
        return self._after(tsforge.Naive(h=self.h).fit(self.frame).predict_at(X, cutoffs))

    def _after(self, found: pl.DataFrame) -> pl.DataFrame:
        sizes = self.size if isinstance(self.size, dict) else dict.fromkeys(found["unique_id"].unique(), self.size)
        sign = np.tile([1, -1, 1], len(found))[: len(found)]
        error = np.array([sizes.get(i, 1.0) for i in found["unique_id"]]) * sign
        made = found.with_columns((pl.col("y").fill_null(0.0) + error).alias(self.name)).drop("Naive")
        hidden = pl.when(pl.col("unique_id") != self.missing).then(self.name).alias(self.name)
        return made.with_columns(hidden).select(*[c for c in made.columns if c != "y"], "y")


# what is forecast


@pytest.mark.parametrize(("combine", "numpys"), [("mean", np.mean), ("median", np.median)])
def test_mean_and_median_are_those_of_numpy_over_the_members(combine, numpys):
    ensemble = tsforge.Ensemble(members(), combine)
    together = backtest([ensemble, *members()], table(), n_windows=4)
    np.testing.assert_array_equal(
        together["Ensemble"], numpys(together.select(names(members())).to_numpy(), axis=1)
    )
    ahead = [model.fit(table()).predict()[model.name].to_numpy() for model in members()]
    np.testing.assert_array_equal(ensemble.fit(table()).predict()["Ensemble"], numpys(ahead, axis=0))


def by_hand(rows: pl.DataFrame, windows: int) -> tuple[np.ndarray, Judge, pl.DataFrame]:
    """Validation forecasts [model, cell] in sds of each series, and their judge, without the ensemble."""
    found = backtest(members(), rows, n_windows=windows)
    first = found["cutoff"].min()
    sd = rows.filter(pl.col("ds") <= first).group_by("unique_id").agg(sd=pl.col("y").std(ddof=0))
    found = found.join(sd, on="unique_id", maintain_order="left")
    values = found.select(pl.col(*names(members()), "y") / pl.col("sd"))
    group = found["unique_id"].rank("dense").to_numpy().astype(int) - 1
    library = values.select(names(members())).to_numpy().T
    return library, Judge(values["y"].to_numpy(), group, absolute), found


def test_greedy_weights_are_those_of_a_backtest_on_the_last_windows_of_the_given_rows():
    library, judge, _ = by_hand(table(), 5)
    ensemble = tsforge.Ensemble(members(), "greedy", val_windows=5).fit(table())
    np.testing.assert_allclose(ensemble.weights_["weight"], greedy_weights(library, judge, 50), rtol=1e-12)
    assert ensemble.weights_["model"].to_list() == names(members())
    assert ensemble.weights_["weight"].max() < 1  # else the numbers above say little
    ahead = [model.fit(table()).predict()[model.name].to_numpy() for model in members()]
    np.testing.assert_allclose(
        ensemble.predict()["Ensemble"], np.average(ahead, axis=0, weights=ensemble.weights_["weight"]), rtol=1e-12
    )


def test_the_greedy_ensemble_validates_no_worse_than_its_best_member():
    library, judge, _ = by_hand(table(), 5)
    weights = tsforge.Ensemble(members(), "greedy", val_windows=5).fit(table()).weights_["weight"].to_numpy()
    assert judge(weights @ library)[1] <= min(judge(one)[1] for one in library)


def test_a_planted_useless_member_gets_no_weight():
    models = [Planted("Good", 0.1), Planted("Useless", 1e6), Planted("Fair", 0.3)]
    weights = tsforge.Ensemble(models, "greedy").fit(table()).weights_
    assert dict(weights.iter_rows()) == {"Good": 1.0, "Useless": 0.0, "Fair": 0.0}
    opposite = [Planted("Good", 0.1), Planted("Opposite", -0.1)]  # control: one that helps gets some
    assert tsforge.Ensemble(opposite, "greedy").fit(table()).weights_["weight"].to_list() == [0.5, 0.5]


def test_each_series_gets_its_planted_best_and_a_new_series_the_best_over_all():
    models = [Planted("A", {"a": 0.01, "b": 90.0, "c": 900.0}), Planted("B", {"a": 5.0, "b": 0.1, "c": 1.0})]
    ensemble = tsforge.Ensemble(models, "select").fit(table())
    assert dict(ensemble.chosen_.iter_rows()) == {"a": "A", "b": "B", "c": "B"}
    assert ensemble.weights_["weight"].to_list() == [0.0, 1.0]
    rows = table(ids=("a", "b", "new"))
    cutoffs = pl.DataFrame({"unique_id": ["a", "b", "new"], "cutoff": [START + timedelta(days=40)] * 3})
    frame = tsforge.Frame(rows)
    found = ensemble.predict_at(frame, cutoffs)
    own = {model.name: model.fit(frame).predict_at(frame, cutoffs)[model.name].to_list() for model in models}
    assert found["Ensemble"].to_list() == own["A"][:H] + own["B"][H:]


def test_a_series_that_no_validation_window_holds_gets_the_best_over_all():
    early = table(ids=("a", "b")).vstack(table(20, ids=("early",)))
    models = [Planted("A", {"a": 0.01, "b": 90.0, "early": 0.0}), Planted("B", {"a": 5.0, "b": 0.1})]
    assert dict(tsforge.Ensemble(models, "select").fit(early).chosen_.iter_rows())["early"] == "B"
    ends = tsforge.Ensemble(models, "select", align="end").fit(early)  # control: windows at its own end
    assert dict(ends.chosen_.iter_rows())["early"] == "A"


def test_a_forecast_that_a_member_lacks_is_left_out():
    models = [Planted("A", 1.0, missing="b"), Planted("B", 3.0)]
    found = backtest([tsforge.Ensemble(models), *models], table())
    own = found.filter(unique_id="b")
    assert own["A"].null_count() == H
    assert own["Ensemble"].to_list() == own["B"].to_list()
    other = found.filter(unique_id="a")  # control
    assert other["Ensemble"].to_list() == ((other["A"] + other["B"]) / 2).to_list()


# what may be seen


@pytest.mark.parametrize("combine", ["greedy", "select"])
def test_rows_after_the_cutoff_change_nothing_and_those_of_the_validation_windows_change_the_weights(combine):
    def weights_and_forecasts(rows: pl.DataFrame) -> tuple[list, list]:
        frame, cutoff = tsforge.Frame(rows), START + timedelta(days=49)
        cutoffs = pl.DataFrame({"unique_id": ["a", "b", "c"], "cutoff": [cutoff] * 3})
        model = tsforge.Ensemble(members(), combine, val_windows=4)
        model.fit(frame.up_to(cutoffs))
        held = backtest(model, rows, n_windows=1, step_size=1)["Ensemble"].to_list()
        own = model.chosen_["model"] if combine == "select" else model.weights_["weight"]
        return own.to_list(), [*model.predict_at(frame, cutoffs)["Ensemble"], *held]

    def with_days(low: int, high: int) -> pl.DataFrame:
        inside = pl.col("ds").is_between(START + timedelta(days=low), START + timedelta(days=high))
        planted = pl.when(inside).then(pl.col("ds").dt.ordinal_day() * 1e3).otherwise("y").alias("y")
        return table().with_columns(planted)

    weights, forecasts = weights_and_forecasts(table())
    after = weights_and_forecasts(with_days(57, 59))  # the last h rows: what the backtest is scored on
    assert after == (weights, forecasts)
    later = weights_and_forecasts(with_days(50, 59))
    assert (later[0], later[1][: 3 * H]) == (weights, forecasts[: 3 * H])
    assert weights_and_forecasts(with_days(38, 49))[0] != weights


def test_a_series_alone_is_forecast_as_in_company():
    ensemble = tsforge.Ensemble(members(), "select", val_windows=8).fit(table())
    whole = ensemble.predict(table(), level=[50])
    for name in ("a", "b", "c"):
        alone = ensemble.predict(table().filter(unique_id=name), level=[50])
        assert alone.equals(whole.filter(unique_id=name))


def test_the_models_that_are_given_stay_as_they_are():
    models = members()
    tsforge.Ensemble(models, "greedy").fit(table())
    assert not any(hasattr(model, "fitted_") for model in models)


def test_a_backtest_fits_anew_at_each_cutoff():
    ensemble = tsforge.Ensemble(members(), "greedy", val_windows=2)
    found = backtest(ensemble, table(), n_windows=3, refit=True)
    frame = tsforge.Frame(table())
    for (cutoff,), rows in found.group_by("cutoff", maintain_order=True):
        cutoffs = pl.DataFrame({"unique_id": ["a", "b", "c"], "cutoff": [cutoff] * 3})
        again = clone(ensemble).fit(frame.up_to(cutoffs)).predict_at(frame, cutoffs)
        assert again["Ensemble"].to_list() == rows["Ensemble"].to_list()
    assert ensemble.cross_validation(table(), n_windows=3, refit=True).equals(found)


# intervals


def test_intervals_are_ranks_of_the_residuals_of_the_combined_forecast():
    rows = table(ids=("b",))
    ensemble = tsforge.Ensemble(members(), "mean", calibrate=True, val_windows=9)
    held = backtest(tsforge.Ensemble(members()), rows, n_windows=9)
    residuals = (held["y"] - held["Ensemble"]).abs().to_numpy().reshape(9, H)
    found = ensemble.fit(rows).predict(level=[80], quantiles=[0.5])
    width = np.sort(residuals, axis=0)[7]  # the ceil(0.8 * 10)-th
    np.testing.assert_allclose(found["Ensemble-hi-80"], found["Ensemble"] + width, rtol=1e-12)
    np.testing.assert_allclose(found["Ensemble-lo-80"], found["Ensemble"] - width, rtol=1e-12)
    assert found["Ensemble-q-0.5"].to_list() == found["Ensemble"].to_list() == ensemble.predict()["Ensemble"].to_list()


@pytest.mark.parametrize("combine", ["median", "greedy", "select"])
def test_intervals_nest_and_hold_the_point_in_forecasts_and_backtests(combine):
    ensemble = tsforge.Ensemble(members(), combine, calibrate=True, val_windows=8)
    ends = ["Ensemble-lo-80", "Ensemble-lo-50", "Ensemble", "Ensemble-hi-50", "Ensemble-hi-80"]
    for found in (ensemble.fit(table()).predict(level=[80, 50]), backtest(ensemble, table(), level=[50, 80])):
        assert (np.diff(found.select(ends).to_numpy(), axis=1) >= 0).all()
        assert (found["Ensemble-lo-80"] < found["Ensemble-hi-80"]).all()


def test_a_new_series_gets_intervals_as_wide_as_its_own_rows_are():
    ensemble = tsforge.Ensemble(members(), calibrate=True, val_windows=8).fit(table())
    new, wide = table(ids=("n",)), table(ids=("n",)).with_columns(pl.col("y") * 1000)
    narrow, broad = (ensemble.predict(rows, level=80) for rows in (new, wide))
    width = [(found["Ensemble-hi-80"] - found["Ensemble"]).to_numpy() for found in (narrow, broad)]
    np.testing.assert_allclose(width[1], 1000 * width[0])


def test_a_level_without_validation_windows_says_what_to_do():
    with pytest.raises(CalibrationError, match="calibrate=True: each member is fitted once more"):
        tsforge.Ensemble(members()).fit(table()).predict(level=80)


def test_a_level_of_too_few_windows_says_how_many_there_must_be():
    fitted = tsforge.Ensemble(members(), "greedy", val_windows=3).fit(table())
    with pytest.raises(CalibrationError, match=r"needs 19 validation windows.* 9, enough for 90\. .*val_windows"):
        fitted.predict(level=95)
    assert "Ensemble-lo-90" in fitted.predict(level=90).columns


# frames


def test_targets_are_combined_each_by_itself():
    rows = table().with_columns(z=pl.col("y") * -2 + 1)
    ensemble = tsforge.Ensemble(members(), "greedy", calibrate=True)
    found = backtest([ensemble, *members()], rows, targets=["y", "z"], level=50)
    fitted = ensemble.fit(tsforge.Frame(rows, targets=["y", "z"]))
    weights = clone(ensemble).fit(tsforge.Frame(rows, targets=["y", "z"]).rows(pl.col("ds") <= found["cutoff"][0]))
    expected = found.select(names(members())).to_numpy() @ weights.weights_["weight"].to_numpy()
    np.testing.assert_allclose(found["Ensemble"], expected, rtol=1e-9)
    assert fitted.predict(h=2)["target"].to_list() == ["y", "y", "z", "z"] * 3


def test_series_as_channels_are_forecast_as_series():
    rows = table()
    models = [tsforge.Naive(h=H), tsforge.Drift(h=H)]
    ensemble = tsforge.Ensemble(models, "select", val_windows=6)
    apart = ensemble.fit(rows).predict(level=50)
    channels = clone(ensemble).fit(rows, channels_from="unique_id")
    assert channels.predict(level=50)["Ensemble"].to_list() == apart["Ensemble"].to_list()
    assert channels.chosen_.equals(clone(ensemble).fit(rows).chosen_)
    assert channels.predict(rows, level=50).equals(channels.predict(level=50))


def test_tables_come_back_in_the_kind_and_with_the_names_that_came_in():
    rows = table().rename({"unique_id": "shop", "ds": "day"})
    ensemble = tsforge.Ensemble(members(), "greedy", val_windows=5)
    expected = ensemble.fit(rows, id_col="shop", time_col="day").predict(level=80)
    assert expected.columns == ["shop", "day", "Ensemble", "Ensemble-lo-80", "Ensemble-hi-80"]
    pandas = rows.to_pandas()
    found = clone(ensemble).fit(pandas, id_col="shop", time_col="day").predict(pandas, level=80)
    assert isinstance(found, pd.DataFrame)
    assert found["day"].dtype == pandas["day"].dtype
    assert pl.from_pandas(found)["Ensemble-hi-80"].to_list() == expected["Ensemble-hi-80"].to_list()
    lazy = ensemble.predict(rows.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect()["Ensemble"].to_list() == expected["Ensemble"].to_list()


def test_a_single_series_needs_no_name():
    rows = table(ids=("a",)).drop("unique_id")
    fitted = tsforge.Ensemble(members(), "select", val_windows=6).fit(rows)
    assert fitted.predict(level=80).columns == ["ds", "Ensemble", "Ensemble-lo-80", "Ensemble-hi-80"]
    assert fitted.predict(rows, h=1)["Ensemble"].to_list() == fitted.predict()["Ensemble"].to_list()[:1]


def test_covariates_known_ahead_reach_the_members_that_take_them():
    rows = table().with_columns(price=pl.col("ds").dt.weekday().cast(pl.Float64))
    models = [tsforge.Ridge(h=H, lags=7), tsforge.Naive(h=H)]
    days = [START + timedelta(days=60 + k) for k in range(H)]
    ahead = pl.DataFrame({"unique_id": ["a"] * H, "ds": days, "price": [1.0, 2.0, 3.0]})
    own = rows.filter(unique_id="a")
    ensemble = tsforge.Ensemble(models).fit(own, future=["price"])
    ridge = models[0].fit(own, future=["price"]).predict(future=ahead)["Ridge"]
    naive = models[1].fit(own).predict()["Naive"]
    np.testing.assert_array_equal(ensemble.predict(future=ahead)["Ensemble"], (ridge + naive) / 2)
    with pytest.raises(FrameError, match="price"):
        ensemble.predict()


def test_a_neural_member_stands_beside_a_local_one():
    network = tsforge.DLinear(h=H, input_size=8, max_steps=3, accelerator="cpu", val_size=H)
    found = backtest(
        [tsforge.Ensemble([network, tsforge.Naive(h=H)], "median"), network, tsforge.Naive(h=H)], table()
    )
    np.testing.assert_array_equal(found["Ensemble"], (found["DLinear"] + found["Naive"]) / 2)


# the face


def test_it_is_a_forecaster_that_is_copied_shown_and_pickled():
    models = members()
    ensemble = tsforge.Ensemble(models, "greedy", rounds=9, alias="Mix")
    assert isinstance(ensemble, Forecaster)
    assert (ensemble.h, ensemble.name) == (H, "Mix")
    assert ensemble.get_params(deep=False)["models"] is models
    copied = clone(ensemble.fit(table()))
    assert not hasattr(copied, "fitted_")
    assert repr(copied) == repr(ensemble)
    assert "combine='greedy'" in repr(ensemble)
    assert copied.fit(table()).predict().equals(ensemble.predict())
    assert pickle.loads(pickle.dumps(ensemble)).predict(table()).equals(ensemble.predict())


def test_another_argument_forgets_the_fit_and_another_alias_keeps_it():
    ensemble = tsforge.Ensemble(members()).fit(table())
    before = ensemble.predict()["Ensemble"].to_list()
    assert ensemble.set_params(alias="Mix").predict()["Mix"].to_list() == before
    with pytest.raises(NotFittedError, match="call fit"):
        ensemble.set_params(combine="median").predict()
    with pytest.raises(UnknownArgumentError, match="combin"):
        ensemble.set_params(combin="median")


def test_it_ends_where_its_members_end_and_is_not_scored_before():
    ensemble = tsforge.Ensemble(members()).fit(table(50))
    assert ensemble.trained_until()["ds"].to_list() == [START + timedelta(days=49)] * 3
    with pytest.raises(tsforge.errors.LeakError):
        backtest(ensemble, table(50), fit=False)
    rows = table(53)
    held = backtest(ensemble, rows, fit=False)
    sd = table(50).group_by("unique_id", maintain_order=True).agg(pl.col("y").std(ddof=0))["y"].to_numpy().repeat(H)
    assert ensemble.score(rows) == pytest.approx(-float((((held["y"] - held["Ensemble"]) / sd) ** 2).mean()))


def test_an_ensemble_may_be_a_member():
    inner = tsforge.Ensemble(members()[:2], alias="Inner")
    found = backtest([tsforge.Ensemble([inner, tsforge.Drift(h=H)]), inner, tsforge.Drift(h=H)], table())
    np.testing.assert_array_equal(found["Ensemble"], (found["Inner"] + found["Drift"]) / 2)


def test_the_log_says_which_member_is_at_work(caplog):
    caplog.set_level(logging.INFO, logger="tsforge")
    tsforge.Ensemble(members(), "greedy").fit(table())
    assert "4 models are validated on 3 windows" in caplog.text
    assert "Drift (3 of 4) is fitted on all rows" in caplog.text


# what is refused

NAIVE = tsforge.Naive(h=H)
REFUSED = [
    ({"models": []}, "wanted some forecasters"),
    ({"models": [tsforge.Naive]}, "is no forecaster"),
    ({"models": [NAIVE, 3]}, "3 is no forecaster"),
    ({"models": [NAIVE, tsforge.Naive(h=H)]}, "Two models are called 'Naive'"),
    ({"models": [NAIVE, tsforge.Drift(h=H + 1)]}, "different numbers of steps"),
    ({"combine": "average"}, "wanted one of mean, median, greedy, select"),
    ({"val_windows": 0}, "val_windows=0: wanted a whole number"),
    ({"rounds": True}, "rounds=True"),
    ({"step_size": -1}, "step_size=-1"),
    ({"align": "start"}, "wanted 'time' or 'end'"),
    ({"metric": "mase"}, "take one of"),
    ({"alias": "y"}, "cannot be called 'y'"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_an_argument_that_cannot_work_is_refused_in_words(changes, words):
    ensemble = tsforge.Ensemble([NAIVE, tsforge.Drift(h=H)])
    for name, value in changes.items():
        setattr(ensemble, name, value)
    with pytest.raises(ArgumentError, match=words):
        ensemble.fit(table())
    assert tsforge.Ensemble([NAIVE, tsforge.Drift(h=H)]).fit(table()).h == H  # control


def test_an_unknown_metric_or_role_or_word_is_refused():
    with pytest.raises(UnknownNameError, match="maee"):
        tsforge.Ensemble(members(), metric="maee").fit(table())
    with pytest.raises(UnknownArgumentError, match="season"):
        tsforge.Ensemble(members()).fit(table(), season_length=7)
    with pytest.raises(UnknownArgumentError, match="future"):
        tsforge.Ensemble(members()).fit(table()).predict(futr_df=table())
    with pytest.raises(ArgumentError, match=r"can be cut to 1\.\.3"):
        tsforge.Ensemble(members()).fit(table()).predict(h=4)


def test_series_too_short_for_the_validation_windows_are_refused_in_words():
    with pytest.raises(FrameError, match=r"In the validation of the ensemble \(val_windows=30.*too short for 30 win"):
        tsforge.Ensemble(members(), "greedy", val_windows=30).fit(table())
    empty = table().with_columns(pl.when(pl.col("ds") < START + timedelta(days=51)).then("y").alias("y"))
    with pytest.raises(FrameError, match="hold no observed value"):
        tsforge.Ensemble(members(), "greedy").fit(empty)


def test_what_an_ensemble_has_not_is_said():
    fitted = tsforge.Ensemble(members()).fit(table())
    with pytest.raises(CapabilityError, match="same weights for all series"):
        _ = fitted.chosen_
    with pytest.raises(CapabilityError, match="has no recipe"):
        fitted.to_recipe()
    with pytest.raises(CapabilityError, match="has no recipe"):
        tsforge.Ensemble.from_recipe({})
    with pytest.raises(CapabilityError, match="does not stream"):
        fitted.update(table())
    irregular = pl.DataFrame({"ds": [0, 1, 3, 4], "y": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(CapabilityError, match="resample"):
        tsforge.Ensemble(members()).fit(irregular, freq="irregular", grid="1i")
