import re

import numpy as np
import polars as pl
import pytest

from tsforge.evaluation.report_dynamics import dynamics, error_growth


def runs(names: list[str], steps: int = 120) -> pl.DataFrame:
    """Forecasts whose error grows as exp(t / 20), from 1e-3 sd on; `flat` is wrong by one sd from the first step on."""
    t = np.arange(1, steps + 1)
    y = np.sin(t / 5) * np.sqrt(2)
    y = (y - y.mean()) / y.std()
    table = pl.DataFrame({"ds": t, "good": y + 1e-3 * np.exp(t / 20), "flat": y + 1, "y": y})
    return pl.concat([table.select(pl.lit(name).alias("unique_id"), pl.all()) for name in names])


def test_an_error_that_grows_with_the_exponent_grows_by_e_in_a_lyapunov_time():
    growth = error_growth(runs(["a", "b", "c"]), ["good", "flat"], {"a": 20.0, "b": 20.0, "c": 20.0})
    times, error = growth["good"]
    slope = np.polyfit(times, np.log(error), 1)[0]
    assert slope == pytest.approx(1, rel=0.02)
    assert times[-1] < 6 <= times[-1] * 1.05
    assert growth["flat"][1] == pytest.approx(np.ones(len(growth["flat"][0])))  # the control: no growth
    half = error_growth(runs(["a", "b", "c"]), ["good"], dict.fromkeys("abc", 10.0))["good"]
    assert np.polyfit(half[0], np.log(half[1]), 1)[0] == pytest.approx(0.5, rel=0.02)


def test_series_without_an_exponent_are_in_no_growth():
    table = runs(["a", "b"])
    spoiled = table.with_columns(good=pl.when(pl.col("unique_id") == "b").then(1e9).otherwise(pl.col("good")))
    only = error_growth(spoiled, ["good"], {"a": 20.0})["good"][1]
    assert only == pytest.approx(error_growth(runs(["a"]), ["good"], {"a": 20.0})["good"][1])
    assert error_growth(table, ["good"], {}) == {}


def test_the_section_draws_attractors_of_the_first_model_and_says_what_is_seen():
    page = dynamics(runs(["<a>", "b"]), ["good", "flat"], {"<a>": 8, "b": 8}, {"b": 20.0})
    labels = re.findall(r'aria-label="([^"]+)"', page)
    assert len(labels) == page.count("<svg") == 3
    assert "&lt;a&gt; in delay coordinates, lag 8" in labels[0]
    assert labels[2].startswith("Error growth. good:")
    assert "<a>" not in page
    points = re.findall(r'points="([^"]+)"', page)
    assert all(len(line.split()) == 120 - 8 for line in points[:4])
    first = [float(number) for number in points[0].split()[0].split(",")]
    assert 0 <= min(first) <= max(first) <= 190


def test_six_of_many_series_are_drawn_evenly():
    names = [f"s{k:02}" for k in range(20)]
    page = dynamics(runs(names), ["good"], dict.fromkeys(names, 5), {})
    assert page.count("<svg") == 6
    assert "6 of 20 series" in page
    assert "s00, lag 5" in page
    assert "s19, lag 5" in page


def test_a_run_that_leaves_the_picture_or_is_missing_breaks_nothing():
    table = runs(["a"]).with_columns(good=pl.when(pl.col("ds") > 60).then(1e12).otherwise(None))
    page = dynamics(table, ["good"], {"a": 8}, {"a": 20.0})
    assert "nan" not in page
    assert "inf" not in page
