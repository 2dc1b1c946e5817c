"""Classification: neural models beside nearest neighbours and a linear model on UCR problems, and on stays.

    python bench/classification.py [--problems JapaneseVowels ArrowHead] [--band 1.0] [--folds 5] [--seeds 0 1 2]
        [--models TimesNet Chimera MultiFIT]

All see the same parts and folds; nothing is chosen by test data. The published tables of TimesNet keep the epoch that
is best on the test part.
"""

import argparse

import numpy as np
import polars as pl
from baselines import cases_of, last_and_mean, linear, nearest, summaries

import tsforge
from tsforge.evaluation.metrics.classification import accuracy, macro_f1, stratified_folds
from tsforge.evaluation.metrics.curves import average_precision, roc_auc

STAMPS = 120  # the last distinct times of a stay that are read; the longest has 202
DEATH = "In-hospital_death"
COMMON = {"max_steps": 600, "validate_every": 50, "learning_rate": 1e-3, "batch_size": 16, "val_size": 0.2}
NEURAL = {
    "TimesNet": {"d_model": 32, "d_ff": 32, "top_k": 3}, "Chimera": {"d_model": 16}, "MultiFIT": {"hidden": 64},
}
STAYS = {"hidden": 32, "d_model": 8, "max_steps": 300, "validate_every": 25, "batch_size": 32, "dropout": 0.3,
         "learning_rate": 1e-3, "weight_decay": 1e-3, "optimizer": "adamw", "val_size": 0.2}


def problem(name: str, band: float, seeds: list[int], models: list[str]) -> None:
    """Test accuracy and macro F1 on the published parts of one problem; of neural models over seeds."""
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
    for model in models:
        made, arguments = getattr(tsforge, model), NEURAL[model]
        task, right = {"name": "classification", "label": "class"}, []
        for seed in seeds:
            right.append(made(task=task, seed=seed, **COMMON, **arguments).fit(parts[0]).score(parts[1]))
        spread = np.std(right, ddof=len(right) > 1)
        print(f"{name:16} {model:22} accuracy {np.mean(right):.4f} ± {spread:.4f}", flush=True)


def stays(folds: int, seed: int, *, neural: bool) -> None:
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
    if not neural:
        return
    areas = []
    for held in range(folds):
        ours, others = (frame.rows(pl.Series(place_of(frame, place, ids, held) == test)) for test in (False, True))
        task = {"name": "classification", "label": DEATH, "balanced": True}
        model = tsforge.MultiFIT(task=task, input_size=STAMPS, seed=seed, **STAYS).fit(ours)
        told = dict(model.predict_class(others).select("unique_id", "MultiFIT-p-1").iter_rows())
        names = [name for name in told if name in death]
        truths, scores = (np.array([table[name] for name in names]) for table in (death, told))
        areas.append((roc_auc(truths, scores), average_precision(truths, scores)))
        print(f"    MultiFIT, fold {held}: AUROC {areas[-1][0]:.3f}  AUPRC {areas[-1][1]:.3f}", flush=True)
    (roc, pr), (roc_sd, pr_sd) = np.mean(areas, axis=0), np.std(areas, axis=0, ddof=1)
    print(f"  MultiFIT {'':<25} AUROC {roc:.3f} ± {roc_sd:.3f}  AUPRC {pr:.3f} ± {pr_sd:.3f}")


def place_of(frame: tsforge.Frame, place: np.ndarray, ids: list[str], held: int) -> np.ndarray:
    """For each row, whether its series is in a fold."""
    inside = {name for name, fold in zip(ids, place, strict=True) if fold == held}
    return frame.table["unique_id"].is_in(list(inside)).to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="*", default=["JapaneseVowels", "ArrowHead"])
    parser.add_argument("--band", type=float, default=1.0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--models", nargs="*", default=list(NEURAL))
    given = parser.parse_args()
    for name in given.problems:
        problem(name, given.band, given.seeds, given.models)
    for seed in given.seeds:
        stays(given.folds, seed, neural="MultiFIT" in given.models)


if __name__ == "__main__":
    main()
