import pytest
import torch
from torch.testing import assert_close

from tsforge.layers.hippo import diagonal_legs, hippo_legs, initial_modes


def test_hippo_is_minus_one_half_and_a_skew_matrix_but_for_a_term_of_rank_one():
    A, _, P = hippo_legs(64)
    normal = A + torch.outer(P, P)
    assert_close(normal.diagonal(), torch.full((64,), -0.5).double(), rtol=0, atol=1e-12)
    skew = normal + 0.5 * torch.eye(64)
    assert (skew + skew.mT).abs().max() < 1e-12
    assert (A + A.mT).abs().max() > 1  # the control: without the term it is not


def test_the_spectrum_of_sixty_four_states_is_the_published_one():
    w = initial_modes("legs", 64)[0].imag
    assert_close(w[-5:].flip(0), torch.tensor([1303.27, 433.03, 258.15, 182.62, 140.21]).double(), rtol=0, atol=1e-2)
    assert_close(w[:3], torch.tensor([0.264, 0.906, 1.703]).double(), rtol=0, atol=1e-2)
    inverse = initial_modes("inv", 64)[0].imag
    assert_close(inverse[:5], torch.tensor([1283.4, 414.3, 240.4, 165.9, 124.5]).double(), rtol=0, atol=0.1)


def test_the_modes_and_their_conjugates_make_up_the_system():
    A, B, P = hippo_legs(16)
    modes = diagonal_legs(16)
    assert_close(2 * (modes.V * modes.A @ modes.V.mH).real, A + torch.outer(P, P))
    assert_close(2 * (modes.V @ modes.B).real, B)
    assert (modes.B.imag == 0).all()
    assert (modes.B.real > 0).all()


@pytest.mark.parametrize("init", ["legs", "inv", "lin", "real"])
def test_every_mode_decays(init):
    A, B = initial_modes(init, 32)
    assert A.shape == B.shape == (16,)
    assert (A.real <= -0.5 + 1e-12).all()


def test_lin_is_a_fourier_series_and_real_does_not_oscillate():
    n = torch.arange(4, dtype=torch.float64)
    assert_close(initial_modes("lin", 8)[0], -0.5 + 1j * torch.pi * n)
    assert_close(initial_modes("real", 8)[0], -(n + 1) + 0j)


def step_error(size, scale=0.5):
    """Largest difference of the first 8 states to those of full HiPPO-LegS, after the input has stepped to 1."""
    A, B, _ = hippo_legs(size)
    modes = diagonal_legs(size)
    worst = 0.0
    for time in (0.1, 0.4, 1.0, 2.0, 4.0):
        full = torch.linalg.solve(A, (torch.matrix_exp(A * time) - torch.eye(size)) @ B)
        diagonal = 2 * (modes.V @ ((modes.A * time).exp() - 1).div(modes.A).mul(scale * modes.B)).real
        worst = max(worst, (full - diagonal)[:8].abs().max().item())
    return worst


def test_the_step_response_goes_to_that_of_full_hippo_with_half_of_its_input():
    errors = [step_error(size) for size in (16, 64, 256)]
    assert all(error < bound for error, bound in zip(errors, (0.06, 0.012, 0.0015), strict=True)), errors
    assert step_error(64, scale=1.0) > 0.1  # the control: all of the input
