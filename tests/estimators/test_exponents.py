import json
import math

import polars as pl
import pytest

import tsforge
from tsforge.data.systems import metadata
from tsforge.errors import ArgumentError, RecipeError
from tsforge.estimators.backtests import Backtest, logistic_map
from tsforge.estimators.exponents import exponent_per_step, with_exponents
from tsforge.estimators.run import run_recipe
from tsforge.training.recipe import read_recipe

VALID = "valid_prediction_time"


def frame(*names: str, season: int = 20) -> tsforge.Frame:
    table = pl.concat([
        pl.DataFrame({"unique_id": name, "ds": range(120), "y": logistic_map(120)}) for name in names
    ])
    return tsforge.Frame(table, freq="1i", season=season)


@pytest.mark.parametrize("estimate", ["lyapunov_separation", "lyapunov_qr"])
def test_an_exponent_per_step_is_that_of_a_period_over_its_steps(estimate):
    lorenz = metadata("Lorenz")
    rate = getattr(lorenz, estimate).value
    assert exponent_per_step("Lorenz", estimate, 100) == pytest.approx(rate * lorenz.period.value / 100)
    assert exponent_per_step("Lorenz-1", estimate, 50) == pytest.approx(2 * exponent_per_step("Lorenz", estimate, 100))


def test_a_name_becomes_the_number_of_each_series_and_the_source():
    given = with_exponents(["mae", {"name": VALID, "exponent": "lyapunov_qr"}, f"{VALID}(exponent=0.5)"],
                           frame("Lorenz", "Rossler"))
    numbers = {name: exponent_per_step(name, "lyapunov_qr", 20) for name in ("Lorenz", "Rossler")}
    assert given == ["mae", {"name": VALID, "source": "lyapunov_qr", "exponent": numbers}, f"{VALID}(exponent=0.5)"]
    (one,) = with_exponents([f"{VALID}(exponent=lyapunov_qr, source=dysts)"], frame("Lorenz"))
    assert one == {"name": VALID, "source": "dysts", "exponent": numbers["Lorenz"]}


@pytest.mark.parametrize(("series", "exponent", "words"), [
    ("Lorenz", "lyapunov", "exponent='lyapunov': wanted a number in 1 / step, or lyapunov_separation or lyapunov_qr"),
    ("store", "lyapunov_qr", "series 'store' has none"),
    ("Henon", "lyapunov_qr", "series 'Henon' has none"),
])
def test_what_has_no_exponent_says_so(series, exponent, words):
    with pytest.raises(ArgumentError, match=words):
        with_exponents([{"name": VALID, "exponent": exponent}], frame(series))


def backtest(metrics: list, h: int = 24) -> Backtest:
    models = [tsforge.Naive(h=h), tsforge.SeasonalNaive(h=h)]
    return Backtest(models, frame("Lorenz"), n_windows=2, step_size=None, refit=False, align="time", level=(),
                    metrics=metrics)


def test_a_backtest_scores_in_lyapunov_times_by_the_name_of_the_estimate():
    made = backtest(["mae", f"{VALID}(exponent=lyapunov_qr)", VALID])
    rate = exponent_per_step("Lorenz", "lyapunov_qr", 20)
    times, steps = (made.scores[name] for name in made.scores.columns if name.startswith(VALID))
    assert times.to_list() == pytest.approx((steps * rate).to_list())
    assert made.scores.columns[2] == f"{VALID}(threshold=0.4, exponent={rate:.6g}, source=lyapunov_qr)"


@pytest.mark.parametrize(("metric", "words"), [
    ("lyapunov_error(dimension=3, fit=[0, 30])", "at least"), (f"{VALID}(threshold=-1)", "threshold=-1"),
    (f"{VALID}(exponent=lyapunov)", "lyapunov_separation"), ("energy_score", "needs sample paths"),
])
def test_a_fault_of_a_window_metric_shows_before_anything_is_fitted(metric, words, monkeypatch):
    monkeypatch.setattr(tsforge.Naive, "fit", lambda *a, **k: pytest.fail("it was fitted"))
    with pytest.raises(ArgumentError, match=words):
        backtest([metric])


def test_the_made_up_series_is_chaotic():
    made = logistic_map(400)
    assert made[:3] == pytest.approx([0.3, 0.84, 0.5376])
    slopes = [math.log(abs(4 - 8 * x)) for x in made]
    assert sum(slopes) / 400 == pytest.approx(math.log(2), abs=0.05)


def test_a_recipe_asks_for_the_same_and_its_run_keeps_the_names(tmp_path):
    metric = {"name": VALID, "rule": "smape", "exponent": "lyapunov_separation"}
    recipe = read_recipe({
        "frame": {"name": "chaos", "system": "Lorenz", "n": 200, "pts_per_period": 10},
        "split": {"test": 40, "windows": 2, "val": 40}, "model": {"name": "dlinear", "h": 20, "input_size": 20},
        "train": {"max_steps": 1, "accelerator": "cpu"},
        "evaluate": {"metrics": ["mse", metric, "directional_accuracy"]},
    })
    assert read_recipe(recipe.plain()) == recipe
    run_recipe(recipe, tmp_path / "run")
    test = json.loads((tmp_path / "run" / "run.json").read_text())["test"]
    rate = exponent_per_step("Lorenz", "lyapunov_separation", 10)
    stated = f"{VALID}(threshold=30, exponent={rate:.6g}, rule=smape, source=lyapunov_separation)"
    assert [row["metric"] for row in test] == 2 * ["mse", stated, "directional_accuracy"]
    with pytest.raises(RecipeError, match=r"evaluate\.metrics"):
        read_recipe({"model": {"name": "dlinear", "h": 2}, "evaluate": {"metrics": [3]}})
