"""Classes of a program of one's own, such as a notebook's, which no plugin offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imgtrans.components import kind_noun
from imgtrans.plugins.record import UnknownComponentError

if TYPE_CHECKING:
    from imgtrans.components import Component

LOCAL: Final = "local:"
"""Begins the name that a recipe saves such a class by."""


def local_name(component: type[Component]) -> str:
    """``local:module.Class``."""
    return f"{LOCAL}{component.__module__}.{component.__qualname__}"


class LocalClasses:
    """Those that were given or used in this process."""

    def __init__(self) -> None:
        """None so far."""
        self._classes: dict[str, type[Component]] = {}

    def remember(self, component: type[Component]) -> None:
        """Make a class known by its name."""
        self._classes[local_name(component)] = component

    def find(self, kind: type[Component], name: str) -> type[Component]:
        """The class of that name.

        Raises:
            UnknownComponentError: it was not given; the text says how to.
        """
        component = self._classes.get(name) or self._of_a_script(name)
        if component is None or not issubclass(component, kind):
            message = (
                f'the {kind_noun(kind)} "{name}" is a class of the program that trained it, not of '
                "a plugin: go on with run(recipe, resume=…) in that program, or give load_model "
                "the class with components=[…]; for the command line, put it into a plugin"
            )
            raise UnknownComponentError(message)
        return component

    def _of_a_script(self, name: str) -> type[Component] | None:
        """A script calls its module ``__main__``, and who imports it by its file's name."""
        module, _, called = name.removeprefix(LOCAL).rpartition(".")
        others = [
            component
            for component in self._classes.values()
            if component.__qualname__ == called and "__main__" in (module, component.__module__)
        ]
        return others[0] if len(others) == 1 else None
