"""Local models: one per-series forecaster, one file, one row."""

from tsforge.catalog import Catalog, Row

LOCAL = Catalog("local model", __name__, {
    # file           family            class            source, what it does
    "naive":         Row("baseline",   "Naive",         "Hyndman 2021, FPP3 ch. 5.2", "repeats the last observation"),
    "seasonal_naive": Row("baseline",   "SeasonalNaive", "Hyndman 2021, FPP3 ch. 5.2", "repeats the last season"),
    "drift":         Row("baseline",   "Drift",         "Hyndman 2021, FPP3 ch. 5.2", "adds the mean change per step"),
    "mean":          Row("baseline",   "Mean",          "Hyndman 2021, FPP3 ch. 5.2", "repeats the mean of the past"),
    "arima":         Row("statistics", "ARIMA",         "Hyndman & Khandakar 2008", "differences and lags, by AICc"),
    "ets":           Row("statistics", "ETS",           "Hyndman 2002, IJF 18", "exponential smoothing, by AICc"),
    "theta":         Row("statistics", "Theta",         "Assimakopoulos 2000", "a smoothed level, half the trend"),
    "stl_ets":       Row("statistics", "STLETS",        "Cleveland 1990, JOS 6", "season by loess, ETS of the rest"),
    "croston":       Row("statistics", "Croston",       "Croston 1972, ORQ 23", "demands and intervals, apart"),
    "ridge":         Row("regression", "Ridge",         "Hoerl & Kennard 1970", "a linear regression on lags"),
    "random_forest": Row("regression", "RandomForest",  "Breiman 2001", "a forest of trees on lags"),
    "boosting":      Row("regression", "Boosting",      "Friedman 2001", "small trees on lags, one by one"),
    "svr":           Row("regression", "SVR",           "Smola & Schölkopf 2004", "a support vector machine on lags"),
    "grnn":          Row("regression", "GRNN",          "Specht 1991", "a kernel-weighted mean on lags"),
    "gmdh":          Row("regression", "GMDH",          "Ivakhnenko 1971", "a network of polynomials on lags"),
    "analogs":       Row("dynamics",   "Analogs",       "Sugihara 1994; Lorenz 1969", "what followed similar moments"),
    "kernel_ar":     Row("dynamics",   "KernelAR",      "Rasmussen & Williams 2006", "kernel ridge on delay vectors"),
    "delay_ensemble": Row("dynamics",  "DelayEnsemble", "see KernelAR and NVAR", "the median of many of both"),
    "nvar":          Row("dynamics",   "NVAR",          "Gauthier 2021, 2106.07688", "products of delayed values"),
})
