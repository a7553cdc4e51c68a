"""What metrics promise: the same figure for the same images, whatever stands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from imgtrans.components import Comparison, Score
from imgtrans.evaluation import Translated
from imgtrans.problems import ImgtransError
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.judges import require_judge, without_torch
from imgtrans.testing.material import three_unlike, translated_of
from imgtrans.testing.measuring import (
    IMAGES,
    batches,
    build_metric,
    distance_of,
    example_of,
    features_of_sets,
    numbers_of,
    only,
)
from imgtrans.testing.networks import drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgtrans.components import Component, PerImage

DECLARED: Final = {"truth": "needs_truth", "reconstructed": "needs_reconstruction"}
"""What a metric may only ask for where its class says so."""
TOLERANCE: Final = 1e-3
"""What larger batches may change of a number, of the largest: sums in another order."""


def says_what_it_is(component: type[Component]) -> None:
    """Tables, reports and warnings are made of what a metric says of itself."""
    made, name = example_of(component), component.__name__
    change = "let it be attributes and properties, and leave torch to `build`"
    with without_torch(), attempt(f"what {name} says of itself", change):
        said: dict[str, Any] = {
            key: getattr(made, key) for key in ("better", "title", "unit", "judge")
        }
        flags = {key: getattr(made, key) for key in (*DECLARED.values(), "judges_inputs")}
    if said["better"] not in ("lower", "higher", "neither"):
        message = f'{name}.better is {said["better"]!r}; it must be "lower", "higher" or "neither"'
        raise CheckError(message)
    for key in ("title", "unit"):
        text, needed = said[key], key == "title"
        if not isinstance(text, str) or "\n" in text or (needed and not text.strip()):
            message = f"{name}.{key} is {text!r}; it must be one short line of text"
            raise CheckError(message)
    for key, value in flags.items():
        if not isinstance(value, bool):
            message = f"{name}.{key} is {value!r}; it must be True or False"
            raise CheckError(message)
    built, judge = build_metric(component), said["judge"]
    if isinstance(built, Comparison) and judge != built.features.judge:
        message = (
            f"{name}.judge is {judge!r}, but its figures are those of {built.features.judge}: "
            "give it a property `judge` that returns self.features.judge"
        )
        raise CheckError(message)
    if judge is not None:
        require_judge(judge, f"{name}.judge")


def warns_in_words(component: type[Component]) -> None:
    """A training asks after every measurement whether its score is worth a warning."""
    made, name = example_of(component), f"{component.__name__}.warning"
    for value in (-1.0, 0.0, 1.0, 1e6):
        for score in (Score(value), Score(value, value - 0.1, value + 0.1)):
            with attempt(f"{name}({score})", "it must take any score, with an interval or without"):
                text: Any = made.warning(score)
            if text is not None and (not isinstance(text, str) or not text.strip()):
                message = (
                    f"{name} returns {text!r}; it must return what to warn of, as a text, or None"
                )
                raise CheckError(message)


def gives_finite_scores(component: type[Component]) -> None:
    """A number for each image whatever the batch; a `Score` of any two sets of features."""
    built = build_metric(component)
    if isinstance(built, Comparison):
        for fakes, reals in ((24, 40), (40, 24), (40, 40), (2, 3)):
            sets = features_of_sets(fakes, reals)
            try:
                distance_of(component, built, *sets, f" of {fakes} translations and {reals} others")
            except CheckError as error:  # so few images may be refused, in words for a user
                if fakes > 2 or not isinstance(error.__cause__, ImgtransError):
                    raise
        return
    for batch, when, change in batches():
        numbers_of(component, built, batch, when, change)


def scores_an_image_by_itself(component: type[Component]) -> None:
    """A figure must not depend on which images were in a batch together."""
    built = build_metric(component)
    if isinstance(built, Comparison):
        return
    batch = translated_of(source=three_unlike())
    together = numbers_of(component, built, batch)
    alone = torch.cat([numbers_of(component, built, only(batch, index)) for index in range(3)])
    apart = (together - alone).abs()
    if apart.max() > TOLERANCE * alone.abs().max() + 1e-6:
        one, other = (each[apart.argmax()].item() for each in (together, alone))
        message = (
            f"the metric {component.__name__} gives an image another number beside others "
            f"({one:.4g}) than alone ({other:.4g}): take means and deviations over each image, "
            "dim=(1, 2, 3), never over the batch"
        )
        raise CheckError(message)


def _measurement(component: type[Component], built: PerImage | Comparison, step: int) -> Any:
    if isinstance(built, Comparison):
        return distance_of(component, built, *features_of_sets(24, 40), step=step)
    return numbers_of(component, built, translated_of(), step=step).tolist()


def scores_the_same_again(component: type[Component]) -> None:
    """Figures of two runs differ by what the models are and by nothing else."""
    builts = [build_metric(component, step) for step in range(2)]
    first = _measurement(component, builts[0], 0)
    for step, built in enumerate(builts, start=1):
        if first != _measurement(component, built, step):
            change = "keep nothing from call to call"
            if isinstance(built, Comparison):
                change += "; `distance` may draw from torch's own generator, which is seeded for it"
            message = (
                f"the metric {component.__name__} gives the same images another score when it is "
                f"{'asked' if step == 1 else 'built'} again: {change}"
            )
            raise CheckError(message)


def leaves_what_it_is_given_alone(component: type[Component]) -> None:
    """Other metrics see the same images and features afterwards."""
    built, name = build_metric(component), f"the metric {component.__name__}"
    if isinstance(built, Comparison):
        sets = features_of_sets(24, 40)
        given = dict(zip(("the translations' features", "the real features"), sets, strict=True))
        _require_unchanged(given, lambda: distance_of(component, built, *sets), name)
        return
    batch = translated_of()
    given = {f"translated.{image}": getattr(batch, image) for image in IMAGES}
    attributes = set(vars(batch))
    _require_unchanged(given, lambda: numbers_of(component, built, batch), name)
    if new := set(vars(batch)) - attributes:
        message = f"{name} sets translated.{min(new)}: keep what you need in variables of your own"
        raise CheckError(message)


def _require_unchanged(given: dict[str, Tensor], use: Callable[[], Any], name: str) -> None:
    before = {what: tensor.clone() for what, tensor in given.items()}
    use()
    for what, tensor in given.items():
        if not torch.equal(tensor, before[what]):
            message = f"{name} changes {what}: work on new tensors, not in place"
            raise CheckError(message)


def _watched(component: type[Component], batch: Translated) -> Translated:
    """Images that are handed out only where they are documented, and declared."""
    made = example_of(component)

    class Watched(Translated):
        def __init__(self) -> None:
            """Hold nothing: every image is the other's."""

        def __getattribute__(self, name: str) -> Any:
            if name in DECLARED and not getattr(made, DECLARED[name]):
                message = (
                    f"the metric {component.__name__} asks for translated.{name} without saying "
                    f"so: set {DECLARED[name]} = True in its class"
                )
                raise CheckError(message)
            if name in IMAGES:
                return getattr(batch, name)
            if name.startswith("__"):
                return super().__getattribute__(name)
            message = (
                f"the metric {component.__name__} asks for translated.{name}; metrics may use "
                f"{', '.join(IMAGES)}"
            )
            raise CheckError(message)

    return Watched()


