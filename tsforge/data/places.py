"""Places: where data files and caches lie on this machine."""

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from tsforge.data.card import File, read_card
from tsforge.errors import DataNotFoundError


def data_folder() -> Path:
    """Where data files are looked for: `TSFORGE_DATA`, else the user's data folder."""
    return Path(os.environ.get("TSFORGE_DATA") or platformdirs.user_data_dir("tsforge", appauthor=False)).expanduser()


def cache_folder() -> Path:
    """Where what can be made again is kept: `TSFORGE_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("TSFORGE_CACHE") or platformdirs.user_cache_dir("tsforge", appauthor=False)).expanduser()


def find_data(dataset: str, relative: str, path: str | Path | None = None) -> Path:
    """A file or folder of a dataset, as its card names it.

    Args:
        dataset: The name of its card.
        relative: Path on the card.
        path: The user's own file of the same layout, which is taken as it is.

    Raises:
        DataNotFoundError: the file is not there, or another file is in its place.
    """
    if path is not None:
        return _own(Path(path).expanduser())
    card = read_card(dataset)
    file = card.file(relative)
    if file.package:
        return find_bundled(file.package, relative)
    place = data_folder() / relative
    checksum = f" sha256: {file.sha256}." if file.sha256 else ""
    how = (
        f"Source: {card.source}. Licence: {card.licence}.{checksum} Put it at {place}, or set TSFORGE_DATA to the "
        f"folder that holds {relative}."
    )
    if not place.exists():
        raise DataNotFoundError(f"There is no {place}: tsforge may not ship it. {how}")
    if file.sha256 and (found := _checksum(place)) != file.sha256:
        raise DataNotFoundError(
            f"{place} is another file than the published one: its sha256 is {found}. {how} To read a file of your own, "
            "give its path to tsforge.load."
        )
    return place


def is_present(dataset: str) -> bool:
    """Whether what a dataset is read from is on this machine; checksums are not looked at."""

    def there(file: File) -> bool:
        return _has_bundled(file.package, file.path) if file.package else (data_folder() / file.path).exists()

    files = read_card(dataset).files
    optional = [file for file in files if file.optional]
    return all(there(file) for file in files if not file.optional) and (not optional or any(map(there, optional)))


def _own(path: Path) -> Path:
    if not path.exists():
        raise DataNotFoundError(f"path={str(path)!r}: there is no such file or folder.")
    return path


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_bundled(package: str, relative: str) -> bool:
    try:
        return find_bundled(package, relative).is_file()
    except DataNotFoundError:
        return False


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
