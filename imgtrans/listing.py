"""How ``imgtrans list-components`` shows what is installed, and how it stays fast."""

from __future__ import annotations

import atexit
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from imgtrans.hooks import HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def plugin_row(plugin: Plugin) -> dict[str, Any]:
    """One plugin, as ``--json`` shows it."""
    return {
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "api": plugin.api,
        "error": plugin.why,
        "seconds": round(plugin.seconds, 3),
    }


def print_plugins(plugins: Iterable[Plugin]) -> None:
    """Each plugin with its package, and the whole error where it could not be loaded."""
    for plugin in plugins:
        why = (plugin.why or "loaded").replace("\n", "\n    ")
        click.echo(f"{plugin.name:<20} {plugin.package:<24} {why}")


def tell_broken(plugins: Iterable[Plugin]) -> None:
    """Name the plugins that an answer lacks, beside it."""
    for plugin in plugins:
        click.echo(
            f'note: without plugin "{plugin.name}" ({plugin.package}): {plugin.first_line}',
            err=True,
        )


def tell_slow(plugins: Iterable[Plugin]) -> None:
    """Name the plugins that everybody waits for, beside the answer."""
    for plugin in plugins:
        if plugin.slow:
            click.echo(
                f'note: plugin "{plugin.name}" ({plugin.package}) took {plugin.seconds:.1f} s to '
                "load; its author can move slow imports into `build`",
                err=True,
            )


def print_components(rows: list[dict[str, str]], broken: list[Plugin]) -> None:
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
    for plugin in broken:
        click.echo(f"  {plugin.name}  {plugin.package}  {plugin.first_line}")
