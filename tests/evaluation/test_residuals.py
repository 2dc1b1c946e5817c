import numpy as np
import polars as pl
import pytest
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.tsa.stattools import acf

from tsforge.errors import ArgumentError
from tsforge.evaluation.residuals import (
    autocorrelation,
    lags_of,
    layout,
    ljung_box,
    long_enough,
    pooled,
    white_noise,
)


def noise(*shape, seed=0, phi=0.0):
    """AR(1) errors along the last axis; white for phi=0."""
    e = np.random.default_rng(seed).standard_normal(shape)
    for t in range(1, shape[-1]):
        e[..., t] += phi * e[..., t - 1]
    return e


def frame(errors, *, spacing, h, seed=1):
    """One series whose model `M` is wrong by errors [window, step], rows in no order."""
    rows = [{"unique_id": "a", "cutoff": w * spacing, "ds": w * spacing + s + 1, "M": 5.0, "y": 5.0 + errors[w, s]}
            for w in range(len(errors)) for s in range(h)]
    return pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=seed)


@pytest.mark.parametrize("n", [8, 50, 400])
def test_autocorrelations_are_those_of_statsmodels(n):
    errors = noise(3, n, phi=0.6) + 2.0
    for one, r in zip(errors, autocorrelation(errors, n // 2), strict=True):
        np.testing.assert_allclose(r, acf(one, nlags=n // 2, fft=False)[1:], atol=1e-12)


def test_missing_errors_are_left_out_as_statsmodels_does():
    errors = noise(60, phi=0.6)
    errors[[0, 7, 8, 30]] = np.nan
    np.testing.assert_allclose(
        autocorrelation(errors, 10), acf(errors, nlags=10, fft=False, missing="conservative")[1:], atol=1e-12
    )
    padded = np.concatenate([errors, np.full(9, np.nan)])  # series of different lengths in one table
    np.testing.assert_allclose(autocorrelation(padded, 10), autocorrelation(errors, 10), atol=1e-12)


@pytest.mark.parametrize(("n", "lags", "phi"), [(20, 4, 0.0), (200, 10, 0.0), (200, 10, 0.3)])
def test_ljung_box_is_that_of_statsmodels(n, lags, phi):
    errors = noise(n, phi=phi, seed=3)
    expected = acorr_ljungbox(errors, lags=[lags])
    q, p = ljung_box(errors, lags)
    assert q == pytest.approx(expected["lb_stat"].item(), rel=1e-10)
    assert p == pytest.approx(expected["lb_pvalue"].item(), rel=1e-8)


def test_errors_that_do_not_vary_have_no_autocorrelation():
    errors = np.stack([np.full(12, 0.1 + 0.2), noise(12), np.full(12, np.nan)])
    r, (q, p) = autocorrelation(errors, 3), ljung_box(errors, 3)
    for value in (r[:, 0], q, p):
        assert np.isnan(value).tolist() == [True, False, True]


@pytest.mark.parametrize("n_lags", [0, 12])
def test_lags_that_cannot_be_are_refused(n_lags):
    with pytest.raises(ArgumentError, match="n_lags"):
        autocorrelation(noise(12), n_lags)
    with pytest.raises(ArgumentError, match="n_lags"):
        white_noise(12, n_lags)


@pytest.mark.parametrize("n", [8, 12, 30])
def test_white_noise_has_this_mean_and_this_spread(n):
    r = autocorrelation(noise(60_000, n), n // 2)
    mean, sd = white_noise(n, n // 2)
    np.testing.assert_allclose(r.mean(axis=0), mean, atol=5 * sd.max() / 60_000**0.5)
    np.testing.assert_allclose(r.std(axis=0), sd, rtol=0.02)
    assert abs(r.mean(axis=0)[0]) > 20 * sd[0] / 60_000**0.5  # the control: a mean of 0 would be seen to be wrong


def test_the_bands_hold_95_percent_of_white_noise_and_the_usual_one_does_not():
    each = noise(300, 40, 8)  # 300 backtests of 40 series over 8 windows
    found = [pooled(errors, 4) for errors in each]
    inside = np.mean([np.abs(one.r - one.centre) <= one.independent for one in found])
    assert inside == pytest.approx(0.95, abs=0.02)
    usual = np.mean([np.abs(one.r) <= 1.96 / np.sqrt(8 * 40) for one in found])
    assert usual < 0.8
    alone = [pooled(errors[:1], 4) for errors in each]
    assert np.mean([np.abs(one.r - one.centre) <= one.one for one in alone]) == pytest.approx(0.95, abs=0.03)
    np.testing.assert_allclose(alone[0].one, alone[0].independent)
    assert (found[0].sequences, found[0].n) == (40, 8)


def test_what_is_left_in_the_errors_stands_out():
    left, white = pooled(noise(5, 60, phi=0.7), 10), pooled(noise(5, 60), 10)
    assert left.r[0] - left.centre[0] > left.one[0]
    assert abs(white.r[0] - white.centre[0]) < white.one[0]
    assert (ljung_box(noise(5, 60, phi=0.7), 10)[1] < 0.01).all()
    assert (ljung_box(noise(5, 60), 10)[1] > 0.01).all()


def test_sequences_without_variance_are_not_in_the_mean():
    errors = np.concatenate([noise(2, 10), np.zeros((1, 10))])
    found = pooled(errors, 3)
    assert found.sequences == 2
    np.testing.assert_allclose(found.r, autocorrelation(errors[:2], 3).mean(axis=0))
    assert pooled(np.zeros((3, 10)), 3) is None


def test_a_frame_in_any_order_is_laid_out_by_window_and_step():
    errors = noise(6, 4)
    table = frame(errors, spacing=4, h=4)
    place = layout(table)
    assert place.shape == (1, 6, 4)
    np.testing.assert_allclose(place.errors(table["M"].to_numpy())[0], errors)
    holed = table.with_columns(y=pl.when(pl.col("ds") == 6).then(None).otherwise("y"))
    assert np.argwhere(np.isnan(layout(holed).errors(holed["M"].to_numpy()))).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(("spacing", "overlap"), [(3, True), (4, False), (9, False)])
def test_windows_overlap_where_one_goes_on_after_the_next_cutoff(spacing, overlap):
    assert layout(frame(noise(6, 4), spacing=spacing, h=4)).overlap is overlap


def test_series_of_different_lengths_keep_their_own_windows():
    short, long = frame(noise(3, 2), spacing=2, h=2), frame(noise(9, 2, seed=5), spacing=2, h=2)
    table = pl.concat([short.with_columns(unique_id=pl.lit("b")), long])
    place = layout(table)
    first = place.errors(table["M"].to_numpy())[:, :, 0]
    assert first.shape == (2, 9)
    kept = long_enough(first)
    np.testing.assert_allclose(kept, noise(9, 2, seed=5)[None, :, 0])
    assert lags_of(kept) == (4, 1)
