"""DLinear of neuralforecast on ETTh1: it is univariate, so the seven channels are seven series; a window holds one.

    bench/peers/.venv-neuralforecast/bin/python bench/peers/fit_neuralforecast.py [--threads 1]
"""

import logging
import warnings

import pandas as pd
from neuralforecast import NeuralForecast  # pyright: ignore[reportMissingImports]
from neuralforecast.losses.pytorch import MSE  # pyright: ignore[reportMissingImports]
from neuralforecast.models import DLinear  # pyright: ignore[reportMissingImports]
from setting import BATCH, INPUT_SIZE, KERNEL_SIZE, LEARNING_RATE, SEED, H, measure, options_of, read_etth1

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.simplefilter("ignore")
options = options_of("Seconds of a fit, as one line of JSON.").parse_args()
names, stamps, values = read_etth1()
table = pd.DataFrame({
    "unique_id": [name for name in names for _ in stamps],
    "ds": pd.to_datetime(stamps * len(names)),
    "y": values.T.ravel(),
})


def prepare(steps):
    model = DLinear(
        h=H, input_size=INPUT_SIZE, moving_avg_window=KERNEL_SIZE, loss=MSE(), max_steps=steps,
        learning_rate=LEARNING_RATE, batch_size=len(names), windows_batch_size=BATCH, scaler_type="identity",
        random_seed=SEED, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    forecaster = NeuralForecast(models=[model], freq="h")

    def fit():
        forecaster.fit(table, val_size=0)
        return forecaster.models[0]

    return fit


def maps(model):
    trend, remainder = ((part.weight, part.bias) for part in (model.linear_trend, model.linear_season))
    return [p for p in model.parameters() if p.requires_grad], trend, remainder


measure(["neuralforecast", "torch", "pytorch-lightning"], prepare, maps, values, options.threads)
