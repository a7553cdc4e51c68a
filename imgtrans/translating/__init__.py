"""Translates picture files: each appears at its place whole or not at all.

One that is broken is told, and the others are done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imgtrans.translating.job import Job, Options, Summary
from imgtrans.translating.places import find_pictures, targets_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgtrans.inference import Translator
    from imgtrans.monitor.display import Display

__all__ = ("Options", "Summary", "translate_files")


def translate_files(
    model: Translator, inputs: Sequence[str], output: Path, options: Options, display: Display
) -> Summary:
    """Translate files, folders and what patterns match into a folder.

    Raises:
        RecipeError: an input is not there, or two pictures have one place in the output.
        ImgtransError: the model has no such direction.
    """
    job = Job(model, options, display)
    targets = targets_of(find_pictures(inputs, output), output, options.format)
    left = targets if options.overwrite else {s: t for s, t in targets.items() if not t.exists()}
    job.summary.skipped = len(targets) - len(left)
    start = time.perf_counter()
    display.start("picture", len(left))
    try:
        job.run(left)
    finally:
        display.stop()
        job.summary.seconds = time.perf_counter() - start
    return job.summary
