"""Networks in checks: built from a seed, run on toy images, and what they make looked at."""

from __future__ import annotations

import random
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from imgtrans.building import seeded
from imgtrans.components import Generator, kind_name, kind_noun
from imgtrans.parts import seed_everything
from imgtrans.testing.errors import CheckError, attempt, in_short
from imgtrans.testing.examples import example, side_for
from imgtrans.testing.material import toy_images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.components import Component

CHANNELS: Final = 3
BLOCK_CHANNELS: Final = 8

_TAKES: Final = {
    "generator": "it must take any batch of images, grey or in colour, whose sides are multiples "
    "of its `multiple`",
    "discriminator": "it must take any batch of images of this size, grey or in colour",
    "residual_block": "it must take any batch of any number of channels, height and width",
}


def build(component: type[Component], *channels: int, seed: str = "0") -> nn.Module:
    """Built from the same random numbers at every call; channels are those of `images_for`."""
    kind, made = kind_name(component), example(component)
    usual = {"generator": (CHANNELS, CHANNELS), "residual_block": (BLOCK_CHANNELS,)}
    channels = channels or usual.get(kind, (CHANNELS,))
    what = f"{component.__name__}.build({', '.join(map(str, channels))})"
    meta = torch.get_default_device().type == "meta"
    change = "it must make a network for any channels, from the fields' values as they are"
    if meta:
        change = (
            "on the meta device tensors have no values: build without reading any, so without "
            "`.item()`, `float(…)`, numpy, or an `if` on a tensor"
        )
    with seeded(seed), attempt(what + " on the meta device" * meta, change):
        network = made.build(*channels)  # type: ignore[attr-defined]
    if not isinstance(network, nn.Module):
        found = type(network).__name__
        message = f"{component.__name__}.build must return a torch.nn.Module, not a {found}"
        raise CheckError(message)
    for name, tensor in chain(network.named_parameters(), network.named_buffers()):
        if is_lazy(tensor):
            message = (
                f"{name} of {component.__name__} has no shape before the first forward: use "
                "layers that are told their channels, such as Conv2d instead of LazyConv2d"
            )
            raise CheckError(message)
    return network


def images_for(component: type[Component], count: int = 2) -> Tensor:
    """Toy images that the network takes; feature maps for a block."""
    kind = kind_name(component)
    if kind == "residual_block":
        return toy_images(count, (16, 16), BLOCK_CHANNELS)
    side = 128 if kind == "discriminator" else smallest_side(component)
    return toy_images(count, (side, side))


def smallest_side(component: type[Component]) -> int:
    """The smallest side of 64 pixels or more that a generator takes."""
    made = example(component)
    assert isinstance(made, Generator)  # noqa: S101 - narrows the type
    return side_for(made, 64)


@contextmanager
def drawn(step: int) -> Iterator[None]:
    """The random numbers of a training step, whoever draws them; the test's own go on after it."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - as in training
    with seeded("0"):
        seed_everything(0, step)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def outputs(
    component: type[Component],
    network: nn.Module,
    images: Tensor,
    *,
    step: int = 0,
    change: str = "",
) -> tuple[Tensor, ...]:
    """What the network makes: one tensor, or a discriminator's scales, of the shapes promised.

    Args:
        component: what the network is of.
        network: built by `build`.
        images: as many and as large as the check wants.
        step: whose random numbers dropout draws.
        change: what the author must change where it fails; default: what networks must take.
    """
    made = _run(component, network, images, step, change or _TAKES[kind_name(component)])
    if kind_name(component) == "discriminator":
        return _scales(component, made, len(images))
    require_shape(component, images, made)
    return (made,)


def require_shape(component: type[Component], images: Tensor, made: Any, when: str = "") -> None:
    """As generators and blocks promise.

    Raises:
        CheckError: what was made is no tensor of the images' shape.
    """
    if not isinstance(made, Tensor) or made.shape != images.shape:
        shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        message = (
            f"the {kind_noun(component)} {component.__name__} makes {shape} of "
            f"{tuple(images.shape)}{when}; it must keep the shape"
        )
        raise CheckError(message)


def _run(
    component: type[Component], network: nn.Module, images: Tensor, step: int, change: str
) -> Any:
    try:
        with drawn(step):
            return network(images)
    except Exception as error:
        if "when training, got input size" in str(error):  # torch's norms, of a single value
            change = (
                "in training a norm needs more than one value, and here is one pixel of one image: "
                "leave out the norm of so small a feature map, or halve the images less often"
            )
        where = f"{'×'.join(map(str, images.shape))} on {images.device}"
        message = (
            f"the {kind_noun(component)} {component.__name__} fails on images of {where}: "
            f"{in_short(error)}; {change}"
        )
        raise CheckError(message) from error


def _scales(component: type[Component], made: Any, count: int) -> tuple[Tensor, ...]:
    scales = tuple(made) if isinstance(made, (tuple, list)) else (made,)
    if not scales:
        message = (
            f"the discriminator {component.__name__} makes no scores at all; return a tensor of "
            "logits, or a tuple with one for each scale"
        )
        raise CheckError(message)
    for scores in scales:
        right = isinstance(scores, Tensor) and scores.shape[:2] == (count, 1) and scores.numel()
        if not right:
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            message = (
                f"the discriminator {component.__name__} makes {found} of {count} images; it must "
                "make logits, N×1×h×w or N×1, or a tuple of such tensors"
            )
            raise CheckError(message)
    return scales


def require_finite(
    component: type[Component], made: tuple[Tensor, ...], when: str, change: str
) -> None:
    """Neither NaN nor infinite.

    Raises:
        CheckError: some value is.
    """
    if not all(each.isfinite().all() for each in made):
        message = f"{component.__name__} makes values that are not finite {when}: {change}"
        raise CheckError(message)
