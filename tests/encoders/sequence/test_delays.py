import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

import tsforge
from tsforge.encoders.sequence.delays import DelayEncoder
from tsforge.errors import ArgumentError


def henon(steps: int = 1500) -> np.ndarray:
    x = np.zeros(steps + 100)
    for t in range(2, len(x)):
        x[t] = 1 - 1.4 * x[t - 1] ** 2 + 0.3 * x[t - 2]
    return x[100:]


SERIES = {
    "henon": (henon(), 1, 2),
    "sine": (np.sin(2 * np.pi * np.arange(1500) / 31.47), 8, 2),
    "noise": (np.random.default_rng(0).normal(size=1500), None, None),
}


def windows_of(series: np.ndarray, size: int = 40) -> torch.Tensor:
    return torch.from_numpy(np.lib.stride_tricks.sliding_window_view(series, size).copy())[..., None]


def fitted(*windows: torch.Tensor, mask: torch.Tensor | None = None) -> DelayEncoder:
    torch.manual_seed(0)
    encoder = DelayEncoder(len(windows), 8).double()
    encoder.fit(torch.cat(windows, -1), mask)
    return encoder


@pytest.mark.parametrize("name", ["henon", "sine"])
def test_lag_and_dimension_are_those_of_the_system_whatever_the_order_of_the_windows(name):
    series, lag, dimension = SERIES[name]
    windows = windows_of(series)
    for order in (torch.arange(len(windows)), torch.randperm(len(windows))):
        encoder = fitted(windows[order])
        assert (int(encoder.lag), int(encoder.dimension)) == (lag, dimension)


def test_noise_takes_many_more_coordinates_than_a_system_of_two():
    assert int(fitted(windows_of(SERIES["noise"][0])).dimension) >= 5
    assert int(fitted(windows_of(SERIES["noise"][0], 3)).dimension) <= 3  # no more than the windows have


def test_channels_are_embedded_each_by_itself_and_shift_and_scale_change_nothing():
    first, second = windows_of(SERIES["henon"][0]), windows_of(SERIES["sine"][0])
    encoder = fitted(3 + 100 * first, second)
    assert encoder.lag.tolist() == [1, 8]
    assert encoder.dimension.tolist() == [2, 2]


def test_windows_with_gaps_are_left_out_where_enough_are_whole():
    windows, mask = windows_of(SERIES["henon"][0]), torch.ones(1461, 40, 1, dtype=torch.bool)
    windows[:700], mask[:700, 5] = torch.randn(700, 40, 1, dtype=torch.float64), False
    assert int(fitted(windows, mask=mask).dimension) == 2
    assert int(fitted(windows).dimension) != 2  # the control


def test_a_token_equals_its_equation():
    encoder, (series, lag, _) = fitted(windows_of(SERIES["sine"][0])), SERIES["sine"]
    vector = torch.zeros(10, dtype=torch.float64)
    vector[:2] = torch.tensor([series[39], series[39 - lag]])
    expected = F.gelu(encoder.read.weight @ vector + encoder.read.bias)
    assert_close(encoder(windows_of(series)[:1])[0, -1], expected)
    assert_close(encoder.pooled(windows_of(series)[:1])[0], expected)
    assert sum(p.numel() for p in encoder.parameters()) == (1 * 10 + 1) * 8


def test_steps_beyond_the_dimension_are_not_read_and_within_are():
    encoder, window = fitted(windows_of(SERIES["sine"][0])), windows_of(SERIES["sine"][0])[:1]
    for back, read in ((0, True), (8, True), (16, False), (1, False)):
        changed = window.clone()
        changed[0, 39 - back] += 1
        assert torch.equal(encoder.pooled(changed), encoder.pooled(window)) != read


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_windows_that_are_all_the_same_have_an_embedding_too(value):
    encoder = fitted(torch.full((40, 12, 1), value, dtype=torch.float64))
    assert 1 <= int(encoder.dimension) <= 10
    assert encoder(torch.zeros(1, 12, 1, dtype=torch.float64)).isfinite().all()


def test_short_windows_bound_the_vectors():
    encoder = fitted(windows_of(SERIES["henon"][0], 3))
    assert int(encoder.lag) * (int(encoder.dimension) - 1) < 3


def test_no_delay_is_refused():
    with pytest.raises(ArgumentError, match="max_dimension=0"):
        DelayEncoder(1, max_dimension=0)


def test_beside_a_model_it_is_fitted_on_training_rows_and_kept_in_the_run(tmp_path):
    table = pl.DataFrame({"ds": np.arange(1000), "y": henon(1000)})
    model = tsforge.MLP(h=1, input_size=12, context="delays", max_steps=20, accelerator="cpu").fit(table)
    found = model.fitted_.predictor.context[0]
    assert (int(found.lag), int(found.dimension)) == (1, 2)
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert opened.predict().equals(model.predict())
    assert int(opened.fitted_.predictor.context[0].dimension) == 2
