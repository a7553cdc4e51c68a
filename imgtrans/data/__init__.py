"""Which image when: order, crop, flip and cache.

Every choice is a pure function of (seed, step, position in the batch), so neither the number of
workers, nor caching, nor a restart changes what a step sees, and resuming needs no loader state.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from imgtrans.data.batch import Batch
from imgtrans.data.batches import TrainingData, Waiting, open_training
from imgtrans.data.held_out import HeldOutBatch, HeldOutImages
from imgtrans.data.order import Order
from imgtrans.data.store import (
    HeldOut,
    Store,
    fit,
    held_out,
    open_store,
    spread,
    to_range,
    unit,
)

if TYPE_CHECKING:
    from imgtrans.components import Images

__all__ = (
    "Batch",
    "HeldOut",
    "HeldOutBatch",
    "HeldOutImages",
    "Order",
    "Store",
    "TrainingData",
    "Waiting",
    "fingerprint",
    "fit",
    "held_out",
    "open_store",
    "open_training",
    "spread",
    "to_range",
    "unit",
)


def fingerprint(images: Images) -> str:
    """SHA-256 over the names of all images, in order: changes when the file list does."""
    digest = hashlib.sha256()
    for domain in (images.x, images.y):
        digest.update(f"{len(domain)}\n".encode())
        for index in range(len(domain)):
            digest.update(domain.name(index).encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
