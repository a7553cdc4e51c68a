"""Weights that a training starts from: which networks of a file become which of a recipe's.

Only weights are taken; optimizers, pools and steps begin anew.
"""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imgtrans.building import build_trainer
from imgtrans.checkpoint import Content, CorruptFileError, found, read
from imgtrans.components import dump
from imgtrans.inference import MODEL
from imgtrans.problems import ImgtransError, RecipeError, as_toml, listed
from imgtrans.state import below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from imgtrans.monitor.display import Display
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer

_Role = tuple[str, int]
"""``("generators", 0)`` of the first direction, ``("discriminators", 1)`` of the second domain."""


def located(recipe: Recipe) -> Recipe:
    """The recipe with the whole path of what it starts from, as runs save it.

    Raises:
        RecipeError: there is nothing at that path.
    """
    if recipe.train.start_from is None:
        return recipe
    path = os.path.abspath(Path(recipe.train.start_from).expanduser())  # noqa: PTH100 - no links
    if not Path(path).exists():
        message = (
            f'[train] start_from = "{recipe.train.start_from}": there is no such file\n'
            f"  looked for {path}; give a model file, a checkpoint or a run's folder"
        )
        raise RecipeError(message)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"start_from": path})})


def start(trainer: Trainer, recipe: Recipe, display: Display) -> None:
    """Fill a trainer's networks with the weights that its recipe starts from, if it does.

    Raises:
        ImgtransError: there are none, they are damaged, or do not fit; the text lists what.
    """
    if recipe.train.start_from is None:
        return
    content, taken = _taken(trainer.networks, recipe, display.warn)
    for name, tensors in taken.items():
        trainer.networks[name].load_state_dict(tensors)
    for line in _told(trainer.networks, taken, recipe):
        display.say(line)
    for line in _other_settings(content, taken, recipe):
        display.warn(line)


def preview(recipe: Recipe) -> str:
    """What `start` would say; nothing is filled.

    Raises:
        ImgtransError: as `start`.
    """
    recipe = located(recipe)
    try:
        networks = build_trainer(recipe, torch.device("meta"), ()).networks
    except RecipeError:  # a component that meta cannot build, and the plan had to run for real
        networks = build_trainer(recipe, torch.device("cpu"), ()).networks
    damaged: list[str] = []
    content, taken = _taken(networks, recipe, damaged.append)
    told = _told(networks, taken, recipe)
    return "\n".join([*damaged, *told, *_other_settings(content, taken, recipe)])


def _read(path: Path, warn: Callable[[str], None]) -> Content:
    """A file; of a run its newest checkpoint, which has discriminators, or else its model.

    A damaged one stays where it is, for whoever resumes that run; the next is taken, loudly.
    """
    files = [*found(path / "checkpoints"), path / MODEL] if path.is_dir() else [path]
    files = [file for file in files if file.is_file()]
    if not files:
        message = f"there is neither a checkpoint nor a model at {path}"
        raise ImgtransError(message)
    for file, older in zip_longest(files, files[1:]):
        try:
            content = read(file)
            break
        except CorruptFileError as error:
            if older is None:
                raise
            warn(f"{error}; {older.name} is taken instead")
    domains = content.about.get("recipe", {}).get("domains")
    if not _are_two_names(domains) or content.about.get("kind") not in ("model", "checkpoint"):
        message = f"{file} is no model and no checkpoint, so nothing can start from it"
        raise ImgtransError(message)
    return content


def _taken(
    networks: Mapping[str, nn.Module], recipe: Recipe, warn: Callable[[str], None]
) -> tuple[Content, dict[str, dict[str, Tensor]]]:
    """The file, and its tensors for each network that it has weights of."""
    path = Path(str(recipe.train.start_from))
    content = _read(path, warn)
    there, taken = dict(_roles(content, recipe)), {}
    for name, role in _own_roles(recipe).items():
        prefix = there.get(role)
        tensors = below(content.tensors, prefix) if prefix is not None else {}
        if tensors and name in networks:
            taken[name] = tensors
    if not any(name.startswith("generators.") for name in taken):
        has = ", ".join(sorted({key.rpartition("/")[0] for key in content.tensors}))
        message = f"{path} has no generator for {', '.join(recipe.direction_names)}; it has {has}"
        raise ImgtransError(message)
    problems = [
        f"{name}/{line}" for name in taken for line in _misfits(networks[name], taken[name])
    ]
    if bad := [n for n, each in taken.items() if not all(map(_finite, each.values()))]:
        message = f"{path} holds weights of {bad[0]} that are not finite; nothing can start from it"
        raise ImgtransError(message)
    if problems:
        differing = _other_settings(content, taken, recipe)
        message = "\n".join(
            [
                f"[train] start_from: {path} holds weights of other networks\n{listed(problems)}",
                *(f"  {line}" for line in differing),
            ]
        )
        raise RecipeError(message)
    return content, taken


def _are_two_names(domains: object) -> bool:
    if not isinstance(domains, list) or len(domains) != 2:
        return False
    return all(isinstance(each, str) for each in domains)


def _finite(weights: Tensor) -> bool:
    return not weights.is_floating_point() or bool(weights.isfinite().all())


def _roles(content: Content, recipe: Recipe) -> Iterator[tuple[_Role, str]]:
    """Where in a file's names each of its networks is, by what it is in this recipe.

    The same two domains the other way round are recognised by name; others go by their order.
    """
    x, y = content.about["recipe"]["domains"]
    turned = (y, x) == recipe.domains
    networks = "networks/generators." if content.about["kind"] == "checkpoint" else ""
    judges = "networks/discriminators." if networks else "discriminators."
    for number, (here, there) in enumerate([(x, y), (y, x)]):
        yield ("generators", number ^ turned), f"{networks}{here}_to_{there}/"
        yield ("discriminators", number ^ turned), f"{judges}{here}/"


def _own_roles(recipe: Recipe) -> dict[str, _Role]:
    named = {f"generators.{name}": n for n, name in enumerate(recipe.direction_names)}
    judged = {f"discriminators.{name}": n for n, name in enumerate(recipe.domains)}
    return {name: (name.partition(".")[0], n) for name, n in (named | judged).items()}


def _misfits(network: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in {**own, **tensors}:
        has = tuple(tensors[name].shape) if name in tensors else None
        if own.get(name) != has:
            wanted = own.get(name, "nothing")
            yield f"{name} is {'missing' if has is None else has} in the file, {wanted} here"


def _told(
    networks: Mapping[str, nn.Module], taken: Mapping[str, object], recipe: Recipe
) -> Iterator[str]:
    yield f"the first weights of {', '.join(taken)} are those of {recipe.train.start_from}"
    afresh = [name for name in _own_roles(recipe) if name in networks and name not in taken]
    if afresh:
        yield f"it has none of {', '.join(afresh)}, which start afresh"


def _other_settings(content: Content, taken: Mapping[str, object], recipe: Recipe) -> Iterator[str]:
    """What networks in the file were built with, and those of the recipe are not."""
    for table in sorted({name.partition(".")[0].removesuffix("s") for name in taken}):
        told = content.about["recipe"].get(table)
        there = dict(_flat(told if isinstance(told, dict) else {}))
        here = dict(_flat(dump(getattr(recipe, table))))
        for key in {**there, **here}:
            if there.get(key) != here.get(key):
                was, now = (
                    as_toml(side[key]) if key in side else "not set" for side in (there, here)
                )
                yield f"[{table}] {key} was {was} where the weights are from, and is {now} here"


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", below) for inner, below in _flat(value))
        else:
            yield key, value
