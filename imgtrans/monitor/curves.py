"""Reads ``metrics.jsonl`` and ``scores.jsonl`` as they grow and keeps every curve in it thin.

However long a run, a curve holds at most ``BUCKETS`` buckets, and no minimum or maximum is lost.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from imgtrans.regular import open_regular

if TYPE_CHECKING:
    from pathlib import Path

BUCKETS: Final = 500
"""Of one curve; each is drawn as up to two points, so a curve has about 1,000."""
CURVES: Final = 64
"""Drawn at most, so that a page stays small whatever a plugin logs."""
SMOOTHED_SHARE: Final = 0.04
"""The moving average reaches back over about this share of the curve."""
SCALARS: Final = ("learning_rate", "images_per_second", "data_wait", "memory_mib")
_MARK: Final = 64


@dataclass(slots=True)
class Bucket:
    """Neighbouring steps of one curve as one."""

    index: int
    step: int
    """The last of its steps."""
    low: float
    high: float
    total: float
    count: int
    rising: bool = True
    """Its minimum came before its maximum."""

    def absorb(self, step: int, value: float) -> None:
        """Take in one more step."""
        self.step = step
        self.total += value
        self.count += 1
        if value < self.low:
            self.low, self.rising = value, False
        elif value > self.high:
            self.high, self.rising = value, True

    def merge(self, later: Bucket) -> None:
        """Take in the bucket after this one."""
        highest_later, lowest_later = later.high > self.high, later.low < self.low
        if highest_later and lowest_later:
            self.rising = later.rising
        elif highest_later or lowest_later:
            self.rising = highest_later
        self.step = later.step
        self.low, self.high = min(self.low, later.low), max(self.high, later.high)
        self.total += later.total
        self.count += later.count

    @property
    def mean(self) -> float:
        """Of its steps."""
        return self.total / self.count


class Curve:
    """One named series of numbers over the steps, thinned while it is read."""

    def __init__(self) -> None:
        """Without any step."""
        self.buckets: list[Bucket] = []
        self.latest = math.nan
        self._width = 1

    def add(self, step: int, value: float) -> None:
        """Append one step; the curve makes its buckets twice as wide when it has too many."""
        self.latest = value
        index = step // self._width
        if self.buckets and index <= self.buckets[-1].index:
            self.buckets[-1].absorb(step, value)
            return
        self.buckets.append(Bucket(index, step, value, value, value, 1))
        while len(self.buckets) > BUCKETS:
            self._halve()

    def _halve(self) -> None:
        self._width *= 2
        halved: list[Bucket] = []
        for bucket in self.buckets:
            bucket.index //= 2
            if halved and halved[-1].index == bucket.index:
                halved[-1].merge(bucket)
            else:
                halved.append(bucket)
        self.buckets = halved

    def mean(self) -> float:
        """Of all steps; there is at least one."""
        count = sum(bucket.count for bucket in self.buckets)
        return sum(bucket.total for bucket in self.buckets) / count

    def smoothed(self) -> list[float]:
        """The exponential moving average at each bucket, without a bias towards the first."""
        keep = 1 - 2 / (1 + max(1.0, SMOOTHED_SHARE * len(self.buckets)))
        weighted, weight, averages = 0.0, 0.0, []
        for bucket in self.buckets:
            weighted = keep * weighted + (1 - keep) * bucket.mean
            weight = keep * weight + (1 - keep)
            averages.append(weighted / weight)
        return averages


class Metrics:
    """Every curve of one such file; later reads go on where the last one ended."""

    def __init__(self, path: Path) -> None:
        """Nothing read yet."""
        self._path = path
        self._reset()

    def _reset(self) -> None:
        self.losses: dict[str, Curve] = {}
        self.scores: dict[str, Curve] = {}
        self.scalars: dict[str, dict[str, Curve]] = {name: {} for name in SCALARS}
        self.left_out: set[str] = set()
        self._offset = 0
        self._inode = 0
        self._mark = b""

    def read(self) -> None:
        """Take in the whole lines that were appended; a file cut or replaced is read anew."""
        try:
            with open_regular(self._path) as file:
                self._continue_in(file)
        except OSError:
            self._reset()

    def _continue_in(self, file: Any) -> None:
        inode = self._path.stat().st_ino
        file.seek(max(0, self._offset - _MARK))
        if inode != self._inode or file.read(min(_MARK, self._offset)) != self._mark:
            self._reset()
            self._inode = inode
            file.seek(0)
        for line in file:
            if not line.endswith(b"\n"):
                break  # torn: still being written, or the process died in it
            self._offset += len(line)
            self._mark = (self._mark + line)[-_MARK:]
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            return
        step = content.get("step") if isinstance(content, dict) else None
        if not isinstance(step, int):
            return
        for curves, key in ((self.losses, "losses"), (self.scores, "scores")):
            if isinstance(content.get(key), dict):
                _extend(curves, content[key], step, self.left_out)
        for name, scalars in self.scalars.items():
            _extend(scalars, content.get(name), step, self.left_out)


def _extend(curves: dict[str, Curve], values: Any, step: int, left_out: set[str]) -> None:
    for name, value in (values if isinstance(values, dict) else {"": values}).items():
        finite = number(value)
        if finite is None:
            continue
        curve = curves.get(name)
        if curve is None:
            if len(curves) >= CURVES:
                left_out.add(name)
                continue
            curve = curves[name] = Curve()
        curve.add(step, finite)


def number(value: Any) -> float | None:
    """A value as a finite float, or None; beyond ±1e150 nothing can be told apart on a chart."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return max(-1e150, min(1e150, float(value))) if math.isfinite(value) else None
    except OverflowError:
        return None


@lru_cache(maxsize=4)
def metrics_of(path: Path) -> Metrics:
    """The reader of one file, kept so that rewriting a report costs only the new steps."""
    return Metrics(path)
