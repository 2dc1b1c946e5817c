"""Forecast many related time series with models of dynamics.

Names are imported when they are used, so `import tsforge` is quick and brings no torch.
"""

from importlib import import_module
from typing import Any

from tsforge._version import __version__
from tsforge.local import LOCAL
from tsforge.models import MODELS

FROM = {
    "Frame": "tsforge.frame.frame.Frame", "Split": "tsforge.frame.split.Split",
    "load": "tsforge.data.load.load", "open": "tsforge.estimators.run.open_run",
    "adapt": "tsforge.estimators.adapt.adapt",
    "evaluate": "tsforge.evaluation.evaluate.evaluate", "backtest": "tsforge.estimators.shards.backtest.backtest",
    "compare": "tsforge.evaluation.compare.compare", "leaderboard": "tsforge.evaluation.leaderboard.leaderboard",
    "ranking": "tsforge.evaluation.ranking.ranking", "WindowSplit": "tsforge.evaluation.backtest.WindowSplit",
    "forecasts_to_nixtla": "tsforge.evaluation.backtest.forecasts_to_nixtla",
    "sweep": "tsforge.sweeps.face.sweep",
    "Ensemble": "tsforge.estimators.ensemble.Ensemble", "reconcile": "tsforge.evaluation.reconcile.reconcile",
}
ESTIMATORS = {row["class"]: (catalog, row["name"]) for catalog in (MODELS, LOCAL) for row in catalog.rows()}

# The stub beside this file spells it.
__all__ = ["__version__", *sorted((*FROM, *ESTIMATORS))]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in FROM:
        module, _, attribute = FROM[name].rpartition(".")
        return getattr(import_module(module), attribute)
    if name in ESTIMATORS:
        return import_module("tsforge.estimators.estimator").estimator(ESTIMATORS[name][1])
    from tsforge.errors import suggest

    raise AttributeError(f"tsforge has no {name!r}.{suggest(name, __all__)}")


def __dir__() -> list[str]:
    return __all__
