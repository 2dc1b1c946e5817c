"""ARM-Net: neurons that multiply fields, each raised to an order of its own, and gates that drop most of them.

Paper     Cai et al. (2021), "ARM-Net: Adaptive Relation Modeling Network for Structured Data", SIGMOD,
          arXiv:2107.01830; the gates by Peters et al. (2019), arXiv:1905.05702 (`layers/entmax.py`).
Equation  z_ki = entmax_alpha over f of (e_f' W_k q_ki / sqrt(embed_dim)),   w_kif = z_kif v_kif
          n_ki = exp(sum_f w_kif e_f) = prod_f exp(e_f)^w_kif,   y = MLP(BatchNorm(n)) + MLP([e_1 ... e_F])
          e_f = s_f c_f of a number, or log(s_f) c_f;   s_f = (number_f - low_f) / (high_f - low_f) held to [floor, 1]
Shapes    ids [batch, n_ids], numbers [batch, n_numbers] -> [batch, d_model];   e [batch, F, embed_dim]
          W [n_heads, embed_dim, embed_dim]   q [n_heads, neurons, embed_dim]   v [n_heads, neurons, F]
Units     ids are stable hashes; numbers are of any unit, for low and high are those of training
Differs   The neuron, its gates and the held number are read in the authors' code. Numbers through a logarithm are ours:
          they make a neuron a monomial in s. The perceptron on the embeddings, which the paper weighs by two learned
          numbers (ARM-Net+), is added. Exponents are held to [-15, 15]. Ids read one hashed table (`layers/fields.py`),
          since no vocabulary is kept: an id unseen in training reads a row that others trained. `importance` is ours:
          the mean of |w| ranks fields wrong, for one whose token has shrunk to nothing may have any order.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.encoders.tabular.base import TabularEncoder, spared
from tsforge.errors import ArgumentError
from tsforge.layers.entmax import check_alpha, entmax
from tsforge.layers.fields import FieldEmbedding
from tsforge.space import Choice, Declared, Integer, Real

Ids = Int[Tensor, "batch n_ids"] | None
Numbers = Float[Tensor, "batch n_numbers"] | None
MOST = 15.0  # of an exponent: exp of it is far from overflowing
WIDE = 3.0  # standardised numbers are held to lie within this before `fit`


class ARMNetEncoder(TabularEncoder):
    """Tokens of (n_buckets + n_numbers) * embed_dim weights, neurons, a norm and two perceptrons.

    With F fields, K heads of o neurons and e = embed_dim, the gates have K e^2 + K o (e + F) parameters, the norm
    2 K o, a perceptron of w inputs (w + 1) * hidden + (hidden + 1) * d_model; w is K o e, and F e of the one beside it.

    Args:
        n_buckets: Rows of the table of all ids.
        embed_dim: Width of a token.
        n_heads: Heads, each with a form of its own by which tokens and neurons are compared.
        neurons: Of each head.
        alpha: Of the gates: 1 is softmax and drops nothing, 2 is sparsemax.
        hidden: Width of the hidden layers.
        plus_mlp: Whether a perceptron reads the tokens, too, for what is a sum of fields.
        numeric: "linear", or "log": a neuron is a product of powers of numbers.
        floor: The least a number counts as, of a range from 0 to 1.
        seed: Salt of the hash.

    Raises:
        ArgumentError: there is neither an id nor a number, a size is below 1, `alpha` is not in [1, 2], `numeric` is
            unknown, or `floor` is not between 0 and 1.
    """

    low: Tensor
    high: Tensor

    space: ClassVar[Declared] = {
        "embed_dim": Choice(5, 10, 20), "n_heads": Integer(1, 4), "neurons": Choice(8, 16, 32),
        "alpha": Real(1.0, 2.0), "numeric": Choice("linear", "log"),
    }

    def __init__(
        self, n_ids: int, n_numbers: int = 0, d_model: int = 64, *, n_buckets: int = 4096, embed_dim: int = 10,
        n_heads: int = 2, neurons: int = 16, alpha: float | int = 1.7, hidden: int = 64, plus_mlp: bool = True,
        numeric: str = "linear", floor: float = 1e-3, seed: int = 0,
    ) -> None:
        super().__init__(n_ids, n_numbers, d_model)
        _check(n_heads, neurons, alpha, hidden, numeric, floor)
        self.alpha, self.numeric, self.floor = alpha, numeric, floor
        self.fields = FieldEmbedding(n_ids, n_numbers, embed_dim, n_buckets=n_buckets, scale=0.3, seed=seed)
        fields, width = n_ids + n_numbers, embed_dim**-0.5
        self.form = nn.Parameter(torch.randn(n_heads, embed_dim, embed_dim) * width)
        self.queries = nn.Parameter(torch.randn(n_heads, neurons, embed_dim))
        self.orders = nn.Parameter(torch.randn(n_heads, neurons, fields))
        self.norm = nn.BatchNorm1d(n_heads * neurons)
        self.out = _perceptron(n_heads * neurons * embed_dim, hidden, d_model)
        self.plus = _perceptron(fields * embed_dim, hidden, d_model) if plus_mlp else None
        self.register_buffer("low", torch.full((n_numbers,), -WIDE, dtype=torch.float64))
        self.register_buffer("high", torch.full((n_numbers,), WIDE, dtype=torch.float64))

    def fit(self, *inputs: Tensor | None) -> None:
        """The range of each number; with "log" one that is above 0 throughout is divided by its greatest alone.

        Args:
            inputs: Ids and numbers, as `forward` is given them.
        """
        numbers = inputs[1] if len(inputs) > 1 else None
        if numbers is None:
            return
        low, high = numbers.double().amin(0), numbers.double().amax(0)
        low = torch.where((low > 0) & (self.numeric == "log"), 0.0, low)
        self.low.copy_(low)
        self.high.copy_(torch.where(high > low, high, low + 1))

    def tokens(self, ids: Ids = None, numbers: Numbers = None) -> Float[Tensor, "batch field embed_dim"]:
        """The token of each field."""
        if numbers is not None:
            share = (numbers.double() - self.low) / (self.high - self.low)
            held = share.clamp(self.floor, 1)
            numbers = (held.log() if self.numeric == "log" else held).to(numbers.dtype)
        return self.fields(ids, numbers)

    def gated(self, tokens: Float[Tensor, "batch field embed_dim"]) -> Float[Tensor, "batch neuron field"]:
        """The order that each neuron raises each field to, exactly 0 of those that its gate drops."""
        keys = torch.einsum("kde,koe->kod", self.form, self.queries) * tokens.shape[-1] ** -0.5
        scores = torch.einsum("bfd,kod->bkof", tokens, keys)
        return (entmax(scores, self.alpha) * self.orders).flatten(1, 2)

    def neurons(
        self, tokens: Float[Tensor, "batch field embed_dim"], orders: Float[Tensor, "batch neuron field"]
    ) -> Float[Tensor, "batch neuron embed_dim"]:
        """What the neurons make of tokens at these orders."""
        return (orders @ tokens).clamp(-MOST, MOST).exp()

    def forward(self, ids: Ids = None, numbers: Numbers = None) -> Float[Tensor, "batch d_model"]:
        """The vector of each row."""
        tokens = self.tokens(ids, numbers)
        y = self.out(self.norm(self.neurons(tokens, self.gated(tokens))).flatten(1))
        return y if self.plus is None else y + self.plus(tokens.flatten(1))

    def cross_features(self, ids: Ids = None, numbers: Numbers = None) -> Float[Tensor, "batch neuron field"]:
        """The orders of each row: what its neurons multiply."""
        return self.gated(self.tokens(ids, numbers))

    def importance(self, ids: Ids = None, numbers: Numbers = None) -> Float[Tensor, " field"]:
        """How much each field moves what is read of the neurons, over these rows."""
        tokens = self.tokens(ids, numbers)
        parts = self.gated(tokens)[..., None] * tokens[:, None]  # [batch, neuron, field, embed_dim] of the exponents
        scale = (self.norm.weight / (_variance(self.norm) + self.norm.eps).sqrt()).abs()
        first = next(self.out.parameters()).unflatten(1, (-1, tokens.shape[-1]))  # [hidden, neuron, embed_dim]
        reads = first.norm(dim=0) * scale[:, None]
        return (parts.std(0, correction=0) * reads[:, None]).sum((0, 2))

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """The table without weight decay, which would wear down the rows of rare ids; the rest as asked."""
        return spared(self, self.fields.table, learning_rate, weight_decay)


def _variance(norm: nn.BatchNorm1d) -> Tensor:
    assert norm.running_var is not None
    return norm.running_var


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def _check(n_heads: int, neurons: int, alpha: float | int, hidden: int, numeric: str, floor: float) -> None:
    for name, size in (("n_heads", n_heads), ("neurons", neurons), ("hidden", hidden)):
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    check_alpha(alpha)
    if numeric not in ("linear", "log"):
        raise ArgumentError(f'numeric={numeric!r}: wanted "linear" or "log".')
    if not 0 < floor < 1:
        raise ArgumentError(f"floor={floor}: give a number between 0 and 1.")
