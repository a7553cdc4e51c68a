"""What is read of each run that stands beside others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgtrans.monitor.curves import Metrics
from imgtrans.monitor.facts import domains_of, read_json, standing
from imgtrans.monitor.folder import METRICS, SCORES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imgtrans.monitor.facts import Standing


@dataclass(frozen=True)
class Compared:
    """One run among others; any of its files may be missing or unfinished."""

    label: str
    """Its folder's name, or as much of the path as no other has."""
    folder: Path
    environment: dict[str, Any]
    status: dict[str, Any]
    figures: dict[str, Any]
    standing: Standing
    domains: Sequence[str]
    """Two, or none."""
    steps: Metrics
    scores: Metrics

    def directions(self) -> list[str]:
        """As losses and figures call them, the first domain's first; none where not known."""
        pairs = [self.domains, self.domains[::-1]] if self.domains else []
        return [f"{source}_to_{target}" for source, target in pairs]


def read_run(label: str, folder: Path) -> Compared:
    """Everything small of one run."""
    environment, status = (read_json(folder / f"{n}.json") for n in ("environment", "status"))
    steps, scores = Metrics(folder / METRICS), Metrics(folder / SCORES)
    steps.read()
    scores.read()
    return Compared(
        label,
        folder,
        environment,
        status,
        read_json(folder / "figures.json"),
        standing(status),
        domains_of(environment),
        steps,
        scores,
    )


def labels_of(folders: Sequence[Path]) -> list[str]:
    """Each folder's name; where two are the same, with the folders above that tell them apart."""
    whole = [folder.absolute().parts for folder in folders]
    labels = []
    for parts in whole:
        others = [each for each in whole if each != parts]
        length = 1
        while length < len(parts) and any(each[-length:] == parts[-length:] for each in others):
            length += 1
        labels.append("/".join(parts[-length:]))
    return labels
