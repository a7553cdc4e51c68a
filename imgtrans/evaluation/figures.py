"""What was measured of one model: for tables, curves, files and warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgtrans.plugins import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from imgtrans.evaluation.extremes import Extremes
    from imgtrans.evaluation.measuring import Built, Measured


@dataclass(frozen=True)
class Figures:
    """What was measured of one model."""

    built: Sequence[Built]
    scores: Mapping[str, Mapping[str, Mapping[str, Measured]]]
    """By metric, direction, and what was measured: ``translated``, ``untranslated``, …"""
    images: Mapping[str, int]
    """Held-out images by domain."""
    paired: bool
    size: int
    extremes: Sequence[Extremes] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Metrics that could not be measured, and why."""

    @property
    def title(self) -> str:
        """What was measured on."""
        counts = " and ".join(f"{count:,} {domain}" for domain, count in self.images.items())
        pairs = ", each with its true counterpart" if self.paired else ""
        return f"{counts} held-out images at {self.size}×{self.size} pixels{pairs}"

    def means(self) -> dict[str, float]:
        """The model's score by each metric, averaged over the directions."""
        return {
            name: sum(each["translated"].score.value for each in ways.values()) / len(ways)
            for name, ways in self.scores.items()
        }

    def values(self) -> dict[str, float]:
        """The model's scores by ``METRIC/DIRECTION``."""
        return {
            f"{name}/{way}": each["translated"].score.value
            for name, ways in self.scores.items()
            for way, each in ways.items()
        }

    def warnings(self) -> dict[str, str]:
        """What the metrics think that somebody should be warned of, by ``METRIC/DIRECTION``."""
        return {
            f"{built.name}/{way}": f"{way.replace('_', ' ')}: {text}"
            for built in self.built
            for way, each in self.scores[built.name].items()
            if (text := built.metric.warning(each["translated"].score))
        }

    def judges(self) -> dict[str, dict[str, str]]:
        """The networks behind the figures, by the metric's name."""
        named = {built.name: built.metric.judge for built in self.built}
        return {name: dict(vars(judge)) for name, judge in named.items() if judge is not None}

    def as_json(self, missing: Mapping[str, str]) -> dict[str, Any]:
        """For ``figures.json``, ``--json`` and the report.

        Args:
            missing: metrics that were not tried, and why.
        """
        return {
            "title": self.title,
            "images": dict(self.images),
            "paired": self.paired,
            "size": self.size,
            "metrics": {built.name: self._metric(built) for built in self.built},
            "not_measured": {**missing, **self.failed},
            "extremes": {each.direction: each.as_json() for each in self.extremes},
        }

    def _metric(self, built: Built) -> dict[str, Any]:
        metric, judge = built.metric, built.metric.judge
        return {
            "use": registry().name_of(type(metric)),
            "title": metric.title,
            "unit": metric.unit,
            "better": metric.better,
            **({} if judge is None else {"judge": vars(judge)}),
            "scores": {
                way: {what: measured.as_json() for what, measured in each.items()}
                for way, each in self.scores[built.name].items()
            },
        }
