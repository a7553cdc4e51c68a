"""Renders and writes pages: one file each, whole at any time, that needs nothing beside itself."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from imgtrans.monitor.charts import COLOURS, HEIGHT, WIDTH
from imgtrans.regular import create, open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

_HERE: Final = Path(__file__).parent
_MARK: Final = b'<meta name="generator" content="imgtrans">'


def write_page(target: Path, template: str, content: Mapping[str, Any]) -> Path:
    """Render a template and put the page in its place.

    Returns:
        The page's path.

    Raises:
        OSError: the page could not be written; the one before it is still whole.
    """
    script, style = _text("report.js"), _text("report.css")
    page = _template(template).render(
        content,
        box=(WIDTH, HEIGHT),
        colours=COLOURS,
        script=Markup(script),  # noqa: S704 - our own files
        style=Markup(style),  # noqa: S704
        script_hash=_hash(script),
    )
    # Somebody may ask for the page that a run is rewriting at this moment.
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with create(beside) as file:
            # Names on a command line may hold bytes that are no UTF-8.
            file.write(page.encode("utf-8", "replace"))
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return target


def is_page(path: Path) -> bool:
    """Whether a file is a page of ours, which may be rewritten."""
    try:
        with open_regular(path) as file:
            return _MARK in file.read(4096)
    except OSError:
        return False


@lru_cache(maxsize=2)
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


@lru_cache(maxsize=2)
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Names the one script that the page's content policy lets run."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
