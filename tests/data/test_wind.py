import numpy as np
import polars as pl
import pytest

from tsforge.data.wind import POINTS, check_wind, compass_degrees, wind_components, wind_names
from tsforge.errors import ArgumentError, FrameError

TABLE = pl.DataFrame({"a": [1, 2, 3, 4], "wd": [0.0, 90.0, None, 359.0], "b": [5, 6, 7, 8]})


def test_components_lie_on_the_unit_circle_and_give_the_degrees_back():
    made = wind_components(TABLE, "wd", keep=True).drop_nulls()
    sine, cosine = made["wd_sin"].to_numpy(), made["wd_cos"].to_numpy()
    np.testing.assert_allclose(sine**2 + cosine**2, 1)
    np.testing.assert_allclose(np.rad2deg(np.arctan2(sine, cosine)) % 360, made["wd"].to_numpy())


def test_directions_on_both_sides_of_north_are_near_only_as_components():
    made = wind_components(TABLE, "wd").select("wd_sin", "wd_cos").to_numpy()
    assert np.linalg.norm(made[0] - made[3]) < 0.02
    assert abs(TABLE["wd"][0] - TABLE["wd"][3]) > 300


@pytest.mark.parametrize("keep", [False, True])
def test_components_stand_where_the_degrees_did_and_missing_stays_missing(keep):
    made = wind_components(TABLE, "wd", keep=keep)
    assert made.columns == ["a", *(["wd"] if keep else []), *wind_names("wd", "sincos"), "b"]
    assert made["wd_sin"].is_null().to_list() == made["wd_cos"].is_null().to_list() == [False, False, True, False]


def test_a_calm_has_no_direction_and_north_has_one():
    degrees = pl.DataFrame({"wd": [0, 360, None]})
    assert wind_components(degrees, "wd", calm=0)["wd_cos"].to_list() == [None, 1.0, None]
    assert wind_components(degrees, "wd")["wd_cos"].to_list() == [1.0, 1.0, None]


def test_the_compass_goes_round_in_equal_steps_from_north_over_east():
    degrees = compass_degrees(pl.DataFrame({"wd": [*POINTS, None]}), "wd")["wd"]
    assert degrees.to_list() == [*np.arange(0, 360, 22.5), None]
    main = compass_degrees(pl.DataFrame({"wd": ["N", "E", "S", "W", "NE", "SW"]}), "wd")["wd"]
    assert main.to_list() == [0, 90, 180, 270, 45, 225]


def test_a_text_that_is_no_point_of_the_compass_is_named():
    with pytest.raises(FrameError, match="Column 'wd' holds 'calm': wanted points of the compass such as 'N'"):
        compass_degrees(pl.DataFrame({"wd": ["N", "calm", None]}), "wd")


def test_only_degrees_and_components_can_be_asked_for():
    assert [check_wind(word) for word in ("degrees", "sincos")] == ["degrees", "sincos"]
    with pytest.raises(ArgumentError, match="wind='text': wanted 'degrees', or 'sincos'"):
        check_wind("text")
