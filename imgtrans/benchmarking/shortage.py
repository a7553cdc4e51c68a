"""Where memory ran out: how much a step needs, how much there is, and what makes it less."""

from __future__ import annotations

import re
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import torch

from imgtrans.benchmarking.showing import amount, contents
from imgtrans.benchmarking.step import count_step
from imgtrans.building import precision_of
from imgtrans.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.benchmarking.memory import Memory
    from imgtrans.recipe import Recipe

CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
"""Where Linux tells how much the container may have that a process is in."""
_WORDS: Final = ("can't allocate memory", "could not create a primitive")
"""Of errors on the processor, which have no class of their own: torch's allocator, and oneDNN."""
MARGIN: Final = 1.4
"""Steps were seen to hold 1.0 to 1.5 of what is counted: operators take some for themselves."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on any device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


def shortage(error: BaseException, recipe: Recipe, device: torch.device, processes: int = 1) -> str:
    """What to tell: the error, what a step needs and of what, what there is, and what needs less.

    Args:
        error: of which ``ran_out`` is true. What its frames hold is let go of.
        recipe: whose step it was.
        device: where it ran.
        processes: that shared its batch evenly; this is one of them.
    """
    traceback.clear_frames(error.__traceback__)  # the step's tensors, or counting finds no room
    said = str(error).partition("\n")[0]
    said = re.sub(r"^\[enforce fail.*?\. (?=Default)", "", said)  # where in torch it is written
    lines = [f"out of memory: {said}".rstrip(": ")]
    try:
        lines += _advice(recipe, device, processes)
    except Exception:  # noqa: BLE001 - whatever counting fails on, that memory ran out is told
        lines.append("lower train.batch_size or dataset.image_size in a new run")
    return "\n  ".join(lines)


def _advice(recipe: Recipe, device: torch.device, processes: int) -> Iterator[str]:
    images = make_plan(recipe).images
    own = recipe.train.model_copy(update={"batch_size": recipe.train.batch_size // processes})
    recipe = recipe.model_copy(update={"train": own})
    need = count_step(recipe, images, device).memory
    there, described = _room(device)
    each = "" if processes == 1 else f" in each of {processes} processes"
    yield f"a step needs about {amount(need.total)}{each}, besides what operators take:"
    yield f"  {contents(need)}"
    yield described
    yield "a new run needs less with one of these, or several:"
    yield from (f"  {line}" for line in _fewer_images(recipe, need, there, processes))
    for change, cheaper in _cheaper(recipe, device):
        try:
            total = count_step(cheaper, images, device).memory.total
        except Exception:  # noqa: BLE001, S112 - networks may refuse a size or width
            continue
        yield f"  {change}: about {amount(total)}"


def _fewer_images(recipe: Recipe, need: Memory, there: int, processes: int) -> Iterator[str]:
    """The largest part of a process's batch that fits, or else a single image."""
    batch, accumulate = recipe.train.batch_size, recipe.train.accumulate
    parts = [count for count in range(batch - 1, 0, -1) if batch % count == 0]
    totals = {count: need.in_parts(batch // count).total for count in parts}
    fitting = [count for count in parts if MARGIN * totals[count] <= there]
    for count in (fitting or parts[-1:])[:1]:
        change = f"--set train.batch_size={count * processes} --set train.accumulate="
        change += f"{accumulate * batch // count}, from {batch * processes} and {accumulate}"
        yield f"{change}: about {amount(totals[count])}; the same training, but for batch norm"


def _cheaper(recipe: Recipe, device: torch.device) -> Iterator[tuple[str, Recipe]]:
    """Changes of one key each, and the recipe with it."""
    dataset, generator = recipe.dataset, recipe.generator
    size, loaded = dataset.image_size // 2, dataset.load_size
    smaller = {"image_size": size, "load_size": loaded and loaded // 2}
    yield (
        f"--set dataset.image_size={size}, from {dataset.image_size}",
        recipe.model_copy(update={"dataset": dataset.model_copy(update=smaller)}),
    )
    width = getattr(generator, "width", None)
    if isinstance(width, int) and width > 1:
        narrow = generator.model_copy(update={"width": width // 2})
        yield (
            f"--set generator.width={width // 2}, from {width}",
            recipe.model_copy(update={"generator": narrow}),
        )
    precision = precision_of(recipe, device)
    if device.type == "cuda" and precision != "bfloat16":
        train = recipe.train.model_copy(update={"precision": "bfloat16"})
        yield (
            f'--set train.precision="bfloat16", from {precision}',
            recipe.model_copy(update={"train": train}),
        )


def _room(device: torch.device) -> tuple[int, str]:
    """Bytes that are left for a step, and a line that says of what.

    What the failed step held is free again by now.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        taken = max(0, total - free - torch.cuda.memory_reserved(device))
        text = f"{device} has {amount(total)}, of which others take {amount(taken)}"
        return total - taken, text
    machine, process = psutil.virtual_memory(), psutil.Process().memory_info()
    limits = {"this machine has": (machine.total, machine.total - machine.available)}
    with suppress(OSError, ValueError):  # no such limit: another system, or "max"
        limits["this container may have"] = (int(CONTAINER_LIMIT.read_text()), process.rss)
    if sys.platform != "win32":
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            limits["this process may have (ulimit -v)"] = (most, process.vms)
    whose, (most, taken) = min(limits.items(), key=lambda item: item[1][0] - item[1][1])
    text = f"{whose} {amount(most)}, of which {amount(taken)} are taken without the step"
    return most - taken, text
