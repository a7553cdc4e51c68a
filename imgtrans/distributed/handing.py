"""Giving every process of a training the first one's state, before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from imgtrans import state

if TYPE_CHECKING:
    from imgtrans.distributed.group import Group
    from imgtrans.training import Trainer


def hand_over(trainer: Trainer, group: Group) -> None:
    """Make weights, buffers, moments, pools and step of all processes the first one's.

    So only that one reads checkpoints, and it does not matter how many wrote them.
    """
    if group.ranks.count == 1:
        return
    if group.ranks.first:
        tensors = state.collect(trainer)
        kinds = [(name, str(each.dtype), each.shape) for name, each in tensors.items()]
        group.tell("state", {"step": trainer.step, "tensors": kinds})
        # Channels may be last, and the others know nothing of strides.
        group.ranks.broadcast(each.contiguous() for each in tensors.values())
        return
    told = group.ask("state")
    tensors = {
        name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
        for name, dtype, shape in told["tensors"]
    }
    tensors = {name: each.to(trainer.device) for name, each in tensors.items()}
    group.ranks.broadcast(tensors.values())
    state.restore(trainer, tensors, told["step"])
