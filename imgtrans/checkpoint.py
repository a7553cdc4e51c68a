"""Self-verifying safetensors files: whole or not there, never half, never wrong unnoticed.

A file is written beside its final name, synced, renamed, its folder synced. It carries a SHA-256
over its content, verified before a tensor is used. Nothing here needs pickle or ``torch.load``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shlex
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from imgtrans.about import oddity
from imgtrans.problems import ImgtransError
from imgtrans.regular import EndlessFileError, create, open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


PREFIX: Final = "step-"
MOST_HEADER: Final = 1 << 24
"""Bytes of a header, which is read as JSON before anything is verified; ours have a hundredth."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says where a file has no room: on the disk, in a quota, below a limit of files."""


class CorruptFileError(ImgtransError):
    """A file is not what was written: cut off, changed, or not one of ours."""


@dataclass(frozen=True)
class Content:
    """What a file holds: tensors, and a description of plain JSON values."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Write a file atomically; returns its SHA-256 over the content.

    Raises:
        OSError: the disk is full or the folder cannot be written; an earlier file is untouched.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    digest = _digest(plain, text)
    data = save(plain, {"about": text, "sha256": digest})
    write_bytes(path, data)
    return digest


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put bytes at a path so that a crash leaves the old file or the new one, whole.

    Args:
        path: of the file.
        data: all of it.
        durable: also when the machine loses power; it costs a wait for the disk.

    Raises:
        OSError: they could not be written; nothing is left beside the old file. It names the path,
            where there is no room what is needed, and of a full disk what is free.
    """
    try:
        with writing(path, durable=durable) as file:
            file.write(data)
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in FULL:
            why += f": it takes {len(data):,} bytes"
        if error.errno == errno.ENOSPC:  # a quota and a limit are below what the disk has free
            with suppress(OSError):
                why += f", {shutil.disk_usage(path.parent).free:,} are free"
        raise OSError(error.errno, why, str(path)) from error


@contextmanager
def writing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to fill, which takes its place once it is whole; see `write_bytes`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with create(beside) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk.

    Raises:
        OSError: the disk failed.
    """
    if os.name != "posix":  # Windows cannot open a folder, and renames durably by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Content:
    """Read and verify a file.

    Raises:
        CorruptFileError: it is cut off, changed, or not a file of imgtrans.
        OSError: it cannot be read at all.
    """
    data = _content_of(path)
    length = int.from_bytes(data[:8], "little")
    if data[8:9] == b"{" and length > MOST_HEADER:
        message = f"{path} is no file of imgtrans: its header alone has {length:,} bytes"
        raise CorruptFileError(message)
    try:
        metadata = json.loads(data[8 : 8 + min(length, MOST_HEADER)])["__metadata__"]
        text, expected = metadata["about"], metadata["sha256"]
        tensors = load(data)
        about = json.loads(text)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        if _foreign(data):
            message = (
                f"{path} is no file of imgtrans; if it holds weights of another program, this "
                f"makes a model of them: {shlex.join(['imgtrans', 'import', str(path)])}"
            )
        else:
            message = f"{path} is damaged or no file of imgtrans ({type(error).__name__}: {error})"
        raise CorruptFileError(message) from None
    found = _digest(tensors, text)
    if found != expected:
        message = (
            f"{path} is damaged: its content has the SHA-256 {found[:16]}…, "
            f"but {str(expected)[:16]}… was written"
        )
        raise CorruptFileError(message)
    if odd := oddity(about):
        message = f"{path} is no file that imgtrans has written: {odd}"
        raise CorruptFileError(message)
    return Content(tensors, about)


def _content_of(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read()
    except EndlessFileError as error:
        message = f"{path} is no file of imgtrans: {error.strerror}"
        raise CorruptFileError(message) from None


def _foreign(data: bytes) -> bool:
    """Whether it is torch's zip or pickle, or safetensors whose header says nothing of imgtrans."""
    if data[8:9] != b"{":
        return data.startswith(
            (b"PK\x03\x04", *(bytes([0x80, version]) for version in range(2, 6)))
        )
    try:
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    except (ValueError, RecursionError):
        return False
    except KeyError:
        return True
    return not isinstance(metadata, dict) or "sha256" not in metadata


def _digest(tensors: Mapping[str, Tensor], about: str) -> str:
    """SHA-256 over the canonical content: independent of the order a writer chose."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def name_of(step: int) -> str:
    """``step-00000500.safetensors``."""
    return f"{PREFIX}{step:08d}.safetensors"


def step_of(path: Path) -> int:
    """The step that a checkpoint's name tells; -1 where it is no name of one."""
    match = re.fullmatch(rf"{PREFIX}(\d+)\.safetensors", path.name)
    return int(match[1]) if match else -1


def found(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    # By number: from step 100,000,000 on names have more digits, and do not sort as steps do.
    files = [path for path in folder.glob(f"{PREFIX}*.safetensors") if step_of(path) >= 0]
    return sorted(files, key=lambda path: (step_of(path), path.name), reverse=True)


def newest(folder: Path, warn: Callable[[str], None]) -> Content | None:
    """The newest whole checkpoint; damaged ones are set aside, loudly. None where there was none.

    Raises:
        CorruptFileError: all are damaged; to begin again would write over the run.
    """
    for path in found(folder):
        try:
            return _read_checkpoint(path)
        except CorruptFileError as error:
            aside = path.with_name(path.name + ".damaged")
            path.replace(aside)
            warn(f"{error}; set aside as {aside.name}")
    if damaged := sorted(path.name for path in folder.glob(f"{PREFIX}*.damaged")):
        message = (
            f"every checkpoint in {folder} is damaged ({', '.join(damaged)}), so there is nothing "
            "to continue from\n  put back a copy of one, or start a new run without --resume"
        )
        raise CorruptFileError(message)
    return None


def _read_checkpoint(path: Path) -> Content:
    content = read(path)
    if content.about.get("kind") != "checkpoint":
        message = f"{path} is whole, but no checkpoint"
        raise CorruptFileError(message)
    return content


def prune(folder: Path, keep: int, best: str = "") -> None:
    """Delete all but the newest ``keep`` checkpoints and the best, and what a killed writer left.

    Args:
        folder: of the checkpoints.
        keep: how many of the newest stay.
        best: name of one that stays besides them.
    """
    others = [path for path in found(folder) if path.name != best]
    for path in others[keep:]:
        path.unlink(missing_ok=True)
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)
