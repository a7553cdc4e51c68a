"""What generators, discriminators and residual blocks promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from imgtrans.building import seeded
from imgtrans.components import Generator, kind_noun
from imgtrans.testing.material import CheckError, example, toy_images

if TYPE_CHECKING:
    from imgtrans.components import Component

CHANNELS: Final = 3
BLOCK_CHANNELS: Final = (8, 64)


def _network(component: type[Component], *channels: int) -> nn.Module:
    """Built from the same random numbers at every call."""
    made: Any = example(component)
    with seeded("0"):
        network = made.build(*channels)
    if not isinstance(network, nn.Module):
        found = type(network).__name__
        message = f"{component.__name__}.build must return a torch.nn.Module, not a {found}"
        raise CheckError(message)
    return network


def _generator(component: type[Component]) -> nn.Module:
    return _network(component, CHANNELS, CHANNELS)


def _side(component: type[Component]) -> int:
    """The smallest side of 64 pixels or more that a generator takes."""
    made = example(component)
    multiple = made.multiple if isinstance(made, Generator) else 1
    return -(-64 // multiple) * multiple


def _images(component: type[Component], count: int = 2) -> Tensor:
    side = _side(component)
    return toy_images(count, (side, side))


def _run(component: type[Component], network: nn.Module, images: Tensor) -> Any:
    """What the network makes, or an error that says on which images it failed."""
    try:
        return network(images)
    except Exception as error:
        where = f"{'×'.join(map(str, images.shape))} on {images.device}"
        message = (
            f"the {kind_noun(component)} {component.__name__} fails on images of {where}: "
            f"{type(error).__name__}: {error}"
        )
        raise CheckError(message) from error


def _require_shape(component: type[Component], images: Tensor, made: Any) -> None:
    if not isinstance(made, Tensor) or made.shape != images.shape:
        shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        message = (
            f"the {kind_noun(component)} {component.__name__} makes {shape} of "
            f"{tuple(images.shape)}; it must keep the shape"
        )
        raise CheckError(message)


def keeps_shape(component: type[Component]) -> None:
    """Square images and others, grey and in colour; sides are multiples of ``multiple``."""
    side = _side(component)
    for channels in (1, CHANNELS):
        network = _network(component, channels, channels)
        for count, size in ((1, (side, side)), (2, (side, side)), (2, (side, 2 * side))):
            images = toy_images(count, size, channels)
            _require_shape(component, images, _run(component, network, images))


def block_keeps_shape(component: type[Component]) -> None:
    """Whatever the channels, the size and the batch: blocks are put one after the other."""
    for channels in BLOCK_CHANNELS:
        block = _network(component, channels)
        for count, size in ((1, (16, 16)), (2, (16, 16)), (2, (8, 12))):
            images = toy_images(count, size, channels)
            _require_shape(component, images, _run(component, block, images))


def stays_in_range(component: type[Component]) -> None:
    """Images are in [-1, 1], also what is made of extreme ones."""
    network = _generator(component)
    images = _images(component)
    for case in (images, torch.ones_like(images), 50 * images):
        largest = _run(component, network, case).abs().max().item()
        if not largest <= 1.0:
            message = (
                f"the generator {component.__name__} makes values up to {largest:.3g}; end it in a "
                "tanh, which keeps them in [-1, 1]"
            )
            raise CheckError(message)


def trains_every_parameter(component: type[Component]) -> None:
    """A parameter without a gradient is dead weight, or was forgotten in ``forward``."""
    network = _generator(component)
    made = _run(component, network, _images(component))
    _require_gradients(component, network, (made - 0.5).square().mean())


def block_trains_every_parameter(component: type[Component]) -> None:
    """A parameter without a gradient is dead weight, or was forgotten in ``forward``."""
    block = _network(component, 8)
    made = _run(component, block, toy_images(2, (16, 16), 8))
    _require_gradients(component, block, (made - 0.5).square().mean())


def _require_gradients(component: type[Component], network: nn.Module, loss: Tensor) -> None:
    parameters = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if parameters and loss.requires_grad:
        loss.backward()
    for name, parameter in parameters:
        gradient = parameter.grad
        if gradient is None or not gradient.isfinite().all():
            what = "no gradient" if gradient is None else "a gradient that is not finite"
            message = (
                f"parameter {name} of {component.__name__} gets {what}: use it in `forward`, "
                "without detach and without division by zero"
            )
            raise CheckError(message)


def draws_weights_from_torch(component: type[Component]) -> None:
    """The recipe's seed decides the first weights, so a run can be repeated."""
    first, again = (_generator(component).state_dict() for _ in range(2))
    if any(not torch.equal(first[name], again[name]) for name in first):
        message = (
            f"{component.__name__} has other first weights though the seed is the same: draw them "
            "from torch's global generator in `build`"
        )
        raise CheckError(message)


