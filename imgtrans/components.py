"""The kinds of component, and how a recipe's ``use`` selects one.

A component is a pydantic model: its fields are what a recipe may set, ``build`` makes the part.
A *kind* is an abstract component; a field annotated with a kind is filled by whichever registered
component the recipe names with ``use``. This module never imports torch.
"""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Protocol, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

if TYPE_CHECKING:
    from torch import Tensor, nn

    from imgtrans.translation import Translation

FREE: Final[dict[str, Any]] = {"resume": "free"}
"""``Field(json_schema_extra=FREE)``: the value may change when a run is resumed."""
FIXED: Final[dict[str, Any]] = {"resume": "fixed"}
"""``Field(json_schema_extra=FIXED)``: another value would make a resumed run a wrong one."""

Split = Literal["train", "test"]


def is_abstract(kind: type[Component]) -> bool:
    """Whether this is a kind, which a recipe fills with ``use``, and not a component itself."""
    return inspect.isabstract(kind)


class Component(BaseModel):
    """A replaceable part: its fields are the recipe's parameters, and ``build`` makes the part."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep ``use`` for the recipe.

        Raises:
            TypeError: the class has a field called ``use``.
        """
        super().__pydantic_init_subclass__(**kwargs)
        if "use" in cls.model_fields:
            message = f'{cls.__name__}.use: "use" names the component in recipes; rename the field'
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
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")


def _select(kind: type[Component], value: Any, info: ValidationInfo) -> Component:
    from imgtrans.plugins import registry

    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        value = {"use": value}
    noun = kind_noun(kind)
    if not isinstance(value, Mapping):
        raise PydanticCustomError("component", f'must be a table with use = "…" ({noun})')
    fields = dict(value)
    use = fields.pop("use", None)
    try:
        if not isinstance(use, str):
            offered = ", ".join(registry().names(kind)) or "none"
            message = f"is missing: which {noun}? installed: {offered}"
            raise LookupError(message)
        chosen = registry().find(kind, use)
    except LookupError as error:
        # The text may hold braces (from a plugin's own error), which a template would read.
        custom = PydanticCustomError("component", "{text}", {"text": str(error)})
        details: InitErrorDetails = {"type": custom, "loc": ("use",), "input": use}
        raise ValidationError.from_exception_data(noun, [details]) from None
    return chosen.model_validate(fields, context=info.context)


def dump(component: Component) -> dict[str, Any]:
    """A component as a recipe's table: full name, every field, None left out (TOML has no null)."""
    from imgtrans.plugins import registry

    fields = component.model_dump(exclude_none=True)
    return {"use": registry().name_of(type(component)), **fields}


class ResidualBlock(Component):
    """What stands between a generator's encoder and decoder, several times."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """A module from ``N×channels×H×W`` to the same shape."""


class Generator(Component):
    """A network that translates images."""

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this many pixels."""
        return 1

    @abstractmethod
    def build(self, channels_in: int, channels_out: int) -> nn.Module:
        """A network from ``N×channels_in×H×W`` to ``N×channels_out×H×W``, both in [-1, 1]."""


class Discriminator(Component):
    """A network that tells real images of a domain from translated ones."""

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """A network from ``N×channels×H×W`` in [-1, 1] to logits, one per image or per patch.

        Several scales are a tuple of tensors, one per scale.
        """


class PerDirection(BaseModel):
    """One number for each direction."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    x_to_y: float = Field(ge=0, allow_inf_nan=False)
    y_to_x: float = Field(ge=0, allow_inf_nan=False)


def _weight(value: Any) -> float | PerDirection:
    if isinstance(value, PerDirection):
        return value
    if isinstance(value, Mapping):
        return PerDirection.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = "must be a number, or one per direction: {x_to_y = 10.0, y_to_x = 5.0}"
        raise ValueError(message)
    if not math.isfinite(value) or value < 0:
        message = "must be a finite number, 0 or more"
        raise ValueError(message)
    return float(value)


Term: TypeAlias = "Callable[[Translation], Tensor]"
"""A scalar from one direction of one step. A module here is trained and saved with its phase."""


@dataclass(frozen=True)
class Terms:
    """A loss's two halves; either may be None."""

    generators: Term | None = None
    discriminators: Term | None = None


