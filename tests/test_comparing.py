"""``imgtrans report``: the page of one run, and one that shows several side by side."""

from __future__ import annotations

import json
import re
import shutil
import tomllib

import pytest
import torch
from click.testing import CliRunner
from pages import (
    NASTY,
    Tags,
    add_sample,
    browse,
    data_of,
    fabricate,
    line,
    needs_chromium,
    put,
    requests_of,
    words_of,
)
from PIL import Image
from toys import tiny_recipe, trainer_of

from imgtrans import checkpoint, run
from imgtrans.cli import main
from imgtrans.inference import Translator, save_model
from imgtrans.monitor.comparing import write_comparison
from imgtrans.recipe import to_toml


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of the same images, the second longer and with a loss more."""
    here = tmp_path_factory.mktemp("trained")
    losses = {
        "adversarial": {"use": "cyclegan/least-squares"},
        "cycle": {"use": "cyclegan/cycle-consistency", "weight": 5.0},
        "identity": {"use": "cyclegan/identity", "weight": 2.0},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        run(tiny_recipe(name="plain", train={"steps": 2}), quiet=True)
        run(tiny_recipe(name="other", loss=losses, train={"steps": 3}), quiet=True)
    return here


@pytest.fixture
def runs(trained, tmp_path, monkeypatch):
    """A copy of them, to be spoiled."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def report(*words, code=0):
    done = CliRunner().invoke(main, ["report", *map(str, words)])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done


def fake(folder, name, **options):
    (folder / name).mkdir(parents=True)
    return fabricate(folder / name, **options)


def page_of(*folders):
    target = folders[0].parent / "page.html"
    return write_comparison(folders, target).read_text(encoding="utf-8")


def images_of(page):
    return [attributes for tag, attributes in Tags(page).found if tag == "img"]


def test_the_page_of_one_run_is_rewritten_and_its_path_is_printed(runs):
    page = runs / "plain/report.html"
    page.unlink()
    assert report("runs/plain").output == "runs/plain/report.html\n"
    assert "plain" in words_of(page.read_text(encoding="utf-8"))
    assert report("plain", "-o", "deep/mine.html").output == "deep/mine.html\n"


def test_several_runs_get_a_page_named_after_them(runs, tmp_path):
    assert report("plain", "other").output == "plain-vs-other.html\n"
    assert "2 runs side by side" in words_of((tmp_path / "plain-vs-other.html").read_text())
    assert report("plain", "other").exit_code == 0


def test_only_a_page_of_ours_is_replaced(runs, tmp_path):
    (tmp_path / "mine.html").write_text("<html>mine")
    for names in (["plain"], ["plain", "other"]):
        done = report(*names, "-o", "mine.html", code=2)
        assert "mine.html is there already and is no page of imgtrans" in done.stderr
    assert (tmp_path / "mine.html").read_text() == "<html>mine"


def test_what_is_no_run_is_named_with_the_runs_there_are(runs):
    done = report("plain", "nothing", "runs", code=2)
    assert "nothing is no run folder; runs here: other, plain" in done.stderr
    assert "runs is no run folder" in done.stderr


def test_a_run_named_twice_is_one_run(runs):
    assert report("plain", "runs/plain").output == "runs/plain/report.html\n"


def test_more_runs_than_colours_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(9):
        fake(tmp_path, f"r{number}")
    done = report(*(f"r{number}" for number in range(9)), code=2)
    assert "a page shows at most 8 runs, not 9" in done.stderr


