"""What losses promise: written as one formula over a `Translation` that they leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from imgtrans.components import Terms
from imgtrans.testing.material import CheckError, example, seeded, translation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.components import Component, Term
    from imgtrans.translation import Translation

DOCUMENTED: Final = (
    "source", "target", "fake", "reconstructed", "same", "replayed", "discriminate",
)  # fmt: skip


def _halves(component: type[Component]) -> Iterator[tuple[str, Term]]:
    """The generators' term and the discriminators', as far as there are any."""
    made: Any = example(component)
    with seeded():
        built = made.build()
    terms = built if isinstance(built, Terms) else Terms(generators=built)
    if terms.generators is not None:
        yield "generators", terms.generators
    if terms.discriminators is not None:
        yield "discriminators", terms.discriminators


def is_a_finite_number(component: type[Component]) -> None:
    """The core weighs and sums what a term returns."""
    for half, term in _halves(component):
        value = term(translation_of())
        if isinstance(value, Tensor) and value.ndim == 0:
            if value.isfinite():
                continue
            what = str(value.item())
        else:
            what = f"a tensor of {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        message = (
            f"the {half}' term of {component.__name__} returns {what}; it must return a finite "
            "tensor without dimensions, as .mean() makes it"
        )
        raise CheckError(message)


def reaches_what_it_trains(component: type[Component]) -> None:
    """The generators' term has a gradient in a generator, the discriminators' in theirs."""
    for half, term in _halves(component):
        translation = translation_of()
        direction = translation._direction  # noqa: SLF001 - the kit belongs to the core
        trained = direction.discriminator if half == "discriminators" else direction.generator
        assert trained is not None  # noqa: S101 - `translation_of` gives both
        value = term(translation)
        if value.requires_grad:
            value.backward()
        gradients = [parameter.grad for parameter in trained.parameters()]
        if half == "generators" and direction.back is not None:
            gradients += [parameter.grad for parameter in direction.back.parameters()]
        if not any(gradient is not None and gradient.any() for gradient in gradients):
            message = (
                f"the {half}' term of {component.__name__} gives the {half} no gradient: ask the "
                "translation for an image that they make, and do not detach it"
            )
            raise CheckError(message)


def leaves_the_translation_alone(component: type[Component]) -> None:
    """Other losses see the same images afterwards."""
    for half, term in _halves(component):
        translation = translation_of()
        names = ("source", "target", "fake", "reconstructed", "same")
        before = {name: getattr(translation, name).detach().clone() for name in names}
        term(translation)
        for name, image in before.items():
            if not torch.equal(image, getattr(translation, name)):
                message = (
                    f"the {half}' term of {component.__name__} changes translation.{name}: work on "
                    "new tensors, not in place"
                )
                raise CheckError(message)


class _Watched:
    """A translation that hands out only what is documented."""

    def __init__(self, component: type[Component], translation: Translation) -> None:
        self.__component, self.__translation = component, translation

    def __getattr__(self, name: str) -> Any:
        if name not in DOCUMENTED:
            message = (
                f"{self.__component.__name__} asks the translation for {name!r}; losses may use "
                f"{', '.join(DOCUMENTED)}"
            )
            raise CheckError(message)
        return getattr(self.__translation, name)


def asks_for_what_is_documented(component: type[Component]) -> None:
    """What else a translation holds may change with any version."""
    for _, term in _halves(component):
        watched: Any = _Watched(component, translation_of())
        term(watched)


CHECKS: Final = (
    is_a_finite_number,
    reaches_what_it_trains,
    leaves_the_translation_alone,
    asks_for_what_is_documented,
)
