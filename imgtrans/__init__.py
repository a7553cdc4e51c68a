"""imgtrans: translate images from one look into another.

The whole public API, for plugin authors and for use as a library. Importing it never imports torch;
what needs torch is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import Field

from imgtrans.components import (
    FIXED,
    FREE,
    Component,
    Dataset,
    Discriminator,
    Generator,
    ImageList,
    Images,
    Loss,
    PerDirection,
    ResidualBlock,
    Split,
    Term,
    Terms,
)
from imgtrans.hooks import hookimpl
from imgtrans.problems import DataNotFoundError, ImgtransError, NoHeldOutError, RecipeError
from imgtrans.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from imgtrans.inference import load_model
    from imgtrans.translation import Translation

__version__ = "0.1.0"

_LAZY = {"load_model": "imgtrans.inference", "Translation": "imgtrans.translation"}

__all__ = (
    "FIXED",
    "FREE",
    "Component",
    "DataNotFoundError",
    "Dataset",
    "Discriminator",
    "Field",
    "Generator",
    "ImageList",
    "Images",
    "ImgtransError",
    "Loss",
    "NoHeldOutError",
    "PerDirection",
    "Recipe",
    "RecipeError",
    "ResidualBlock",
    "Split",
    "Term",
    "Terms",
    "Translation",
    "__version__",
    "hookimpl",
    "load_model",
    "read_recipe",
)


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    message = f"module 'imgtrans' has no attribute {name!r}"
    raise AttributeError(message)
