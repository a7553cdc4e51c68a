"""``imgtrans import``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from imgtrans.cli.group import add_files, examples, plugin_option
from imgtrans.problems import RecipeError


@click.command(
    "import",
    epilog=examples(
        "imgtrans import latest_net_G.pth --domains horse zebra --output zebras.safetensors",
        "imgtrans import checkpoints/maps_cyclegan",
    ),
)
@click.argument(
    "weights", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WEIGHTS…"
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Model file to write; default: the first name, .safetensors, in this folder.",
)
@click.option(
    "--domains",
    nargs=2,
    default=("x", "y"),
    metavar="X Y",
    help="What pictures the first generator takes show, and those that it makes.",
)
@click.option("--overwrite", is_flag=True, help="Write over the model file.")
@plugin_option
def import_(
    weights: tuple[Path, ...],
    output: Path | None,
    domains: tuple[str, str],
    overwrite: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Make a model file of published WEIGHTS, which translates and which training can start from.

    WEIGHTS are one generator, or two, the second for the way back; their discriminators; or a
    folder of them, of which what judges pairs of images is left out. The network is told by names
    and shapes; nothing in the files is executed.
    """
    from imgtrans.importing import default_output, import_weights

    add_files(files)
    if output is None:
        output, overwrite = default_output(weights), False  # nothing that nobody named is replaced
        if output.exists():
            message = f"{output} is there already; name the model file with --output"
            raise RecipeError(message)
    made = import_weights(weights, output, domains, click.echo, overwrite=overwrite)
    translate = shlex.join(["imgtrans", "translate", str(output)])
    click.echo(f"wrote  {output}")
    click.echo(f"use    {translate} PICTURES --output FOLDER")
    click.echo("train  a recipe that goes on from here:\n")
    click.echo(made.to_train_on.rstrip())
