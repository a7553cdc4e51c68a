"""The held-out images that a model translates best and worst, to be looked at."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image
from torchvision.utils import make_grid

from imgtrans.checkpoint import write_bytes
from imgtrans.evaluation.measuring import finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from imgtrans.evaluation.measuring import Built
    from imgtrans.evaluation.translated import Translated

SHOWN: Final = 4
"""Of the best, and as many of the worst."""


@dataclass(frozen=True)
class _Seen:
    value: float
    name: str
    cells: Tensor
    """``K×C×H×W`` uint8: source, fake, and the truth or the reconstruction."""


class Extremes:
    """Keeps a few images of one direction by one metric's numbers."""

    def __init__(self, by: Built, direction: str, *, third: str | None) -> None:
        """``third``: ``truth`` or ``reconstructed``, shown beside source and fake."""
        self.by, self.direction, self._third = by, direction, third
        self._best: list[_Seen] = []
        self._worst: list[_Seen] = []

    def see(self, names: Sequence[str], shown: Translated, values: Mapping[str, Tensor]) -> None:
        """Take what is better or worse than all that was seen."""
        if self.by.name not in values:
            return  # it could not be measured
        sign = 1 if self.by.metric.better == "higher" else -1
        numbers = values[self.by.name].tolist()
        columns = [shown.source, shown.fake]
        if self._third is not None:
            columns.append(getattr(shown, self._third))
        cells = torch.stack(columns, dim=1)
        pixels = ((cells.clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
        new = [_Seen(*each) for each in zip(numbers, names, pixels, strict=True)]
        self._best = sorted([*self._best, *new], key=lambda s: -sign * s.value)[:SHOWN]
        self._worst = sorted([*self._worst, *new], key=lambda s: sign * s.value)[:SHOWN]

    def write(self, folder: Path) -> None:
        """``DIRECTION-best.png`` and ``DIRECTION-worst.png``: a row for each image.

        Raises:
            OSError: a file could not be written.
        """
        for what, kept in (("best", self._best), ("worst", self._worst)):
            cells = torch.cat([each.cells for each in kept])
            columns = kept[0].cells.shape[0]
            grid = make_grid(cells, nrow=columns, padding=2, pad_value=255)
            file = io.BytesIO()
            Image.fromarray(grid.permute(1, 2, 0).numpy()).save(file, "PNG")
            write_bytes(folder / f"{self.direction}-{what}.png", file.getvalue(), durable=False)

    def as_json(self) -> dict[str, Any]:
        """Names and numbers, in the order of the rows."""
        columns = ["source", "fake", *([self._third] if self._third else [])]
        lists = {
            what: [{"name": each.name, "value": finite(each.value)} for each in kept]
            for what, kept in (("best", self._best), ("worst", self._worst))
        }
        return {"metric": self.by.name, "columns": columns, **lists}
