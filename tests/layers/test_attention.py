import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers import attention
from tsforge.layers.attention import Attention, TokenBatchNorm, TransformerEncoder


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def tokens(batch=3, count=5, width=7):
    return torch.randn(batch, count, width, dtype=torch.float64)


def encoder(norm="layer", **sizes):
    """An encoder in eval mode whose norms have statistics and weights that show."""
    arguments = {"d_model": 7, "n_heads": 2, "d_ff": 6, "n_layers": 2, "norm": norm, "dropout": 0.5, **sizes}
    model = TransformerEncoder(**arguments).double().eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.LayerNorm | TokenBatchNorm):
                part.weight.uniform_(0.5, 2)
                part.bias.normal_()
            if isinstance(part, TokenBatchNorm):
                part.mean.normal_()
                part.variance.uniform_(0.5, 2)
    return model


def attended(layer, x):
    """Vaswani et al. (2017), one sequence, head, query and key at a time."""
    batch, count, width = x.shape
    each = width // layer.n_heads
    inner = layer.n_heads * each
    y = torch.zeros(batch, count, inner, dtype=x.dtype)
    for b in range(batch):
        for head in range(layer.n_heads):
            rows = [range(kind * inner + head * each, kind * inner + (head + 1) * each) for kind in range(3)]
            q, k, v = (x[b] @ layer.project.weight[list(r)].T + layer.project.bias[list(r)] for r in rows)
            for i in range(count):
                scores = torch.stack([q[i] @ k[j] / math.sqrt(each) for j in range(count)])
                share = scores.exp() / scores.exp().sum()
                y[b, i, head * each : (head + 1) * each] = sum(share[j] * v[j] for j in range(count))
    return y @ layer.out.weight.T + layer.out.bias


def normed(norm, x):
    if isinstance(norm, TokenBatchNorm):
        return (x - norm.mean) / (norm.variance + 1e-5).sqrt() * norm.weight + norm.bias
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def encoded(model, x):
    for layer in model:
        x = normed(layer.norms[0], x + attended(layer.attention, x))
        hidden = x @ layer.widen.weight.T + layer.widen.bias
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        x = normed(layer.norms[1], x + hidden @ layer.narrow.weight.T + layer.narrow.bias)
    return x


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("n_heads", [1, 2, 7])
def test_it_equals_its_equations(norm, n_heads):
    model, x = encoder(norm, n_heads=n_heads), tokens()
    assert_close(model(x), encoded(model, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("part", ["project", "out"])
def test_the_equations_see_one_changed_weight(part):
    model, x = encoder(), tokens()
    expected = encoded(model, x)
    with torch.no_grad():
        getattr(model[1].attention, part).weight[1, 2] += 1e-3
    assert (model(x) - expected).abs().max() > 1e-7


def test_gradients_are_those_of_the_equations():
    model, x = encoder(), tokens()
    pull, weights = torch.randn(3, 5, 7, dtype=torch.float64), list(model.parameters())
    ours, theirs = (torch.autograd.grad((y * pull).sum(), weights) for y in (model(x), encoded(model, x)))
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_without_positions_tokens_can_be_reordered():
    model, x, order = encoder(), tokens(), torch.tensor([3, 0, 4, 2, 1])
    assert_close(model(x[:, order]), model(x)[:, order])
    assert (model(x[:, order]) - model(x)).abs().max() > 1e-3  # control: the order shows


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_in_eval_mode_a_sequence_is_encoded_alike_alone_and_in_company(norm):
    model, x = encoder(norm), tokens()
    assert_close(model(x)[:1], model(x[:1]))


def test_in_training_batch_norm_ties_sequences_together_and_layer_norm_does_not():
    x = tokens()
    tied, free = (encoder(norm, dropout=0.0).train() for norm in ("batch", "layer"))
    assert_close(free(x)[:1], free(x[:1]))
    assert (tied(x)[:1] - tied(x[:1])).abs().max() > 1e-3


def test_batch_norm_puts_each_feature_of_all_tokens_at_mean_0_and_deviation_1():
    norm, x = TokenBatchNorm(7).double(), tokens() * 5 + 3
    y = norm(x).flatten(0, 1)
    assert_close(y.mean(0), torch.zeros(7, dtype=torch.float64))
    assert_close(y.std(0, correction=0), torch.ones(7, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    theirs = nn.BatchNorm1d(7).double()
    assert_close(y, theirs(x.flatten(0, 1)))
    assert_close(norm.eval()(x), theirs.eval()(x.flatten(0, 1)).view_as(x))
    assert (norm(x).flatten(0, 1) - y).abs().max() > 1  # control: one step moves what is kept by a tenth


def test_more_sequences_than_one_call_may_have_are_attended_alike(monkeypatch):
    layer, x = Attention(6, 2).double(), tokens(7, 4, 6)
    expected, calls, plain = layer(x), [], F.scaled_dot_product_attention
    monkeypatch.setattr(attention, "MOST", 3)
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, *a, **k: calls.append(len(q)) or plain(q, *a, **k))
    assert_close(layer(x), expected)
    assert calls == [3, 3, 1]


def test_the_same_input_gives_the_same_bits_forward_and_backward():
    layer, x, runs = Attention(16, 4), torch.randn(50, 12, 16), []
    for _ in range(2):
        y = layer(x)
        runs.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_each_dropout_acts_in_training_only():
    for shares in ({"dropout": 0.5}, {"dropout": 0.0, "attention_dropout": 0.5}):
        model, x = encoder(**shares), tokens()
        assert_close(model(x), encoded(model, x))
        assert (model.train()(x) - encoded(model, x)).abs().max() > 1e-3


@pytest.mark.parametrize("n_heads", [2, 3])
def test_it_has_the_parameters_it_says(n_heads):
    inner = n_heads * (7 // n_heads)
    each = 3 * inner * (7 + 1) + (inner + 1) * 7 + (2 * 7 * 6 + 6 + 7) + 4 * 7
    assert sum(p.numel() for p in encoder(n_heads=n_heads).parameters()) == 2 * each


@pytest.mark.parametrize("argument", [
    {"d_model": 0}, {"n_heads": 0}, {"n_heads": 8}, {"d_ff": -1}, {"n_layers": 0}, {"dropout": 1.0},
    {"attention_dropout": -0.1}, {"norm": "group"},
], ids=str)
def test_a_value_that_cannot_work_is_named_with_what_to_give(argument):
    (name, value), = argument.items()
    with pytest.raises(ArgumentError, match=rf"{name}={value!r} .*give "):
        encoder(**argument)
