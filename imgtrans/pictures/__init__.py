"""Picture files: read as they are stored, and written with what they had.

Datasets read with ``decoding.decode``, which keeps a file's depth; translated pictures are read and
written by ``files``, which keeps what surrounds the pixels too.
"""

from __future__ import annotations

from typing import Final

EXTENSIONS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Suffixes of the files taken for images; compare with ``path.suffix.lower()``."""

__all__ = ("EXTENSIONS",)
