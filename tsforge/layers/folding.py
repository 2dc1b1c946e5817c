"""Series folded by their strongest periods into 2-D maps.

Paper     Wu et al. (2023), "TimesNet", arXiv:2210.02186.
Equation  A = mean_channel |rfft(x)|,   f_1..k = arg top-k of A without f = 0,   p_i = T // f_i
Shapes    [batch, T, channel] -> [batch, row, column, channel]: rows are successive periods, columns the phase
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Group = tuple[int, int]  # a period and how many windows have it


def amplitudes(x: Float[Tensor, "batch T channel"]) -> Float[Tensor, "batch frequency"]:
    """Mean over channels of the spectrum's modulus at 1, 2, ..., T // 2 cycles; float64, so that ties break alike."""
    return torch.fft.rfft(x.double(), dim=1).abs()[:, 1:].mean(-1)


def strongest(amplitude: Float[Tensor, "*any frequency"], top_k: int) -> Int[Tensor, "*any k"]:
    """The frequencies (cycles in T) of the largest amplitudes, the lower one first where equal."""
    return amplitude.sort(dim=-1, descending=True, stable=True).indices[..., :top_k] + 1


def find_periods(
    x: Float[Tensor, "batch T channel"], top_k: int, frozen: list[int] | None = None, *, shared: bool = False
) -> tuple[Int[Tensor, "batch k"], Float[Tensor, "batch k"]]:
    """The periods of each window, and the softmax of its own amplitudes there.

    Args:
        x: The series.
        top_k: How many periods.
        frozen: Frequencies (cycles in T) to use instead of the strongest.
        shared: The strongest in the mean of the batch instead of each window's own.
    """
    spectra = amplitudes(x)
    if frozen is None:
        frequencies = strongest(spectra.mean(0, keepdim=True) if shared else spectra, top_k)
    else:
        frequencies = torch.tensor([frozen], device=x.device)
    frequencies = frequencies.expand(len(x), -1)
    return x.shape[1] // frequencies, spectra.gather(1, frequencies - 1).to(x.dtype).softmax(1)


def group(periods: Int[Tensor, "batch k"]) -> tuple[Int[Tensor, " pair"], list[Group], Int[Tensor, "batch k"]]:
    """Distinct (window, period) pairs, sorted by period: their windows, the groups, and where each period went.

    A period that a window has twice is one pair. Here, and only here, the device waits for the host.
    """
    batch = len(periods)
    pairs, places = (periods.cpu() * batch + torch.arange(batch)[:, None]).unique(return_inverse=True)
    found = (pairs // batch).unique_consecutive(return_counts=True)
    groups = list(zip(*(part.tolist() for part in found), strict=True))
    return (pairs % batch).to(periods.device), groups, places.to(periods.device)


def round_up(count: int, batch: int) -> int:
    """The next of the few sizes that a group may have: 1, 2, 4, ... up to an eighth of the batch, then whole eighths.

    A convolution of a size not met before is compiled first, which takes as long as a small one itself.
    """
    eighth = max(1, batch // 8)
    if count < eighth:
        return min(1 << (count - 1).bit_length(), eighth)
    return min(-(-count // eighth) * eighth, batch)


def fold(x: Float[Tensor, "batch T channel"], period: int, windows: int = 0) -> Float[Tensor, "_ row column channel"]:
    """Rows of one period each, x[row * period + column]; the last is filled up with zeros.

    Args:
        x: The series.
        period: Columns of the map.
        windows: How many windows there are to be; those of zeros come last.
    """
    fill, more = -x.shape[1] % period, max(windows - len(x), 0)
    return (F.pad(x, (0, 0, 0, fill, 0, more)) if fill or more else x).unflatten(1, (-1, period))


def unfold(maps: Float[Tensor, "batch row column channel"], steps: int) -> Float[Tensor, "batch {steps} channel"]:
    """The first `steps` cells, row after row."""
    return maps.flatten(1, 2)[:, :steps]
