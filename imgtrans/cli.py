"""The command line. Commands parse, call and print; what they do lives elsewhere.

Nothing here imports torch or pydantic at module level, so that ``--help`` and ``list-components``
start fast.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgtrans import __version__
from imgtrans.hooks import HOOKS
from imgtrans.listing import plugin_row, print_components, uncollected
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from imgtrans.plugins import Registry


class _Commands(click.Group):
    """A user's mistake ends in a message and an exit code, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a ×
                stream.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except ImgtransError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(130)


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


plugin_option = click.option(
    "--plugin",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="Also load components from this Python file.",
)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples("imgtrans run quickstart", "imgtrans list-components"),
)
@click.version_option(__version__, prog_name="imgtrans")
def main() -> None:
    """Translate images from one look into another."""


@main.command(
    epilog=_examples(
        "imgtrans run recipes/cyclegan_yosemite.toml --set train.steps=1000",
        "imgtrans run --resume runs/cyclegan_yosemite",
    )
)
@click.argument("recipe", required=False)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.KEY=VALUE",
    help="Change one key of the recipe, such as train.steps=100; may be repeated.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Continue RUN, or the newest unfinished run of RECIPE; starts one where there is none.",
)
@click.option("--name", help="Name of the run folder under runs/, instead of the recipe's name.")
@click.option("--device", help="cpu, cuda, cuda:1, …; mps is untested. Default: the best there is.")
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@plugin_option
def run(
    recipe: str | None,
    overrides: tuple[str, ...],
    resume: str | None,
    name: str | None,
    device: str | None,
    quiet: bool,  # noqa: FBT001 - click passes options by name
    files: tuple[Path, ...],
) -> None:
    """Train RECIPE, a file or the name of an installed recipe, in a new folder under runs/."""
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import read_recipe

    _add_files(files)
    if resume and recipe is None and resume.endswith(".toml"):
        recipe, resume = resume, ""  # `--resume recipe.toml` means the recipe's newest run
    if recipe is None and not resume:
        message = "Missing argument 'RECIPE': a file, or the name of an installed recipe."
        raise click.UsageError(message)
    display = Display(quiet=quiet)
    if name is not None and resume:
        message = "--name names a new run; RUN has its name already."
        raise click.UsageError(message)
    if name is not None:
        overrides = (*overrides, f"name={json.dumps(name)}")
    chosen = read_recipe(recipe, overrides, say=display.say) if recipe is not None else None
    from imgtrans import running  # imports torch, so only once the recipe is right

    target = Path(resume) if resume else resume is not None
    sys.exit(running.run(chosen, display, resume=target, overrides=overrides, device=device))


@main.command(
    "list-components",
    epilog=_examples(
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
        registry = _add_files(files)
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
    broken = [plugin_row(plugin) for plugin in registry.broken()]
    if as_json:
        listed: dict[str, Any] = {"components": rows, "not_loaded": broken}
        if plugins:
            listed = {"plugins": [plugin_row(plugin) for plugin in registry.plugins.values()]}
        click.echo(json.dumps(listed, indent=1))
    elif plugins:
        for plugin in registry.plugins.values():
            why = (plugin.why or "loaded").replace("\n", "\n    ")
            click.echo(f"{plugin.name:<20} {plugin.package:<24} {why}")
    else:
        print_components(rows, broken)


@main.command(
    epilog=_examples(
        "imgtrans validate my_recipe.toml", "imgtrans validate cyclegan_yosemite --dry-run"
    )
)
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE…")
@click.option("--set", "overrides", multiple=True, metavar="KEY.KEY=VALUE", help="Change one key.")
@click.option(
    "--dry-run", is_flag=True, help="Also build everything without memory, and look for the data."
)
@plugin_option
def validate(
    recipes: tuple[str, ...],
    overrides: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Check recipes and report every problem."""
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import read_recipe

    _add_files(files)
    failed = 0
    for name in recipes:
        try:
            recipe = read_recipe(name, overrides, say=click.echo)
            click.echo(f"{name} is valid")
            if dry_run:
                from imgtrans.describing import show_plan

                show_plan(recipe, Display())
        except ImgtransError as error:
            click.echo(f"error: {error}", err=True)
            failed = max(failed, error.exit_code)
    sys.exit(failed)


@main.command(
    "new-plugin",
    epilog=_examples(
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


def _add_files(files: tuple[Path, ...]) -> Registry:
    from imgtrans.plugins import registry

    for file in files:
        registry().add_file(file)
    return registry()
