"""What discriminators promise: scores of every image, whose gradients have gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from imgtrans.testing import weights
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.material import toy_images
from imgtrans.testing.networks import build, images_for, outputs, require_finite

if TYPE_CHECKING:
    from imgtrans.components import Component


def scores_every_image(component: type[Component]) -> None:
    """Logits, one or more per image; several scales are a tuple of tensors."""
    for channels in (1, 3):
        network = build(component, channels)
        for count in (1, 2):
            made = outputs(component, network, toy_images(count, (128, 128), channels))
            change = "keep divisions, roots and logarithms away from 0"
            require_finite(component, made, "of random images", change)


def differentiates_twice(component: type[Component]) -> None:
    """Gradient penalties differentiate the gradient of the scores by the images."""
    network, images = build(component), images_for(component).requires_grad_()
    made = outputs(component, network, images.clone())
    total = torch.stack([scores.square().sum() for scores in made]).sum()
    with attempt(
        f"differentiating the discriminator {component.__name__} twice",
        "use operations whose gradient has a gradient",
    ):
        (gradient,) = torch.autograd.grad(total, images, create_graph=True)
        gradient.square().sum().backward()
    if any(p.grad is not None and not p.grad.isfinite().all() for p in network.parameters()):
        message = (
            f"the second gradient of the discriminator {component.__name__} is not finite: keep "
            "divisions and roots away from 0"
        )
        raise CheckError(message)


CHECKS: Final = (
    scores_every_image,
    differentiates_twice,
    weights.leaves_images_alone,
    *weights.CHECKS,
    weights.recognises_only_its_own,
)
