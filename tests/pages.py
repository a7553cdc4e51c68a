"""Run folders that no run made, and pages as people and browsers see them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SLUGS = ("summer-to-winter", "winter-to-summer")
NASTY = """</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"'&"""


def line(step: int, **losses: float) -> str:
    losses = losses or {"cycle/summer_to_winter": 1 / step, "cycle/winter_to_summer": 2 / step}
    rates = {"generators": 2e-4, "discriminators": 2e-4}
    rest = {"images_per_second": 11.0, "data_wait": 0.001, "memory_mib": 812.0, "seconds": step}
    return json.dumps({"step": step, "losses": losses, "learning_rate": rates, **rest}) + "\n"


def add_sample(folder: Path, step: int, colour: tuple[int, int, int] = (90, 160, 70)) -> None:
    (folder / "samples").mkdir(exist_ok=True)
    for slug in SLUGS:
        Image.new("RGB", (50, 34), colour).save(folder / f"samples/step-{step:08d}-{slug}.png")


def fabricate(folder: Path, steps: int = 30, sampled: tuple[int, ...] = (0, 10, 20)) -> Path:
    (folder / "metrics.jsonl").write_text("".join(map(line, range(1, steps + 1))))
    (folder / "recipe.toml").write_text('name = "toy"\n')
    put(folder, "environment", name="toy run", domains=["summer", "winter"], device="cpu")
    put(folder, "status", state="running", step=steps, steps=100, seconds=60.0)
    for step in sampled:
        add_sample(folder, step)
    return folder


def put(folder: Path, name: str, /, **content: object) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content))


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page)[1])


def words_of(page: str) -> str:
    """What a person reads."""
    bare = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(bare).split())


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def browse(tmp_path: Path, url: str, *more: str) -> tuple[str, str]:
    """The page as the browser has it after the script, and what it complained of."""
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --enable-logging=stderr "
        f"--virtual-time-budget=3000 --dump-dom --user-data-dir={tmp_path / 'profile'}"
    )
    command = [CHROMIUM, *options.split(), *more, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [text for text in done.stderr.splitlines() if "CONSOLE" in text]
    return done.stdout, "\n".join(complaints)


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")


def requests_of(tmp_path: Path, url: str) -> list[str]:
    """Addresses that a page asked for; the browser's own requests come from no page."""
    log = tmp_path / "net.json"
    browse(tmp_path, url, f"--log-net-log={log}")
    content = json.loads(log.read_text(encoding="utf-8"))
    asked = [event["params"] for event in content["events"] if "params" in event]
    return [
        each["url"]
        for each in asked
        if "url" in each and each.get("initiator", "not an origin") != "not an origin"
    ]
