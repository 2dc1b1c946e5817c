import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.instance_norm import normalise
from tsforge.models.encoder_forecaster import EncoderForecaster

SIZES = {"h": 3, "input_size": 10, "in_channels": 2}


def batch_of(size=4, dtype=torch.float64):
    past = 5 + torch.randn(size, 10, 2, dtype=dtype)
    return Batch(past=past, past_mask=torch.rand(past.shape) < 0.8, series=torch.zeros(size, dtype=torch.long))


class Squares(nn.Module):
    """Tokens of the square, the value and the mask of each step."""

    def __init__(self, in_channels, d_model):
        super().__init__()
        self.map = nn.Linear(3 * in_channels, d_model)

    def forward(self, x, mask=None):
        assert mask is not None
        return self.map(torch.cat([x.square(), x, mask.to(x.dtype)], -1))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("instance_norm", [True, False])
def test_it_is_an_encoder_a_map_over_time_and_a_head(instance_norm, outputs):
    torch.manual_seed(0)
    model = EncoderForecaster(**SIZES, outputs=outputs, d_model=6, instance_norm=instance_norm)
    model.plug(Squares)
    model, batch = model.double().eval(), batch_of()
    x, mean, deviation = normalise(batch.past, batch.past_mask)
    tokens = model.encoder(x if instance_norm else batch.past, batch.past_mask)
    expected = torch.zeros(4, 3, 2, outputs, dtype=torch.float64)
    for k in range(3):
        ahead = sum(model.horizon.weight[k, t] * tokens[:, t] for t in range(10)) + model.horizon.bias[k]
        expected[:, k] = (ahead @ model.head.weight.T + model.head.bias).view(4, 2, outputs)
    if instance_norm:
        expected = expected * deviation[..., None] + mean[..., None]
    assert_close(model(batch), expected, atol=1e-10, rtol=1e-10)


def test_the_number_of_parameters_is_that_of_the_docstring():
    model = EncoderForecaster(**SIZES, outputs=3, d_model=6)
    own = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.encoder.parameters())
    assert own == (10 + 1) * 3 + (6 + 1) * 2 * 3


def test_an_encoder_is_built_for_the_channels_and_the_width_of_the_model_and_nothing_else_stays_in_its_place():
    model, asked = EncoderForecaster(**SIZES, d_model=6), []

    def make(in_channels, d_model):
        asked.append((in_channels, d_model))
        return Squares(in_channels, d_model)

    model.plug(make)
    assert asked == [(2, 6)]
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"encoder", "horizon", "head"}
    assert not any(name.startswith("encoder.weight") for name in model.state_dict())


@pytest.mark.parametrize(
    ("arguments", "words"), [({"d_model": 0}, "d_model=0 leaves"), ({"dropout": 1.0}, "dropout=1.0 is not a share")]
)
def test_what_cannot_be_is_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        EncoderForecaster(**SIZES, **arguments)
