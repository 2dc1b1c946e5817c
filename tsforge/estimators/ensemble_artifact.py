"""The run folder of an ensemble: JSON, arrays, a run folder of each member; whole and unchanged, or not opened."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tsforge._version import __version__
from tsforge.errors import ArtifactError, TsforgeError
from tsforge.estimators.ensemble_fit import EnsembleFit
from tsforge.evaluation.conformal import Ranked, Scores
from tsforge.frame.schema import Schema
from tsforge.training.artifact import SUMS, read_json, refuse_existing, write_folder

FORMAT = 1
RECORD, ARRAYS, MEMBER = "ensemble.json", "ensemble.safetensors", "member-"
ARGUMENTS: dict[str, tuple[type, ...]] = {
    "combine": (str,), "metric": (str,), "val_windows": (int,), "step_size": (int, type(None)), "rounds": (int,),
    "align": (str,), "calibrate": (bool,), "alias": (str, type(None)),
}
KEYS = {"format", "tsforge", "h", "arguments", "members", "roles", "ids"}


def is_ensemble(folder: Path) -> bool:
    """Whether a folder says that it is an ensemble."""
    return (folder / RECORD).exists()


def write_ensemble(
    folder: Path, fit: EnsembleFit, h: int, arguments: Mapping[str, Any], *, overwrite: bool = False,
) -> None:
    """Writes the folder aside and renames it.

    Raises:
        OutputExistsError: `folder` exists and `overwrite` was not given.
        ArtifactError: the series are named by something else than numbers and words.
    """
    refuse_existing(folder, overwrite)
    record = {
        "format": FORMAT, "tsforge": __version__, "h": h, "arguments": dict(arguments),
        "members": [member.name for member in fit.members], "roles": fit.schema.to_dict(), "ids": fit.ids.to_list(),
    }
    try:
        told = json.dumps(record, indent=1, allow_nan=False, default=_number).encode()
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"A run folder holds numbers and words ({error}), so this ensemble is not saved.") from None
    contents = {RECORD: told, ARRAYS: save_tensors(_arrays(fit))}
    with TemporaryDirectory() as aside:
        for number, member in enumerate(fit.members):
            place = Path(aside) / f"{MEMBER}{number}"
            member.save(place)
            files = [file for file in sorted(place.rglob("*")) if file.is_file()]
            contents |= {file.relative_to(aside).as_posix(): file.read_bytes() for file in files}
    contents[SUMS] = _sums({name: contents[name] for name in _summed(len(fit.members))})
    write_folder(folder, contents, overwrite=overwrite)


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the arrays of an ensemble, seen to be unchanged; its members are not looked into.

    Raises:
        ArtifactError: a file is missing, changed or unknown, or the format is newer.
    """
    contents = _verified(folder)
    record = read_json(contents[RECORD], f"{folder}/{RECORD}")
    version = record.get("format") if isinstance(record, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ArtifactError(f"{folder} was written by a newer tsforge ({record.get('tsforge')}, format {version}); "
                            f"this one reads format {FORMAT}. Upgrade tsforge to open it.")
    if not isinstance(record, dict) or record.keys() != KEYS:
        raise ArtifactError(f"{folder}/{RECORD} is not the record of an ensemble: wanted {', '.join(sorted(KEYS))}.")
    given = record["arguments"]
    if not isinstance(given, dict) or given.keys() != ARGUMENTS.keys() or not all(
        isinstance(given[name], kinds) for name, kinds in ARGUMENTS.items()
    ):
        raise ArtifactError(f"{folder}/{RECORD}: the arguments are not those of an ensemble.")
    kinds = {"members": list, "ids": list, "roles": dict, "h": int}
    odd = next((name for name, kind in kinds.items() if not isinstance(record[name], kind)), None)
    if odd is not None or not all(isinstance(name, str) for name in record["members"]):
        raise ArtifactError(f"{folder}/{RECORD}: {odd or 'members'} is not what an ensemble has there.")
    try:
        arrays = load_tensors(contents[ARRAYS])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder}/{ARRAYS} holds no tensors ({error}). Pickles are never read.") from None
    if "weights" not in arrays or arrays["weights"].shape != (len(record["members"]),):
        raise ArtifactError(f"{folder}/{ARRAYS} holds no weight of each member.")
    return record, arrays


