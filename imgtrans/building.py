"""From a checked recipe to a ``Trainer``: networks, losses, optimizers, pools.

Every network starts from random numbers of its own (seed and name), so adding a component changes
no other's first weights.
"""

from __future__ import annotations

import random
import traceback
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel
from torch import nn

from imgtrans.components import Loss, PerDirection, as_terms
from imgtrans.distributed import ALONE, Ranks
from imgtrans.distributed.normalising import synchronise
from imgtrans.execution import fastest
from imgtrans.problems import ImgtransError, RecipeError
from imgtrans.replay import Pool
from imgtrans.training import Phase, PhaseName, Trainer, WeightedTerm
from imgtrans.translation import Direction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgtrans.components import Component, Term, Terms
    from imgtrans.recipe import Recipe


def best_device() -> torch.device:
    """CUDA where there is one, else the processor; MPS only when asked for."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_device(name: str | None) -> torch.device:
    """The device of that name; None finds the best there is.

    Raises:
        RecipeError: it is not on this machine; the text lists those that are.
    """
    if name is None:
        return best_device()
    there = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    known = {*there, "cuda"} if "cuda:0" in there else {*there}
    if name not in known:
        message = f"--device {name}: there is no such device here (here: {', '.join(there)})"
        raise RecipeError(message)
    return torch.device(name)


def precision_of(recipe: Recipe, device: torch.device) -> str:
    """What ``precision = "auto"`` means on this device."""
    if recipe.train.precision != "auto":
        return recipe.train.precision
    return "bfloat16" if device.type == "cuda" else "float32"


def build_trainer(
    recipe: Recipe, device: torch.device, images: tuple[str, ...], ranks: Ranks = ALONE
) -> Trainer:
    """Everything a training needs, at step 0.

    Args:
        recipe: checked.
        device: where the networks live; ``meta`` builds shapes without memory.
        images: what the plan found the losses to ask for.
        ranks: this process among those of the training.

    Raises:
        RecipeError: a component's ``build`` raised, and the text holds the recipe's path to it; no
            loss trains anything; or discriminators have no loss.
    """
    precision = precision_of(recipe, device)
    dtype = torch.float64 if precision == "float64" else torch.float32
    networks = _networks(recipe, device, dtype)
    pools = {
        name: Pool(recipe.train.pool_images, f"{recipe.train.seed}/{name}", ranks)
        for name in recipe.direction_names
    }
    directions = _directions(recipe, networks, pools, _autocast(precision, device))
    terms = _terms(recipe, networks, device, dtype)
    order: tuple[PhaseName, PhaseName] = ("generators", "discriminators")
    if recipe.train.order == "discriminators-first":
        order = ("discriminators", "generators")
    phases = [_phase(name, recipe, networks, terms[name]) for name in order if terms[name]]
    _refuse_idle(recipe, terms)
    if ranks.count > 1 and recipe.train.batch_norm == "synchronised":
        synchronise(networks.values(), ranks)
    trainer = Trainer(
        recipe.train, device, networks, directions, phases, pools, images, dtype, ranks
    )
    trainer.compute = fastest(trainer)
    return trainer


def build_generators(recipe: Recipe, device: torch.device) -> dict[str, nn.Module]:
    """One generator per direction, by the direction's name, with its first weights."""
    channels = recipe.dataset.channels
    return {
        name: _network(f"generators.{name}", recipe, device, recipe.generator, channels, channels)
        for name in recipe.direction_names
    }


def _networks(recipe: Recipe, device: torch.device, dtype: torch.dtype) -> dict[str, nn.Module]:
    generators = build_generators(recipe, device)
    networks = {f"generators.{name}": network for name, network in generators.items()}
    if recipe.discriminator is not None:
        targets = recipe.domains[::-1][: len(recipe.direction_names)]
        for name in (f"discriminators.{domain}" for domain in targets):
            channels = recipe.dataset.channels
            networks[name] = _network(name, recipe, device, recipe.discriminator, channels)
    return {name: _placed(network, device, dtype) for name, network in networks.items()}


def _network(
    name: str, recipe: Recipe, device: torch.device, component: Component, *channels: int
) -> nn.Module:
    with seeded(f"{recipe.train.seed}/{name}"), device:
        path = name.partition(".")[0].removesuffix("s")
        network = _built(path, component, *channels)
    if not isinstance(network, nn.Module):
        message = f"[{path}] {type(component).__name__}.build must return a torch.nn.Module, not "
        raise RecipeError(message + repr(network))
    return network


