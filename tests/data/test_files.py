import gzip

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tsforge.data.files import READERS, read_table
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.frame import Frame

DAYS = ["2024-01-01", "2024-01-02", "2024-01-01"]
TABLE = pl.DataFrame({"unique_id": ["a", "a", "b"], "ds": DAYS, "y": [1.5, None, 3.0]})
TSF = """# a comment
@relation test
@attribute series_name string
@attribute start_timestamp date
@attribute size numeric
@frequency {frequency}
@horizon 2
@missing true
@data
T1:2020-01-31 00-00-00:2.5:1,?,3.5
T2:2021-06-01 12-00-00:7:4
"""


def written(path, text: str | bytes):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def csv(tmp_path, text: str | bytes) -> pl.DataFrame:
    return read_table(written(tmp_path / "t.csv", text))


@pytest.mark.parametrize(("name", "write"), [
    ("t.csv", pl.DataFrame.write_csv), ("t.parquet", pl.DataFrame.write_parquet), ("t.arrow", pl.DataFrame.write_ipc),
    ("t.feather", pl.DataFrame.write_ipc), ("T.IPC", pl.DataFrame.write_ipc),
])
def test_every_kind_of_file_gives_the_same_table(tmp_path, name, write):
    write(TABLE, tmp_path / name)
    assert_frame_equal(read_table(tmp_path / name), TABLE)
    assert_frame_equal(read_table(str(tmp_path / name)), TABLE)


def test_a_packed_csv_gives_the_same_table(tmp_path):
    assert_frame_equal(read_table(written(tmp_path / "t.csv.gz", gzip.compress(TABLE.write_csv().encode()))), TABLE)


def test_no_format_that_can_hold_code_is_read(tmp_path):
    assert not {".pkl", ".pickle", ".npy", ".npz", ".pt", ".joblib", ".h5"} & READERS.keys()
    with pytest.raises(FrameError, match=r"ending in \.pkl cannot be read. Known are \.csv, .*\.tsf"):
        read_table(written(tmp_path / "t.pkl", b"x"))


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path):
    plain = csv(tmp_path, "ds,y\n1,2.5\n2,3\n")
    assert_frame_equal(csv(tmp_path, b"\xef\xbb\xbfds,y\r\n1,2.5\r\n2,3\r\n"), plain)
    assert_frame_equal(csv(tmp_path, b'\xef\xbb\xbf"ds","y"\r\n"1","2.5"\r\n"2","3"\r\n'), plain)


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "null"])
def test_words_for_missing_are_missing(tmp_path, missing):
    table = csv(tmp_path, f"ds,y\n1,2\n2,{missing}\n3,4\n")
    assert table["y"].to_list() == [2, None, 4]


def test_a_late_text_makes_a_text_column_which_the_frame_names(tmp_path):
    table = csv(tmp_path, "ds,y\n" + "".join(f"{k},{k}\n" for k in range(20_000)) + "20000,closed\n")
    with pytest.raises(FrameError, match="at 20000 is the text 'closed'"):
        Frame(table)


@pytest.mark.parametrize(("cells", "wanted"), [
    (["2", "inf", "3"], [2.0, float("inf"), 3.0]), ([" 2.5", " 3", "NA"], [2.5, 3.0, None]),
    ([" 1", " 2", " 3"], [1, 2, 3]),
    (["99999999999999999999", "1", "2"], [99999999999999999999, 1, 2]), (["x", "1", "2"], ["x", "1", "2"]),
    ([" 2", " 01", "3"], [" 2", " 01", "3"]),
])
def test_a_column_is_numbers_exactly_where_all_its_cells_are(tmp_path, cells, wanted):
    assert csv(tmp_path, "ds,v\n" + "".join(f"1,{cell}\n" for cell in cells))["v"].to_list() == wanted


