"""Which changes of a recipe a resumed run may take over: each field is declared free or fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from imgtrans.components import Component
from imgtrans.problems import as_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from imgtrans.recipe.model import Recipe


@dataclass(frozen=True)
class Change:
    """One key that differs between a run's recipe and the one it is resumed with."""

    key: str
    before: Any
    after: Any
    free: bool

    def __str__(self) -> str:
        """``[train] steps = 4000 -> 8000``."""
        table, _, name = self.key.rpartition(".")
        head = f"[{table}] {name}" if table else name
        return f"{head} = {_shown(self.before)} -> {_shown(self.after)}"


def _shown(value: Any) -> str:
    return "(not set)" if value is None else as_toml(value)


def changes(before: Recipe, after: Recipe) -> list[Change]:
    """Every difference, in the order of the recipe's keys."""
    return list(_between("", before, after, free=False))


def is_free(field: FieldInfo) -> bool:
    """Whether a field may change on resume; what is not declared free is fixed."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("resume") == "free"


def _between(prefix: str, before: BaseModel, after: BaseModel, *, free: bool) -> Iterator[Change]:
    # Within what only measures everything is free, whatever its fields are declared.
    free = free or (isinstance(before, Component) and not before.trains)
    for name, field in type(before).model_fields.items():
        old, new = getattr(before, name), getattr(after, name)
        yield from _values(f"{prefix}{name}", old, new, measures=free, free=free or is_free(field))


def _values(key: str, old: Any, new: Any, *, measures: bool, free: bool) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for each in [*old, *(name for name in new if name not in old)]:
            yield from _values(
                f"{key}.{each}", old.get(each), new.get(each), measures=measures, free=free
            )
    elif isinstance(old, BaseModel) and type(old) is type(new):
        yield from _between(f"{key}.", old, new, free=measures)
    elif old != new:
        yield Change(key, _plain(old), _plain(new), free)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        from imgtrans.components import dump

        return dump(value)["use"]
    return value.model_dump() if isinstance(value, BaseModel) else value
