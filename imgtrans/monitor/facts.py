"""Turns a run folder's small files into words: how the run stands, what it was, what it reached.

Nothing is taken on trust: a file may be missing, cut short or hold any JSON, and still be shown.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from imgtrans.monitor.charts import spoken
from imgtrans.monitor.curves import number
from imgtrans.monitor.display import duration
from imgtrans.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LONGEST: Final = 4_000
"""Characters of one text on the page; the recipe may have more."""
LONGEST_RECIPE: Final = 100_000
MOST_BYTES: Final = 2**24
"""Of a file; one of ours has some thousand."""
ROWS: Final = 200
STATES: Final = ("running", "done", "stopped", "failed")


@dataclass(frozen=True)
class Standing:
    """How a run stands."""

    state: str
    """One of ``STATES``, or ``not started``."""
    message: str
    step: str
    """``step 1,200 of 4,000``, or nothing."""
    share: float | None
    """Of the steps done, 0 to 1."""
    details: Sequence[str]
    updated: str


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing or not whole."""
    try:
        with open_regular(path) as file:
            content = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_recipe_text(path: Path) -> str:
    """The recipe as it stands; empty where it is missing."""
    try:
        with open_regular(path) as file:
            return short(file.read(MOST_BYTES).decode("utf-8", "replace"), LONGEST_RECIPE)
    except OSError:
        return ""


def short(value: Any, most: int = LONGEST) -> str:
    """Any value as text of bounded length."""
    text = "" if value is None else str(value)
    return text if len(text) <= most else text[:most] + " …"


def mapping(value: Any) -> dict[str, Any]:
    """A table of bounded length; empty where the value is none."""
    return dict(list(value.items())[:ROWS]) if isinstance(value, dict) else {}


def domains_of(environment: dict[str, Any]) -> list[str]:
    """The two domains' names, or nothing."""
    names = environment.get("domains")
    if not isinstance(names, list) or len(names) != 2:
        return []
    return [short(name, 60) for name in names]


def standing(status: dict[str, Any]) -> Standing:
    """What ``status.json`` says, in words."""
    step, steps = number(status.get("step")), number(status.get("steps"))
    epochs, seconds = number(status.get("epochs")), number(status.get("seconds"))
    state = str(status.get("state"))
    details = []
    if epochs is not None:
        details.append(f"{epochs:,.4g} epochs")
    if seconds:
        details.append(duration(seconds))
        if state == "running" and step and steps and steps > step:
            details.append(f"about {duration(seconds / step * (steps - step))} to go")
    return Standing(
        state=state if state in STATES else "not started",
        message=short(status.get("message")).strip(),
        step="" if step is None else f"step {step:,.0f}" + (f" of {steps:,.0f}" if steps else ""),
        share=min(1.0, max(0.0, step / steps)) if steps and step is not None else None,
        details=details,
        updated=short(status.get("updated"), 40),
    )


def facts(environment: dict[str, Any], status: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Labels and lines about what ran, where and with what; without those not known."""

    def listed(*names: str) -> str:
        values = {name: short(environment.get(name), 200) for name in names}
        return " · ".join(f"{name} {value}" for name, value in values.items() if value)

    threads = f"{environment['threads']} threads" if environment.get("threads") else ""
    device = [short(environment.get(name), 200) for name in ("device", "precision")]
    parts, plugins = _texts(environment.get("command")), mapping(environment.get("plugins"))
    rows = [
        ("data", [short(environment.get("data"))]),
        ("networks", [_network(*item) for item in mapping(environment.get("networks")).items()]),
        ("device", [", ".join(text for text in (*device, short(threads, 60)) if text)]),
        ("started", [moment(status.get("started"))]),
        ("updated", [moment(status.get("updated"))]),
        ("command", [shlex.join(parts)]),
        ("versions", [listed("imgtrans", "python", "torch", "torchvision")]),
        ("plugins", [f"{short(k, 200)}: {short(v, 200)}" for k, v in plugins.items()]),
        ("platform", [short(environment.get("platform"), 200)]),
        ("best", _best(mapping(status.get("best")))),
        ("warnings", [short(text) for text in mapping(status.get("warnings")).values()]),
        ("left out", [short(reason) for reason in _texts(status.get("left_out"))]),
    ]
    kept = [(label, [line for line in lines if line]) for label, lines in rows]
    return [(label, lines) for label, lines in kept if lines]


def _best(best: dict[str, Any]) -> list[str]:
    """The checkpoint that the recipe's metric likes most."""
    step, value = number(best.get("step")), number(best.get("value"))
    if step is None or value is None:
        return []
    return [f"step {step:,.0f}, by {short(best.get('metric'), 60)}: {value:.4g}"]


def _texts(value: Any) -> list[str]:
    """A list's items as texts of bounded number and length; empty where the value is none."""
    return [short(item) for item in value[:ROWS]] if isinstance(value, list) else []


def moment(value: Any) -> str:
    """A moment as a person reads it, or whatever is there."""
    text = short(value, 40)
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError):
        return text


def _network(name: str, parameters: Any) -> str:
    count = number(parameters)
    known = short(parameters, 60) if count is None else f"{count:,.0f} parameters"
    return f"{spoken(name)}: {known}"
