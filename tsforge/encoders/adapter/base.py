"""The contract of the family: a fitted network in, the same network with changed weights out."""

import re
from collections.abc import Mapping
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tsforge.errors import ArgumentError, CapabilityError
from tsforge.space import Declared

Network = TypeVar("Network", bound=nn.Module)
Place = tuple[nn.Module, str]


class Adapter(nn.Module):
    """Numbers that change the weights of any network, an encoder or a forecaster, in place.

    `attach` freezes the weights of the network and puts, where they are read, what `changed` makes of them. What trains
    is the adapter, which is a part of the network meanwhile, found by `attached`; its own state is small and fits every
    copy of the network that it was attached to. `merge` turns the network back into one of plain weights. Weights that
    are shared by several places are changed once. Complex weights and buffers are left as they are. A recurrent layer
    of torch keeps the weights it read last: a network with one is deep-copied after a call without gradients.

    A paper states `prepare`, which makes its parameters once the weights are known, and `changed`.

    Args:
        include: A pattern (`re.search`) that the name of a weight must hold to be changed; "" is all of them.
        exclude: A pattern of names that are left; "" leaves none.

    Raises:
        ArgumentError: a pattern is none.
    """

    given: ClassVar[tuple[str, ...]] = ()  # arguments that the data give and users never write
    space: ClassVar[Declared] = {}
    least_ndim: ClassVar[int] = 2  # weights with fewer dimensions, such as biases and norms, are left
    learning_rate: ClassVar[float] = 1e-2  # where a training starts unless it is told otherwise

    def __init__(self, include: str = "", exclude: str = "") -> None:
        super().__init__()
        for name, pattern in (("include", include), ("exclude", exclude)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ArgumentError(f"{name}={pattern!r} is no pattern of names ({error}).") from None
        self.include, self.exclude, self.used = include, exclude, False

    def prepare(self, weights: Mapping[str, Tensor]) -> None:
        """Makes the parameters for these weights, in their order.

        Args:
            weights: Name in the network -> weight, which is not to be kept.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it learns.")

    def changed(self, name: str, weight: Tensor) -> Tensor:
        """What is read in the place of a weight: the same shape and type."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it changes.")

    def takes(self, owner: nn.Module, name: str, weight: Tensor) -> bool:
        """Whether this weight of a submodule `owner` is changed."""
        named = re.search(self.include, name) and not (self.exclude and re.search(self.exclude, name))
        return bool(named) and weight.is_floating_point() and weight.ndim >= self.least_ndim

    def attach(self, module: Network) -> Network:
        """The module itself, whose weights are frozen and read through this adapter from now on.

        Raises:
            CapabilityError: the module has no weight of this kind, or an adapter already, or this one was attached.
        """
        if self.used:
            raise CapabilityError(f"This {type(self).__name__} was attached before: make another one for each network.")
        if attached(module) is not None:
            raise CapabilityError(f"{type(module).__name__} has an adapter already: merge it first.")
        places = self._places(module)
        if not places:
            raise CapabilityError(
                f"{type(self).__name__} finds no weight in {type(module).__name__} that it could change: there is none "
                f"of {self.least_ndim} or more dimensions whose name fits include={self.include!r} and "
                f"exclude={self.exclude!r}."
            )
        self.prepare({name: getattr(*found[0]).detach() for name, found in places.items()})
        self.used = True
        module.requires_grad_(False)
        for name, found in places.items():
            for owner, attribute in found:
                change = _Changed(self, name, owns=attached(module) is None)
                parametrize.register_parametrization(owner, attribute, change, unsafe=True)
        return module

    @torch.no_grad()
    def merge(self, module: Network) -> Network:
        """The module itself with plain weights, those that were read last, and without this adapter.

        Raises:
            CapabilityError: this adapter is not attached to it.
        """
        if attached(module) is not self:
            raise CapabilityError(f"This {type(self).__name__} is not attached to the {type(module).__name__} given.")
        places = _adapted(module)
        merged = [getattr(*place).clone() for place in places]  # before the first one is set, for some are shared
        for place, weight in zip(places, merged, strict=True):
            parametrize.remove_parametrizations(*place, leave_parametrized=False)
            getattr(*place).copy_(weight)
        return module

    def trainable_parameters(self) -> int:
        """Numbers that training moves."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    def _places(self, module: nn.Module) -> dict[str, list[Place]]:
        """The first name of each weight that is taken, and everywhere it is read."""
        first: dict[int, str] = {}
        places: dict[str, list[Place]] = {}
        for prefix, owner in module.named_modules():
            for attribute, weight in owner.named_parameters(recurse=False, remove_duplicate=False):
                name = first.setdefault(id(weight), f"{prefix}.{attribute}" if prefix else attribute)
                if self.takes(owner, name, weight):
                    places.setdefault(name, []).append((owner, attribute))
        return places


class _Changed(nn.Module):
    """Reads one weight through an adapter; of those that share it the first one has it as a submodule."""

    def __init__(self, adapter: Adapter, name: str, *, owns: bool) -> None:
        super().__init__()
        self.shared, self.name = [adapter], name
        if owns:
            self.adapter = adapter

    def forward(self, weight: Tensor) -> Tensor:
        return self.shared[0].changed(self.name, weight)


def attached(module: nn.Module) -> Adapter | None:
    """The adapter in a module, None where there is none."""
    return next((part for part in module.modules() if isinstance(part, Adapter)), None)


def slug(name: str) -> str:
    """A name of a weight as a key of a dictionary of parameters, which takes no dots."""
    return name.replace(".", "/")


def _adapted(module: nn.Module) -> list[Place]:
    """Every place that reads through the adapter in a module."""
    found = []
    for owner in list(module.modules()):
        if parametrize.is_parametrized(owner):
            lists = getattr(owner, "parametrizations")  # noqa: B009  # torch makes it
            found += [(owner, attribute) for attribute, changes in lists.items()
                      if any(isinstance(change, _Changed) for change in changes)]
    return found
