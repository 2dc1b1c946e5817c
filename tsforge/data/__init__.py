"""Data: one dataset, one file, one row; and the way from a frame to batches and back."""

from tsforge.catalog import Catalog, Row

DATASETS = Catalog("dataset", __name__, {
    # file       family       class       source                     what it is
    "etth1":    Row("energy",  "ETTh1",    "Zhou 2021, 2012.07436",   "load and oil temperature, hourly"),
    "co2":      Row("climate", "CO2",      "Keeling, in statsmodels", "carbon dioxide at Mauna Loa, weekly"),
    "sunspots": Row("sun",     "Sunspots", "SIDC, in statsmodels",    "sunspots per year since 1700"),
    "chaos":    Row("chaos",   "Chaos",    "Gilpin 2021, 2110.05266", "any flow or map of dysts, generated"),
}, group="tsforge.datasets")
