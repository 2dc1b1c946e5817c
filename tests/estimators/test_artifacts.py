"""A run folder opens as it was written, or not at all."""

import json
import pickle
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tsforge
from tsforge.errors import ArtifactError, OutputExistsError
from tsforge.training.artifact import HASHED, SUMS, write_folder


def table(n: int = 60) -> pl.DataFrame:
    t = np.arange(n)
    return pl.DataFrame({"unique_id": ["a"] * n + ["b"] * n, "ds": [*t, *t], "y": np.sin(np.concatenate([t, t + 3]))})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    model = tsforge.DLinear(h=4, input_size=8, max_steps=3, val_size=0.4, accelerator="cpu").fit(table())
    return model.save(tmp_path_factory.mktemp("runs") / "run")


class Trap:
    """Unpickling it would make a file: proof that code ran."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def signed(folder: Path) -> None:
    """Makes the sums right again, as somebody who changes a run on purpose would."""
    lines = [f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(HASHED)]
    (folder / SUMS).write_text("".join(lines))


def copied(run: Path, place: Path) -> Path:
    return Path(shutil.copytree(run, place / "copy"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_corruption_is_an_artifact_error(run, tmp_path_factory, data):
    folder = copied(run, tmp_path_factory.mktemp("broken"))
    path = folder / data.draw(st.sampled_from([*HASHED, SUMS]))
    before = path.read_bytes()
    kind = data.draw(st.sampled_from(["delete", "cut", "flip", "replace", "insert"]))
    at = data.draw(st.integers(0, len(before) - 1))
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(before[:at])
    elif kind == "flip":
        path.write_bytes(before[:at] + bytes([before[at] ^ (1 << data.draw(st.integers(0, 7)))]) + before[at + 1 :])
    elif kind == "replace":
        path.write_bytes(pickle.dumps(Trap(folder / "ran")))
    else:
        path.write_bytes(before[:at] + data.draw(st.binary(min_size=1, max_size=9)) + before[at:])
    with pytest.raises(ArtifactError):
        tsforge.open(folder)
    assert not (folder / "ran").exists()
    shutil.rmtree(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_with_the_sums_made_right_is_an_artifact_error_or_harmless(run, tmp_path_factory, data):
    folder = copied(run, tmp_path_factory.mktemp("forged"))
    path = folder / data.draw(st.sampled_from(HASHED))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    path.write_bytes(before[:at] + data.draw(st.binary(min_size=1, max_size=9)) + before[at + 1 :])
    signed(folder)
    with suppress(ArtifactError):
        tsforge.open(folder)
    shutil.rmtree(folder)


def test_untouched_it_opens(run):
    assert isinstance(tsforge.open(run), tsforge.DLinear)


@pytest.mark.parametrize("name", HASHED)
def test_a_pickle_under_any_name_is_never_loaded(run, tmp_path, name):
    folder = copied(run, tmp_path)
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    signed(folder)
    with pytest.raises(ArtifactError):
        tsforge.open(folder)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Trap(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()  # the control: the trap works


def test_an_unknown_file_is_refused(run, tmp_path):
    folder = copied(run, tmp_path)
    (folder / "model.pkl").write_bytes(pickle.dumps(1))
    with pytest.raises(ArtifactError, match=r"'model.pkl', which no run has"):
        tsforge.open(folder)


def test_a_report_beside_the_run_is_known(run, tmp_path):
    folder = copied(run, tmp_path)
    (folder / "report.html").write_text("<html>")
    tsforge.open(folder)


def changed_record(run: Path, tmp_path: Path, **changes) -> Path:
    folder = copied(run, tmp_path)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | changes))
    signed(folder)
    return folder


def test_a_newer_format_says_to_upgrade(run, tmp_path):
    with pytest.raises(ArtifactError, match=r"newer tsforge \(9.9, format 3\).*Upgrade"):
        tsforge.open(changed_record(run, tmp_path, format=3, tsforge="9.9"))


def test_names_in_a_record_resolve_through_the_catalog_alone(run, tmp_path):
    with pytest.raises(ArtifactError, match="no model named"):
        tsforge.open(changed_record(run, tmp_path, name="os.system"))


def test_a_record_that_asks_for_a_huge_network_takes_no_memory(run, tmp_path):
    sizes = json.loads((run / "run.json").read_text())["sizes"] | {"input_size": 10**7, "h": 10**6}
    with pytest.raises(ArtifactError, match="do not have the shapes"):
        tsforge.open(changed_record(run, tmp_path, sizes=sizes))


def test_json_that_is_too_deep_is_not_parsed(run, tmp_path):
    folder = copied(run, tmp_path)
    (folder / "run.json").write_text("[" * 100_000)
    signed(folder)
    with pytest.raises(ArtifactError, match="nested 100000 deep"):
        tsforge.open(folder)


def test_a_missing_folder_and_a_checkpoint_say_what_they_are(tmp_path):
    with pytest.raises(ArtifactError, match="There is no run at"):
        tsforge.open(tmp_path / "nothing")
    (tmp_path / "x.partial").mkdir()
    for name in ("x", "x.partial"):
        with pytest.raises(ArtifactError, match="--resume"):
            tsforge.open(tmp_path / name)


def test_what_is_there_is_not_overwritten_unasked(run, tmp_path):
    folder = copied(run, tmp_path)
    model = tsforge.open(run)
    with pytest.raises(OutputExistsError, match="exists already"):
        model.save(folder)
    model.save(folder, overwrite=True)
    tsforge.open(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputExistsError, match="not a run of tsforge"):
        model.save(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_what_was_there(tmp_path, monkeypatch, error):
    place = tmp_path / "run"
    write_folder(place, {SUMS: b"old", "a": b"old"})

    def fails(descriptor):
        raise error

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(type(error)):
        write_folder(place, {SUMS: b"new", "a": b"new"}, overwrite=True)
    with pytest.raises(type(error)):
        write_folder(tmp_path / "other", {"a": b"new"})
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (place / "a").read_bytes() == b"old"
