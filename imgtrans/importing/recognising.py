"""Which installed component some tensors are weights of, and whether all of them fit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from imgtrans.components import Discriminator, Generator, Recognised
from imgtrans.components.networks import Recognisable
from imgtrans.plugins import registry
from imgtrans.problems import ImgtransError, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from imgtrans.components import Component
    from imgtrans.importing.reading import Weights

State = dict[str, torch.Tensor]

_COUNTS: Final = "num_batches_tracked"


class JudgesPairsError(ImgtransError):
    """A discriminator sees two images at a time, and those here see one."""


@dataclass(frozen=True)
class Network:
    """A file's network: what it is built from, and its state dict as it is here."""

    path: Path
    component: Generator | Discriminator
    name: str
    """Of the component, in full."""
    channels: int
    tensors: dict[str, Tensor]
    recipe: str
    said: tuple[str, ...]


def recognise(path: Path, weights: Weights) -> Network:
    """The component that these are weights of, filled.

    Raises:
        JudgesPairsError: they are of a discriminator that sees an image and its translation.
        ImgtransError: no component knows them, several do, or something does not fit.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    found, failed = _ask(shapes)
    fits = {name: _compare(each, like, shapes) for name, (each, like) in found.items()}
    fitting = [name for name, problems in fits.items() if not problems]
    if not found:
        raise ImgtransError(_unknown(path, shapes, failed))
    if len(fitting) > 1:
        message = f"{path} fits several components: {', '.join(fitting)}; uninstall all but one"
        raise ImgtransError(message)
    if not fitting:
        looks = (_misfit(path, name, each, fits[name]) for name, (each, _) in found.items())
        raise ImgtransError("\n".join(looks))
    (name,) = fitting
    chosen, like = found[name]
    channels = _channels(path, chosen)
    tensors, changed = _filled(chosen, like, weights.tensors)
    assert isinstance(chosen.component, (Generator, Discriminator))  # noqa: S101 - of whom we asked
    said = (*weights.said, *chosen.decisions, *changed, *failed)
    return Network(path, chosen.component, name, channels, tensors, chosen.recipe, said)


def _ask(
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, tuple[Recognised, State]], list[str]]:
    """What every installed network makes of the shapes, and its state dict without memory.

    One that fails hides no other; it is told.
    """
    found, failed = {}, []
    for kind in (Generator, Discriminator):
        for name, component in registry().components(kind).items():
            try:
                answer = component.recognise(shapes)  # type: ignore[attr-defined]
                if answer is not None:
                    with torch.device("meta"):
                        network = answer.component.build(*answer.channels)
                    found[name] = (answer, network.state_dict())
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything at all
                failed.append(f"{name} could not look: {type(error).__name__}: {error}")
    return found, failed


def _compare(
    recognised: Recognised, like: State, shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """What does not fit, a line each, by the names in the file."""
    theirs = {ours: name for name, ours in recognised.names.items()}
    given = {recognised.names.get(name, name): name for name in shapes}
    given.pop(None, None)
    problems = [
        f"{theirs.get(ours, ours)} is missing; it would be {_written(wanted.shape)}"
        for ours, wanted in like.items()
        if ours not in given and not ours.endswith(_COUNTS)
    ]
    for ours, name in given.items():
        has = _written(shapes[name])
        if ours not in like:
            problems.append(f"{name} ({has}) is not expected")
        elif shapes[name] != tuple(like[ours].shape):
            problems.append(f"{name} is {has} instead of {_written(like[ours].shape)}")
    return problems


def _channels(path: Path, recognised: Recognised) -> int:
    """Of the images on both sides."""
    first, *others = recognised.channels
    if any(other != first for other in others):
        message = (
            f"{path} makes images of {others[-1]} channels from images of {first}; imgtrans "
            "translates between images of equal channels"
        )
        raise ImgtransError(message)
    if first in (2, 4, 6) and isinstance(recognised.component, Discriminator):
        message = (
            f"{path} sees {first} channels, so it judges pairs of images; discriminators here see "
            "single ones, of 1 or 3"
        )
        raise JudgesPairsError(message)
    if first not in (1, 3):
        message = f"{path} sees {first} channels; images here have 1 or 3"
        raise ImgtransError(message)
    return first


def _filled(
    recognised: Recognised, like: State, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The network's state dict from the file's tensors, and what had to be changed for it."""
    renamed = {recognised.names.get(name, name): tensor for name, tensor in tensors.items()}
    missing = [name for name in like if name not in renamed]
    filled = {
        name: renamed[name].to(wanted.dtype)
        if name in renamed
        else torch.zeros(wanted.shape, dtype=wanted.dtype)
        for name, wanted in like.items()
    }
    kinds = {str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()}
    said = [f"{kind} becomes float32" for kind in sorted(kinds - {"float32"})]
    if missing:
        verbs = "is not there and becomes" if len(missing) == 1 else "are not there and become"
        said.append(f"{len(missing)} {_COUNTS} {verbs} 0: torch before 0.4.1")
    return filled, said


def _written(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _misfit(path: Path, name: str, found: Recognised, problems: Sequence[str]) -> str:
    what = "\n".join(f"    {line}" for line in found.decisions)
    fit = "does not fit" if len(problems) == 1 else "do not fit"
    return (
        f"{path} looks like {name}:\n{what}\n  but {len(problems):,} of its tensors {fit}\n"
        f"{listed(problems)}"
    )


def _unknown(path: Path, shapes: Mapping[str, tuple[int, ...]], failed: Sequence[str]) -> str:
    known = [
        name
        for kind in (Generator, Discriminator)
        for name, component in registry().components(kind).items()
        if _own(component)
    ]
    held = [f"{name}  {_written(shape)}" for name, shape in shapes.items()]
    return "\n".join(
        [
            f"{path} holds weights of no network that is known here; it has",
            listed(held),
            f"  known are those of {', '.join(known) or 'none'}",
            *(f"  {line}" for line in failed),
        ]
    )


def _own(component: type[Component]) -> bool:
    """Whether a component knows published weights at all."""
    inherited = Recognisable.recognise.__func__  # type: ignore[attr-defined]
    return component.recognise.__func__ is not inherited  # type: ignore[attr-defined]
