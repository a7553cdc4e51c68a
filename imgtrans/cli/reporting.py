"""``imgtrans report``."""

from __future__ import annotations

from pathlib import Path

import click

from imgtrans.cli.group import add_files, examples, plugin_option
from imgtrans.problems import ImgtransError, RecipeError


@click.command(
    epilog=examples(
        "imgtrans report runs/quickstart",
        "imgtrans report runs/narrow runs/wide --output widths.html",
    )
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN…")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="The page to write, instead of RUN/report.html or NAME-vs-NAME.html.",
)
@plugin_option
def report(runs: tuple[str, ...], output: Path | None, files: tuple[Path, ...]) -> None:
    """Write the page of one RUN, or one that shows several side by side, and print its path.

    The page is one file that needs no network: curves over each other, the same held-out images
    through each model, figures, and what differs in the recipes.
    """
    from imgtrans.monitor.comparing import refuse_foreign, write_comparison
    from imgtrans.monitor.report import write_report

    folders = _find(runs)
    if len(folders) > 1:
        add_files(files)
        names = [folder.absolute().name for folder in folders]
        more = [f"{len(names) - 3}-more"] if len(names) > 4 else []
        output = output or Path("-vs-".join([*names[: 3 if more else 4], *more]) + ".html")
    try:
        if output is not None:
            refuse_foreign(output)
            output.parent.mkdir(parents=True, exist_ok=True)
        if len(folders) == 1:
            page = write_report(folders[0], output)
        else:
            assert output is not None  # noqa: S101 - narrows the type
            page = write_comparison(folders, output)
    except OSError as error:
        message = f"the page cannot be written: {error.filename}: {error.strerror or error}"
        raise ImgtransError(message) from None
    click.echo(page)


def _find(runs: tuple[str, ...]) -> list[Path]:
    """Their folders, each once.

    Raises:
        RecipeError: some are no run; all of them are named.
    """
    from imgtrans.monitor.folder import open_run

    folders: dict[Path, Path] = {}
    problems = []
    for each in runs:
        try:
            folder = open_run(Path(each)).path
        except RecipeError as error:
            problems.append(str(error))
        else:
            folders.setdefault(folder.resolve(), folder)
    if problems:
        raise RecipeError("\n".join(problems))
    return list(folders.values())
