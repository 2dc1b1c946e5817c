import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tsforge.data.splits import Parts, held_back_cutoffs, split_rows, training_cutoffs
from tsforge.data.store import build_store
from tsforge.errors import ArgumentError, FrameError
from tsforge.frame.frame import Frame

LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=5)
VAL = st.one_of(st.none(), st.integers(0, 20), st.floats(0, 0.9))
SHARE = st.sampled_from([0.0, 0.3, 0.5])


def store_of(lengths, ahead: int = 0):
    ids = np.repeat([f"s{k}" for k in range(len(lengths))], lengths)
    ds = np.concatenate([np.arange(n) for n in lengths])
    return build_store(Frame(pl.DataFrame({"unique_id": ids, "ds": ds, "y": ds * 1.0}), freq="1i"), ahead=ahead)


def windows_of(index) -> set[tuple[int, int]]:
    return set(zip(*(part.tolist() for part in index.locate(np.arange(len(index)))), strict=True))


def holds_a_window(val_size, h: int) -> bool:
    return not isinstance(val_size, int) or val_size == 0 or val_size >= h


def test_a_part_that_holds_no_window_is_refused():
    with pytest.raises(ArgumentError, match="val_size=3 holds no window of h=4: hold back at least 4"):
        split_rows(store_of([50]), 4, 3, 0.5)


@given(LENGTHS, st.integers(1, 6), st.integers(1, 8))
def test_a_series_holds_back_only_what_leaves_it_a_training_window(lengths, h, input_size):
    store = store_of(lengths)
    parts = split_rows(store, h, h, 0.0, input_size)
    long = np.array(lengths) >= input_size + 2 * h
    assert (parts.train - parts.starts == np.where(long, np.array(lengths) - h, lengths)).all()


@given(LENGTHS, st.integers(1, 6), VAL, SHARE)
def test_parts_follow_one_another_and_hold_back_windows_or_nothing(lengths, h, val_size, share):
    assume(holds_a_window(val_size, h))
    store = store_of(lengths)
    parts = split_rows(store, h, val_size, share)
    assert (parts.starts == store.starts).all()
    assert (parts.end == store.ends).all()
    for start, train, stop, end in zip(parts.starts, parts.train, parts.stop, parts.end, strict=True):
        assert start + h < train <= stop <= end or train == end
        assert (stop - train, end - stop) == (0, 0) or stop - train >= h
        assert end - stop == 0 or end - stop >= h
    if not val_size:
        assert (parts.train == parts.end).all()


@given(LENGTHS, st.integers(1, 6), st.integers(1, 8), VAL, SHARE)
def test_there_is_a_window_wherever_one_fits_and_nowhere_else(lengths, h, input_size, val_size, share):
    assume(holds_a_window(val_size, h))
    store = store_of(lengths)
    parts = split_rows(store, h, val_size, share)
    stopping, calibrating = held_back_cutoffs(parts, h)
    train, stop, calibrate = set(), set(), set()
    for s in range(len(lengths)):
        for cutoff in range(parts.starts[s], parts.end[s]):
            first, last = cutoff + 1, cutoff + h
            if cutoff - input_size + 1 >= parts.starts[s] and last < parts.train[s]:
                train.add((s, cutoff))
            if first >= parts.train[s] and last < parts.stop[s]:
                stop.add((s, cutoff))
            if first >= parts.stop[s] and last < parts.end[s]:
                calibrate.add((s, cutoff))
    assert windows_of(stopping) == stop
    assert windows_of(calibrating) == calibrate
    if train:
        assert windows_of(training_cutoffs(parts, input_size, h, "drop", store.ids)) == train
    else:
        with pytest.raises(FrameError, match="input_size \\+ h"):
            training_cutoffs(parts, input_size, h, "drop", store.ids)


@given(LENGTHS, st.integers(1, 6), st.integers(1, 8), VAL)
def test_padding_adds_one_window_of_training_rows_for_each_short_series(lengths, h, input_size, val_size):
    assume(holds_a_window(val_size, h))
    store = store_of(lengths)
    parts = split_rows(store, h, val_size, 0.5)
    index = training_cutoffs(parts, input_size, h, "pad", store.ids)
    enough = parts.train - parts.starts >= input_size + h
    assert (index.counts()[~enough] == 1).all()
    assume(enough.any())
    dropped = windows_of(training_cutoffs(parts, input_size, h, "drop", store.ids))
    added = windows_of(index) - dropped
    assert {s for s, _ in added} == set(np.flatnonzero(~enough))
    for s, cutoff in added:
        assert parts.starts[s] <= cutoff < parts.train[s] - 1
        assert cutoff + h < parts.train[s] or parts.train[s] == parts.end[s]  # rows after the data are masked


