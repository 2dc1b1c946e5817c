"""The face that every estimator shows: of scikit-learn, of the tables that come in, of other libraries' words."""

import logging
import pickle
from datetime import date, datetime, timedelta
from inspect import signature
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

import tsforge
from tsforge.errors import (
    ArgumentError,
    ArtifactError,
    CalibrationError,
    CapabilityError,
    FrameError,
    UnknownArgumentError,
)

H, LOOKBACK = 3, 8
START = datetime(2024, 1, 1)


def dlinear(**changes: Any) -> Any:
    return tsforge.DLinear(**({"h": H, "input_size": LOOKBACK, "max_steps": 3, "accelerator": "cpu"} | changes))


def timesnet(**changes: Any) -> Any:
    small = {"d_model": 4, "d_ff": 4, "num_kernels": 2, "top_k": 2, "e_layers": 1}
    return tsforge.TimesNet(h=H, input_size=LOOKBACK, accelerator="cpu", **(small | {"max_steps": 3} | changes))


def table(n: int = 60, ids: tuple[str, ...] = ("a", "b")) -> pl.DataFrame:
    """Two waves of days."""
    days = [START + timedelta(days=k) for k in range(n)]
    parts = [pl.DataFrame({"unique_id": i, "ds": days, "y": 5 * k + np.sin(np.arange(n) / 3 + k)})
             for k, i in enumerate(ids)]
    return pl.concat(parts)


@pytest.fixture(scope="module")
def fitted() -> Any:
    return dlinear(val_size=0.4).fit(table())


# the constructor, and what scikit-learn asks of it


def test_the_constructor_stores_what_it_is_given_and_looks_at_nothing():
    loss = {"name": "huber", "delta": -1}
    model = tsforge.TimesNet(h="three", loss=loss, max_steps=-5, top_k=None)
    assert (model.h, model.max_steps, model.top_k) == ("three", -5, None)
    assert model.loss is loss
    assert set(vars(model)) == set(model.get_params())
    with pytest.raises(ArgumentError, match="h='three'"):
        model.fit(table())  # the control: looked at here


def test_arguments_are_got_set_cloned_and_shown_where_they_differ():
    model = dlinear()
    assert model.get_params()["max_steps"] == 3
    assert set(model.get_params()) == set(signature(tsforge.DLinear).parameters)
    assert clone(model).get_params() == model.get_params()
    assert model.set_params(kernel_size=5).kernel_size == 5
    assert repr(tsforge.DLinear(h=2, kernel_size=5, seed=0)) == "DLinear(h=2, kernel_size=5)"
    assert repr(tsforge.SeasonalNaive(h=2, season=7)) == "SeasonalNaive(h=2, season=7)"


def test_what_was_learned_with_other_arguments_is_forgotten():
    model = dlinear().fit(table())
    expected = model.predict()
    assert model.set_params(alias="mine", seed=0).predict().rename({"mine": "DLinear"}).equals(expected)
    model.set_params(precision=64)
    with pytest.raises(NotFittedError):
        model.predict()


@pytest.mark.parametrize("ask", ["predict", "predict_at", "trained_until", "history_", "schema_", "score", "save"])
def test_what_needs_a_fit_says_so(ask, tmp_path):
    asked = {
        "predict": lambda model: model.predict(), "predict_at": lambda model: model.predict_at(table(), table()),
        "trained_until": lambda model: model.trained_until(), "history_": lambda model: model.history_,
        "schema_": lambda model: model.schema_, "score": lambda model: model.score(table()),
        "save": lambda model: model.save(tmp_path / "run"),
    }
    with pytest.raises(NotFittedError, match=r"DLinear is not fitted: call fit\(frame\) first"):
        asked[ask](dlinear())


@pytest.mark.parametrize("model", [tsforge.TimesNet(h=2, d_model=8), tsforge.SeasonalNaive(h=2, season=7)])
def test_an_estimator_goes_to_a_worker_process_and_back(model):
    again = pickle.loads(pickle.dumps(model))
    assert type(again) is type(model) is getattr(tsforge, type(model).__name__)
    assert again.get_params() == model.get_params()


