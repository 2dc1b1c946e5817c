"""Models: one neural forecaster, one file, one row."""

from tsforge.catalog import Catalog, Row

MODELS = Catalog("model", __name__, {
    # file       family          class       paper                    what it does
    "dlinear":  Row("linear",      "DLinear",  "Zeng 2023, 2205.13504", "trend and remainder, one linear map each"),
    "timesnet": Row("convolution", "TimesNet", "Wu 2023, 2210.02186",   "folds series by their periods, 2-D inception"),
})
