"""Losses for imgtrans.

Torch is imported inside `build`: listing components must not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans import Loss, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans import Term, Translation
    from torch import Tensor


class EdgesLoss(Loss):
    """Mean absolute difference of brightness between the source and its translation."""

    def build(self) -> Term:
        """The generators' term: a number of 0 or more."""

        def brightness_changed(translation: Translation) -> Tensor:
            changed = translation.fake.mean(1) - translation.source.mean(1)
            return changed.abs().mean()

        return brightness_changed


@hookimpl
def imgtrans_losses() -> Mapping[str, type[Loss]]:
    return {"edges": EdgesLoss}
