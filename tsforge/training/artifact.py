"""Artifacts: a run is a folder without pickles, whole or not there, verified before anything in it is read."""

import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow
import pyarrow.ipc
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tsforge.errors import ArtifactError, OutputExistsError, RecipeError
from tsforge.training.recipe import RunRecord, check_record

FORMAT = 2  # adapted runs, weights of a byte each, and tasks beside the forecast
PLAIN = 1  # all others, which older versions read
NEWER = ("adapted", "classes", "validation")  # parts of a record
HASHED = ("context.arrow", "model.safetensors", "run.json")
SUMS = "SHA256SUMS"
KNOWN = {*HASHED, SUMS, "report.html"}  # the report is made later and is not part of the run
MOST_BYTES, MOST_DEPTH = 64 << 20, 24


def write_run(
    folder: Path,
    record: RunRecord,
    arrays: Mapping[str, np.ndarray],
    context: pl.DataFrame,
    *,
    overwrite: bool = False,
) -> None:
    """Writes a run aside and renames it: afterwards there is a whole run, or what was there before.

    Raises:
        OutputExistsError: `folder` exists and `overwrite` was not given.
    """
    table = io.BytesIO()
    context.write_ipc(table, compression="zstd")
    contents = {
        "context.arrow": table.getvalue(),
        "model.safetensors": save_tensors({name: np.asarray(a, order="C") for name, a in arrays.items()}),
        "run.json": json.dumps(_plain(record), indent=1, allow_nan=False).encode(),
    }
    contents[SUMS] = _sums(contents)
    write_folder(folder, contents, overwrite=overwrite)


def _plain(record: RunRecord) -> dict[str, Any]:
    """What older versions do not know is left out where it says nothing."""
    return record.model_dump(mode="json", exclude={name for name in NEWER if not getattr(record, name)})


def write_folder(folder: Path, contents: Mapping[str, bytes], *, overwrite: bool = False) -> None:
    """Writes files into a new folder beside its place, then renames it; a name may be a path inside the folder.

    Raises:
        OutputExistsError: `folder` exists and `overwrite` was not given.
    """
    refuse_existing(folder, overwrite)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        aside.mkdir(parents=True)
        for name, content in contents.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            with (aside / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
            folder.rename(old)
            aside.rename(folder)
            shutil.rmtree(old)
        else:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raises OutputExistsError where `folder` exists; overwriting is for runs and empty folders alone."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise OutputExistsError(
            f"{folder} exists already. Choose another place, or overwrite it with overwrite=True (--overwrite)."
        )
    if (
        not folder.is_dir()
        or folder.is_symlink()
        or (any(folder.iterdir()) and not any((folder / name).exists() for name in (SUMS, "backtest.json")))
    ):
        raise OutputExistsError(f"{folder} is not a run of tsforge, so it is not overwritten. Choose another place.")


def read_run(folder: Path) -> tuple[RunRecord, dict[str, np.ndarray], pl.DataFrame]:
    """The record, arrays and context of a run, after every byte was checked.

    Raises:
        ArtifactError: the folder is no run, a file is missing, changed or unknown, or the format is newer.
    """
    contents = _verified(Path(folder))
    record = _record(folder, contents["run.json"])
    try:
        arrays = load_tensors(contents["model.safetensors"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder}/model.safetensors holds no tensors ({error}). Pickles are never read.") from None
    return record, arrays, _table(contents["context.arrow"], f"{folder}/context.arrow")


def _table(content: bytes, name: str) -> pl.DataFrame:
    """A table of a forged file: every offset is looked at before a value is."""
    try:
        table = pyarrow.ipc.open_file(io.BytesIO(content)).read_all()
        table.validate(full=True)
        made = pl.from_arrow(table)
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{name} holds no table ({error}).") from None
    assert isinstance(made, pl.DataFrame)
    return made


def _verified(folder: Path) -> dict[str, bytes]:
    _refuse_unfinished(folder)
    names = {entry.name for entry in folder.iterdir()}
    unknown, absent = sorted(names - KNOWN), sorted({*HASHED, SUMS} - names)
    if absent:
        raise ArtifactError(
            f"{folder} is no whole run: {', '.join(absent)} is missing. Copy it again from where it came from."
        )
    if unknown:
        raise ArtifactError(
            f"{folder} holds {unknown[0]!r}, which no run has ({len(unknown)} such files). It is not opened."
        )
    contents = {}
    for name in (*HASHED, SUMS):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path} is not a plain file. It is not opened.")
        contents[name] = path.read_bytes()
    given = contents.pop(SUMS)
    if given != _sums(contents):
        changed = [name for name in HASHED if f"{sha256(contents[name]).hexdigest()}  {name}\n".encode() not in given]
        raise ArtifactError(
            f"{folder}: {', '.join(changed) or SUMS} does not match {SUMS}: it was cut or changed. Copy the run again "
            "from where it came from."
        )
    return contents


def _refuse_unfinished(folder: Path) -> None:
    partial = folder.name.endswith(".partial") or folder.with_name(f"{folder.name}.partial").is_dir()
    if (partial and not (folder / SUMS).exists()) or (folder / "checkpoint.safetensors").exists():
        raise ArtifactError(
            f"{folder} is not finished: a checkpoint is there. Go on with the same `tsforge fit` and --resume."
        )
    if not folder.is_dir():
        raise ArtifactError(f"There is no run at {folder}.")


def _sums(contents: Mapping[str, bytes]) -> bytes:
    return "".join(f"{sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(HASHED)).encode()


def _record(folder: Path, content: bytes) -> RunRecord:
    values = read_json(content, f"{folder}/run.json")
    version = values.get("format") if isinstance(values, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ArtifactError(
            f"{folder} was written by a newer tsforge ({values.get('tsforge')}, format {version}); this one reads "
            f"format {FORMAT}. Upgrade tsforge to open it."
        )
    try:
        return check_record(values)
    except RecipeError as error:
        raise ArtifactError(f"{folder}/run.json is not the record of a run: {error}.") from None


def read_json(content: bytes, name: str) -> Any:
    """JSON of a bounded size and depth.

    Raises:
        ArtifactError: it is larger, deeper, or no JSON.
    """
    if len(content) > MOST_BYTES:
        raise ArtifactError(f"{name} has {len(content)} bytes, more than {MOST_BYTES}. It is not read.")
    try:
        text = content.decode()
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        depth = deepest = 0
        for bracket in re.findall(r"[\[{\]}]", outside):
            depth += 1 if bracket in "[{" else -1
            deepest = max(deepest, depth)
        if deepest > MOST_DEPTH:
            raise ArtifactError(f"{name} is nested {deepest} deep, more than {MOST_DEPTH}. It is not read.")
        return json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{name} is no JSON ({error}).") from None
