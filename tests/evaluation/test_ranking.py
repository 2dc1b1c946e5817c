import re
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from tsforge.errors import ArgumentError
from tsforge.evaluation.critical_difference import critical_difference_diagram
from tsforge.evaluation.ranking import critical_difference, friedman, mean_ranks, not_different, ranking

# Demšar (2006), table 6: AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 sets. In row 13 the paper ranks the last two
# by digits that it does not print.
AUC = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.97501, 0.975], [0.957, 0.978, 0.946, 0.970],
])


def frame(losses: np.ndarray, names: str = "ABCDEFGH") -> pl.DataFrame:
    """A forecast frame in which the mean absolute errors of series are these, `[block, model]`."""
    table = pl.DataFrame({"unique_id": [f"s{n:03}" for n in range(len(losses))], "ds": 1, "y": 0.0})
    return table.with_columns(pl.Series(name, column) for name, column in zip(names, losses.T, strict=False))


def planted(seed: int = 0, n: int = 30) -> np.ndarray:
    """Losses of four models: two alike, two that are worse and alike."""
    rng = np.random.default_rng(seed)
    return rng.gamma(4.0, size=(n, 1)) + rng.gamma(2.0, 0.2, size=(n, 4)) + np.array([0.0, 0.0, 2.0, 2.0])


def test_the_worked_example_of_demsar():
    ranks = mean_ranks(-AUC)
    assert np.round(ranks, 3) == pytest.approx([3.143, 2.0, 2.893, 1.964])
    plain = 12 * 14 / (4 * 5) * (ranks @ ranks - 4 * 5**2 / 4)
    assert plain == pytest.approx(9.28, abs=0.01)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.01)
    assert critical_difference(4, 14, 0.05) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert round(critical_difference(4, 14, 0.05), 2) == 1.25
    assert round(critical_difference(4, 14, 0.10), 2) == 1.12


def test_the_critical_values_are_those_of_demsars_table():
    for alpha, known in ((0.05, (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)),
                         (0.10, (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920))):
        q = [critical_difference(k, 6, alpha) / np.sqrt(k * (k + 1) / 36) for k in range(2, 11)]
        assert q == pytest.approx(known, abs=1.1e-3)


def test_friedman_is_scipys_chi2_in_the_form_of_iman_and_davenport():
    chi2 = stats.friedmanchisquare(*AUC.T).statistic  # corrected for ties
    found = friedman(-AUC)
    assert found.statistic == pytest.approx(13 * chi2 / (14 * 3 - chi2))
    assert found.p == pytest.approx(stats.f.sf(found.statistic, 3, 39))


def test_without_ties_friedmans_f_is_that_of_an_analysis_of_variance_of_the_ranks():
    losses = planted(n=12)
    ranks = np.array([[sum(other <= loss for other in row) for loss in row] for row in losses], dtype=float)
    n, k = ranks.shape
    between = n * ((ranks.mean(0) - ranks.mean()) ** 2).sum()
    within = ((ranks - ranks.mean(0)) ** 2).sum()
    assert friedman(losses).statistic == pytest.approx((between / (k - 1)) / (within / ((n - 1) * (k - 1))))


def test_on_models_that_are_alike_friedman_rejects_at_its_level():
    rng = np.random.default_rng(0)
    rejected = np.mean([friedman(rng.normal(size=(15, 4))).p <= 0.05 for _ in range(1000)])
    assert 0.035 <= rejected <= 0.065


def test_blocks_that_all_agree_or_are_all_tied():
    assert friedman(np.tile([1.0, 2.0, 3.0], (5, 1))).p == 0
    assert friedman(np.ones((5, 3))).p == 1


def test_groups_are_the_largest_that_span_less_than_the_critical_difference():
    assert not_different([1.0, 1.5, 2.4, 4.0], cd=1.0) == [(0, 2), (1, 3), (3, 4)]
    assert not_different([1.0, 2.0], cd=1.0) == [(0, 1), (1, 2)]
    assert not_different([1.0, 1.0, 1.0], cd=0.5) == [(0, 3)]
    rng = np.random.default_rng(0)
    for _ in range(50):
        ranks, cd = np.sort(rng.uniform(1, 6, size=6)).tolist(), rng.uniform(0.2, 4)
        groups = not_different(ranks, cd)
        for i in range(6):
            for j in range(i, 6):
                assert (ranks[j] - ranks[i] < cd) == any(first <= i and j < end for first, end in groups)


