"""Trees of a forest or a booster as plain arrays: read off scikit-learn's, checked, and walked here.

Layout  Trees stand one after another, each breadth-first, so that two siblings are neighbours and a node names only
        the first of them.
Shapes  sizes [tree]: nodes of each tree
        child [node]: the left child, counted from the root of its tree; 0 for a leaf. The right child comes next.
        feature [node]: the column that is compared; 0 for a leaf
        number [node]: the threshold, or the answer of a leaf
Walk    left where x[feature] <= threshold, else right; all rows and trees take a step at a time
Safe    `check_trees` admits only children that come after their parent, lie in its tree and have no other parent, so a
        walk ends at a leaf within `size` steps and reads nothing outside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tsforge.errors import ArtifactError
from tsforge.local.base import State
from tsforge.local.scaling import require_finite

AT_ONCE = 1 << 16  # rows times trees: what is gathered in a step stays in the cache
TYPES = {"sizes": np.int64, "child": np.int32, "feature": np.int32, "number": np.float64}


class Tree(NamedTuple):
    """A tree as scikit-learn keeps it: the root first, children by number.

    Args:
        inner: [node] whether a node has children.
        left: [node], read where `inner`.
        right: [node], read where `inner`.
        feature: [node], read where `inner`.
        threshold: [node], read where `inner`.
        answer: [node], read elsewhere.
    """

    inner: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    answer: np.ndarray


def pack_trees(trees: Sequence[Tree]) -> State:
    """`sizes`, `child`, `feature` and `number` of these trees."""
    sizes = np.array([len(tree.inner) for tree in trees])
    roots = np.cumsum(sizes) - sizes
    inner, left, right, feature, threshold, answer = (np.concatenate(part) for part in zip(*trees, strict=True))
    owner = np.repeat(np.arange(len(trees)), sizes)
    left, right = left + roots[owner], right + roots[owner]
    levels, last = [roots], roots
    while len(last):
        parents = last[inner[last]]
        last = np.stack([left[parents], right[parents]], axis=1).ravel()
        levels.append(last)
    order = np.concatenate(levels)
    order = order[np.argsort(owner[order], kind="stable")]
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    inner, old = inner[order], np.where(inner, left, roots[owner])[order]
    return {
        "sizes": sizes.astype(TYPES["sizes"]),
        "child": np.where(inner, place[old] - roots[owner], 0).astype(TYPES["child"]),
        "feature": np.where(inner, feature[order], 0).astype(TYPES["feature"]),
        "number": np.where(inner, threshold[order], answer[order]).astype(TYPES["number"]),
    }


def walk_trees(x: np.ndarray, learned: State) -> np.ndarray:
    """[row, tree]: the answer of each tree to each row of x [row, feature]."""
    sizes, feature = learned["sizes"], learned["feature"].astype(np.intp)
    roots = np.cumsum(sizes) - sizes
    inner, nodes = learned["child"] > 0, np.arange(len(feature))
    left = np.where(inner, learned["child"] + np.repeat(roots, sizes), nodes)  # a leaf leads to itself
    threshold = np.where(inner, learned["number"], np.inf)
    rows = max(1, AT_ONCE // len(sizes))
    leaves = [_leaves(x[i : i + rows], roots, left, feature, threshold) for i in range(0, len(x), rows)]
    return learned["number"][np.concatenate(leaves)] if leaves else np.empty((0, len(sizes)))


def _leaves(
    x: np.ndarray, roots: np.ndarray, left: np.ndarray, feature: np.ndarray, threshold: np.ndarray
) -> np.ndarray:
    """[row, tree] the leaf that each row comes to; pairs that are there drop out of the walk."""
    cells, width = x.ravel(), x.shape[1]
    at = np.tile(roots, len(x))
    begin = np.repeat(np.arange(len(x)) * width, len(roots))
    going = np.arange(len(at))
    while len(going):
        node = at[going]
        step = left[node] + (cells[begin[going] + feature[node]] > threshold[node])
        at[going] = step
        going = going[step != node]
    return at.reshape(len(x), len(roots))


def check_trees(learned: State, features: int) -> None:
    """Refuses arrays that are no trees over so many features.

    Raises:
        ArtifactError: an array is missing or of another type or shape, a number is not finite, or the nodes are no
            trees.
    """
    for name, kind in TYPES.items():
        array = learned.get(name)
        if array is None or array.dtype != kind or array.ndim != 1 or not len(array):
            raise ArtifactError(f"{name!r} of the trees is missing, or no list of {kind.__name__}.")
    sizes, child, feature = learned["sizes"], learned["child"], learned["feature"]
    require_finite(learned, "number", (len(child),))
    if len(feature) != len(child) or sizes.min() < 1 or sizes.max() > len(child) or sizes.sum() != len(child):
        raise ArtifactError("The sizes of the trees do not add up to their nodes.")
    if feature.min() < 0 or feature.max() >= features:
        raise ArtifactError(f"A tree compares a feature that is not there: there are {features}.")
    _check_children(sizes, child)


def _check_children(sizes: np.ndarray, child: np.ndarray) -> None:
    size, root = np.repeat(sizes, sizes), np.repeat(np.cumsum(sizes) - sizes, sizes)
    inner, own = child != 0, np.arange(len(child)) - root
    if (child[inner] <= own[inner]).any() or (child[inner] >= size[inner] - 1).any():
        raise ArtifactError("A node of a tree has children that come before it, or lie outside its tree.")
    first = (child.astype(np.int64) + root)[inner]
    parents = np.bincount(np.concatenate([first, first + 1]), minlength=len(child))
    if (parents != (own > 0)).any():
        raise ArtifactError("A node of a tree has no parent, or two.")
