"""Models: one neural forecaster, one file, one row."""

from tsforge.catalog import Catalog, Row

MODELS = Catalog("model", __name__, {
    # file       family          class       paper                    what it does
    "dlinear":  Row("linear",      "DLinear",  "Zeng 2023, 2205.13504", "trend and remainder, one linear map each"),
    "nlinear":  Row("linear",      "NLinear",  "Zeng 2023, 2205.13504", "one linear map around the last value"),
    "mlp":      Row("perceptron",  "MLP",      "Rumelhart 1986, Nature 323", "the look-back through hidden layers"),
    "patchtst": Row("attention",   "PatchTST", "Nie 2023, 2211.14730",  "patches of one channel attend to each other"),
    "itransformer": Row("attention", "iTransformer", "Liu 2024, 2310.06625", "channels are tokens, which attend"),
    "nbeats":   Row("perceptron",  "NBEATS", "Oreshkin 2020, 1905.10437", "sums of trend, season or learnt functions"),
    "nhits":    Row("perceptron",  "NHiTS",    "Challu 2023, 2201.12886", "pools the past, interpolates the forecast"),
    "lstm":     Row("recurrence",  "LSTM", "Hochreiter 1997, Neural Comput. 9", "gated recurrence over all channels"),
    "multifit": Row("recurrence", "MultiFIT", "Singh 2019, 1905.00125", "missing values and times, one network a rate"),
    "mfmgcn":   Row("recurrence",  "MFMGCN",   "Zhu 2023, 2302.10493", "stations that hear each other along graphs"),
    "echo_state": Row("recurrence", "EchoState", "Jaeger 2001, GMD 148", "random reservoir, ridge readout"),
    "cnn1d":    Row("convolution", "CNN1D",    "Bai 2018, 1803.01271", "dilated causal convolutions over all channels"),
    "s4d":      Row("state space", "S4D",      "Gu 2022, 2206.11893",    "diagonal state spaces over past and horizon"),
    "mambamixer": Row("state space", "MambaMixer", "Behrouz 2024, 2403.19888", "scans along time and variates"),
    "chimera":  Row("state space", "Chimera",  "Behrouz 2024, 2406.04320", "2-D state spaces over variates and time"),
    "lightnet": Row("attention",   "LightNet", "Qin 2024, 2405.21022",   "one additive scan over time and variates"),
    "encoder_forecaster": Row("encoder", "EncoderForecaster", "tsforge", "an encoder, a linear map over time, a head"),
    "analog_forecaster": Row("encoder", "AnalogForecaster", "Lorenz 1969", "what followed the most similar windows"),
    "dcgan":    Row("paths",       "DCGAN",    "Min 2023, 2304.13131",   "sample paths by neural SDEs in a chain"),
    "timesnet": Row("convolution", "TimesNet", "Wu 2023, 2210.02186",   "folds series by their periods, 2-D inception"),
})
