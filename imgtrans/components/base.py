"""Component, and how a recipe's ``use`` selects one for a field that is annotated with a kind."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

FREE: Final[dict[str, Any]] = {"resume": "free"}
"""``Field(json_schema_extra=FREE)``: the value may change when a run is resumed."""
FIXED: Final[dict[str, Any]] = {"resume": "fixed"}
"""``Field(json_schema_extra=FIXED)``: another value would make a resumed run a wrong one."""


def is_abstract(kind: type[Component]) -> bool:
    """Whether this is a kind, which a recipe fills with ``use``, and not a component itself."""
    return inspect.isabstract(kind)


class Component(BaseModel):
    """A replaceable part: its fields are the recipe's parameters, and ``build`` makes the part."""

    # Defaults are not validated: recipes are read as strict JSON, which would refuse a Path's.
    # What a plugin offers is prepared to validate once, when it loads; kinds and bases never.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    paper: ClassVar[str] = ""
    """Where it was published: authors, year, title, and an address if there is one."""

    trains: ClassVar[bool] = True
    """Whether training depends on it; whatever else is measured may change when a run resumes."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep ``use`` for the recipe, and every field to one name.

        Raises:
            TypeError: the class has a field called ``use``, or one with an alias.
        """
        super().__pydantic_init_subclass__(**kwargs)
        if "use" in cls.model_fields:
            message = f'{cls.__name__}.use: "use" names the component in recipes; rename the field'
            raise TypeError(message)
        for name, field in cls.model_fields.items():
            if field.alias or field.validation_alias or field.serialization_alias:
                message = f"{cls.__name__}.{name} has an alias; rename the field instead"
                raise TypeError(message)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """An abstract kind selects by ``use``; a concrete component validates as any model."""
        if not is_abstract(cls):
            return handler(source)
        return core_schema.with_info_plain_validator_function(
            lambda value, info: _select(cls, value, info),
            serialization=core_schema.plain_serializer_function_ser_schema(dump),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A kind stands for all of its components, which ``imgtrans.schema`` puts in its place."""
        return {"kind": cls} if is_abstract(cls) else handler(schema)

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's own docstring."""
        return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0].rstrip(".")


def _select(kind: type[Component], value: Any, info: ValidationInfo) -> Component:
    from imgtrans.plugins import registry

    if isinstance(value, kind):
        registry().remember(type(value))
        return value
    if isinstance(value, str):
        value = {"use": value}
    noun = kind_noun(kind)
    if not isinstance(value, Mapping):
        raise _no_table(noun, info.mode)
    fields = dict(value)
    use = fields.pop("use", None)
    if not isinstance(use, str):
        offered = ", ".join(registry().names(kind)) or "none"
        text = f"is missing: which {noun}? installed: {offered}"
        if use is not None:
            text = f"must be the name of a {noun}, in quotes; installed: {offered}"
        raise _at_use(text, noun, use)
    try:
        chosen = registry().find(kind, use)
    except LookupError as error:
        text = f"{error}{_came_from(use, info.context)}"
        raise _at_use(text, noun, use) from None
    try:
        if info.mode == "json":  # a recipe: as strict as the rest of it
            return chosen.model_validate_json(json.dumps(fields), strict=True, context=info.context)
        return chosen.model_validate(fields, context=info.context)
    except ValidationError:
        raise
    except Exception as error:
        text = f"cannot be checked: {chosen.__name__} raised {type(error).__name__}: {error}"
        raise _at_use(text, noun, use) from error


def _no_table(noun: str, mode: str) -> PydanticCustomError:
    if mode == "python":
        text = "must be a {noun}: an object of its class, its name, or a table with use"
        return PydanticCustomError("component", text, {"noun": noun})
    return PydanticCustomError(
        "component", 'must be a table with use = "…" ({noun})', {"noun": noun}
    )


def _came_from(use: str, context: Any) -> str:
    """How to get the plugin, where the recipe was written by a run and says which it had."""
    package = (context or {}).get("plugins", {}).get(use.rpartition("/")[0])
    if not isinstance(package, str) or not package:
        return ""
    if package.endswith(".py"):
        return f"; it came from the file {package}: give it with --plugin"
    how = f": pip install {package.replace(' ', '==')}" if package.count(" ") == 1 else ""
    return f"; it came from {package}{how}"


def _at_use(text: str, noun: str, use: object) -> ValidationError:
    # The text may hold braces (from a plugin's own error), which a template would read.
    custom = PydanticCustomError("component", "{text}", {"text": text})
    details: InitErrorDetails = {"type": custom, "loc": ("use",), "input": use}
    return ValidationError.from_exception_data(noun, [details])


def dump(component: Component) -> dict[str, Any]:
    """A component as a recipe's table: full name, every field, None left out (TOML has no null)."""
    from imgtrans.plugins import registry

    fields = component.model_dump(mode="json", exclude_none=True)
    return {"use": registry().name_of(type(component)), **fields}


def kind_name(component: type[Component]) -> str:
    """The kind that a class belongs to, as the command line calls it: ``residual_block``."""
    kind = next((base for base in component.__mro__ if Component in base.__bases__), component)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def kind_noun(component: type[Component]) -> str:
    """The kind in prose: residual block."""
    return kind_name(component).replace("_", " ")
