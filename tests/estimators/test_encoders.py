import json
import logging
from inspect import signature

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn

import tsforge
from tsforge.encoders.sequence.base import SequenceEncoder
from tsforge.encoders.tabular.base import TabularEncoder
from tsforge.errors import (
    ArgumentError,
    ArtifactError,
    CapabilityError,
    FrameError,
    TsforgeError,
    UnknownArgumentError,
    UnknownNameError,
)
from tsforge.estimators.estimator import estimator, from_recipe
from tsforge.estimators.parameters import ELSEWHERE
from tsforge.models import MODELS
from tsforge.training.recipe import read_recipe

SMALL = {"h": 3, "input_size": 8, "max_steps": 3, "batch_size": 16, "accelerator": "cpu"}
TINY = {"name": "phnn", "n": 2, "n_layers": 1, "d_model": 4}
IDS = {"name": "unified_embedding", "n_buckets": 32, "d_model": 4}


class Smooth(SequenceEncoder):
    """A mean of the last steps, and a linear map."""

    def __init__(self, in_channels: int, d_model: int = 8, *, width: int = 3) -> None:
        super().__init__(in_channels, d_model)
        self.width, self.map = width, nn.Linear(in_channels, d_model)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x if mask is None else torch.where(mask, x, 0.0)
        means = [x[:, max(t - self.width + 1, 0) : t + 1].mean(1) for t in range(x.shape[1])]
        return self.map(torch.stack(means, 1))


class Centred(Smooth):
    """Takes off the mean of all training windows, and asks for small weights."""

    penalty = 0.0

    def __init__(self, in_channels: int, d_model: int = 8, *, width: int = 3) -> None:
        super().__init__(in_channels, d_model, width=width)
        self.centre: Tensor
        self.register_buffer("centre", torch.full((in_channels,), float("nan")))

    def fit(self, *inputs: Tensor | None) -> None:
        x, mask = inputs
        self.seen = x
        self.centre.copy_(torch.where(mask, x, torch.nan).nanmean((0, 1)))

    def aux_loss(self) -> dict[str, Tensor]:
        return {"weights": self.penalty * self.map.weight.square().sum()}

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x - self.centre, mask)


class Codes(TabularEncoder):
    """Reads numbers, too, and no more."""

    def __init__(self, n_ids: int, n_numbers: int = 0, d_model: int = 4) -> None:
        super().__init__(n_ids, n_numbers, d_model)
        self.map = nn.Linear(n_ids + n_numbers, d_model)

    def forward(self, ids: Tensor | None = None, numbers: Tensor | None = None) -> Tensor:
        parts = [(ids % 97).float() / 97] + ([] if numbers is None else [numbers])
        return self.map(torch.cat(parts, 1))


def table(ids=("a", "b", "c"), length=60):
    t = np.arange(length)
    y = np.sin(2 * np.pi * t / 6)
    parts = [pl.DataFrame({"unique_id": [name] * length, "ds": t, "y": y + 0.01 * t}) for name in ids]
    return pl.concat(parts)


def frame(data=None, **roles):
    return tsforge.Frame(table() if data is None else data, freq="1i", season=6, **roles)


def values(forecasts):
    return forecasts.select(pl.selectors.float()).to_numpy()


# ---------------------------------------------------------------- arguments

def test_arguments_of_the_encoder_stand_beside_those_of_the_model():
    model = tsforge.TimesNet(**SMALL, encoder={"name": "phnn", "n": 2}, context="unified_embedding")
    deep, flat = model.get_params(), model.get_params(deep=False)
    assert {name: deep[name] for name in ("encoder__name", "encoder__n", "encoder__n_layers")} == {
        "encoder__name": "phnn", "encoder__n": 2, "encoder__n_layers": 3}
    assert (deep["context__name"], deep["context__n_buckets"], deep["context__d_model"]) == (
        "unified_embedding", 4096, 64)
    assert "encoder__d_model" not in deep  # the model states it
    assert not {"encoder__in_channels", "context__n_ids"} & deep.keys()  # the data give them
    assert set(flat) == set(signature(tsforge.TimesNet).parameters)
    assert tsforge.EncoderForecaster(h=1).get_params()["encoder__n"] == 4


def test_where_there_is_no_one_encoder_nothing_stands_beside():
    for context in (None, ["phnn", "unified_embedding"], "phnnn"):
        model = tsforge.TimesNet(**SMALL, context=context)
        assert model.get_params().keys() == model.get_params(deep=False).keys()