def test_planted_differences_are_found_and_those_that_are_none_are_not():
    ranked = ranking(frame(planted()))
    assert ranked["mean_rank"].is_sorted()
    groups = dict(ranked.select("model", "group").iter_rows())
    assert groups["A"] == groups["B"] != groups["C"] == groups["D"]
    assert ranked["p_friedman"][0] < 1e-6
    assert ranked["blocks"].to_list() == [30] * 4
    assert ranked["critical_difference"][0] == pytest.approx(critical_difference(4, 30))


def test_where_friedman_finds_nothing_all_are_one_group():
    losses = np.random.default_rng(1).gamma(2.0, size=(6, 5))
    assert friedman(losses).p > 0.05
    assert ranking(frame(losses))["group"].to_list() == ["1"] * 5


def test_the_order_of_models_and_rows_does_not_matter():
    table = frame(planted())
    shuffled = table.select("unique_id", "ds", "y", "D", "B", "A", "C").sample(fraction=1, shuffle=True, seed=0)
    assert_frame_equal(ranking(shuffled), ranking(table))


def test_two_models_or_one_series_are_refused_with_a_way_out():
    losses = planted()
    with pytest.raises(ArgumentError, match=r"three models or more. Two models are compared by compare"):
        ranking(frame(losses[:, :2]))
    with pytest.raises(ArgumentError, match=r"1 scored groups by \(unique_id\).*2 or more: add series, or windows"):
        ranking(frame(losses[:1]))
    with pytest.raises(ArgumentError, match="1 models over 5 blocks"):
        critical_difference(1, 5)


def drawn(svg: str) -> tuple[ElementTree.Element, list[str]]:
    root = ElementTree.fromstring(svg)
    return root, [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_diagram_names_every_model_and_says_in_words_what_it_shows():
    ranked = ranking(frame(planted()))
    root, texts = drawn(critical_difference_diagram(ranked, "sMAPE, 30 series"))
    assert {"A", "B", "C", "D", "mean rank", f"critical difference {ranked['critical_difference'][0]:.2f}"} <= {*texts}
    assert root.get("role") == "img"
    said = root.get("aria-label") or ""
    assert said.startswith("sMAPE, 30 series. Mean ranks over 30 groups, 1 is best: ")
    first, second, third, fourth = ranked["model"]
    assert said.endswith(f"Not shown to differ: {first}, {second}; {third}, {fourth}.")
    assert root[0].tag.endswith("title")
    assert root[0].text == "sMAPE, 30 series"


def test_the_diagram_has_the_colour_of_the_text_around_it_and_fetches_nothing():
    svg = critical_difference_diagram(ranking(frame(planted())))
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg)) == {"currentColor", "none"}
    assert not re.search(r"#|rgb|href|url|<style|<script", svg)


def test_bars_and_ruler_are_to_the_scale_of_the_axis():
    ranked = ranking(frame(planted()))
    root, _ = drawn(critical_difference_diagram(ranked))
    lines = [{key: float(line.attrib[key]) for key in ("x1", "x2", "y1", "stroke-width")}
             for line in root.iter("{http://www.w3.org/2000/svg}line")]
    axis = next(line for line in lines if line["x2"] - line["x1"] == pytest.approx(260))
    per_rank = 260 / (4 - 1)  # ranks here lie from 1 to 4
    ruler = next(line for line in lines if line["y1"] < axis["y1"] and line["x2"] > line["x1"])
    assert ruler["x2"] - ruler["x1"] == pytest.approx(ranked["critical_difference"][0] * per_rank, abs=0.2)
    bars = [line for line in lines if line["stroke-width"] == 4]
    ranks = ranked["mean_rank"].to_list()
    spans = [bar["x2"] - bar["x1"] - 6 for bar in bars]
    assert spans == pytest.approx([(b - a) * per_rank for a, b in (ranks[:2], ranks[2:])], abs=0.2)


def test_names_from_outside_are_text_and_long_ones_are_shortened_with_the_whole_behind():
    table = frame(planted()).rename({"A": "<script>alert(1)</script>&", "C": "a model with a name that has no end"})
    svg = critical_difference_diagram(ranking(table), title='"<b>"')
    root, texts = drawn(svg)
    assert "<script" not in svg
    assert "a model with a name t…" in texts
    assert "a model with a name that has no end" in [node.text for node in root.iter() if node.tag.endswith("title")]


def test_the_diagram_of_something_else_is_refused():
    with pytest.raises(ArgumentError, match=r"ranked has no column 'mean_rank'.*Give what ranking"):
        critical_difference_diagram(frame(planted()).rename({"A": "model"}))
    with pytest.raises(ArgumentError, match="no row"):
        critical_difference_diagram(ranking(frame(planted())).clear())
