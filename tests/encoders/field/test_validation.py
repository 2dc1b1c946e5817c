import pytest
import torch

from tsforge.encoders.field.kriging import KrigingEncoder
from tsforge.encoders.field.validation import block_folds, importance, left_out, random_folds, validate
from tsforge.errors import ArgumentError


def clustered(seed=0, clusters=15, each=8):
    """Places in tight clusters and a field that changes within a short way."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.rand(clusters, 2, generator=random, dtype=torch.float64)
    places = (centres[:, None] + 0.01 * torch.randn(clusters, each, 2, generator=random)).flatten(0, 1)
    phases, ways = 6.3 * torch.rand(40, generator=random), 10 * torch.randn(40, 2, generator=random)
    return places, torch.cos(places @ ways.double().T + phases).mean(1) * 40**0.5


def test_folds_at_random_flatter_a_field_that_is_known_in_clusters():
    found = validate(lambda: KrigingEncoder(2), *clustered(), folds=4)
    assert found.random < 0.5 * found.block
    assert found.flatters
    random = torch.Generator().manual_seed(0)  # the control: places everywhere, and a field that changes slowly
    places = torch.rand(60, 2, generator=random, dtype=torch.float64)
    values = places.sum(1) + 0.3 * torch.randn(60, generator=random)
    honest = validate(lambda: KrigingEncoder(2), places, values, folds=4)
    assert not honest.flatters


def test_a_fold_is_said_by_the_others_alone():
    places, values = clustered(clusters=5)
    folds = random_folds(40, 4)
    before = left_out(lambda: KrigingEncoder(2), places, values, folds)
    changed = torch.where(folds == 2, values + 100, values)
    after = left_out(lambda: KrigingEncoder(2), places, changed, folds)
    assert torch.equal(after[folds == 2], before[folds == 2])
    assert (after[folds != 2] != before[folds != 2]).all()


def test_every_place_has_one_fold_and_a_block_is_a_region():
    folds = random_folds(23, 5, seed=3)
    assert torch.bincount(folds).tolist() == [5, 5, 5, 4, 4]
    assert not torch.equal(folds, random_folds(23, 5, seed=4))
    places, _ = clustered(clusters=6)
    blocks = block_folds(places, 3).view(6, 8)
    assert (blocks == blocks[:, :1]).all()  # no cluster is torn apart
    assert blocks.unique().tolist() == [0, 1, 2]


def test_the_coordinate_that_matters_is_named_and_noise_is_not():
    random = torch.Generator().manual_seed(1)
    places = torch.rand(80, 3, generator=random, dtype=torch.float64)  # latitude, noise, altitude
    values = torch.sin(6 * places[:, 2]) + 0.1 * torch.randn(80, generator=random)
    encoder = KrigingEncoder(3)
    encoder.fit(places[:60], values[:60])
    worth, unsure = importance(encoder, places[60:], values[60:])
    assert worth.argmax() == 2
    assert worth[2] > 5 * unsure[2]
    assert (worth[:2].abs() <= torch.maximum(2 * unsure[:2], 0.01 * worth[2])).all()


@pytest.mark.parametrize("folds", [1, 9])
def test_folds_that_cannot_be_are_refused(folds):
    for made in (lambda: random_folds(8, folds), lambda: block_folds(torch.rand(8, 2), folds)):
        with pytest.raises(ArgumentError, match=f"folds={folds}"):
            made()
