"""What every network promises: it learns, its weights are all it is, it runs where others do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import load, save
from torch import Tensor

from imgtrans.components import kind_name
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.networks import build, images_for, outputs, require_finite

if TYPE_CHECKING:
    from torch import nn

    from imgtrans.components import Component

FORWARDS: Final = 32
"""Steps in one of which each parameter must be used: stochastic depth leaves some out at times."""


def _differentiate(component: type[Component], made: tuple[Tensor, ...]) -> None:
    """Gradients as a loss would give them, in whatever the outputs depend on."""
    loss = torch.stack([(each.float() - 0.5).square().mean() for each in made]).sum()
    if loss.requires_grad:
        change = "leave tensors as they are once they are used, and give a backward of your own all"
        with attempt(f"the gradient of {component.__name__}", f"{change} that it needs"):
            loss.backward()


def trains_every_parameter(component: type[Component]) -> None:
    """A parameter without a gradient is dead weight, or was forgotten in ``forward``."""
    network, images = build(component), images_for(component)
    waiting = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not waiting and kind_name(component) != "residual_block":
        message = (
            f"{component.__name__} has no parameter to train: make its layers attributes of the "
            "module, several of them an nn.ModuleList"
        )
        raise CheckError(message)
    for step in range(FORWARDS):
        if not waiting:
            break
        network.zero_grad()
        _differentiate(component, outputs(component, network, images, step=step))
        _require_finite_gradients(component, network)
        waiting = {name: p for name, p in waiting.items() if p.grad is None}
    if waiting:
        message = (
            f"parameter {next(iter(waiting))} of {component.__name__} gets no gradient: use it in "
            "`forward`, without detach"
        )
        raise CheckError(message)


def _require_finite_gradients(component: type[Component], network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            message = (
                f"parameter {name} of {component.__name__} gets a gradient that is not finite: "
                "keep divisions, roots and logarithms away from 0"
            )
            raise CheckError(message)


def passes_gradients_on(component: type[Component]) -> None:
    """What made the images learns through this network: cycles go through two generators."""
    network, images = build(component), images_for(component).requires_grad_()
    for step in range(FORWARDS):
        # A copy, because networks in the middle may work in place.
        _differentiate(component, outputs(component, network, images.clone(), step=step))
        if images.grad is not None:
            break
    if images.grad is None or not images.grad.isfinite().all():
        what = "no gradient" if images.grad is None else "a gradient that is not finite"
        message = (
            f"{component.__name__} gives its images {what}: let `forward` be differentiable all "
            "the way, without detach, no_grad and divisions by zero"
        )
        raise CheckError(message)


def leaves_images_alone(component: type[Component]) -> None:
    """A step's images go through several networks and losses."""
    network, images = build(component), images_for(component)
    before = images.clone()
    outputs(component, network, images)
    if not torch.equal(before, images):
        message = (
            f"{component.__name__} changes the images that it is given: let its first operation "
            "make a new tensor, so not inplace=True"
        )
        raise CheckError(message)


def draws_weights_from_torch(component: type[Component]) -> None:
    """The recipe's seed decides the first weights, so a run can be repeated."""
    networks = [build(component) for _ in range(2)]
    shared = set(networks[0].parameters()) & set(networks[1].parameters())
    if shared or networks[0] is networks[1]:
        message = (
            f"{component.__name__} makes one network for two: each direction needs its own, so "
            "make new layers at every call of `build`"
        )
        raise CheckError(message)
    first, again = (network.state_dict() for network in networks)
    if first.keys() != again.keys() or any(
        not torch.equal(value, again[name])
        for name, value in first.items()
        if isinstance(value, Tensor)
    ):
        message = (
            f"{component.__name__} has other first weights though the seed is the same: draw them "
            "from torch's global generator in `build`"
        )
        raise CheckError(message)


def comes_back_from_its_weights(component: type[Component]) -> None:
    """Checkpoints and model files hold the state dict and nothing else of a network."""
    network, images = build(component), images_for(component)
    outputs(component, network, images)  # so that running statistics are not the first ones
    again = build(component, seed="1")
    with attempt(
        f"the state dict of {component.__name__}, saved and loaded again,",
        "let it hold tensors only, of shapes that the fields decide, each with memory of its own",
    ):
        plain = {name: value.contiguous() for name, value in network.state_dict().items()}
        again.load_state_dict(load(save(plain)))
    with torch.no_grad():
        made, same = (outputs(component, each.eval(), images) for each in (network, again))
    if not all(torch.equal(*pair) for pair in zip(made, same, strict=True)):
        message = (
            f"{component.__name__} with the weights of another one makes something else: register "
            "all that it has learned as parameters or buffers, several layers as an nn.ModuleList"
        )
        raise CheckError(message)


def runs_on_meta(component: type[Component]) -> None:
    """``validate --dry-run`` builds networks without memory, to tell shapes and sizes."""
    with torch.device("meta"):
        network = build(component)
    change = (
        "tensors have no values there: let `forward` decide nothing by them, and make new tensors "
        "with device=images.device"
    )
    outputs(component, network, images_for(component).to("meta"), change=change)


def runs_in_bfloat16(component: type[Component]) -> None:
    """GPUs train in mixed precision."""
    network, images = build(component), images_for(component)
    change = "make new tensors of the type of those they meet, as torch.ones_like does"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = outputs(component, network, images, change=change)
    change = "keep sums over many values and divisions in float32"
    require_finite(component, made, "under bfloat16 autocast", change)


def recognises_only_its_own(component: type[Component]) -> None:
    """``imgtrans import`` asks every network about every file: one must not claim another's."""
    strangers: tuple[dict[str, tuple[int, ...]], ...] = (
        {},
        {"stranger.weight": (5, 3, 4, 4), "stranger.bias": (5,), "stranger.count": ()},
    )
    for shapes in strangers:
        change = "return None for tensors that are not its own, whatever they are called"
        with attempt(f"{component.__name__}.recognise({shapes})", change):
            answer = component.recognise(shapes)  # type: ignore[attr-defined]
        if answer is not None:
            message = f"{component.__name__}.recognise takes {shapes} for its own: {change}"
            raise CheckError(message)


CHECKS: Final = (
    trains_every_parameter,
    passes_gradients_on,
    draws_weights_from_torch,
    comes_back_from_its_weights,
    runs_on_meta,
    runs_in_bfloat16,
)
