"""Progress on standard error: a bar on a terminal, plain lines elsewhere, nothing unless asked for."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tsforge.training.arguments import TrainArguments
from tsforge.training.loader import steps_per_epoch

Told = Callable[[dict[str, Any]], None]  # is given a row of the history at each validation


@contextmanager
def watching(
    arguments: TrainArguments, windows: int, verbose: bool, told: Told | None = None,
) -> Iterator[Any]:
    """A watcher for a training on this many windows; None where nobody looks on. `told` is told of validations."""
    if (not verbose and told is None) or int(os.environ.get("LOCAL_RANK", "0")):  # of several the first one speaks
        yield None
        return
    from tsforge.training.module import Watcher

    if not verbose:
        assert told is not None
        yield Watcher(lambda step, loss: None, told)
        return

    total = arguments.total_steps(steps_per_epoch(windows, arguments.batch_size, arguments.drop_last))
    shown = _Bar(total) if sys.stderr.isatty() else _Lines(total)
    try:
        yield Watcher(shown.step, _both(shown.validation, told))
    finally:
        shown.close()


def _both(first: Told, second: Told | None) -> Told:
    def tell(row: dict[str, Any]) -> None:
        first(row)
        if second is not None:
            second(row)

    return tell


class _Bar:
    """One line that stays within 80 columns."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.pace = _Pace(total)
        words = TextColumn("{task.fields[words]}", table_column=_unbroken())
        self.progress = Progress(BarColumn(bar_width=None), words, console=Console(stderr=True), expand=True)
        self.task = self.progress.add_task("fit", total=total, words=f"0/{total}")
        self.loss = self.val = ""
        self.progress.start()

    def step(self, step: int, loss: Any) -> None:
        self.pace.at(step)
        if self.pace.due(0.2):
            self.loss = f"  loss {float(loss):.3g}"
            self._show()

    def validation(self, row: dict[str, Any]) -> None:
        self.pace.at(row["step"])
        self.loss = f"  loss {row['loss']:.3g}"
        self.val = "" if row["val_loss"] is None else f"  val {row['val_loss']:.3g}"
        self._show()

    def _show(self) -> None:
        self.progress.update(self.task, completed=self.pace.step, words=f"{self.pace.words()}{self.loss}{self.val}")

    def close(self) -> None:
        self.progress.stop()


class _Lines:
    """A line every half minute, and at validations that lie some seconds apart; always one for the last validation."""

    def __init__(self, total: int) -> None:
        self.pace = _Pace(total)
        self.last = ""

    def step(self, step: int, loss: Any) -> None:
        self.pace.at(step)
        if self.pace.due(30.0):
            self._print(f"{self.pace.words()}  loss {float(loss):.4g}")

    def validation(self, row: dict[str, Any]) -> None:
        self.pace.at(row["step"])
        val = "" if row["val_loss"] is None else f"  val {row['val_loss']:.4g}"
        self.last = f"{self.pace.words()}  loss {row['loss']:.4g}{val}"
        if self.pace.due(2.0):
            self._print(self.last)
            self.last = ""

    def _print(self, line: str) -> None:
        print(f"step {line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.last:
            self._print(self.last)


class _Pace:
    """Where a training stands, how fast it goes and how long it will take; a resumed one counts its own steps only."""

    def __init__(self, total: int) -> None:
        self.total, self.step = total, 0
        self.began = self.told = time.monotonic()
        self.first: int | None = None  # steps done before this process began

    def at(self, step: int) -> None:
        self.step = step
        if self.first is None:
            self.first = step - 1

    def due(self, seconds: float) -> bool:
        now = time.monotonic()
        if now - self.told < seconds:
            return False
        self.told = now
        return True

    def words(self) -> str:
        """`120/1000  45.1 steps/s  0:19 left`."""
        rate = (self.step - (self.first or 0)) / max(time.monotonic() - self.began, 1e-9)
        minutes, seconds = divmod(round((self.total - self.step) / rate) if rate else 0, 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return f"{self.step}/{self.total}  {rate:.1f} steps/s  {left} left"


def _unbroken() -> Any:
    from rich.table import Column

    return Column(no_wrap=True)