def test_set_params_reaches_inside():
    model = tsforge.TimesNet(**SMALL, encoder="phnn")
    assert model.set_params(encoder__n=2).encoder == {"name": "phnn", "n": 2}
    assert model.set_params(encoder__n_layers=1, d_model=8).encoder == {"name": "phnn", "n": 2, "n_layers": 1}
    assert model.d_model == 8
    assert model.set_params(encoder__name="phnn").encoder == "phnn"
    assert model.set_params(encoder=(Smooth, {}), encoder__width=5).encoder == (Smooth, {"width": 5})
    assert model.set_params(context="unified_embedding", context__seed=1).context == {
        "name": "unified_embedding", "seed": 1}
    assert model.set_params(encoder=None).encoder is None


def test_another_encoder_forgets_what_was_learned():
    model = tsforge.EncoderForecaster(**SMALL, encoder="phnn").fit(frame())
    assert hasattr(model.set_params(alias="x", encoder="phnn"), "fitted_")
    assert not hasattr(model.set_params(encoder__n=2), "fitted_")


def test_it_can_be_cloned_and_its_text_names_the_encoder():
    model = tsforge.TimesNet(**SMALL, encoder={"name": "phnn", "n": 2}, context=[TINY, (Smooth, {"width": 2})])
    assert clone(model).get_params() == model.get_params()
    assert "encoder={'n': 2, 'name': 'phnn'}" in repr(model)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"encoder": "phn"}, UnknownNameError, "no encoder named 'phn'. Did you mean 'phnn'?"),
        ({"encoder": {"name": "phnn", "n_layer": 2}}, UnknownArgumentError,
         "encoder: PHCEncoder has no argument 'n_layer'. Did you mean 'n_layers'?"),
        ({"context": ["phnn", {"name": "unified_embeding"}]}, UnknownNameError, "Did you mean 'unified_embedding'"),
        ({"context": {"name": "unified_embedding", "buckets": 3}}, UnknownArgumentError, "Did you mean 'n_buckets'"),
        ({"encoder": {"name": "phnn", "in_channels": 2}}, UnknownArgumentError, "no argument 'in_channels'"),
        ({"encoder": {"n": 2}}, ArgumentError, r"encoder=\{'n': 2\}: wanted a name as \"phnn\""),
        ({"encoder": 3}, ArgumentError, "encoder=3: wanted a name"),
        ({"encoder": nn.Identity()}, ArgumentError, "wanted a name"),
        ({"encoder": Smooth}, ArgumentError, r"wanted .*\(MyEncoder, \{\"width\": 3\}\)"),
        ({"encoder": (nn.Linear, {})}, ArgumentError, "Linear is no encoder: derive it from the contract of a family"),
        ({"encoder": {"class": "Smooth"}}, ArgumentError, r"'Smooth' is a class of your own.*classes=\[Smooth\]"),
        ({"context": 3}, ArgumentError, "context=3: wanted a name .* or a list of such"),
        ({"encoder": {"name": "phnn", "d_model": 8}}, ArgumentError,
         r"d_model is that of the model: write TimesNet\(d_model=8\)"),
        ({"encoder": "unified_embedding"}, CapabilityError,
         "TimesNet takes an encoder of windows that gives a token for each step; UnifiedEmbeddingEncoder reads what .* "
         "Every neural model takes it as context="),
        ({"encoder": {"name": "phnn", "n": 3}}, TsforgeError, "d_model=16 is not a multiple of n=3"),
    ],
)
def test_a_fault_shows_at_the_fit_and_is_told(change, error, words):
    with pytest.raises(error, match=words):
        tsforge.TimesNet(**SMALL, **change).fit(frame())


def test_faults_inside_show_when_they_are_set():
    model = tsforge.TimesNet(**SMALL, encoder="phnn", context=["phnn", "phnn"])
    with pytest.raises(UnknownArgumentError, match="no argument 'm'"):
        model.set_params(encoder__m=2)
    with pytest.raises(UnknownNameError, match="no encoder named 'phn'"):
        model.set_params(encoder__name="phn", encoder__n=2)
    with pytest.raises(ArgumentError, match=r"context__n: context is .* so there is no one encoder to change"):
        model.set_params(context__n=2)
    with pytest.raises(UnknownArgumentError, match="no argument 'decoder__n'"):
        model.set_params(decoder__n=2)


