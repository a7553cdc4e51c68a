"""``imgtrans new-plugin``."""

from __future__ import annotations

from pathlib import Path

import click

from imgtrans.cli.group import examples
from imgtrans.hooks import HOOKS


@click.command(
    "new-plugin",
    epilog=examples(
        "imgtrans new-plugin wavelet --kind residual_block",
        "imgtrans new-plugin edges --kind loss --kind dataset",
    ),
)
@click.argument("name")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    required=True,
    type=click.Choice(list(HOOKS)),
    help="What it offers; may be repeated.",
)
def new_plugin(name: str, kinds: tuple[str, ...]) -> None:
    """Write a plugin package, with tests that pass, into the new folder imgtrans-NAME."""
    from imgtrans import scaffold

    folder, *written = scaffold.new_plugin(name, kinds, Path())
    for file in written:
        click.echo(f"wrote  {file}")
    click.echo(f'next   cd {folder} && pip install -e ".[dev]" && pytest')
