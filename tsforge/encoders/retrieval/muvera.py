"""MUVERA: a window is a set of patches, and one inner product stands for the similarity of two sets.

Paper     Dhulipala, Hadian, Jayaram, Lee & Mirrokni (2024), "MUVERA: Multi-Vector Retrieval via Fixed Dimensional
          Encodings", NeurIPS, arXiv:2405.19504.
Equation  Ch(Q, P) = sum_{x in Q} max_{y in P} <x, y>  ~  <F_query(Q), F_stored(P)>
          bucket_r(x) = the signs of x G_r, of 2^n_bits;   r = 1 .. n_reps
          F_query, a bucket: the sum of its members, 0 where it is empty
          F_stored, a bucket: their mean; where it is empty, the member of the set whose signs differ least from it
          all buckets of all repetitions side by side / sqrt(n_reps), then a count sketch to d_model
Shapes    x [batch, time, channel] -> patches [batch, n, patch * channel] -> [batch, d_model]
          G [rep, patch * channel, bit]
Units     none: each window (or each patch) is brought to mean 0 and deviation 1, and patches to length 1
Differs   Buckets and the filling of empty ones are read in the authors' code, which numbers buckets by a Gray code and
          may sketch each bucket; here by their bits, and not. The division by sqrt(n_reps), patches for tokens, and the
          rule for gaps are ours: a patch counts where half of its cells were observed, and missing ones are the mean.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsforge.encoders.retrieval.base import Mask, RetrievalEncoder, Window, flat
from tsforge.errors import ArgumentError
from tsforge.layers.instance_norm import normalise
from tsforge.space import Choice, Declared

AT_ONCE = 1 << 22  # numbers of one-hot buckets held at a time
FLAT = 1e-3  # of a patch's length before it is brought to 1: below there is no shape to speak of

Sets = Float[Tensor, "batch n d"]
There = Bool[Tensor, "batch n"]


class MuveraEncoder(RetrievalEncoder):
    """No parameters; directions and sketch are drawn from `seed` and kept, n_reps * n_bits * patch * channels numbers.

    The inner product of `encoded(x, side="query")` and `encoded(x)` is never above the similarity of the sets. It
    ranks; it is not the similarity itself. More bits bring it nearer, more repetitions make it steadier. The sketch
    keeps inner products in the mean: its noise falls with the root of d_model, which should be large, and with
    n_reps * 2^n_bits * patch * channels or more there is none.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of a window.
        d_model: Width of the vector.
        patch: Steps of a patch, at most those of the window; short patches of smooth series all look alike.
        stride: Steps from one patch to the next.
        patch_norm: "window" or "patch": what is brought to mean 0 and deviation 1.
        n_bits: Signs of a bucket.
        n_reps: Repetitions with other directions.
        seed: Of directions and sketch; vectors of different seeds do not go together.

    Raises:
        ArgumentError: a size is below 1, there are more than 10 bits, or `patch_norm` is unknown.
    """

    space: ClassVar[Declared] = {"patch": Choice(12, 24, 48), "n_bits": Choice(3, 4, 5), "n_reps": Choice(20, 40, 80)}

    def __init__(
        self, in_channels: int, input_size: int, d_model: int = 64, *, patch: int = 24, stride: int = 2,
        patch_norm: str = "window", n_bits: int = 4, n_reps: int = 40, seed: int = 0,
    ) -> None:
        super().__init__(in_channels, input_size, d_model)
        for name, size in (("patch", patch), ("stride", stride), ("n_bits", n_bits), ("n_reps", n_reps)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to compare: give at least 1.")
        if n_bits > 10:
            raise ArgumentError(f"n_bits={n_bits} makes {2**n_bits} buckets, most of them empty: give at most 10.")
        if patch_norm not in ("window", "patch"):
            raise ArgumentError(f"patch_norm={patch_norm!r}: wanted 'window' or 'patch'.")
        self.patch, self.stride, self.patch_norm = min(patch, input_size), stride, patch_norm
        self.n_bits, self.n_reps = n_bits, n_reps
        width = self.patch * in_channels
        random = torch.Generator("cpu").manual_seed(seed)
        directions = torch.randn(n_reps, width, n_bits, generator=random, device="cpu")
        cells = n_reps * 2**n_bits * width
        places = torch.randint(d_model, (cells,), generator=random, device="cpu")
        signs = torch.randint(2, (cells,), generator=random, device="cpu") * 2 - 1
        if d_model >= cells:
            places, signs = torch.arange(cells, device="cpu"), torch.ones_like(signs)
        self.directions: Tensor
        self.places: Tensor
        self.signs: Tensor
        self.register_buffer("directions", directions)
        self.register_buffer("places", places)
        self.register_buffer("signs", signs.to(torch.int8))

    def forward(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector of the stored side."""
        return self._sketched(x, mask, "stored")

    def query(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector of the searching side."""
        return self._sketched(x, mask, "query")

    def encoded(self, x: Window, mask: Mask | None = None, side: str = "stored") -> Float[Tensor, "batch wide"]:
        """The encoding before the sketch, float64: n_reps * 2^n_bits * patch * channels numbers."""
        sets, there = self.patches(x, mask)
        few = max(1, AT_ONCE // (sets.shape[1] * self.n_reps * 2**self.n_bits))
        parts = [encode(s, t, self.directions, side) for s, t in zip(sets.split(few), there.split(few), strict=True)]
        return torch.cat(parts)

    def patches(self, x: Window, mask: Mask | None = None) -> tuple[Sets, There]:
        """The patches of each window at length 1, float64, and which of them count; those that do not are 0."""
        mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        x = torch.where(mask, x, 0.0).double()
        if self.patch_norm == "window":
            x = torch.where(mask, normalise(x, mask)[0], 0.0)
        cells, seen = (part.unfold(1, self.patch, self.stride).mT for part in (x, mask))  # [batch, n, patch, channel]
        if self.patch_norm == "patch":
            shape = cells.shape
            pieces = cells.flatten(0, 1), seen.flatten(0, 1)
            cells = torch.where(pieces[1], normalise(*pieces)[0], 0.0).view(shape)
        cells, share = cells.flatten(2), seen.flatten(2).double().mean(2)
        length = cells.norm(dim=2)
        there = (share >= 0.5) & (length > FLAT)
        return torch.where(there[..., None], cells / length.clamp(min=FLAT)[..., None], 0.0), there

    def full(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch full"]:
        """The window at mean 0 and deviation 1, side by side; a missing cell is 0."""
        seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        return flat(normalise(torch.where(seen, x, 0.0), seen)[0], seen)

    def likeness(self, query: Float[Tensor, "*n full"], stored: Float[Tensor, "*n full"]) -> Float[Tensor, "*n"]:
        """Ch of the patches of both, with nothing missing."""
        windows = (part.reshape(-1, self.input_size, self.in_channels) for part in (query, stored))
        (q, q_there), (s, s_there) = (self.patches(part) for part in windows)
        return chamfer(q, s, q_there, s_there).view(query.shape[:-1])

    def _sketched(self, x: Tensor, mask: Tensor | None, side: str) -> Tensor:
        wide = self.encoded(x, mask, side) * self.signs
        return wide.new_zeros(len(x), self.d_model).index_add(1, self.places, wide).to(x.dtype)


def chamfer(
    queries: Float[Tensor, "batch n d"], stored: Float[Tensor, "batch m d"], there: There | None = None,
    stored_there: Bool[Tensor, "batch m"] | None = None,
) -> Float[Tensor, " batch"]:
    """sum_x max_y <x, y> of each pair of sets; 0 where one of them is empty."""
    products = queries @ stored.mT
    if stored_there is not None:
        products = torch.where(stored_there[:, None], products, -torch.inf)
    best = products.amax(2)
    best = torch.where(best.isfinite(), best, 0.0)
    return (best if there is None else best * there).sum(1)


def encode(
    sets: Sets, there: There, directions: Float[Tensor, "rep d bit"], side: str
) -> Float[Tensor, "batch wide"]:
    """The encoding of each set on one side, all buckets of all repetitions side by side."""
    reps, _, bits = directions.shape
    on = torch.einsum("bnd,rdk->bnrk", sets, directions.double()) > 0
    weights = 2 ** torch.arange(bits, device=sets.device)
    codes = torch.where(there[..., None], (on * weights).sum(-1), -1)  # [batch, n, rep]
    buckets = torch.arange(2**bits, device=sets.device)
    member = (codes[..., None] == buckets).to(sets.dtype)  # [batch, n, rep, bucket]
    out = torch.einsum("bnrk,bnd->brkd", member, sets)
    if side == "stored":
        count = member.sum(1)  # [batch, rep, bucket]
        out = out / count.clamp(min=1)[..., None]
        out = torch.where((count == 0)[..., None], _nearest(sets, there, codes, bits), out)
    return out.flatten(1) / reps**0.5


def _nearest(sets: Tensor, there: Tensor, codes: Tensor, bits: int) -> Tensor:
    """[batch, rep, bucket, d]: the member whose signs differ least from each bucket, the first of equals; 0 of none."""
    buckets = torch.arange(2**bits, device=sets.device)
    apart = sum((buckets[:, None] ^ buckets) >> k & 1 for k in range(bits))
    n = sets.shape[1]
    rank = torch.as_tensor(apart)[codes.clamp(min=0)] * n + torch.arange(n, device=sets.device)[:, None, None]
    which = torch.where(there[..., None, None], rank, n * (bits + 1)).argmin(1)  # [batch, rep, bucket]
    taken = sets.gather(1, which.flatten(1)[..., None].expand(-1, -1, sets.shape[2]))
    return taken.view(*which.shape, sets.shape[2])
