import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.ets import ETS, channel, forms_of
from tsforge.local.exponential import WORDS, Form, smoother_of
from tsforge.local.exponential_fit import additive, aicc, fitted

EVERY = [Form(e, t, s) for e in "AM" for t in ("N", "A", "Ad", "M", "Md") for s in "NAM"]


def seasonal(steps: int = 90, m: int = 6, seed: int = 0, slope: float = 0.05) -> np.ndarray:
    t = np.arange(steps)
    noise = np.random.default_rng(seed).normal(size=steps)
    return 20 + slope * t + 3 * np.sin(2 * np.pi * t / m) + 0.4 * noise + 0.2 * noise.cumsum()


def words(form: Form, m: int) -> dict:
    season = {"seasonal": WORDS[form.season], "seasonal_periods": m} if form.season != "N" else {}
    return {"error": WORDS[form.error], "trend": WORDS[form.trend[0]], "damped_trend": "d" in form.trend, **season}


@pytest.mark.parametrize("form", EVERY, ids="".join)
def test_all_cutoffs_by_one_pass_are_what_statsmodels_says_of_each_history(form):
    y, model = seasonal(), ETS(8, season=6, model="".join(form))
    state = model.fit(y[:70, None])
    smoother = smoother_of(channel(state, 0), 6)
    cutoffs = np.array([30, 69, 89])
    for forecast, cutoff in zip(model.forecast(y[:, None], cutoffs, state)[..., 0], cutoffs, strict=True):
        known, given = smoother.model(y[: cutoff + 1])
        assert_allclose(forecast, known.smooth(given).forecast(8), rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("word", ["ANN", "AAN", "AAdN", "ANA", "AAdA", "MAN", "MAM", "MNA"])
def test_the_likelihood_is_no_lower_than_the_one_statsmodels_finds(word):
    y, form = seasonal(), forms_of(word, 6)[0]
    smoother = fitted(y, 6, [form])
    model, given = smoother.model(y)
    theirs = ETSModel(y, **words(form, 6)).fit(disp=False, maxiter=500)
    assert model.loglike(given) >= theirs.llf - 0.02
    shaken = smoother._replace(initial=smoother.initial * 1.01)
    assert shaken.model(y)[0].loglike(given) < model.loglike(given)  # a maximum


def test_initial_states_of_additive_forms_are_the_least_squares_ones():
    y, form = seasonal(40), Form("A", "Ad", "A")
    smoother = additive(y, 6, form)

    def squares(initial: np.ndarray) -> float:
        model, given = smoother._replace(initial=initial).model(y)
        return float(((y - model.smooth(given, return_raw=True)[0]) ** 2).sum())

    least = squares(smoother.initial)
    for state in range(len(smoother.initial)):
        for step in (-0.01, 0.01):
            moved = smoother.initial.copy()
            moved[state] += step
            assert squares(moved) > least


def test_the_automatic_form_is_the_lowest_aicc_of_all_forms_it_names():
    y = seasonal(80)
    forms = forms_of("ZZZ", 6)
    assert len(forms) == 15
    best = fitted(y, 6, forms)
    scores = [aicc(y, 6, fitted(y, 6, [form])) for form in forms]
    assert_allclose(aicc(y, 6, best), min(scores), atol=0.1)
    assert max(scores) > min(scores) + 50  # the control: forms differ


@pytest.mark.parametrize(("series", "expected"), [("level", ("N", "N")), ("trend", ("A", "N")), ("season", ("N", "A"))])
def test_it_finds_planted_parts(series, expected):
    t, noise = np.arange(200), np.random.default_rng(5).normal(size=(200, 5))
    part = {"level": 0 * t, "trend": 0.5 * t, "season": 4 * np.sin(2 * np.pi * t / 6)}[series]
    state = ETS(1, season=6).fit(part[:, None] + noise)
    forms = [smoother_of(channel(state, c), 6).form for c in range(5)]
    assert [(form.trend, form.season) for form in forms].count(expected) >= 3  # AICc adds a part now and then


def test_a_multiplicative_season_that_grows_with_the_level_is_found():
    t = np.arange(150)
    noise = np.exp(0.02 * np.random.default_rng(0).normal(size=150))
    y = (10 + 0.5 * t) * (1 + 0.4 * np.sin(2 * np.pi * t / 6)) * noise
    state = ETS(1, season=6).fit(y[:, None])
    assert smoother_of(channel(state, 0), 6).form.season == "M"


def test_a_history_that_begins_elsewhere_gets_its_own_initial_states():
    y, model = seasonal(200, slope=0), ETS(6, season=6, model="ANA")
    state = model.fit(y[:150, None])
    whole = model.forecast(y[:, None], np.array([199]), state)
    late = model.forecast(y[50:, None], np.array([149]), state)  # 50 is no multiple of the season
    assert np.abs(late - whole).max() < 0.8
    assert np.abs(late - whole).max() > 0
    shifted = np.roll(whole, 1, axis=1)  # the control: a phase wrong by one step
    assert np.abs(late - shifted).max() > 1


def test_a_cutoff_within_the_first_steps_reads_nothing_after_it():
    y, model = seasonal(60), ETS(3, season=6)
    state, other = model.fit(y[:, None]), y + 5
    changed = other.copy()
    changed[8:] += 100
    for history, altered in ((y, np.r_[y[:8], y[8:] + 100]), (other, changed)):
        before, after = (model.forecast(each[:, None], np.arange(0, 20), state) for each in (history, altered))
        assert_array_equal(before[:8], after[:8])
        assert not np.array_equal(before[8:], after[8:])


def test_missing_steps_are_carried_forward_and_leading_ones_are_unknown():
    y = seasonal(70)[:, None]
    gaps, filled = y.copy(), y.copy()
    gaps[[0, 1, 30]], filled[30] = np.nan, y[29]
    model = ETS(3, season=6, model="AAN")
    found = model.forecast(gaps, np.array([1, 69]), model.fit(gaps))
    assert np.isnan(found[0]).all()
    assert_array_equal(found[1:], model.forecast(filled[2:], np.array([67]), model.fit(filled[2:])))


@pytest.mark.parametrize("y", [np.full(30, 7.0), np.zeros(30), 3.0 * np.arange(30), 1e9 + np.arange(30.0) % 5])
def test_series_without_noise_are_continued(y):
    model = ETS(4, season=5)
    found = model.forecast(y[:, None], np.array([29]), model.fit(y[:, None]))[0, :, 0]
    expected = y[-1] + (y[1] - y[0]) * np.arange(1, 5) if np.ptp(np.diff(y)) == 0 else y[:4]
    assert_allclose(found, expected, atol=1e-2, rtol=1e-6)


def test_a_form_that_multiplies_is_for_positive_series():
    y = seasonal(60) - 25
    with pytest.raises(FrameError, match="model='MAN' multiplies, and the smallest value is -"):
        ETS(1, model="MAN").fit(y[:, None])
    assert not smoother_of(channel(ETS(1, season=6).fit(y[:, None]), 0), 6).form.multiplies
    model = ETS(3, model="MAN")
    state = model.fit(seasonal(60)[:, None])
    assert np.isfinite(model.forecast(y[:, None], np.arange(60), state)).all()


@pytest.mark.parametrize(("steps", "word"), [(6, "ZZZ"), (9, "MAN"), (11, "ZZZ"), (11, "MNM")])
def test_a_short_positive_series_may_be_multiplied(steps, word):
    y, model = seasonal(steps), ETS(3, season=6, model=word)
    with pytest.raises(ValueError, match="less than"):  # the control: statsmodels alone has no start
        ETSModel(y, error="mul", seasonal="mul", seasonal_periods=6)
    found = model.forecast(y[:, None], np.arange(steps), model.fit(y[:, None]))
    assert np.isfinite(found).all()
    assert np.abs(found[-1] - 20).max() < 15


@pytest.mark.parametrize(("steps", "model"), [(4, "ZZZ"), (12, "AAA"), (0, "ANN")])
def test_too_few_steps_are_an_error(steps, model):
    with pytest.raises(FrameError, match=f"^{steps} observed training steps are too few for ETS with model='{model}'"):
        ETS(1, season=6, model=model).fit(np.random.default_rng(0).normal(size=(steps, 1)))


@pytest.mark.parametrize(("season", "word"), [(6, "AA"), (6, "XNN"), (6, "ANd"), (1, "ANA"), (6, "aan")])
def test_a_word_that_is_no_form_is_refused(season, word):
    with pytest.raises(ArgumentError, match="model="):
        ETS(1, season=season, model=word)


def test_long_seasons_are_left_out_of_the_choice():
    assert {form.season for form in forms_of("ZZZ", 24)} == {"N", "A", "M"}
    assert {form.season for form in forms_of("ZZZ", 48)} == {"N", "A"}
    assert {form.season for form in forms_of("ZZZ", 168)} == {"N"} == {form.season for form in forms_of("ZZZ", 1)}


@pytest.mark.parametrize("change", [{"0/form": np.array([0, 9, 0])}, {"0/form": np.zeros(3)},
                                    {"0/weights": np.zeros(3)},
                                    {"0/initial": np.zeros(4)}, {"0/initial": np.full(8, np.nan)},
                                    {"0/start": np.zeros(11)}, {"0/start": np.array([np.nan])}])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = ETS(1, season=6, model="ANA")
    state = dict(model.fit(seasonal(60)[:, None]))
    model.check(state, 1)
    with pytest.raises(ArtifactError):
        model.check(state | change, 1)
