"""Several LSTMs side by side, each over those steps only that are its own, forwards and backwards in one loop.

Paper     Hochreiter & Schmidhuber (1997), "Long Short-Term Memory", Neural Computation 9(8), with forget gates (Gers
          et al. 2000); both directions as in Schuster & Paliwal (1997), IEEE Trans. Signal Processing 45(11).
Equation  i, f, o = sigmoid(a_t + U s),   g = tanh(a_t + U s),   c' = f c + i g,   s' = o tanh(c')   at an own step
          c' = c,   s' = s                                                                          at any other
Shapes    drive a [batch, time, group, direction * 4 hidden]   rows [batch, time, group]
          -> [batch, time, group, direction * hidden]
Differs   A step that is not a group's own is skipped: the state is the same as of a sequence without that step,
          wherever it stands. So padding in front changes nothing, and the way back begins at the last step there is.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class MaskedLSTM(nn.Module):
    """The recurrent part of an LSTM for each group and direction: groups * directions * 4 * hidden^2 parameters.

    Args:
        groups: LSTMs side by side.
        hidden: Width of a state.
        bidirectional: Whether each reads backwards as well.
    """

    def __init__(self, groups: int, hidden: int, *, bidirectional: bool = True) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.recurrent = nn.Parameter(torch.empty(groups, self.directions, hidden, 4 * hidden))
        nn.init.uniform_(self.recurrent, -(hidden**-0.5), hidden**-0.5)

    def forward(
        self, drive: Float[Tensor, "batch time group gates"], rows: Bool[Tensor, "batch time group"]
    ) -> Float[Tensor, "batch time group states"]:
        """The states after each step; at one that is not a group's own, those before it."""
        gates, on = self._in_order(drive.unflatten(-1, (self.directions, -1))), self._in_order(rows[..., None, None])
        weight = self.recurrent.flatten(0, 1)[: gates.shape[1]]  # groups that are not there are the last
        state = cell = gates.new_zeros(*gates.shape[1:3], weight.shape[1])
        states = []
        for given, here in zip(gates.unbind(0), on.unbind(0), strict=True):
            mixed = torch.baddbmm(given, state, weight)
            write, keep, show = mixed[..., : 3 * weight.shape[1]].sigmoid().chunk(3, -1)
            fresh = keep * cell + write * mixed[..., 3 * weight.shape[1] :].tanh()
            state, cell = torch.where(here, show * fresh.tanh(), state), torch.where(here, fresh, cell)
            states.append(state)
        found = torch.stack(states).unflatten(1, (-1, self.directions)).permute(3, 0, 1, 2, 4)
        return self._turned(found).flatten(-2)

    def _in_order(self, x: Tensor) -> Float[Tensor, "time way batch width"] | Bool[Tensor, "time way batch width"]:
        """[batch, time, group, direction, width] as each direction reads it, a way for each group and direction."""
        x = x.expand(*x.shape[:3], self.directions, x.shape[4])
        return self._turned(x).permute(1, 2, 3, 0, 4).flatten(1, 2)

    def _turned(self, x: Tensor) -> Tensor:
        """[batch, time, group, direction, width] with time the other way round in the second direction."""
        return x if self.directions == 1 else torch.stack([x[..., 0, :], x[..., 1, :].flip(1)], 3)
