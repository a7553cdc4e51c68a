"""A trained model measured afresh: which images, which metrics, and where the figures go."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtrans.components import dump
from imgtrans.evaluation import Evaluator, every_metric, show_figures, write_figures
from imgtrans.inference import load_model
from imgtrans.monitor.folder import RunFolder
from imgtrans.monitor.report import write_report
from imgtrans.problems import DataNotFoundError, ImgtransError, NoHeldOutError, RecipeError
from imgtrans.recipe import load_recipe

if TYPE_CHECKING:
    import torch

    from imgtrans.components import Images
    from imgtrans.inference import Translator
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import Recipe


def evaluate(
    model: str,
    display: Display,
    device: torch.device,
    *,
    recipe: str | None = None,
    data: Path | None = None,
) -> dict[str, Any]:
    """Measure a model on held-out images with every metric there is.

    Args:
        model: a run's folder, a checkpoint or a model file.
        display: shows the progress and the table.
        device: where networks run.
        recipe: whose images and metrics are used instead of the model's own.
        data: a folder instead of the dataset's root.

    Returns:
        What ``figures.json`` holds; measured on its own images, a run's folder gets it too, with
        the best and worst pictures.

    Raises:
        ImgtransError: there is no such model, its images are not here, or nothing can be measured.
    """
    loaded = load_model(model, device)
    chosen = _recipe(loaded, recipe, data)
    images = _find(chosen, display)
    own = recipe is None and data is None  # figures of other images are no part of a run
    run = Path(model) if own and (Path(model) / "recipe.toml").is_file() else None
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(run)) if run is not None else None
        back = len(loaded.directions) == 2
        built, missing = every_metric(chosen.metric, images.test, back=back)
        if not built:
            why = "\n".join(f"    {name}: {text}" for name, text in missing.items())
            message = f"no metric here can measure this model on these images\n{why}"
            raise RecipeError(message)
        evaluator = Evaluator(images.recipe, images.test, built, display.warn)
        tick = display.counter("measuring, image", len(evaluator))
        figures = evaluator.measure(loaded.as_directions(), images.train, whole=True, tick=tick)
        display.stop()
        for reason in evaluator.held_out.broken:
            display.warn(f"left out: {reason}")
        about = {
            "model": str(model),
            "step": loaded.about.get("step"),
            "held_out": images.held_out,
            "dataset": dump(images.recipe.dataset),
        }
        show_figures(figures, display)
        for name, why in {**missing, **figures.failed}.items():
            display.say(f"{name} is not measured: {why}")
        for text in figures.warnings().values():
            display.warn(text)
        if folder is not None:
            write_figures(folder, figures, about, missing)
            display.say(f"in {write_report(folder.path)}, with the best and the worst pictures")
    return {**about, **figures.as_json(missing)}


@dataclass(frozen=True)
class _Images:
    recipe: Recipe
    """With its dataset found."""
    test: Images
    train: Images | None
    held_out: bool


def _find(recipe: Recipe, display: Display) -> _Images:
    """The images to measure on; those to train on only tell colours, and may be missing."""
    dataset = recipe.dataset
    try:
        dataset = dataset.prepare(recipe.domains, display.say)
    except DataNotFoundError as error:
        try:
            dataset.build("test", recipe.domains)
        except ImgtransError:
            if "root" not in type(dataset).model_fields:
                raise error from None
            message = f"{error}\n  or give the folder that they are in: --data FOLDER"
            raise DataNotFoundError(message) from None
    recipe = recipe.model_copy(update={"dataset": dataset})
    train: Images | None = None
    try:
        train = dataset.build("train", recipe.domains)
    except ImgtransError as error:
        display.say(f"without training images, which tell colours: {str(error).splitlines()[0]}")
    try:
        return _Images(recipe, dataset.build("test", recipe.domains), train, held_out=True)
    except NoHeldOutError as error:
        if train is None:
            raise
        display.warn(f"{error}; measured on training images, which flatters the model")
        return _Images(recipe, train, train, held_out=False)


def _recipe(model: Translator, other: str | None, data: Path | None) -> Recipe:
    """The model's own recipe with the images and the metrics that were asked for."""
    own = model.recipe
    if other is not None:
        given = load_recipe(other)
        taken = {key: getattr(given, key) for key in ("dataset", "metric", "domains")}
        own = own.model_copy(update=taken)
        if given.dataset.channels != model.channels:
            message = (
                f"{other}: [dataset] channels = {given.dataset.channels}, but the model has "
                f"{model.channels}"
            )
            raise RecipeError(message)
    if data is not None:
        if "root" not in type(own.dataset).model_fields:
            message = (
                f"--data {data}: {type(own.dataset).__name__} images are not read from a folder"
            )
            raise RecipeError(message)
        there = {"root": str(data.absolute()), "download": None}
        fields = {key: there[key] for key in there if key in type(own.dataset).model_fields}
        own = own.model_copy(update={"dataset": own.dataset.model_copy(update=fields)})
    size, multiple = own.dataset.image_size, model.multiple
    if size % multiple:
        message = f"[dataset] image_size = {size} must be a multiple of {multiple} for this model"
        raise RecipeError(message)
    return own
