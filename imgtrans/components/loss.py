"""Losses: a recipe weighs them per direction, the training loop sums them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PlainValidator

from imgtrans.components.base import FREE, Component

if TYPE_CHECKING:
    from torch import Tensor

    from imgtrans.translation import Translation


class PerDirection(BaseModel):
    """One number for each direction."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    x_to_y: float = Field(
        ge=0, allow_inf_nan=False, description="from x to y", json_schema_extra=FREE
    )
    y_to_x: float = Field(
        ge=0, allow_inf_nan=False, description="from y to x", json_schema_extra=FREE
    )


def _weight(value: Any) -> float | PerDirection:
    if isinstance(value, PerDirection):
        return value
    if isinstance(value, Mapping):
        return PerDirection.model_validate(value, strict=True)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = "must be a number, or one per direction: {x_to_y = 10.0, y_to_x = 5.0}"
        raise ValueError(message)  # noqa: TRY004 - pydantic reports a ValueError, not a TypeError
    if not math.isfinite(value) or value < 0:
        message = "must be a finite number, 0 or more"
        raise ValueError(message)
    return float(value)


Term: TypeAlias = "Callable[[Translation], Tensor]"
"""A scalar from one direction of one step. A module here is trained and saved with its phase."""


@dataclass(frozen=True)
class Terms:
    """A loss's two halves; either may be None."""

    generators: Term | None = None
    discriminators: Term | None = None


def as_terms(built: Any) -> Terms | None:
    """What ``build`` returned, as ``Terms``; None where it is no term and no half is one."""
    terms = built if isinstance(built, Terms) else Terms(generators=built)
    halves = [half for half in (terms.generators, terms.discriminators) if half is not None]
    return terms if halves and all(map(callable, halves)) else None


class Loss(Component):
    """What training makes small, written for one direction and summed over all of them."""

    needs_pairs: ClassVar[bool] = False
    """Whether source and target must show the same scene."""
    differentiates_twice: ClassVar[bool] = False
    """Whether it differentiates a gradient; such discriminators are not compiled."""

    weight: Annotated[
        float | PerDirection,
        PlainValidator(_weight, json_schema_input_type=NonNegativeFloat | PerDirection),
    ] = Field(
        default=1.0,
        description="factor on this loss: a number, or {x_to_y = …, y_to_x = …}",
        json_schema_extra=FREE,
    )

    @abstractmethod
    def build(self) -> Term | Terms:
        """The generators' term, or ``Terms`` with a discriminators' half; built per direction.

        A term returns a scalar tensor; it never calls ``backward``.
        """
