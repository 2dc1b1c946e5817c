"""RandomForest: the mean of regression trees on lags, each grown from a bootstrap sample of the rows.

Source    Breiman (2001), "Random Forests", Machine Learning 45; the trees are grown by scikit-learn.
Equation  f(x) = 1/B sum_b T_b(x); every split of T_b is the best among some features drawn for it
Shapes    x [row, feature] -> [row]
Units     standardised by the training rows of the series; compared as float32, as scikit-learn does
Differs   Sarveswararao & Ravi (2020), arXiv:2008.10365, use a forest and state no settings. These are Breiman's for
          regression: a third of the features for a split, 5 rows in a leaf.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from tsforge.errors import ArgumentError
from tsforge.local.base import State
from tsforge.local.regression import LagRegression
from tsforge.local.trees import Tree, check_trees, pack_trees, walk_trees
from tsforge.space import Choice, Declared, Integer, Real


class RandomForest(LagRegression):
    """A forest on lags. Its answers stay within the range of the training rows: it does not follow a trend.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: A number of steps, the lags themselves, `"embedding"`, or None: see LagRegression.
        strategy: `"recursive"` or `"direct"`, which grows a forest for each step ahead.
        channels: `"independent"` or `"mixed"`.
        n_trees: Trees in the forest.
        max_features: Share of the features that are drawn for each split, at least one.
        min_samples_leaf: Rows in a leaf, at least. What is kept of a series is some 30 bytes x trees x rows / this.
        seed: Of the samples and the features drawn; every series begins with it.

    Raises:
        ArgumentError: a number is out of its range, or an argument of the lags has a value that cannot work.
    """

    slow: ClassVar[bool] = True

    space: ClassVar[Declared] = {
        "strategy": Choice("recursive", "direct"), "max_features": Real(0.1, 1.0),
        "min_samples_leaf": Integer(1, 20, log=True),
    }

    def __init__(
        self, h: int, *, season: int | None = None, lags: int | Sequence[int] | str | None = None,
        strategy: str = "recursive", channels: str = "independent", n_trees: int = 100,
        max_features: float | int = 1 / 3, min_samples_leaf: int = 5, seed: int = 0,
    ) -> None:
        super().__init__(h, season=season, lags=lags, strategy=strategy, channels=channels)
        for name, number, least in (("n_trees", n_trees, 1), ("min_samples_leaf", min_samples_leaf, 1),
                                    ("seed", seed, 0)):
            if number < least:
                raise ArgumentError(f"{name}={number!r}: wanted a whole number, {least} or more.")
        if not 0 < max_features <= 1:
            raise ArgumentError(f"max_features={max_features!r}: wanted a share above 0 and up to 1.")
        self.n_trees, self.max_features = n_trees, float(max_features)
        self.min_samples_leaf, self.seed = min_samples_leaf, seed

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """The arrays of `pack_trees`."""
        forest = RandomForestRegressor(
            self.n_trees, max_features=self.max_features, min_samples_leaf=self.min_samples_leaf,
            random_state=self.seed,
        ).fit(x, y)
        return pack_trees([_tree(one.tree_) for one in forest.estimators_])

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row]."""
        return walk_trees(x.astype(np.float32), learned).mean(axis=1)

    def check_learned(self, learned: State, features: int) -> None:
        """See LagRegression."""
        check_trees(learned, features)


def _tree(grown) -> Tree:
    left = grown.children_left
    return Tree(left >= 0, left, grown.children_right, grown.feature, grown.threshold, grown.value[:, 0, 0])
