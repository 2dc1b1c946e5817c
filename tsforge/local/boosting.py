"""Boosting: a sum of small regression trees on lags, each grown on what those before it leave over.

Source    Friedman (2001), "Greedy Function Approximation: A Gradient Boosting Machine", Annals of Statistics 29; grown
          on histograms by scikit-learn's HistGradientBoostingRegressor.
Equation  f_0 = mean y,   f_m(x) = f_{m-1}(x) + shrinkage T_m(x),   T_m grown on y - f_{m-1}
Shapes    x [row, feature] -> [row]
Units     standardised by the training rows of the series
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from tsforge.errors import ArgumentError
from tsforge.local.base import State
from tsforge.local.regression import LagRegression
from tsforge.local.scaling import require_finite
from tsforge.local.trees import Tree, check_trees, pack_trees, walk_trees
from tsforge.space import Choice, Declared, Integer, Real


class Boosting(LagRegression):
    """Gradient boosting on lags. Nothing is drawn, and it does not stop early: a series has few rows to hold back.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: A number of steps, the lags themselves, `"embedding"`, or None: see LagRegression.
        strategy: `"recursive"` or `"direct"`, which grows a booster for each step ahead.
        channels: `"independent"` or `"mixed"`.
        n_trees: Trees, one after another.
        shrinkage: Share of each tree that is added; a smaller one needs more trees.
        max_depth: Splits from the root to a leaf, at most.
        min_samples_leaf: Rows in a leaf, at least.

    Raises:
        ArgumentError: a number is out of its range, or an argument of the lags has a value that cannot work.
    """

    slow: ClassVar[bool] = True

    space: ClassVar[Declared] = {
        "strategy": Choice("recursive", "direct"), "n_trees": Integer(30, 300, log=True),
        "shrinkage": Real(0.02, 0.3, log=True), "max_depth": Integer(1, 6),
        "min_samples_leaf": Integer(1, 20, log=True),
    }

    def __init__(
        self, h: int, *, season: int | None = None, lags: int | Sequence[int] | str | None = None,
        strategy: str = "recursive", channels: str = "independent", n_trees: int = 100,
        shrinkage: float | int = 0.1, max_depth: int = 3, min_samples_leaf: int = 5,
    ) -> None:
        super().__init__(h, season=season, lags=lags, strategy=strategy, channels=channels)
        whole = (("n_trees", n_trees), ("max_depth", max_depth), ("min_samples_leaf", min_samples_leaf))
        for name, number in whole:
            if number < 1:
                raise ArgumentError(f"{name}={number!r}: wanted a whole number, 1 or more.")
        if not 0 < shrinkage <= 1:
            raise ArgumentError(f"shrinkage={shrinkage!r}: wanted a share above 0 and up to 1.")
        self.n_trees, self.shrinkage, self.max_depth = n_trees, float(shrinkage), max_depth
        self.min_samples_leaf = min_samples_leaf

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """The arrays of `pack_trees`, and base []."""
        settings: dict[str, Any] = {  # scikit-learn's annotations know neither None nor False
            "max_iter": self.n_trees, "learning_rate": self.shrinkage, "max_depth": self.max_depth,
            "max_leaf_nodes": None, "min_samples_leaf": self.min_samples_leaf, "early_stopping": False,
        }
        booster = HistGradientBoostingRegressor(random_state=0, **settings)
        with threadpool_limits(1, user_api="openmp"):  # on so few rows threads wait: on busy cores 60 x as long
            booster.fit(x, y)
        trees = [_tree(trees[0].nodes) for trees in booster._predictors]
        return dict(pack_trees(trees)) | {"base": np.array(float(booster._baseline_prediction.item()))}

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row]."""
        return walk_trees(x, learned).sum(axis=1) + learned["base"]

    def check_learned(self, learned: State, features: int) -> None:
        """See LagRegression."""
        check_trees(learned, features)
        require_finite(learned, "base", ())


def _tree(nodes: np.ndarray) -> Tree:
    inner = nodes["is_leaf"] == 0
    return Tree(inner, nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), nodes["feature_idx"],
                nodes["num_threshold"], nodes["value"])