def test_a_model_that_takes_no_encoder_points_to_context_and_names_those_that_take_one():
    takers = [MODELS[name].__name__ for name in MODELS if MODELS[name].encoder_takes]
    assert {name for name in takers if name in ELSEWHERE["encoder"]} == set(takers)
    with pytest.raises(UnknownArgumentError, match=r"DLinear has no argument 'encoder'.*TimesNet.*as context="):
        tsforge.DLinear(**SMALL, encoder="phnn")
    with pytest.raises(UnknownArgumentError, match="It is an argument of neural models"):
        tsforge.SeasonalNaive(h=3, context="phnn")


def test_a_forecaster_that_is_its_encoder_needs_one():
    with pytest.raises(ArgumentError, match=r"EncoderForecaster\(encoder=None\).*encoder='phnn'"):
        tsforge.EncoderForecaster(**SMALL, encoder=None).fit(frame())


@pytest.mark.parametrize("name", ["S4D", "Chimera"])
def test_a_model_that_streams_takes_none(name):
    streaming = {"decode": "closed_loop"} if name == "Chimera" else {}
    with pytest.raises(CapabilityError, match="streaming=True"):
        getattr(tsforge, name)(**SMALL, streaming=True, **streaming, context=TINY).fit(frame())


# ---------------------------------------------------------------- what is read

def forecasts_of(model, ids):
    return [values(part) for _, part in model.predict(table(ids)).group_by("unique_id", maintain_order=True)]


def test_series_of_equal_values_are_told_apart_by_their_names_also_those_never_seen():
    unscaled = SMALL | {"max_steps": 30, "scaler": None}  # a series never seen is scaled by other rows
    with_ids, bare = (tsforge.DLinear(**unscaled, context=context).fit(frame()) for context in (IDS, None))
    ids = ["a", "b", "other", "unseen"]
    told = forecasts_of(with_ids, ids)
    assert all(not np.allclose(told[0], other, rtol=1e-4) for other in told[1:])
    assert not np.allclose(told[2], told[3], rtol=1e-4)
    np.testing.assert_allclose(forecasts_of(with_ids, ["other"])[0], told[2], rtol=1e-5)  # alone as in company
    plain = forecasts_of(bare, ids)
    assert all(np.allclose(plain[0], other, rtol=1e-5) for other in plain[1:])  # the control


def with_static(data, sizes, kinds):
    codes = pl.col("unique_id").rank("dense").cast(pl.Int64) - 1
    return data.with_columns(size=pl.lit(pl.Series(sizes)).gather(codes), kind=pl.lit(pl.Series(kinds)).gather(codes))


def test_static_columns_are_taken_where_an_encoder_reads_them():
    data = with_static(table(), [1.0, 2.0, 3.0], ["x", "y", "x"])
    with pytest.raises(CapabilityError, match="DLinear takes no static covariates"):
        tsforge.DLinear(**SMALL, context=TINY).fit(frame(data, static=["size", "kind"]))
    model = tsforge.DLinear(**SMALL | {"max_steps": 20}, context=IDS).fit(frame(data, static=["size", "kind"]))
    assert model.fitted_.predictor.context[0].n_ids == 2
    before = values(model.predict(data))
    for changed in (with_static(table(), [9.0, 2.0, 3.0], ["x", "y", "x"]),
                    with_static(table(), [1.0, 2.0, 3.0], ["new", "y", "x"]),
                    with_static(table(), [1.0, 2.0, 3.0], [None, "y", "x"])):
        after = values(model.predict(changed))
        assert not np.array_equal(after[:3], before[:3])
        np.testing.assert_array_equal(after[3:], before[3:])
    with pytest.raises(FrameError, match="no column 'size'"):
        model.predict(table())


def test_a_model_that_reads_static_columns_itself_goes_on_to_do_so():
    data = with_static(table(), [1.0, 2.0, 3.0], ["x", "y", "x"])
    model = tsforge.MambaMixer(**SMALL, context=IDS).fit(frame(data, static=["size", "kind"]))
    assert model.fitted_.predictor.model.numbers is not None
    assert tsforge.DLinear(**SMALL, context=IDS).fit(
        frame(data, static=["size"])).fitted_.predictor.model.static_numeric == 0


def test_the_bare_model_is_what_training_starts_from():
    steps = {"max_steps": 1, "learning_rate": 1e-30}  # too small to move a weight
    one, other = (tsforge.DLinear(**SMALL | steps, context=context).fit(frame()) for context in (None, [TINY, IDS]))
    np.testing.assert_allclose(values(other.predict()), values(one.predict()), rtol=1e-6)


# ---------------------------------------------------------------- encoders of one's own

