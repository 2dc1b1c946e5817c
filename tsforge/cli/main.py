"""The program: commands, exit codes, and errors as one paragraph. 0 done, 2 the user's error, 1 ours."""

import sys
import traceback
from typing import Any

import typer

from tsforge.cli import (
    adapt,
    anomalies,
    backtest,
    bench,
    compare,
    dashboard,
    data,
    fit,
    generate,
    impute,
    list_rows,
    predict,
    report,
    show,
    study,
    sweep,
    worker,
)
from tsforge.cli.output import TOLD, complain, end
from tsforge.errors import TsforgeError

app = typer.Typer(
    name="tsforge", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Forecast many related time series with models of dynamics.",
)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("backtest")(backtest.backtest)
app.command("generate")(generate.generate)
app.command("impute")(impute.impute)
app.command("anomalies")(anomalies.anomalies)
app.command("adapt")(adapt.adapt)
app.command("report")(report.report)
app.command("study")(study.study)
app.command("sweep")(sweep.sweep)
app.command("worker")(worker.worker)
app.command("dashboard")(dashboard.dashboard)
app.command("compare")(compare.compare)
app.command("list")(list_rows.list_rows)
app.command("show")(show.show)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")

UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer brings: which one depends on its version


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context, show_version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    """Forecast many related time series with models of dynamics."""
    if show_version:
        from tsforge._version import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Runs the command line and exits."""
    TOLD.update(debug=False, quiet=False)
    try:
        sys.exit(app(prog_name="tsforge", standalone_mode=False))  # an int where a command ended early, else None
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "tsforge"
        said = error.format_message()
        _fail(f"error: {said}{'' if said.endswith(('.', '?', '!')) else '.'} See {command} --help.", 2)
    except TsforgeError as error:
        _fail(f"error: {error}", 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"error: {error.strerror or error}{where}. Nothing was half written.", 1)
    except Exception as error:
        _fail(f"error in tsforge: {type(error).__name__}: {error}. Run again with --debug and report what it shows.", 1)
    finally:
        end()


def _fail(words: str, code: int) -> None:
    if TOLD["debug"]:
        traceback.print_exc()
    complain(words)
    sys.exit(code)
