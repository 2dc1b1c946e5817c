"""Members: files of a folder that the user's arguments choose, and the text tables in them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError, DataNotFoundError, FrameError, UnknownNameError, suggest
from tsforge.frame.schema import list_names


def check_choice(argument: str, value: str, choices: Sequence[str]) -> str:
    """The value.

    Raises:
        ArgumentError: it is none of the choices.
    """
    if value not in choices:
        raise ArgumentError(f"{argument}={value!r}: wanted {' or '.join(repr(choice) for choice in choices)}.")
    return value


def check_file_name(argument: str, value: Any) -> str:
    """The value.

    Raises:
        ArgumentError: it is no name of a file, or would lead out of its folder.
    """
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.+ -]*", value):
        raise ArgumentError(f"{argument}={value!r}: wanted a name as in the source, without folders and ending.")
    return value


def find_member(argument: str, value: str, candidates: Sequence[Path], known: Sequence[str], folder: Path) -> Path:
    """The first of the candidates that is there.

    Args:
        argument: The argument that chose the member.
        value: Its value.
        candidates: Paths that the member may have.
        known: The members of the folder.
        folder: Where they lie.

    Raises:
        UnknownNameError: the folder has other members and not this one; names the nearest.
        DataNotFoundError: the folder has no member at all, or this one lacks the file.
    """
    found = next((path for path in candidates if path.exists()), None)
    if found is not None:
        return found
    if known and value not in known:
        raise UnknownNameError(
            f"{argument}={value!r}: there is none in {folder}.{suggest(value, known)} There are {list_names(known)}."
        )
    wanted = " or ".join(str(path) for path in candidates) or f"file of it in {folder}"
    raise DataNotFoundError(f"{argument}={value!r}: there is no {wanted}. Put it there as the source has it.")


def read_text(paths: Path | Sequence[Path], **options: Any) -> pl.DataFrame:
    """The table in text files of the same columns, with options of `polars.scan_csv`.

    Raises:
        FrameError: it cannot be parsed.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    try:
        return pl.scan_csv(files, **options).collect()
    except pl.exceptions.PolarsError as error:
        where = str(files[0] if len(files) == 1 else files[0].parent)
        said = str(error).split("\n\n")[0].strip()  # the rest advises on arguments of polars
        raise FrameError(f"{where} cannot be read: {said}. Mend the file, or fetch it again.") from error
