"""The run folder of an ensemble opens as it was written, or not at all."""

import json
import pickle
import shlex
import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import tsforge
from tsforge.cli.main import app
from tsforge.cli.output import end
from tsforge.errors import ArtifactError, OutputExistsError
from tsforge.estimators.reporting import report_run
from tsforge.training.artifact import SUMS

H = 3
FILES = ("ensemble.json", "ensemble.safetensors", SUMS, "member-0/run.json", "member-0/model.safetensors",
         "member-1/context.arrow", "member-1/SHA256SUMS")


def table(n: int = 50) -> pl.DataFrame:
    days, rng = [datetime(2024, 1, 1) + timedelta(days=k) for k in range(n)], np.random.default_rng(0)
    own = [rng.normal(size=n).cumsum() * 10**k for k in range(3)]
    return pl.concat([pl.DataFrame({"unique_id": i, "ds": days, "y": y}) for i, y in zip("abc", own, strict=True)])


def ensemble(combine: str = "select", **changes: Any) -> Any:
    models = [tsforge.Naive(h=H), tsforge.Mean(h=H), tsforge.Ridge(h=H, lags=5)]
    return tsforge.Ensemble(models, combine, **({"val_windows": 8, "calibrate": True} | changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensemble().fit(table()).save(tmp_path_factory.mktemp("runs") / "run")


def copied(run: Path, place: Path) -> Path:
    return Path(shutil.copytree(run, place / "copy"))


def signed(folder: Path) -> None:
    """Makes the sums of the ensemble right again, as somebody who changes it on purpose would."""
    members = sorted(place.name for place in folder.glob("member-*"))
    names = sorted(["ensemble.json", "ensemble.safetensors", *(f"{name}/{SUMS}" for name in members)])
    lines = [f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines))


@pytest.mark.parametrize("combine", ["mean", "median", "greedy", "select"])
def test_it_opens_as_it_was_written(tmp_path, combine):
    fitted = ensemble(combine, alias="Mix").fit(table())
    opened = tsforge.open(fitted.save(tmp_path / "run"))
    assert isinstance(opened, tsforge.Ensemble)
    assert repr(opened) == repr(fitted)
    assert opened.predict(level=[50, 80]).equals(fitted.predict(level=[50, 80]))
    later = table(55).with_columns(pl.col("unique_id").replace("c", "new"))
    assert opened.predict(later, level=50).equals(fitted.predict(later, level=50))
    assert opened.weights_.equals(fitted.weights_)
    assert opened.trained_until().equals(fitted.trained_until())
    assert opened.fit(table()).predict().equals(fitted.predict())  # it can be fitted again


def test_without_validation_windows_and_with_names_that_are_numbers_it_opens_too(tmp_path):
    numbers = table().with_columns(pl.col("unique_id").replace_strict({"a": 1, "b": 2, "c": 3}))
    fitted = ensemble("mean", calibrate=False).fit(numbers.to_pandas())
    opened = tsforge.open(fitted.save(tmp_path / "run"))
    assert opened.predict().equals(fitted.predict())


def test_an_ensemble_in_an_ensemble_opens(tmp_path):
    outer = tsforge.Ensemble([ensemble(alias="Inner"), tsforge.Drift(h=H)]).fit(table())
    assert tsforge.open(outer.save(tmp_path / "run")).predict().equals(outer.predict())


def test_a_member_is_a_run_of_its_own(run):
    assert tsforge.open(run / "member-0").predict().columns == ["unique_id", "ds", "Naive"]


def test_another_folder_is_not_overwritten_unless_asked(run, tmp_path):
    folder, fitted = copied(run, tmp_path), ensemble("mean").fit(table())
    with pytest.raises(OutputExistsError):
        fitted.save(folder)
    assert tsforge.open(folder).combine == "select"
    fitted.save(folder, overwrite=True)
    assert tsforge.open(folder).combine == "mean"
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_corruption_is_an_artifact_error(run, tmp_path_factory, data):
    folder = copied(run, tmp_path_factory.mktemp("broken"))
    path = folder / data.draw(st.sampled_from(FILES))
    before = path.read_bytes()
    kind = data.draw(st.sampled_from(["delete", "cut", "flip", "insert"]))
    at = data.draw(st.integers(0, len(before) - 1))
    if kind == "delete":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(before[:at])
    elif kind == "flip":
        path.write_bytes(before[:at] + bytes([before[at] ^ (1 << data.draw(st.integers(0, 7)))]) + before[at + 1 :])
    else:
        path.write_bytes(before[:at] + data.draw(st.binary(min_size=1, max_size=9)) + before[at:])
    with pytest.raises(ArtifactError):
        tsforge.open(folder)
    shutil.rmtree(folder)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_with_the_sums_made_right_is_an_artifact_error_or_harmless(run, tmp_path_factory, data):
    folder = copied(run, tmp_path_factory.mktemp("forged"))
    path = folder / data.draw(st.sampled_from(FILES[:2]))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    path.write_bytes(before[:at] + data.draw(st.binary(min_size=1, max_size=9)) + before[at + 1 :])
    signed(folder)
    with suppress(ArtifactError):
        tsforge.open(folder)
    shutil.rmtree(folder)


def test_untouched_it_opens(run):
    assert isinstance(tsforge.open(run), tsforge.Ensemble)


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_under_any_name_is_never_loaded(run, tmp_path, name):
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    folder = copied(run, tmp_path)
    (folder / name).write_bytes(pickle.dumps(Trap()))
    if name != SUMS:
        signed(folder)
    with pytest.raises(ArtifactError):
        tsforge.open(folder)
    assert not (tmp_path / "ran").exists()


FORGED: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "newer tsforge"),
    ({"more": 1}, "not the record of an ensemble"),
    ({"arguments": {"combine": "mean"}}, "arguments are not those"),
    ({"members": ["Naive", "Mean", "Theta"]}, "members are not those"),
    ({"members": ["Naive"]}, "no weight of each member"),
    ({"h": 4}, "members are not those"),
    ({"h": [3]}, "h is not what an ensemble has there"),
    ({"ids": ["a", "b"]}, "do not have the shapes"),
    ({"roles": {}}, "does not fit together|do not have the shapes"),
]


