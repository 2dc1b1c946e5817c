from datetime import datetime

import polars as pl
import pytest

import tsforge
from tsforge.errors import FrameError
from tsforge.frame.frame import Frame

TABLE = pl.DataFrame({
    "unique_id": ["b", "b", "b", "a", "a"], "ds": [2, 1, 3, 1, 2], "y": [2.0, 1.0, 3.0, 4.0, 5.0],
    "fault": [1, 0, 0, 0, 1], "kind": ["x", "x", "x", "z", "z"],
})


def test_a_label_of_the_table_is_no_target_and_follows_its_row():
    frame = Frame(TABLE.drop("kind").rename({"y": "value"}), labels="fault")
    assert frame.targets == ("value",)
    assert Frame(TABLE.drop("kind").rename({"y": "value"})).targets == ("value", "fault")  # what it would be else
    assert frame.labels is not None
    assert frame.labels.rows() == [("a", 1, 0), ("a", 2, 1), ("b", 1, 0), ("b", 2, 1), ("b", 3, 0)]


def test_a_second_table_labels_series_and_those_without_a_label_have_none():
    outcomes = pl.DataFrame({"unique_id": ["b", "c"], "outcome": [1, 0]})
    frame = Frame(TABLE.select("unique_id", "ds", "y"), labels=outcomes)
    assert frame.labels is not None
    assert frame.labels.rows() == [("a", None), ("b", 1)]
    assert frame.rows(pl.col("unique_id") == "b").labels.rows() == [("b", 1)]


def test_labels_follow_when_rows_are_taken():
    labels = Frame(TABLE, targets="y", labels=["fault", "kind"]).rows(pl.col("ds") > 1).labels
    assert labels is not None
    assert labels.rows() == [("a", 2, 1, "z"), ("b", 2, 1, "x"), ("b", 3, 0, "x")]


def test_labels_of_steps_are_resampled_with_the_table_and_the_last_one_stands():
    hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 2, 23), "1h", eager=True)
    table = pl.DataFrame({"ds": hours, "y": [1.0] * 48, "fault": [0] * 23 + [1] + [0] * 24})
    labels = Frame(table, labels="fault", resample="1d").labels
    assert labels is not None
    assert labels["fault"].to_list() == [1, 0]


def test_a_forecast_does_not_depend_on_labels():
    table = pl.DataFrame({"ds": range(60), "y": [float(i % 7) for i in range(60)], "fault": [i % 2 for i in range(60)]})
    model = tsforge.DLinear(h=2, input_size=8, max_steps=3)
    with_labels = model.fit(Frame(table, labels="fault")).predict()
    without = model.fit(Frame(table.drop("fault"))).predict()
    assert with_labels.equals(without)


@pytest.mark.parametrize(("labels", "said"), [
    ("falt", "no column 'falt'.*Did you mean.*fault"),
    (pl.DataFrame({"name": ["a"], "outcome": [1]}), "wanted unique_id"),
    (pl.DataFrame({"unique_id": ["a", "a"], "outcome": [1, 0]}), "series a has more than one row"),
])
def test_a_fault_in_the_labels_is_named(labels, said):
    with pytest.raises(FrameError, match=said):
        Frame(TABLE.select("unique_id", "ds", "y", "fault"), targets="y", labels=labels)
