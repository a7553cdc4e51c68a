"""What a model's fields take and are by default, as pydantic and recipes say it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from imgtrans.components import dump

if TYPE_CHECKING:
    from pydantic import BaseModel

    from imgtrans.components import Component


class _Generate(GenerateJsonSchema):
    """What no schema can say, a validator's own rules, is left to ``imgtrans validate``."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        """Anything may stand where a type has no schema."""
        del schema, error_info
        return {}

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A title would only repeat the key."""
        del schema
        return False


def model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What pydantic says of a model; where it holds a kind, ``{"kind": class}``."""
    schema = model.model_json_schema(schema_generator=_Generate)
    if "$ref" in schema:  # a model that holds itself is one of its own definitions
        return {**schema["$defs"][schema["$ref"].rpartition("/")[2]], "$defs": schema["$defs"]}
    return schema


def defaults_of(component: type[Component]) -> dict[str, Any]:
    """What a recipe would say of every field that has a default; None is left out."""
    given = {}
    for name, field in component.model_fields.items():
        with suppress(TypeError, KeyError):  # a default made of what other fields are given
            if not field.is_required():
                given[name] = field.get_default(call_default_factory=True, validated_data={})
    fields: dict[str, Any] = dump(component.model_construct(**given))
    del fields["use"]
    return fields
