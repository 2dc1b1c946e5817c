"""Traffic: how full the roads of the San Francisco Bay area are at 862 sensors, by the hour.

Source    California Department of Transportation (PeMS); the file by Wu et al. (2021), "Autoformer",
          arXiv:2106.13008, after Lai et al. (2018), arXiv:1703.07015.
Frame     unique_id "traffic"   ds 2016-07-01 02:00 to 2018-07-02 01:00, 17,544 hours
          0 to 860 and OT the sensors (as_series=True: unique_id the sensor, y)
Units     share of the time a sensor is covered by a car, 0 to 1. ds is nominal: the hours are those of 2015 and 2016.
"""

from tsforge.data.ltsf import Clients, split_by_share


class Traffic(Clients):
    """One series of 862 targets, or with `as_series=True` one series for each of the sensors."""

    key, name, relative = "traffic", "traffic", "traffic/traffic.csv"
    channels = (*map(str, range(861)), "OT")
    freq, season = "1h", 24
    published = split_by_share(17_544)
