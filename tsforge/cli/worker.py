"""`tsforge worker`: joins a sweep from any machine that reaches its storage and its data."""

import time
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Quiet, Study
from tsforge.cli.output import begin, complain, say


def worker(
    storage: Annotated[str, typer.Option("--storage", help="The storage of the sweep: a journal or an address.")],
    study: Study = "sweep",
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds; then no trial is begun.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Do trials of a sweep that `tsforge sweep` began, until all are done."""
    begin(quiet=quiet, debug=debug)
    from tsforge.sweeps.worker import join

    joined = join(storage, study)
    say(f"joined {study}: {joined.plan.metric}")
    try:
        joined.work(
            until=None if timeout is None else time.monotonic() + timeout,
            told=lambda ended: say(f"trial {ended.index}: {ended.words(joined.plan.metric)}"),
        )
    except KeyboardInterrupt:
        complain("interrupted: the trial that was being done is open again for others.")
        raise
    say("No trial is left. The best is fitted by the `tsforge sweep` that began them, or with its --resume.")
