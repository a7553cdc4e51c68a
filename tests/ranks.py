"""Several processes that train together, each a function of its `Ranks` and arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, multiprocessing

from imgtrans.distributed import Ranks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def together(function: Callable[..., Any], place: Path, *arguments: object) -> list[Any]:
    """What each of two processes returns, for each of the arguments."""
    multiprocessing.spawn(_one, (function, place, arguments), nprocs=2)
    return [torch.load(place / f"{rank}.pt") for rank in range(2)]


def _one(rank: int, function: Callable[..., Any], place: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{place / 'meeting'}", rank=rank, world_size=2
    )
    torch.save([function(Ranks(rank, 2), each) for each in arguments], place / f"{rank}.pt")
    distributed.destroy_process_group()