def comes_back_from_its_weights(component: type[Component]) -> None:
    """A model file holds the state dict and nothing else of a network."""
    network, images = _generator(component), _images(component)
    _run(component, network, images)  # so that running statistics are not the first ones
    made: Any = example(component)
    with seeded("1"):
        again = made.build(CHANNELS, CHANNELS)
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        same = torch.equal(network.eval()(images), again.eval()(images))
    if not same:
        message = (
            f"{component.__name__} with the weights of another one makes another image: register "
            "all that it has learned as parameters or buffers"
        )
        raise CheckError(message)


def runs_on_meta(component: type[Component]) -> None:
    """``validate --dry-run`` builds networks without memory, to tell shapes and sizes."""
    with torch.device("meta"):
        network = _generator(component)
    images = _images(component).to("meta")
    _require_shape(component, images, _run(component, network, images))


def runs_in_bfloat16(component: type[Component]) -> None:
    """GPUs train in mixed precision."""
    network, images = _generator(component), _images(component)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = _run(component, network, images)
    if not made.float().isfinite().all():
        message = (
            f"{component.__name__} makes values that are not finite under bfloat16 autocast: keep "
            "sums over many values and divisions in float32"
        )
        raise CheckError(message)


def exports(component: type[Component]) -> None:
    """Trained models leave as graphs, which `torch.export` must be able to trace."""
    network, images = _generator(component).eval(), _images(component)
    try:
        graph = torch.export.export(network, (images,)).module()
    except Exception as error:
        cause = str(error).strip().partition("\n")[0]
        message = (
            f"{component.__name__} cannot be exported ({type(error).__name__}: {cause}): let "
            "`forward` hold tensor operations only, without branches on their values"
        )
        raise CheckError(message) from error
    _require_shape(component, images, graph(images))


def _scores(component: type[Component], network: nn.Module, images: Tensor) -> tuple[Any, ...]:
    made = _run(component, network, images)
    scales = tuple(made) if isinstance(made, (tuple, list)) else (made,)
    if not scales:
        message = f"the discriminator {component.__name__} makes no scores at all"
        raise CheckError(message)
    return scales


def scores_every_image(component: type[Component]) -> None:
    """Logits, one or more per image; several scales are a tuple of tensors."""
    for channels, count in ((1, 2), (CHANNELS, 1), (CHANNELS, 2)):
        network, images = _network(component, channels), toy_images(count, (128, 128), channels)
        for scores in _scores(component, network, images):
            wrong = not isinstance(scores, Tensor) or scores.shape[:2] != (count, 1)
            if wrong or not scores.numel() or not scores.isfinite().all():
                found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                message = (
                    f"the discriminator {component.__name__} makes {found} of {count} images; it "
                    "must make finite logits, N×1×h×w or N×1, or a tuple of such tensors"
                )
                raise CheckError(message)


def differentiates_twice(component: type[Component]) -> None:
    """Gradient penalties differentiate the gradient of the scores by the images."""
    network = _network(component, CHANNELS)
    images = toy_images(2, (128, 128)).requires_grad_()
    total = sum(scores.square().sum() for scores in _scores(component, network, images))
    try:
        (gradient,) = torch.autograd.grad(total, images, create_graph=True)
        gradient.square().sum().backward()
    except RuntimeError as error:
        message = (
            f"the discriminator {component.__name__} cannot be differentiated twice ({error}): use "
            "operations whose gradient has a gradient"
        )
        raise CheckError(message) from error


GENERATOR: Final = (
    keeps_shape,
    stays_in_range,
    trains_every_parameter,
    draws_weights_from_torch,
    comes_back_from_its_weights,
    runs_on_meta,
    runs_in_bfloat16,
    exports,
)
DISCRIMINATOR: Final = (scores_every_image, differentiates_twice)
RESIDUAL_BLOCK: Final = (block_keeps_shape, block_trains_every_parameter)
