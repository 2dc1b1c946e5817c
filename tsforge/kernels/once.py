"""Scans have a gradient; the gradient of the gradient is refused, where torch would else give zeros or a riddle."""

from typing import Any

from tsforge.errors import CapabilityError


def differentiable_once(backward: Any) -> None:
    """Makes the backward operator of a scan say so when it is differentiated."""

    def refuse(ctx: Any, *grads: Any) -> Any:
        raise CapabilityError(
            "The scans of tsforge are differentiated once. For second derivatives run the scan under "
            "tsforge.kernels.use('reference'), the plain loop on torch's own tape."
        )

    backward.register_autograd(refuse)
