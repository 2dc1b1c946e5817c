from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file, save_file

import tsforge
from tsforge.errors import ArtifactError
from tsforge.estimators.estimator import estimator
from tsforge.local import trees
from tsforge.local.trees import Tree, check_trees, pack_trees, walk_trees
from tsforge.training.artifact import HASHED, SUMS


def a_tree() -> Tree:
    """x0 <= 1: (x1 <= -1: 10, else 20), else 30; numbered depth-first."""
    inner = np.array([True, True, False, False, False])
    return Tree(inner, np.array([1, 2, -1, -1, -1]), np.array([4, 3, -1, -1, -1]), np.array([0, 1, -2, -2, -2]),
                np.array([1.0, -1.0, np.nan, np.nan, np.nan]), np.array([np.nan, np.nan, 10.0, 20.0, 30.0]))


def a_leaf(answer: float) -> Tree:
    none = np.zeros(1, dtype=int)
    return Tree(np.zeros(1, dtype=bool), none, none, none, np.zeros(1), np.array([answer]))


def forest() -> dict[str, np.ndarray]:
    return dict(pack_trees([a_leaf(5.0), a_tree(), a_tree()]))


def by_hand(grown: Tree, row: np.ndarray) -> float:
    node = 0
    while grown.inner[node]:
        side = grown.left if row[grown.feature[node]] <= grown.threshold[node] else grown.right
        node = int(side[node])
    return float(grown.answer[node])


def random_tree(rng: np.random.Generator, inner: int) -> Tree:
    """Leaves split one after another, in an order that is neither depth-first nor breadth-first."""
    size = 2 * inner + 1
    left, right = np.full(size, -1), np.full(size, -1)
    leaves = [0]
    for k in range(inner):
        node = leaves.pop(rng.integers(len(leaves)))
        left[node], right[node] = rng.permutation([2 * k + 1, 2 * k + 2])
        leaves += [2 * k + 1, 2 * k + 2]
    return Tree(left >= 0, left, right, rng.integers(0, 3, size), rng.normal(size=size).round(1), rng.normal(size=size))


