"""`operator`: a function of tensors as an operator of torch, which compiles, exports and differentiates like others.

It does what `torch.library.custom_op` does, but for one thing: that one imports torch's compiler at the first call,
which takes a second that a forecast on a CPU has no use for.
"""

from collections.abc import Callable
from typing import Any

import torch

LIBRARY = torch.library.Library("tsforge", "FRAGMENT")


class operator:
    """Registers a function under `tsforge::name`; `register_fake` and `register_autograd` are those of torch.

    Args:
        name: What it is called in `torch.ops.tsforge`.
    """

    def __init__(self, name: str) -> None:
        self.name = f"tsforge::{name}"

    def __call__(self, function: Callable) -> "operator":
        """Defines the operator by the annotations of the function, on every device."""
        schema = torch.library.infer_schema(function, mutates_args=())
        LIBRARY.define(self.name.removeprefix("tsforge::") + schema, tags=(torch.Tag.pt2_compliant_tag,))
        LIBRARY.impl(self.name.removeprefix("tsforge::"), function, "CompositeExplicitAutograd")
        return self

    def register_fake(self, function: Callable) -> Callable:
        """Says which shapes and types come out."""
        torch.library.register_fake(self.name, function, lib=LIBRARY)
        return function

    def register_autograd(self, backward: Callable, *, setup_context: Callable | None = None) -> None:
        """Says how it is differentiated."""
        arguments: dict[str, Any] = {} if setup_context is None else {"setup_context": setup_context}
        torch.library.register_autograd(self.name, backward, lib=LIBRARY, **arguments)
