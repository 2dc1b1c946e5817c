"""Options that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.errors import ArgumentError

Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notices and no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Target = Annotated[list[str] | None, typer.Option("--target", help="Column to forecast; may be repeated.")]
Past = Annotated[list[str] | None, typer.Option("--past", help="Covariate known up to now; may be repeated.")]
Future = Annotated[list[str] | None, typer.Option("--future", help="Covariate known ahead; may be repeated.")]
Static = Annotated[Path | None, typer.Option("--static", help="Table with one row per series.")]
IdCol = Annotated[str | None, typer.Option("--id-col", help="Column that names the series.")]
TimeCol = Annotated[str | None, typer.Option("--time-col", help="Column of time.")]
Freq = Annotated[str | None, typer.Option("--freq", help="Step of time: 15m, 1h, 1d, 1mo, 1i.")]
Season = Annotated[int | None, typer.Option("--season", help="Steps of one season.")]
Calendar = Annotated[str | None, typer.Option("--calendar", help="Features of time, as in hour,dayofweek.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="linear, onehot or cyclic.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="key=value; a bare key belongs to the model or its training.")
]
Level = Annotated[str | None, typer.Option("--level", help="Percents of intervals, as in 80,95.")]
Engine = Annotated[
    str | None, typer.Option("--engine", help="local or ray: forecast in shards; a killed command goes on.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Processes or Ray actors of --engine; one a core unless told.")
]
Storage = Annotated[
    str | None, typer.Option("--storage", help="A journal file, postgresql://..., mysql://... or grpc://host:port.")
]
Study = Annotated[str, typer.Option("--study", help="Name of the sweep in its storage.")]
TableOut = Annotated[
    Path | None, typer.Option("--out", help="A .csv, .parquet or .arrow file; else CSV on standard output.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


@dataclass(frozen=True)
class Roles:
    """Roles as the command line gives them; only what was given."""

    target: list[str] | None = None
    past: list[str] | None = None
    future: list[str] | None = None
    static: Path | None = None
    id_col: str | None = None
    time_col: str | None = None
    freq: str | None = None
    season: int | None = None
    calendar: str | None = None
    encoding: str | None = None

    def given(self) -> dict[str, Any]:
        """Keywords of `Frame`."""
        roles: dict[str, Any] = {
            "targets": self.target,
            "past": self.past,
            "future": self.future,
            "id_col": self.id_col,
            "time_col": self.time_col,
            "freq": self.freq,
            "season": self.season,
            "encoding": self.encoding,
        }
        if self.static is not None:
            roles["static"] = str(self.static)
        if self.calendar is not None:
            roles["calendar"] = [word.strip() for word in self.calendar.split(",") if word.strip()]
        return {name: value for name, value in roles.items() if value not in (None, [])}


def numbers(text: str | None, name: str) -> list[float]:
    """`"80,95"` -> [80, 95].

    Raises:
        ArgumentError: a part is no number.
    """
    try:
        return [float(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        raise ArgumentError(f"{name} {text!r}: wanted numbers with commas between, as in 80,95.") from None


def partial_of(out: Path | None) -> Path | None:
    """Where a command that is not done keeps its shards; None where it writes nothing."""
    return None if out is None else out.with_name(f"{out.name}.partial")
