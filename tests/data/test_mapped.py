import json
import logging
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import tsforge.data.mapped
import tsforge.data.stream
from tsforge.data.load import load
from tsforge.data.mapped import append_rows, open_store, write_store
from tsforge.data.store import build_store
from tsforge.errors import ArtifactError, DataNotFoundError, FrameError, OutputExistsError, UnknownArgumentError
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.frame import Frame

START, HOUR = datetime(2024, 1, 1), timedelta(hours=1)


def table(seed: int, rows: dict[str, list[int]], dtype: type[pl.Float64 | pl.Float32] = pl.Float64) -> pl.DataFrame:
    """Series with rows at some steps, some of them without a value."""
    rng = np.random.default_rng(seed)
    keys = [(name, START + HOUR * k) for name, steps in rows.items() for k in steps]
    made = pl.DataFrame(keys, schema=["unique_id", "ds"], orient="row")
    values = rng.normal(size=(len(keys), 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[0] = 0.0
    return made.with_columns(y=pl.Series(values[:, 0]), p=pl.Series(values[:, 1])).with_columns(
        pl.col("y", "p").cast(dtype))


def same_store(one: Frame, other: Frame) -> None:
    """The same arrays, with a row for every step."""
    first, second = build_store(one), build_store(other)
    assert first.ids.equals(second.ids)
    assert first.first.equals(second.first)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    for part in ("values", "past"):
        read, array = getattr(first, part), getattr(second, part)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read[0 : len(read)], array)
    assert (one.freq, one.season, one.targets, one.schema.past) == (other.freq, other.season, other.targets,
                                                                     other.schema.past)


SERIES = st.lists(st.sets(st.integers(0, 12), min_size=2), min_size=1, max_size=5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), SERIES, st.integers(1, 9), st.sampled_from([pl.Float64, pl.Float32]))
def test_rows_in_any_order_read_in_parts_make_the_store_of_their_frame(tmp_path_factory, seed, steps, part, dtype):
    rows = table(seed, {f"s{k}": sorted(own) for k, own in enumerate(steps)}, dtype)
    folder = tmp_path_factory.mktemp("store") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsforge.data.stream, "PART", part)
        patch.setattr(tsforge.data.mapped, "CHUNK", part)
        write_store(rows.sample(fraction=1, shuffle=True, seed=seed), folder, past="p", freq="1h")
    frame = open_store(folder, verify=True)
    assert isinstance(frame, BlockFrame)
    same_store(frame, Frame(rows, past="p", freq="1h"))


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow", "folder", "lazy"])
def test_files_of_all_kinds_make_one_store(tmp_path, kind):
    rows = table(0, {"b": [0, 1, 2, 5], "a": [3, 4, 5]})
    path = tmp_path / f"rows.{kind}"
    if kind == "folder":
        path.mkdir()
        rows.head(3).write_parquet(path / "0.parquet")
        rows.tail(4).write_parquet(path / "1.parquet")
    elif kind != "lazy":
        {"parquet": rows.write_parquet, "csv": rows.write_csv, "arrow": rows.write_ipc}[kind](path)
    write_store(rows.lazy() if kind == "lazy" else path, tmp_path / "store", past="p")
    same_store(open_store(tmp_path / "store"), Frame(rows, past="p"))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), SERIES, st.integers(0, 12))
def test_a_store_that_is_appended_to_is_the_store_of_all_rows(tmp_path_factory, seed, steps, cut):
    rows = table(seed, {f"s{k}": sorted(own) for k, own in enumerate(steps)})
    old, new = rows.filter(pl.col("ds") <= START + HOUR * cut), rows.filter(pl.col("ds") > START + HOUR * cut)
    if not len(old) or not old["y"].drop_nans().len() or not len(new):
        return
    folder = tmp_path_factory.mktemp("store") / "a"
    write_store(old, folder, past="p", freq="1h")
    before = open_store(folder)
    values = before.to_polars()
    append_rows(folder, new)
    same_store(open_store(folder, verify=True), Frame(rows, past="p", freq="1h"))
    assert_frame_equal(before._collected(), values)  # a frame that is open reads on
    assert len(list(folder.iterdir())) == 3


def test_rows_that_do_not_follow_the_end_are_refused_and_change_nothing(tmp_path):
    rows = table(0, {"a": [0, 1, 2], "b": [0, 1]})
    folder = write_store(rows, tmp_path / "store", past="p")
    with pytest.raises(FrameError, match=r"Series 'a': the row at 2024-01-01 02:00:00 lies at or before its end"):
        append_rows(folder, table(1, {"a": [2, 3], "b": [2]}))
    with pytest.raises(FrameError, match="not a whole number of steps"):
        append_rows(folder, table(1, {"a": [3]}).with_columns(pl.col("ds") + timedelta(minutes=5)))
    same_store(open_store(folder, verify=True), Frame(rows, past="p"))
    append_rows(folder, table(1, {"b": [4]}))
    assert open_store(folder).to_polars()["y"].null_count() >= 2  # the steps between stay missing


