from datetime import date

import polars as pl

from tsforge.data.ili import ILI
from tsforge.frame.split import Split

COLUMNS = (
    "% WEIGHTED ILI", "%UNWEIGHTED ILI", "AGE 0-4", "AGE 5-24", "ILITOTAL", "NUM. OF PROVIDERS", "OT",
)


def test_the_file_has_the_published_weeks_without_gaps(shared_data):
    shared_data("ili/national_illness.csv")
    frame = ILI().frame()
    assert (len(frame), frame.freq, frame.season, frame.notices) == (966, "1w", 52, ())
    assert frame.targets == COLUMNS
    assert (frame.table["ds"][0], frame.table["ds"][-1]) == (date(2002, 1, 1), date(2020, 6, 30))
    assert frame.steps is not None
    assert frame.steps.to_list() == list(range(966))
    assert frame.table.null_count().sum_horizontal().item() == 0
    assert frame.split == Split(train=676, val=97, test=193)


def test_the_unweighted_percentage_is_the_patients_with_the_illness_among_all(shared_data):
    shared_data("ili/national_illness.csv")
    table = ILI().table()
    share = table.select(100 * pl.col("ILITOTAL") / pl.col("OT") - pl.col("%UNWEIGHTED ILI")).to_series().abs()
    assert share.max() < 1e-4
    assert (table["ILITOTAL"] >= table["AGE 0-4"] + table["AGE 5-24"]).all()
