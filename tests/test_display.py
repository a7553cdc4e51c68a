"""What a terminal and a plain file are shown while something runs."""

import io

import pytest
from rich.console import Console

from imgtrans.monitor.display import Display, duration, losses_line


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_shows_every_fact_whatever_its_width(width):
    screen = io.StringIO()
    display = Display(console=Console(file=screen, force_terminal=True, width=width))
    display.start("step", 4000)
    losses = {f"{n}/{d}": 0.123456 for n in ("adversarial", "cycle", "identity") for d in "ab"}
    facts = (losses_line(losses), "5.6 images/s  data wait 0 %  2,596 MiB")
    display._last = 0
    display.update(417, lambda: facts)
    display._progress.refresh()
    assert display._progress.live.refresh_per_second <= 4
    shown = " ".join(screen.getvalue().split())
    display.stop()
    for fact in ("417/4,000", "left", "cycle 0.123/0.123", "5.6 images/s", "2,596 MiB"):
        assert fact in shown
    assert "…" not in shown


def test_plain_lines_say_how_far_it_is_how_fast_and_how_long_it_takes(monkeypatch):
    file, now = io.StringIO(), [0.0]
    monkeypatch.setattr("imgtrans.monitor.display.time.monotonic", lambda: now[0])
    display = Display(console=Console(file=file, width=80, soft_wrap=True))
    display.start("step", 100, 40)
    for step in range(41, 71):
        now[0] += 1
        display.update(step, lambda: ("cycle 0.1", "5 images/s"))
    assert file.getvalue().splitlines() == [
        "step 55/100  45 s left  cycle 0.1  5 images/s",
        "step 70/100  30 s left  cycle 0.1  5 images/s",
    ]


def test_a_terminal_is_redrawn_at_most_four_times_a_second(monkeypatch):
    now, asked = [0.0], []
    monkeypatch.setattr("imgtrans.monitor.display.time.monotonic", lambda: now[0])
    display = Display(console=Console(file=io.StringIO(), force_terminal=True))
    display.start("step", 10_000)
    for step in range(1, 1000):
        now[0] += 0.01
        display.update(step, lambda: asked.append(1) or ())
    display.stop()
    assert 35 <= len(asked) <= 40


def test_quiet_shows_warnings_only_and_each_once(capsys):
    display = Display(quiet=True)
    display.say("hello")
    display.table("t", ["a"], [["b"]])
    display.warn("look")
    display.warn("look")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: look\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.4, "9 s"), (61, "1 min 01 s"), (3599.6, "1 h 00 min"), (86_400, "24 h 00 min")],
)
def test_times_are_told_in_their_two_largest_units(seconds, text):
    assert duration(seconds) == text