def test_a_page_that_cannot_be_written_is_told(runs, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert "cannot be written: " in report("plain", "-o", "file/page.html", code=1).stderr


def test_the_same_held_out_images_go_through_every_model(runs, monkeypatch):
    seen = []

    real = Translator.translate

    def noting(self, images, direction=None):
        seen.append((direction, images.clone()))
        return real(self, images, direction)

    monkeypatch.setattr(Translator, "translate", noting)
    page = page_of(runs / "plain", runs / "other")
    assert [direction for direction, _ in seen] == ["summer_to_winter"] * 2 + [
        "winter_to_summer"
    ] * 2
    assert torch.equal(seen[0][1], seen[1][1])
    assert torch.equal(seen[2][1], seen[3][1])
    assert not torch.equal(seen[0][1], seen[2][1])
    first, _ = images_of(page)
    assert first["alt"] == "summer to winter: a row for each image; columns source, plain, other"
    assert int(first["width"]) == 3 * 34 + 2
    words = words_of(page)
    assert "summer to winter source summer plain step 2 other step 3" in words
    assert "The images are those of plain." in words


def test_a_run_killed_before_it_was_done_takes_part_with_its_checkpoint(runs):
    (runs / "other/model.safetensors").unlink()
    put(runs / "other", "status", state="running", step=3, steps=9)
    words = words_of(page_of(runs / "plain", runs / "other"))
    assert "other running step 3 of 9" in words
    assert "plain step 2 other step 3" in words


def test_a_run_without_a_model_is_told_and_the_others_are_shown(runs):
    (runs / "other/model.safetensors").unlink()
    shutil.rmtree(runs / "other/checkpoints")
    put(runs / "other", "status", state="failed", step=0, steps=9, message="a loss is not finite")
    page = page_of(runs / "plain", runs / "other")
    words = words_of(page)
    assert "other a loss is not finite" in words
    assert "The model of other is not among the images: there is no model at" in words
    assert images_of(page)[0]["alt"].endswith("columns source, plain")


def other_model(folder, **changes):
    """A run's folder whose model is of another recipe."""
    recipe = tiny_recipe(name=folder.name, **changes)
    for path in checkpoint.found(folder / "checkpoints"):
        path.unlink()
    save_model(folder / "model.safetensors", trainer_of(recipe), recipe, {"step": 1})
    (folder / "recipe.toml").write_text(to_toml(recipe))


def test_runs_of_other_sizes_channels_and_domains_are_shown_with_what_differs(runs):
    images = {"use": "seasons/landscapes", "image_size": 64, "channels": 1, "test_scenes": 3}
    one_way = {
        "domains": ("day", "night"),
        "directions": "x_to_y",
        "loss": {"adversarial": {"use": "cyclegan/least-squares"}},
    }
    other_model(runs / "other", dataset=images, **one_way)
    put(runs / "other", "environment", domains=["day", "night"])
    lines = [line(step, **{"cycle/day_to_night": 0.5}) for step in (1, 2)]
    (runs / "other/metrics.jsonl").write_text("".join(lines))
    page = page_of(runs / "plain", runs / "other")
    words = words_of(page)
    assert "Trained on other images: other." in words
    assert re.search(r"Trained on 64×64 pixels, .* back to 32×32: other\.", words)
    assert "plain step 2 other step 1, day to night" in words
    first, second = images_of(page)
    assert int(first["width"]) == 3 * 34 + 2
    assert second["alt"].endswith("columns source, plain")
    charts = {tuple(s["name"] for s in chart["series"]) for chart in data_of(page)["charts"]}
    assert ("plain", "other") in charts  # cycle, of both runs' first directions


def test_where_the_images_are_gone_each_run_shows_its_own_samples(runs):
    for name in ("plain", "other"):
        folders = {"use": "cyclegan/unpaired-folders", "image_size": 32, "root": "/not/here"}
        other_model(runs / name, dataset=folders)
    page = page_of(runs / "plain", runs / "other")
    words = words_of(page)
    assert "The images of plain cannot be shown: " in words
    assert "These are the newest samples of each run by itself" in words
    assert "other: winter to summer, step 3" in words
    assert len(images_of(page)) == 4


def test_images_of_another_run_serve_where_the_firsts_are_gone(runs):
    folders = {"use": "cyclegan/unpaired-folders", "image_size": 32, "root": "/not/here"}
    other_model(runs / "plain", dataset=folders)
    words = words_of(page_of(runs / "plain", runs / "other"))
    assert "The images of plain cannot be shown: " in words
    assert "The images are those of other." in words


def test_a_broken_image_gives_its_place_to_the_next(runs, tmp_path):
    for name in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            grey = Image.new("RGB", (32, 32), (80 * number,) * 3)
            grey.save(tmp_path / "images" / name / f"{number}.png")
    broken = tmp_path / "images/testA/0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    folders = {
        "use": "cyclegan/unpaired-folders",
        "image_size": 32,
        "root": str(tmp_path / "images"),
    }
    other_model(runs / "plain", dataset=folders)
    page = page_of(runs / "plain", runs / "other")
    words = words_of(page)
    assert "The next image is shown in place of one: " in words
    assert f"{broken}: cannot be decoded" in words
    assert "The images are those of plain." in words
    assert len(images_of(page)) == 2