def test_a_fitted_one_goes_there_too(fitted):
    assert pickle.loads(pickle.dumps(fitted)).predict(level=[50]).equals(fitted.predict(level=[50]))


def test_two_estimators_share_no_state():
    one, other = dlinear(), dlinear()
    one.set_params(kernel_size=3).fit(table())
    assert other.kernel_size == 25
    assert not hasattr(other, "fitted_")
    before = one.predict()
    other.fit(table(ids=("c",)))
    assert one.predict().equals(before)


# the words of other libraries

CONSTRUCTOR = [
    (tsforge.SeasonalNaive, "season_length", "tsforge calls it season."),
    (tsforge.TimesNet, "season_length", "tsforge calls it season; it is a role of the frame: fit(table, season=...)"),
    (tsforge.TimesNet, "season", "It is a role of the frame: fit(table, season=...)"),
    (tsforge.TimesNet, "freq", "It is a role of the frame: fit(table, freq=...)"),
    (tsforge.TimesNet, "futr_df", "tsforge calls it future; it is a role of the frame, for what is known ahead, and an "
                                  "argument of predict"),
    (tsforge.TimesNet, "hist_exog_list", "tsforge calls it past; it is a role of the frame"),
    (tsforge.TimesNet, "level", "It is an argument of predict: predict(level=[80, 95])."),
    (tsforge.TimesNet, "enc_in", "tsforge calls it in_channels; it is the number of targets, which the frame says."),
    (tsforge.TimesNet, "input_chunk_length", "tsforge calls it input_size."),
    (tsforge.Naive, "input_chunk_length", "tsforge calls it input_size, and Naive has none. There are: h,"),
    (tsforge.TimesNet, "n_epochs", "tsforge calls it max_epochs."),
    (tsforge.TimesNet, "dmodel", "Did you mean 'd_model'?"),
]


@pytest.mark.parametrize(("made", "word", "hint"), CONSTRUCTOR)
def test_an_unknown_argument_names_ours_and_its_place(made, word, hint):
    with pytest.raises(UnknownArgumentError) as error:
        made(h=1, **{word: 7})
    assert isinstance(error.value, TypeError)
    assert f"{made.__name__} has no argument {word!r}. {hint}" in str(error.value)


def test_so_it_does_in_fit_in_predict_and_in_set_params(fitted):
    with pytest.raises(UnknownArgumentError, match=r"Naive\.fit has no argument 'season_length'.* it season"):
        tsforge.Naive(h=1).fit(table(), season_length=7)
    with pytest.raises(UnknownArgumentError, match=r"DLinear\.predict has no argument 'futr_df'.* it future"):
        fitted.predict(futr_df=table())
    with pytest.raises(UnknownArgumentError, match="Did you mean 'kernel_size'"):
        fitted.set_params(kernelsize=7)
    assert fitted.predict().equals(fitted.predict(table()))  # nothing was changed by that


def test_what_is_given_by_position_is_h_and_input_size():
    assert tsforge.DLinear(3, 8).input_size == 8
    with pytest.raises(TypeError, match=r"too many positional arguments\..* by position it takes h, input_size alone"):
        tsforge.DLinear(3, 8, 25)
    with pytest.raises(TypeError, match=r"missing a required argument: 'h'\. It needs h"):
        tsforge.DLinear()


@pytest.mark.parametrize("h", [0, -1, True, 2.0, "3", None])
@pytest.mark.parametrize("made", [tsforge.DLinear, tsforge.Naive])
def test_h_is_a_whole_number_of_steps(made, h):
    with pytest.raises(ArgumentError, match=f"h={h!r}: wanted the number of steps"):
        made(h=h).fit(table())


@pytest.mark.parametrize("alias", ["ds", "y", "unique_id", "cutoff", "target", "mine-lo-80", "mine-q-0.1"])
def test_a_model_is_not_called_like_another_column_of_a_forecast(alias):
    with pytest.raises(ArgumentError, match=rf"cannot be called '{alias}'.*alias="):
        tsforge.Naive(h=1, alias=alias).fit(table())


# tables in, tables out


def as_lazy(frame: pl.DataFrame) -> pl.LazyFrame:
    return frame.lazy()


