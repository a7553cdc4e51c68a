"""The group that every command belongs to, and what several of them share."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgtrans import __version__
from imgtrans.launching import interrupted_at_once, speaks
from imgtrans.problems import ImgtransError, ProcessError, RecipeError

if TYPE_CHECKING:
    from imgtrans.plugins import Registry


class _Commands(click.Group):
    """A user's mistake ends in a message and an exit code, never in a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and tell in words what the system refuses; help and version are printed here."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            tell(f"error: {_in_words(error)}")
            long = error.errno == errno.ENAMETOOLONG
            sys.exit(RecipeError.exit_code if long else ImgtransError.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        _say_what_can_be_said()
        atexit.register(_leave)
        try:
            return super().invoke(ctx)
        except ImgtransError as error:
            if speaks() or isinstance(error, ProcessError):
                tell(f"error: {error}")
            ctx.exit(error.exit_code)
        except click.ClickException as error:
            if speaks():
                raise
            ctx.exit(error.exit_code)  # what all processes find, the first one says
        except KeyboardInterrupt:
            if speaks():
                tell("stopped")
            ctx.exit(130)


def _leave() -> None:
    """Be gone soon: what is due is done, and an impatient Ctrl-C has nothing left to interrupt."""
    gc.freeze()  # else Python looks through all of torch once more, which takes seconds
    with suppress(ValueError):  # of a thread that is not the main one
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say_what_can_be_said() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a ×
            stream.reconfigure(errors="replace")


def _in_words(error: OSError) -> str:
    """What the system says, and of what: of a write it tells no name."""
    why, name = error.strerror or str(error), str(error.filename or "")
    if not name and _output_is_lost():
        name = "standard output"
    name = f"{name[:80]}…" if error.errno == errno.ENAMETOOLONG else name
    return f"{name}: {why}" if name else why


def _output_is_lost() -> bool:
    """Whether standard output takes nothing, as on a full disk; what it holds goes nowhere then."""
    try:
        click.echo()  # of a text that was too long for its buffer nothing is left to be flushed
    except OSError:
        from imgtrans.monitor.display import send_nowhere

        send_nowhere(sys.stdout)
        return True
    return False


def tell(text: str) -> None:
    """Say a line on standard error."""
    with suppress(OSError):  # nobody is there to read it; the exit code tells, too
        click.echo(text, err=True)


def examples(*lines: str) -> str:
    """What a command's help ends with."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.KEY=VALUE",
    help="Change one key of the recipe, such as train.steps=100; may be repeated.",
)
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
    epilog=examples("imgtrans run quickstart", "imgtrans list-components"),
)
@click.version_option(__version__, prog_name="imgtrans")
def main() -> None:
    """Translate images from one look into another."""


def add_files(files: tuple[Path, ...]) -> Registry:
    """The installed plugins and these Python files."""
    from imgtrans.plugins import registry

    with interrupted_at_once():  # a plugin may import torch
        for file in files:
            registry().add_file(file)
        return registry()
