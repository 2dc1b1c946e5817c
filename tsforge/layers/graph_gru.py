"""A GRU over stations, in which every matrix product is a convolution over several graphs.

Paper     Zhu et al. (2023), "Weather2K: A Multivariate Spatio-Temporal Benchmark Dataset ...", arXiv:2302.10493. Its
          equations were not to hand: these are reconstructed from its abstract and from common practice.
Equation  GC(x) = sum_r softmax(w)_r A_r x W_r + x W_0 + b
          A_dyn = softmax_j(relu(tanh(g(x) * E_1) tanh(g(x) * E_2)^T)),   g(x) = x V + v
          r, u = sigmoid(GC([x, h])),   c = tanh(GC([x, r * h])),   h' = u * h + (1 - u) * c
Shapes    x [batch, node, channel]   h [batch, node, hidden]   A [graph, node, node], A_dyn [batch, node, node]
          W [graph, channel, out]   E [node, embedding]
Units     none
Differs   The paper's graphs are kept apart in "multi-graph" convolutions; which sum it takes of them is not known.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GraphConv(nn.Module):
    """A convolution over graphs; (graphs + 1) in_channels out_channels + graphs + out_channels parameters.

    Args:
        in_channels: Numbers of each node.
        out_channels: Numbers of each node that come out.
        graphs: How many graphs it is called with.
    """

    def __init__(self, in_channels: int, out_channels: int, graphs: int) -> None:
        super().__init__()
        scale = in_channels**-0.5
        self.own = nn.Linear(in_channels, out_channels)
        self.weight = nn.Parameter(torch.empty(graphs, in_channels, out_channels).uniform_(-scale, scale))
        self.mix = nn.Parameter(torch.zeros(graphs))

    def forward(
        self, x: Float[Tensor, "batch node channel"], static: Float[Tensor, "graph node node"],
        dynamic: Float[Tensor, "batch node node"] | None = None,
    ) -> Float[Tensor, "batch node out"]:
        """Messages over the static graphs, then over the dynamic one, and what each node says to itself."""
        messages = static @ x[:, None]  # [batch, graph, node, channel]
        if dynamic is not None:
            messages = torch.cat([messages, (dynamic @ x)[:, None]], 1)
        weight = self.mix.softmax(0)[:, None, None] * self.weight
        return torch.einsum("brnc,rco->bno", messages, weight) + self.own(x)


class DynamicGraph(nn.Module):
    """A graph that follows the values; (in_channels + 1 + 2 nodes) embedding parameters.

    Args:
        in_channels: Numbers of each node.
        nodes: How many.
        embedding: Width of what is learnt of each node.
    """

    def __init__(self, in_channels: int, nodes: int, embedding: int) -> None:
        super().__init__()
        self.read = nn.Linear(in_channels, embedding)
        self.sends, self.takes = (nn.Parameter(torch.randn(nodes, embedding)) for _ in range(2))

    def forward(self, x: Float[Tensor, "batch node channel"]) -> Float[Tensor, "batch node node"]:
        """Rows that sum to 1."""
        g = self.read(x)
        return ((g * self.takes).tanh() @ (g * self.sends).tanh().mT).relu().softmax(-1)


class GraphGRUCell(nn.Module):
    """One step of all stations.

    Args:
        in_channels: Numbers of each node at a step.
        hidden: Width of each node's state.
        graphs: Static graphs it is called with.
        nodes: How many stations.
        embedding: Width of what the dynamic graph learns of each node; 0 is no dynamic graph.
    """

    def __init__(self, in_channels: int, hidden: int, graphs: int, nodes: int, embedding: int) -> None:
        super().__init__()
        self.dynamic = DynamicGraph(in_channels, nodes, embedding) if embedding else None
        count = graphs + (embedding > 0)
        self.gates = GraphConv(in_channels + hidden, 2 * hidden, count)
        self.candidate = GraphConv(in_channels + hidden, hidden, count)

    def forward(
        self, x: Float[Tensor, "batch node channel"], h: Float[Tensor, "batch node hidden"],
        graphs: Float[Tensor, "graph node node"],
    ) -> Float[Tensor, "batch node hidden"]:
        """The state after the step."""
        moving = None if self.dynamic is None else self.dynamic(x)
        reset, update = self.gates(torch.cat([x, h], -1), graphs, moving).sigmoid().chunk(2, -1)
        fresh = self.candidate(torch.cat([x, reset * h], -1), graphs, moving).tanh()
        return update * h + (1 - update) * fresh
