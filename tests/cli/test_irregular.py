"""Irregular rows on the command line."""

import json


def test_a_backtest_on_irregular_rows_leaves_seasonal_naive_out_and_says_so(shared_data, tsforge_says):
    shared_data("physionet2012/set-a")
    given = ("--h", "3", "--align", "end", "--input-size", "8", "--set", "max_steps=1", "--set", "hidden=4")
    code, out, err = tsforge_says("backtest", "physionet2012", "--model", "multifit", *given, "--json")
    assert code == 0, err
    assert [row["model"] for row in json.loads(out)["scores"]] == ["MultiFIT"]
    assert "SeasonalNaive takes no irregular rows and is left out" in err
    code, _, err = tsforge_says("backtest", "physionet2012", "--model", "multifit", "--model", "seasonal_naive", *given)
    assert code == 2
    assert "SeasonalNaive does not take irregular steps" in err
