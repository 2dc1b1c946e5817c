"""Sample paths as forecasts: their frame, what is read off them, and series of their own."""

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.errors import ArgumentError, CapabilityError
from tsforge.estimators.paths import PATHS

H = 3


def table(lengths=(60, 50, 55), channels=1) -> pl.DataFrame:
    draw, parts = np.random.default_rng(0), []
    for number, length in enumerate(lengths):
        t = np.arange(length)
        columns = {f"y{c}": 10 * number + np.sin(t / 2 + c) + 0.2 * draw.normal(size=length) for c in range(channels)}
        parts.append(pl.DataFrame({"unique_id": [f"s{number}"] * length, "ds": t, **columns}))
    return pl.concat(parts)


def frame(data: pl.DataFrame) -> tsforge.Frame:
    return tsforge.Frame(data, freq="1i", season=6)


@pytest.fixture(scope="module")
def model():
    made = tsforge.DCGAN(h=H, input_size=6, max_steps=10, hidden=8, accelerator="cpu")
    return made.fit(frame(table(channels=2)))


def test_paths_come_with_their_number_and_are_the_same_whatever_is_forecast_beside_them(model):
    paths = model.predict(samples=20)
    assert paths.columns == ["unique_id", "ds", "target", "sample", "DCGAN"]
    assert len(paths) == 3 * 2 * 20 * H
    counts = paths.group_by("unique_id", "ds", "target").agg(pl.col("sample").n_unique())
    assert counts["sample"].unique().to_list() == [20]
    alone = model.predict(frame(table(channels=2).filter(pl.col("unique_id") == "s1")), samples=20)
    together = paths.filter(pl.col("unique_id") == "s1")
    np.testing.assert_allclose(alone["DCGAN"], together["DCGAN"], atol=1e-4)
    assert model.predict(samples=20).equals(paths)
    by_series = paths.group_by("unique_id").agg(pl.col("DCGAN").mean()).sort("unique_id")["DCGAN"].to_list()
    np.testing.assert_allclose(by_series, [0, 10, 20], atol=2)  # in the user's units


def test_another_cutoff_draws_other_noise(model):
    data = table(channels=2)
    shifted = data.with_columns(pl.col("ds") + 5)
    first, other = (model.predict(frame(x), samples=4)["DCGAN"].to_numpy() for x in (data, shifted))
    assert np.abs(first - other).max() > 1e-3


def test_fewer_steps_are_the_first_ones_of_the_same_paths(model):
    few, all_ = model.predict(samples=5, h=1), model.predict(samples=5)
    joined = few.join(all_, on=["unique_id", "ds", "target", "sample"], how="left", suffix="-all")
    assert joined["DCGAN"].equals(joined["DCGAN-all"].rename("DCGAN"))


def test_intervals_are_quantiles_of_the_paths_and_hold_the_point(model):
    told = model.predict(level=[80], quantiles=[0.25])
    keys = ["unique_id", "ds", "target"]
    paths = model.predict(samples=PATHS).group_by(keys).agg(
        lo=pl.col("DCGAN").quantile(0.1, "linear"), hi=pl.col("DCGAN").quantile(0.9, "linear")
    )
    both = told.join(paths, on=keys)
    point = both["DCGAN"].to_numpy()
    np.testing.assert_allclose(both["DCGAN-lo-80"], np.minimum(both["lo"].to_numpy(), point), atol=1e-4)
    np.testing.assert_allclose(both["DCGAN-hi-80"], np.maximum(both["hi"].to_numpy(), point), atol=1e-4)
    assert (told["DCGAN-lo-80"] <= told["DCGAN-q-0.25"]).all()
    assert (told["DCGAN-hi-80"] - told["DCGAN-lo-80"] > 0).all()


def test_a_backtest_reads_its_intervals_off_paths_too_without_held_back_steps():
    made = tsforge.DCGAN(h=H, input_size=6, max_steps=2, hidden=8, val_size=0, accelerator="cpu")
    out = tsforge.backtest([made], frame(table()), n_windows=2, level=[80])
    assert (out["DCGAN-lo-80"] <= out["DCGAN"]).all()
    assert (out["DCGAN-hi-80"] >= out["DCGAN"]).all()


def test_generated_series_are_a_table_in_the_users_units_whose_series_do_not_depend_on_their_number(model):
    made = model.generate(30, 10)
    assert made.columns == ["unique_id", "ds", "y0", "y1"]
    assert len(made) == 300
    one = pl.col("unique_id") == "path-3"
    assert made.filter(one).equals(model.generate(4, 10).filter(one))
    assert not model.generate(30, 10, seed=1).equals(made)
    means = made.group_by("unique_id").agg(pl.col("y0").mean())["y0"].to_numpy()
    assert set(np.round(means / 10).astype(int)) == {0, 1, 2}
    assert tsforge.SeasonalNaive(h=2).fit(frame(made)).predict().shape[0] == 30 * 2 * 2


def test_saved_and_opened_it_makes_the_same_paths_and_series(model, tmp_path):
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert opened.predict(samples=3).equals(model.predict(samples=3))
    assert opened.generate(3).equals(model.generate(3))


def test_what_makes_no_paths_says_who_does():
    for made in (tsforge.DLinear(h=2, input_size=4, max_steps=1, accelerator="cpu"), tsforge.Naive(h=2)):
        made.fit(frame(table()))
        with pytest.raises(CapabilityError, match="makes no sample paths; DCGAN does"):
            made.predict(samples=3)
        with pytest.raises(CapabilityError, match="makes no sample paths; DCGAN does"):
            made.generate(3)


def test_numbers_of_paths_that_cannot_be_are_refused(model):
    for asked in ({"samples": 0}, {"samples": True}, {"samples": 3, "level": [80]}):
        with pytest.raises(ArgumentError):
            model.predict(**asked)
    for asked in ((0,), (2, 0)):
        with pytest.raises(ArgumentError):
            model.generate(*asked)
