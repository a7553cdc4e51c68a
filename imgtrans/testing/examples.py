"""The component that a check works on: what defaults make, or an example of author or test."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

from imgtrans.components import Component, Dataset, kind_noun
from imgtrans.testing.errors import CheckError, attempt
from imgtrans.testing.material import toy_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from imgtrans.components import Generator

    Check = Callable[[type[Component]], None]


@dataclass(frozen=True)
class Given:
    """What a test says of its plugin, for as long as one of its checks runs."""

    module: str | None = None
    """What the entry point names; None where a check is called by itself."""
    examples: dict[type[Component], Component] = field(default_factory=dict)


_GIVEN: ContextVar[Given] = ContextVar("given", default=Given())  # noqa: B039 - never changed


def given() -> Given:
    """What the running test says of its plugin."""
    return _GIVEN.get()


def with_given(check: Check, said: Given) -> Check:
    """The same check, which finds the test's module and examples when it runs."""

    @wraps(check)
    def checked(component: type[Component]) -> None:
        token = _GIVEN.set(said)
        try:
            check(component)
        finally:
            _GIVEN.reset(token)

    return checked


def by_class(
    examples: Iterable[Component], offered: Iterable[type[Component]], module: str
) -> dict[type[Component], Component]:
    """The test's examples by what they are examples of.

    Raises:
        TypeError: one is of no use; the text says why.
    """
    known, found = set(offered), dict[type[Component], Component]()
    for each in examples:
        kind = type(each)
        if not isinstance(each, Component):
            message = f"examples must be components, such as Dicom(root=…), not {each!r}"
            raise TypeError(message)
        if kind not in known:
            names = ", ".join(sorted(component.__name__ for component in known))
            message = f"examples: {module} does not offer {kind.__name__} (it offers {names})"
            raise TypeError(message)
        if kind in found:
            message = f"examples: there are two of {kind.__name__}; write a second test"
            raise TypeError(message)
        found[kind] = each
    return found


def example(component: type[Component]) -> Component:
    """The test's own example of a component, or the first declared one, or what defaults make.

    Examples are declared as ``model_config = ConfigDict(json_schema_extra={"examples": [{…}]})``. A
    dataset with a required ``root`` and nothing else is given a folder of toy images (see
    `toy_folder`).

    Raises:
        CheckError: a field has no default, and there is no example; or the example is wrong.
    """
    if component in given().examples:
        return given().examples[component]
    name = component.__name__
    extra = component.model_config.get("json_schema_extra")
    examples: Any = extra.get("examples") if isinstance(extra, dict) else None
    if examples:
        with attempt(f"the declared example of {name}", "examples is a list of valid tables"):
            return component.model_validate(examples[0])
    required = [key for key, field in component.model_fields.items() if field.is_required()]
    fields: dict[str, Any] = {}
    if required == ["root"] and issubclass(component, Dataset):
        fields = {"root": str(toy_folder()), "image_size": 32}
    elif required:
        values = ", ".join(f"{key}=…" for key in required)
        message = (
            f"the {kind_noun(component)} {name} cannot be made for a check: give "
            f"{', '.join(required)} a default, declare an example: model_config = "
            'ConfigDict(json_schema_extra={"examples": [{…}]}), or give the test one: '
            f"parametrize_with_checks(…, examples=[{name}({values})])"
        )
        raise CheckError(message)
    with attempt(f"{name}({', '.join(fields)})", "let its defaults be valid values"):
        return component.model_validate(fields)


def side_for(generator: Generator, least: int) -> int:
    """The smallest side of at least so many pixels that a generator takes.

    Raises:
        CheckError: its ``multiple`` is no number of pixels.
    """
    name = type(generator).__name__
    with attempt(f"{name}.multiple", "it is a property, the pixels that sides are multiples of"):
        multiple: Any = generator.multiple
    if not isinstance(multiple, int) or multiple < 1:
        message = f"{name}.multiple is {multiple!r}; it must be a whole number of pixels, 1 or more"
        raise CheckError(message)
    return -(-least // multiple) * multiple
