"""Metrics over all held-out images of one direction: the model's, and of simpler changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from imgtrans.components import Comparison, Score
from imgtrans.evaluation.translated import Translated, through
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from imgtrans.components import FeatureNetwork, Metric, PerImage
    from imgtrans.data import HeldOutImages
    from imgtrans.evaluation.references import References
    from imgtrans.translation import Direction

BATCH: Final = 16
CONFIDENCE: Final = 1.96
"""Standard errors to either side that hold 95 % of a normal distribution."""

Change = Callable[[Tensor], Tensor] | None
"""What is made of sources instead of translating them; None leaves them as they are."""


@dataclass(frozen=True)
class Built:
    """A metric of the recipe, ready."""

    name: str
    metric: Metric
    made: PerImage | Comparison


@dataclass(frozen=True)
class Measured:
    """A score with what it counts."""

    score: Score
    images: int
    targets: int | None = None
    """Real images of the target domain that it was compared with, where it compares."""

    def as_json(self) -> dict[str, Any]:
        """For ``figures.json``."""
        score = self.score
        interval = {} if score.low is None else {"low": score.low, "high": score.high}
        targets = {} if self.targets is None else {"targets": self.targets}
        return {"value": score.value, **interval, "images": self.images, **targets}


@dataclass(eq=False)
class _Sums:
    """What is collected of one change of all sources: numbers and features."""

    images: int = 0
    values: dict[str, list[Tensor]] = field(default_factory=dict)
    features: dict[FeatureNetwork, list[Tensor]] = field(default_factory=dict)


def measure(
    built: Sequence[Built],
    direction: Direction,
    index: int,
    held_out: HeldOutImages,
    references: References,
    changes: Mapping[str, Change],
    *,
    seen: Callable[[Sequence[str], Translated, Mapping[str, Tensor]], None] = lambda *_: None,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Measured]]:
    """Scores of every metric for the model of a direction, and for simpler changes.

    Args:
        built: the metrics.
        direction: whose generator translates.
        index: 0 for x to y, 1 for y to x.
        held_out: the images.
        references: features of the target domain.
        changes: what stands beside the model, by name; the model's own name is ``translated``.
        seen: called with names, images and per-image numbers of each batch of the model's.
        tick: called for each image.

    Returns:
        By the metric's name, then by the change's.

    Raises:
        ImgtransError: a metric gives what it must not; an image is broken.
    """
    device = next(direction.generator.parameters(), torch.zeros(())).device
    sums = {"translated": _Sums(), **{name: _Sums() for name in changes}}
    for batch in held_out.batches(index, BATCH):
        source = batch.images.to(device)
        truth = None if batch.truth is None else batch.truth.to(device)
        for name, kept in sums.items():
            own = name == "translated"
            change = partial(through, direction.generator, direction) if own else changes[name]
            fake = source if change is None else change(source)
            shown = Translated(source, fake, truth, direction)
            asked = [each for each in built if own or each.metric.judges_inputs]
            values = _collect(asked, shown, kept, None if change is None else references)
            if own:
                seen(batch.names, shown, values)
        for _ in batch.names:
            tick()
    return {
        each.name: {
            name: _score(each, kept, references, index)
            for name, kept in sums.items()
            if name == "translated" or each.metric.judges_inputs
        }
        for each in built
    }


def _collect(
    built: Sequence[Built], shown: Translated, kept: _Sums, references: References | None
) -> dict[str, Tensor]:
    """Numbers of one batch, one per image and metric; features are kept for the end.

    Those of untranslated images are references themselves, and not made here.
    """
    kept.images += len(shown.fake)
    values: dict[str, Tensor] = {}
    networks: dict[FeatureNetwork, None] = {}
    with torch.no_grad():
        for each in built:
            if isinstance(each.made, Comparison):
                networks[each.made.features] = None
            else:
                values[each.name] = _numbers(each, shown)
                kept.values.setdefault(each.name, []).append(values[each.name])
        if references is not None:
            for network in networks:
                features = references.features(network, shown.fake)
                kept.features.setdefault(network, []).append(features)
    return values


def _numbers(built: Built, shown: Translated) -> Tensor:
    assert not isinstance(built.made, Comparison)  # noqa: S101 - narrows the type
    images = len(shown.fake)
    try:
        numbers: Any = built.made(shown)
    except (ImgtransError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        message = f"[metric.{built.name}] raised {type(error).__name__}: {error}"
        raise ImgtransError(message) from error
    right = isinstance(numbers, Tensor) and numbers.shape == (images,)
    if not right:
        shape = tuple(numbers.shape) if isinstance(numbers, Tensor) else repr(numbers)
        message = (
            f"[metric.{built.name}] must give one number for each of {images} images: a tensor of "
            f"shape ({images},), not {shape}"
        )
        raise ImgtransError(message)
    assert isinstance(numbers, Tensor)  # noqa: S101 - narrows the type
    return numbers.detach().double().cpu()


def _score(built: Built, kept: _Sums, references: References, index: int) -> Measured:
    if not isinstance(built.made, Comparison):
        return Measured(mean(torch.cat(kept.values[built.name])), kept.images)
    network = built.made.features
    targets = references.of_domain(network, 1 - index)
    made = kept.features.get(network)
    shown = references.of_domain(network, index) if made is None else torch.cat(made)
    # Random choices, of subsets say, are the same each time and disturb no training.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        score = built.made.distance(shown, targets)
    return Measured(score, kept.images, len(targets))


def mean(numbers: Tensor) -> Score:
    """The mean of ``N`` numbers, and where the mean of all such images lies."""
    value = numbers.mean().item()
    if len(numbers) < 2 or not math.isfinite(value):
        return Score(value)
    margin = CONFIDENCE * numbers.std().item() / math.sqrt(len(numbers))
    return Score(value, value - margin, value + margin)
