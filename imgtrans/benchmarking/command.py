"""``imgtrans benchmark``: counts, rates and measured steps, side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from imgtrans.benchmarking.images import images_of
from imgtrans.benchmarking.machine import measure_rates
from imgtrans.benchmarking.measuring import measure_steps
from imgtrans.benchmarking.operators import by_part
from imgtrans.benchmarking.shortage import ran_out, shortage
from imgtrans.benchmarking.step import count_step
from imgtrans.benchmarking.work import PRODUCTS
from imgtrans.building import precision_of
from imgtrans.data import open_training
from imgtrans.plan import make_plan
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from imgtrans.benchmarking.machine import Rates
    from imgtrans.benchmarking.measuring import MeasuredSteps
    from imgtrans.benchmarking.step import CountedStep
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import Recipe

OWN_SHAPES = 3
"""Of the recipe's products as many shapes are tried, those with most arithmetic."""


def benchmark(recipe: Recipe, display: Display, device: torch.device) -> dict[str, Any]:
    """Measure a recipe's training step and what it could be on this machine.

    Args:
        recipe: checked.
        display: told what is being done.
        device: where the step runs.

    Returns:
        Everything that was counted and measured, in seconds, bytes and operations.

    Raises:
        ImgtransError: a component cannot be built, an image cannot be read, or memory ran out.
    """
    plan = make_plan(recipe)
    images, described = images_of(recipe, display)
    counted = count_step(recipe, plan.images, device)
    precision = precision_of(recipe, device)
    display.say("measuring this machine, then some steps of the recipe")
    try:
        shapes = counted.work.largest_gemms(OWN_SHAPES)
        rates = measure_rates(device, precision, shapes)
        training = open_training(recipe, images, display.counter)
        display.stop()
        measured = measure_steps(recipe, plan.images, training, device)
        # Again, for a machine that others share may have been slower before.
        rates = rates.or_better(measure_rates(device, precision, shapes))
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise ImgtransError(shortage(error, recipe, device)) from error
    for note in measured.notes:
        display.warn(note)
    about = _about(recipe, device) | {"data": described}
    about |= {"cached": training.cached, "workers": training.workers}
    return about | _figures(recipe, counted, rates, measured)


def _about(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "recipe": recipe.name,
        "image_size": recipe.dataset.image_size,
        "batch_size": recipe.train.batch_size,
        "accumulate": recipe.train.accumulate,
        "device": torch.cuda.get_device_name(device) if cuda else device.type,
        "precision": precision_of(recipe, device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _figures(
    recipe: Recipe, counted: CountedStep, rates: Rates, measured: MeasuredSteps
) -> dict[str, Any]:
    work, seconds = counted.work, measured.seconds
    floor = work.floor(rates.flops, rates.copied)
    products = work.flops(PRODUCTS)
    return {
        "flops": work.flops(),
        "product_flops": products,
        "bytes": work.bytes,
        "parts": {
            part: {"flops": flops, "bytes": moved} for part, (flops, moved) in work.parts.items()
        },
        "scaled_from_batch": counted.scaled_from,
        "flops_per_second": rates.flops,
        "gemm": rates.gemm,
        "bytes_per_second": rates.copied,
        "floor_seconds": floor,
        "step_seconds": seconds,
        "fastest_step_seconds": measured.fastest,
        "steps": measured.steps,
        "floor_share": floor / seconds,
        "product_rate_share": products / seconds / rates.flops,
        "data_wait_share": measured.waited_share,
        "images_per_second": 2 * recipe.train.images_per_step / seconds,
        "peak_memory_bytes": measured.peak_bytes,
        "memory": counted.memory.as_json(),
        "time_by_part": by_part(measured.operators),
        "operators": [asdict(each) for each in measured.operators],
    }
