"""What losses promise: written as one formula over a `Translation` that they leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from imgtrans.building import seeded
from imgtrans.components import as_terms
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.examples import example
from imgtrans.testing.material import scaled_translation, toy_images, translation_of
from imgtrans.testing.networks import drawn
from imgtrans.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imgtrans.components import Component, Term

DOCUMENTED: Final = (
    "source", "target", "fake", "reconstructed", "same", "replayed", "discriminate",
)  # fmt: skip


def _halves(component: type[Component]) -> Iterator[tuple[str, Term]]:
    """The generators' term and the discriminators', as far as there are any."""
    made: Any = example(component)
    change = "it must make a term from the fields' values as they are"
    with seeded("0"), attempt(f"{component.__name__}.build()", change):
        built = made.build()
    terms = as_terms(built)
    if terms is None:
        message = (
            f"{component.__name__}.build returns {built!r}; it must return a term, or Terms with "
            "at least one half"
        )
        raise CheckError(message)
    if terms.generators is not None:
        yield "generators", terms.generators
    if terms.discriminators is not None:
        yield "discriminators", terms.discriminators


def _value(
    component: type[Component],
    half: str,
    term: Term,
    translation: Translation,
    when: str = "",
    change: str = "it must take any batch of images, grey or in colour",
) -> Tensor:
    """What a term returns, a number that it must be; discriminators are frozen as in training."""
    discriminator = translation._direction.discriminator  # noqa: SLF001 - of the core's own
    assert discriminator is not None  # noqa: S101 - a toy translation has one
    discriminator.requires_grad_(half == "discriminators")
    name = f"the {half}' term of {component.__name__}"
    with drawn(0), attempt(f"{name}{when}", change):
        value: Any = term(translation)
    if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
        if value.isfinite():
            return value
        if not when:
            change = "keep roots, logarithms and divisions away from 0"
        message = f"{name} returns {value.item()}{when}, which is not finite; {change}"
        raise CheckError(message)
    what = repr(value)
    if isinstance(value, Tensor):
        what = f"a tensor of {tuple(value.shape)} and {value.dtype}"
    message = (
        f"{name} returns {what}; it must return a floating-point tensor without dimensions, as "
        ".mean() makes it"
    )
    raise CheckError(message)


def is_a_finite_number(component: type[Component]) -> None:
    """The core weighs and sums what a term returns, whatever the batch and the discriminator."""
    for half, term in _halves(component):
        _value(component, half, term, translation_of())
        for translation, when, change in (
            (
                translation_of(source=toy_images(1)),
                " on a batch of one image",
                "it must take any batch: recipes train on one image at a time unless told",
            ),
            (
                scaled_translation(2),
                " with a discriminator of two scales",
                "`discriminate` returns one tensor per scale, however many: use them all",
            ),
        ):
            _value(component, half, term, translation, when, change)


def reaches_what_it_trains(component: type[Component]) -> None:
    """The generators' term has a gradient in a generator, the discriminators' in theirs.

    A term that is a module may train its own parameters instead.
    """
    for half, term in _halves(component):
        translation = translation_of()
        direction = translation._direction  # noqa: SLF001 - of the core's own
        networks = [direction.generator, direction.back, direction.discriminator]
        trained = networks[2:] if half == "discriminators" else networks[:2]
        modules = [*trained, term] if isinstance(term, nn.Module) else trained
        value = _value(component, half, term, translation)
        parameters = [
            parameter
            for module in modules
            if module is not None
            for parameter in module.parameters()
            if parameter.requires_grad
        ]
        _refuse_backward(component, half, networks)
        gradients: tuple[Tensor | None, ...] = ()
        what, change = f"the gradient of the {half}' term of {component.__name__}", "leave images "
        with attempt(what, f"{change}as they are: work on new tensors, not in place"):
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
        attributes = set(vars(translation))
        _value(component, half, term, translation)
        new = set(vars(translation)) - attributes
        if new:
            message = (
                f"the {half}' term of {component.__name__} sets translation.{min(new)}: keep what "
                "you need in variables of your own"
            )
            raise CheckError(message)
        for name, (image, needed) in before.items():
            now = getattr(translation, name)
            if not torch.equal(image, now) or now.requires_grad != needed:
                message = (
                    f"the {half}' term of {component.__name__} changes translation.{name}: work on "
                    "new tensors, not in place"
                )
                raise CheckError(message)


def _watched(component: type[Component], translation: Translation) -> Translation:
    """A translation that hands out only what is documented."""

    class Watched(Translation):
        def __init__(self) -> None:
            """Hold nothing: every image is the other's."""

        def __getattribute__(self, name: str) -> Any:
            if name in DOCUMENTED:
                return getattr(translation, name)
            if name.startswith("__"):
                return super().__getattribute__(name)
            message = (
                f"{component.__name__} asks the translation for {name!r}; losses may use "
                f"{', '.join(DOCUMENTED)}"
            )
            raise CheckError(message)

    return Watched()


def asks_for_what_is_documented(component: type[Component]) -> None:
    """What else a translation holds may change with any version."""
    for half, term in _halves(component):
        what, change = f"the {half}' term of {component.__name__}", "ask the translation for images"
        with drawn(0), attempt(what, f"{change} by their names: {', '.join(DOCUMENTED)}"):
            term(_watched(component, translation_of()))


CHECKS: Final = (
    is_a_finite_number,
    reaches_what_it_trains,
    leaves_the_translation_alone,
    asks_for_what_is_documented,
)
