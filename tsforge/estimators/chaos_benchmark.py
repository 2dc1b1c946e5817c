"""The chaos benchmark: models beside the 16 published ones, by the published protocol.

Protocol  66 systems, 12 periods of each at 15 or 100 points; the first ten are fitted, the last two are forecast in one
          go, their last step is not scored. A system's score is its sMAPE; models are compared by its median.
Columns   *published*: a model is fitted on the ten periods of each test series, and chooses what it chooses on them.
          *with the train trajectory*: it is fitted on another trajectory of each system too. What learned from more
          is no competitor of what did not, so a table has one column or the other; the published models have the first.
Source    Gilpin (2021), "Chaos as an interpretable benchmark for forecasting and data-driven modelling",
          arXiv:2110.05266.
"""

import io
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import clone

from tsforge.data.dysts_benchmark import DystsBenchmark
from tsforge.data.dysts_published import BEST, SUFFIX, published_forecasts
from tsforge.dynamics.lag import lag_by_acf
from tsforge.errors import ArgumentError
from tsforge.estimators.base import Estimator
from tsforge.estimators.exponents import ESTIMATES, exponent_per_step
from tsforge.estimators.fitted import versions
from tsforge.estimators.local import Local
from tsforge.estimators.reporting import report_backtest
from tsforge.evaluation.backtest import forecasts_at, same_h
from tsforge.evaluation.evaluate import evaluate
from tsforge.evaluation.report_dynamics import dynamics
from tsforge.evaluation.significance import holm, wilcoxon
from tsforge.frame.frame import Frame
from tsforge.training.artifact import write_folder

KEYS = ["unique_id", "ds", "cutoff"]
PUBLISHED, WITH_TRAIN = "published", "with the train trajectory"
log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class ChaosBenchmark:
    """Forecasts of one column of the benchmark.

    Args:
        points: Points of a period.
        column: "published" or "with the train trajectory".
        models: The names of what was fitted here.
        forecasts: Forecast frame of the scored steps, with the truth as `y`; published models are in it too.
        frame: The test series.
    """

    points: int
    column: str
    models: tuple[str, ...]
    forecasts: pl.DataFrame
    frame: Frame

    @cached_property
    def scores(self) -> pl.DataFrame:
        """`unique_id`, then the sMAPE of each model."""
        found = evaluate(self.forecasts, ["smape"], by=("unique_id",))
        return found.pivot("model", index="unique_id", values="value", maintain_order=True)

    def table(self) -> pl.DataFrame:
        """One row per model, the least median first.

        Columns: `model`; `column`; `fitted`, here or by the paper, whose models are left out with the train trajectory;
        `median` and `mean` sMAPE over systems; `wins`, the share of systems on which it is better than the published
        NBEATSModel; and `p` of Wilcoxon's signed-rank test against that one over systems, by Holm over the models that
        were fitted here; null for the published ones.
        """
        best = self.scores[BEST].to_numpy()
        own = holm([wilcoxon(self.scores[name].to_numpy(), best).p for name in self.models])
        p = dict(zip(self.models, own.tolist(), strict=True))
        rows = []
        for name in self.scores.columns[1:] if self.column == PUBLISHED else self.models:
            values = self.scores[name].to_numpy()
            rows.append({
                "model": name.removesuffix(SUFFIX), "column": self.column,
                "fitted": "here" if name in p else "by the paper", "median": float(np.median(values)),
                "mean": float(values.mean()), "wins": None if name == BEST else float((values < best).mean()),
                "p": p.get(name),
            })
        return pl.DataFrame(rows, schema_overrides={"p": pl.Float64, "wins": pl.Float64}).sort("median")

    def by_exponent(self, estimate: str = "lyapunov_separation") -> pl.DataFrame:
        """Median sMAPE in thirds of the systems, by the Lyapunov times that two periods last.

        Columns: `third`, `systems`, `lyapunov_times` (of the two periods, the range) and a column for each model.
        Systems of which dysts states no such exponent, or none above 0, are left out and counted in the log.

        Raises:
            ArgumentError: `estimate` is none of dysts.
        """
        check_estimate(estimate)
        times = {system: self._lyapunov_times(system, estimate) for system in self.scores["unique_id"]}
        known = sorted((system for system, value in times.items() if value > 0), key=lambda system: times[system])
        if len(known) < len(times):
            log.info(f"{len(times) - len(known)} systems have no {estimate} above 0 and are in no third.")
        rows = []
        for number, third in enumerate(np.array_split(np.array(known), min(3, len(known))), 1):
            part = self.scores.filter(pl.col("unique_id").is_in(pl.Series(third.tolist()).implode()))
            ends = [f"{times[system]:.3g}" for system in (third[0], third[-1])]
            rows.append({"third": number, "systems": len(third), "lyapunov_times": " to ".join(ends)}
                        | {name: float(np.median(part[name])) for name in part.columns[1:]})
        return pl.DataFrame(rows)

    def dynamics(self, estimate: str = "lyapunov_separation") -> str:
        """HTML of attractors and of the growth of errors; the model with the least median comes first."""
        best = self.table().filter(pl.col("fitted") == "here")["model"].to_list()
        fitted = self.frame.table.filter(pl.col("ds") < 10 * self.points)
        lags = {str(name): lag_by_acf(part["y"].to_numpy()) for (name,), part in fitted.group_by("unique_id")}
        steps = {name: 1 / rate for name in lags if (rate := self._exponent(name, estimate)) > 0}
        longest = self.points  # of two periods, so that half of the steps are left
        return dynamics(self.forecasts, [*best, BEST], {name: min(lag, longest) for name, lag in lags.items()}, steps)

    def _lyapunov_times(self, system: str, estimate: str) -> float:
        return 2 * self.points * self._exponent(system, estimate)

    def _exponent(self, system: str, estimate: str) -> float:
        """In 1 / step; 0 where dysts states none."""
        try:
            return exponent_per_step(system, estimate, self.points)
        except ArgumentError:
            return 0.0


