"""Names to classes, imported when asked for.

The table is read without importing what it lists: `tsforge list` prints sixty rows and imports none of them. Installed
packages may add rows by an entry point of the catalog's group, `name = "package.module:Class"`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from tsforge.errors import PackageError, UnknownNameError, suggest


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
    """A table of names; `catalog["timesnet"]` imports `package.timesnet` and returns its class.

    Args:
        kind: What a row is, for messages.
        package: The package that the rows lie in.
        rows: Names and rows.
        group: The group of entry points by which installed packages add rows; a name of the table wins over theirs.
        by_family: The rows lie in folders named after their families.
    """

    def __init__(
        self, kind: str, package: str, rows: Mapping[str, Row], group: str | None = None, *, by_family: bool = False
    ) -> None:
        self.kind, self.package, self.table, self.group, self.by_family = kind, package, dict(rows), group, by_family

    @cached_property
    def installed(self) -> dict[str, EntryPoint]:
        """What installed packages add; looked for when a name is not in the table, or all are asked for."""
        found = entry_points(group=self.group) if self.group else ()
        return {point.name: point for point in sorted(found) if point.name not in self.table}

    def __getitem__(self, name: str) -> type:
        """The class named `name`.

        Raises:
            UnknownNameError: the catalog has no such row; names the nearest.
            PackageError: the package that adds it cannot be imported.
        """
        row = self.row(name)
        if name in self.table:
            return getattr(import_module(self.module_of(name)), row.class_name)
        try:
            return self.installed[name].load()
        except (ImportError, AttributeError) as error:
            raise PackageError(
                f"The {self.kind} {name!r} is {self.installed[name].value} of the package {row.paper}, which cannot be "
                f"imported: {error}. Mend or remove that package."
            ) from error

    def __contains__(self, name: object) -> bool:
        return name in self.table or name in self.installed

    def __iter__(self) -> Iterator[str]:
        return iter((*self.table, *self.installed))

    def __len__(self) -> int:
        return len(self.table) + len(self.installed)

    def row(self, name: str) -> Row:
        """The row named `name`, with nothing imported.

        Raises:
            UnknownNameError: the catalog has no such row; names the nearest.
        """
        if name in self.table:
            return self.table[name]
        if name in self.installed:
            point = self.installed[name]
            package = point.dist.name if point.dist else point.module
            return Row("installed", point.attr, package, f"added by the package {package}")
        hint = suggest(name, self) or f" There are: {', '.join(self)}."
        raise UnknownNameError(f"There is no {self.kind} named {name!r}.{hint}")

    def module_of(self, name: str) -> str:
        """The module that holds the class of a row of the table."""
        row = self.table[name]
        folder = f"{self.package}.{row.family}" if self.by_family else self.package
        return f"{folder}.{row.file or name}"

    def family(self, family: str) -> list[str]:
        """The names in the table that are of this family."""
        return [name for name, row in self.table.items() if row.family == family]

    def key_of(self, class_name: str) -> str | None:
        """The key of the row whose class is called `class_name`."""
        return next((key for key, row in self.table.items() if row.class_name == class_name), None)

    def rows(self) -> list[dict[str, str]]:
        """Every row as plain words, for `tsforge list` and the docs."""
        named = {key: self.row(key) for key in self}
        return [
            {"name": key, "class": row.class_name, "family": row.family, "paper": row.paper, "summary": row.summary}
            for key, row in named.items()
        ]