KINDS = {
    "polars": (pl.DataFrame, pl.DataFrame), "lazy": (as_lazy, pl.LazyFrame),
    "pandas": (pl.DataFrame.to_pandas, pd.DataFrame), "pyarrow": (pl.DataFrame.to_arrow, pa.Table),
}


def columns_of(forecasts: Any) -> list[str]:
    if isinstance(forecasts, pl.LazyFrame):
        return forecasts.collect_schema().names()
    return forecasts.column_names if isinstance(forecasts, pa.Table) else list(forecasts.columns)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_table_and_the_users_names_come_back(kind):
    make, wanted = KINDS[kind]
    mine = make(table().rename({"unique_id": "store", "ds": "when"}))
    roles = {"id_col": "store", "time_col": "when"}
    model = dlinear().fit(mine, **roles)
    backtest = model.cross_validation(mine, **roles)
    for forecasts in (model.predict(), model.predict(mine)):
        assert isinstance(forecasts, wanted)
        assert columns_of(forecasts) == ["store", "when", "DLinear"]
    assert isinstance(backtest, wanted)
    assert columns_of(backtest) == ["store", "when", "cutoff", "DLinear", "y"]
    assert dlinear().fit(table()).predict().rename({"unique_id": "store", "ds": "when"}).equals(
        pl.DataFrame(model.predict().collect() if kind == "lazy" else model.predict()).cast({"when": pl.Datetime("us")})
    )


