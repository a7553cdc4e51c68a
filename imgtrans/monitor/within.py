"""Whether a run folder that anybody may have made leads whoever writes to it elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from imgtrans.problems import ImgtransError
from imgtrans.regular import has_no_end

if TYPE_CHECKING:
    from collections.abc import Iterable


def refuse_strangers(run: Path, names: Iterable[str]) -> None:
    """Raise where something that a run writes into is not its own.

    The run folder itself may be a link, as may the folders above it: whoever runs names these.

    Args:
        run: the folder.
        names: of what is written into where it is; any may be missing.

    Raises:
        ImgtransError: it is a link that leads out of the folder, or a pipe or a device.
    """
    home = Path(os.path.realpath(run))
    for path in (run / name for name in names):
        target = Path(os.path.realpath(path))
        if path.is_symlink() and not target.is_relative_to(home):
            message = (
                f"{path} is a link to {target}, and a run writes nothing outside of its folder\n"
                "  put what it leads to in its place; the run folder itself may be a link"
            )
            raise ImgtransError(message)
        if target.exists() and has_no_end(target.stat().st_mode):
            message = f"{path} is a pipe or a device, and no file to write to: remove it"
            raise ImgtransError(message)
