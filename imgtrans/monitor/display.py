"""What a person sees while something runs: one progress display, or plain lines off a terminal.

Nothing here knows what training is; it is told what to show. Redraws at most four times a second.
"""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from imgtrans.launching import speaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.console import RenderableType

PLAIN_SECONDS: Final = 15.0
"""Between two lines where the output is no terminal."""


def send_nowhere(file: IO[str]) -> None:
    """Let go of what a stream could not write, so that Python does not fail at its own flush."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


class _Output(Console):
    """A console whose reader may go away, as in ``| head -1``: a training goes on unseen.

    So it does where a terminal was closed, or a log's disk is full.
    """

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # of a broken pipe alone rich itself takes care
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Send what is still said nowhere."""
        self.quiet = True
        send_nowhere(self.file)


class _Progress(Progress):
    """Two lines and more: how far it is, and below it the facts, wrapped to the terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then each task's facts."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["facts"]:
                yield Text(task.fields["facts"], overflow="fold")


class Display:
    """Shows notes, tables and progress on one console."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        """With ``quiet``, only warnings are shown; of several processes the first one shows."""
        self._console = console or _Output(highlight=False, soft_wrap=True)
        self._errors = _Output(stderr=True, highlight=False, soft_wrap=True, quiet=not speaks())
        self._quiet = quiet or not speaks()
        self._progress: Progress | None = None
        self._task: Any = None
        self._last = 0.0
        self._warned: set[str] = set()

    def say(self, text: str = "") -> None:
        """One or more lines."""
        if not self._quiet:
            self._console.print(Text(text))

    def warn(self, text: str) -> None:
        """A line that ``--quiet`` does not hide; each text once."""
        if text not in self._warned:
            self._warned.add(text)
            self._errors.print(Text(f"warning: {text}", style="bold yellow"))

    def rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Labels and what they stand for, aligned."""
        width = max(len(label) for label, _ in rows)
        for label, text in rows:
            first, *more = text.split("\n")
            self.say(f"{label:<{width}}  {first}")
            for line in more:
                self.say(f"{'':<{width}}  {line}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table."""
        if self._quiet:
            return
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def start(self, label: str, total: int, done: int = 0) -> None:
        """Begin a progress display; it replaces one that is running."""
        self.stop()
        self._began = self._last = time.monotonic()
        self._label, self._total, self._before = label, total, done
        if self._quiet or not self._console.is_terminal:
            return
        self._progress = _Progress(
            TextColumn("{task.description} {task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            refresh_per_second=4,
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(label, total=total, completed=done, facts="", left="")

    def update(self, done: int, facts: Callable[[], Sequence[str]] = tuple) -> None:
        """Show how far it is; ``facts``, a line or more, is asked only when something is drawn."""
        now = time.monotonic()
        if self._progress is not None:
            if now - self._last >= 0.25 or done == self._total:
                self._last = now
                shown, left = "\n".join(facts()), self._left(done, now)
                self._progress.update(self._task, completed=done, facts=shown, left=left)
        elif now - self._last >= PLAIN_SECONDS or done == self._total:
            self._last = now
            count = f"{self._label} {done:,}/{self._total:,}"
            self.say("  ".join(part for part in (count, self._left(done, now), *facts()) if part))

    def _left(self, done: int, now: float) -> str:
        """The time to go at the pace so far."""
        made = done - self._before
        if made <= 0 or done >= self._total:
            return ""
        return f"{duration((now - self._began) / made * (self._total - done))} left"

    def counter(self, label: str, total: int) -> Callable[[], None]:
        """Begin a display that counts up by one at each call."""
        self.start(label, total)
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1
            self.update(count)

        return tick

    def stop(self) -> None:
        """End the progress display; the lines after it stay."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def losses_line(losses: Mapping[str, float]) -> str:
    """Losses as ``cycle 0.31/0.28``: a loss's directions side by side."""
    grouped: dict[str, list[str]] = {}
    for name, value in losses.items():
        grouped.setdefault(name.partition("/")[0], []).append(f"{value:.3g}")
    return "  ".join(f"{name} {'/'.join(values)}" for name, values in grouped.items())
