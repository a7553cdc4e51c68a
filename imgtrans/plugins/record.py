"""What is known of one plugin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from imgtrans.components import Component

SLOW: Final = 1.0
"""Seconds; a plugin that takes longer to load is told."""
GROUP: Final = "imgtrans.v1"
"""The entry-point group; the API's version is in its name."""


class UnknownComponentError(LookupError):
    """No component, or more than one, answers to a name; the text says which are there."""


@dataclass
class Plugin:
    """One plugin: where it comes from, what it offers, or why it could not be loaded."""

    name: str
    distribution: str
    version: str
    api: str = GROUP
    error: BaseException | None = None
    why: str = ""
    components: dict[str, dict[str, type[Component]]] = field(default_factory=dict)
    recipes: list[Traversable] = field(default_factory=list)
    seconds: float = 0.0
    """How long it took to load."""

    @property
    def first_line(self) -> str:
        """Why it could not be loaded, on one line."""
        line, more, _ = self.why.partition("\n")
        return f"{line} …" if more else line

    @property
    def slow(self) -> bool:
        """Whether everything that lists components waits for this plugin."""
        return self.seconds > SLOW

    @property
    def package(self) -> str:
        """Distribution and version, as ``pip`` would name them."""
        return f"{self.distribution} {self.version}".strip()
