import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.retrieval.activation_code import ActivationCodeEncoder, hamming, redundancy
from tsforge.errors import ArgumentError
from tsforge.layers.nearest import blocks, top_k

TIME = 24


def regimes(count, seed, kinds=3, first=1):
    """Windows of some kinds, of any phase, in noise; and their kinds."""
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(kinds, (count,), generator=random)
    phase = 6.28 * torch.rand(count, 1, generator=random)
    t = torch.arange(TIME) / TIME * 6.28
    x = torch.sin(t * (first + kind)[:, None] + phase) + 0.4 * torch.randn(count, TIME, generator=random)
    return x[..., None], kind


def fitted(d_model=64, seed=0, **arguments):
    encoder = ActivationCodeEncoder(1, TIME, d_model, seed=seed, **arguments)
    encoder.fit(regimes(1000, 0)[0], None)
    return encoder.requires_grad_(False)


def test_two_windows_with_one_code_lie_in_one_linear_region():
    encoder, (x, _) = fitted(hidden=16).double(), regimes(200, 1)
    x = x.double()
    near = x + 1e-4 * torch.randn_like(x)
    same = (encoder.code(x) == encoder.code(near)).all(1)
    assert same.double().mean() > 0.9
    one, other = x[same], near[same]
    middle = (one + other) / 2
    assert torch.equal(encoder.code(middle), encoder.code(one))
    assert_close(encoder.rebuilt(middle), (encoder.rebuilt(one) + encoder.rebuilt(other)) / 2, atol=1e-12, rtol=0)
    jacobian = torch.func.jacrev(lambda v: encoder.rebuilt(v[None])[0])
    assert_close(jacobian(one[0]), jacobian(other[0]), atol=1e-12, rtol=0)
    far = x.flip(0)  # the control: windows of other codes, between which the network bends
    mean = (encoder.rebuilt(x) + encoder.rebuilt(far)) / 2
    assert not torch.allclose(encoder.rebuilt((x + far) / 2), mean, atol=1e-3)


def test_windows_have_codes_of_their_own_the_more_the_wider_the_network():
    x, _ = regimes(1000, 0)
    shares = [redundancy(fitted(hidden=hidden).packed(x)) for hidden in (4, 16, 64, 128)]
    assert shares[-1] <= 0.02
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.3


def test_a_network_that_learns_to_rebuild_for_long_does_so_in_few_regions():
    x, _ = regimes(1000, 0)
    assert redundancy(fitted(steps=300).packed(x)) > 0.3 > 0.02 >= redundancy(fitted().packed(x))


def test_neighbours_by_code_are_of_one_kind_as_those_by_activations_are():
    encoder, (x, kinds), (held_out, truth) = fitted(hidden=64), regimes(1000, 0), regimes(300, 1)

    def accuracy(read, measure):
        index = top_k(read(held_out), lambda: blocks(read(x)), 15, measure)[1]
        return float((F.one_hot(kinds[index], 3).sum(1).argmax(1) == truth).double().mean())

    floats = accuracy(lambda part: encoder._units(part, None)[-1], "l2")
    assert accuracy(encoder.full, "inner") >= 0.9 * floats > 0.6
    assert accuracy(encoder, "inner") >= 0.9 * floats
    assert accuracy(lambda part: encoder(part)[:, :1], "l2") < 0.8 * floats  # the control: one bit is not enough


def test_packed_codes_differ_in_as_many_bits_and_bits_that_never_change_make_no_difference():
    encoder, (x, _) = fitted(d_model=500, hidden=37), regimes(60, 1)
    code, packed = encoder.code(x), encoder.packed(x)
    assert packed.shape == (60, 10)
    apart = (code[:, None] != code).sum(2)
    assert torch.equal(hamming(packed, packed), apart)
    assert_close(-encoder.likeness(encoder.full(x)[:, None].expand(-1, 60, -1), encoder.full(x).expand(60, -1, -1)),
                 apart.double())
    trained, _ = regimes(1000, 0)
    kept = encoder.kept[encoder.kept >= 0]
    assert torch.equal((encoder.code(trained)[:50, None, kept] != encoder.code(trained)[:50, kept]).sum(2),
                       hamming(encoder.packed(trained[:50]), encoder.packed(trained[:50])))


def test_inner_products_count_the_bits_that_differ():
    encoder, (x, _) = fitted(d_model=32), regimes(20, 1)
    bits = encoder.code(x)[:, encoder.kept]
    expected = 1 - 2 * (bits[:, None] != bits).double().sum(2) / 32
    assert_close((encoder(x) @ encoder(x).mT).double(), expected, atol=1e-6, rtol=0)


def test_windows_of_a_kind_never_seen_are_further_from_every_code():
    encoder, (x, _) = fitted(), regimes(1000, 0)
    stored = encoder.packed(x)
    known, strange = (hamming(encoder.packed(part), stored).amin(1).double()
                      for part in (regimes(300, 1)[0], regimes(300, 1, first=6)[0]))
    assert strange.median() > known.median()
    assert (strange[:, None] > known).double().mean() + 0.5 * (strange[:, None] == known).double().mean() >= 0.8


def test_it_is_what_its_equations_say_and_has_as_many_parameters():
    encoder = ActivationCodeEncoder(2, 3, 5, hidden=4, n_layers=3).double()
    x, mask = torch.randn(6, 3, 2, dtype=torch.float64), torch.rand(6, 3, 2) < 0.7
    a, bits = torch.cat([(x * mask).flatten(1), mask.flatten(1).double()], 1), []
    for layer in encoder.layers:
        a = (a @ layer.weight.T + layer.bias).clamp(min=0)
        bits.append(a > 0)
    assert torch.equal(encoder.code(x, mask), torch.cat(bits, 1))
    error = (a @ encoder.head.weight.T + encoder.head.bias - (x * mask).flatten(1)).square() * mask.flatten(1)
    assert_close(encoder.objective(x, mask), error.sum() / mask.sum())
    assert sum(p.numel() for p in encoder.parameters()) == (2 * 6 + 1) * 4 + 2 * (4 + 1) * 4 + (4 + 1) * 6


def test_the_bits_that_come_out_are_those_nearest_to_half_on():
    encoder, (x, _) = fitted(d_model=7, hidden=16), regimes(1000, 0)
    away = (encoder.code(x).double().mean(0) - 0.5).abs()
    assert_close(away[encoder.kept], away.sort().values[:7])


@pytest.mark.parametrize(
    "arguments", [{"hidden": 0}, {"n_layers": 0}, {"steps": 0}, {"learning_rate": 0.0}]
)
def test_what_cannot_be_is_refused(arguments):
    with pytest.raises(ArgumentError, match="a positive rate"):
        ActivationCodeEncoder(1, 4, **arguments)
