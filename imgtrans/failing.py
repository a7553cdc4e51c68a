"""What there is to say of a run that failed for a reason that its user can do something about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans.benchmarking.shortage import ran_out, shortage
from imgtrans.data.loading import reader_gone
from imgtrans.distributed import GoneError
from imgtrans.monitor import crash
from imgtrans.outcome import NonFiniteError

if TYPE_CHECKING:
    from pathlib import Path

    from imgtrans.data import TrainingData
    from imgtrans.distributed.group import Group
    from imgtrans.recipe import Recipe
    from imgtrans.training import Trainer


def in_words(
    error: BaseException, trainer: Trainer, recipe: Recipe, folder: Path, group: Group, again: str
) -> str | None:
    """Why a run has failed, what to do, and how to go on; None where it is a mistake of ours.

    Args:
        error: what ended it.
        trainer: as it was then.
        recipe: of the run.
        folder: of the run.
        group: who may know more of processes that are gone.
        again: the command that continues the run.
    """
    if isinstance(error, GoneError):
        what, remedy = str(error), "see what torchrun says of it"
        if why := group.failure():
            what = f"{what}: {why}"
    elif isinstance(error, OSError):
        what = with_file(error)
        remedy = f"make room in {folder}, or get permission to write there"
    elif ran_out(error):
        what = shortage(error, recipe, trainer.device, group.ranks.count)
        remedy = "free memory"
    elif reader := reader_gone(error):
        what, remedy = reader, "see to that"
    else:
        return None
    return (
        f"after step {trainer.step:,}: {what}\n  the last good checkpoint is kept; "
        f"{remedy}, then continue with: {again}"
    )


def with_file(error: OSError) -> str:
    """What the system says of a file, and of which."""
    at = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{at}"


def with_traces(
    error: NonFiniteError, folder: Path, trainer: Trainer, training: TrainingData | None
) -> NonFiniteError:
    """The same error, which also tells where more can be found of the step, if one was made."""
    if training is None or error.step < 1:
        return error
    try:
        told = crash.leave(folder, error, trainer, training)
    except Exception as failed:  # noqa: BLE001 - networks are run again, and the error comes first
        told = f"no more is known of it: {failed or type(failed).__name__}"
    return NonFiniteError(f"{error}\n  {told}", error.step, error.figures)
