"""Metrics over all held-out images of one direction: the model's, and of simpler changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


class MetricError(ImgtransError):
    """One metric cannot be measured on these images; the others can."""


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
        ends = {"low": score.low, "high": score.high}
        interval = {key: finite(end) for key, end in ends.items() if end is not None}
        targets = {} if self.targets is None else {"targets": self.targets}
        return {"value": finite(score.value), **interval, "images": self.images, **targets}


def finite(value: float) -> float | str:
    """JSON has no infinities: as text, which the report shows as it is."""
    return value if math.isfinite(value) else str(value)


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
    failed: dict[str, str],
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
        failed: gets the names of metrics that could not be measured, and why; the others go on.
        seen: called with names, images and per-image numbers of each batch of the model's.
        tick: called for each image.

    Returns:
        By the metric's name, then by the change's.

    Raises:
        ImgtransError: an image is broken.
    """
    device = next(direction.generator.parameters(), torch.zeros(())).device
    sums = {"translated": _Sums(), **{name: _Sums() for name in changes}}
    for batch in held_out.batches(index, BATCH):
        source = batch.images.to(device)
        truth = None if batch.truth is None else batch.truth.to(device)
        for name, kept in sums.items():
            own = name == "translated"
            change = partial(through, direction.generator) if own else changes[name]
            fake = source if change is None else change(source)
            shown = Translated(source, fake, truth, direction)
            asked = [
                each
                for each in built
                if each.name not in failed and (own or each.metric.judges_inputs)
            ]
            values = _collect(asked, shown, kept, None if change is None else references, failed)
            if own:
                seen(batch.names, shown, values)
        for _ in batch.names:
            tick()
    return _scores(built, sums, references, index, failed)


def _scores(
    built: Sequence[Built],
    sums: Mapping[str, _Sums],
    references: References,
    index: int,
    failed: dict[str, str],
) -> dict[str, dict[str, Measured]]:
    scores: dict[str, dict[str, Measured]] = {}
    for each in built:
        if each.name in failed:
            continue
        try:
            scores[each.name] = {
                name: _score(each, kept, references, index)
                for name, kept in sums.items()
                if name == "translated" or each.metric.judges_inputs
            }
        except MetricError as error:
            failed[each.name] = str(error)
    return scores


def _collect(
    built: Sequence[Built],
    shown: Translated,
    kept: _Sums,
    references: References | None,
    failed: dict[str, str],
) -> dict[str, Tensor]:
    """Numbers of one batch, one per image and metric; features are kept for the end.

    Those of untranslated images are references themselves, and not made here.
    """
    kept.images += len(shown.fake)
    values: dict[str, Tensor] = {}
    networks: dict[FeatureNetwork, list[str]] = {}
    with torch.no_grad():
        for each in built:
            if isinstance(each.made, Comparison):
                networks.setdefault(each.made.features, []).append(each.name)
                continue
            try:
                values[each.name] = _numbers(each, shown)
            except MetricError as error:
                failed[each.name] = str(error)
            else:
                kept.values.setdefault(each.name, []).append(values[each.name])
        if references is not None:
            for network, names in networks.items():
                try:
                    with _told():
                        features = references.features(network, shown.fake)
                except MetricError as error:
                    failed.update(dict.fromkeys(names, str(error)))
                else:
                    kept.features.setdefault(network, []).append(features)
    return values


def _numbers(built: Built, shown: Translated) -> Tensor:
    assert not isinstance(built.made, Comparison)  # noqa: S101 - narrows the type
    images = len(shown.fake)
    with _told():
        numbers: Any = built.made(shown)
    right = isinstance(numbers, Tensor) and numbers.shape == (images,)
    if not right:
        shape = tuple(numbers.shape) if isinstance(numbers, Tensor) else repr(numbers)
        message = (
            f"it must give one number for each of {images} images: a tensor of shape ({images},), "
            f"not {shape}"
        )
        raise MetricError(message)
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
    with torch.random.fork_rng(devices=[]), _told():
        torch.default_generator.manual_seed(0)
        score: Any = built.made.distance(shown, targets)
    if not isinstance(score, Score) or (score.low is None) != (score.high is None):
        message = "its distance must give a Score, with both ends of an interval or none"
        message += f", not {score!r}"
        raise MetricError(message)
    return Measured(score, kept.images, len(targets))


@contextmanager
def _told() -> Iterator[None]:
    """Whatever a metric raises is why it is not measured; memory is everybody's matter."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except ImgtransError as error:
        raise MetricError(str(error)) from error
    except Exception as error:
        message = f"it raised {type(error).__name__}: {error}"
        raise MetricError(message) from error


def mean(numbers: Tensor) -> Score:
    """The mean of ``N`` numbers, and where the mean of all such images lies."""
    value = numbers.mean().item()
    if len(numbers) < 2 or not math.isfinite(value):
        return Score(value)
    margin = CONFIDENCE * numbers.std().item() / math.sqrt(len(numbers))
    return Score(value, value - margin, value + margin)
