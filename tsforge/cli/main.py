"""The program: commands, exit codes, and errors as one paragraph. 0 done, 2 the user's error, 1 ours."""

import sys
import traceback

import typer

from tsforge.cli import backtest, data, fit, list_rows, predict, report, show
from tsforge.cli.options import SEEN
from tsforge.errors import TsforgeError

app = typer.Typer(
    name="tsforge", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Forecast many related time series with models of dynamics.",
)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("backtest")(backtest.backtest)
app.command("report")(report.report)
app.command("list")(list_rows.list_rows)
app.command("show")(show.show)
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def version(show_version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Forecast many related time series with models of dynamics."""
    if show_version:
        from tsforge._version import __version__

        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line and exits."""
    try:
        app()
    except TsforgeError as error:
        _fail(f"error: {error}", 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has left
        sys.exit(0)
    except OSError as error:
        _fail(
            f"error: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}. Nothing was half "
            "written.",
            1,
        )
    except Exception as error:
        _fail(f"error in tsforge: {type(error).__name__}: {error}. Run again with --debug and report what it shows.", 1)


def _fail(words: str, code: int) -> None:
    if SEEN["debug"]:
        traceback.print_exc()
    print(words, file=sys.stderr)
    sys.exit(code)
