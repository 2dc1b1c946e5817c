import numpy as np
import pytest

from tsforge.data.directed_chain import FitzHughNagumo, Opinion, pull
from tsforge.data.load import load
from tsforge.errors import ArgumentError


def test_the_pull_of_an_opinion_is_the_mean_over_all_pairs():
    x = np.random.default_rng(0).uniform(-2, 2, 7)

    def phi(r):
        return 6 * np.exp(-0.01 / (1 - (r - 0.2) ** 2)) if r < 1.2 else 0.0

    expected = [np.mean([phi(abs(a - b)) * (a - b) for b in x]) for a in x]
    np.testing.assert_allclose(pull(x), expected, atol=1e-12)


def test_opinions_with_a_short_reach_form_groups_and_without_noise_keep_their_mean():
    start, end = (np.histogram(x, 16, (-2, 2))[0] for x in Opinion(n=600, th2=-0.2).paths()[:, [0, -1], 0].T)
    valleys = [counts[6:10].min() / min(counts[:8].max(), counts[8:].max()) for counts in (start, end)]
    assert valleys[1] < 0.33 < valleys[0]
    still = Opinion(n=50, sigma=0.0, dropped=0.0).paths()[..., 0]
    np.testing.assert_allclose(still.mean(axis=0), still[:, 0].mean(), atol=1e-9)  # the pull of a pair cancels


def test_dropped_points_are_straight_lines_and_the_start_is_kept():
    whole, drawn = (Opinion(n=40, dropped=share).paths()[..., 0] for share in (0.0, 0.3))
    assert (whole[:, 0] == drawn[:, 0]).all()
    changed = whole != drawn
    assert 0.25 < changed[:, 1:].mean() < 0.35
    inner = changed[:, 1:-1] & ~changed[:, :-2] & ~changed[:, 2:]
    line = (drawn[:, :-2] + drawn[:, 2:]) / 2
    np.testing.assert_allclose(drawn[:, 1:-1][inner], line[inner], atol=1e-12)


def test_one_step_of_the_neurons_has_the_mean_of_their_equations():
    v, w, y = (c.mean() for c in FitzHughNagumo(n=20_000, steps=1).paths()[:, 0].T)
    paths = FitzHughNagumo(n=20_000, steps=1).paths()
    at = paths[:, 0].T
    s = 1 / (1 + np.exp(-0.2 * (at[0] - 2)))
    drift = np.stack([at[0] - at[0] ** 3 / 3 - at[1] + 0.5 - y * (at[0] - 1), 0.08 * (at[0] + 0.7 - 0.8 * at[1]),
                      s * (1 - at[2]) - at[2]]).mean(axis=1)
    step = (paths[:, 1] - paths[:, 0]).mean(axis=0) / 0.01
    np.testing.assert_allclose(step, drift, atol=0.15)
    assert abs(v) < 0.02
    assert abs(w - 0.5) < 0.02


@pytest.mark.parametrize(("name", "states"), [("opinion", ["x"]), ("fitzhugh_nagumo", ["V", "w", "y"])])
def test_they_are_frames_of_paths_the_same_for_the_same_seed(name, states):
    frame = load(name, n=12, steps=9)
    assert list(frame.targets) == states
    assert len(frame) == 12 * 10
    assert frame.table.equals(load(name, n=12, steps=9).table)
    assert not frame.table.equals(load(name, n=12, steps=9, seed=1).table)


@pytest.mark.parametrize(
    "arguments", [{"n": 1}, {"steps": 0}, {"seed": -1}, {"dropped": 1.0}, {"sigma": -0.1}, {"th2": -1.0}], ids=str
)
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        Opinion(**arguments)
