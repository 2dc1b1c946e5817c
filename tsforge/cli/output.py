"""How results, notices and failures leave the program: results on standard output, all else on standard error."""

import json as json_module
import logging
import math
import os
import sys
from datetime import date, datetime, time
from typing import Any

TOLD = {"debug": False, "quiet": False}  # what the command at work was told
WIDE = 10_000  # columns where there is no terminal: a program reads the table, and a broken line would mislead it


class _Notices(logging.StreamHandler):
    """Writes to standard error as it is when the notice comes."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


NOTICES = _Notices()
NOTICES.setFormatter(logging.Formatter("note: %(message)s"))
SILENCE = logging.NullHandler()


def begin(*, quiet: bool, debug: bool) -> None:
    """Sends notices to standard error, unless they are not wanted; remembers whether tracebacks are."""
    TOLD.update(quiet=quiet, debug=debug)
    logger = logging.getLogger("tsforge")
    end()
    logger.addHandler(SILENCE if quiet else NOTICES)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def end() -> None:
    """Leaves the log as it was found."""
    logger = logging.getLogger("tsforge")
    logger.removeHandler(NOTICES)
    logger.removeHandler(SILENCE)
    logger.setLevel(logging.NOTSET)


def say(text: str) -> None:
    """Words for the reader, on standard error; none with --quiet."""
    if not TOLD["quiet"]:
        complain(text)


def complain(text: str) -> None:
    """Words that have to be said, on standard error, as one paragraph."""
    print(" ".join(text.split()), file=sys.stderr)


def put(text: str) -> None:
    """A result, on standard output. A reader that has left, as `head` does, has what it wanted."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # python flushes once more at its end
        sys.exit(0)


def show_json(value: Any) -> None:
    """A result as JSON; a number that JSON lacks is null."""
    put(json_module.dumps(_plain(value), default=str, indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_table(rows: list[dict[str, Any]], title: str | None = None) -> None:
    """A result as a table; columns without a value are left out, and numbers stand to the right."""
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    screen = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)] if rows else []
    for name in columns:
        numeric = any(isinstance(row[name], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in columns))
    drawn = io.StringIO()
    terminal = screen.is_terminal
    console = Console(
        file=drawn, width=screen.width if terminal else WIDE, force_terminal=terminal,
        color_system="standard" if terminal else None, no_color=screen.no_color,
    )
    if title is not None:  # by itself: as the title of the table it would be broken where the table is narrow
        console.print(Text(title, style="italic"))
    console.print(table)
    put("".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()))


def _cell(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return "" if value is None else escape(str(value))