def test_a_chart_has_a_line_of_its_own_colour_for_each_run(tmp_path):
    first, second, third = (
        fake(tmp_path, name, steps=n) for name, n in zip("abc", (5, 9, 7), strict=True)
    )
    (second / "metrics.jsonl").write_text(line(1, **{"gan/x": 1.0}) + line(9, **{"gan/x": 2.0}))
    charts = data_of(page_of(first, second, third))["charts"]
    shown = [[(s["name"], s["colour"], s["step"][-1]) for s in c["series"]] for c in charts]
    assert shown[:3] == [[("a", 0, 5), ("c", 2, 7)]] * 2 + [[("b", 1, 9)]]
    assert [("a", 0, 5), ("b", 1, 9), ("c", 2, 7)] in shown  # images per second
    assert charts[0]["x"] == [1, 7]


def test_scores_of_the_training_are_drawn_over_each_other(tmp_path):
    folders = [fake(tmp_path, name) for name in "ab"]
    for folder in folders:
        lines = [json.dumps({"step": n, "scores": {"kid/summer_to_winter": 1 / n}}) for n in (1, 2)]
        (folder / "scores.jsonl").write_text("\n".join(lines) + "\n")
    page = page_of(*folders)
    assert "kid · summer to winter" in words_of(page)
    names = [[s["name"] for s in chart["series"]] for chart in data_of(page)["charts"]]
    assert names[2] == ["a", "b"]


def figures(value, judge="0123456789", better="lower", **more):
    scores = {"summer_to_winter": {"translated": {"value": value, **more}, "untranslated": {}}}
    kid = {"title": "KID", "better": better, "scores": scores}
    return {
        "title": "20 images",
        "metrics": {"kid": kid | {"judge": {"name": "Net", "sha256": judge}}},
    }


def test_figures_stand_in_a_row_with_the_best_bold(tmp_path):
    folders = [fake(tmp_path, name) for name in "abc"]
    for folder, value in zip(folders, (3.0, 2.0, 5.0), strict=True):
        put(folder, "figures", **figures(value, low=value - 1, high=value + 1))
    page = page_of(*folders)
    assert re.findall(r"<td><strong>(.*?)</strong>", page) == ["2.0 ± 1.0"]
    expected = "KID, summer to winter lower is better, Net 01234567 3.0 ± 1.0 2.0 ± 1.0 5.0 ± 1.0"
    assert expected in words_of(page)
    assert words_of(page).count("20 images") == 1


def test_figures_of_other_judges_are_not_compared(tmp_path):
    folders = [fake(tmp_path, name) for name in "ab"]
    put(folders[0], "figures", **figures(3.0))
    put(folders[1], "figures", **{**figures(2.0, judge="f" * 64), "title": "30 images"})
    page = page_of(*folders)
    assert "<td><strong>" not in page
    words = words_of(page)
    assert "Net 01234567, 20 images 3 – KID, summer to winter" in words
    assert "Net ffffffff, 30 images – 2" in words


def test_only_keys_of_the_recipes_that_differ_are_shown(runs):
    page = page_of(runs / "plain", runs / "other")
    table = words_of(page.partition('id="recipes"')[2].partition("</section>")[0])
    for row in ("loss.cycle.weight 10.0 5.0", "loss.identity.weight – 2.0", "train.steps 2 3"):
        assert row in table
    for key in ("name", "batch_size", "plain other plain"):
        assert f" {key} " not in table


def test_runs_of_one_recipe_are_told_to_be_so(runs):
    text = (runs / "plain/recipe.toml").read_text().replace('"plain"', '"again"')
    assert tomllib.loads(text)["name"] == "again"
    (runs / "other/recipe.toml").write_text(text)
    words = words_of(page_of(runs / "plain", runs / "other"))
    assert "The recipes are the same but for their names." in words


