"""Texts of a run that a disk or a hand has changed: told, refused, or harmless.

Nothing can tell in a text that people may edit. Still a run with a changed one ends as another
does, or in an error of ours; never in a traceback or in other weights unnoticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imgtrans import checkpoint
from imgtrans.testing import run_imgtrans

from .damage import FULL, KEPT, NEWEST, STEPS, Damage, Outcomes, runs, same_tensors, try_out
from .killing import ATONCE
from .promises import MANY, Figure, promise
from .workers import HangError, context, metrics_of

if TYPE_CHECKING:
    from collections.abc import Sequence


LONGEST = 1800.0
"""Seconds for a share of the tries; they take some minutes."""


def _resumed(run: Path, damage: Damage) -> str:
    """Go on from a run with a damaged text: to the end it would have had, or an error of ours."""
    for left in (NEWEST, "model.safetensors"):  # so that steps are made with what was damaged
        (run / left).unlink()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the commands that made the runs
    try:
        outcome = run_imgtrans("run", "--resume", run, "--quiet")
        report = run_imgtrans("report", run)
    except Exception as error:  # noqa: BLE001 - is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(threads)
    for command in (outcome, report):
        if command.exit_code not in (0, 1, 2):
            return f"exit code {command.exit_code}: {command.stderr}"
        if command.exit_code and not command.stderr.startswith(("error: ", "warning: ")):
            return f"it ends without a word: {command}"
    if outcome.exit_code:
        return "refused"
    return _ended(run, told="warning: " in outcome.stderr)


def _ended(run: Path, *, told: bool) -> str:
    """How a run that went on has ended; with another recipe other weights are right, if told."""
    content = checkpoint.read(checkpoint.found(run / "checkpoints")[0])
    good, done = checkpoint.read(runs()[0] / NEWEST), int(content.about["step"])
    if done == STEPS and not same_tensors(content, good) and not told:
        return "other weights"
    lost = {*range(1, done + 1)} - {line["step"] for line in metrics_of(run)}
    if lost and not told:
        return f"steps {lost} are lost in silence"
    return "told" if told else "harmless"


def _a_share(
    place: str, numbers: Sequence[int], name: str, fine: Sequence[str], answer: Any
) -> None:
    """In a process of its own: try some of the numbers."""
    KEPT.append(Path(place))
    answer.send(try_out(numbers, name, _resumed, fine))


def _text(key: str, name: str, says: str, fine: tuple[str, ...]) -> None:
    @promise(key, says, short=8, full=FULL)
    def damaged_text(place: Path, count: int) -> Figure:
        del place
        runs()
        if count < MANY:
            return try_out(range(count), name, _resumed, fine).figure()
        running, heard = [], []
        for first in range(ATONCE):
            hearing, answer = context().Pipe(duplex=False)
            numbers = range(first, count, ATONCE)
            told = (str(KEPT[0]), numbers, name, fine, answer)
            process = context().Process(target=_a_share, args=told)
            process.start()
            answer.close()
            running.append(process)
            heard.append(hearing)
        try:
            for hearing in heard:
                if not hearing.poll(LONGEST):
                    message = f"no answer about {name} in {LONGEST / 60:.0f} minutes"
                    raise HangError(message)
            one, other = (hearing.recv() for hearing in heard)
        finally:
            for process in running:
                process.kill()
        return Outcomes(one.counted + other.counted, one.broken + other.broken).figure()

    del damaged_text


GOES_ON = ("told", "harmless")
_text("R8-log", "metrics.jsonl", "a damaged log costs lines, not the run, and is told", GOES_ON)
_text("R8-scores", "scores.jsonl", "a damaged log of scores costs no run", GOES_ON)
_text("R8-status", "status.json", "a damaged status.json changes nothing of the training", GOES_ON)
_text("R8-recipe", "recipe.toml", "a damaged recipe.toml is refused, or told, or harmless",
      ("refused", *GOES_ON))  # fmt: skip
_text("R8-environment", "environment.json", "a damaged environment.json is refused or harmless",
      ("refused", *GOES_ON))  # fmt: skip
