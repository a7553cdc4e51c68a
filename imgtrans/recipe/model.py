"""The Recipe model: every key a recipe may hold, with its default, range and meaning.

Each field is declared free or fixed on resume (``FREE``, ``FIXED``). Never imports torch.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from imgtrans.components import (
    FIXED,
    FREE,
    Dataset,
    Discriminator,
    Generator,
    Loss,
    Metric,
    dump,
)
from imgtrans.recipe.fitting import late_decay, misfits, no_such_metric

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
KEY = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def two_names(domains: tuple[str, str]) -> tuple[str, str]:
    """The domains, if they can be.

    Raises:
        ValueError: they are equal, or one has a character that names must not have.
    """
    import re

    if len(set(domains)) < 2 or not all(re.fullmatch(KEY, name) for name in domains):
        message = "must be two different names of letters, digits, _ and -"
        raise ValueError(message)
    return domains


class Table(BaseModel):
    """A table of a recipe: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class Adam(Table):
    """The optimizer of one phase (Kingma and Ba, 2015)."""

    learning_rate: float = Field(
        default=2e-4, gt=0, description="step size before any decay", json_schema_extra=FREE
    )
    betas: tuple[float, float] = Field(
        default=(0.5, 0.999),
        description="decay rates of the first and second moments, each in [0, 1)",
        json_schema_extra=FREE,
    )

    @field_validator("betas")
    @classmethod
    def _in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            message = "must be two numbers, each at least 0 and below 1"
            raise ValueError(message)
        return betas


