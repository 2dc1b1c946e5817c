"""Files that appear whole: written beside their place under a name that no other writer has, and renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

PART = ".part"


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end; two writers of one file do not meet before that.

    A worker of a killed run may still write while the next one does the same shard.
    """
    beside = path.with_name(f".{path.name}.{uuid4().hex}{PART}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_new(path: Path, content: bytes) -> None:
    """Writes a file that is there whole, or not at all."""
    with aside(path) as beside:
        beside.write_bytes(content)


def clear_asides(folder: Path) -> None:
    """Removes what killed writers have left."""
    for path in folder.glob(f".*{PART}"):
        path.unlink(missing_ok=True)
