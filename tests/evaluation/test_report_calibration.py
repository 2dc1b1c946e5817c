import re

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tsforge.evaluation.calibration import calibration_table, pit_table
from tsforge.evaluation.report_calibration import calibration, interval_widths
from tsforge.evaluation.report_svg import BOTTOM, LEFT, RIGHT, TOP, WIDTH


def forecasts(models, levels=(50, 80), n=200, targets=("t",), seed=0):
    """Truth of a normal law; each model (name: sd) states intervals of a normal law of its own sd."""
    rows = []
    for place, target in enumerate(targets):
        y = np.random.default_rng(seed + place).standard_normal(n)
        for i in range(n):
            row = {"unique_id": "a", "target": target, "cutoff": i // 4, "ds": i, "y": y[i]}
            for model, sd in models.items():
                row[model] = 0.0
                for level in levels:
                    half = (place + 1) * sd * float(stats.norm.ppf(0.5 + level / 200))
                    row |= {f"{model}-lo-{level}": -half, f"{model}-hi-{level}": half}
            rows.append(row)
    return pl.DataFrame(rows)


def told(page):
    return re.findall(r'<svg role="img" aria-label="([^"]+)"', page)


def rows(page):
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]


def test_the_table_has_the_observed_share_the_cells_and_the_width_of_each_interval():
    table = forecasts({"Right": 1.0, "Narrow": 0.5}).with_columns(
        y=pl.when(pl.col("ds") == 3).then(None).otherwise("y")
    )
    head, *body = rows(calibration(table))
    assert head == ["model", "level", "observed %", "cells", "mean width"]
    assert [row[:2] for row in body] == [[m, f"{level} %"] for m in ("Right", "Narrow") for level in (50, 80)]
    expected = calibration_table(table).filter(kind="interval")
    assert [float(row[2]) for row in body] == pytest.approx((100 * expected["observed"]).to_list(), rel=1e-3)
    assert {row[3] for row in body} == {"199"}
    width = 2 * stats.norm.ppf([0.75, 0.9])
    assert [float(row[4]) for row in body] == pytest.approx([*width, *(width / 2)], rel=1e-3)


def test_marks_stand_at_the_stated_and_the_observed_share():
    table = forecasts({"Right": 1.0, "Narrow": 0.5})
    intervals = re.search(r"<svg role.*?</svg>", calibration(table))[0]
    assert "Truth inside each interval" in intervals
    places = np.array(re.findall(r'<g transform="translate\(([\d.]+) ([\d.]+)\)">', intervals), dtype=float)
    stated = np.interp(places[:, 0], [LEFT, WIDTH - RIGHT], [0, 100])
    observed = np.interp(places[:, 1], [TOP, 300 - BOTTOM], [100, 0])
    assert re.search(rf'<text x="{WIDTH - RIGHT}.0" y="[\d.]+" text-anchor="middle" [^>]*>100</text>', intervals)
    assert stated == pytest.approx([50, 80, 50, 80], abs=0.1)
    expected = calibration_table(table).filter(kind="interval")["observed"]
    assert observed == pytest.approx((100 * expected).to_list(), abs=0.1)
    assert observed[2] < 40 < observed[0]  # the control: one is too narrow


def test_each_picture_has_a_title_units_and_words():
    page = calibration(forecasts({"Right": 1.0, "Narrow": 0.5}))
    pictures = re.findall(r"<svg role.*?</svg>", page)
    assert len(pictures) == len(told(page)) == 4
    for picture in pictures:
        assert "<title>" in picture
        assert ">observed (percent of cells)<" in picture or ">percent of cells<" in picture
    assert told(page)[0].startswith("Reliability of intervals in percent. Right: 50.00 stated, ")
    assert "http" not in page


def test_histograms_are_those_of_the_table_and_need_four_quantiles():
    table = forecasts({"Right": 1.0, "Narrow": 0.5})
    words = [words for words in told(calibration(table)) if words.startswith("PIT")]
    shares = pit_table(table).filter(model="Narrow")["share"]
    numbers = re.search(r"ten bins: (.*?)\. A law", words[1])[1].split(", ")
    assert [float(text) for text in numbers] == pytest.approx((100 * shares).to_list(), rel=1e-3)
    one = calibration(forecasts({"Right": 1.0}, levels=(80,)))
    assert "PIT" not in "".join(told(one))
    assert "needs 4 quantiles or more" in one


def test_a_model_without_intervals_is_named_and_not_drawn():
    table = forecasts({"Right": 1.0}).with_columns(Naive=pl.lit(0.0))
    page = calibration(table)
    assert "Without intervals: Naive." in page
    assert "Naive" not in "".join(told(page))
    assert calibration(table.select("unique_id", "ds", "cutoff", "target", "y", "Naive")) == ""


def test_targets_of_different_units_have_widths_of_their_own():
    table = forecasts({"M": 1.0}, levels=(80,), targets=("t", "rh"))
    head, *body = rows(calibration(table))
    assert head[:2] == ["model", "target"]
    width = {row[1]: float(row[-1]) for row in body}
    assert width["rh"] == pytest.approx(2 * width["t"], rel=1e-3)
    mean = interval_widths(table)
    assert mean.to_dicts() == [{"model": "M", "stated": 0.8, "width": pytest.approx(1.5 * width["t"], rel=1e-3)}]


def test_an_end_that_is_missing_is_no_number_and_breaks_nothing():
    table = forecasts({"M": 1.0, "N": 1.0})
    spoiled = table.with_columns(pl.when(pl.col("ds") == 5).then(None).otherwise("N-hi-80").alias("N-hi-80"))
    page = calibration(spoiled)
    assert "nan" not in page
    assert [row[2:] for row in rows(page) if row[:2] == ["N", "80 %"]] == [["–", "200", "–"]]
    assert [row[2:] for row in rows(page)][1] == [row[2:] for row in rows(calibration(table))][1]


def test_without_a_truth_there_is_no_section():
    table = forecasts({"M": 1.0}, n=8)
    assert calibration(table) != ""
    assert calibration(table.with_columns(y=pl.lit(None, pl.Float64))) == ""


def test_names_make_no_elements_and_of_many_models_eight_are_drawn():
    nasty = {'</svg><b>"': 1.0} | {f"m{k}": 1.0 for k in range(9)}
    page = calibration(forecasts(nasty, n=12))
    assert "<b>" not in page
    assert "&lt;/svg&gt;&lt;b&gt;&quot;" in page
    assert "The first 8 of 10 models are drawn." in page
    assert len(told(page)) == 2 + 8
    assert "m8" in "".join(row[0] for row in rows(page))
