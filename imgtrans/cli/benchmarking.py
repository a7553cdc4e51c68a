"""``imgtrans benchmark``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from imgtrans.cli.group import add_files, examples, plugin_option, set_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    epilog=examples(
        "imgtrans benchmark quickstart",
        "imgtrans benchmark my_photos.toml --set train.batch_size=4 --json",
    )
)
@click.argument("recipe")
@set_option
@click.option("--device", help="cpu, cuda, cuda:1, … Default: the best there is.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as one JSON object.")
@plugin_option
def benchmark(
    recipe: str,
    overrides: tuple[str, ...],
    device: str | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
    files: tuple[Path, ...],
) -> None:
    """Measure a training step of RECIPE beside what this machine's arithmetic and memory allow.

    The operations and bytes of a step are counted, the machine's rates of matrix products and of
    copying measured; then real steps are trained and measured, on the recipe's images or, where
    they are not here, on random ones. Nothing is downloaded, and nothing
    is written but, as a run does it, what is kept of decoded images for later ones.
    """
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import load_recipe

    add_files(files)
    display = Display(quiet=as_json)
    chosen = load_recipe(recipe, overrides, say=display.say)
    # These import torch, so only once the recipe is right.
    from imgtrans.benchmarking import command, showing
    from imgtrans.building import find_device

    figures = command.benchmark(chosen, display, find_device(device))
    if as_json:
        click.echo(json.dumps(figures, indent=1))
    else:
        showing.show(figures, display)
