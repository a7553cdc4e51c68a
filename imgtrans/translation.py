"""One direction of one training step, as losses see it.

Each image is made once, when a loss first asks for it, and always with its graph, whoever asks
first. A ``Translation`` lives for one step.
"""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import torch
from torch import Tensor

from imgtrans.distributed import ALONE, Ranks
from imgtrans.problems import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import nn

T = TypeVar("T")
CPU = torch.device("cpu")


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


class Pool:
    """Past fakes of one direction, to show discriminators (Shrivastava et al., 2017).

    Until it is full, every new fake is stored and shown. Then each new one is shown itself with
    probability ½, or takes the place of a random stored one, which is shown instead. The draws are
    a pure function of seed, direction and step, so a resumed run draws the same. They are made on
    the host before the step, so that the exchange itself is one gather and one scatter on the
    device, of fixed shapes. There is one pool for all processes: each has the same copy of it.
    """

    def __init__(self, capacity: int, seed: str, ranks: Ranks = ALONE) -> None:
        """An empty pool for ``capacity`` images; 0 shows every fake itself."""
        self.capacity = capacity
        self.count = 0
        """Images stored."""
        self.stored: Tensor | None = None
        """``(capacity + 1)×C×H×W``; the last place takes what is not to be kept."""
        self.draws: Tensor | None = None
        """For each part of the step: which is shown, what is stored, and where."""
        self._seed, self._ranks = seed, ranks

    @property
    def images(self) -> Tensor | None:
        """Those stored; None where there are none."""
        return None if self.stored is None or not self.count else self.stored[: self.count]

    def fill(self, images: Tensor) -> None:
        """Store these ``N×C×H×W`` in place of all others, at most ``capacity``."""
        self.count = len(images)
        if self.count:
            self._room_for(images)[: self.count] = images

    def draw(self, step: int, fakes: int, parts: int = 1, device: torch.device = CPU) -> None:
        """Decide what the exchanges of a step do.

        Args:
            step: counts from 0.
            fakes: of this process in each part of the step.
            parts: how often the step calls `exchange`.
            device: of the fakes.
        """
        if not self.capacity:
            return
        draw = random.Random(f"{self._seed}/{step}")  # noqa: S311 - replay, not cryptography
        everyones = fakes * self._ranks.count
        draws = torch.tensor([self._part(draw, everyones) for _ in range(parts)])
        self.draws = to_device(draws, device, self.draws)

    def _part(self, draw: random.Random, fakes: int) -> tuple[list[int], list[int], list[int]]:
        """Places count from 0; the new fakes follow them, from ``capacity + 1`` on."""
        held: dict[int, int] = {}
        shown = []
        for new in range(self.capacity + 1, self.capacity + 1 + fakes):
            if self.count < self.capacity:
                held[self.count] = new
                self.count += 1
                shown.append(new)
            elif draw.random() < 0.5:
                shown.append(new)
            else:
                place = draw.randrange(self.capacity)
                shown.append(held.get(place, place))
                held[place] = new
        unused = fakes - len(held)
        return (
            shown,
            [*held.values(), *[self.capacity] * unused],
            [*held, *[self.capacity] * unused],
        )

    def exchange(self, fakes: Tensor, part: int = 0) -> Tensor:
        """``N×C×H×W`` detached fakes, some of them from earlier steps, as `draw` has decided."""
        if not self.capacity:
            return fakes
        assert self.draws is not None, "draw before an exchange"  # noqa: S101
        everyones = self._ranks.gather(fakes)
        stored = self._room_for(everyones)
        shown, kept, places = self.draws[part].unbind()
        there = torch.cat([stored, everyones])
        stored.index_copy_(0, places, there[kept])
        return there[self._ranks.share(shown)]

    def _room_for(self, images: Tensor) -> Tensor:
        if self.stored is None:
            self.stored = images.new_zeros(self.capacity + 1, *images.shape[1:])
        return self.stored


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


def to_device(values: Tensor, device: torch.device, before: Tensor | None = None) -> Tensor:
    """Values from the host, copied without waiting, into ``before`` where that fits.

    A CUDA graph reads the same memory in every step, so what is there already is filled again.
    """
    if device.type == "cuda":
        values = values.pin_memory()
    if before is not None and before.shape == values.shape and before.device == device:
        return before.copy_(values, non_blocking=True)
    return values.to(device, non_blocking=True)


def _at_least_float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
