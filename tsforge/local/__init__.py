"""Local models: one per-series forecaster, one file, one row."""

from tsforge.catalog import Catalog, Row

LOCAL = Catalog("local model", __name__, {
    # file                 family      class             source                       what it does
    "naive":          Row("baseline", "Naive",          "Hyndman 2021, FPP3 ch. 5.2", "repeats the last observation"),
    "seasonal_naive": Row("baseline", "SeasonalNaive",  "Hyndman 2021, FPP3 ch. 5.2", "repeats the last season"),
    "drift":          Row("baseline", "Drift",          "Hyndman 2021, FPP3 ch. 5.2", "adds the mean change per step"),
    "mean":           Row("baseline", "Mean",           "Hyndman 2021, FPP3 ch. 5.2", "repeats the mean of the past"),
})
