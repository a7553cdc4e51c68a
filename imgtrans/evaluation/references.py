"""Features of real images, which do not change while a model learns: made once and kept on disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from imgtrans import caches
from imgtrans.checkpoint import CorruptFileError, read, write
from imgtrans.evaluation.measuring import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from imgtrans.components import FeatureNetwork
    from imgtrans.data import HeldOutImages


def cache_folder() -> Path:
    """Where features are kept."""
    return caches.cache_folder("features")


class References:
    """Feature networks, each built once, and what they see in the held-out images."""

    def __init__(
        self, held_out: HeldOutImages, device: torch.device, warn: Callable[[str], None]
    ) -> None:
        """Nothing is built or read yet."""
        self._held_out, self._device, self._warn = held_out, device, warn
        self._networks: dict[FeatureNetwork, nn.Module] = {}
        self._known: dict[tuple[FeatureNetwork, int], Tensor] = {}
        self._digests: dict[int, str] = {}

    def features(self, network: FeatureNetwork, images: Tensor) -> Tensor:
        """``N×D`` float32 on the processor, of ``N×C×H×W`` in [-1, 1].

        Raises:
            ImgtransError: the network's weights are not here.
        """
        if network not in self._networks:
            self._networks[network] = network.build().to(self._device)
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        with torch.no_grad():
            made: Tensor = self._networks[network](colour.to(self._device))
        return made.float().cpu()

    def of_domain(self, network: FeatureNetwork, domain: int) -> Tensor:
        """``M×D`` of all held-out images of a domain, from the cache where they are there."""
        known = (network, domain)
        if known not in self._known:
            path = cache_folder() / f"{self._key(network, domain)}.safetensors"
            cached = self._cached(path)
            self._known[known] = self._make(network, domain, path) if cached is None else cached
        return self._known[known]

    def _cached(self, path: Path) -> Tensor | None:
        try:
            return read(path).tensors["features"] if path.is_file() else None
        except (OSError, KeyError, CorruptFileError) as error:
            self._warn(f"{error}; the features are made again")
            return None

    def _make(self, network: FeatureNetwork, domain: int, path: Path) -> Tensor:
        batches = self._held_out.batches(domain, BATCH)
        made = torch.cat([self.features(network, batch.images) for batch in batches])
        about: dict[str, Any] = {"kind": "features", "judge": vars(network.judge)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, {"features": made}, about)
        except OSError as error:
            self._warn(f"features of real images cannot be kept in {path.parent}: {error.strerror}")
        return made

    def _key(self, network: FeatureNetwork, domain: int) -> str:
        """Names the network and every pixel that it saw, so other images are never mistaken."""
        if domain not in self._digests:
            digest = hashlib.sha256()
            for batch in self._held_out.batches(domain, BATCH):
                digest.update(f"{tuple(batch.images.shape)}\n".encode())
                digest.update(batch.images.numpy().tobytes())
            self._digests[domain] = digest.hexdigest()
        judge = network.judge
        told = f"{judge.name}\n{judge.sha256}\n{judge.resizing}\n{self._digests[domain]}"
        return hashlib.sha256(told.encode()).hexdigest()
