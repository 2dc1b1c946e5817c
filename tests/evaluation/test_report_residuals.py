import re

import numpy as np
import polars as pl
import pytest

from tsforge.evaluation.report_residuals import residuals
from tsforge.evaluation.residuals import autocorrelation, ljung_box


def forecasts(errors, models=("M",), spacing=4):
    """A frame of models that are all wrong by errors [series, window, step]; the k-th model by k + 1 times as much."""
    rows = [
        {"unique_id": f"s{i}", "cutoff": w * spacing, "ds": w * spacing + s + 1, "y": 0.0}
        | {model: -errors[i, w, s] * (k + 1) for k, model in enumerate(models)}
        for i in range(errors.shape[0]) for w in range(errors.shape[1]) for s in range(errors.shape[2])
    ]
    return pl.DataFrame(rows)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def told(page):
    """The words of each picture."""
    return re.findall(r'<svg role="img" aria-label="([^"]+)"', page)


def rows(page):
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]


def test_from_eight_windows_on_errors_one_step_ahead_are_followed_over_cutoffs():
    errors = noise(1, 8, 4)
    page = residuals(forecasts(errors))
    r = autocorrelation(errors[0, :, 0], 4)
    words, = told(page)
    assert "errors of M one step ahead at successive cutoffs" in words
    assert [float(text.replace("−", "-")) for text in re.findall(r"\d: (−?\d\.\d+)", words)] == pytest.approx(
        r, abs=0.0051
    )
    assert ">lag (cutoffs)<" in page
    assert ">autocorrelation<" in page
    assert "<title>M</title>" in page


def test_with_fewer_windows_it_says_that_it_shows_the_steps_of_a_window_and_tests_nothing():
    errors = noise(1, 7, 12)
    page = residuals(forecasts(errors, spacing=12))
    words, = told(page)
    assert "errors of M at the steps of one window" in words
    r = autocorrelation(errors[0], 6).mean(axis=0)
    assert float(re.search(r"1: (−?\d\.\d+)", words)[1].replace("−", "-")) == pytest.approx(r[0], abs=0.0051)
    assert ">lag (steps)<" in page
    assert "no test of the model" in page
    assert "Ljung-Box" not in page
    assert "Ljung-Box" in residuals(forecasts(noise(1, 8, 12), spacing=12))  # the control


def test_with_few_windows_of_few_steps_it_says_that_there_is_nothing_to_see():
    assert "There are 3 windows of 4 steps" in residuals(forecasts(noise(2, 3, 4)))


def test_mean_errors_of_windows_are_shown_only_where_windows_do_not_overlap():
    errors = noise(1, 20, 4)
    apart, overlapping = residuals(forecasts(errors, spacing=4)), residuals(forecasts(errors, spacing=1))
    assert "Hollow" in apart
    assert "Hollow" not in overlapping
    assert apart.count("<path") == 2 * overlapping.count("<path") == 20
    p = ljung_box(errors[0].mean(axis=1), 4)[1]
    assert float(rows(apart)[2][-1]) == pytest.approx(p, rel=1e-3)
    assert rows(apart)[2][1] == "mean of a window"
    assert len(rows(overlapping)) == 2


def test_ljung_box_stands_beside_the_pictures():
    errors = noise(1, 30, 1)
    table = rows(residuals(forecasts(errors, models=("M", "N"))))
    q, p = ljung_box(errors[0, :, 0], 6)
    assert table[0] == ["model", "errors", "cutoffs", "lags", "Q", "p"]
    assert [row[:4] for row in table[1:]] == [[name, "one step ahead", "30", "6"] for name in ("M", "N")]
    assert [float(text) for text in table[1][4:]] == pytest.approx([float(q), float(p)], rel=1e-3)


def test_of_several_series_it_counts_those_in_which_something_is_left():
    errors = noise(12, 40, 1)
    errors[:5, :, 0] = np.cumsum(errors[:5, :, 0], axis=1)  # five series whose errors go on
    page = residuals(forecasts(errors, spacing=1))
    found = (ljung_box(errors[:, :, 0], 8)[1] < 0.05).sum()
    assert found >= 5
    assert rows(page)[1][-1] == f"{found} of 12"
    assert "mean over 12 series" in page
    assert page.count("stroke-dasharray") == 2  # the band of the mean
    assert "stroke-dasharray" not in residuals(forecasts(noise(1, 40, 1), spacing=1))


def test_series_with_too_few_windows_are_left_out_and_counted():
    table = forecasts(noise(3, 10, 2), spacing=2).filter((pl.col("unique_id") != "s1") | (pl.col("cutoff") < 10))
    page = residuals(table)
    assert "1 series with fewer than 8 are left out." in page
    assert "left out" not in residuals(forecasts(noise(3, 10, 2), spacing=2))


def test_of_many_models_eight_are_drawn_and_it_says_so():
    names = [f"m{k}" for k in range(11)]
    page = residuals(forecasts(noise(1, 10, 2), models=names))
    assert len(told(page)) == 8
    assert "The first 8 of 11 models are drawn." in page
    assert "m10" in page  # in the table


def test_names_make_no_elements():
    page = residuals(forecasts(noise(1, 10, 2), models=("</svg><b>\"", "N")))
    assert "<b>" not in page
    assert "&lt;/svg&gt;&lt;b&gt;&quot;" in page


def test_without_a_truth_or_with_sample_paths_there_is_no_section():
    table = forecasts(noise(1, 10, 2))
    assert residuals(table.with_columns(y=pl.lit(None, pl.Float64))) == ""
    assert residuals(table.with_columns(sample=0)) == ""
    assert residuals(table) != ""


def test_errors_that_never_vary_are_said_not_to():
    page = residuals(forecasts(np.full((1, 10, 2), 0.5)))
    assert "do not vary" in page
    assert "nan" not in page