def read_ensemble(folder: Path, open_member: Callable[[Path], Any]) -> tuple[dict[str, Any], EnsembleFit]:
    """The arguments of an ensemble and what it learned.

    Raises:
        ArtifactError: the folder is not a whole, unchanged ensemble of a format this version reads.
    """
    record, arrays = read_record(folder)
    members = [open_member(folder / f"{MEMBER}{number}") for number in range(len(record["members"]))]
    try:
        if [member.name for member in members] != record["members"] or {m.h for m in members} != {record["h"]}:
            raise ArtifactError(f"{folder}: its members are not those that {RECORD} names.")
        fit = _fit(record, arrays, members)
    except ArtifactError:
        raise
    except (TsforgeError, AttributeError, KeyError, TypeError, ValueError, OverflowError,
            pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{folder}: what was learned does not fit together ({error}).") from None
    return record["arguments"], fit


def _fit(record: dict[str, Any], arrays: dict[str, np.ndarray], members: list[Any]) -> EnsembleFit:
    ids, schema = pl.Series("unique_id", record["ids"]), Schema.from_dict(record["roles"])
    n, models, channels, arguments = len(ids), len(members), len(schema.targets), record["arguments"]
    wanted = {"weights": (models,), "scale": (n, channels)}
    if arguments["combine"] == "select":
        wanted["chosen"] = (n,)
    cells = (record["h"], channels)
    if arguments["combine"] in ("greedy", "select") or arguments["calibrate"]:
        pooled, own = (arrays[f"scores/{part}/values"].shape for part in ("pooled", "own"))
        wanted |= {"scores/pooled/values": (pooled[0], *cells), "scores/pooled/counts": cells,
                   "scores/own/values": (n, own[1], *cells), "scores/own/counts": (n, *cells)}
    if {name: array.shape for name, array in arrays.items()} != wanted:
        raise ArtifactError("The arrays of the ensemble do not have the shapes that its record gives.")
    weights, scale, chosen = arrays["weights"], arrays["scale"], arrays.get("chosen")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and abs(weights.sum() - 1) < 1e-6
            and np.isfinite(scale).all() and (scale > 0).all()):
        raise ArtifactError("The weights of the ensemble do not sum to 1, or a scale is not above 0.")
    whole = [array for name, array in arrays.items() if name == "chosen" or name.endswith("/counts")]
    if any(array.dtype != np.int64 or (array < 0).any() for array in whole) or (
        chosen is not None and (chosen >= models).any()
    ):
        raise ArtifactError("A count of the ensemble is no whole number, or a series has a member that is not there.")
    return EnsembleFit(schema, members, arguments["combine"], weights, ids, scale, chosen, _scores(arrays))


def _scores(arrays: Mapping[str, np.ndarray]) -> Scores | None:
    if "scores/own/values" not in arrays:
        return None
    ranked = (Ranked(arrays[f"scores/{part}/values"], arrays[f"scores/{part}/counts"]) for part in ("pooled", "own"))
    return Scores(*ranked)


def _arrays(fit: EnsembleFit) -> dict[str, np.ndarray]:
    arrays = {"weights": fit.weights, "scale": fit.scale}
    if fit.chosen is not None:
        arrays["chosen"] = fit.chosen
    if fit.scores is not None:
        for part, ranked in (("pooled", fit.scores.pooled), ("own", fit.scores.own)):
            arrays |= {f"scores/{part}/values": ranked.values, f"scores/{part}/counts": ranked.counts}
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def _verified(folder: Path) -> dict[str, bytes]:
    """The files beside the members, after their sums were seen to be right."""
    if folder.is_symlink() or not folder.is_dir():
        raise ArtifactError(f"There is no run at {folder}.")
    names = {entry.name for entry in folder.iterdir()}
    members = sum(name.startswith(MEMBER) for name in names)
    wanted = {RECORD, ARRAYS, SUMS, *(f"{MEMBER}{number}" for number in range(members))}
    if wanted - names or not members:
        absent = min(wanted - names, default=f"{MEMBER}0")
        raise ArtifactError(f"{folder} is no whole ensemble: {absent} is missing. Copy it again from where it was.")
    if names - wanted:
        unknown = min(names - wanted)
        raise ArtifactError(f"{folder} holds {unknown!r}, which no ensemble has. It is not opened.")
    contents = {}
    for name in (*_summed(members), SUMS):
        path = folder / name
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path} is not a plain file. It is not opened.")
        contents[name] = path.read_bytes()
    if contents.pop(SUMS) != _sums(contents):
        raise ArtifactError(f"{folder}: a file does not match {SUMS}: it was cut or changed. Copy the run again from "
                            "where it came from.")
    return contents


def _summed(members: int) -> list[str]:
    """What the sums of an ensemble are over: those of each member are over the files of that member."""
    return [RECORD, ARRAYS, *(f"{MEMBER}{number}/{SUMS}" for number in range(members))]


def _sums(contents: Mapping[str, bytes]) -> bytes:
    return "".join(f"{sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents)).encode()


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is neither")
