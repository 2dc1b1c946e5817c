"""DC-GAN on the simulated systems of its paper: what training does to the law of its paths, and what the walk does.

    python bench/dcgan.py [--system opinion fitzhugh_nagumo] [--n 4096] [--steps 1500] [--seeds 0 1 2]

Each path is thinned to 21 points. The model is told the first and makes the other 20; it is scored on paths of another
simulation. Beside it: one step of training, other real paths (what a finite sample leaves), and a Gaussian law with
the mean and the covariance of the training paths, which has one mode.
"""

import argparse

import numpy as np
import polars as pl
import torch

import tsforge
from tsforge.batch import Batch
from tsforge.evaluation.generation_scores import signature_mmd
from tsforge.evaluation.metrics.generation import independence, marginal_distance, marginal_overlap
from tsforge.models.dcgan import DCGAN

POINTS, EVERY, DEPTH = 21, 5, 4
ARGUMENTS = {"opinion": {"th2": -0.2}, "fitzhugh_nagumo": {}}  # with the published reach the opinions often meet


def simulated(system: str, n: int, seed: int) -> pl.DataFrame:
    """Thinned paths; `ds` counts their points."""
    table = tsforge.load(system, n=n, seed=seed, **ARGUMENTS[system]).table
    return table.filter(pl.col("ds") % EVERY == 0).with_columns(pl.col("ds") // EVERY)


def paths_of(table: pl.DataFrame, points: int) -> np.ndarray:
    """[path, point, state]."""
    return table.drop("unique_id", "ds").to_numpy().reshape(-1, points, table.width - 2)


def gaussian(paths: np.ndarray, seed: int) -> np.ndarray:
    """As many paths of the Gaussian law with their mean and covariance."""
    flat = paths.reshape(len(paths), -1)
    drawn = np.random.default_rng(seed).multivariate_normal(flat.mean(0), np.cov(flat.T), len(flat), method="eigh")
    return drawn.reshape(paths.shape)


def kept_by_walks(model: tsforge.DCGAN, train: np.ndarray, walks: tuple[int, ...]) -> list[float]:
    """|corr| with the real path that a neighbour began as, after so many steps along the chain."""
    network = model.fitted_.predictor
    assert isinstance(network, DCGAN)
    loc, scale = model.fitted_.preparation.targets.of(np.array([0]))
    real = torch.from_numpy((train - loc) / scale).float()
    seen = torch.ones_like(real, dtype=torch.bool)
    batch = Batch(past=real[:, :1], past_mask=seen[:, :1], series=torch.zeros(len(real), dtype=torch.long),
                  future=real[:, 1:], future_mask=seen[:, 1:])
    kept = []
    for network.walk in walks:
        with torch.no_grad():
            network.after_fit([batch])
        kept.append(independence(train, network.neighbours.numpy()))
    return kept


def show(name: str, real: np.ndarray, made: np.ndarray) -> None:
    print(f"| {name} | {signature_mmd(real, made, depth=DEPTH):.4f} | {marginal_distance(real, made):.3f} | "
          f"{marginal_distance(real, made, (1.0,)):.3f} | {marginal_overlap(real, made, (1.0,), bins=30):.3f} |",
          flush=True)


def measure(system: str, n: int, steps: int, seed: int) -> None:
    table, other = simulated(system, n, 2 * seed), simulated(system, n, 2 * seed + 1)
    train, real = paths_of(table, POINTS), paths_of(other, POINTS)[:, 1:]
    print(f"\n{system}, seed {seed}\n\n| paths | signature MMD | W1 | W1 at the end | histogram missed at the end |\n"
          "| --- | --- | --- | --- | --- |")
    for count in (1, steps):
        model = tsforge.DCGAN(
            h=POINTS - 1, input_size=1, max_steps=count, val_size=0, scaler_scope="global", batch_size=128, bank=n,
            paths=4, learning_rate=3e-3, schedule="cosine", seed=seed, threads=1,
        ).fit(table, targets=table.columns[2:], freq="1i", season=1)
        made = paths_of(model.generate(n, POINTS - 1), POINTS - 1)
        show(f"DC-GAN, {count} step{'s' if count > 1 else ''}", real, made)
    show("other real paths", real, train[:, 1:])
    show("Gaussian", real, gaussian(train, seed)[:, 1:])
    walks = (1, 2, 5, 10)
    told = [f"{kept:.3f} after {walk}" for walk, kept in zip(walks, kept_by_walks(model, train, walks), strict=True)]
    print(f"\n|corr| with the first path along the chain: {', '.join(told)}; by chance about {2 / n**0.5:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", nargs="*", default=list(ARGUMENTS))
    parser.add_argument("--n", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    for system in given.system:
        for seed in given.seeds:
            measure(system, given.n, given.steps, seed)


if __name__ == "__main__":
    main()
