"""A generator as a program of tensor operations for any number and size of images.

Padding and cropping are in the program, so its users need not know of them. They are gathers of
computed places: slices would make torch prove that what is cut is no more than what is there, and
it cannot, of a side rounded up.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from imgtrans.exporting.comparing import compare
from imgtrans.padding import padded_side
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.inference import Translator


class AnySize(nn.Module):
    """A generator whose images have any size: `imgtrans.padding.padded`, and the way back."""

    def __init__(self, network: nn.Module, multiple: int) -> None:
        """Sides become whole multiples, and are never less than the least that networks see."""
        super().__init__()
        self.network, self.multiple = network, multiple
        self.least = padded_side(1, multiple)

    def forward(self, images: Tensor) -> Tensor:
        """``N×C×H×W`` in [-1, 1] to the same shape and range."""
        height, width = images.shape[-2:]
        padded = images.index_select(-1, self._places(width)).index_select(-2, self._places(height))
        made: Tensor = self.network(padded)
        return made.index_select(-1, torch.arange(width)).index_select(-2, torch.arange(height))

    def _places(self, length: int) -> Tensor:
        """0, 1, …, length - 1, length - 2, …: to and fro, up to the next multiple."""
        multiple = (length + self.multiple - 1) // self.multiple * self.multiple
        whole = torch.sym_max(multiple, self.least)
        period = torch.scalar_tensor(torch.sym_max(2 * length - 2, 1), dtype=torch.int64)
        at = torch.remainder(torch.arange(whole), period)
        return torch.minimum(at, period - at)


def traced(model: Translator, direction: str) -> ExportedProgram:
    """One direction as a program whose batch, height and width are free.

    Raises:
        ImgtransError: the generator cannot be traced, or does other things at other sizes; the text
            names the cause.
    """
    network = AnySize(model.network(direction), model.multiple).eval()
    # No side that torch could take for another, for 1, or for one that needs no padding.
    height, width = (model.recipe.dataset.image_size + model.multiple * n + n for n in (2, 3))
    images = torch.zeros(2, model.channels, height, width)
    free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    try:
        with quietly():
            program = torch.export.export(
                network,
                (images,),
                dynamic_shapes=(free,),
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:
        raise unexportable(direction, error) from error
    _without_inequalities(program)
    compare(model, direction, program.module())
    return program


def _without_inequalities(program: ExportedProgram) -> None:
    """Drop what torch asks of sizes for layouts' sake, and places on this machine.

    Sides that are not 1 after so many halvings are easier to lay out, so torch asks for them,
    though its operations do without; a 256-pixel U-Net has such sides at its training size. What a
    network needs is asked as an equality or an order, and stays. The file is tried afterwards.
    """
    for node in list(program.graph.nodes):
        node.meta.pop("stack_trace", None)
        asserts = node.target is torch.ops.aten._assert_scalar.default  # noqa: SLF001 - its only name
        if asserts and node.args[0].target is torch.sym_not:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """What torch and its exporters tell their own developers is not shown."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    out = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def unexportable(direction: str, error: BaseException) -> ImgtransError:
    """The first cause of an exporter's error, and the line of the network that it was at."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = next((n for n, line in enumerate(lines) if line.startswith('File "')), None)
    what = 2 if lines and lines[0].endswith(":") else 1
    at = f"\n  in {' '.join(lines[where : where + 2])}" if where is not None else ""
    message = (
        f"the generator of {direction} cannot become a program: "
        f"{' '.join(lines[:what]) or type(error).__name__}{at}\n"
        "  --format safetensors writes the weights of any generator"
    )
    return ImgtransError(message)