class Loss(Component):
    """What training makes small, written for one direction and summed over all of them."""

    needs_pairs: ClassVar[bool] = False
    """Whether source and target must show the same scene."""
    differentiates_twice: ClassVar[bool] = False
    """Whether it differentiates a gradient; such discriminators are not compiled."""

    weight: Annotated[float | PerDirection, PlainValidator(_weight)] = Field(
        1.0,
        description="factor on this loss: a number, or {x_to_y = …, y_to_x = …}",
        json_schema_extra=FREE,
    )

    @abstractmethod
    def build(self) -> Term | Terms:
        """The generators' term, or ``Terms`` with a discriminators' half; built per direction.

        A term returns a scalar tensor; it never calls ``backward``.
        """


class ImageList(Protocol):
    """Images of one domain, in a fixed order, read when asked for."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Tensor:
        """``C×H×W`` at native size; uint8, uint16, or float in [0, 1].

        Raises:
            ImgtransError: the image cannot be read; the text names it.
        """
        ...

    def name(self, index: int, /) -> str:
        """What messages, reports and the fingerprint call this image."""
        ...


@dataclass(frozen=True)
class Images:
    """The two domains of one split."""

    x: ImageList
    y: ImageList
    paired: bool = False
    """Whether ``x[i]`` and ``y[i]`` show the same scene (then both have one length)."""


class Dataset(Component):
    """Says *what images there are*; which one is seen when is the core's business."""

    generated: ClassVar[bool] = False
    """Whether the images are made by a program: results that used them as a fallback say so."""

    image_size: PositiveInt = Field(
        128,
        description="height and width of the squares that the networks see, in pixels",
        json_schema_extra=FIXED,
    )
    load_size: PositiveInt | None = Field(
        None,
        description="the shorter side is resized to this before cropping; default: image_size",
        json_schema_extra=FIXED,
    )
    flip: bool = Field(
        False,  # noqa: FBT003 - pydantic takes a default as the first argument
        description="mirror half of the training images left to right",
        json_schema_extra=FIXED,
    )
    channels: Literal[1, 3] = Field(
        3, description="1 for greyscale, 3 for colour", json_schema_extra=FIXED
    )
    broken_images: Literal["stop", "skip"] = Field(
        "stop",
        description='an image that cannot be read ends the run ("stop") or is left out ("skip")',
        json_schema_extra=FIXED,
    )

    @field_validator("load_size")
    @classmethod
    def _large_enough(cls, load_size: int | None, info: ValidationInfo) -> int | None:
        image_size = info.data.get("image_size")
        if load_size is not None and image_size is not None and load_size < image_size:
            message = f"must be at least image_size ({image_size}), which is cropped from it"
            raise ValueError(message)
        return load_size

    @property
    def loaded(self) -> int:
        """Pixels of the shorter side once resized, before cropping."""
        return self.load_size or self.image_size

    def prepare(self, domains: tuple[str, str], say: Callable[[str], None]) -> Dataset:
        """Find or fetch the images; returns this dataset with every path absolute.

        Args:
            domains: the recipe's names of x and y.
            say: shows one line to the user, such as what is being downloaded.

        Raises:
            DataNotFoundError: the images are not here and cannot be fetched.
        """
        del domains, say
        return self

    @abstractmethod
    def build(self, split: Split, domains: tuple[str, str]) -> Images:
        """The images of one split; ``domains`` are the recipe's names of x and y.

        Raises:
            DataNotFoundError: the images are not here.
            ImgtransError: they cannot be used; the text says why and what to do.
        """


KINDS: Final[dict[str, type[Component]]] = {
    "generator": Generator,
    "discriminator": Discriminator,
    "residual_block": ResidualBlock,
    "loss": Loss,
    "dataset": Dataset,
}
"""Every kind by its name on the command line."""


def kind_name(kind: type[Component]) -> str:
    """The command line's name of the kind that a class belongs to."""
    return next((name for name, base in KINDS.items() if issubclass(kind, base)), "component")


def kind_noun(kind: type[Component]) -> str:
    """The kind's name in prose."""
    return kind_name(kind).replace("_", " ")