def check_estimate(estimate: str) -> None:
    """Raises ArgumentError where `estimate` is no exponent of dysts."""
    if estimate not in ESTIMATES:
        raise ArgumentError(f"estimate={estimate!r}: wanted {' or '.join(ESTIMATES)} (docs/chaos.md).")


def chaos_benchmark(
    models: Sequence[Estimator], points: int = 15, *, systems: Sequence[str] | None = None, train: bool = False,
) -> ChaosBenchmark:
    """Fits and forecasts each test series, and puts the published forecasts beside.

    Args:
        models: Estimators with `h` of two periods; they are cloned. A local model holds no rows back for intervals, of
            which there are none here: it is fitted on all ten periods.
        points: Points of a period, 15 or 100.
        systems: Some of the 66 systems; None takes all.
        train: Whether models learn from the train trajectories too. Local models learn each series by itself, so these
            are refused then.

    Raises:
        ArgumentError: `h` is not two periods, a model cannot learn from a second trajectory, or what
            `published_forecasts` refuses.
        UnknownNameError: there is no such system.
        DataNotFoundError: the data are not there.
    """
    published = published_forecasts(points)
    if models and same_h(models) != 2 * points:
        raise ArgumentError(f"h={models[0].h}: two periods of {points} points are forecast, so give h={2 * points}.")
    local = [model.name for model in models if isinstance(model, Local)]
    if train and local:
        raise ArgumentError(f"{', '.join(local)}: a local model learns each series by itself, so the train trajectory "
                            "says nothing to it. Leave it out of this column.")
    several: list[Any] = [clone(model) for model in models]
    for model in several:
        if isinstance(model, Local):
            model.set_params(val_size=0)
    names = sorted(set(published["unique_id"])) if systems is None else list(systems)
    if len(names) < 2:
        raise ArgumentError(f"systems={names}: a median over systems and a test need 2 systems or more.")
    frame = DystsBenchmark(part="test", pts_per_period=points, system=names).frame()
    published = published.filter(pl.col("unique_id").is_in(pl.Series(names).implode()))
    if set(frame.ids) - set(published["unique_id"]):
        absent = ", ".join(sorted(set(frame.ids) - set(published["unique_id"])))
        raise ArgumentError(f"No forecasts are published of {absent}: leave that out.")
    cutoffs = pl.DataFrame({"unique_id": frame.ids, "cutoff": 10 * points - 1, "window": 0})
    learned = _with_train(frame.up_to(cutoffs.drop("window")), names, points) if train else None
    joined = published.sort("unique_id", "ds")
    for number, model in enumerate(several, 1):
        log.info(f"{model.name} ({number} of {len(models)}): {len(names)} systems, {points} points of a period ...")
        began = time.monotonic()
        if learned is None:
            found = forecasts_at([model], frame, cutoffs)
        else:
            found = forecasts_at([model.fit(learned)], frame, cutoffs, fit=False)
        log.info(f"{model.name}: {time.monotonic() - began:.1f} s")
        joined = joined.join(found.select(*KEYS, model.name), on=KEYS, how="left", maintain_order="left")
    own = tuple(model.name for model in models)
    return ChaosBenchmark(points, WITH_TRAIN if train else PUBLISHED, own, joined.select(pl.exclude("y"), "y"), frame)


def _with_train(fitted: Frame, names: Sequence[str], points: int) -> Frame:
    """The rows that the published models were fitted on, and the train trajectory of each system beside them."""
    other = DystsBenchmark(part="train", pts_per_period=points, system=names).table()
    other = other.with_columns(pl.concat_str("unique_id", pl.lit(", train")))
    columns = ["unique_id", "ds", "y"]
    table = pl.concat([fitted.table.select(columns), other.select(columns).drop_nulls()])
    return Frame(table, targets=["y"], freq="1i", season=points)


def write_benchmark(found: ChaosBenchmark, out: Path, estimate: str, *, overwrite: bool = False) -> None:
    """Writes table.csv, scores.csv (each system), thirds.csv, forecasts.parquet and report.html as one folder.

    Raises:
        OutputExistsError: the folder exists and `overwrite` was not given.
    """
    file = io.BytesIO()
    found.forecasts.write_parquet(file)
    told = {"format": 1, "points": found.points, "column": found.column, "models": found.models, "exponent": estimate,
            "versions": versions()}
    with TemporaryDirectory() as aside:
        page = report_backtest(
            Path(aside) / "report.html", found.frame, found.forecasts.select(*KEYS, *found.models, BEST, "y"),
            found.table().select("model", "median", "mean"),
            title=f"Chaos benchmark, {found.points} points of a period, {found.column}",
            summary={"models": ", ".join(found.models), "systems": len(found.scores), "h": 2 * found.points - 1,
                     "scores": "median and mean sMAPE over systems", "exponent": f"{estimate} of dysts"},
            dynamics=found.dynamics(estimate),
        )
        contents = {
            "backtest.json": json.dumps(told, indent=1).encode(),
            "forecasts.parquet": file.getvalue(),
            "report.html": page.read_bytes(),
            "scores.csv": found.scores.write_csv().encode(),
            "table.csv": found.table().write_csv().encode(),
            "thirds.csv": found.by_exponent(estimate).write_csv().encode(),
        }
    write_folder(out, contents, overwrite=overwrite)