def test_how_each_run_went_stands_side_by_side(tmp_path):
    first, second = fake(tmp_path, "a"), fake(tmp_path, "b", steps=50)
    networks = {"generators.x": 1234, "generators.y": 1234, "discriminators.x": 99}
    put(first, "environment", device="cpu", precision="float32", networks=networks)
    put(first, "status", state="done", step=30, steps=30, seconds=61.0)
    words = words_of(page_of(first, second))
    for row in ("state done running", "steps 30 of 30 50 of 100", "time 1 min 01 s 1 min 00 s",
                "images per second 11 11", "generator 1,234 parameters –",
                "device cpu, float32 cpu"):  # fmt: skip
        assert row in words, row


def test_runs_of_one_folder_name_are_told_apart(tmp_path):
    first, second = fake(tmp_path, "here/same"), fake(tmp_path, "there/same")
    target = tmp_path / "page.html"
    page = write_comparison([first, second], target).read_text(encoding="utf-8")
    assert "here/same running" in words_of(page)
    assert "there/same running" in words_of(page)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"metrics": {"a": 3}, "domains": 4}'])
def test_broken_and_missing_files_do_not_keep_a_page_from_being_written(tmp_path, content):
    first, second = fake(tmp_path, "a"), tmp_path / "empty"
    second.mkdir()
    for name in ("environment.json", "status.json", "figures.json", "recipe.toml"):
        (first / name).write_text(content)
    words = words_of(page_of(first, second))
    assert "empty not started" in words
    assert "The model of empty is not among the images: there is no model" in words


def nasty(folder, name):
    """A run folder in which everything tries to become markup."""
    made = fake(folder, name, sampled=())
    (made / "metrics.jsonl").write_text(line(1, **{NASTY: 1.0}) + line(2, **{f"a/{NASTY}": 2.0}))
    (made / "recipe.toml").write_text(f"name = {json.dumps(name)}\nkey = {json.dumps(NASTY)}\n")
    put(made, "environment", device=NASTY, data=NASTY, domains=[NASTY, "b"], torch=NASTY)
    put(made, "status", state="failed", message=NASTY, updated=NASTY, started=NASTY)
    put(made, "figures", **{**figures(1.0, judge=NASTY), "title": NASTY})
    return made


def test_nothing_in_a_folder_becomes_markup(tmp_path):
    page = page_of(nasty(tmp_path, "a"), fake(tmp_path, "b"))
    tags = Tags(page).found
    assert [tag for tag, _ in tags].count("script") == 2
    assert not [tag for tag, attributes in tags if "onerror" in attributes]


def test_the_page_needs_nothing_beside_itself(runs):
    page = page_of(runs / "plain", runs / "other")
    assert not re.search(r"(src|href|action|data)\s*=\s*[\"']?\s*(https?:|//|file:)", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert all(image["src"].startswith("data:image/jpeg") for image in images_of(page))


@needs_chromium
def test_in_a_browser_three_runs_are_shown_and_nothing_is_asked_of_a_network(runs, tmp_path):
    third = nasty(runs, "third")
    folders = [runs / "plain", runs / "other", third]
    page = write_comparison(folders, tmp_path / "page.html")
    dom, complaints = browse(tmp_path, page.as_uri())
    assert complaints == ""
    assert 'data-ready="yes"' in dom
    assert "<title>plain · other · third</title>" in dom
    assert len([tag for tag, a in Tags(dom).found if "plot" in (a.get("class") or "")]) > 8
    assert requests_of(tmp_path, page.as_uri()) == []


@needs_chromium
def test_a_page_that_asks_a_network_would_be_seen_to(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><img src="http://127.0.0.1:9/picture.png">')
    assert requests_of(tmp_path, page.as_uri()) == ["http://127.0.0.1:9/picture.png"]


def test_samples_of_runs_without_domains_are_shown(tmp_path):
    first, second = fake(tmp_path, "a"), fake(tmp_path, "b")
    put(first, "environment", name="a")
    add_sample(second, 30)
    assert len(images_of(page_of(first, second))) == 4
