"""What must fit together in a recipe, though each value is right by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import InitErrorDetails, PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Mapping


def misfits(parts: Mapping[str, Any]) -> list[InitErrorDetails]:
    """Image sizes that the generator cannot take; parts that are missing or None are left out."""
    generator, found = parts.get("generator"), []
    multiple = generator.multiple if generator is not None else 1
    if not isinstance(multiple, int) or multiple < 1:
        text = f"is a generator whose multiple is {multiple!r}; it must be 1 or more pixels"
        return [_problem(("generator", "use"), text, None)]
    for table in ("dataset", "fallback"):
        size = parts[table].image_size if parts.get(table) is not None else 0
        if size % multiple:
            below = size // multiple * multiple
            sizes = " or ".join(str(near) for near in (below, below + multiple) if near)
            text = f"must be a multiple of {multiple} for this generator: {sizes}"
            found.append(_problem((table, "image_size"), text, size))
    return found


def late_decay(decay_steps: int, steps: int) -> InitErrorDetails | None:
    """What is wrong where the rates fall for longer than there is training."""
    if decay_steps <= steps:
        return None
    text = f"must be at most steps ({steps}); the decay ends with the training"
    return _problem(("decay_steps",), text, decay_steps)


def no_such_metric(
    name: str | None, metrics: Mapping[str, Any], every: int | None
) -> InitErrorDetails | None:
    """What is wrong where the best checkpoint is chosen by a metric that is not there."""
    if name is None:
        return None
    if every is None:
        text = "needs evaluate_every: measured only at the end, the last checkpoint is the best"
        return _problem(("train", "keep_best"), text, name)
    if name in metrics and metrics[name].better != "neither":
        return None
    those = ", ".join(each for each in metrics if metrics[each].better != "neither")
    text = f"must be the name of a [metric] that can be better or worse: {those or 'none here'}"
    return _problem(("train", "keep_best"), text, name)


def _problem(location: tuple[str, ...], text: str, given: object) -> InitErrorDetails:
    """A problem between several keys, shown at the one to change."""
    custom = PydanticCustomError("recipe", "{text}", {"text": text})
    return {"type": custom, "loc": location, "input": given}
