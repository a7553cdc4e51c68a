"""How the device goes through a step: operation by operation, or all of them as one CUDA graph.

On a processor convolutions are computed with fewer multiplications where that is faster.

Launching a kernel takes longer than small images take to go through it, so on a GPU a step may be
recorded once and replayed: the same kernels, with one launch. What changes from step to step lies
in memory that stays where it is: images, learning rates, the random seed, the choices of the pools.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch

from imgtrans.training import compute
from imgtrans.winograd import FastConvolutions

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from imgtrans.training import Compute, Trainer

EAGER_STEPS: Final = 3
"""Before the recording: they make what every step uses again, such as the optimizers' moments."""


def fastest(trainer: Trainer) -> Compute:
    """The fastest way through a step that was measured, unless the recipe wishes for another."""
    wish = trainer.settings.execution
    if trainer.device.type == "cuda":
        static = trainer.ranks.count == 1 and trainer.settings.accumulate == 1
        return Graphed() if static and wish == "graph" else compute
    if trainer.device.type == "cpu" and trainer.dtype == torch.float32 and wish != "plain":
        return _with_fast_convolutions
    return compute


def _with_fast_convolutions(trainer: Trainer, x: Tensor, y: Tensor) -> Tensor:
    with FastConvolutions():
        return compute(trainer, x, y)


class Replay(Protocol):
    """A recorded step."""

    def replay(self) -> None:
        """Do everything again, on the memory that it was recorded with."""


class Graphed:
    """A step as a graph, recorded after a few that were made operation by operation.

    A part that a graph cannot hold, because it waits for the device or draws random numbers on the
    host, is told of in `Trainer.notes`, and the steps go on operation by operation.
    """

    def __init__(
        self, record: Callable[[Callable[[], Tensor]], tuple[Replay, Tensor]] | None = None
    ) -> None:
        """Nothing is recorded yet; ``record`` is a CUDA graph's unless a test says otherwise."""
        self._record = record or _cuda_graph
        self._eager = EAGER_STEPS
        self._images: tuple[Tensor, Tensor] | None = None
        self._recorded: tuple[Replay, Tensor] | None = None
        self._given_up = False

    def __call__(self, trainer: Trainer, x: Tensor, y: Tensor) -> Tensor:
        """What `compute` does, with the same result; the losses are good until the next call."""
        if self._given_up or self._eager:
            self._eager -= not self._given_up
            return compute(trainer, x, y)
        if self._images is None:
            self._images = (x.clone(), y.clone())
        else:
            for place, images in zip(self._images, (x, y), strict=True):
                place.copy_(images, non_blocking=True)
        if self._recorded is None:
            self._try(trainer, *self._images)
        if self._recorded is None:
            return compute(trainer, x, y)
        graph, losses = self._recorded
        graph.replay()
        return losses

    def _try(self, trainer: Trainer, x: Tensor, y: Tensor) -> None:
        before = _host_random()
        try:
            recorded = self._record(lambda: compute(trainer, x, y))
        except RuntimeError as error:  # torch has no narrower one for what a graph cannot hold
            why = f"it cannot be recorded as a CUDA graph: {str(error).partition(chr(10))[0]}"
        else:
            if _same(before, _host_random()):
                self._recorded = recorded
                return
            why = "a component draws random numbers on the host, which a CUDA graph would repeat"
        self._given_up = True
        trainer.notes.append(f"steps are made operation by operation, which is slower: {why}")
        _set_host_random(before)


def _cuda_graph(step: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = step()
    return graph, losses


def _host_random() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    (python, numpy, host), (python2, numpy2, host2) = one, other
    position = numpy[2] == numpy2[2] and bool((numpy[1] == numpy2[1]).all())
    return python == python2 and position and torch.equal(host, host2)


def _set_host_random(state: tuple[Any, ...]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])
