"""``report.html``: whole at any time, safe whatever the folder holds, small, and alive."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from pages import (
    NASTY,
    SLUGS,
    Tags,
    add_sample,
    browse,
    data_of,
    fabricate,
    line,
    needs_chromium,
    put,
    words_of,
)
from PIL import Image

from imgtrans.monitor import pictures
from imgtrans.monitor.curves import BUCKETS, Curve, Metrics
from imgtrans.monitor.report import write_report


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_an_empty_folder_gives_a_page(tmp_path):
    assert "not started" in words_of(page_of(tmp_path))


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "recipe.toml", "environment.json", "status.json"]
)
def test_any_file_may_be_missing(tmp_path, name):
    (fabricate(tmp_path) / name).unlink()
    assert "Samples" in words_of(page_of(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"metrics": {"a": [3]}, "step": "x"}',
        '{"metrics": {"a": {"scores": {"b": 3}}}}',
        '{"s": 1',
    ],
)
def test_any_json_file_may_be_broken(tmp_path, content):
    fabricate(tmp_path)
    for name in ("environment", "status", "figures"):
        (tmp_path / f"{name}.json").write_text(content)
    assert "Losses" in words_of(page_of(tmp_path))


def test_a_torn_last_line_is_left_until_it_is_whole(tmp_path):
    fabricate(tmp_path, steps=5)
    whole = line(6)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert data_of(page_of(tmp_path))["charts"][0]["series"][0]["step"] == [1, 2, 3, 4, 5]
        file.write(whole[20:])
    assert data_of(page_of(tmp_path))["charts"][0]["series"][0]["step"][-1] == 6


def test_lines_that_are_no_metrics_are_passed_over(tmp_path):
    bad = (
        '{"step": 1}\n[]\nnull\n{"step": "1", "losses": {"a": 1}}\n{"step": 2, "losses": 3}\n\x00\n'
    )
    worse = '{"step": 3, "losses": {"a": NaN, "b": Infinity, "c": "x", "d": null, "e": true}}\n'
    huge = (
        f'{{"step": 4, "losses": {{"cycle/x": {10**400}, "cycle/y": 1e308, "cycle/z": -1e308}}}}\n'
    )
    (tmp_path / "metrics.jsonl").write_text(bad + worse + huge + line(5, **{"cycle/x": 0.5}))
    names = [series["name"] for series in data_of(page_of(tmp_path))["charts"][0]["series"]]
    assert sorted(names) == ["x", "y", "z"]


def test_metrics_cut_back_for_a_resumed_run_are_read_anew(tmp_path):
    fabricate(tmp_path, steps=50)
    page_of(tmp_path)
    beside = tmp_path / "cut"
    beside.write_text("".join(line(step, cycle=9.0) for step in range(1, 21)))
    beside.replace(tmp_path / "metrics.jsonl")
    assert data_of(page_of(tmp_path))["charts"][0]["series"][0]["step"][-1] == 20


def test_a_further_read_takes_in_only_what_was_appended(tmp_path, monkeypatch):
    metrics = Metrics(fabricate(tmp_path) / "metrics.jsonl")
    metrics.read()
    taken = []
    monkeypatch.setattr(metrics, "_take", taken.append)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(line(31))
    metrics.read()
    assert [json.loads(each)["step"] for each in taken] == [31]


def test_a_thinned_curve_keeps_every_extreme():
    values = np.random.default_rng(0).normal(size=20_000)
    values[[7_777, 12_345]] = 100, -100
    curve = Curve()
    for step, value in enumerate(values.tolist(), start=1):
        curve.add(step, value)
    assert BUCKETS / 2 <= len(curve.buckets) <= BUCKETS
    assert sum(bucket.count for bucket in curve.buckets) == len(values)
    assert max(bucket.high for bucket in curve.buckets) == 100
    assert min(bucket.low for bucket in curve.buckets) == -100


def test_a_thinned_bucket_knows_whether_its_minimum_came_first():
    curve = Curve()
    for step in range(4 * BUCKETS):
        curve.add(step, float(step if step < 2 * BUCKETS else -step))
    assert curve.buckets[0].rising
    assert not curve.buckets[-1].rising


def test_a_smoothed_constant_is_the_constant_from_its_first_step():
    curve = Curve()
    for step in range(300):
        curve.add(step, 0.7)
    assert curve.smoothed() == pytest.approx([0.7] * 300)


def test_losses_are_grouped_by_the_first_part_of_their_names(tmp_path):
    losses = {"adversarial/a_to_b": 1, "adversarial/b_to_a": 2, "cycle/a_to_b": 3, "plain": 4}
    (tmp_path / "metrics.jsonl").write_text(line(1, **losses) + line(2, **losses))
    charts = data_of(page_of(tmp_path))["charts"]
    names = [[series["name"] for series in chart["series"]] for chart in charts]
    assert names[:3] == [["a to b", "b to a"], ["a to b"], ["plain"]]


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [([2], "2 3"), ([1, 4], "1 2 3 4"), ([0, 10], "0 5 10"), ([1, 100], "25 50 75 100")],
)
def test_steps_are_counted_in_whole_numbers(tmp_path, steps, ticks):
    (tmp_path / "metrics.jsonl").write_text("".join(line(step, cycle=0.5) for step in steps))
    page = page_of(tmp_path)
    axis = page.partition('<div class="ticks x"')[2].partition("</div>")[0]
    assert words_of(f"<div{axis}</div>") == ticks


def test_curves_are_drawn_without_any_script(tmp_path):
    page = page_of(fabricate(tmp_path))
    assert len(re.findall(r'<path class="smooth c\d" d="M\d+ \d+l', page)) >= 4
    assert len(re.findall(r'<path class="raw c\d" d="M\d+ \d+l', page)) >= 4


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0, 1e-300, 1e300, 1e308, -1e308])
def test_a_constant_curve_is_drawn_whatever_its_size(tmp_path, value):
    (tmp_path / "metrics.jsonl").write_text(line(1, cycle=value) + line(2, cycle=value))
    page = page_of(tmp_path)
    assert not re.search(r"\b(nan|inf)\b", page.partition("<script")[0])


def test_nothing_in_the_folder_becomes_markup(tmp_path):
    fabricate(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(line(1, **{NASTY: 1.0, f"a/{NASTY}": 2.0}))
    (tmp_path / "recipe.toml").write_text(NASTY)
    texts = dict.fromkeys(("name", "device", "data", "platform", "torch"), NASTY)
    put(tmp_path, "environment", **texts, domains=[NASTY, "b"], networks={NASTY: NASTY},
        plugins={NASTY: NASTY}, command=[NASTY])  # fmt: skip
    put(tmp_path, "status", state="failed", message=NASTY, updated=NASTY, started=NASTY)
    nasty = {"title": NASTY, "unit": NASTY, "better": NASTY,
             "judge": {"name": NASTY, "sha256": NASTY},
             "scores": {NASTY: {NASTY: {"value": NASTY}}}}  # fmt: skip
    extremes = {NASTY: {"metric": NASTY, "best": [{"name": NASTY}], "columns": [NASTY]}}
    put(tmp_path, "figures", title=NASTY, metrics={NASTY: nasty}, not_measured={NASTY: NASTY},
        extremes=extremes)  # fmt: skip
    tags = Tags(page_of(tmp_path)).found
    assert [tag for tag, _ in tags].count("script") == 2
    assert not [tag for tag, attributes in tags if "onerror" in attributes]
    assert all(
        (attributes["src"] or "").startswith("data:image/jpeg")
        for tag, attributes in tags
        if tag == "img"
    )


def test_a_command_line_that_is_no_utf_8_is_shown(tmp_path):
    put(tmp_path, "environment", command=["imgtrans", "run", "f\udcff"])
    assert "imgtrans run" in words_of(page_of(tmp_path))


def test_the_page_asks_for_nothing_outside_itself(tmp_path):
    page = page_of(fabricate(tmp_path))
    assert not re.search(r"(src|href|action|data)\s*=\s*[\"']?\s*(https?:|//|file:)", page)
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|\bimport\(", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_newest_samples_are_shown_with_captions(tmp_path):
    fabricate(tmp_path)
    add_sample(tmp_path, 1200, (200, 10, 10))
    images = [attributes for tag, attributes in Tags(page_of(tmp_path)).found if tag == "img"]
    assert [image["alt"].partition(":")[0] for image in images] == [
        "summer to winter at step 1,200",
        "winter to summer at step 1,200",
    ]
    words = words_of(page_of(tmp_path))
    assert "summer to winter source summer fake winter reconstructed summer" in words


def test_with_one_direction_a_grid_has_two_columns(tmp_path):
    fabricate(tmp_path)
    for path in tmp_path.glob("samples/*winter-to-summer.png"):
        path.unlink()
    assert "reconstructed" not in words_of(page_of(tmp_path))


def test_a_step_whose_pictures_are_not_whole_is_left_out(tmp_path):
    fabricate(tmp_path)
    (tmp_path / f"samples/step-00000030-{SLUGS[0]}.png").write_bytes(b"one of two")
    add_sample(tmp_path, 25)
    (tmp_path / f"samples/step-00000025-{SLUGS[1]}.png").write_bytes(b"\x89PNG torn")
    assert data_of(page_of(tmp_path))["steps"] == [0, 10, 20]


def test_a_picture_written_anew_replaces_the_one_kept_in_memory(tmp_path):
    fabricate(tmp_path)
    before = data_of(page_of(tmp_path))["pictures"][0]
    add_sample(tmp_path, 0, (1, 2, 200))
    os.utime(tmp_path / f"samples/step-00000000-{SLUGS[0]}.png", ns=(1, 1))
    assert data_of(page_of(tmp_path))["pictures"][0] != before


@pytest.mark.parametrize("count", [1, 2, 47, 48, 49, 100, 1000])
def test_the_first_and_the_newest_step_are_always_chosen(count):
    steps = list(range(0, 10 * count, 10))
    chosen = pictures._chosen(steps, 48)
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    assert min(count, 24) <= len(chosen) <= 48


def test_a_long_run_of_noise_stays_under_10_mb(tmp_path):
    row = line(7, **{f"{group}/{way}": 0.125 for group in "abc" for way in SLUGS})
    head, tail = row.split("7", 1)
    with (tmp_path / "metrics.jsonl").open("w") as file:
        file.writelines(
            f"{head}{n}{tail.replace('0.125', f'{n % 97 / 7:.4f}')}" for n in range(100_000)
        )
    (tmp_path / "samples").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (1042, 392, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise", "PNG", compress_level=0)
    for step in range(0, 100_000, 250):
        for slug in SLUGS:
            os.link(tmp_path / "noise", tmp_path / f"samples/step-{step:08d}-{slug}.png")
    assert write_report(tmp_path).stat().st_size < 8_000_000


def test_more_names_than_fit_are_counted_not_drawn(tmp_path):
    losses = {f"group{n}/{'x' * 500}{n}": 1.0 for n in range(300)}
    (tmp_path / "metrics.jsonl").write_text(line(1, **losses) + line(2, **losses))
    page = page_of(tmp_path)
    assert "236 more are only in metrics.jsonl" in words_of(page)
    assert len(page) < 1_000_000


def test_generated_data_are_announced_before_anything_else(tmp_path):
    banner = "Trained on generated landscapes, not on the photographs the recipe names"
    assert banner not in page_of(fabricate(tmp_path))
    put(tmp_path, "environment", name="toy run", generated=True)
    assert words_of(page_of(tmp_path).partition("<body>")[2]).startswith(banner)


def test_a_failure_is_told_before_the_samples(tmp_path):
    fabricate(tmp_path)
    put(tmp_path, "status", state="failed", step=7, steps=9, message="a loss is not finite")
    words = words_of(page_of(tmp_path))
    assert words.index("This run failed after step 7 of 9") < words.index("a loss is not finite")
    assert words.index("a loss is not finite") < words.index("Samples")


def test_a_stopped_run_says_how_to_continue(tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    put(fabricate(folder), "status", state="stopped", step=7, steps=9)
    assert f"imgtrans run --resume '{folder}'" in words_of(page_of(folder))


def test_the_title_names_the_run_and_its_state(tmp_path):
    page = page_of(fabricate(tmp_path))
    assert "<title>toy run – running, step 30 of 100</title>" in page


def test_figures_have_a_table_for_each_direction_with_the_best_of_each_row_bold(tmp_path):
    near = {"translated": {"value": 18.2, "low": 18.0, "high": 18.4}, "untranslated": {"value": 12}}
    far = {"translated": {"value": 0.2}, "untranslated": {"value": 0.6}}
    metrics = {
        "psnr": {"title": "PSNR", "unit": "dB", "better": "higher", "scores": {"a_to_b": near}},
        "lpips": {"better": "lower", "scores": {"a_to_b": far, "b_to_a": far},
                  "judge": {"name": "Net", "sha256": "abcdefgh" * 8}},
        "light": {"better": "neither", "scores": {"b_to_a": {"translated": {"value": 1}}}},
    }  # fmt: skip
    put(tmp_path, "figures", title="On 5 images", step=7, metrics=metrics,
        not_measured={"fid": "no weights"})  # fmt: skip
    page = page_of(tmp_path)
    bold = re.findall(r"<td class=\"number\"><strong>(.*?)</strong>", page)
    assert bold == ["18.20 ± 0.20", "0.2", "0.2"]
    words = words_of(page)
    assert "On 5 images, after step 7" in words
    assert (
        "a to b metric translated untranslated PSNR (dB) higher is better 18.20 ± 0.20 12" in words
    )
    assert "lpips lower is better, Net abcdefgh 0.2 0.6 light 1" in words
    assert "Not measured: fid: no weights" in words


def test_a_page_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    before = page_of(fabricate(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert not list(tmp_path.glob(".report*"))


def test_a_reader_holds_a_whole_page_while_it_is_rewritten(tmp_path):
    path = write_report(fabricate(tmp_path))
    with path.open(encoding="utf-8") as reader:
        add_sample(tmp_path, 30)
        write_report(tmp_path)
        assert reader.read().endswith("</html>")


@needs_chromium
def test_in_a_browser_the_script_runs_and_a_fragment_moves_the_slider(tmp_path):
    fabricate(tmp_path)
    add_sample(tmp_path, 30, (200, 10, 10))
    path = write_report(tmp_path)
    (wanted, _), *_ = data_of(path.read_text())["pictures"][1:]
    dom, complaints = browse(tmp_path, f"{path.as_uri()}#step=11")
    tags = Tags(dom).found
    assert complaints == ""
    assert dict(tags)["html"]["data-ready"] == "yes"
    assert next(a for t, a in tags if a.get("id") == "samples")["data-step"] == "10"
    assert next(a["src"] for t, a in tags if t == "img") == wanted


@needs_chromium
def test_in_a_browser_nothing_in_the_folder_runs(tmp_path):
    put(fabricate(tmp_path), "status", state="failed", message=NASTY)
    (tmp_path / "metrics.jsonl").write_text(line(1, **{NASTY: 1.0}) + line(2, **{NASTY: 2.0}))
    dom, complaints = browse(tmp_path, write_report(tmp_path).as_uri())
    assert complaints == ""
    assert 'data-ready="yes"' in dom
    assert "<title>toy run – failed" in dom
