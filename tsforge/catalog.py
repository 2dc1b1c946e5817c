"""Names to classes, imported when asked for.

The table is read without importing what it lists: `tsforge list` prints sixty rows and imports none of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from tsforge.errors import UnknownNameError, suggest


@dataclass(frozen=True)
class Row:
    """One line of a catalog.

    Args:
        family: The kind of mechanism, for grouping.
        class_name: The class in the file named after the key.
        paper: First author, year and arXiv number, or the source of the data.
        summary: What it does, in one line.
        file: The file of the class, where several rows share one; None is the file named after the key.
    """

    family: str
    class_name: str
    paper: str
    summary: str
    file: str | None = None


class Catalog(Mapping[str, type]):
    """A table of names; `catalog["timesnet"]` imports `package.timesnet` and returns its class."""

    def __init__(self, kind: str, package: str, rows: Mapping[str, Row]) -> None:
        self.kind, self.package, self.table = kind, package, dict(rows)

    def __getitem__(self, name: str) -> type:
        """The class named `name`.

        Raises:
            UnknownNameError: the catalog has no such row; names the nearest.
        """
        row = self.row(name)
        return getattr(import_module(f"{self.package}.{row.file or name}"), row.class_name)

    def __contains__(self, name: object) -> bool:
        return name in self.table

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def row(self, name: str) -> Row:
        """The row named `name`, with nothing imported.

        Raises:
            UnknownNameError: the catalog has no such row; names the nearest.
        """
        if name in self.table:
            return self.table[name]
        hint = suggest(name, self.table) or f" There are: {', '.join(self.table)}."
        raise UnknownNameError(f"There is no {self.kind} named {name!r}.{hint}")

    def key_of(self, class_name: str) -> str | None:
        """The key of the row whose class is called `class_name`."""
        return next((key for key, row in self.table.items() if row.class_name == class_name), None)

    def rows(self) -> list[dict[str, str]]:
        """Every row as plain words, for `tsforge list` and the docs."""
        return [
            {"name": key, "class": row.class_name, "family": row.family, "paper": row.paper, "summary": row.summary}
            for key, row in self.table.items()
        ]
