"""CNN1D: dilated causal convolutions over all channels; all steps of the forecast come from the last step.

Paper     Bai et al. (2018), "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence
          Modeling", arXiv:1803.01271 (TCN).
Equation  x <- relu(x + dropout(relu(conv(dropout(relu(conv(x)))))),   conv(x)_t = b + sum_k W_k x_{t - (K - 1 - k) 2^l}
          in layer l = 0, 1, ..., zeros before the first step;   y = head(x_T)
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, d_model, lookback]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   No weight normalisation; dropout by element, not by channel. The number of layers follows from the look-back
          unless given. Covariates join the input; what is known of the horizon has a linear effect on each step.
"""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.direct import DirectHead, with_covariates
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Real


class CNN1D(Model):
    """Residual layers of two dilated causal convolutions each, and a direct head.

    With c channels and covariates a layer has (inputs + d_model) * d_model * kernel_size + 2 * d_model parameters; its
    inputs are c in the first, d_model in the others. The first has (c + 1) * d_model more to bring c to d_model, unless
    they are equal. The head has (d_model + 1) * h * channels * outputs + future_covariates * channels * outputs.

    Args:
        d_model: Width of a layer.
        n_layers: Layers; they see 1 + 2 * (kernel_size - 1) * (2^n_layers - 1) steps. None is as many as see all.
        kernel_size: Steps that a convolution sees.
        dropout: Share of each convolution's output that is dropped in training.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, `kernel_size` below 2, or `dropout` is not in [0, 1).
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")

    space: ClassVar[Declared] = {
        "d_model": Choice(16, 32, 64), "kernel_size": Choice(2, 3, 5), "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 32, n_layers: int | None = None, kernel_size: int = 3, dropout: float = 0.1,
        instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        self.instance_norm = instance_norm
        if kernel_size < 2:
            raise ArgumentError(f"kernel_size={kernel_size} sees one step alone: give at least 2.")
        n_layers = covering(input_size, kernel_size) if n_layers is None else n_layers
        for name, size in (("d_model", d_model), ("n_layers", n_layers)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
        widths = [in_channels + past_covariates + future_covariates] + [d_model] * n_layers
        self.layers = nn.Sequential(*(
            CausalLayer(widths[layer], d_model, kernel_size, 2**layer, dropout) for layer in range(n_layers)
        ))
        self.head = DirectHead(d_model, h, in_channels, outputs, future=future_covariates)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; statics are not read."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = x if self.instance_norm else batch.past
        x = self.layers(with_covariates(x, batch.past_covariates, batch.future_covariates).mT)  # [batch, d_model, time]
        y = self.head(x[..., -1], batch.future_covariates)
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y


def covering(steps: int, kernel_size: int) -> int:
    """The fewest layers (one or more) whose last step sees `steps` steps."""
    layers = 1
    while 1 + 2 * (kernel_size - 1) * (2**layers - 1) < steps:
        layers += 1
    return layers


class CausalLayer(nn.Module):
    """Two dilated causal convolutions, each with a ReLU and dropout; their input is added, and a ReLU taken."""

    def __init__(self, inputs: int, width: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = (kernel_size - 1) * dilation
        sizes = (inputs, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(size, width, kernel_size, dilation=dilation) for size in sizes)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Identity() if inputs == width else nn.Conv1d(inputs, width, 1)

    def forward(self, x: Float[Tensor, "batch inputs time"]) -> Float[Tensor, "batch width time"]:
        """The layer's output; step t has seen no step after t."""
        y = x
        for convolution in self.convolutions:
            y = self.dropout(F.relu(convolution(F.pad(y, (self.reach, 0)))))
        return F.relu(self.shortcut(x) + y)
