"""Places: where data files and caches lie on this machine."""

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from tsforge.errors import DataNotFoundError


def data_folder() -> Path:
    """Where data files are looked for: `TSFORGE_DATA`, else the user's data folder."""
    return Path(os.environ.get("TSFORGE_DATA") or platformdirs.user_data_dir("tsforge", appauthor=False)).expanduser()


def cache_folder() -> Path:
    """Where what can be made again is kept: `TSFORGE_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("TSFORGE_CACHE") or platformdirs.user_cache_dir("tsforge", appauthor=False)).expanduser()


def find_data(relative: str, *, source: str, licence: str, sha256: str) -> Path:
    """The file `relative` of the data folder, known by its checksum.

    Args:
        relative: Path below the data folder, with forward slashes.
        source: Where the file can be had.
        licence: Under what terms.
        sha256: Checksum of the file as its source publishes it.

    Raises:
        DataNotFoundError: the file is not there, or another file is in its place.
    """
    path = data_folder() / relative
    how = (
        f"Source: {source}. Licence: {licence}. sha256: {sha256}. Put the file at {path}, or set TSFORGE_DATA to the "
        f"folder that holds {relative}."
    )
    if not path.is_file():
        raise DataNotFoundError(f"There is no file {path}: tsforge may not ship it. {how}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataNotFoundError(
            f"{path} is another file than the published one: its sha256 is {found}. {how} To read a file of your own, "
            "give its path to tsforge.load."
        )
    return path


def find_bundled(package: str, relative: str) -> Path:
    """A data file inside an installed package, which is not imported.

    Raises:
        DataNotFoundError: the package is not installed or has no such file.
    """
    spec = find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    for folder in folders:
        path = Path(folder) / relative
        if path.is_file():
            return path
    state = "has no such file" if folders else "is not installed"
    raise DataNotFoundError(f"The data is {relative} in the package {package}, which {state}: pip install {package}.")