@pytest.mark.parametrize("way", ["encoder", "context"])
def test_a_class_of_ones_own_works_and_is_opened_with_the_class_at_hand(way, tmp_path):
    spec = (Smooth, {"width": 2})
    model = tsforge.TimesNet(**SMALL, **{way: spec if way == "encoder" else [spec, TINY]}).fit(frame())
    model.save(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["arguments"][way] in (
        {"class": "Smooth", "width": 2}, [{"class": "Smooth", "width": 2}, TINY])
    with pytest.raises(ArtifactError, match=r"'Smooth' is a class of your own.*open\(path, classes=\[Smooth\]\)"):
        tsforge.open(tmp_path / "run")
    with pytest.raises(ArtifactError, match="Smooth"):
        tsforge.open(tmp_path / "run", classes=[Centred])
    opened = tsforge.open(tmp_path / "run", classes=[Centred, Smooth])
    assert opened.get_params() == model.get_params()
    assert opened.predict().equals(model.predict())
    assert clone(opened).fit(frame()).predict().equals(model.predict())
    with pytest.raises(ArgumentError, match="Smooth"):
        from_recipe(model.to_recipe()).fit(frame())


def test_a_class_with_another_shape_is_not_taken_for_the_one_that_was_saved(tmp_path):
    class Other(Smooth):
        def __init__(self, in_channels: int, d_model: int = 8, *, width: int = 3) -> None:
            super().__init__(in_channels, d_model, width=width)
            self.map = nn.Linear(in_channels, d_model, bias=False)

    tsforge.DLinear(**SMALL, context=(Smooth, {})).fit(frame()).save(tmp_path / "run")
    Other.__name__ = "Smooth"
    with pytest.raises(ArtifactError, match="do not have the shapes"):
        tsforge.open(tmp_path / "run", classes=[Other])


def test_an_encoder_is_fitted_once_on_windows_of_the_training_part_and_keeps_what_it_found(tmp_path):
    data = table(("a",), 100).with_columns(y=pl.col("ds").cast(pl.Float64))
    fit = {**SMALL, "scaler": None, "val_size": 30}
    model = tsforge.DLinear(**fit, context=(Centred, {})).fit(frame(data))
    encoder = model.fitted_.predictor.context[0]
    assert encoder.seen.shape == (100 - 30 - 8 - 3 + 1, 8, 1)
    assert encoder.seen.max() == 100 - 30 - 3 - 1  # a last look-back ends h steps before the part that is held back
    assert encoder.centre.item() == pytest.approx(encoder.seen.mean().item())
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run", classes=[Centred])
    assert opened.fitted_.predictor.context[0].centre.item() == encoder.centre.item()
    assert opened.predict().equals(model.predict())
    inside = tsforge.TimesNet(**fit, encoder=(Centred, {})).fit(frame(data)).fitted_.predictor.embedding.value
    assert inside.seen.mean().item() == pytest.approx(0, abs=1e-4)  # there it sees what the model gives it
    assert inside.centre.isfinite().all()


def test_what_an_encoder_adds_to_the_loss_is_trained(monkeypatch):
    norms = []
    for penalty in (0.0, 10.0):
        monkeypatch.setattr(Centred, "penalty", penalty)
        model = tsforge.TimesNet(**SMALL | {"max_steps": 15, "learning_rate": 0.05}, encoder=(Centred, {})).fit(frame())
        norms.append(model.fitted_.predictor.embedding.value.map.weight.norm().item())
    assert norms[1] < 0.5 * norms[0]


def test_a_checkpoint_of_another_encoder_is_refused(tmp_path):
    def fit(**change):
        return tsforge.TimesNet(**SMALL, **change).fit(frame(), checkpoint=tmp_path / "state")

    fit(encoder="phnn")
    assert fit(encoder={"name": "phnn"}).history_  # another way to write it
    for other in ({}, {"encoder": {"name": "phnn", "n": 2}}, {"encoder": "phnn", "context": IDS}):
        with pytest.raises(ArtifactError, match="the checkpoint of another training"):
            fit(**other)


def test_channels_may_be_encoded_one_by_one_for_a_model_of_channels():
    data = table().with_columns(z=pl.col("y") * 2)
    model = tsforge.iTransformer(**SMALL, d_model=8, n_heads=2, encoder=(Smooth, {})).fit(
        frame(data, targets=["y", "z"]))
    assert model.fitted_.predictor.embedding.encoder.in_channels == 1
    assert np.isfinite(values(model.predict())).all()


# ---------------------------------------------------------------- recipes and the command line

def test_a_recipe_states_encoders_beside_the_model():
    recipe = read_recipe({"frame": {"name": "co2"}, "model": {"name": "timesnet", "h": 3},
                          "encoder": {"name": "phnn", "n": 2}, "context": [TINY, "unified_embedding"]})
    model = from_recipe(recipe.plain())
    assert (model.encoder, model.context) == ({"name": "phnn", "n": 2}, [TINY, "unified_embedding"])
    again = from_recipe(read_recipe(model.to_recipe()).plain())
    assert again.get_params() == model.get_params()
    assert "encoder" not in tsforge.TimesNet(h=3).to_recipe()
    assert tsforge.EncoderForecaster(h=3).to_recipe()["encoder"] == "phnn"
    with pytest.raises(UnknownArgumentError, match="as context="):
        from_recipe({"model": {"name": "dlinear", "h": 3}, "encoder": "phnn"})


def test_arguments_alone_are_of_the_encoder_that_the_model_has_anyway():
    assert from_recipe({"model": {"name": "encoder_forecaster", "h": 3}, "encoder": {"n": 2}}).encoder == {
        "name": "phnn", "n": 2}


@pytest.mark.parametrize(
    ("given", "pairs", "expected"),
    [
        ({}, ["encoder=phnn"], {"encoder": "phnn"}),
        ({}, ["encoder=phnn", "encoder.n=2"], {"encoder": {"name": "phnn", "n": 2}}),
        ({"encoder": {"name": "phnn", "n": 4}}, ["encoder.n=2"], {"encoder": {"name": "phnn", "n": 2}}),
        ({"context": "unified_embedding"}, ["context.n_buckets=8"],
         {"context": {"name": "unified_embedding", "n_buckets": 8}}),
        ({}, ["context=[phnn, unified_embedding]"], {"context": ["phnn", "unified_embedding"]}),
    ],
)
def test_an_override_reaches_inside(given, pairs, expected):
    recipe = read_recipe({"model": {"name": "timesnet", "h": 3}, **given}, pairs).plain()
    assert {way: recipe[way] for way in expected} == expected


def test_an_override_of_one_of_several_is_refused():
    with pytest.raises(TsforgeError, match=r"context\.n: there is a list of 2 encoders"):
        read_recipe({"model": {"name": "timesnet", "h": 3}, "context": ["phnn", "phnn"]}, ["context.n=2"])


def test_an_installed_encoder_is_taken_by_name(installed):
    code = "from tsforge.encoders.sequence.phnn import PHCEncoder\nclass Ours(PHCEncoder): pass\n"
    installed("ours", {"ours_encoder.py": code}, "ours = ours_encoder:Ours", "tsforge.encoders")
    model = tsforge.EncoderForecaster(**SMALL, encoder={"name": "ours", "n": 2}).fit(frame())
    assert type(model.fitted_.predictor.encoder).__name__ == "Ours"


def test_what_is_left_out_of_a_dataset_is_kept_for_an_encoder_that_reads_it(caplog):
    from tsforge.data.adapter import Adapter

    class Stations(Adapter):
        def table(self):
            return with_static(table(), [1.0, 2.0, 3.0], ["x", "y", "x"])

        def roles(self):
            return {"targets": "y", "static": ["size"], "freq": "1i"}

    caplog.set_level(logging.INFO, "tsforge")
    model = tsforge.DLinear(**SMALL, context=IDS).fit(Stations().frame())
    assert model.fitted_.predictor.context[0].n_numbers == 1
    assert not any("takes no static covariates" in message for message in caplog.messages)


def test_every_estimator_of_a_network_has_a_context_and_those_whose_card_says_so_an_encoder():
    for name in MODELS:
        arguments = signature(estimator(name)).parameters
        assert "context" in arguments
        assert ("encoder" in arguments) == (MODELS[name].encoder_takes is not None)


def test_numbers_known_of_a_series_come_back_with_a_saved_run(tmp_path):
    rng = np.random.default_rng(0)
    places = pl.DataFrame({"unique_id": ["a", "b", "c"], "lat": [1.0, 2.5, 4.0], "lon": [0.0, 3.0, 1.0]})
    table = pl.concat(pl.DataFrame({"unique_id": name, "ds": np.arange(60), "y": rng.normal(size=60).cumsum()})
                      for name in places["unique_id"])
    model = tsforge.DLinear(h=4, input_size=8, max_steps=3, accelerator="cpu", context="kriging")
    model.fit(table, static=places)
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert opened.fitted_.preparation.static == model.fitted_.preparation.static
    assert opened.predict().equals(model.predict())
