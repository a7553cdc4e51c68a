"""Published weights as a model file: read, recognised, placed, written with a recipe inside.

The core knows no layout. Components do, by their ``recognise``; what they say is compared with the
network that they build, tensor by tensor.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tomli_w

from imgtrans.checkpoint import write
from imgtrans.components import Dataset, Generator, dump
from imgtrans.importing.naming import Place, files_of, places_of
from imgtrans.importing.reading import read_weights
from imgtrans.importing.recognising import JudgesPairsError, Network, recognise
from imgtrans.problems import ImgtransError, RecipeError, as_toml
from imgtrans.recipe import Recipe, load_recipe, lock
from imgtrans.recipe.model import NAME, two_names
from imgtrans.recipe.reading import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

_BASE: Final = "cyclegan"
"""The installed recipe for images of one's own, which the shown one extends."""


@dataclass(frozen=True)
class Imported:
    """What was made of the files."""

    recipe: Recipe
    to_train_on: str
    """A recipe in TOML that begins where the weights are."""


def import_weights(
    paths: Sequence[Path],
    output: Path,
    domains: tuple[str, str],
    say: Callable[[str], None],
    *,
    overwrite: bool = False,
) -> Imported:
    """Make a model file of published weights.

    Args:
        paths: files, or folders of them.
        output: the model file to write.
        domains: what the images show that the first generator takes, and that it makes.
        say: shown every decision.
        overwrite: whether a file in its place may go.

    Raises:
        RecipeError: the output is there already or is a folder, the domains can be none, or a file
            is named twice.
        ImgtransError: a file is no weights, or of no network that is known; networks do not belong
            together; or the output cannot be written.
    """
    files = files_of(paths)
    try:
        _refuse_output(output, files, overwrite=overwrite)
    except OSError as error:
        raise _unwritable(output, error) from None
    try:
        two_names(domains)
    except ValueError as error:
        message = f"the domains {domains[0]} and {domains[1]}: {error}"
        raise RecipeError(message) from None
    networks = _networks(files, paths, say)
    generators, discriminators = places_of(networks)
    _refuse_unlike(generators)
    _refuse_unlike(discriminators)
    tables = _tables(generators, discriminators, output, domains)
    recipe = lock(check(tables, f"the recipe of {output}"))
    tensors: dict[str, Tensor] = {}
    for prefix, place in _named(generators, discriminators, domains):
        say(f"{prefix}  is {place.network.path.name}, {place.how}")
        tensors |= {f"{prefix}/{key}": value for key, value in place.network.tensors.items()}
    _write(output, tensors, recipe, networks)
    return Imported(recipe, _to_train_on(tables, output))


def default_output(paths: Sequence[Path]) -> Path:
    """In the current folder, called after the first of what is imported."""
    first = paths[0]
    return Path(f"{first.resolve().name if first.is_dir() else first.stem}.safetensors")


def _refuse_output(output: Path, files: Sequence[Path], *, overwrite: bool) -> None:
    """Before anything is read, which can take long."""
    if output.is_dir():
        message = f"{output} is a folder; --output is the model file to write"
    elif output.resolve() in [file.resolve() for file in files]:
        message = f"{output} is one of the files to import; give another --output"
    elif output.exists() and not overwrite:
        message = f"{output} is there already; give another --output, or replace it: --overwrite"
    else:
        folder = next(each for each in output.absolute().parents if each.exists())
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return
        what = "may not be written to" if folder.is_dir() else "is no folder"
        message = f"{output} cannot be written: {folder} {what}"
        raise ImgtransError(message)
    raise RecipeError(message)


def _networks(
    files: Sequence[Path], paths: Sequence[Path], say: Callable[[str], None]
) -> list[Network]:
    """Each file's; what judges pairs is left out where only its folder was named."""
    networks = []
    for path in files:
        say(str(path))
        try:
            network = recognise(path, read_weights(path))
        except JudgesPairsError as error:
            if path in paths:
                raise
            say(f"    left out: {error}")
            continue
        for line in (*network.said, _described(network)):
            say(f"    {line}")
        networks.append(network)
    return networks