@pytest.mark.parametrize(("change", "match"), [
    (lambda t: pl.concat([t, t.tail(1)]), "Series 'b' has the time 2024-01-01 01:00:00 more than once"),
    (lambda t: t.with_columns(y=pl.lit(None, pl.Float64)), "'y' has no observed value"),
    (lambda t: t.with_columns(y=pl.lit(np.inf)), "'y': the value at 2024-01-01 00:00:00 is infinite"),
    (lambda t: t.with_columns(y=pl.lit("x")), "the text 'x'"),
    (lambda t: t.drop("p"), "no column 'p'"),
    (lambda t: t.head(0), "no row"),
    (lambda t: t.with_columns(ds=pl.when(pl.int_range(pl.len()) == 1).then(pl.col("ds") + timedelta(minutes=1))
                              .otherwise("ds")), "not a whole number of steps of 1h"),
])
def test_rows_that_are_no_series_are_refused_and_leave_no_folder(tmp_path, change, match):
    rows = table(0, {"a": [0, 1, 2, 3], "b": [0, 1]})
    with pytest.raises(FrameError, match=match):
        write_store(change(rows), tmp_path / "store", targets="y", past="p", freq="1h")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_kept_unless_it_may_be_replaced(tmp_path):
    rows = table(0, {"a": [0, 1, 2]})
    folder = write_store(rows, tmp_path / "store", past="p")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        write_store(rows.head(2), folder, past="p")
    write_store(rows.head(2), folder, past="p", overwrite=True)
    assert len(open_store(folder)) == 2
    with pytest.raises(DataNotFoundError, match="is no store"):
        open_store(tmp_path)


def test_names_static_columns_months_and_whole_numbers_are_kept(tmp_path):
    months = pl.date_range(date(2023, 1, 1), date(2024, 1, 1), "1mo", eager=True).dt.month_end()
    rows = pl.concat([pl.DataFrame({"atm": k, "when": months, "cash": np.arange(13.0)}) for k in (7, 3)])
    static = pl.DataFrame({"unique_id": [3, 7], "city": ["Lund", "Kiel"]})
    write_store(rows, tmp_path / "s", id_col="atm", time_col="when", targets="cash", static=static, freq="1mo")
    frame = open_store(tmp_path / "s", calendar=["month"])
    plain = Frame(rows, id_col="atm", time_col="when", targets="cash", static=static, freq="1mo", calendar="month")
    assert frame.schema == plain.schema
    assert frame.grid == plain.grid
    assert_frame_equal(frame.table, plain.table)
    assert_frame_equal(frame.static, plain.static)
    assert frame.give_back(frame.table).columns == ["atm", "when", "cash"]
    with pytest.raises(FrameError, match="static columns, which new series lack"):
        append_rows(tmp_path / "s", pl.DataFrame({"atm": [9], "when": [date(2024, 2, 29)], "cash": [1.0]}))
    append_rows(tmp_path / "s", pl.DataFrame({"atm": [3], "when": [date(2024, 2, 29)], "cash": [1.0]}))
    assert open_store(tmp_path / "s").spans()["last"].to_list() == [date(2024, 2, 29), date(2024, 1, 31)]


def test_a_file_that_was_changed_or_is_missing_is_refused(tmp_path):
    def made(name: str):
        return write_store(table(0, {"a": list(range(50))}), tmp_path / name, past="p")

    folder = made("values")
    with (folder / "values-0.npy").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"\0\1\2\3\4\5\6\7")
    open_store(folder)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        open_store(folder, verify=True)
    (made("keys") / "keys-0.arrow").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="sha256 differs"):
        open_store(tmp_path / "keys")
    (made("short") / "values-0.npy").write_bytes((folder / "values-0.npy").read_bytes()[:300])
    with pytest.raises(ArtifactError, match="do not fit together"):
        open_store(tmp_path / "short")
    (made("gone") / "values-0.npy").unlink()
    with pytest.raises(ArtifactError, match=r"lacks values-0\.npy"):
        open_store(tmp_path / "gone")
    head = made("head") / "store.json"
    for text in ("[]", "{", json.dumps(json.loads(head.read_text()) | {"format": 2})):
        head.write_text(text)
        with pytest.raises(ArtifactError, match="format 1"):
            open_store(tmp_path / "head")


def test_objects_in_a_file_of_values_are_never_unpickled(tmp_path):
    folder = write_store(table(0, {"a": [0, 1]}), tmp_path / "store", past="p")
    np.save(folder / "values-0.npy", np.array([[{}, {}], [{}, {}]]), allow_pickle=True)
    with pytest.raises(ArtifactError, match="do not fit together"):
        open_store(folder)


def test_an_interrupted_append_leaves_the_old_rows(tmp_path, monkeypatch):
    rows = table(0, {"a": [0, 1, 2]})
    folder = write_store(rows, tmp_path / "store", past="p")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tsforge.data.mapped, "_sha256", fail)
    with pytest.raises(KeyboardInterrupt):
        append_rows(folder, table(1, {"a": [3]}))
    monkeypatch.undo()
    same_store(open_store(folder, verify=True), Frame(rows, past="p"))
    append_rows(folder, table(1, {"a": [3]}))
    assert len(open_store(folder, verify=True)) == 4


def test_what_is_chosen_is_said(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "tsforge"):
        write_store(table(0, {"a": [0, 1, 2]}), tmp_path / "store")
    assert any("without a role are left out: 'p'" in line for line in caplog.messages)


def test_a_store_folder_is_loaded_by_its_path(tmp_path):
    write_store(table(0, {"a": [0, 1, 2]}), tmp_path / "store", past="p")
    frame = load(tmp_path / "store", calendar="hour")
    assert isinstance(frame, BlockFrame)
    assert frame.schema.calendar == ("hour",)
    with pytest.raises(UnknownArgumentError, match="open_store has no argument 'targets'"):
        load(tmp_path / "store", targets="y")
