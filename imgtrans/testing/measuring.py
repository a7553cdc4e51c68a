"""Metrics in checks: built, asked for figures of toy images, and what they give looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from imgtrans.components import Comparison, FeatureNetwork, Metric, Score
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.examples import example
from imgtrans.testing.judges import without_chance
from imgtrans.testing.material import toy_images, translated_of
from imgtrans.testing.networks import drawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.components import Component, PerImage
    from imgtrans.evaluation import Translated

IMAGES: Final = ("source", "fake", "truth", "reconstructed")
"""What a metric may ask for."""
WIDTH: Final = 16
"""Features of an image: recipes may put any network into a metric."""


def example_of(component: type[Component]) -> Metric:
    """The metric that checks work on."""
    made = example(component)
    assert isinstance(made, Metric)  # noqa: S101 - these checks are for metrics
    return made


def build_metric(component: type[Component], step: int = 0) -> PerImage | Comparison:
    """A function, or a comparison of features, as ``build`` must return."""
    name, made = component.__name__, example_of(component)
    change = (
        "put what it needs where it looks for it, or give the test a metric that has all: "
        f"parametrize_with_checks(…, examples=[{name}(…)])"
    )
    with drawn(step), attempt(f"{name}.build()", change):
        built: Any = made.build()
    if isinstance(built, Comparison):
        right = isinstance(built.features, FeatureNetwork) and callable(built.distance)
    else:
        right = callable(built)
    if not right:
        message = (
            f"{name}.build returns {built!r}; it must return a function that gives each image of "
            "a batch a number, or Comparison(features=a feature network, distance=a function)"
        )
        raise CheckError(message)
    return built  # type: ignore[no-any-return]


def numbers_of(
    component: type[Component],
    score: PerImage,
    batch: Translated,
    when: str = "",
    change: str = "it must take any batch of images, grey or in colour",
    *,
    step: int = 0,
) -> Tensor:
    """One finite number for each image, as they must be."""
    what, count = f"the metric {component.__name__}", len(batch.source)
    with torch.no_grad(), without_chance(step, what), attempt(f"{what}{when}", change):
        numbers: Any = score(batch)
    if not isinstance(numbers, Tensor) or numbers.shape != (count,):
        found = f"a tensor of {tuple(numbers.shape)}" if isinstance(numbers, Tensor) else numbers
        message = (
            f"{what} gives {found!s} for a batch of {count}{when}; it must give each image a "
            "number: a tensor of shape (N,), as .mean(dim=(1, 2, 3)) makes it"
        )
        raise CheckError(message)
    if not numbers.isfinite().all():
        if not when:
            change = "keep roots, logarithms and divisions away from 0"
        message = f"{what} gives {numbers.tolist()}{when}, which is not finite; {change}"
        raise CheckError(message)
    return numbers


def batches() -> Iterator[tuple[Translated, str, str]]:
    """Batches of all sorts, what is unlike others in them, and what must be done about it."""
    takes = "it must take any batch: images of any number, height and width, grey or in colour"
    yield translated_of(), "", takes
    for images, when in (
        (toy_images(1), " on a batch of one image"),
        (toy_images(3), " on a batch of three images"),
        (toy_images(2, (48, 80)), " on images that are not square"),
        (toy_images(2, channels=1), " on grey images"),
    ):
        yield translated_of(source=images), when, takes
    same, white = toy_images(), torch.ones_like(toy_images())
    for images, when, why in (
        (same, " where the translation is the truth", "a model may be perfect"),
        (white, " on images of one colour", "a model may fail so"),
    ):
        batch = translated_of(source=images, fake=images, truth=images, reconstructed=images)
        yield batch, when, f"{why}: keep roots, logarithms and divisions away from 0"


def only(batch: Translated, index: int) -> Translated:
    """One image of a batch."""
    return translated_of(**{name: getattr(batch, name)[index : index + 1] for name in IMAGES})


def features_of_sets(fakes: int, reals: int) -> tuple[Tensor, Tensor]:
    """Features of so many translations and real images, alike in all but chance; 0 or more."""
    random = torch.Generator().manual_seed(0)
    translations, others = (torch.rand(n, WIDTH, generator=random) for n in (fakes, reals))
    return translations, others


def distance_of(
    component: type[Component],
    built: Comparison,
    fakes: Tensor,
    reals: Tensor,
    when: str = "",
    *,
    step: int = 0,
) -> Score:
    """The score of two sets, as it must be; torch is seeded for it, as in measurements.

    Raises:
        CheckError: it fails, or is no score of finite numbers.
    """
    what = f"the distance of {component.__name__}"
    change = "it must take N×D and M×D features of any network, and any numbers N and M"
    with torch.no_grad(), drawn(step), attempt(f"{what}{when}", change):
        torch.manual_seed(0)
        score: Any = built.distance(fakes, reals)
    if not isinstance(score, Score):
        message = f"{what} returns {score!r}{when}; it must return a Score(value, low, high)"
        raise CheckError(message)
    for part in ("value", "low", "high"):
        number: Any = getattr(score, part)
        if number is None and part != "value":
            continue
        if not isinstance(number, (int, float)) or not math.isfinite(number):
            message = (
                f"{what} has {part} = {number!r}{when}; it must be a finite Python number, as "
                ".item() makes it"
            )
            raise CheckError(message)
    low, high = score.low, score.high
    if (low is None) != (high is None):
        message = f"{what} returns {score}{when}; give both ends of the interval, or neither"
        raise CheckError(message)
    if low is not None and high is not None and not low <= score.value <= high:
        message = f"{what} returns {score}{when}; its value must lie in its interval"
        raise CheckError(message)
    return score
