"""Imputation on ETTh1: random cells hidden, told by TimesNet and Chimera, beside linear interpolation.

    python bench/imputation.py [--hidden 0.125 0.25 0.375 0.5] [--steps 2000] [--seeds 0]

Windows of 96 steps of the published test part, all of them; MSE and MAE of the hidden cells on standardised values, as
in Wu et al. (2023), whose averages over the four shares are 0.078 and 0.187 (width 128; here 32), a model a share.
"""

import argparse
from time import perf_counter

import numpy as np
import polars as pl

import tsforge

TRAIN, VAL, TEST = 8640, 2880, 2880
MODELS = {"TimesNet": {"d_model": 32, "d_ff": 32, "top_k": 3}, "Chimera": {"d_model": 16}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=float, nargs="*", default=[0.125, 0.25, 0.375, 0.5])
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    given = parser.parse_args()
    frame = tsforge.load("etth1")
    row = pl.int_range(len(frame.table), eager=True)
    known, test = frame.rows(row < TRAIN + VAL), frame.rows((row >= TRAIN + VAL) & (row < TRAIN + VAL + TEST))
    print("| hidden | model | MSE | MAE | seconds |\n| --- | --- | --- | --- | --- |")
    for hidden in given.hidden:
        for name in given.models:
            found, began = [], perf_counter()
            for seed in given.seeds:
                model = getattr(tsforge, name)(
                    task={"name": "imputation", "hidden": hidden}, input_size=96, max_steps=given.steps, batch_size=16,
                    learning_rate=1e-3, schedule="cosine", validate_every=500, val_size=VAL, seed=seed, **MODELS[name],
                ).fit(known)
                errors = model.reconstruction_errors(test)
                found.append((errors["mse"], errors["mae"]))
            mse, mae = np.mean(found, axis=0)
            print(f"| {hidden} | {name} | {mse:.4f} | {mae:.4f} | {perf_counter() - began:.0f} |", flush=True)
        beside = model.interpolation_errors(test)
        print(f"| {hidden} | interpolation | {beside['mse']:.4f} | {beside['mae']:.4f} | |", flush=True)


if __name__ == "__main__":
    main()
