"""Progress on standard error: a bar on a terminal, plain lines elsewhere, nothing unless asked for."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tsforge.training.arguments import TrainArguments
from tsforge.training.loader import steps_per_epoch


@contextmanager
def watching(arguments: TrainArguments, windows: int, verbose: bool) -> Iterator[Any]:
    """A watcher for a training on this many windows; None where nobody looks on."""
    if not verbose:
        yield None
        return
    from tsforge.training.module import Watcher

    total = arguments.total_steps(steps_per_epoch(windows, arguments.batch_size, arguments.drop_last))
    shown = _Bar(total) if sys.stderr.isatty() else _Lines(total)
    try:
        yield Watcher(shown.step, shown.validation)
    finally:
        shown.close()


class _Bar:
    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("fit"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} steps/s"),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]}  val {task.fields[val]}"),
            console=Console(stderr=True),
        )
        self.task = self.progress.add_task("fit", total=total, loss="-", val="-", rate=0.0)
        self.clock = _Clock()
        self.progress.start()

    def step(self, step: int, loss: Any) -> None:
        if self.clock.due(0.2):
            self.progress.update(self.task, completed=step, loss=f"{float(loss):.4g}", rate=self.clock.rate(step))

    def validation(self, row: dict[str, Any]) -> None:
        val = row["val_loss"]
        self.progress.update(self.task, completed=row["step"], val="-" if val is None else f"{val:.4g}")

    def close(self) -> None:
        self.progress.stop()


class _Lines:
    def __init__(self, total: int) -> None:
        self.total, self.clock = total, _Clock()

    def step(self, step: int, loss: Any) -> None:
        self.clock.first = self.clock.first or step - 1
        if self.clock.due(30.0):
            self._line(step, float(loss), None)

    def validation(self, row: dict[str, Any]) -> None:
        if self.clock.due(2.0) or row["step"] == self.total:
            self._line(row["step"], row["loss"], row["val_loss"])

    def _line(self, step: int, loss: float, val: float | None) -> None:
        rate = self.clock.rate(step)
        left = f"{(self.total - step) / rate:.0f} s left" if rate else ""
        val_words = "" if val is None else f"  val {val:.4g}"
        print(
            f"step {step}/{self.total}  loss {loss:.4g}{val_words}  {rate:.1f} steps/s  {left}",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        pass


class _Clock:
    def __init__(self) -> None:
        self.began = self.told = time.monotonic()
        self.first = 0  # steps done before this process began

    def due(self, seconds: float) -> bool:
        now = time.monotonic()
        if now - self.told < seconds:
            return False
        self.told = now
        return True

    def rate(self, step: int) -> float:
        return (step - self.first) / max(time.monotonic() - self.began, 1e-9)
