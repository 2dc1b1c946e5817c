"""Cache: tables that can be made again, kept under what they are made of."""

import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.places import cache_folder

log = logging.getLogger("tsforge")


def cached(kind: str, name: str, recipe: Any, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """The table of a recipe, made once.

    A file is called `name-recipe-content.arrow`, two checksums, so that a damaged one is known and made again.

    Args:
        kind: Folder below the cache folder.
        name: Begins the file's name, for people.
        recipe: Everything that the table depends on, as plain JSON values.
        make: Makes the table.
    """
    folder, key = cache_folder() / kind, f"{name}-{_checksum(json.dumps(recipe).encode())}"
    for path in folder.glob(f"{key}-*.arrow"):
        content = path.read_bytes()
        if path.stem == f"{key}-{_checksum(content)}":
            return pl.read_ipc(content)
        path.unlink(missing_ok=True)
    table, buffer = make(), io.BytesIO()
    table.write_ipc(buffer)
    try:
        _store(folder / f"{key}-{_checksum(buffer.getvalue())}.arrow", buffer.getvalue())
    except OSError as error:
        log.info("The cache %s cannot be written (%s); its tables are made anew each time.", folder, error)
    return table


def _store(path: Path, content: bytes) -> None:
    """Written aside, then renamed: another process finds the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
