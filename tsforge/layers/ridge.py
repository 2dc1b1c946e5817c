"""Ridge regression over batches, in float64, where targets may be missing here and there.

Equation  W_c = (sum_n m_nc z_n z_n' / n_c + ridge I)^-1  sum_n m_nc z_n y_nc / n_c,   n_c = sum_n m_nc
Shapes    z [row, feature], y and m [row, column] -> W [feature, column]
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

AT_ONCE = 2**24  # numbers in the matrices that are held together: 128 MiB

Rows = tuple[Tensor, Tensor, Tensor]


def solve_ridge(rows: Callable[[], Iterable[Rows]], ridge: float) -> Float[Tensor, "feature column"]:
    """The linear map from features to targets that minimises mean squared error + ridge * squared weights by column.

    Columns that are observed in every row share one matrix; each of the others has its own, the shared one less the
    rows it lacks, and they are made in another pass over the rows. A column without any observed row gets zeros.

    Args:
        rows: Gives batches of features, targets and where those were observed, anew at each call.
        ridge: The penalty, above 0.
    """
    gram, moment, lacking = torch.zeros(()), torch.zeros(()), torch.zeros(())
    count = 0
    for z, y, mask in _double(rows):
        gram, moment, lacking = gram + z.mT @ z, moment + z.mT @ (y * mask), lacking + (~mask).sum(0)
        count += len(z)
    solution = _solve(gram, moment, torch.tensor(count), ridge)
    incomplete = lacking.nonzero()[:, 0]
    for columns in incomplete.split(max(1, AT_ONCE // gram.numel())):
        grams = gram.repeat(len(columns), 1, 1)
        for z, _, mask in _double(rows):
            for own, seen in zip(grams, mask[:, columns].unbind(1), strict=True):
                lost = z[~seen]
                own -= lost.mT @ lost
        left = (count - lacking[columns])[:, None, None]
        solution[:, columns] = _solve(grams, moment[:, columns].mT[..., None], left, ridge)[..., 0].mT
    return solution


def _double(rows: Callable[[], Iterable[Rows]]) -> Iterable[Rows]:
    return ((z.double(), y.double(), mask) for z, y, mask in rows())


def _solve(gram: Tensor, moment: Tensor, count: Tensor, ridge: float) -> Tensor:
    count = count.clamp(min=1)
    return torch.linalg.solve(gram / count + ridge * torch.eye(gram.shape[-1], dtype=gram.dtype), moment / count)
