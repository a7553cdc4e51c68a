"""Print a pip constraint for each dependency of pyproject.toml: the lowest version it allows.

With ``--check``, see that exactly these are installed instead.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

GROUPS = ("export", "metrics")
"""Optional dependencies that users install; those of developers may be the newest."""


def lowest() -> list[str]:
    """Such as ``click==8.2``, sorted.

    Raises:
        ValueError: a dependency has no lower bound, or more than one.
    """
    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for group in GROUPS for line in extras[group])]
    return sorted({_pinned(Requirement(line)) for line in lines})


def _pinned(requirement: Requirement) -> str:
    bounds = [each.version for each in requirement.specifier if each.operator == ">="]
    if len(bounds) != 1:
        message = f"{requirement} must say what its oldest version is, once: >=VERSION"
        raise ValueError(message)
    return f"{requirement.name}=={bounds[0]}"


def installed_otherwise() -> list[str]:
    """What is installed in another version than the lowest."""
    found = []
    for line in lowest():
        version = metadata.version(Requirement(line).name)
        if version not in Requirement(line).specifier:
            found.append(f"{line} is installed as {version}")
    return found


if __name__ == "__main__":
    lines = installed_otherwise() if "--check" in sys.argv else lowest()
    print("\n".join(lines))  # noqa: T201 - a script
    sys.exit(bool(lines) and "--check" in sys.argv)
