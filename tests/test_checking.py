"""``imgtrans validate --data``: every image decoded, broken ones named, nothing changed."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from imgtrans_cyclegan import UnpairedFolders
from PIL import Image
from toys import tiny_recipe

from imgtrans.cli import main
from imgtrans.data import checking
from imgtrans.recipe import to_toml

FOLDERS = ("trainA", "trainB", "testA", "testB")


@pytest.fixture(autouse=True)
def _photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)
    for place, folder in enumerate(FOLDERS):
        Path("photos", folder).mkdir(parents=True)
        for number in range(place + 2):
            Image.effect_noise((48, 40), 99).convert("RGB").save(f"photos/{folder}/{number}.jpg")


def checked(**changes):
    dataset = UnpairedFolders(root="photos", image_size=32, **changes)
    Path("tiny.toml").write_text(to_toml(tiny_recipe(dataset=dataset)))
    return CliRunner().invoke(main, ["validate", "tiny.toml", "--data"])


def cut(path):
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-99])


def test_whole_images_are_counted():
    done = checked()
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if " images, " in line] == [
        "train summer: 2 images, 0 broken",
        "train winter: 3 images, 0 broken",
        "test summer: 4 images, 0 broken",
        "test winter: 5 images, 0 broken",
    ]


@pytest.mark.parametrize("broken_images", ["stop", "skip"])
def test_every_broken_image_is_named_with_the_reason(broken_images):
    cut("photos/trainA/0.jpg")
    cut("photos/testB/4.jpg")
    Path("photos/testB/0.jpg").write_text("no image")
    Image.new("RGB", (8, 8)).save("photos/trainB/small.png")
    done = checked(broken_images=broken_images)
    assert done.exit_code == 1
    named = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    reasons = {
        "trainA/0.jpg": "truncated",
        "trainB/small.png": "smaller than image_size = 32",
        "testB/0.jpg": "no readable image",
        "testB/4.jpg": "truncated",
    }
    assert len(named) == len(reasons)
    for line, (name, reason) in zip(named, reasons.items(), strict=True):
        assert name in line and reason in line
    assert "error: 4 of 15 images are broken" in done.stderr


def test_several_processes_find_the_same(monkeypatch):
    monkeypatch.setattr(checking, "FEW", 1)
    monkeypatch.setattr(checking, "cores", lambda: 2)
    cut("photos/trainB/1.jpg")
    done = checked()
    assert "train winter: 3 images, 1 broken" in done.stdout
    assert "photos/trainB/1.jpg: cannot be decoded" in done.stdout


def test_no_file_is_touched():
    cut("photos/trainA/0.jpg")
    files = sorted(Path("photos").rglob("*.jpg"))
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    checked()
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before


def test_images_that_are_not_here_are_an_error_and_nothing_is_downloaded():
    done = checked(train_x="photos/nowhere", train_y="photos/trainB")
    assert done.exit_code == 1
    assert "has no folders" in done.stderr


def test_photographs_without_held_out_ones_are_no_error():
    for folder in ("testA", "testB"):
        Path("photos", folder).rename(f"photos/other-{folder}")
    done = checked()
    assert done.exit_code == 0
    assert "none held out" in done.stdout
