"""Training from Python: the same runs as the command line's, from a recipe as an object."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtrans import running
from imgtrans.inference import Translator, load_model
from imgtrans.monitor.display import Display
from imgtrans.plugins import registry
from imgtrans.problems import RecipeError
from imgtrans.recipe import Recipe, classes_of

if TYPE_CHECKING:
    from imgtrans.components import Component


@dataclass(frozen=True)
class Run:
    """A run that has made all its steps."""

    folder: Path
    """Holds everything that the run left; ``report.html`` shows it."""
    _classes: tuple[type[Component], ...] = field(default=(), repr=False, compare=False)

    @property
    def figures(self) -> dict[str, Any] | None:
        """What its metrics measured at its end; None where the recipe names none."""
        file = self.folder / "figures.json"
        if not file.exists():
            return None
        figures: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return figures

    def model(self, device: str = "cpu") -> Translator:
        """The trained translators; see `imgtrans.load_model`."""
        return load_model(self.folder, device, components=self._classes)


def run(
    recipe: Recipe | None = None,
    *,
    resume: bool | str | Path = False,
    device: str | None = None,
    quiet: bool = False,
) -> Run:
    """Train a recipe in a new folder under ``runs/``, or continue a run.

    Args:
        recipe: made of components, or by `imgtrans.load_recipe`. None continues a run as it is.
        resume: True continues the newest unfinished run of the recipe, or starts one; a folder
            continues that run.
        device: such as ``cuda:1``; default: the best there is.
        quiet: show warnings only.

    Raises:
        ImgtransError: it cannot start, or had to stop; the text says why and what to do.
        KeyboardInterrupt: it was stopped by Ctrl-C, after saving; ``resume`` goes on.
        SystemExit: the same by SIGTERM, with code 143.
        TypeError: there is neither a recipe nor a run to continue.
    """
    if not isinstance(recipe, Recipe) and (recipe is not None or isinstance(resume, bool)):
        message = (
            "run needs a recipe, which load_recipe makes of a file or name, or the folder of a "
            f'run: run(resume="runs/NAME"); not {recipe!r}'
        )
        raise TypeError(message)
    classes = tuple(dict.fromkeys(classes_of(recipe)))
    _refuse_namesakes(classes)
    target = resume if isinstance(resume, bool) else Path(resume)
    ended = running.run(recipe, Display(quiet=quiet), resume=target, device=device)
    if ended.exit_code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if ended.exit_code:
        raise SystemExit(ended.exit_code)
    return Run(ended.folder, classes)


def _refuse_namesakes(classes: tuple[type[Component], ...]) -> None:
    """Two classes of one name, as after a notebook's cell ran again, would be saved as one."""
    names: dict[str, type[Component]] = {}
    for each in classes:
        name = registry().name_of(each)
        if names.setdefault(name, each) is not each:
            message = f"the recipe holds two classes called {name}: make all its parts of one"
            raise RecipeError(message)
        registry().remember(each)
