import logging

import polars as pl
import pytest

import tsforge
from tsforge.data.adapter import Adapter
from tsforge.errors import CapabilityError


class Stations(Adapter):
    def table(self):
        return pl.DataFrame({
            "unique_id": ["a"] * 40 + ["b"] * 40, "ds": [*range(40)] * 2, "y": [float(k % 5) for k in range(80)],
            "altitude": [100.0] * 40 + [900.0] * 40,
        })

    def roles(self):
        return {"targets": "y", "static": ["altitude"], "freq": "1i"}


def test_static_columns_of_the_source_are_left_out_where_a_model_reads_none_and_it_says_so(caplog):
    caplog.set_level(logging.INFO, "tsforge")
    frame = Stations().frame()
    assert frame.static is not None
    model = tsforge.DLinear(h=2, input_size=8, max_steps=3).fit(frame)
    assert "DLinear takes no static covariates; 'altitude' of the dataset are left out." in caplog.messages
    bare = tsforge.DLinear(h=2, input_size=8, max_steps=3).fit(Stations().frame(static=None))
    assert model.predict(frame).equals(bare.predict())
    assert len(tsforge.backtest([model], frame, n_windows=2)) == 8


def test_static_columns_that_were_asked_for_are_an_error():
    with pytest.raises(CapabilityError, match=r"takes no static covariates \(altitude\).*static=\(\)"):
        tsforge.DLinear(h=2, input_size=8, max_steps=3).fit(Stations().frame(static=["altitude"]))
