"""Everything that training has changed, as named tensors, and putting it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans.training import Phase, Trainer


def collect(trainer: Trainer) -> dict[str, Tensor]:
    """Everything that training has changed, by name."""
    tensors = {
        f"networks/{name}/{key}": value
        for name, network in trainer.networks.items()
        for key, value in network.state_dict().items()
    }
    for phase in trainer.phases:
        for name, parameter in phase.parameters.items():
            for key, value in phase.optimizer.state[parameter].items():
                tensors[f"optimizer/{phase.name}/{key}/{name}"] = torch.as_tensor(value)
    for name, pool in trainer.pools.items():
        if pool.images is not None:
            tensors[f"pool/{name}"] = pool.images
    return tensors


def restore(trainer: Trainer, tensors: Mapping[str, Tensor], step: int) -> None:
    """Put a saved state back, in place.

    Raises:
        ImgtransError: the state belongs to other networks; the text names what does not fit.
    """
    expected = {
        f"networks/{name}/{key}": value.shape
        for name, network in trainer.networks.items()
        for key, value in network.state_dict().items()
    }
    _refuse_other_networks(expected, tensors)
    for name, network in trainer.networks.items():
        network.load_state_dict(below(tensors, f"networks/{name}/"))
    for phase in trainer.phases:
        _restore_optimizer(phase, below(tensors, f"optimizer/{phase.name}/"))
    for name, pool in trainer.pools.items():
        saved = tensors.get(f"pool/{name}")
        pool.fill(saved.to(trainer.device) if saved is not None else torch.empty(0, 0, 0, 0))
    trainer.step = step


def _refuse_other_networks(
    expected: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]
) -> None:
    saved = {name: tensor.shape for name, tensor in tensors.items() if name.startswith("networks/")}
    if differing := differing_names(expected, saved):
        name = differing[0]
        there, wanted = saved.get(name), expected.get(name)
        message = (
            f"the checkpoint was made by other networks: {len(differing)} tensors differ; the "
            f"first, {name.removeprefix('networks/')}, is "
            f"{tuple(there) if there else 'missing'} in the file and "
            f"{tuple(wanted) if wanted else 'missing'} in the recipe's network\n"
            "  a plugin may have changed since; environment.json names the versions of the run"
        )
        raise ImgtransError(message)


MOMENTS: Final = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam remembers of each parameter."""


def _restore_optimizer(phase: Phase, saved: Mapping[str, Tensor]) -> None:
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in saved.items():
        moment, _, name = key.partition("/")
        moments.setdefault(name, {})[moment] = _laid_out_as(phase.parameters.get(name), value)
    for name, each in moments.items():
        if not _are_moments(phase.parameters.get(name), each):
            message = (
                f"the checkpoint's optimizer of the {phase.name} does not fit {name}: it has "
                f"{', '.join(f'{key} {tuple(value.shape)}' for key, value in each.items())}"
            )
            raise ImgtransError(message)
    # torch numbers parameters in the order they were given, which is that of ``parameters``.
    current = phase.optimizer.state_dict()
    current["state"] = {
        index: moments[name] for index, name in enumerate(phase.parameters) if name in moments
    }
    phase.optimizer.load_state_dict(current)


def _are_moments(parameter: Tensor | None, moments: Mapping[str, Tensor]) -> bool:
    """Whether Adam could have remembered these of a parameter."""
    return (
        parameter is not None
        and moments.keys() == MOMENTS
        and all(value.is_floating_point() for value in moments.values())
        and moments["step"].numel() == 1
        and all(moments[key].shape == parameter.shape for key in MOMENTS - {"step"})
    )


def _laid_out_as(parameter: Tensor | None, value: Tensor) -> Tensor:
    """A moment with its parameter's strides: fused optimizers walk both memories side by side.

    Files hold contiguous tensors, while parameters may have their channels last.
    """
    if parameter is None or parameter.shape != value.shape:
        return value
    like = torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format)
    return like.copy_(value)


def differing_names(one: Mapping[str, torch.Size], other: Mapping[str, torch.Size]) -> list[str]:
    """The names of tensors that are missing in either, or have other shapes there."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
