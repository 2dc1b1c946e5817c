"""Anomaly detection: TimesNet and Chimera beside what PCA cannot rebuild on SMD and distances from a median on NAB.

    python bench/detection.py [--machine machine-1-2] [--series nyc_taxi ...] [--models TimesNet] [--steps 400]

Thresholds are quantiles of the scores of training rows, whose labels nobody reads. The random score shows what point
adjustment gives away.
"""

import argparse

import numpy as np
import polars as pl
from baselines import distances_from_median, residuals_of_pca

import tsforge
from tsforge.evaluation.metrics.curves import average_precision, roc_auc
from tsforge.evaluation.metrics.detection import point_adjusted, precision_recall_f1, vus_pr, vus_roc

SERIES = ["nyc_taxi", "machine_temperature_system_failure", "ec2_cpu_utilization_5f5533"]
MODELS = {"TimesNet": {"d_model": 16, "d_ff": 16, "e_layers": 1, "top_k": 3}, "Chimera": {"d_model": 8, "n_layers": 1}}


def report(name: str, labels: np.ndarray, scores: np.ndarray, threshold: float, max_buffer: int) -> None:
    flags = scores > threshold
    plain, adjusted = (precision_recall_f1(labels, kind).f1 for kind in (flags, point_adjusted(labels, flags)))
    print(f"{name:32} F1 {plain:.3f}, adjusted {adjusted:.3f}  AUPRC {average_precision(labels, scores):.3f}  "
          f"AUROC {roc_auc(labels, scores):.3f}", end="")
    for rule in ("paper", "flagged"):
        roc, pr = (volume(labels, scores, max_buffer=max_buffer, rule=rule) for volume in (vus_roc, vus_pr))
        print(f"  VUS ({rule}) PR {pr:.3f}, ROC {roc:.3f}", end="")
    print(flush=True)


def detector(model: str, frame: tsforge.Frame, quantile: float, steps: int) -> tsforge.TimesNet | tsforge.Chimera:
    made = getattr(tsforge, model)
    return made(task={"name": "anomaly", "quantile": quantile}, input_size=100, max_steps=steps, batch_size=64,
                validate_every=100, seed=0, **MODELS[model]).fit(frame)


def neural(
    name: str, model: tsforge.TimesNet | tsforge.Chimera, frame: tsforge.Frame, labels: np.ndarray, max_buffer: int
) -> None:
    scores = model.step_scores_of(frame)["score"].fill_null(0.0).to_numpy()
    report(name, labels, scores, model.threshold(), max_buffer)


def server(machine: str, quantile: float, max_buffer: int, models: list[str], steps: int) -> None:
    """One machine of SMD: fitted on its training half, scored on its test half."""
    frame = tsforge.load("smd", machine=machine, part="both")
    values, labels = frame.table.select(frame.targets).to_numpy(), frame.labels["label"].to_numpy()
    train, test = np.isnan(labels), ~np.isnan(labels)
    own, other = residuals_of_pca(values[train], values[test])
    report(f"{machine} PCA", labels[test], other, float(np.quantile(own, quantile)), max_buffer)
    for model in models:
        fitted = detector(model, frame.rows(pl.Series(train)), quantile, steps)
        neural(f"{machine} {model}", fitted, frame.rows(pl.Series(test)), labels[test], max_buffer)
    random = np.random.default_rng(0).random(test.sum())
    report(f"{machine} random", labels[test], random, quantile, max_buffer)


def series(name: str, quantile: float, max_buffer: int, models: list[str], steps: int) -> None:
    """One series of NAB: the threshold is taken from the first 15 percent, which the benchmark gives for probation."""
    frame = tsforge.load("nab", name=name)
    values, labels = frame.table["value"].to_numpy(), frame.labels["window"].to_numpy()
    first = int(0.15 * len(values))
    for season, window, told in ((1, 25, "25 steps"), (frame.season, 14, "14 days")):
        scores = distances_from_median(values, window=window, season=season)
        threshold = float(np.quantile(scores[:first], quantile))
        report(f"{name} median of {told}", labels[first:], scores[first:], threshold, max_buffer)
    row = pl.int_range(len(values), eager=True)
    for model in models:
        fitted = detector(model, frame.rows(row < first), quantile, steps)
        neural(f"{name} {model}", fitted, frame.rows(row >= first), labels[first:], max_buffer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default="machine-1-2")
    parser.add_argument("--series", nargs="*", default=SERIES)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--quantile", type=float, default=0.995)
    parser.add_argument("--max-buffer", type=int, default=100)
    given = parser.parse_args()
    server(given.machine, given.quantile, given.max_buffer, given.models, given.steps)
    for name in given.series:
        series(name, given.quantile, given.max_buffer, given.models, given.steps)


if __name__ == "__main__":
    main()
