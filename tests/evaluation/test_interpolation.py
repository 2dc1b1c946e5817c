import numpy as np

from tsforge.evaluation.interpolation import interpolated


def test_it_is_numpys_interpolation_of_each_window_and_channel():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(20, 15, 3)), rng.random((20, 15, 3)) < 0.4
    mask[:, 7] = True
    for window, channel in np.ndindex(20, 3):
        seen = np.flatnonzero(mask[window, :, channel])
        expected = np.interp(np.arange(15), seen, values[window, seen, channel])
        assert np.allclose(interpolated(np.where(mask, values, 99.0), mask)[window, :, channel], expected)


def test_where_nothing_was_observed_it_is_0():
    assert (interpolated(np.ones((1, 4, 1)), np.zeros((1, 4, 1), dtype=bool)) == 0).all()
