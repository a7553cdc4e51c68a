"""Where the time of a step goes: the operators of torch's profiler, and what they are for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from torch.profiler import ProfilerActivity, profile

from imgtrans.benchmarking.machine import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

_PARTS: Final = (
    ("convolution, backward", r"conv.*backward|dgrad|wgrad"),
    ("convolution, forward", r"conv|fprop"),
    ("optimizer", r"adam|optimizer"),
    ("normalisation", r"norm|bn_"),
    ("activation", r"relu|tanh|sigmoid|threshold|gelu|silu|elu"),
    ("matrix product", r"\b(add|ba?d?d?b)?mm\b|gemm|linear|matmul"),
    ("padding", r"pad"),
    ("copying", r"cop|memset|memcpy|::to$|cat|stack|fill|zero"),
)
"""The first whose pattern is found in the operator's name, on any device; ``other`` else."""


@dataclass(frozen=True)
class Share:
    """One operator."""

    name: str
    """As torch calls it."""
    part: str
    """What it is for."""
    calls: int
    share: float
    """Of the time of all operators, without those that it calls."""


def profiled(step: Callable[[], object], device: torch.device) -> tuple[Share, ...]:
    """Run a step under torch's profiler; its operators, the longest first."""
    # Else it writes of its own doings, and of the lack of a GPU, to the terminal.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, acc_events=True) as profiler:  # else torch 2.11 warns
        step()
        wait_for(device)
    events = list(profiler.key_averages())
    if device.type != "cuda":
        return _shares(events, "self_cpu_time_total")
    # Operators know how long what they launched ran; but of a graph that is replayed, or of
    # compiled code, only the kernels themselves are seen.
    time = "self_device_time_total"
    launched = [event for event in events if event.device_type.name == "CPU"]
    kernels = [event for event in events if event.device_type.name != "CPU"]
    return _shares(max(launched, kernels, key=lambda each: _total(each, time)), time)


def by_part(shares: Sequence[Share]) -> dict[str, float]:
    """The shares of what operators are for, the largest first."""
    parts: dict[str, float] = {}
    for each in shares:
        parts[each.part] = parts.get(each.part, 0.0) + each.share
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


def part_of(name: str) -> str:
    """What an operator or kernel of this name is for."""
    lower = name.lower()
    return next((part for part, pattern in _PARTS if re.search(pattern, lower)), "other")


def _shares(events: Sequence[Any], time: str) -> tuple[Share, ...]:
    total = _total(events, time) or 1.0
    shares = [
        Share(each.key, part_of(each.key), each.count, getattr(each, time) / total)
        for each in events
        if getattr(each, time) > 0
    ]
    return tuple(sorted(shares, key=lambda each: -each.share))


def _total(events: Sequence[Any], time: str) -> float:
    return float(sum(getattr(event, time) for event in events))
