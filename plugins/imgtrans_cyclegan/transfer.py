"""Brings one file over HTTP, going on where an earlier transfer stopped.

The invariant: beside the partial file lies a note of the address and the version it is a part of,
and bytes are only ever appended that the server says belong to that version. A network that fails
is a `TransferError`; any other `OSError` is the disk's.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TIMEOUT = 30.0  # seconds without a byte
_WINDOW = 60.0  # seconds over which a transfer must average at least _SLOWEST
_SLOWEST = 1024.0  # bytes per second
_TRIES = 4  # of one address whose connection breaks
_CHUNK = 1 << 18


class TransferError(Exception):
    """Why an address did not deliver; `again` when another try may get further."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        """Keep the reason, which is for people."""
        super().__init__(reason)
        self.again = again


def transfer(url: str, part: Path, progress: Callable[[int, int | None], None], limit: int) -> None:
    """Fill `part` from one address, trying again after interruptions.

    Args:
        url: an http(s) address.
        part: the file; what a previous transfer left of it is continued.
        progress: called with the bytes there are so far, and the whole if it is known.
        limit: the most bytes the file may have.

    Raises:
        TransferError: the address is not http(s), or does not deliver the whole file.
        OSError: the disk is full or not writable.
    """
    if not url.lower().startswith(("http://", "https://")):
        reason = "only http:// and https:// addresses can be downloaded"
        raise TransferError(reason)
    for left in reversed(range(_TRIES)):
        try:
            _try_once(url, part, progress, limit)
        except TransferError as error:
            if not (error.again and left):
                raise
        else:
            return


def forget(part: Path) -> None:
    """Remove a partial file and its note."""
    _note_path(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(part: Path, url: str) -> dict[str, Any]:
    """Read what is known of the partial download, if it is one of `url` that may be continued."""
    try:
        note: dict[str, Any] = json.loads(_note_path(part).read_text("utf-8"))
        known = note["url"] == url and part.stat().st_size
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}  # never begun, or its note is broken: it is downloaded from its beginning
    return note if known else {}


def _request(url: str, held: int, validator: str) -> http.client.HTTPResponse:
    headers = {"User-Agent": "imgtrans", "Accept-Encoding": "identity"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": validator}
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s), see transfer
        return urllib.request.urlopen(request, timeout=_TIMEOUT)  # type: ignore[no-any-return]  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"it answers {error.code} {error.reason}"
        useless = held > 0 and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        raise TransferError(reason, again=useless) from error
    except urllib.error.URLError as error:
        reason = f"it cannot be reached: {error.reason}"
        raise TransferError(reason) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"it cannot be reached: {str(error) or type(error).__name__}"
        raise TransferError(reason) from error


def _try_once(
    url: str, part: Path, progress: Callable[[int, int | None], None], limit: int
) -> None:
    """Ask once for what is missing of `part`, and append it."""
    note = _note(part, url)
    held = part.stat().st_size if note else 0
    if held and held == note.get("total"):
        return
    held = held if note.get("validator") else 0
    try:
        response = _request(url, held, note.get("validator") or "")
    except TransferError as error:
        if error.again:  # the file has become shorter than what is held of it
            forget(part)
        raise
    with response:
        # A server that ignores ranges, or whose file has changed, answers with all of it.
        held = held if response.status == HTTPStatus.PARTIAL_CONTENT else 0
        if held and not response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            forget(part)
            reason = "it answers with another part of the file"
            raise TransferError(reason, again=True)
        length = response.headers.get("Content-Length")
        total = held + int(length) if length and length.isdecimal() else None
        if total is not None and total > limit:
            reason = f"its {total} bytes are more than the {limit} allowed"
            raise TransferError(reason)
        if not held:
            part.write_bytes(b"")
            note = {"url": url, "validator": _validator(response), "total": total}
            _note_path(part).write_text(json.dumps(note), "utf-8")
        received = _append(response, part, held, lambda n: progress(n, total), limit)
    if total is not None and received < total:
        reason = f"the connection ended after {received} of {total} bytes"
        raise TransferError(reason, again=True)


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What tells this version of the file from others; weak ETags do not, byte for byte."""
    tag: str | None = response.headers.get("ETag")
    return tag if tag and tag.startswith('"') else response.headers.get("Last-Modified")


def _append(
    response: http.client.HTTPResponse,
    part: Path,
    received: int,
    progress: Callable[[int], None],
    limit: int,
) -> int:
    """Append a response's body, and return the file's size."""
    since, since_bytes = time.monotonic(), received
    with part.open("ab") as file:
        while True:
            try:
                chunk = response.read1(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                what = str(error) or type(error).__name__
                reason = f"the connection broke after {received} bytes: {what}"
                raise TransferError(reason, again=True) from error
            if not chunk:
                return received
            received += len(chunk)
            if received > limit:
                reason = f"it delivers more than the {limit} bytes allowed"
                raise TransferError(reason)
            file.write(chunk)
            progress(received)
            if time.monotonic() - since > _WINDOW:
                if received - since_bytes < _WINDOW * _SLOWEST:
                    reason = f"it is too slow: {received - since_bytes} bytes in {_WINDOW:.0f} s"
                    raise TransferError(reason)
                since, since_bytes = time.monotonic(), received
