"""How ``imgtrans list-components`` shows what is installed, and how it stays fast."""

from __future__ import annotations

import atexit
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from imgtrans.hooks import HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.plugins import Plugin


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage during imports, nor as Python ends: a fifth of the whole time."""
    atexit.register(gc.freeze)
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def plugin_row(plugin: Plugin) -> dict[str, str]:
    """One plugin, as ``--json`` shows it."""
    return {
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "api": plugin.api,
        "error": plugin.why,
    }


def print_components(rows: list[dict[str, str]], broken: list[dict[str, str]]) -> None:
    """Components by kind, and below them what could not be loaded and why."""
    width = max((len(row["name"]) for row in rows), default=0)
    for kind in HOOKS:
        chosen = [row for row in rows if row["kind"] == kind]
        if chosen:
            click.echo(click.style(kind.replace("_", " "), bold=True))
        for row in chosen:
            package = click.style(f"{row['distribution']} {row['version']}", dim=True)
            click.echo(f"  {row['name']:<{width}}  {row['summary']}  {package}")
    if not rows:
        click.echo("no component matches")
    if broken:
        click.echo(click.style("not loaded", bold=True, fg="red"))
    for row in broken:
        why, more, _ = row["error"].partition("\n")
        why += " …" if more else ""
        click.echo(f"  {row['plugin']}  {row['distribution']} {row['version']}  {why}")
