"""DLinear of tsforge on ETTh1: one series of seven channels, a window holds all of them; or seven series of one.

    .venv/bin/python bench/peers/fit_tsforge.py [--threads 1] [--series]
"""

import polars as pl
from setting import BATCH, INPUT_SIZE, KERNEL_SIZE, LEARNING_RATE, SEED, H, measure, options_of, read_etth1

import tsforge

parser = options_of("Seconds of a fit, as one line of JSON.")
parser.add_argument("--series", action="store_true", help="the channels are seven series; a window holds one of them")
options = parser.parse_args()
names, stamps, values = read_etth1()
if options.series:
    ids = [name for name in names for _ in stamps]
    table = pl.DataFrame({"unique_id": ids, "ds": stamps * len(names), "y": values.T.ravel()})
else:
    table = pl.DataFrame(values, schema=names).with_columns(ds=pl.Series(stamps))


def prepare(steps):
    model = tsforge.DLinear(
        h=H, input_size=INPUT_SIZE, kernel_size=KERNEL_SIZE, max_steps=steps, batch_size=BATCH, drop_last=True,
        learning_rate=LEARNING_RATE, loss="mse", scaler=None, val_size=0, accelerator="cpu", seed=SEED,
    )
    return lambda: model.fit(table)


def maps(model):
    network = model.fitted_.predictor
    trend, remainder = ((part.weight[0], part.bias[0]) for part in (network.trend, network.remainder))
    return list(network.parameters()), trend, remainder  # fit has frozen them, so none is asked whether it is trained


measure(["tsforge", "torch", "lightning"], prepare, maps, values, options.threads)
