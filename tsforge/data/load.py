"""Load: a frame from a catalog name, a path or a table."""

import os
import re
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from typing import Any

from tsforge.data import DATASETS
from tsforge.data.files import READERS, read_table
from tsforge.data.mapped import HEAD, open_store
from tsforge.errors import ArgumentError, DataNotFoundError, UnknownArgumentError, suggest
from tsforge.frame.frame import Frame, as_frame

ROLES = tuple(name for name in signature(Frame.__init__).parameters if name not in ("self", "df"))
BESIDE = ("static", "labels")  # roles that may be a second table
INTEGER = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def load(source: Any, /, **arguments: Any) -> Frame:
    """The checked frame of a dataset, a file or a table.

    Args:
        source: A name of the catalog (`"etth1"`), with arguments after a colon (`"chaos:system=Lorenz,n=4000"`), a
            path of a file, of a folder of parquet files or of a store, a table, or a Frame. A name of the catalog wins
            over a file of that name; `"./etth1"` or a `Path` means the file.
        arguments: Those of the dataset, and the roles of `Frame`; a role given here wins over the dataset's own. The
            tables of `static` and `labels` may be paths of files.

    Raises:
        DataNotFoundError: no dataset and no file has this name, or a file of the dataset is missing.
        UnknownArgumentError: neither the dataset nor `Frame` has this argument.
        ArgumentError: an argument is written wrong, is given twice, or has a value that cannot work.
        FrameError: the table cannot be read as series.
    """
    arguments |= {role: read_table(arguments[role]) for role in BESIDE if _is_file(arguments.get(role))}
    if not isinstance(source, (str, os.PathLike)):
        check_known("Frame", arguments, ROLES)
        return as_frame(source, **arguments)
    if isinstance(source, str):
        name, colon, text = source.partition(":")
        if name in DATASETS:
            return load_dataset(name, written(text, source) if colon else {}, arguments)
    path = Path(source).expanduser()
    if isinstance(source, str) and not (path.exists() or path.suffix or "/" in source or os.sep in source):
        hint = suggest(source.partition(":")[0], DATASETS) or f" Datasets are {', '.join(DATASETS)}."
        raise DataNotFoundError(f"There is no dataset and no file named {source!r}.{hint} A file is named by its path.")
    if path.suffix == ".npy":
        return load_dataset("weather2k", {"path": path}, arguments)
    if (path / HEAD).is_file():
        check_known("open_store", arguments, signature(open_store).parameters)
        return open_store(path, **arguments)
    check_known("Frame", arguments, ROLES)
    return as_frame(read_table(path), **arguments)


def _is_file(given: Any) -> bool:
    """Whether a role is the path of a table and not the name of a column."""
    return isinstance(given, (str, os.PathLike)) and any(str(given).endswith(ending) for ending in READERS)


def load_dataset(name: str, inline: dict[str, Any], arguments: dict[str, Any]) -> Frame:
    """The frame of one row of the catalog; arguments go to the adapter's constructor, roles to the frame."""
    twice = sorted(inline.keys() & arguments.keys())
    if twice:
        raise ArgumentError(f"{twice[0]!r} is given twice, after {name}: and as an argument. Leave one of them out.")
    adapter = DATASETS[name]
    own = [key for key in signature(adapter).parameters]
    given = inline | arguments
    check_known(adapter.__name__, given, (*own, *ROLES))
    chosen = {key: value for key, value in given.items() if key in own}
    return adapter(**chosen).frame(**{key: value for key, value in given.items() if key not in own})


def check_known(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises UnknownArgumentError for the first argument that is not known."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise UnknownArgumentError(
                f"{owner} has no argument {name!r}.{suggest(name, known)} There are: {', '.join(known)}."
            )


def written(text: str, source: str) -> dict[str, Any]:
    """`"system=Lorenz,n=4000"` -> {"system": "Lorenz", "n": 4000}.

    Raises:
        ArgumentError: a part is not name=value, or a name stands twice.
    """
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals):
            raise ArgumentError(f"{source!r}: {part!r} is not name=value. Write it as in chaos:system=Lorenz,n=4000.")
        if name in values:
            raise ArgumentError(f"{source!r}: {name!r} is given twice. Leave one of them out.")
        values[name] = scalar(value)
    return values


def scalar(text: str) -> int | float | bool | str | None:
    """A value as YAML 1.2 reads it: `4000`, `0.5`, `1e-3`, `true`, `null`, else text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if FLOAT.fullmatch(text) else text