class Train(Table):
    """How long, in what order and how fast to train, and what to keep."""

    steps: PositiveInt = Field(
        description="training steps; each sees batch_size images of both domains",
        json_schema_extra=FREE,
    )
    batch_size: PositiveInt = Field(
        default=1,
        description="images of each domain per step, over all processes",
        json_schema_extra=FIXED,
    )
    accumulate: PositiveInt = Field(
        default=1,
        description="batches whose gradients are added up to one step, in the memory of one",
        json_schema_extra=FIXED,
    )
    batch_norm: Literal["synchronised", "local"] = Field(
        default="synchronised",
        description="with several processes: statistics of all their images, or each of its own",
        json_schema_extra=FIXED,
    )
    order: Literal["discriminators-first", "generators-first"] = Field(
        default="generators-first",
        description="which phase of a step comes first; the other sees its result",
        json_schema_extra=FIXED,
    )
    seed: NonNegativeInt = Field(
        default=0, description="of weights, data order, dropout and replay", json_schema_extra=FIXED
    )
    pool_images: NonNegativeInt = Field(
        default=0,
        description="past fakes kept per direction to show discriminators (Shrivastava et al., "
        "2017); 0 shows each step's own",
        json_schema_extra=FIXED,
    )
    decay_steps: NonNegativeInt = Field(
        default=0,
        description="the last steps, over which the learning rates fall linearly towards 0",
        json_schema_extra=FREE,
    )
    precision: Literal["auto", "float32", "bfloat16", "float64"] = Field(
        default="auto",
        description="arithmetic of the networks; auto: bfloat16 autocast on CUDA, else float32",
        json_schema_extra=FIXED,
    )
    execution: Literal["auto", "plain", "graph"] = Field(
        default="auto",
        description="auto: with fast convolutions on a processor; plain: operation by operation, "
        "as torch does it by itself; graph: on a GPU a step as one CUDA graph, not measured yet",
        json_schema_extra=FREE,
    )
    workers: NonNegativeInt | Literal["auto"] = Field(
        default="auto",
        description="processes that read images; auto: none where all are in memory",
        json_schema_extra=FREE,
    )
    cache: Literal["auto", "memory", "device", "file", "none"] = Field(
        default="auto",
        description="keep decoded images in memory, on the GPU, or in a file that later runs use; "
        "auto: a file where reading takes long, else memory, as far as there is room",
        json_schema_extra=FREE,
    )
    sample_every: PositiveInt = Field(
        default=500, description="steps between sample grids", json_schema_extra=FREE
    )
    checkpoint_every: PositiveInt = Field(
        default=500, description="steps between checkpoints", json_schema_extra=FREE
    )
    keep: PositiveInt = Field(
        default=3,
        description="newest checkpoints kept, besides the final one",
        json_schema_extra=FREE,
    )
    evaluate_every: PositiveInt | None = Field(
        default=None,
        description="steps between measurements of the recipe's metrics on the held-out images; "
        "default: only at the end",
        json_schema_extra=FREE,
    )
    keep_best: str | None = Field(
        default=None,
        description="name of the metric whose best checkpoint is kept, besides the newest",
        json_schema_extra=FREE,
    )
    start_from: str | None = Field(
        default=None,
        min_length=1,
        description="a model file, checkpoint or run's folder whose weights are the first ones; "
        "default: random numbers",
        json_schema_extra=FIXED,
    )
    generators: Adam = Field(
        default=Adam(), description="optimizer of the generators", json_schema_extra=FREE
    )
    discriminators: Adam = Field(
        default=Adam(), description="optimizer of the discriminators", json_schema_extra=FREE
    )

    @property
    def images_per_step(self) -> int:
        """Of each domain, over all processes."""
        return self.batch_size * self.accumulate

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if found := late_decay(self.decay_steps, self.steps):
            raise ValidationError.from_exception_data(type(self).__name__, [found])
        return self

    def rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied by in a step, counted from 0; never 0.

        Constant, then linear: with ``decay_steps = d`` the last d steps use d/(d+1) … 1/(d+1).
        """
        return min(1.0, (self.steps - step) / (self.decay_steps + 1))


class Recipe(Table):
    """One training, whole: data, networks, losses and schedule."""

    format: Literal[1] = Field(
        default=1, description="of recipes; 1 today", json_schema_extra=FIXED
    )
    name: str = Field(
        description="of the run folder under runs/",
        json_schema_extra={**FREE, "pattern": f"^{NAME}$"},
    )
    domains: tuple[str, str] = Field(
        default=("x", "y"),
        description="what x and y show",
        json_schema_extra={**FIXED, "uniqueItems": True},
    )
    directions: Literal["both", "x_to_y"] = Field(
        default="both", description="translations to learn", json_schema_extra=FIXED
    )
    dataset: Dataset = Field(description="what images there are", json_schema_extra=FIXED)
    fallback: Dataset | None = Field(
        default=None,
        description="used, with a loud warning, where the dataset's images are missing",
        json_schema_extra=FREE,
    )
    generator: Generator = Field(description="one is built per direction", json_schema_extra=FIXED)
    discriminator: Discriminator | None = Field(
        default=None, description="one is built per target domain", json_schema_extra=FIXED
    )
    loss: dict[str, Loss] = Field(
        min_length=1,
        description="by a name of your choice",
        json_schema_extra={**FIXED, "propertyNames": {"pattern": f"^{KEY}$"}},
    )
    metric: dict[str, Metric] = Field(
        default={},
        description="measured on the held-out images, by a name of your choice",
        json_schema_extra={**FREE, "propertyNames": {"pattern": f"^{KEY}$"}},
    )
    train: Train = Field(description="schedule", json_schema_extra=FREE)
    plugins: dict[str, str] = Field(
        default={},
        description='what the components came from, written by runs: wavelet = "imgtrans-wavelet '
        '1.2"; other versions are told, missing ones named',
        json_schema_extra=FREE,
    )

    @field_validator("name")
    @classmethod
    def _folder_name(cls, name: str) -> str:
        import re

        if not re.fullmatch(NAME, name):
            message = "must begin with a letter or digit and hold letters, digits, . _ and - only"
            raise ValueError(message)
        return name

    @field_validator("domains")
    @classmethod
    def _two_names(cls, domains: tuple[str, str]) -> tuple[str, str]:
        return two_names(domains)

    @field_validator("loss", "metric")
    @classmethod
    def _named(cls, named: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        import re

        bad = [name for name in named if not re.fullmatch(KEY, name)]
        if bad:
            message = f"{bad[0]!r} is no name for a {info.field_name}: use letters, digits, _ and -"
            raise ValueError(message)
        return named

    @model_validator(mode="after")
    def _fits(self) -> Self:
        parts = {name: getattr(self, name) for name in ("dataset", "fallback", "generator")}
        found = misfits(parts)
        if wrong := no_such_metric(self.train.keep_best, self.metric, self.train.evaluate_every):
            found.append(wrong)
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self

    @property
    def direction_names(self) -> tuple[str, ...]:
        """``("summer_to_winter", "winter_to_summer")``, or the first of them."""
        x, y = self.domains
        both = (f"{x}_to_{y}", f"{y}_to_{x}")
        return both if self.directions == "both" else both[:1]

    def tables(self) -> dict[str, Any]:
        """The resolved recipe as TOML tables: full names, every default filled in."""
        return {
            "format": self.format,
            "name": self.name,
            "domains": list(self.domains),
            "directions": self.directions,
            "dataset": dump(self.dataset),
            **({"fallback": dump(self.fallback)} if self.fallback else {}),
            "generator": dump(self.generator),
            **({"discriminator": dump(self.discriminator)} if self.discriminator else {}),
            "loss": {name: dump(loss) for name, loss in self.loss.items()},
            **({"metric": {n: dump(m) for n, m in self.metric.items()}} if self.metric else {}),
            "train": self.train.model_dump(mode="json", exclude_none=True),
            **({"plugins": self.plugins} if self.plugins else {}),
        }