def _placed(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    if device.type == "cuda":
        # Convolutions in mixed precision are fastest with channels last.
        return network.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
    return network.to(device=device, dtype=dtype)


def _built(path: str, component: Component, *arguments: Any) -> Any:
    """``component.build``, with the recipe's path in whatever it raises."""
    try:
        return component.build(*arguments)  # type: ignore[attr-defined]
    except ImgtransError:
        raise
    except (Exception, SystemExit) as error:
        part, below = _culprit(component, error)
        what = f"{type(error).__name__}: {error}"
        message = f"[{path}{below}] {type(part).__name__} cannot be built: {what}"
        raise RecipeError(message) from error


def _culprit(component: Component, error: BaseException) -> tuple[Component, str]:
    """Of nested components the one whose code raised, and the path to it."""
    raised = {id(frame.f_locals.get("self")) for frame, _ in traceback.walk_tb(error.__traceback__)}
    part, path = component, ""
    while True:
        inner = (
            (name, getattr(part, name))
            for name in type(part).model_fields
            if id(getattr(part, name)) in raised
        )
        name, deeper = next(inner, ("", None))
        if not isinstance(deeper, BaseModel):
            return part, path
        part, path = deeper, f"{path}.{name}"  # type: ignore[assignment]


@contextmanager
def seeded(seed: str) -> Iterator[None]:
    """Random numbers of their own for what is built inside; the outer ones go on undisturbed."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(random.Random(seed).getrandbits(64))  # noqa: S311
        yield


def _autocast(precision: str, device: torch.device) -> Callable[[], Any]:
    if precision == "bfloat16":
        return partial(torch.autocast, device.type, dtype=torch.bfloat16)
    return nullcontext


def _directions(
    recipe: Recipe,
    networks: dict[str, nn.Module],
    pools: dict[str, Pool],
    autocast: Callable[[], Any],
) -> list[Direction]:
    names = recipe.direction_names
    return [
        Direction(
            name,
            networks[f"generators.{name}"],
            networks[f"generators.{names[1 - index]}"] if len(names) == 2 else None,
            networks.get(f"discriminators.{recipe.domains[1 - index]}"),
            pools[name],
            autocast,
        )
        for index, name in enumerate(names)
    ]


def _terms(
    recipe: Recipe, networks: dict[str, nn.Module], device: torch.device, dtype: torch.dtype
) -> dict[PhaseName, list[WeightedTerm]]:
    """The losses' terms by phase; a term that is a module joins the networks, to be saved."""
    terms: dict[PhaseName, list[WeightedTerm]] = {"generators": [], "discriminators": []}
    for name, loss in recipe.loss.items():
        for index, direction in enumerate(recipe.direction_names):
            with seeded(f"{recipe.train.seed}/{name}/{direction}"), device:
                built = _built(f"loss.{name}", loss)
            halves = _halves(name, loss, built)
            weight = _weight(loss, index)
            both: list[tuple[PhaseName, str, Term | None]] = [
                ("generators", name, halves.generators),
                ("discriminators", f"{name}.discriminators", halves.discriminators),
            ]
            for phase, label, term in both:
                if term is None:
                    continue
                if isinstance(term, nn.Module):
                    networks[f"losses.{label}.{direction}"] = _placed(term, device, dtype)
                terms[phase].append(WeightedTerm(f"{label}/{direction}", index, weight, term))
    return terms


def _halves(name: str, loss: Loss, built: Any) -> Terms:
    terms = as_terms(built)
    if terms is None:
        what = f"{type(loss).__name__}.build must return a term, or Terms with at least one half"
        message = f"[loss.{name}] {what}, not {built!r}"
        raise RecipeError(message)
    return terms


def _weight(loss: Loss, direction: int) -> float:
    if isinstance(loss.weight, PerDirection):
        return (loss.weight.x_to_y, loss.weight.y_to_x)[direction]
    return loss.weight


def _phase(
    name: PhaseName,
    recipe: Recipe,
    networks: dict[str, nn.Module],
    terms: list[WeightedTerm],
) -> Phase:
    modules = {key: net for key, net in networks.items() if key.startswith(f"{name}.")}
    losses = {id(term.term) for term in terms}
    modules |= {key: net for key, net in networks.items() if id(net) in losses}
    trained = {
        key: {inner: each for inner, each in net.named_parameters() if each.requires_grad}
        for key, net in modules.items()
    }
    parameters = {
        f"{key}.{inner}": each for key, own in trained.items() for inner, each in own.items()
    }
    if not parameters:
        message = f"the {name} have no parameters to train"
        raise RecipeError(message)
    adam = getattr(recipe.train, name)
    device = next(iter(parameters.values())).device
    graph = device.type == "cuda" and recipe.train.execution == "graph"
    # A CUDA graph reads the rate from the device, and so it must lie there.
    rate = torch.tensor(adam.learning_rate, device=device) if graph else adam.learning_rate
    optimizer = torch.optim.Adam(
        list(parameters.values()),
        lr=rate,
        betas=adam.betas,
        fused=device.type != "meta",
        capturable=graph,
    )
    by_network = {key: list(own.values()) for key, own in trained.items() if own}
    return Phase(name, optimizer, parameters, by_network, terms, adam.learning_rate)


def _refuse_idle(recipe: Recipe, terms: dict[PhaseName, list[WeightedTerm]]) -> None:
    if not terms["generators"]:
        message = "no loss in the recipe trains the generators: add one, such as cycle-consistency"
        raise RecipeError(message)
    if recipe.discriminator is not None and not terms["discriminators"]:
        message = (
            "the recipe has a [discriminator], but no loss that trains it: add an adversarial "
            "loss, such as cyclegan/least-squares, or remove [discriminator]"
        )
        raise RecipeError(message)
