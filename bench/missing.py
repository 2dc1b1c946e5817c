"""What missing values cost: the test error of a recipe on whole data, and on the same data with points taken at random.

Points that are taken are gone throughout: from training, from the windows that are forecast from, and from the truth
that these are scored by, so the second error is over the other points of the same test part.

    python bench/missing.py [--recipe recipes/multifit_etth1.yaml] [--share 0.3] [--seed 0]
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from tsforge.estimators.run import load_frame, run_recipe
from tsforge.frame.frame import Frame
from tsforge.training.recipe import Recipe, read_given, read_recipe

ROOT = Path(__file__).parents[1]


def with_missing(frame: Frame, share: float, seed: int) -> Frame:
    """The targets of a regular frame with this share of all points taken out at random; no covariates."""
    taken = np.random.default_rng(seed).random((len(frame), len(frame.targets))) < share
    columns = {
        name: pl.when(pl.Series(~taken[:, c])).then(pl.col(name)).alias(name) for c, name in enumerate(frame.targets)
    }
    table = frame.table.select("unique_id", "ds", *columns.values())
    return Frame(table, targets=frame.targets, freq=frame.freq, season=frame.season).with_split(frame.split)


def errors(recipe: Recipe, frame: Frame) -> dict[str, float]:
    """The test error of the model, and of seasonal naive, by the first metric of the recipe."""
    with tempfile.TemporaryDirectory() as folder:
        result = run_recipe(recipe, Path(folder) / "run", frame=frame)
    return {row["model"]: row["value"] for row in result.test if row["metric"] == recipe.evaluate.metrics[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "multifit_etth1.yaml")
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("tsforge").setLevel(logging.ERROR)
    recipe = read_recipe(read_given(given.recipe))
    frame = load_frame(recipe.frame)
    whole, sparse = (errors(recipe, part) for part in (frame, with_missing(frame, given.share, given.seed)))
    print(f"{given.recipe.stem}: {recipe.evaluate.metrics[0]} on whole data, with {given.share:.0%} missing, ratio")
    for name, error in whole.items():
        print(f"{name:16} {error:8.4f} {sparse[name]:8.4f} {sparse[name] / error:7.3f}")


if __name__ == "__main__":
    main()
