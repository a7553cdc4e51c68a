"""Components whose fields are wrong, whatever they build."""

import numpy as np
from pydantic import ConfigDict, PrivateAttr, field_serializer, field_validator
from torch import nn

from imgtrans import Field, ResidualBlock


class Block(ResidualBlock):
    """A block."""

    def build(self, channels):
        return nn.Identity()


class Untold(Block):
    size: int = Field(default=1, description="of something")


class Undescribed(Block):
    """A block."""

    size: int = 1


class Unmakeable(Block):
    """A block."""

    size: int = Field(description="of something")


class WrongExample(Block):
    """A block."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"size": "large"}]})
    size: int = Field(description="of something")


def no_size():
    message = "no idea"
    raise LookupError(message)


class WrongDefault(Block):
    """A block."""

    size: int = Field(default_factory=no_size, description="of something")


class Growing(Block):
    """A block."""

    size: int = Field(default=1, description="of something")

    @field_validator("size")
    @classmethod
    def _grow(cls, size):
        return size + 1


class Unsaveable(Block):
    """A block."""

    size: int = Field(default=1, description="of something")

    @field_serializer("size")
    def _words(self, size):
        return "one"


class Undumpable(Block):
    """A block."""

    size: int = Field(default=1, description="of something")

    @field_serializer("size")
    def _nothing(self, size):
        return no_size()


class Incomparable(Block):
    """A block."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    _sizes: np.ndarray = PrivateAttr(default_factory=lambda: np.arange(3))


class Unpicklable(Block):
    """A block."""

    def __reduce__(self):
        message = "holds an open file"
        raise TypeError(message)


class Shrinking(Block):
    """A block."""

    size: int = Field(default=1, description="of something")

    def __reduce__(self):
        return (_small, ())


def _small():
    return Shrinking(size=0)


WRONG = {
    "has_a_summary": (Untold, "docstring whose first line"),
    "describes_its_fields": (Undescribed, "Undescribed.size has no description"),
    "is_made_from_defaults_or_an_example": (Unmakeable, "examples=[Unmakeable(size=…)]"),
    "is_made_from_defaults_or_an_example, example": (
        WrongExample,
        "the declared example of WrongExample fails: ValidationError",
    ),
    "is_made_from_defaults_or_an_example, default": (WrongDefault, "let its defaults be valid"),
    "survives_a_recipe": (Unsaveable, "cannot be saved in a recipe"),
    "survives_a_recipe, by itself": (Undumpable, "cannot be saved in a recipe"),
    "survives_a_recipe, changed": (Growing, "changes when it is saved"),
    "survives_a_recipe, compared": (Incomparable, "cannot be compared with itself"),
    "pickles": (Unpicklable, "holds an open file"),
    "pickles, changed": (Shrinking, "changes when it is pickled"),
}
