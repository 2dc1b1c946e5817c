"""Baselines of classification: nearest neighbours and a linear model on UCR problems, logistic regression on stays.

    python bench/classification.py [--problems JapaneseVowels ArrowHead] [--band 1.0] [--folds 5] [--seed 0]

A classifier of the package is compared with them on the same parts and folds.
"""

import argparse

import numpy as np
from baselines import cases_of, last_and_mean, linear, nearest, summaries

import tsforge
from tsforge.evaluation.metrics.classification import accuracy, macro_f1, stratified_folds
from tsforge.evaluation.metrics.curves import average_precision, roc_auc

DEATH = "In-hospital_death"


def problem(name: str, band: float) -> None:
    """Test accuracy and macro F1 on the published parts of one problem."""
    parts = [tsforge.load("ucr", name=name, part=part) for part in ("train", "test")]
    cases, others = (cases_of(frame)[1] for frame in parts)
    classes, truth = (frame.labels["class"].to_numpy() for frame in parts)
    told = {
        f"1-NN DTW, band {band:g}": nearest(cases, classes, others, band=band),
        "1-NN Euclidean": nearest(cases, classes, others, band=0),
        "linear on summaries": linear().fit(summaries(cases), classes).predict(summaries(others)),
    }
    for model, guess in told.items():
        print(f"{name:16} {model:22} accuracy {accuracy(truth, guess):.4f}  macro F1 {macro_f1(truth, guess):.4f}")


def stays(folds: int, seed: int) -> None:
    """Areas under both curves for deaths in hospital, mean and sd over folds of patients."""
    frame = tsforge.load("physionet2012")
    ids, cases = cases_of(frame)
    death = dict(frame.labels.select("unique_id", DEATH).drop_nulls().iter_rows())
    fold, features = stratified_folds(death, folds, seed), last_and_mean(cases)
    known = np.array([name in death for name in ids])
    truth = np.array([death.get(name, -1) for name in ids])
    place = np.array([fold.get(name, -1) for name in ids])
    died = sum(death.values())
    print(f"physionet2012: death in hospital of {died} of {len(death)} stays, mean and sd over {folds} folds")
    for c in (1.0, 0.01):  # scikit-learn's own, and a strong penalty, as there are more features than deaths
        areas = []
        for held in range(folds):
            train, test = known & (place != held), place == held
            scores = linear(c=c).fit(features[train], truth[train]).predict_proba(features[test])[:, 1]
            areas.append((roc_auc(truth[test], scores), average_precision(truth[test], scores)))
        (roc, pr), (roc_sd, pr_sd) = np.mean(areas, axis=0), np.std(areas, axis=0, ddof=1)
        print(f"  logistic on last and mean, c={c:<5g} AUROC {roc:.3f} ± {roc_sd:.3f}  AUPRC {pr:.3f} ± {pr_sd:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="*", default=["JapaneseVowels", "ArrowHead"])
    parser.add_argument("--band", type=float, default=1.0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in given.problems:
        problem(name, given.band)
    stays(given.folds, given.seed)


if __name__ == "__main__":
    main()