def asks_for_what_it_declares(component: type[Component]) -> None:
    """Some data have no truth and some models no way back; those metrics are left out there."""
    built, what = build_metric(component), f"the metric {component.__name__}"
    if isinstance(built, Comparison):
        return
    change = f"ask for images by their names: {', '.join(IMAGES)}"
    with torch.no_grad(), drawn(0), attempt(what, change):
        built(_watched(component, translated_of()))


def tells_equal_from_different(component: type[Component]) -> None:
    """Translations that are the real images score better than one picture over and over."""
    built, made = build_metric(component), example_of(component)
    if not isinstance(built, Comparison) or made.better == "neither":
        return
    _, reals = features_of_sets(24, 40)
    other = 3.0 + reals[:1] + 1e-3 * reals[:24]
    equal, different = (
        distance_of(component, built, fakes, reals).value for fakes in (reals, other)
    )
    if (equal >= different) if made.better == "lower" else (equal <= different):
        message = (
            f"{component.__name__} gives equal features {equal:.4g} and different ones "
            f"{different:.4g}, though {made.better} is better: mend `distance`, or set `better`"
        )
        raise CheckError(message)


CHECKS: Final = (
    says_what_it_is,
    warns_in_words,
    gives_finite_scores,
    scores_an_image_by_itself,
    scores_the_same_again,
    leaves_what_it_is_given_alone,
    asks_for_what_it_declares,
    tells_equal_from_different,
)
