"""What a classifier is worth, and folds to find out; for two classes with scores see `roc_auc`, `average_precision`.

Shapes    classes, told [case], of any names; the result is one float
Missing   A case without a class (None, NaN) is left out, and with no case left the result is NaN. A class that is not
          told where there is one makes the result NaN.
Errors    ShapeError where the arrays differ in shape or have more than one axis; ArgumentError where one names classes
          by numbers and the other by words.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError


def accuracy(classes: ArrayLike, told: ArrayLike) -> float:
    """Share of the cases whose class was told.

    Formula   mean over cases of [told = class]
    Range     0 to 1, 1 is best; the share of the largest class for whoever always tells that one.   Units  none.
    Missing   A class: left out, none left gives NaN. What was told: NaN.
    """
    table = _confusion(classes, told)
    return float("nan") if table is None else float(np.trace(table) / table.sum())


def balanced_accuracy(classes: ArrayLike, told: ArrayLike) -> float:
    """Accuracy with all classes counted alike: the mean over classes of the share that was told.

    Formula   mean over classes c of (cases of c told c) / (cases of c)
    Range     0 to 1, 1 is best; 1 / number of classes for whoever always tells the same.   Units  none.
    Missing   A class: left out, none left gives NaN. What was told: NaN.
    Source    Brodersen et al. (2010), "The Balanced Accuracy and Its Posterior Distribution", ICPR.
    """
    table = _confusion(classes, told)
    if table is None:
        return float("nan")
    size = table.sum(axis=1)
    return float((np.diag(table)[size > 0] / size[size > 0]).mean())


def macro_f1(classes: ArrayLike, told: ArrayLike) -> float:
    """Mean over classes of the harmonic mean of precision and recall.

    Formula   mean over classes c of 2 (cases of c told c) / (cases of c + cases told c), also over a class that is told
              and never true
    Range     0 to 1, 1 is best.   Units  none.
    Missing   A class: left out, none left gives NaN. What was told: NaN.
    Source    van Rijsbergen (1979), "Information Retrieval", chapter 7, for F; the mean is over classes, not of their
              precisions and recalls, as Opitz & Burst (2019), arXiv:1911.03347, advise.
    """
    table = _confusion(classes, told)
    if table is None:
        return float("nan")
    return float((2 * np.diag(table) / (table.sum(axis=0) + table.sum(axis=1))).mean())


def stratified_folds(classes: Mapping[Any, Any], k: int, seed: int = 0) -> dict[Any, int]:
    """A fold for each id, 0 to k - 1, with the classes spread evenly: of a class, two folds differ by one id at most.

    Ids of a class are put in the order of a hash of seed and id and cut into k stretches. So folds do not depend on the
    order of the ids, and where ids come or go, only ids next to a cut change their fold.

    Args:
        classes: The class of each id. Ids are told apart by their words: 7 and "7" are one.
        k: Number of folds.
        seed: Another seed gives other folds.

    Raises:
        ArgumentError: k is below 2, a class has fewer ids than there are folds, or an id has no class.
    """
    missing = [name for name, kind in classes.items() if kind is None or kind != kind]
    if missing:
        raise ArgumentError(f"{missing[0]!r} has no class ({len(missing)} such ids): leave out what cannot be scored.")
    ids: dict[Any, list[Any]] = {}
    for name in sorted(classes, key=lambda name: _hash(seed, "id", name)):
        ids.setdefault(classes[name], []).append(name)
    short = [f"{kind!r} has {len(names)}" for kind, names in ids.items() if len(names) < k]
    if k < 2 or short:
        raise ArgumentError(f"k={k}: wanted 2 folds or more and an id of each class for every fold"
                            f"{': class ' + short[0] if short else ''}.")
    folds = {}
    for kind, names in ids.items():
        turn = int(_hash(seed, "class", kind), 16)  # else the larger folds were the same of every class
        folds.update({name: (at * k // len(names) + turn) % k for at, name in enumerate(names)})
    return {name: folds[name] for name in classes}


def _hash(seed: int, what: str, name: Any) -> str:
    return sha256(f"{seed} {what} {name}".encode()).hexdigest()


def _confusion(classes: ArrayLike, told: ArrayLike) -> np.ndarray | None:
    """[class, class] cases by what they are and by what was told; None where there is no score."""
    truth, said = (np.asarray(array) for array in (classes, told))
    if truth.ndim != 1 or said.shape != truth.shape:
        raise ShapeError(f"classes have the shape {truth.shape} and told {said.shape}: wanted one axis, the same.")
    seen = ~_missing(truth)
    truth, said = truth[seen], said[seen]
    if not len(truth) or _missing(said).any():
        return None
    if len({isinstance(array[0], str) for array in (truth, said)}) > 1:
        raise ArgumentError(f"A class is {truth[0]!r}, and {said[0]!r} was told: wanted words or numbers in both.")
    names, code = np.unique(np.concatenate([truth, said]), return_inverse=True)
    cells = code[: len(truth)] * len(names) + code[len(truth) :]
    return np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), len(names))


def _missing(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    return np.array([value is None or value != value for value in values], dtype=bool)
