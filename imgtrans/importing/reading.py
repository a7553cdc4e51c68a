"""Files of published weights as tensors by name; nothing in them is ever executed.

Prefixes and boxes that training programs put around a state dict are taken off, and told.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from pathlib import Path

WRAPPERS: Final = ("module.", "_orig_mod.")
"""What data-parallel training and compiling put before every name."""
_FLOATS: Final = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_COUNTS: Final = "num_batches_tracked"


@dataclass(frozen=True)
class Weights:
    """One network's tensors, and how they were got at."""

    tensors: dict[str, Tensor]
    said: tuple[str, ...]


def read_weights(path: Path) -> Weights:
    """The state dict in a file that ``torch.save`` or safetensors wrote.

    Raises:
        ImgtransError: it is no such file; the text says what it is instead, and what to do.
    """
    try:
        if not path.is_file():
            message = f"there is no file {path}"
            raise ImgtransError(message)
        with path.open("rb") as file:
            head = file.read(512)
        _refuse_text(path, head)
        loaded = _load_safetensors(path) if head[8:9] == b"{" else _load(path)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise ImgtransError(message) from None
    except SafetensorError as error:
        message = f"{path} is damaged: {error}"
        raise ImgtransError(message) from None
    said: list[str] = []
    tensors = _without_wrappers(_state_dict(path, loaded, said), said)
    for name, tensor in tensors.items():
        if what := _unusable(name, tensor):
            message = f"{path}: {name} {what}, so it makes no pictures"
            raise ImgtransError(message)
    return Weights(tensors, tuple(said))


def _unusable(name: str, tensor: Tensor) -> str:
    """What keeps a tensor from being weights; nothing where it may be."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta:
        return "has a shape and no values"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "is sparse or nested"
    if tensor.dtype in _FLOATS:
        # As the float32 that it becomes: large numbers of float64 are beyond it.
        return "" if tensor.float().isfinite().all() else "holds values that are not finite"
    counts = name.endswith(_COUNTS) and tensor.dtype in (torch.int64, torch.int32)
    return "" if counts else f"holds {kind}, not floating-point numbers"


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if {"about", "sha256"} <= metadata.keys():
        what = "checkpoint" if '"kind": "checkpoint"' in metadata["about"] else "model"
        message = f"{path} is a {what} already: imgtrans translate takes it as it is"
        raise ImgtransError(message)
    return load_file(path)


def _refuse_text(path: Path, head: bytes) -> None:
    """What is often downloaded in place of weights."""
    start = head.lstrip().lower()
    if not head:
        message = f"{path} is empty"
    elif start.startswith((b"<", b"\xef\xbb\xbf<")):
        message = f"{path} is a web page, not weights: fetch the file that the page is about"
    elif start.startswith(b"version https://git-lfs"):
        message = f"{path} only points to the weights: fetch them with git lfs pull"
    else:
        return
    raise ImgtransError(message)


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which is what is imported
            # weights_only builds tensors and plain containers, and refuses everything else.
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a file may hold anything, and torch raise anything
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found:
            message = (
                f"{path} holds more than tensors: {found[1]}; to load it would be to run code from "
                "the file, so it is refused\n  in the program that made it, save the weights "
                'alone: torch.save(network.state_dict(), "weights.pth")'
            )
        else:
            message = f"{path} is {_fault(path, error)}"
        raise ImgtransError(message) from None


def _fault(path: Path, error: Exception) -> str:
    """In our words: torch's give advice that is not for whoever has the file."""
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    # A zip ends with its table of contents.
    if (
        isinstance(error, EOFError)
        or "EOF" in str(error)
        or (is_zip and not zipfile.is_zipfile(path))
    ):
        return "cut short: fetch it again"
    return "damaged, or no file of weights as torch.save writes them"


def _state_dict(path: Path, loaded: Any, said: list[str]) -> dict[str, Tensor]:
    """The tensors by name; a box of several things is opened where it holds one network."""
    if not isinstance(loaded, Mapping):
        message = f"{path} holds a {type(loaded).__name__}, not tensors by name (a state dict)"
        raise ImgtransError(message)
    inside = {str(name): value for name, value in loaded.items() if _is_state_dict(value)}
    if len(inside) > 1:
        message = (
            f"{path} holds several networks: {', '.join(inside)}\n  save each by itself: "
            f'torch.save(torch.load("{path.name}")["{next(iter(inside))}"], "weights.pth")'
        )
        raise ImgtransError(message)
    if inside:
        ((name, state),) = inside.items()
        said.append(f"the weights are in the file's {name}")
        others = [str(key) for key in loaded if str(key) != name]
    else:
        state = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
        others = [str(key) for key in loaded if key not in state and key != "_metadata"]
    if not state:
        message = f"{path} holds no tensors by name; it has {', '.join(others) or 'nothing'}"
        raise ImgtransError(message)
    if others:
        said.append(f"left out: {', '.join(others)}")
    return {str(key): value for key, value in state.items()}


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) for key in value)
        and all(isinstance(each, Tensor) for each in value.values())
    )


def _without_wrappers(tensors: dict[str, Tensor], said: list[str]) -> dict[str, Tensor]:
    stripped: list[str] = []
    while prefix := next((w for w in WRAPPERS if all(n.startswith(w) for n in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        stripped.append(prefix)
    if stripped:
        said.append(f"{''.join(stripped)} is taken off every name")
    return tensors
