"""DLinear of darts on ETTh1: one series of seven components, a window holds all of them.

    bench/peers/.venv-darts/bin/python bench/peers/fit_darts.py [--threads 1]
"""

import logging
import warnings

import pandas as pd
import torch
from darts import TimeSeries  # pyright: ignore[reportMissingImports]
from darts.models import DLinearModel  # pyright: ignore[reportMissingImports]
from setting import BATCH, INPUT_SIZE, KERNEL_SIZE, LEARNING_RATE, SEED, H, measure, options_of, read_etth1

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.simplefilter("ignore")
options = options_of("Seconds of a fit, as one line of JSON.").parse_args()
names, stamps, values = read_etth1()
series = TimeSeries.from_times_and_values(pd.DatetimeIndex(stamps, freq="h"), values, columns=names)


def prepare(steps):
    model = DLinearModel(
        input_chunk_length=INPUT_SIZE, output_chunk_length=H, shared_weights=True, kernel_size=KERNEL_SIZE,
        const_init=False, loss_fn=torch.nn.MSELoss(), optimizer_cls=torch.optim.Adam,
        optimizer_kwargs={"lr": LEARNING_RATE}, batch_size=BATCH, n_epochs=steps, random_state=SEED,
        pl_trainer_kwargs={
            "accelerator": "cpu", "devices": 1, "max_steps": steps, "logger": False, "enable_checkpointing": False,
            "enable_progress_bar": False, "enable_model_summary": False,
        },
    )
    return lambda: model.fit(series, dataloader_kwargs={"drop_last": True})


def maps(model):
    network = model.model
    trend, remainder = ((part.weight, part.bias) for part in (network.linear_trend, network.linear_seasonal))
    return [p for p in network.parameters() if p.requires_grad], trend, remainder


measure(["darts", "torch", "pytorch-lightning"], prepare, maps, values, options.threads)
