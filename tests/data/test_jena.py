import gzip
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest

from tsforge.data.jena import Jena
from tsforge.data.ltsf import split_by_share
from tsforge.errors import FrameError

FILE = "station_weather/jena_2020.csv.gz"
TEN = timedelta(minutes=10)
BROKEN = [name.replace("µ", "\ufffd").replace("²", "\ufffd") for name in Jena.channels]


def stamps_of(path) -> list[datetime]:
    """The stamps as the file has them, read without the adapter."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        next(lines)
        return [datetime.fromisoformat(line.split(",", 1)[0]) for line in lines]


def own(path, rows, names=BROKEN):
    """A file with CRLF ends: the number of the minute, and one number for every channel."""
    lines = [",".join(["date", *names])]
    lines += [",".join([f"2020-01-01 00:{minute:02d}:00", *[str(value)] * len(names)]) for minute, value in rows]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    return path


def test_the_file_has_the_published_rows_one_stamp_twice_and_one_gap(shared_data):
    stamps = stamps_of(shared_data(FILE))
    assert (len(stamps), stamps[0], stamps[-1]) == (52_696, datetime(2020, 1, 1, 0, 10), datetime(2021, 1, 1))
    odd = {late: late - early for early, late in pairwise(stamps) if late - early != TEN}
    assert odd == {
        datetime(2020, 5, 12, 6): timedelta(0), datetime(2020, 5, 29, 11, 10): timedelta(minutes=100),
    }


def test_the_frame_is_the_file_without_the_repeated_row(shared_data):
    stamps = stamps_of(shared_data(FILE))
    frame = Jena().frame()
    assert (frame.freq, frame.season, frame.notices) == ("10m", 144, ())
    assert frame.table["ds"].to_list() == sorted(set(stamps))
    assert frame.steps is not None
    assert (len(frame), frame.steps[-1] + 1) == (52_695, 52_704)


def test_sentinels_are_missing_and_nothing_else_is(shared_data):
    shared_data(FILE)
    table = Jena().table()
    counts = {name: count for name, count in table.null_count().row(0, named=True).items() if count}
    assert counts == {"wv (m/s)": 1, "max. PAR (µmol/m²/s)": 30, "OT": 50}
    assert table.select(pl.col(pl.Float64).min()).min_horizontal().item() > -100


def test_names_are_repaired_and_none_is_lost(shared_data):
    path = shared_data(FILE)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        header = next(lines).strip().split(",")[1:]
    assert [name for name in header if "\ufffd" in name] == [name for name in BROKEN if "\ufffd" in name]
    assert len([name for name in header if "\ufffd" in name]) == 3
    assert header == BROKEN
    assert len(header) == len(Jena().frame().targets) == 21
    assert not any("\ufffd" in name or "\r" in name for name in Jena().frame().targets)


def test_the_parts_begin_at_the_stamps_where_the_published_rows_do(shared_data):
    stamps = stamps_of(shared_data(FILE))
    frame, rows = Jena().frame(), split_by_share(52_696)
    assert frame.split is not None
    assert frame.steps is not None
    val, test = (frame.table.filter(frame.steps == step)["ds"].item()
                 for step in (frame.split.train, frame.split.train + frame.split.val))
    assert (val, test) == (stamps[rows.train], stamps[rows.train + rows.val])
    assert frame.split.test == rows.test


def test_equal_rows_are_one_and_rows_that_differ_are_an_error(tmp_path):
    table = Jena(path=own(tmp_path / "a.csv", [(0, 1.5), (10, -9999.0), (10, -9999.0), (20, 2.5)])).table()
    assert table["OT"].to_list() == [1.5, None, 2.5]
    with pytest.raises(FrameError, match="more than once"):
        Jena(path=own(tmp_path / "b.csv", [(0, 1.5), (10, 2.0), (10, 2.25), (20, 2.5)])).frame()


def test_a_file_with_whole_names_is_read_too(tmp_path):
    rows = [(0, 1), (10, 2), (20, -9999)]
    whole, broken = own(tmp_path / "a.csv", rows, Jena.channels), own(tmp_path / "b.csv", rows)
    assert Jena(path=whole).table().equals(Jena(path=broken).table())
    assert Jena(path=whole).table()["OT"].to_list() == [1, 2, None]