@pytest.mark.parametrize(("changes", "words"), FORGED, ids=[str(changes) for changes, _ in FORGED])
def test_a_forged_record_is_refused(run, tmp_path, changes, words):
    folder = copied(run, tmp_path)
    record = json.loads((folder / "ensemble.json").read_text())
    (folder / "ensemble.json").write_text(json.dumps(record | changes))
    signed(folder)
    with pytest.raises(ArtifactError, match=words):
        tsforge.open(folder)


ARRAYS: list[tuple[dict[str, Any], str]] = [
    ({"weights": np.array([2.0, -1.0, 0.0])}, "do not sum to 1"),
    ({"scale": np.full((3, 1), np.nan)}, "a scale is not above 0"),
    ({"chosen": np.array([0, 1, 3])}, "a member that is not there"),
    ({"chosen": np.array([0.0, 1.0, 2.0])}, "no whole number"),
    ({"extra": np.zeros(1)}, "do not have the shapes"),
]


@pytest.mark.parametrize(("changes", "words"), ARRAYS, ids=[words for _, words in ARRAYS])
def test_forged_arrays_are_refused(run, tmp_path, changes, words):
    folder = copied(run, tmp_path)
    save_file(load_file(folder / "ensemble.safetensors") | changes, folder / "ensemble.safetensors")
    signed(folder)
    with pytest.raises(ArtifactError, match=words):
        tsforge.open(folder)


def test_unknown_absent_and_linked_files_are_refused(run, tmp_path):
    folder = copied(run, tmp_path)
    (folder / "model.pkl").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"'model.pkl', which no ensemble has"):
        tsforge.open(folder)
    (folder / "model.pkl").unlink()
    (folder / "member-1").rename(tmp_path / "aside")
    with pytest.raises(ArtifactError, match="member-1 is missing"):
        tsforge.open(folder)
    (folder / "member-1").symlink_to(tmp_path / "aside", target_is_directory=True)
    with pytest.raises(ArtifactError, match="not a plain file"):
        tsforge.open(folder)
    (folder / "member-1").unlink()
    (tmp_path / "aside").rename(folder / "member-1")
    assert tsforge.open(folder).h == H  # control


def command(line: str) -> None:
    try:
        app(shlex.split(line), standalone_mode=False)
    finally:
        end()  # the log is shared with other tests


def test_the_command_line_forecasts_with_it_and_shows_it(run, tmp_path, capsys):
    command(f"predict {run} --level 80 --out {tmp_path / 'f.parquet'} --quiet")
    assert pl.read_parquet(tmp_path / "f.parquet").equals(tsforge.open(run).predict(level=80))
    capsys.readouterr()
    command(f"show {run}")
    shown = capsys.readouterr().out
    assert "Ensemble, select" in shown
    assert "weight of Ridge" in shown
    command(f"show {run} --json")
    assert json.loads(capsys.readouterr().out)["members"] == ["Naive", "Mean", "Ridge"]


def test_a_report_of_it_is_refused_in_words(run, tmp_path):
    with pytest.raises(ArtifactError, match="is an ensemble, which has no recipe"):
        report_run(run, tmp_path / "report.html")


def test_series_named_by_what_json_does_not_hold_are_refused(tmp_path):
    fitted = ensemble("mean", calibrate=False).fit(table())
    object.__setattr__(fitted.fitted_, "ids", pl.Series("unique_id", [datetime(2024, 1, 1)] * 3))
    with pytest.raises(ArtifactError, match="holds numbers and words"):
        fitted.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
