"""Meeting the other processes that torchrun has started for one training, and leaving them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psutil
import torch
from torch import distributed
from torch.distributed import (  # type: ignore[attr-defined] # not said to be exported
    PrefixStore,
    TCPStore,
)

from imgtrans.building import find_device
from imgtrans.distributed import GoneError, Ranks, answered
from imgtrans.distributed.group import Group
from imgtrans.launching import Launched, launched
from imgtrans.problems import ProcessError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtrans.recipe import Recipe

MINUTES: Final = 5
"""So long a step's exchange, and meeting, wait for a process that does not answer."""


@contextmanager
def joined(device: str | None) -> Iterator[Group]:
    """Meet the other processes of a training, and leave them in the end.

    Args:
        device: as the command line takes it; on GPUs each process has one of its own.

    Raises:
        RecipeError: there is no such device, or there are too few.
        GoneError: another process does not come.
        ProcessError: the same, of others than the first one, which may be who does not.
    """
    here = launched()
    if here is None:
        yield Group(find_device(device))
        return
    where = _own_device(device, here)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    elif where.type == "cpu":
        _take_own_cores(here)
    try:
        with answered():
            store = _meet(where, here)
    except GoneError as error:
        if here.rank == 0:
            raise
        raise ProcessError(str(error)) from error
    group = Group(where, Ranks(here.rank, here.count), store, here.restarts)
    with group.living():
        yield group
    if here.count > 1:  # not where something failed: it would wait for who is gone
        distributed.destroy_process_group()


def _meet(where: torch.device, here: Launched) -> TCPStore:
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not served and here.rank == 0,
        timeout=timedelta(minutes=MINUTES),
        wait_for_workers=False,
    )
    if here.count > 1:
        distributed.init_process_group(
            # What the host exchanges waits for no GPU.
            "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
            store=PrefixStore(f"imgtrans/group/{here.restarts}", store),
            rank=here.rank,
            world_size=here.count,
            timeout=timedelta(minutes=MINUTES),
        )
    return store


def _own_device(device: str | None, here: Launched) -> torch.device:
    gpus = torch.cuda.device_count()
    if here.count == 1 or device == "cpu" or (device is None and not gpus):
        return find_device(device)
    if device not in (None, "cuda"):
        message = f"--device {device}: of several processes each takes its own; give cuda or cpu"
        raise RecipeError(message)
    if here.local_count > gpus:
        message = (
            f"there are {here.local_count} processes and {gpus} GPUs on this machine\n"
            f"  start as many as there are GPUs, or train with --device cpu"
        )
        raise RecipeError(message)
    return torch.device("cuda", here.local_rank)


def _take_own_cores(here: Launched) -> None:
    """Share the cores evenly, where the number of threads was left to torchrun, which takes 1."""
    if os.environ.get("OMP_NUM_THREADS") == "1" and here.local_count > 1:
        cores = psutil.cpu_count(logical=False) or 1
        if hasattr(os, "sched_getaffinity"):
            cores = min(cores, len(os.sched_getaffinity(0)))
        torch.set_num_threads(max(1, cores // here.local_count))


def refuse_uneven(recipe: Recipe, ranks: Ranks) -> None:
    """Every process must get equally many images, for a mean of their gradients to be right.

    Raises:
        RecipeError: they cannot.
    """
    batch = recipe.train.batch_size
    if batch % ranks.count:
        message = (
            f"[train] batch_size = {batch} cannot be shared evenly by {ranks.count} processes\n"
            f"  it counts the images of all of them: make it a multiple of {ranks.count}, or start "
            "as many processes as divide it"
        )
        raise RecipeError(message)
