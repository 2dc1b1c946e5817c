"""Baselines of anomaly detection: what PCA cannot rebuild on SMD, distances from a running median on NAB.

    python bench/detection.py [--machine machine-1-2] [--series nyc_taxi] [--quantile 0.995] [--max-buffer 100]

Thresholds are quantiles of the scores of training rows, whose labels nobody reads. The random score shows what point
adjustment gives away.
"""

import argparse

import numpy as np
from baselines import distances_from_median, residuals_of_pca

import tsforge
from tsforge.evaluation.metrics.curves import average_precision, roc_auc
from tsforge.evaluation.metrics.detection import point_adjusted, precision_recall_f1, vus_pr, vus_roc


def report(name: str, labels: np.ndarray, scores: np.ndarray, threshold: float, max_buffer: int) -> None:
    flags = scores > threshold
    plain, adjusted = (precision_recall_f1(labels, kind).f1 for kind in (flags, point_adjusted(labels, flags)))
    print(f"{name:32} F1 {plain:.3f}, adjusted {adjusted:.3f}  AUPRC {average_precision(labels, scores):.3f}  "
          f"AUROC {roc_auc(labels, scores):.3f}", end="")
    for rule in ("paper", "flagged"):
        roc, pr = (volume(labels, scores, max_buffer=max_buffer, rule=rule) for volume in (vus_roc, vus_pr))
        print(f"  VUS ({rule}) PR {pr:.3f}, ROC {roc:.3f}", end="")
    print()


def server(machine: str, quantile: float, max_buffer: int) -> None:
    """One machine of SMD: fitted on its training half, scored on its test half."""
    frame = tsforge.load("smd", machine=machine, part="both")
    values, labels = frame.table.select(frame.targets).to_numpy(), frame.labels["label"].to_numpy()
    train, test = np.isnan(labels), ~np.isnan(labels)
    own, other = residuals_of_pca(values[train], values[test])
    report(f"{machine} PCA", labels[test], other, float(np.quantile(own, quantile)), max_buffer)
    random = np.random.default_rng(0).random(test.sum())
    report(f"{machine} random", labels[test], random, quantile, max_buffer)


def series(name: str, quantile: float, max_buffer: int) -> None:
    """One series of NAB: the threshold is taken from the first 15 percent, which the benchmark gives for probation."""
    frame = tsforge.load("nab", name=name)
    values, labels = frame.table["value"].to_numpy(), frame.labels["window"].to_numpy()
    first = int(0.15 * len(values))
    for season, window, told in ((1, 25, "25 steps"), (frame.season, 14, "14 days")):
        scores = distances_from_median(values, window=window, season=season)
        threshold = float(np.quantile(scores[:first], quantile))
        report(f"{name} median of {told}", labels[first:], scores[first:], threshold, max_buffer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default="machine-1-2")
    parser.add_argument("--series", default="nyc_taxi")
    parser.add_argument("--quantile", type=float, default=0.995)
    parser.add_argument("--max-buffer", type=int, default=100)
    given = parser.parse_args()
    server(given.machine, given.quantile, given.max_buffer)
    series(given.series, given.quantile, given.max_buffer)


if __name__ == "__main__":
    main()
