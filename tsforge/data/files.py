"""Files: a table from a path, whatever the file is written in. No format that can hold code is read."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from tsforge.data.tsf import read_tsf
from tsforge.errors import DataNotFoundError, FrameError, suggest
from tsforge.frame.schema import list_names

MISSING = ["", "NA", "NaN", "nan", "null"]


def read_table(path: str | Path) -> pl.DataFrame:
    """The table in a file (.csv, .csv.gz, .parquet, .arrow, .feather, .ipc, .tsf) or in a folder of parquet files.

    Raises:
        DataNotFoundError: there is no such file, or the folder holds no parquet file.
        FrameError: the file is empty, of an unknown kind, or cannot be parsed.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise DataNotFoundError(f"There is no file {path}.{_near(path)}")
    ending = next((known for known in READERS if path.name.lower().endswith(known)), None)
    if ending is None:
        raise FrameError(
            f"{path}: files ending in {path.suffix or 'nothing'} cannot be read. Known are {', '.join(READERS)} and "
            "folders of .parquet: write the table as one of these."
        )
    if path.stat().st_size == 0:
        raise FrameError(f"{path} is empty: it has no byte. Write the table again.")
    try:
        return READERS[ending](path)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        said = str(error).split("\n\n")[0].strip()  # the rest advises on arguments of polars
        raise FrameError(f"{path} cannot be read as {ending}: {said}. Mend the file, or write it again.") from error


def _read_csv(path: Path) -> pl.DataFrame:
    """Every row is looked at before a column's type is settled, so one late text makes a text column, not a failure."""
    table = pl.read_csv(path, infer_schema_length=None, null_values=MISSING)
    return table.with_columns(_as_number(table[name]) for name, dtype in table.schema.items() if dtype == pl.String)


def _as_number(text: pl.Series) -> pl.Series:
    """Numbers where all of a text column are numbers (` 2.5`, `inf` among integers); codes such as `007` stay text."""
    stripped = text.str.strip_chars()
    if text.null_count() == len(text) or stripped.str.contains(r"^[+-]?0\d").any():
        return text
    for dtype in (pl.Int64, pl.Float64):
        numbers = stripped.cast(dtype, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    return text


def _read_folder(folder: Path) -> pl.DataFrame:
    """All parquet files of a folder, in the order of their names."""
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise DataNotFoundError(f"The folder {folder} holds no .parquet file. Name one that does, or a file in it.")
    tables = [read_table(path) for path in paths]
    first = tables[0].columns
    for path, table in zip(paths, tables, strict=True):
        differ = sorted(set(table.columns) ^ set(first))
        if differ:
            raise FrameError(
                f"{path} has other columns than {paths[0].name}: {list_names(differ)} only in one of them. All files "
                "of a folder need the same columns."
            )
        for name in first:
            known, other = tables[0].schema[name], table.schema[name]
            if known != other and not (known.is_numeric() and other.is_numeric()):
                raise FrameError(
                    f"{path}: column {name!r} is {other}, but {known} in {paths[0].name}. Write it with one type "
                    "in all files."
                )
    return pl.concat([table.select(first) for table in tables], how="vertical_relaxed")


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    return suggest(path.name, (other.name for other in path.parent.iterdir()))


READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": _read_csv, ".csv.gz": _read_csv, ".parquet": pl.read_parquet,
    ".arrow": pl.read_ipc, ".feather": pl.read_ipc, ".ipc": pl.read_ipc, ".tsf": read_tsf,
}