TIMES = {
    "dates": pl.col("ds").cast(pl.Date), "microseconds": pl.col("ds"),
    "nanoseconds": pl.col("ds").cast(pl.Datetime("ns")), "milliseconds": pl.col("ds").cast(pl.Datetime("ms")),
    "a zone": pl.col("ds").dt.replace_time_zone("Europe/Berlin"),
    "a zone in nanoseconds": pl.col("ds").dt.replace_time_zone("UTC").dt.cast_time_unit("ns"),
    "integers": pl.int_range(pl.len()).over("unique_id"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_the_type_of_time_comes_back_also_from_a_saved_run(kind, tmp_path):
    mine = table().with_columns(ds=TIMES[kind])
    model = tsforge.Naive(h=2).fit(mine)
    model.save(tmp_path / "run")
    for forecasts in (model.predict(), model.predict(mine), tsforge.open(tmp_path / "run").predict()):
        assert forecasts.schema["ds"] == mine.schema["ds"]
        assert forecasts["ds"][0] == (60 if kind == "integers" else mine["ds"].max() + timedelta(days=1))


@pytest.mark.parametrize("kind", ["nanoseconds", "a zone in nanoseconds", "a zone"])
def test_pandas_keeps_its_zone_and_its_unit(kind):
    mine = table().with_columns(ds=TIMES[kind]).to_pandas()
    assert tsforge.Naive(h=2).fit(mine).predict()["ds"].dtype == mine["ds"].dtype


def test_one_series_needs_no_name_and_gets_none():
    one = table(ids=("a",)).drop("unique_id")
    model = dlinear().fit(one)
    assert model.predict().columns == model.predict(one).columns == ["ds", "DLinear"]
    assert model.cross_validation(one).columns == ["ds", "cutoff", "DLinear", "y"]


def test_the_roles_are_stated_once_and_kept():
    mine = table().with_columns(x=pl.col("y") * 2)
    model = timesnet().fit(mine, past=["x"])
    assert model.schema_.past == ("x",)
    assert model.predict(mine).equals(model.predict())
    with pytest.raises(FrameError, match="has no column 'x'"):
        model.predict(mine.drop("x"))
    with pytest.raises(FrameError, match=r"past: the model was fitted with \['x'\], this frame has \[\]"):
        model.predict(tsforge.Frame(mine, targets="y"))
    with pytest.raises(FrameError, match="freq: the model was fitted with '1d', this frame has '2d'"):
        model.predict(tsforge.Frame(mine.gather_every(2), past="x"))


def test_calendar_features_are_written_as_they_were_in_training():
    def made(encoding: Any) -> Any:
        return tsforge.Frame(table(), calendar="dayofweek", encoding=encoding)

    model = timesnet().fit(made("linear"))
    assert len(model.predict(made("linear"))) == 2 * H
    with pytest.raises(FrameError, match="encoding: the model was fitted with 'linear', this frame has 'cyclic'"):
        model.predict(made("cyclic"))


def test_a_frame_with_covariates_that_a_model_lacks_is_refused_with_a_way_out():
    frame = tsforge.Frame(table().with_columns(x=1.0), past="x")
    with pytest.raises(CapabilityError, match=r"DLinear takes no past covariates \(x\); .*TimesNet do\..*without_cov"):
        dlinear().fit(frame)
    assert len(dlinear().fit(frame.without_covariates()).predict()) == 2 * H
    assert len(tsforge.Naive(h=H).fit(frame).predict(frame)) == 2 * H  # a local model leaves them unread


# forecasts


@pytest.mark.parametrize("make", [dlinear, lambda: tsforge.SeasonalNaive(h=H, season=7)])
def test_fewer_steps_are_the_first_of_the_same_forecast(make):
    model = make().fit(table())
    full = model.predict()
    for k in (1, np.int64(2), H):
        first = full.filter(pl.int_range(pl.len()).over("unique_id") < k)
        assert model.predict(h=k).equals(first)
        assert model.predict(table(), h=k).equals(first)


@pytest.fixture
def no_type_checks():
    """What tests alone check before us."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize("h", [H + 1, 0, -1, True, 2.0, "1"])
def test_more_steps_than_it_was_made_for_or_none_are_refused(fitted, h):
    with pytest.raises(ArgumentError, match=rf"predict\(h={h!r}\).* can be cut to 1\.\.{H}"):
        fitted.predict(h=h)


def test_series_that_were_not_there_in_training_are_forecast_by_their_own_scale(fitted):
    other = table(40, ids=("a", "z"))
    other = other.with_columns(pl.when(pl.col("unique_id") == "z").then(pl.col("y") * 1e3).otherwise("y"))
    forecasts = fitted.predict(other)
    assert forecasts["unique_id"].unique(maintain_order=True).to_list() == ["a", "z"]
    assert forecasts["ds"].min() == START + timedelta(days=40)
    assert forecasts.filter(unique_id="z")["DLinear"].mean() == pytest.approx(5000, rel=0.5)
    alone = fitted.predict(other.filter(unique_id="z"))
    assert np.allclose(alone["DLinear"], forecasts.filter(unique_id="z")["DLinear"], rtol=1e-6)


@pytest.fixture(scope="module")
def with_future() -> Any:
    return timesnet(max_steps=30, learning_rate=0.05).fit(with_x(table()), future=["x"])


def with_x(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(x=pl.col("ds").dt.weekday().cast(pl.Float64))


def ahead(n: int = H) -> pl.DataFrame:
    return with_x(table(60 + n).filter(pl.col("ds") >= START + timedelta(days=60))).drop("y")


def test_what_is_known_ahead_is_given_with_the_forecast(with_future):
    forecasts = with_future.predict(future=ahead())
    assert with_future.predict(with_x(table()), future=ahead()).equals(forecasts)
    assert with_future.predict(future=ahead().sample(fraction=1.0, shuffle=True, seed=0)).equals(forecasts)
    assert with_future.predict(future=ahead().to_pandas()).equals(forecasts)
    assert with_future.predict(future=ahead(9)).equals(forecasts)  # more than is needed
    first = forecasts.filter(pl.int_range(pl.len()).over("unique_id") < 2)
    assert with_future.predict(h=2, future=ahead()).equals(first)


FUTURES = [
    (None, "The covariate 'x' is known ahead"),
    (ahead().drop("x"), "future: the table has no column 'x'"),
    (ahead(2), r"covariate 'x': its value at 2024-03-03 00:00:00 is missing .*2 such values of 6"),
    (ahead().filter(pl.col("unique_id") == "a"), "Series 'b', covariate 'x'"),
    (ahead().with_columns(x=pl.lit("much")), "column 'x': the value at .* is the text 'much'"),
    (ahead().with_columns(x=float("inf")), "column 'x': the value at .* is infinite"),
    (pl.concat([ahead(), ahead()]), "has the time .* more than once"),
    (ahead().with_columns(ds=pl.int_range(pl.len())), "its time column holds Int64"),
    (tsforge.Frame(ahead(), targets="x"), "give the plain table"),
]


@pytest.mark.parametrize(("future", "words"), FUTURES)
def test_what_is_wrong_with_it_is_named(with_future, future, words):
    with pytest.raises(FrameError, match=words):
        with_future.predict(future=future)


def test_it_is_refused_where_it_would_do_nothing(fitted):
    with pytest.raises(FrameError, match="fitted without covariates that are known ahead"):
        fitted.predict(future=ahead())


@pytest.mark.parametrize(("h", "season", "wanted"), [(3, 7, 7), (4, 7, 14), (7, 7, 14), (3, 1, 6), (24, 24, 48)])
def test_the_look_back_is_twice_the_horizon_rounded_up_to_a_season(caplog, h, season, wanted):
    caplog.set_level(logging.INFO, "tsforge")
    model = tsforge.DLinear(h=h, max_steps=1, val_size=0, accelerator="cpu").fit(table(100), season=season)
    assert model.fitted_.input_size == wanted
    assert f"input_size is {wanted}" in caplog.text
    assert model.input_size is None


@pytest.mark.parametrize("size", [0, -2, True, 8.0, "8"])
def test_a_look_back_that_is_none_is_refused(size):
    with pytest.raises(ArgumentError, match=f"input_size={size!r}: wanted a number of past steps"):
        dlinear(input_size=size).fit(table())


def test_levels_and_quantiles_have_their_columns_nested_around_the_point(fitted):
    forecasts = fitted.predict(level=[80, 50.5], quantiles=[0.1])
    assert forecasts.columns == ["unique_id", "ds", "DLinear", "DLinear-lo-50.5", "DLinear-hi-50.5", "DLinear-lo-80",
                                 "DLinear-hi-80", "DLinear-q-0.1"]
    low, narrow, point, high = (forecasts[f"DLinear{c}"] for c in ("-lo-80", "-lo-50.5", "", "-hi-80"))
    assert (low < narrow).all()
    assert (narrow < point).all()
    assert (point < high).all()
    assert np.allclose(forecasts["DLinear-q-0.1"], low)
    assert fitted.predict(level=80).equals(fitted.predict(level=[80]))


def test_a_level_for_which_too_few_windows_were_held_back_says_how_many(fitted):
    with pytest.raises(CalibrationError, match=r"level=99 needs 99 calibration windows, and there are \d+\. The high"):
        fitted.predict(level=[99])
    with pytest.raises(CalibrationError, match="none were held back"):
        dlinear(val_size=0).fit(table()).predict(level=[50])


def test_conformal_scores_survive_a_saved_run_bit_by_bit(tmp_path):
    spec = {"name": "quantile", "quantiles": (0.1, 0.5, 0.9)}
    for number, model in enumerate((dlinear(val_size=0.4), dlinear(val_size=0.4, loss=spec), tsforge.Naive(h=H))):
        model.fit(table()).save(tmp_path / str(number))
        mine, opened = (m.fitted_.law for m in (model, tsforge.open(tmp_path / str(number))))
        assert mine.quantiles == opened.quantiles
        assert list(mine.scores) == list(opened.scores) != []
        for pair, scores in mine.scores.items():
            for part in ("pooled", "own"):
                kept, read = getattr(scores, part), getattr(opened.scores[pair], part)
                np.testing.assert_array_equal(kept.values, read.values, strict=True)
                np.testing.assert_array_equal(kept.counts, read.counts, strict=True)


# what a saved run must not depend on


def test_a_run_whose_last_values_are_missing_opens_and_forecasts_the_same(tmp_path):
    mine = table(ids=("a",)).with_columns(y=pl.when(pl.int_range(pl.len()) < 60 - LOOKBACK).then("y"))
    model = dlinear(val_size=0).fit(mine)
    model.save(tmp_path / "run")
    assert tsforge.open(tmp_path / "run").predict().equals(model.predict())


def test_months_that_happen_to_end_on_their_last_day_go_on_as_they_began(tmp_path):
    days = [date(2023, 3, 30), date(2023, 4, 30), date(2023, 5, 30), date(2023, 6, 30)]
    model = tsforge.Naive(h=2).fit(pl.DataFrame({"ds": days, "y": [1.0, 2, 3, 4]}))
    model.save(tmp_path / "run")
    for made in (model, tsforge.open(tmp_path / "run")):
        assert made.predict()["ds"].to_list() == [date(2023, 7, 30), date(2023, 8, 30)]


def test_numbers_of_numpy_are_saved_as_numbers_and_what_is_none_is_named(tmp_path):
    model = dlinear(h=np.int64(H), input_size=np.int32(LOOKBACK), learning_rate=np.float64(0.01)).fit(table())
    model.save(tmp_path / "run")
    assert tsforge.open(tmp_path / "run").predict().equals(model.predict())
    odd = dlinear(trainer_kwargs={"plugins": [None, object]}).set_params(trainer_kwargs=None).fit(table())
    odd.trainer_kwargs = {"callbacks": [object()]}
    with pytest.raises(ArtifactError, match="numbers and words, and an argument is <object"):
        odd.save(tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


# the score


def test_score_is_minus_the_scaled_error_after_the_training_rows():
    train, whole = table(60), table(70)
    model = dlinear().fit(train)
    scaling = model.fitted_.preparation.targets
    errors = []
    for s, name in enumerate("ab"):
        truth = whole.filter(unique_id=name)["y"][60 : 60 + H].to_numpy()
        point = model.predict().filter(unique_id=name)["DLinear"].to_numpy()
        errors.append(((truth - point) / scaling.scale[s, 0]) ** 2)
    assert model.score(whole) == pytest.approx(-np.mean(errors))
    assert model.score(whole.sample(fraction=1.0, shuffle=True, seed=1)) == pytest.approx(-np.mean(errors))


@pytest.mark.parametrize("rows", [slice(0, 30), slice(0, 60), slice(60, 70)])
def test_there_is_no_score_without_the_training_rows_and_what_follows(rows):
    one = table(70, ids=("a",))
    model = dlinear().fit(one[:60])
    assert model.score(one) < 0
    with pytest.raises(FrameError, match=rf"last training row and an observed value in the {H} steps after it"):
        model.score(one[rows])


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_a_grid_search_fits_on_the_past_and_scores_on_what_follows(kind):
    rows = KINDS[kind][0](table())
    search = GridSearchCV(dlinear(val_size=0), {"max_steps": [1, 40]}, cv=tsforge.WindowSplit(H, 2))
    search.fit(rows)
    assert search.best_params_["max_steps"] == 40
    by_hand = []
    for k in (2, 1):
        cut = table().filter(pl.col("ds") < START + timedelta(days=60 - k * H))
        upto = table().filter(pl.col("ds") < START + timedelta(days=60 - (k - 1) * H))
        by_hand.append(clone(search.best_estimator_).fit(cut).score(upto))
    assert search.best_score_ == pytest.approx(np.mean(by_hand))
    assert columns_of(search.predict(rows)) == ["unique_id", "ds", "DLinear"]


def test_a_random_search_over_the_users_own_columns():
    rows = table().rename({"unique_id": "store", "ds": "when"})
    roles = {"id_col": "store", "time_col": "when"}
    split = tsforge.WindowSplit(H, 2, **roles)
    search = RandomizedSearchCV(dlinear(), {"kernel_size": [3, 5, 7]}, n_iter=2, cv=split, random_state=0)
    search.fit(rows, **roles)
    assert search.best_params_["kernel_size"] in (3, 5, 7)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_history_has_a_row_for_each_validation():
    model = dlinear(max_steps=9, validate_every=4).fit(table())
    assert [row["step"] for row in model.history_] == [4, 8, 9]
    assert set(model.history_[0]) == {"step", "loss", "val_loss", "learning_rate"}
    assert tsforge.Naive(h=1).fit(table()).history_ == []


def test_trained_until_is_the_last_time_that_fitting_looked_at():
    uneven = table().filter((pl.col("unique_id") == "a") | (pl.col("ds") < START + timedelta(days=50)))
    for model in (dlinear(), tsforge.Naive(h=H)):
        until = model.fit(uneven).trained_until()
        assert until.rows() == [("a", START + timedelta(days=59)), ("b", START + timedelta(days=49))]