def _described(network: Network) -> str:
    fields = {key: value for key, value in dump(network.component).items() if key != "use"}
    written = ", ".join(f"{key} = {as_toml(value)}" for key, value in fields.items())
    return f"so it is {network.name}, {written}, for images of {network.channels} channels"


def _named(
    generators: Sequence[Place], discriminators: Sequence[Place], domains: tuple[str, str]
) -> list[tuple[str, Place]]:
    """Each network's name in the model file: its direction, or ``discriminators.`` and a domain."""
    x, y = domains
    directions = (f"{x}_to_{y}", f"{y}_to_{x}")
    return [
        *((directions[place.number], place) for place in generators),
        *((f"discriminators.{domains[place.number]}", place) for place in discriminators),
    ]


def _refuse_unlike(places: Sequence[Place]) -> None:
    """A recipe has one generator, built for each direction, and one discriminator."""
    first, *others = (place.network for place in places) if places else (None,)
    for other in others:
        assert first is not None  # noqa: S101 - there are others
        if (first.component, first.channels) != (other.component, other.channels):
            message = (
                f"{first.path} and {other.path} are built differently: {_described(first)}; "
                f"{_described(other)}\n  import them one by one, each into a file of its own"
            )
            raise ImgtransError(message)


def _tables(
    generators: Sequence[Place],
    discriminators: Sequence[Place],
    output: Path,
    domains: tuple[str, str],
) -> dict[str, Any]:
    """The recipe of the model file: an installed one's training, for images of one's own."""
    network = generators[0].network
    like, base = load_recipe(network.recipe).tables(), load_recipe(_BASE).tables()
    sizes = {key: value for key, value in like["dataset"].items() if key in Dataset.model_fields}
    assert isinstance(network.component, Generator)  # noqa: S101 - it is one of the generators
    multiple = network.component.multiple
    sizes["image_size"] = -(-sizes["image_size"] // multiple) * multiple
    if sizes.get("load_size", sizes["image_size"]) < sizes["image_size"]:
        del sizes["load_size"]
    dataset = base["dataset"] | sizes
    named = {"name": output.stem} if re.fullmatch(NAME, output.stem) else {"name": "imported"}
    tables = (
        like
        | named
        | {
            "domains": list(domains),
            "directions": "both" if len(generators) == 2 else "x_to_y",
            "dataset": dataset | {"channels": network.channels},
            "generator": dump(network.component),
        }
    )
    if discriminators:
        tables["discriminator"] = dump(discriminators[0].network.component)
    return {key: value for key, value in tables.items() if key not in ("fallback", "plugins")}


def _to_train_on(tables: dict[str, Any], output: Path) -> str:
    """What a recipe must change of the installed one for images of one's own."""
    tables = tables | {"directions": "both"}
    tables["train"] = tables["train"] | {"start_from": str(output)}
    base = load_recipe(_BASE).tables()
    changed = _changes(base, tables)
    dataset = {"root": base["dataset"]["root"], **changed.pop("dataset", {})}
    return tomli_w.dumps({"extends": _BASE, "dataset": dataset, **changed})


def _changes(base: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    changed = {}
    for key, value in tables.items():
        before = base.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            same = value.get("use") == before.get("use")
            if inner := _changes(before, value) if same else value:
                changed[key] = inner
        elif value != before:
            changed[key] = value
    return changed


def _write(
    output: Path, tensors: dict[str, Tensor], recipe: Recipe, networks: Sequence[Network]
) -> None:
    about = {
        "kind": "model",
        "recipe": recipe.tables(),
        "step": 0,
        "generated": False,
        "imported": [
            {
                "file": each.path.name,
                "sha256": hashlib.sha256(each.path.read_bytes()).hexdigest(),
                "decisions": list(each.said),
            }
            for each in networks
        ],
    }
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(output, tensors, about)
    except OSError as error:
        raise _unwritable(output, error) from None


def _unwritable(output: Path, error: OSError) -> ImgtransError:
    return ImgtransError(f"{output} cannot be written: {error.strerror or error}")
