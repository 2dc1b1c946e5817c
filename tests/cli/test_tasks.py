import json

import numpy as np
import polars as pl
import pytest

import tsforge

FIT = ("--set", "max_steps=3", "--set", "batch_size=8", "--set", "accelerator=cpu", "--set", "d_model=4", "-q")


@pytest.fixture
def tables(tmp_path):
    t, rng = np.arange(60), np.random.default_rng(0)
    rows = pl.concat([pl.DataFrame({"shop": [f"s{k}"] * 60, "step": t, "sold": np.sin(t * (0.3 + k % 2)) + k,
                                    "kind": ["ab"[k % 2]] * 60}) for k in range(8)])
    rows.drop("kind").write_csv(tmp_path / "whole.csv")
    holes = rows.drop("kind").with_columns(sold=pl.when(pl.Series(rng.random(480) < 0.1)).then(None).otherwise("sold"))
    holes.write_csv(tmp_path / "holes.csv")
    rows.write_csv(tmp_path / "labelled.csv")
    rows.select(unique_id="shop", kind="kind").unique(maintain_order=True).write_csv(tmp_path / "kinds.csv")
    return tmp_path


ROLES = ("--target", "sold", "--id-col", "shop", "--time-col", "step")


def test_a_table_is_imputed_as_in_python(tables, tsforge_says):
    code, _, err = tsforge_says("fit", "whole.csv", "--model", "timesnet", "--task", "imputation", "--input-size", "12",
                                "--out", "run", "--set", "task.hidden=0.5", *ROLES, *FIT)
    assert code == 0, err
    code, out, err = tsforge_says("impute", "run", "--data", "holes.csv")
    assert (code, out.splitlines()[0]) == (0, "shop,step,sold"), err
    model = tsforge.open(tables / "run")
    assert model.task == {"name": "imputation", "hidden": 0.5}
    wanted = model.impute(pl.read_csv(tables / "holes.csv"))
    assert len(out.splitlines()) == len(wanted) + 1
    assert not wanted["sold"].has_nulls()
    assert tsforge_says("impute", "run", "--data", "holes.csv", "--out", "full.parquet", "-q")[0] == 0
    assert pl.read_parquet(tables / "full.parquet").equals(wanted)
    for words, said in (("predict run", "makes no forecast"), ("anomalies run --data whole.csv", "--task anomaly"),
                        ("impute run --data holes.csv --out full.parquet", "exists already"),
                        ("compare run run", "makes no forecasts to compare")):
        code, _, err = tsforge_says(*words.split())
        assert (code, said in err) == (2, True), err
    assert tsforge_says("report", "run", "-q")[0] == 0
    assert "imputation; it makes no forecasts" in (tables / "run" / "report.html").read_text()


def test_anomalies_are_flagged_and_a_test_part_is_judged(tables, tsforge_says):
    words = ("fit", "whole.csv", "--model", "timesnet", "--task", "anomaly", "--input-size", "12", *ROLES, *FIT)
    code, out, err = tsforge_says(*words, "--out", "run", "--set", "split.test=20")
    assert (code, "mse" in out) == (0, True), err
    assert json.loads((tables / "run" / "run.json").read_text())["test"][0]["metric"] == "mse"
    code, out, err = tsforge_says("anomalies", "run", "--data", "whole.csv", "--quantile", "0.5")
    assert (code, out.splitlines()[0]) == (0, "shop,step,score,anomaly"), err
    assert "steps are anomalous" in err
    code, few, _ = tsforge_says("anomalies", "run", "--data", "whole.csv", "--quantile", "0.5", "--only")
    assert 1 < len(few.splitlines()) < len(out.splitlines())
    code, _, err = tsforge_says("anomalies", "run", "--data", "whole.csv", "--quantile", "95")
    assert (code, "a level above 0 and below 1" in err) == (2, True)


@pytest.mark.parametrize(("data", "labels"), [("labelled.csv", "kind"), ("whole.csv", "kinds.csv")])
def test_series_are_classified_with_labels_of_a_column_or_a_file(tables, tsforge_says, data, labels):
    code, _, err = tsforge_says("fit", data, "--model", "timesnet", "--task", "classification", "--labels", labels,
                                "--out", "run", *ROLES, *FIT)
    assert code == 0, err
    code, out, err = tsforge_says("predict", "run", "--data", "whole.csv")
    assert (code, out.splitlines()[0]) == (0, "shop,TimesNet,TimesNet-p-a,TimesNet-p-b"), err
    assert len(out.splitlines()) == 9
    code, _, err = tsforge_says("predict", "run")
    assert (code, "give --data" in err) == (2, True)


def test_a_table_of_statics_is_read_from_its_file(tables, tsforge_says):
    pl.DataFrame({"unique_id": [f"s{k}" for k in range(8)], "size": range(8)}).write_csv(tables / "shops.csv")
    code, _, err = tsforge_says("fit", "whole.csv", "--model", "mambamixer", "--h", "3", "--input-size", "12",
                                "--out", "run", "--static", "shops.csv", *ROLES, "--set", "max_steps=3", "-q")
    assert code == 0, err
    assert tsforge.open(tables / "run").schema_.static == ("size",)


@pytest.mark.parametrize(("words", "said"), [
    (("--task", "imputation", "--h", "3"), "model.h"),
    (("--task", "classification", "--labels", "kind", "--set", "split.test=5"), "no rows of it are a test part"),
    (("--task", "anomaly", "--set", "validation.windows=2"), "validation"),
    (("--task", "segmentation"), "There is no task 'segmentation'"),
    ((), "number of steps to forecast"),
])
def test_what_a_task_cannot_have_is_refused(tables, tsforge_says, words, said):
    code, _, err = tsforge_says("fit", "labelled.csv", "--model", "timesnet", *ROLES, *words, *FIT)
    assert (code, said in err) == (2, True), err
    assert not (tables / "runs").exists()
