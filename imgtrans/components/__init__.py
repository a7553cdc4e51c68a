"""The kinds of component. Nothing here imports torch.

A component is a pydantic model: its fields are what a recipe may set, ``build`` makes the part.
A *kind* is an abstract component; a field annotated with a kind is filled by whichever registered
component the recipe names with ``use``.
"""

from __future__ import annotations

from typing import Final

from imgtrans.components.base import (
    FIXED,
    FREE,
    Component,
    dump,
    is_abstract,
    kind_name,
    kind_noun,
)
from imgtrans.components.dataset import Dataset, ImageList, Images, Split, StampedImages
from imgtrans.components.loss import Loss, PerDirection, Term, Terms, as_terms
from imgtrans.components.metric import (
    Comparison,
    FeatureNetwork,
    Judge,
    Metric,
    PerImage,
    Score,
)
from imgtrans.components.networks import Discriminator, Generator, Recognised, ResidualBlock

KINDS: Final[dict[str, type[Component]]] = {
    kind_name(kind): kind
    for kind in (
        Generator,
        Discriminator,
        ResidualBlock,
        Loss,
        Dataset,
        Metric,
        FeatureNetwork,
    )
}
"""Every kind by its name on the command line."""

__all__ = (
    "FIXED",
    "FREE",
    "KINDS",
    "Comparison",
    "Component",
    "Dataset",
    "Discriminator",
    "FeatureNetwork",
    "Generator",
    "ImageList",
    "Images",
    "Judge",
    "Loss",
    "Metric",
    "PerDirection",
    "PerImage",
    "Recognised",
    "ResidualBlock",
    "Score",
    "Split",
    "StampedImages",
    "Term",
    "Terms",
    "as_terms",
    "dump",
    "is_abstract",
    "kind_name",
    "kind_noun",
)