def test_a_missing_file_is_named_with_the_nearest_beside_it(tmp_path):
    written(tmp_path / "sales_2024.csv", "ds,y\n")
    with pytest.raises(DataNotFoundError, match=r"no file .*sale_2024\.csv\. Did you mean 'sales_2024\.csv'"):
        read_table(tmp_path / "sale_2024.csv")
    with pytest.raises(DataNotFoundError, match=r"There is no folder .*nowhere either"):
        read_table(tmp_path / "nowhere" / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow", "t.tsf"])
def test_an_empty_file_is_refused(tmp_path, name):
    with pytest.raises(FrameError, match=rf"{name} is empty"):
        read_table(written(tmp_path / name, b""))


@pytest.mark.parametrize(("name", "content"), [
    ("t.csv", b"ds,y\n1,2\n2,3,4\n"), ("t.csv", b"ds,y\n1,\xe9\n"), ("t.csv", b'ds,y\n1,"a\n2,3\n'),
    ("t.parquet", b"no parquet"), ("t.arrow", b"no arrow"),
    ("t.csv.gz", gzip.compress(b"ds,y\n" + bytes(range(48, 58)) * 500, mtime=0)[:30]),
])
def test_a_file_that_cannot_be_parsed_is_named(tmp_path, name, content):
    with pytest.raises(FrameError, match=rf"{name} cannot be read as \.\w+"):
        read_table(written(tmp_path / name, content))


def test_a_folder_of_parquet_is_read_in_the_order_of_names(tmp_path):
    TABLE.tail(1).write_parquet(tmp_path / "b.parquet")
    TABLE.head(2).select("y", "ds", "unique_id").write_parquet(tmp_path / "a.parquet")
    written(tmp_path / "README.txt", "other files are left alone")
    assert_frame_equal(read_table(tmp_path), TABLE.select("y", "ds", "unique_id"))


def test_a_folder_whose_files_differ_in_columns_names_the_file_and_the_columns(tmp_path):
    TABLE.write_parquet(tmp_path / "a.parquet")
    TABLE.rename({"y": "z"}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(FrameError, match=r"b\.parquet has other columns than a\.parquet: 'y', 'z'"):
        read_table(tmp_path)


def test_a_folder_whose_files_differ_in_types_is_refused_and_whole_numbers_join_fractions(tmp_path):
    TABLE.write_parquet(tmp_path / "a.parquet")
    TABLE.with_columns(y=pl.lit(2)).write_parquet(tmp_path / "b.parquet")
    assert read_table(tmp_path)["y"].to_list() == [1.5, None, 3.0, 2.0, 2.0, 2.0]
    TABLE.with_columns(y=pl.lit("x")).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(FrameError, match=r"b\.parquet: column 'y' is String, but Float64 in a\.parquet"):
        read_table(tmp_path)


def test_a_folder_without_parquet_is_refused(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"holds no \.parquet file"):
        read_table(tmp_path)


def test_a_tsf_file_becomes_long_with_stamps_and_attributes(tmp_path):
    table = read_table(written(tmp_path / "t.tsf", TSF.format(frequency="monthly")))
    assert table["unique_id"].to_list() == ["T1"] * 3 + ["T2"]
    assert table["y"].to_list() == [1.0, None, 3.5, 4.0]
    assert table["size"].to_list() == [2.5] * 3 + [7.0]
    assert [stamp.isoformat() for stamp in table["ds"]] == [
        "2020-01-31T00:00:00", "2020-02-29T00:00:00", "2020-03-31T00:00:00", "2021-06-01T12:00:00",
    ]
    static = Frame(table, targets="y", static="size", freq="1mo").static
    assert static is not None
    assert static["size"].to_list() == [2.5, 7.0]


@pytest.mark.parametrize(("frequency", "minutes"), [
    ("4_seconds", 4 / 60), ("minutely", 1), ("10_minutes", 10), ("half_hourly", 30), ("hourly", 60), ("2_hours", 120),
    ("daily", 1440), ("weekly", 10080),
])
def test_the_frequency_of_a_tsf_file_is_its_step(tmp_path, frequency, minutes):
    table = read_table(written(tmp_path / "t.tsf", TSF.format(frequency=frequency)))
    assert (table["ds"][1] - table["ds"][0]).total_seconds() == 60 * minutes


def test_a_tsf_file_without_stamps_counts_steps(tmp_path):
    text = "@attribute series_name string\n@data\nT1:1,2\n"
    assert read_table(written(tmp_path / "t.tsf", text))["ds"].to_list() == [0, 1]


@pytest.mark.parametrize(("change", "words"), [
    (("@data\nT1", "T1"), "not a .tsf file"), ((":2.5:1", ":1"), "line 10: 3 parts between colons, wanted 4"),
    (("1,?,3.5", "1,x,3.5"), "series 'T1', value 2: 'x' is no number"), (("00-00-00", "00:00"), "line 10: 5 parts"),
    (("2020-01-31 00-00-00", "soon"), "start_timestamp 'soon'"), (("monthly", "at times"), "@frequency is at times"),
    (("@frequency monthly\n", ""), "@frequency is absent"), ((":2.5:", ":big:"), "cannot be read as"),
])
def test_a_tsf_file_that_is_wrong_is_named_with_its_place(tmp_path, change, words):
    text = TSF.format(frequency="monthly")
    assert change[0] in text
    with pytest.raises(FrameError, match=words):
        read_table(written(tmp_path / "t.tsf", text.replace(*change)))


@pytest.mark.parametrize("lines", ["", "@horizon 8\n@missing false\n@equallength true\n", "@HORIZON 8\n# note: 1\n"])
def test_what_the_header_of_a_tsf_file_says_beside_the_step_changes_nothing(tmp_path, lines):
    text = TSF.format(frequency="10_minutes").replace("@horizon 2\n@missing true\n", lines)
    plain = read_table(written(tmp_path / "a.tsf", TSF.format(frequency="10_minutes")))
    assert_frame_equal(read_table(written(tmp_path / "b.tsf", text)), plain)


def test_an_umlaut_in_cp1252_and_in_utf8_names_the_same_series(tmp_path):
    text = TSF.format(frequency="daily").replace("T1:", "Zürich – 1:")
    both = [read_table(written(tmp_path / f"{code}.tsf", text.encode(code))) for code in ("cp1252", "utf-8")]
    assert_frame_equal(*both)
    assert both[0]["unique_id"][0] == "Zürich – 1"


def test_the_archive_file_with_a_header_in_cp1252_is_read(shared_data):
    table = read_table(shared_data("m4_hourly/m4_hourly_dataset.tsf"))
    lengths = table.group_by("unique_id").len()["len"]
    assert (len(lengths), set(lengths)) == (414, {748, 1008})
    assert Frame(table).freq == "1h"