@pytest.mark.parametrize("at_once", [1, 10, 1 << 16])
def test_a_walk_of_all_rows_and_trees_is_the_walk_of_each_by_hand(at_once, monkeypatch):
    monkeypatch.setattr(trees, "AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    grown = [random_tree(rng, inner) for inner in (0, 1, 7, 30, 0)]
    x = rng.normal(size=(20, 3)).round(1)  # rounded, so that thresholds are met exactly
    learned = pack_trees(grown)
    check_trees(learned, 3)
    assert_array_equal(walk_trees(x, learned), [[by_hand(tree, row) for tree in grown] for row in x])
    assert walk_trees(x[:0], learned).shape == (0, 5)


def test_a_threshold_that_is_met_goes_left():
    learned = pack_trees([a_tree()])
    x = np.array([[1.0, -1.0], [1.0, np.nextafter(-1.0, 0)], [np.nextafter(1.0, 2), -1.0]])
    assert_array_equal(walk_trees(x, learned)[:, 0], [10.0, 20.0, 30.0])


def changed(name: str, place, value) -> dict[str, np.ndarray]:
    learned = forest()
    learned[name] = learned[name].copy()
    learned[name][place] = value
    return learned


# nodes: 0 a leaf alone | 1 root, 2 its left child, inner, 3 its right child, 4 and 5 leaves below 2 | 6 ... 10 alike
CRAFTED = {
    "a cycle to the root": lambda: changed("child", 2, 1),
    "a node that is its own child": lambda: changed("child", 3, 2),
    "a child before its parent": lambda: changed("child", 3, 1),
    "two parents": lambda: changed("child", 1, 3),
    "a child in the next tree": lambda: changed("child", 2, 5),
    "a right child in the next tree": lambda: changed("child", 2, 4),
    "a child outside the arrays": lambda: changed("child", 10, 2_000_000_000),
    "a child below zero": lambda: changed("child", 2, -3),
    "nodes without a parent": lambda: changed("child", 2, 0),
    "a feature that is not there": lambda: changed("feature", 1, 2),
    "a feature below zero": lambda: changed("feature", 1, -1),
    "a threshold that is no number": lambda: changed("number", 1, np.nan),
    "an infinite answer": lambda: changed("number", 0, np.inf),
    "children of another type": lambda: forest() | {"child": forest()["child"].astype(np.float64)},
    "features of another type": lambda: forest() | {"feature": forest()["feature"].astype(np.uint32)},
    "numbers of another type": lambda: forest() | {"number": forest()["number"].astype(np.float32)},
    "sizes of another type": lambda: forest() | {"sizes": forest()["sizes"].astype(np.int32)},
    "a table instead of a list": lambda: forest() | {"child": forest()["child"][:, None]},
    "a list that is shorter": lambda: forest() | {"feature": forest()["feature"][:-1]},
    "numbers that are fewer": lambda: forest() | {"number": forest()["number"][:-1]},
    "an array that is missing": lambda: {name: array for name, array in forest().items() if name != "feature"},
    "a tree without nodes": lambda: forest() | {"sizes": np.array([0, 6, 5])},
    "sizes that overflow": lambda: forest() | {"sizes": np.array([2**62, 2**62, 2**62, 2**62, 11])},
    "a tree too many": lambda: forest() | {"sizes": np.array([1, 5, 5, 5])},
    "no trees": lambda: {name: array[:0] for name, array in forest().items()},
}


@pytest.mark.parametrize("fault", CRAFTED)
def test_what_is_no_tree_is_refused(fault):
    check_trees(forest(), 2)
    with pytest.raises(ArtifactError):
        check_trees(CRAFTED[fault](), 2)


def test_whatever_a_check_lets_pass_is_walked_to_a_leaf():
    rng, x = np.random.default_rng(0), np.random.default_rng(1).normal(size=(5, 2))
    admitted = 0
    for _ in range(3000):
        learned = forest()
        for name in rng.choice(["child", "feature", "sizes"], size=2):
            learned[name][rng.integers(len(learned[name]))] = rng.integers(-1, 6)
        try:
            check_trees(learned, 2)
        except ArtifactError:
            continue
        admitted += 1
        assert np.isfinite(walk_trees(x, learned)).all()
    assert 50 < admitted < 2000


def signed(folder: Path) -> None:
    """Makes the sums right again, as somebody who changes a run on purpose would."""
    lines = [f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(HASHED)]
    (folder / SUMS).write_text("".join(lines))


@pytest.fixture(scope="module", params=["random_forest", "boosting"])
def run(request, tmp_path_factory) -> Path:
    y = np.random.default_rng(0).normal(size=80).cumsum()
    model = estimator(request.param)(h=2, lags=3, n_trees=3, val_size=0)
    return model.fit(pl.DataFrame({"ds": np.arange(80), "y": y}), freq="1i").save(tmp_path_factory.mktemp("runs") / "a")


@pytest.mark.parametrize("fault", ["none", "cycle", "order", "range", "feature", "nan", "type"])
def test_a_crafted_tree_in_a_run_is_an_artifact_error_when_the_run_is_opened(run, fault):
    before = (run / "model.safetensors").read_bytes(), (run / SUMS).read_text()
    arrays = load_file(run / "model.safetensors")
    child, feature, number = (f"learned/0/1/{name}/values" for name in ("child", "feature", "number"))
    inner = int(np.flatnonzero(arrays[child])[-1])
    arrays = {name: array.copy() for name, array in arrays.items()}
    if fault == "type":
        arrays[child] = arrays[child].astype(np.int64)
    elif fault != "none":
        name = {"feature": feature, "nan": number}.get(fault, child)
        value = {"cycle": inner, "order": 1, "range": 10**6, "feature": 3, "nan": np.nan}[fault]
        arrays[name][inner] = value
    save_file(arrays, run / "model.safetensors")
    signed(run)
    if fault == "none":  # the control
        assert np.isfinite(tsforge.open(run).predict().select(pl.selectors.float()).to_numpy()).all()
    else:
        with pytest.raises(ArtifactError):
            tsforge.open(run)
    (run / "model.safetensors").write_bytes(before[0])
    (run / SUMS).write_text(before[1])
