"""What a step holds in memory: weights, gradients, moments, images, and what going backward needs.

Results of layers are kept until the gradients that need them are made; ``Keeping`` sees each of
them come and go. Buffers that operations take for themselves are not counted.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.autograd.graph import saved_tensors_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor, nn

    from imgtrans.training import Trainer


@dataclass(frozen=True)
class Memory:
    """Bytes that one step needs, by what they hold."""

    weights: int
    gradients: int
    moments: int
    images: int
    pools: int
    kept: Mapping[str, int]
    """Results of layers at the moment when most are kept; by network, ``losses`` for the rest."""

    @property
    def fixed(self) -> int:
        """As many for any number of images."""
        return self.weights + self.gradients + self.moments + self.pools

    @property
    def total(self) -> int:
        """All of it."""
        return self.fixed + self.images + sum(self.kept.values())

    def scaled(self, factor: float) -> Memory:
        """The same for so many times more images."""
        kept = {name: round(count * factor) for name, count in self.kept.items()}
        return replace(self, images=round(self.images * factor), kept=kept)

    def in_parts(self, count: int) -> Memory:
        """The same for a step that goes through so many parts of the batch one after another."""
        return replace(self.scaled(1 / count), images=self.images)

    def as_json(self) -> dict[str, Any]:
        """Every field, and the total."""
        return {**self.__dict__, "kept": dict(self.kept), "total": self.total}


def memory_of(trainer: Trainer, images: Iterable[Tensor], kept: Mapping[str, int]) -> Memory:
    """A trainer's weights and optimizers, a step's images and what it was seen to keep."""
    x, y = images
    trained = [each for phase in trainer.phases for each in phase.parameters.values()]
    capacities = [pool.capacity for pool in trainer.pools.values() if pool.capacity]
    pooled = sum(capacity + 1 for capacity in capacities) * x[0].nbytes
    return Memory(
        weights=sum(each.nbytes for each in _weights(trainer.networks.values())),
        gradients=sum(each.nbytes for each in trained),
        moments=2 * sum(each.nbytes for each in trained),
        images=x.nbytes + y.nbytes,
        pools=pooled,
        kept=dict(kept),
    )


class Keeping:
    """Counts what autograd keeps for going backward, once per piece of memory."""

    def __init__(self, networks: Mapping[str, nn.Module], images: Iterable[Tensor]) -> None:
        """Weights and images are there anyway and not counted."""
        self._there = {_address(each) for each in (*_weights(networks.values()), *images)}
        self._networks = networks
        self._running: list[str] = []
        self._pieces: dict[int, _Piece] = {}
        self.now: Counter[str] = Counter()
        """Bytes by network."""
        self.most: Counter[str] = Counter()
        """The same, when it was most in all."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what happens inside."""

        def begin(name: str) -> Callable[..., None]:
            return lambda *_: self._running.append(name)

        def end(*_: Any) -> None:
            self._running.pop()

        with ExitStack() as stack:
            for name, network in self._networks.items():
                stack.callback(network.register_forward_pre_hook(begin(name)).remove)
                stack.callback(network.register_forward_hook(end).remove)
            stack.enter_context(saved_tensors_hooks(self._pack, _Held.unpack))
            yield

    def _pack(self, tensor: Tensor) -> _Held:
        address = _address(tensor)
        if address in self._there:
            return _Held(tensor)
        if address not in self._pieces:
            network = self._running[-1] if self._running else "losses"
            self._pieces[address] = _Piece(network, tensor.untyped_storage().nbytes())
            self.now[network] += self._pieces[address].bytes
            if self.now.total() > self.most.total():
                self.most = self.now.copy()
        self._pieces[address].holders += 1
        return _Held(tensor, lambda: self._release(address))

    def _release(self, address: int) -> None:
        piece = self._pieces[address]
        piece.holders -= 1
        if not piece.holders:
            self.now[piece.network] -= piece.bytes
            del self._pieces[address]


@dataclass
class _Piece:
    network: str
    bytes: int
    holders: int = 0


class _Held:
    """What autograd holds in a tensor's place; it lets go of it once it went backward."""

    def __init__(self, tensor: Tensor, released: Callable[[], None] | None = None) -> None:
        self.tensor = tensor
        self._released = released

    def unpack(self) -> Tensor:
        return self.tensor

    def __del__(self) -> None:
        if self._released is not None:
            self._released()


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - on meta nothing else tells pieces apart


def _weights(networks: Iterable[nn.Module]) -> list[Tensor]:
    return [each for net in networks for each in (*net.parameters(), *net.buffers())]
