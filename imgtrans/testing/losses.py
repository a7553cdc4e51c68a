"""What losses promise: written as one formula over a `Translation` that they leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from imgtrans.building import seeded
from imgtrans.components import Terms
from imgtrans.testing.material import CheckError, example, translation_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgtrans.components import Component, Term
    from imgtrans.translation import Translation

DOCUMENTED: Final = (
    "source", "target", "fake", "reconstructed", "same", "replayed", "discriminate",
)  # fmt: skip


def _halves(component: type[Component]) -> Iterator[tuple[str, Term]]:
    """The generators' term and the discriminators', as far as there are any."""
    made: Any = example(component)
    with seeded("0"):
        built = made.build()
    terms = built if isinstance(built, Terms) else Terms(generators=built)
    if not any(callable(term) for term in (terms.generators, terms.discriminators)):
        message = (
            f"{component.__name__}.build returns {built!r}; it must return a term, or Terms with "
            "at least one half"
        )
        raise CheckError(message)
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
    """The generators' term has a gradient in a generator, the discriminators' in theirs.

    A term that is a module may train its own parameters instead.
    """
    for half, term in _halves(component):
        translation = translation_of()
        direction = translation._direction  # noqa: SLF001 - the kit belongs to the core
        networks = [direction.generator, direction.back, direction.discriminator]
        trained = networks[2:] if half == "discriminators" else networks[:2]
        modules = [*trained, term] if isinstance(term, nn.Module) else trained
        parameters = [p for module in modules if module is not None for p in module.parameters()]
        value = term(translation)
        _refuse_backward(component, half, networks)
        gradients: tuple[Tensor | None, ...] = ()
        if value.requires_grad:
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        found = [gradient for gradient in gradients if gradient is not None]
        if not any(gradient.any() for gradient in found):
            message = (
                f"the {half}' term of {component.__name__} gives the {half} no gradient: ask the "
                "translation for an image that they make, and do not detach it"
            )
            raise CheckError(message)
        if not all(gradient.isfinite().all() for gradient in found):
            message = (
                f"the {half}' term of {component.__name__} has a gradient that is not finite: keep "
                "square roots, logarithms and divisions away from 0"
            )
            raise CheckError(message)


def _refuse_backward(
    component: type[Component], half: str, networks: Sequence[nn.Module | None]
) -> None:
    for network in networks:
        if network is not None and any(p.grad is not None for p in network.parameters()):
            message = (
                f"the {half}' term of {component.__name__} calls backward; return the value, which "
                "the core weighs, sums and differentiates"
            )
            raise CheckError(message)


def leaves_the_translation_alone(component: type[Component]) -> None:
    """Other losses see the same images afterwards."""
    for half, term in _halves(component):
        translation = translation_of()
        names = ("source", "target", "fake", "reconstructed", "same", "replayed")
        images = {name: getattr(translation, name) for name in names}
        before = {name: (im.detach().clone(), im.requires_grad) for name, im in images.items()}
        term(translation)
        for name, (image, needed) in before.items():
            now = getattr(translation, name)
            if not torch.equal(image, now) or now.requires_grad != needed:
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
