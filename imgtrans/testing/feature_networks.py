"""What feature networks promise: features of an image that are its own, whoever asks where."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from imgtrans.components import FeatureNetwork
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.examples import example
from imgtrans.testing.judges import require_judge, without_chance, without_torch
from imgtrans.testing.material import three_unlike, toy_images
from imgtrans.testing.networks import drawn

if TYPE_CHECKING:
    from imgtrans.components import Component

SHAPES: Final = ((1, (64, 64)), (3, (64, 64)), (2, (48, 80)), (2, (16, 12)))
"""Batches that every feature network takes: images, height and width."""
TOLERANCE: Final = 1e-3
"""What larger batches may change of the features, of their largest: sums in another order."""

_TAKES: Final = "it must take any batch of colour images, of any height and width"


def _example(component: type[Component]) -> FeatureNetwork:
    made = example(component)
    assert isinstance(made, FeatureNetwork)  # noqa: S101 - these checks are for such networks
    return made


def _build(component: type[Component], step: int = 0) -> nn.Module:
    name, made = component.__name__, _example(component)
    change = (
        "put its weights where it looks for them, or give the test a network that has some: "
        f"parametrize_with_checks(…, examples=[{name}(…)])"
    )
    with drawn(step), attempt(f"{name}.build()", change):
        network: Any = made.build()
    if not isinstance(network, nn.Module):
        message = f"{name}.build must return a torch.nn.Module, not a {type(network).__name__}"
        raise CheckError(message)
    return network


def _features(
    component: type[Component],
    network: nn.Module,
    images: Tensor,
    *,
    change: str = _TAKES,
    step: int = 0,
) -> Tensor:
    """``N×D`` float32 that the network makes, as it must be."""
    name = f"the feature network {component.__name__}"
    shape = "×".join(map(str, images.shape))
    what = f"{name} on images of {shape} on {images.device}"
    with torch.no_grad(), without_chance(step, name), attempt(what, change):
        made: Any = network(images)
    right = isinstance(made, Tensor) and made.ndim == 2 and len(made) == len(images)
    if not right or not made.numel() or made.dtype != torch.float32:
        found = repr(made)
        if isinstance(made, Tensor):
            found = f"a tensor of {tuple(made.shape)} and {made.dtype}"
        message = (
            f"{name} makes {found} of images of {shape}; it must make N×D float32: one row of "
            "features for each image, as .mean(dim=(2, 3)) makes it of maps"
        )
        raise CheckError(message)
    assert isinstance(made, Tensor)  # noqa: S101 - narrows the type
    return made


def says_which_it_is(component: type[Component]) -> None:
    """Figures are compared, and features of real images kept, by what ``judge`` says."""
    made, name = _example(component), component.__name__
    change = (
        "it is asked wherever a figure is shown: let it read fields and small files, and leave "
        "torch and the weights to `build`"
    )
    with without_torch(), attempt(f"{name}.judge", change):
        judges: list[Any] = [made.judge, made.judge]
    require_judge(judges[0], f"{name}.judge")
    if judges[0] != judges[1]:
        message = f"{name}.judge is {judges[0]} once and {judges[1]} then; it names one network"
        raise CheckError(message)
    change = "let its fields be plain values, such as tuples instead of lists"
    with attempt(f"hashing {name}, so that several metrics share its features,", change):
        hash(made)


def is_frozen(component: type[Component]) -> None:
    """Built to look, on the processor: nothing of it is trained, and it drops nothing."""
    network, name = _build(component), component.__name__
    training = next((part for part, each in network.named_modules() if each.training), None)
    if training is not None:
        message = (
            f"{f'{training} of ' if training else ''}{name} is built in training mode: return "
            "network.eval(), so that norms and dropout are those of the finished network"
        )
        raise CheckError(message)
    for part, tensor in chain(network.named_parameters(), network.named_buffers()):
        if tensor.requires_grad:
            message = (
                f"parameter {part} of {name} waits for gradients: end `build` with "
                "network.requires_grad_(False)"
            )
            raise CheckError(message)
        if tensor.device.type != "cpu":
            message = (
                f"{part} of {name} is built on {tensor.device}: load weights with "
                'map_location="cpu"; the network is moved to where images are'
            )
            raise CheckError(message)


def makes_features(component: type[Component]) -> None:
    """As many finite ones of any image as of any other, and others of another image."""
    network, name = _build(component), f"the feature network {component.__name__}"
    widths: dict[int, str] = {}
    cases = [(toy_images(count, size), "random images") for count, size in SHAPES]
    for images, which in (*cases, (torch.ones_like(toy_images(1)), "white images")):
        made = _features(component, network, images)
        if not made.isfinite().all():
            message = (
                f"{name} makes features that are not finite of {which}: keep divisions, roots and "
                "logarithms away from 0"
            )
            raise CheckError(message)
        widths.setdefault(made.shape[1], "×".join(map(str, images.shape[2:])))
    if len(widths) > 1:
        (one, small), (other, large), *_ = widths.items()
        message = (
            f"{name} makes {one} features of images of {small} and {other} of {large}; resize "
            "images first, or average over all places"
        )
        raise CheckError(message)
    first, second = _features(component, network, toy_images(2))
    if torch.equal(first, second):
        message = f"{name} makes the same features of different images: use the images"
        raise CheckError(message)


def sees_each_image_by_itself(component: type[Component]) -> None:
    """A figure must not depend on which images were in a batch together."""
    network, images = _build(component), three_unlike()
    together = _features(component, network, images)
    alone = torch.cat([_features(component, network, image[None]) for image in images])
    if (together - alone).abs().max() > TOLERANCE * alone.abs().max():
        message = (
            f"the feature network {component.__name__} makes other features of an image beside "
            "others than alone: take means and deviations over each image, never over the batch"
        )
        raise CheckError(message)


def sees_the_same_again(component: type[Component]) -> None:
    """Built again, or asked again, it is the same network."""
    networks, images = [_build(component, step) for step in range(2)], toy_images()
    first = _features(component, networks[0], images)
    for step, network in enumerate((networks[0], networks[1]), start=1):
        if not torch.equal(first, _features(component, network, images, step=step)):
            what = "asked" if step == 1 else "built"
            message = (
                f"the feature network {component.__name__} makes other features of the same "
                f"images when it is {what} again: take all weights from the file that `judge` "
                "names, and keep nothing from call to call"
            )
            raise CheckError(message)


def leaves_its_images_alone(component: type[Component]) -> None:
    """Other metrics see the same images afterwards."""
    network, images = _build(component), toy_images()
    before = images.clone()
    _features(component, network, images)
    if not torch.equal(before, images):
        message = (
            f"the feature network {component.__name__} changes the images that it is given: let "
            "its first operation make a new tensor, so not inplace=True"
        )
        raise CheckError(message)


def moves_as_a_whole(component: type[Component]) -> None:
    """It works where the images are; the meta device stands for a GPU here."""
    network = _build(component)
    change = (
        "register constants as buffers, make new tensors with device=images.device, and decide "
        "nothing by values: on the meta device, which stands for a GPU here, there are none"
    )
    with attempt(f"moving the feature network {component.__name__}", change):
        network.to("meta")
    _features(component, network, toy_images().to("meta"), change=change)


CHECKS: Final = (
    says_which_it_is,
    is_frozen,
    makes_features,
    sees_each_image_by_itself,
    sees_the_same_again,
    leaves_its_images_alone,
    moves_as_a_whole,
)
