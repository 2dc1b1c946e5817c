"""What a terminal shows of a sweep while it goes on: a line for each worker, and the best so far."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from tsforge.sweeps.ledger import WORKER, Standing
from tsforge.sweeps.results import told
from tsforge.sweeps.settings import Settings


class Shown:
    """Lines at the foot of a terminal that change in place; where there is no terminal, nothing.

    Args:
        settings: The settings of a trial.
        count: Trials of the sweep.
    """

    def __init__(self, settings: Callable[[FrozenTrial], Settings], count: int) -> None:
        self.settings, self.count = settings, count
        self.live: Any = None

    def __enter__(self) -> "Shown":
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self.live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.live is not None:
            self.live.stop()

    def say(self, line: str) -> None:
        """A line that stays, above those that change."""
        if self.live is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, standing: Standing, best: str) -> None:
        """Shows how it stands."""
        if self.live is None:
            return
        from rich.text import Text

        lines = [self._line(index, trial) for index, trial in sorted(standing.running.items())]
        done = sum(index >= 0 for index in standing.done)
        foot = f"{done} of {self.count} trials{f', {best}' if best else ''}"
        self.live.update(Text("\n".join([*lines, foot]), no_wrap=True, overflow="ellipsis"), refresh=True)

    def _line(self, index: int, trial: FrozenTrial) -> str:
        began = trial.datetime_start
        seconds = "" if began is None else f" {(datetime.now() - began).total_seconds():.0f} s"
        worker = trial.user_attrs[WORKER]
        return f"worker {worker['pid']}: trial {index}{seconds}; {told(self.settings(trial))}"
