import gzip
import json

import pytest

from tsforge.data.dysts_published import published_forecasts
from tsforge.errors import ArgumentError, FrameError

SYSTEM = {"values": [[1.0], [2.0]], "ARIMA": {"prediction": [1.5, 2.5, 9.0], "smape": 30.0}}


def test_the_last_step_of_a_forecast_is_left_out_and_the_cutoff_is_that_of_ten_periods(tmp_path):
    path = tmp_path / "results.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"Lorenz": SYSTEM}).encode()))
    table = published_forecasts(15, path=path)
    assert table.to_dicts() == [
        {"unique_id": "Lorenz", "ds": 150, "cutoff": 149, "ARIMA (published)": 1.5, "y": 1.0},
        {"unique_id": "Lorenz", "ds": 151, "cutoff": 149, "ARIMA (published)": 2.5, "y": 2.0},
    ]


OTHERS = {
    "no gzip": b"{}",
    "a list": b"[1]",
    "nothing": b"{}",
    "no models": b'{"a": {"values": [1]}, "b": 3}',
    "a short forecast": json.dumps({"a": {"values": [1.0, 2.0], "ARIMA": {"prediction": [1.0]}}}).encode(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_layout_is_refused(tmp_path, name):
    content = OTHERS[name] if name == "no gzip" else gzip.compress(OTHERS[name])
    path = tmp_path / "results.json.gz"
    path.write_bytes(content)
    with pytest.raises(FrameError, match="no published forecasts"):
        published_forecasts(15, path=path)


def test_nothing_is_published_for_other_samplings():
    with pytest.raises(ArgumentError, match="15 and for 100"):
        published_forecasts(30)
