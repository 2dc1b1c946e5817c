import math

import numpy as np
import pytest

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics import crps, crps_of_samples, energy_score, mae, variogram_score

SCORES = [crps_of_samples, energy_score, variogram_score]
every_score = pytest.mark.parametrize("score", SCORES)


def law(m: int = 30, h: int = 6, channels: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(h, channels)), rng.normal(size=(m, h, channels)).cumsum(axis=1)


def crps_by_hand(y: np.ndarray, x: np.ndarray) -> float:
    m, cells = len(x), list(np.ndindex(y.shape))
    return sum(sum(abs(x[(i, *c)] - y[c]) for i in range(m)) / m
               - sum(abs(x[(i, *c)] - x[(j, *c)]) for i in range(m) for j in range(m)) / (2 * m * m)
               for c in cells) / len(cells)


def energy_by_hand(y: np.ndarray, x: np.ndarray, beta: float = 1) -> float:
    m = len(x)

    def far(a: np.ndarray, b: np.ndarray) -> float:
        return math.sqrt(sum((p - q) ** 2 for p, q in zip(a.ravel(), b.ravel(), strict=True))) ** beta

    return sum(far(x[i], y) for i in range(m)) / m - sum(
        far(x[i], x[j]) for i in range(m) for j in range(m)) / (2 * m * m)


def variogram_by_hand(y: np.ndarray, x: np.ndarray, p: float = 0.5) -> float:
    cells, m, total = list(np.ndindex(y.shape)), len(x), 0.0
    for a in cells:
        for b in cells:
            mean = sum(abs(x[(i, *a)] - x[(i, *b)]) ** p for i in range(m)) / m
            total += (abs(y[a] - y[b]) ** p - mean) ** 2
    return total


@pytest.mark.parametrize(("score", "by_hand"), list(zip(SCORES, [crps_by_hand, energy_by_hand, variogram_by_hand],
                                                        strict=True)))
@pytest.mark.parametrize("m", [1, 2, 9])
def test_scores_equal_loops_over_the_formula(score, by_hand, m):
    y, x = law(m)
    assert score(y, x) == pytest.approx(by_hand(y, x))
    assert score(y[:, 0], x[..., 0]) == pytest.approx(by_hand(y[:, 0], x[..., 0]))
    assert score(y[::-1], x) != pytest.approx(by_hand(y, x))


def test_their_orders_are_those_of_the_formula():
    y, x = law(8)
    assert energy_score(y, x, beta=1.5) == pytest.approx(energy_by_hand(y, x, 1.5))
    assert variogram_score(y, x, p=1) == pytest.approx(variogram_by_hand(y, x, 1))
    with pytest.raises(ArgumentError, match="beta=2: the energy score is proper"):
        energy_score(y, x, beta=2)
    with pytest.raises(ArgumentError, match="p=0"):
        variogram_score(y, x, p=0)


def test_of_one_cell_the_energy_score_is_the_crps_and_of_one_path_the_absolute_error():
    y, x = law(40, h=1, channels=1)
    assert energy_score(y, x) == pytest.approx(crps_of_samples(y, x))
    y, x = law(1)
    assert crps_of_samples(y, x) == pytest.approx(mae(y, x[0]))
    assert energy_score(y, x) == pytest.approx(np.linalg.norm(y - x[0]))


def test_the_crps_of_samples_is_that_of_their_quantiles_where_both_are_dense():
    y, x = law(2000, h=3, channels=1)
    levels = (np.arange(500) + 0.5) / 500
    q_hats = np.moveaxis(np.quantile(x[..., 0], levels, axis=0), 0, -1)
    assert crps_of_samples(y[:, 0], x[..., 0]) == pytest.approx(crps(y[:, 0], q_hats, levels), rel=1e-2)
    assert crps_of_samples(y[:, 0], x[..., 0]) != pytest.approx(crps(y[:, 0], q_hats + 0.2, levels), rel=1e-2)


def correlated(n: int, rho: float, seed: int) -> np.ndarray:
    """[n, 8] normal, of neighbours correlated by rho."""
    gap = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    return np.random.default_rng(seed).multivariate_normal(np.zeros(8), rho**gap, size=n)


@pytest.mark.parametrize("score", [energy_score, variogram_score])
def test_the_true_law_scores_best_also_against_one_with_other_dependence(score):
    truths, true, loose = correlated(400, 0.9, 0), correlated(200, 0.9, 1), correlated(200, 0.0, 2)

    def mean(paths: np.ndarray) -> float:
        return float(np.mean([score(y, paths) for y in truths]))

    assert mean(true) < mean(loose)
    assert mean(true) < mean(1.6 * true)
    marginal = [np.mean([crps_of_samples(y, paths) for y in truths]) for paths in (true, loose)]
    assert marginal[0] == pytest.approx(marginal[1], rel=0.03)  # cell by cell the two laws are the same


def test_the_variogram_does_not_see_a_constant_shift_and_the_energy_score_does():
    y, x = law()
    assert variogram_score(y, x + 3) == pytest.approx(variogram_score(y, x))
    assert energy_score(y, x + 3) > 1.5 * energy_score(y, x)


@every_score
def test_cells_without_truth_are_left_out(score):
    y, x = law()
    holed = y.copy()
    holed[[0, 3], [1, 0]] = np.nan
    seen = ~np.isnan(holed)
    x[:, ~seen] = np.nan  # a path may be missing there too
    assert score(holed, x) == pytest.approx(score(y[seen], x[:, seen]))
    assert math.isnan(score(np.full_like(y, np.nan), x))


@every_score
def test_a_path_that_is_missing_at_an_observed_cell_makes_the_value_nan(score):
    y, x = law()
    x[4, 2, 1] = np.nan
    assert math.isnan(score(y, x))


@every_score
def test_the_order_of_paths_does_not_matter(score):
    y, x = law()
    assert score(y, x[::-1]) == pytest.approx(score(y, x))
    assert score(y, x[:, ::-1]) != pytest.approx(score(y, x))


@every_score
def test_paths_of_another_shape_are_refused(score):
    y, x = law()
    for truth, paths in ((y, x[:, :-1]), (y, x[0]), (y[:, 0], x), (y, x[:0])):
        with pytest.raises(ShapeError, match=r"wanted \[h\] and \[sample, h\]"):
            score(truth, paths)