def test_the_published_split_of_etth1_has_the_windows_of_the_tables(shared_data):
    from tsforge.data import DATASETS

    shared_data("ett/ETTh1.csv")
    frame = DATASETS["etth1"]().frame()
    split = frame.split
    assert split is not None
    store = build_store(frame)
    val = store.starts + split.train
    test = val + split.val
    parts = Parts(store.starts, val, test, test + split.test)
    assert len(training_cutoffs(parts, 96, 96, "drop", store.ids)) == 8449
    for h, count in ((96, 2785), (192, 2689), (336, 2545), (720, 2161)):
        assert [len(index) for index in held_back_cutoffs(parts, h)] == [count, count]


@pytest.mark.parametrize(("val_size", "share", "expected"), [
    (0.1, 0.5, (90, 95, 100)), (0.29, 0.0, (71, 100, 100)), (0.01, 0.5, (96, 100, 100)), (20, 0.5, (80, 90, 100)),
    (np.int64(20), 0.25, (80, 95, 100)), (7, 0.5, (93, 100, 100)),
    (97, 0.5, (100, 100, 100)), (None, 0.5, (100, 100, 100)), (0, 0.5, (100, 100, 100)),
])
def test_a_share_of_the_length_or_a_number_of_steps_is_held_back_and_halved(val_size, share, expected):
    parts = split_rows(store_of([100]), 4, val_size, share)
    assert (parts.train[0], parts.stop[0], parts.end[0]) == expected


def test_rows_after_the_data_belong_to_no_part():
    plain, ahead = (split_rows(store_of([50, 60], ahead), 4, 0.2, 0.5) for ahead in (0, 9))
    for part in ("train", "stop", "end"):
        assert (getattr(ahead, part) - ahead.starts == getattr(plain, part) - plain.starts).all()


@pytest.mark.parametrize(("val_size", "share", "words"), [
    (-1, 0.5, "val_size=-1"), (1.0, 0.5, "val_size=1.0: wanted a number of steps"), (True, 0.5, "val_size=True"),
    (float("nan"), 0.5, "val_size=nan"), (0.1, 1.0, "calibration_share=1.0"),
])
def test_sizes_that_cannot_be_are_refused(val_size, share, words):
    with pytest.raises(ArgumentError, match=words):
        split_rows(store_of([50]), 4, val_size, share)


def test_short_series_are_named_where_they_are_to_be_an_error():
    store = store_of([50, 7, 9])
    parts = split_rows(store, 4, None, 0.5)
    assert training_cutoffs(parts, 6, 4, "drop", store.ids).counts().tolist() == [41, 0, 0]
    with pytest.raises(FrameError, match=r"Series 's1' has 7 training rows.* 6 \+ 4 = 10 \(2 series"):
        training_cutoffs(parts, 6, 4, "raise", store.ids)
    with pytest.raises(FrameError, match=r"Series 's0' has 50 training rows.*\(3 series"):
        training_cutoffs(parts, 60, 4, "drop", store.ids)


# --- irregular rows: steps are grid units, here of 8 ------------------------------------------------------------------

STAMPS = st.lists(
    st.lists(st.integers(0, 200), min_size=2, max_size=40, unique=True).map(sorted), min_size=1, max_size=4
)
GRID = 8


def irregular(stamps, ahead: int = 0):
    """Times are eighths of a step, which floats hold exactly."""
    ids, ds = np.repeat([f"s{k}" for k in range(len(stamps))], [len(s) for s in stamps]), np.concatenate(stamps)
    table = pl.DataFrame({"unique_id": ids, "ds": ds, "y": ds * 1.0})
    return build_store(Frame(table, freq="irregular", grid=f"{GRID}i"), ahead=ahead)


def looked_at(store, cutoff: int, h: int) -> list[int]:
    """The rows that are targets of a window, found one by one: the nearest within half a step, the earlier of two."""
    assert store.marks is not None
    s = int(store.series_of(np.array([cutoff]))[0])
    found = []
    for k in range(1, h + 1):
        wanted = store.marks[cutoff] + k * GRID
        apart = [(abs(store.marks[row] - wanted), row) for row in range(int(store.starts[s]), int(store.ends[s]))]
        found += [min(apart)[1]] if min(apart)[0] <= GRID / 2 else []
    return found


@given(STAMPS, st.integers(1, 4), st.integers(1, 5), VAL, SHARE)
def test_targets_of_irregular_windows_lie_in_the_part_they_are_for(stamps, h, input_size, val_size, share):
    assume(holds_a_window(val_size, h))
    store = irregular(stamps)
    parts = split_rows(store, h, val_size, share, input_size)
    held = dict(zip(("stop", "calibrate"), held_back_cutoffs(parts, h), strict=True))
    try:
        held["train"] = training_cutoffs(parts, input_size, h, "drop", store.ids)
    except FrameError:
        assert (parts.after_cutoffs(parts.train, h) - parts.starts < input_size).all()
    bounds = {"train": (parts.starts, parts.train), "stop": (parts.train, parts.stop),
              "calibrate": (parts.stop, parts.end)}
    for name, index in held.items():
        low, high = bounds[name]
        for s, cutoff in windows_of(index):
            assert all(low[s] <= row < high[s] for row in looked_at(store, cutoff, h))
            assert name == "train" or cutoff >= low[s] - 1


