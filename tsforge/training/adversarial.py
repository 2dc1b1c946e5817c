"""Training against a critic: at each step first the critic, then all the rest, each with a loss of its own.

There is one optimiser, whose steps pass over weights without a gradient. So each of the two has the averages that an
optimiser of its own would have, and a checkpoint holds both as it holds one.
"""

from typing import Any

import torch
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import CapabilityError
from tsforge.models.base import Model


class Alternation:
    """The two halves of a step.

    Args:
        network: A model with a critic.
    """

    def __init__(self, network: Model) -> None:
        self.network = network

    def step(self, module: Any, batch: Batch) -> Tensor:
        """Trains both on a batch.

        Args:
            module: The LightningModule, in manual optimisation.
            batch: Windows.

        Returns:
            The loss of the generator.

        Raises:
            TrainingError: a loss is not finite.
        """
        critic = self.network.critic_parameters()
        against = {id(weight) for weight in critic}
        rest = [w for w in self.network.parameters() if w.requires_grad and id(w) not in against]
        self._descend(module, self.network.critic_loss(batch), [w for w in critic if w.requires_grad])
        self.network.after_step()
        outputs, added = self.network.learn(batch)
        total, count = module.sums_of(outputs, batch)
        loss = module.checked(total / count.clamp(min=1) + added)
        self._descend(module, loss, rest)
        schedule = module.lr_schedulers()
        if schedule is not None:
            schedule.step()
        return loss

    @staticmethod
    def _descend(module: Any, loss: Tensor, weights: list[nn.Parameter]) -> None:
        if not weights:
            return
        optimizer = module.optimizers()
        optimizer.zero_grad(set_to_none=True)
        module.manual_backward(loss, inputs=weights)
        if module.arguments.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, module.arguments.gradient_clip)
        optimizer.step()


def alternation_of(network: Model) -> Alternation | None:
    """How a network with a critic is trained; None for those without."""
    return Alternation(network) if network.critic_parameters() else None


def check_alone(network: Model, several: bool) -> None:
    """Refuses several devices for a network with a critic.

    Raises:
        CapabilityError: there are several.
    """
    if several and network.critic_parameters():
        raise CapabilityError(
            f"{type(network).__name__} is trained against a critic, in two steps that are not shared out: devices=1."
        )
