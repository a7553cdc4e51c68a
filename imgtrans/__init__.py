"""imgtrans: translate images from one look into another.

The whole public API, for plugin authors and for use as a library. Every name is imported when it
is first used, so nothing imports torch but what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import Field

    from imgtrans.components import (
        FIXED,
        FREE,
        Comparison,
        Component,
        Dataset,
        Discriminator,
        FeatureNetwork,
        Generator,
        ImageList,
        Images,
        Judge,
        Loss,
        Metric,
        PerDirection,
        PerImage,
        Recognised,
        ResidualBlock,
        Score,
        Split,
        Term,
        Terms,
    )
    from imgtrans.evaluation import Translated
    from imgtrans.hooks import hookimpl
    from imgtrans.inference import load_model
    from imgtrans.library import Run, run
    from imgtrans.problems import DataNotFoundError, ImgtransError, NoHeldOutError, RecipeError
    from imgtrans.recipe import Adam, Recipe, Train, load_recipe
    from imgtrans.translation import Translation

__version__ = "0.1.0"

_ELSEWHERE = {
    "Adam": "imgtrans.recipe",
    "DataNotFoundError": "imgtrans.problems",
    "Field": "pydantic",
    "ImgtransError": "imgtrans.problems",
    "NoHeldOutError": "imgtrans.problems",
    "Recipe": "imgtrans.recipe",
    "RecipeError": "imgtrans.problems",
    "Run": "imgtrans.library",
    "Train": "imgtrans.recipe",
    "Translated": "imgtrans.evaluation",
    "Translation": "imgtrans.translation",
    "hookimpl": "imgtrans.hooks",
    "load_model": "imgtrans.inference",
    "load_recipe": "imgtrans.recipe",
    "run": "imgtrans.library",
}
"""Where the names come from that are not of ``imgtrans.components``."""

__all__ = (
    "FIXED",
    "FREE",
    "Adam",
    "Comparison",
    "Component",
    "DataNotFoundError",
    "Dataset",
    "Discriminator",
    "FeatureNetwork",
    "Field",
    "Generator",
    "ImageList",
    "Images",
    "ImgtransError",
    "Judge",
    "Loss",
    "Metric",
    "NoHeldOutError",
    "PerDirection",
    "PerImage",
    "Recipe",
    "RecipeError",
    "Recognised",
    "ResidualBlock",
    "Run",
    "Score",
    "Split",
    "Term",
    "Terms",
    "Train",
    "Translated",
    "Translation",
    "__version__",
    "hookimpl",
    "load_model",
    "load_recipe",
    "run",
)


if not TYPE_CHECKING:  # where type checkers see the names themselves, and misspelt ones too

    def __getattr__(name: str) -> Any:
        """Import each name when it is first asked for: pydantic takes a while, torch seconds."""
        if name in __all__:
            home = import_module(_ELSEWHERE.get(name, "imgtrans.components"))
            value = globals()[name] = getattr(home, name)
            return value
        message = f"module 'imgtrans' has no attribute {name!r}"
        raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
