"""``imgtrans run`` and ``imgtrans validate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from imgtrans.cli.group import add_files, examples, plugin_option, set_option, tell
from imgtrans.launching import interrupted_at_once, leave_in_peace
from imgtrans.problems import ImgtransError


@click.command(
    epilog=examples(
        "imgtrans run recipes/cyclegan_yosemite.toml --set train.steps=1000",
        "imgtrans run --resume runs/cyclegan_yosemite",
    )
)
@click.argument("recipe", required=False)
@set_option
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
    from imgtrans.recipe import load_recipe

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
    with interrupted_at_once():
        add_files(files)
        chosen = load_recipe(recipe, overrides, say=display.say) if recipe is not None else None
        from imgtrans import running  # imports torch, so only once the recipe is right

    target = Path(resume) if resume else resume is not None
    try:
        ended = running.run(chosen, display, resume=target, overrides=overrides, device=device)
    finally:
        leave_in_peace()
    sys.exit(ended.exit_code)


@click.command(
    epilog=examples(
        "imgtrans validate my_recipe.toml --data",
        "imgtrans validate cyclegan_yosemite --dry-run",
    )
)
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE…")
@set_option
@click.option(
    "--dry-run", is_flag=True, help="Also build everything without memory, and look for the data."
)
@click.option(
    "--data", is_flag=True, help="Also decode every image of the recipe, and name the broken ones."
)
@plugin_option
def validate(
    recipes: tuple[str, ...],
    overrides: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
    data: bool,  # noqa: FBT001
    files: tuple[Path, ...],
) -> None:
    """Check recipes, and with --data their images, and report every problem. Nothing is changed."""
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import load_recipe, other_versions

    add_files(files)
    failed = 0
    for name in recipes:
        try:
            recipe = load_recipe(name, overrides, say=click.echo)
            for line in other_versions(recipe):
                tell(f"warning: {line}")
            click.echo(f"{name} is valid")
            if dry_run:
                from imgtrans.describing import show_plan

                show_plan(recipe, Display())
            if data:
                from imgtrans.data.checking import check_data

                check_data(recipe, Display())
        except ImgtransError as error:
            tell(f"error: {error}")
            failed = max(failed, error.exit_code)
    sys.exit(failed)
