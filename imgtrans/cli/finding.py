"""``imgtrans list-components``, ``show``, ``recipes``, ``copy`` and ``schema``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from imgtrans.cli.group import add_files, examples, plugin_option, set_option
from imgtrans.hooks import HOOKS
from imgtrans.listing import (
    plugin_row,
    print_components,
    print_plugins,
    tell_broken,
    tell_slow,
    uncollected,
)
from imgtrans.problems import RecipeError


@click.command(
    "list-components",
    epilog=examples(
        "imgtrans list-components generator", "imgtrans list-components --match 'res*' --json"
    ),
)
@click.argument("kind", required=False, type=click.Choice(list(HOOKS)))
@click.option("--match", metavar="PATTERN", help="Only names that match, such as 'res*'.")
@click.option("--plugins", is_flag=True, help="List plugins instead, with errors in full.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugin_option
def list_components(
    kind: str | None,
    match: str | None,
    plugins: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """List what recipes can name with `use`, and what could not be loaded and why."""
    with uncollected():
        registry = add_files(files)
        rows = [
            {
                "kind": each,
                "name": f"{plugin.name}/{key}",
                "summary": plugin.components[each][key].summary(),
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
            }
            for each, plugin, key in registry.matching(kind, match)
        ]
    broken = registry.broken()
    if as_json:
        listed: dict[str, Any] = {
            "components": rows,
            "not_loaded": [plugin_row(plugin) for plugin in broken],
        }
        if plugins:
            listed = {"plugins": [plugin_row(plugin) for plugin in registry.plugins.values()]}
        click.echo(json.dumps(listed, indent=1))
    elif plugins:
        print_plugins(registry.plugins.values())
    else:
        print_components(rows, broken)
    tell_slow(registry.plugins.values())


@click.command(
    epilog=examples(
        "imgtrans show residual_block cyclegan/residual",
        "imgtrans show my_recipe.toml --set train.steps=100 --lock",
    )
)
@click.argument("what", metavar="KIND|RECIPE")
@click.argument("name", required=False)
@set_option
@click.option("--lock", is_flag=True, help="Add the plugins' packages and versions to the recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugin_option
def show(
    what: str,
    name: str | None,
    overrides: tuple[str, ...],
    lock: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Show the component NAME of a KIND, or RECIPE resolved: names in full, defaults filled in."""
    add_files(files)
    if name is not None:
        if lock or overrides:
            message = "--set and --lock are for recipes."
            raise click.UsageError(message)
        _show_component(what, name, as_json=as_json)
    else:
        _show_recipe(what, overrides, lock=lock, as_json=as_json)


def _show_component(kind: str, name: str, *, as_json: bool) -> None:
    from imgtrans.components import KINDS
    from imgtrans.plugins import UnknownComponentError, registry
    from imgtrans.showing import component_facts, component_lines

    if kind not in KINDS:
        message = f"{kind} is no kind of component; there are {', '.join(KINDS)}"
        raise RecipeError(message)
    try:
        component = registry().find(KINDS[kind], name)
    except UnknownComponentError as error:
        raise RecipeError(str(error)) from None
    facts = component_facts(component)
    click.echo(json.dumps(facts, indent=1) if as_json else "\n".join(component_lines(facts)))


def _show_recipe(recipe: str, overrides: tuple[str, ...], *, lock: bool, as_json: bool) -> None:
    from imgtrans import recipe as recipes
    from imgtrans.components import KINDS
    from imgtrans.plugins import registry

    if recipe in KINDS and not Path(recipe).is_file():
        offered = ", ".join(registry().names(KINDS[recipe])) or "none"
        message = f"which {recipe}? imgtrans show {recipe} NAME; installed: {offered}"
        raise RecipeError(message)
    try:
        read = recipes.load_recipe(recipe, overrides, say=lambda text: click.echo(text, err=True))
    except RecipeError as error:
        kinds = [kind for kind, _, _ in registry().matching(None, recipe)]
        if not kinds or Path(recipe).is_file():
            raise
        message = f"{error}\n  {recipe} is a component: imgtrans show {kinds[0]} {recipe}"
        raise RecipeError(message) from None
    for line in recipes.other_versions(read):
        click.echo(f"warning: {line}", err=True)
    read = recipes.lock(read) if lock else read
    text = json.dumps(read.tables(), indent=1) if as_json else recipes.to_toml(read)
    click.echo(text.rstrip())


@click.command(epilog=examples("imgtrans recipes", "imgtrans recipes --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@plugin_option
def recipes(as_json: bool, files: tuple[Path, ...]) -> None:  # noqa: FBT001
    """List the recipes that imgtrans and the plugins bring."""
    from imgtrans.showing import recipe_rows

    registry = add_files(files)
    rows = recipe_rows()
    tell_broken(registry.broken())
    width = max((len(row["name"]) for row in rows), default=0)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    for row in [] if as_json else rows:
        package = click.style(row["package"], dim=True)
        click.echo(f"{row['name']:<{width}}  {row['summary']}  {package}")


@click.command(
    epilog=examples("imgtrans copy cyclegan my_photos.toml", "imgtrans copy quickstart first.toml")
)
@click.argument("recipe")
@click.argument("file", type=click.Path(path_type=Path))
@plugin_option
def copy(recipe: str, file: Path, files: tuple[Path, ...]) -> None:
    """Copy RECIPE, by name or file, into the new FILE, where editors can complete it."""
    from imgtrans.copying import copy_recipe

    add_files(files)
    for written in copy_recipe(recipe, file):
        click.echo(f"wrote  {written}")
    click.echo(f"next   edit it, then: {shlex.join(['imgtrans', 'run', str(file)])}")


@click.command(
    epilog=examples(
        "imgtrans schema > recipe.schema.json",
        "imgtrans schema --plugin my_block.py > recipe.schema.json",
    )
)
@plugin_option
def schema(files: tuple[Path, ...]) -> None:
    """Print the JSON schema of recipes with all that is installed, for editors of TOML.

    A recipe names the file it is saved to in its first line, such as #:schema recipe.schema.json
    """
    from imgtrans.schema import as_json, recipe_schema

    registry = add_files(files)
    click.echo(as_json(recipe_schema()))
    tell_broken(registry.broken())
