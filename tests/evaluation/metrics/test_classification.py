import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics.classification import accuracy, balanced_accuracy, macro_f1, stratified_folds

SCORES = [accuracy, balanced_accuracy, macro_f1]
every_score = pytest.mark.parametrize("score", SCORES)


def sample(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four classes, one of them frequent, half of them told."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(["a", "b", "c", "d"], n, p=[0.6, 0.2, 0.1, 0.1])
    return classes, np.where(rng.random(n) < 0.5, classes, rng.choice(["a", "b", "c", "d"], n))


def stays(n: int = 103, seed: int = 0) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    return {f"stay-{k}": int(rng.random() < 0.2) for k in range(n)}


def test_scores_equal_scikit_learn():
    classes, told = sample()
    assert accuracy(classes, told) == pytest.approx(accuracy_score(classes, told))
    assert balanced_accuracy(classes, told) == pytest.approx(balanced_accuracy_score(classes, told))
    assert macro_f1(classes, told) == pytest.approx(f1_score(classes, told, average="macro"))
    assert macro_f1(classes, told) != pytest.approx(f1_score(classes, told, average="weighted"))


def test_a_class_that_is_told_and_never_true_lowers_the_mean_of_f1_alone():
    classes, told = ["a", "a", "b"], ["a", "c", "b"]
    assert macro_f1(classes, told) == pytest.approx(f1_score(classes, told, average="macro", zero_division=0))
    assert macro_f1(classes, told) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert balanced_accuracy(classes, told) == pytest.approx((1 / 2 + 1) / 2)


def test_whoever_always_tells_the_largest_class_is_found_out_by_the_balanced_ones():
    classes, _ = sample(1000)
    told = np.full(1000, "a")
    assert accuracy(classes, told) == pytest.approx(0.6, abs=0.05)
    assert balanced_accuracy(classes, told) == 0.25
    assert macro_f1(classes, told) < 0.25


@every_score
def test_names_of_classes_and_the_order_of_cases_do_not_matter(score):
    classes, told = sample()
    numbers = {name: number for number, name in enumerate("dbca")}
    order = np.random.default_rng(5).permutation(len(classes))
    recoded = [[numbers[name] for name in array[order]] for array in (classes, told)]
    assert score(*recoded) == pytest.approx(score(classes, told))
    assert score(classes, classes) == 1
    assert score(classes[order], told) != pytest.approx(score(classes, told))


@every_score
def test_cases_without_a_class_are_left_out_and_one_that_is_not_told_makes_it_nan(score):
    classes, told = (array.astype(object) for array in sample())
    unknown = np.arange(80) % 5 == 0
    missing = np.where(unknown, None, classes)
    assert score(missing, told) == pytest.approx(score(classes[~unknown], told[~unknown]))
    assert score([1.0, math.nan, 0.0], [1, 1, 0]) == 1
    assert math.isnan(score(classes, np.where(unknown, None, told)))
    assert math.isnan(score([math.nan], [1]))
    assert math.isnan(score([], []))


def test_classes_of_two_kinds_are_refused():
    with pytest.raises(ArgumentError, match="wanted words or numbers in both"):
        accuracy(["1", "2"], [1, 2])
    with pytest.raises(ShapeError, match=r"\(2,\) and told \(1,\)"):
        macro_f1([1, 2], [1])


@pytest.mark.parametrize("k", [2, 5, 10])
def test_folds_hold_each_id_once_and_each_class_evenly(k):
    classes = stays()
    folds = stratified_folds(classes, k, seed=1)
    assert list(folds) == list(classes)
    assert set(folds.values()) == set(range(k))
    for kind in (0, 1):
        sizes = np.bincount([folds[name] for name in classes if classes[name] == kind], minlength=k)
        assert sizes.max() - sizes.min() <= 1


def test_folds_follow_from_seed_and_id_and_from_no_order():
    classes = stays()
    turned = dict(reversed(classes.items()))
    assert stratified_folds(turned, 5, seed=1) == stratified_folds(classes, 5, seed=1)
    other = stratified_folds(classes, 5, seed=2)
    assert sum(other[name] != fold for name, fold in stratified_folds(classes, 5, seed=1).items()) > 50


@pytest.mark.parametrize("seed", range(5))
def test_an_id_that_comes_moves_at_most_one_id_at_each_cut(seed):
    classes = stays()
    before, after = (stratified_folds(ids, 5, seed=seed) for ids in (classes, {**classes, "new": 0}))
    moved = [name for name in classes if before[name] != after[name]]
    assert len(moved) <= 4
    assert all(classes[name] == 0 for name in moved)


def test_another_process_makes_the_same_folds():
    code = ("from tsforge.evaluation.metrics.classification import stratified_folds as f;"
            "print(sorted(f({f'stay-{k}': k % 2 for k in range(20)}, 5, 3).items()))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"PYTHONHASHSEED": "7"})
    assert done.stdout.strip() == str(sorted(stratified_folds({f"stay-{k}": k % 2 for k in range(20)}, 5, 3).items()))


def test_folds_that_cannot_be_stratified_are_refused():
    with pytest.raises(ArgumentError, match="k=1: wanted 2 folds or more"):
        stratified_folds(stays(), 1)
    with pytest.raises(ArgumentError, match="class 'rare' has 2"):
        stratified_folds({"a": "rare", "b": "rare", "c": "common", "d": "common", "e": "common"}, 3)
    with pytest.raises(ArgumentError, match="'b' has no class"):
        stratified_folds({"a": 1, "b": None, "c": 1}, 2)