@given(STAMPS, st.integers(1, 4), st.integers(1, 5), VAL, SHARE)
def test_there_is_an_irregular_window_wherever_its_last_step_is_within_the_part(stamps, h, input_size, val_size, share):
    assume(holds_a_window(val_size, h))
    store = irregular(stamps)
    assert store.marks is not None
    parts = split_rows(store, h, val_size, share, input_size)
    stopping, calibrating = held_back_cutoffs(parts, h)
    train, stop, calibrate = set(), set(), set()
    for s in range(len(stamps)):
        for cutoff in range(parts.starts[s], parts.end[s]):
            over = store.marks[cutoff] + h * GRID
            if cutoff - input_size + 1 >= parts.starts[s] and over <= store.marks[int(parts.train[s]) - 1]:
                train.add((s, cutoff))
            if parts.train[s] <= cutoff + 1 and over <= store.marks[int(parts.stop[s]) - 1]:
                stop.add((s, cutoff))
            if parts.stop[s] <= cutoff + 1 and over <= store.marks[int(parts.end[s]) - 1]:
                calibrate.add((s, cutoff))
    assert (windows_of(stopping), windows_of(calibrating)) == (stop, calibrate)
    for s in range(len(stamps)):  # what is held back leaves windows of each kind, or nothing is
        kinds = [any(of == s for of, _ in windows) for windows in (train, stop, calibrate)]
        assert kinds[0] or parts.train[s] == parts.end[s]
        assert kinds[1] == (parts.stop[s] > parts.train[s])
        assert kinds[2] == (parts.end[s] > parts.stop[s])
    if train:
        assert windows_of(training_cutoffs(parts, input_size, h, "drop", store.ids)) == train
    else:
        with pytest.raises(FrameError, match=r"grid steps, and a window needs input_size = \d rows and h = \d grid"):
            training_cutoffs(parts, input_size, h, "drop", store.ids)


def test_counted_by_rows_a_training_target_would_be_held_back():
    store = irregular([list(range(0, 400, 2))])  # four rows a step
    parts = split_rows(store, 3, 10, 0.0, 4)
    by_rows = Parts(parts.starts, parts.train, parts.stop, parts.end)
    reach = [max(max(looked_at(store, c, 3)) for _, c in windows_of(training_cutoffs(p, 4, 3, "drop", store.ids)))
             for p in (parts, by_rows)]
    assert reach[0] == parts.train[0] - 1
    assert reach[1] > parts.train[0] + 3


@settings(max_examples=30)
@given(STAMPS, st.integers(1, 4), VAL, SHARE)
def test_an_irregular_series_is_divided_alike_alone_and_in_company(stamps, h, val_size, share):
    assume(holds_a_window(val_size, h))
    store, ahead = irregular(stamps), irregular(stamps, ahead=h)
    parts = split_rows(store, h, val_size, share)
    later = split_rows(ahead, h, val_size, share)
    for s, own in enumerate(stamps):
        alone = split_rows(irregular([own]), h, val_size, share)
        for part in ("train", "stop", "end"):
            assert getattr(parts, part)[s] - parts.starts[s] == getattr(alone, part)[0]
            assert getattr(later, part)[s] - later.starts[s] == getattr(alone, part)[0]


@given(LENGTHS, st.integers(1, 6), st.integers(1, 8), VAL, SHARE, st.sampled_from(["drop", "pad"]))
def test_irregular_rows_on_the_grid_are_divided_as_regular_ones(lengths, h, input_size, val_size, share, short):
    assume(holds_a_window(val_size, h))
    found = []
    for store in (store_of(lengths), irregular([[GRID * k for k in range(n)] for n in lengths])):
        parts = split_rows(store, h, val_size, share, input_size)
        rows = [getattr(parts, name).tolist() for name in ("starts", "train", "stop", "end")]
        try:
            train = windows_of(training_cutoffs(parts, input_size, h, short, store.ids))
        except FrameError:
            train = None
        found.append((rows, train, [windows_of(index) for index in held_back_cutoffs(parts, h)]))
    assert found[0] == found[1]


@pytest.mark.parametrize(("h", "val_size", "share", "expected"), [
    (1, 3, 0.0, (4, 6, 6)), (1, 0.3, 0.0, (4, 6, 6)), (1, 4, 0.5, (2, 4, 6)), (1, 2, 0.5, (4, 5, 6)),
    (2, 2, 0.5, (4, 6, 6)), (1, None, 0.5, (6, 6, 6)), (1, 9, 0.5, (6, 6, 6)),
])
def test_held_back_steps_of_irregular_rows_are_time(h, val_size, share, expected):
    store = irregular([[0, 8, 44, 50, 60, 75]])  # 1, 2, 3, 4, 9 steps before the end it is 67, 59, 51, 43, 3
    parts = split_rows(store, h, val_size, share)
    assert (parts.train[0], parts.stop[0], parts.end[0]) == expected
