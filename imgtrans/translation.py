"""One direction of one training step, as losses see it.

Each image is made once, when a loss first asks for it, and always with its graph, whoever asks
first. A ``Translation`` lives for one step.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import torch
from torch import Tensor

from imgtrans.problems import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import nn

    from imgtrans.replay import Pool

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 - reads as `property` does
    """A property made on first use and kept.

    ``functools.cached_property`` takes a lock on Python 3.11 that Dynamo cannot trace.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        """Keep the name, under which the value will replace this descriptor."""
        self.make, self.name, self.__doc__ = make, make.__name__, make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> once[T]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> T: ...
    def __get__(self, owner: object | None, kind: type) -> once[T] | T:
        """Make the value and keep it."""
        if owner is None:
            return self
        value = owner.__dict__[self.name] = self.make(owner)
        return value


@dataclass(eq=False)
class Direction:
    """The networks of one direction, such as summer to winter."""

    name: str
    generator: nn.Module
    back: nn.Module | None = None
    """The other direction's generator."""
    discriminator: nn.Module | None = None
    """Tells real images of the target domain from fakes."""
    pool: Pool | None = None
    autocast: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    """Entered around every network: the run's mixed precision."""


class Translation:
    """One direction of one training step. Each image is made once, when a loss first asks for it.

    Attributes:
        source: ``N×C×H×W`` float in [-1, 1], from the domain we start in.
        target: ``N×C×H×W`` float in [-1, 1], from the domain we aim at; the same scene if the data
            are paired.
    """

    def __init__(
        self,
        direction: Direction,
        source: Tensor,
        target: Tensor,
        part: int = 0,
        *,
        graph: bool = True,
    ) -> None:
        """Nothing is made yet.

        Args:
            direction: its networks.
            source: as above.
            target: as above.
            part: of a step that accumulates gradients, counted from 0.
            graph: whether images are made for generators to learn from.
        """
        self.source = source
        self.target = target
        self._direction = direction
        self._part = part
        self._graph = graph

    @once
    def fake(self) -> Tensor:
        """``N×C×H×W`` in [-1, 1]: the source, translated."""
        return self._make(self._direction.generator, self.source)

    @once
    def reconstructed(self) -> Tensor:
        """``N×C×H×W`` in [-1, 1]: the fake, translated back; needs both directions.

        Raises:
            RecipeError: the recipe trains this direction only.
        """
        if self._direction.back is None:
            message = (
                'a loss asks for "reconstructed", which needs a generator back to the source; '
                f'this recipe trains {self._direction.name} only: set directions = "both"'
            )
            raise RecipeError(message)
        return self._make(self._direction.back, self.fake)

    @once
    def same(self) -> Tensor:
        """``N×C×H×W`` in [-1, 1]: the target through this generator; ideally unchanged."""
        return self._make(self._direction.generator, self.target)

    @once
    def replayed(self) -> Tensor:
        """``N×C×H×W``: detached fakes, some from earlier steps; what discriminators are shown."""
        fakes = self.fake.detach()
        pool = self._direction.pool
        return fakes if pool is None else pool.exchange(fakes, self._part)

    def discriminate(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits of the target domain's discriminator, one tensor per scale.

        Raises:
            RecipeError: the recipe names no discriminator.
        """
        if self._direction.discriminator is None:
            message = (
                "a loss asks for a discriminator's scores, but the recipe has no [discriminator]"
            )
            raise RecipeError(message)
        with self._direction.autocast():
            scores = self._direction.discriminator(image)
        scales = scores if isinstance(scores, (tuple, list)) else (scores,)
        return tuple(_at_least_float32(scale) for scale in scales)

    def _make(self, generator: nn.Module, image: Tensor) -> Tensor:
        # The image serves later askers too, so it carries a graph even where the first asker,
        # a sampler say, works under no_grad.
        with torch.set_grad_enabled(self._graph), self._direction.autocast():
            made: Tensor = generator(image)
        if self._graph and generator.training and not made.requires_grad:
            message = (
                "an image was made while its generator was frozen, so no loss could train it: "
                "freeze discriminators only"
            )
            raise RuntimeError(message)
        return _at_least_float32(made)


def _at_least_float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
