"""Cards: what is to be known of a dataset beside its code (source, licence, units, files), one YAML in `datasets/`."""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from tsforge.errors import DataNotFoundError

FOLDERS = (Path(__file__).parents[1] / "datasets", Path(__file__).parents[2] / "datasets")  # installed; in the sources


@dataclass(frozen=True)
class File:
    """A file or folder that a dataset is read from.

    Args:
        path: Below the data folder, with forward slashes; inside `package` where there is one.
        sha256: Of the file as its source publishes it; "" where there is no one published file.
        package: The installed package that brings the file.
        optional: One of several, each of which can be read alone.
    """

    path: str
    sha256: str = ""
    package: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Card:
    """What is to be known of a dataset.

    Args:
        title: One line.
        source: Where it can be had.
        licence: Under what terms; may the files be passed on?
        citation: Whom to name.
        series: The series, their span, and the step of time.
        units: Unit of each column.
        mended: Faults of the source that the adapter mends, and those that it leaves.
        split: The published split, where there is one.
        files: What it is read from; nothing where it is generated or read from a file of the user's.
    """

    title: str
    source: str
    licence: str
    citation: str
    series: str
    units: dict[str, str]
    mended: str
    split: str = ""
    files: tuple[File, ...] = ()

    def file(self, path: str) -> File:
        """The file of this path."""
        return next(file for file in self.files if file.path == path)


def card_path(name: str) -> Path:
    """Where the card of a dataset lies.

    Raises:
        DataNotFoundError: there is none.
    """
    for folder in FOLDERS:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise DataNotFoundError(f"There is no card of the dataset {name!r}.")


@cache
def read_card(name: str) -> Card:
    """The card of a dataset.

    Raises:
        DataNotFoundError: there is none, or it lacks a part.
    """
    import yaml

    written: dict[str, Any] = yaml.safe_load(card_path(name).read_text(encoding="utf-8"))
    known = [field.name for field in fields(Card)]
    wrong = [key for key in written if key not in known] + [key for key in known[:7] if key not in written]
    if wrong:
        raise DataNotFoundError(f"{card_path(name)}: {wrong[0]!r} is missing or no part of a card: {', '.join(known)}.")
    files = tuple(File(**file) for file in written.pop("files", ()))
    units = {str(column): str(unit) for column, unit in written.pop("units").items()}
    return Card(**{key: str(part).strip() for key, part in written.items()}, units=units, files=files)
