"""Losses: what a forecast is judged by while it learns, and how its outputs are read as a law."""

from tsforge.catalog import Catalog, Row

LOSSES = Catalog("loss", __name__, {
    # file       family       class           source                    what it does
    "mse":      Row("point",    "MSELoss",      "Gauss 1809",             "squared error; the point is the mean"),
    "mae":      Row("point",    "MAELoss",      "Laplace 1774",           "absolute error; the point is the median"),
    "huber":    Row("point",    "HuberLoss",    "Huber 1964",             "squared near zero, absolute beyond delta"),
    "smape":    Row("point",    "SMAPELoss",    "Makridakis 1993",        "relative error; for unscaled targets"),
    "quantile": Row("quantile", "QuantileLoss", "Koenker & Bassett 1978", "pinball loss of several quantiles at once"),
})
