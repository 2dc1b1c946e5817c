"""`tsforge dashboard`: optuna's dashboard on the trials of a sweep."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Quiet
from tsforge.cli.output import begin, say


def dashboard(
    sweep: Annotated[str, typer.Argument(help="The folder of a sweep, or its storage.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen at.")] = 8080,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show a sweep in the browser while it goes on; Ctrl-C ends it."""
    begin(quiet=quiet, debug=debug)
    from tsforge.sweeps.dashboard import serve

    place = str(Path(sweep) / "sweep.journal") if Path(sweep).is_dir() else sweep
    serve(place, host, port, lambda: say(f"http://{host}:{port}/ shows {sweep}; Ctrl-C ends it."))
