"""How folders of many photographs are listed, and how a changed one is told."""

import os
from pathlib import Path

import pytest
import torch
from imgtrans_cyclegan.names import Names
from imgtrans_cyclegan.sizes import shorter_side
from PIL import Image
from test_folders import DOMAINS, folders, names, photographs
from toys import CPU, tiny_recipe

from imgtrans import ImgtransError
from imgtrans.data import open_training


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


def test_files_are_sorted_as_their_folders_are():
    photographs("photos/trainA/a", "photos/trainA/a-b", "photos/trainA", "photos/trainB", count=1)
    found = names(folders().build("train", DOMAINS).x)
    assert found == sorted(found, key=lambda name: Path(name).parts)
    assert found.index("trainA/a/0.jpg") < found.index("trainA/a-b/0.jpg")


@pytest.mark.skipif(os.name != "posix", reason="elsewhere names are text")
def test_files_whose_names_are_no_text_are_read_like_others():
    photographs("photos/trainA", "photos/trainB", count=1)
    Path("photos/trainA/0.jpg").rename(os.fsdecode(b"photos/trainA/\xff.jpg"))
    images = folders().build("train", DOMAINS).x
    assert images.name(0) == "trainA/\udcff.jpg"
    assert images[0].shape == (3, 48, 40)


def test_many_names_are_what_they_were_and_come_in_slices():
    given = ["a.jpg", "", "\udcff", "ä/b.png"]
    packed = Names(given)
    assert list(packed) == given
    assert packed[1:3] == given[1:3]
    with pytest.raises(IndexError):
        packed[4]


@pytest.fixture
def _settled(monkeypatch):
    """Files of this moment count as old ones."""
    monkeypatch.setattr("imgtrans_cyclegan.listing.SETTLED_NS", 0)


@pytest.mark.usefixtures("_settled")
def test_a_photograph_put_in_anothers_place_has_another_stamp_though_size_and_time_agree():
    photographs("photos/trainA", "photos/trainB")
    images = folders().build("train", DOMAINS).x
    before = [images.stamp(index) for index in range(2)]
    old, new = Path("photos/trainA/0.jpg"), Path("photos/trainA/new")
    new.write_bytes(bytes(old.stat().st_size))
    os.utime(new, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    new.replace(old)
    assert images.stamp(0) != before[0]
    assert images.stamp(1) == before[1]
    old.unlink()
    assert images.stamp(0).startswith("error")


def test_a_file_that_has_just_been_changed_is_never_taken_for_unchanged():
    photographs("photos/trainA", "photos/trainB")
    images = folders().build("train", DOMAINS).x
    assert images.stamp(0) != images.stamp(0)


@pytest.mark.usefixtures("_settled")
def test_a_run_after_photographs_were_exchanged_sees_the_new_ones():
    photographs("photos/trainA", "photos/trainB")
    recipe = tiny_recipe(dataset=folders(), train={"cache": "file", "steps": 4})

    def seen():
        images = recipe.dataset.build("train", DOMAINS)
        data = open_training(recipe, images, lambda *_: lambda: None)
        return torch.cat([batch.x for batch in data.batches(0, 4, CPU)])

    before = seen()
    assert torch.equal(before, seen())
    for path in Path("photos/trainA").iterdir():
        Image.new("RGB", (40, 48), (200, 0, 0)).save(path)
    assert seen().float().mean((0, 2, 3))[0] > 190 > before.float().mean((0, 2, 3))[0]


@pytest.mark.usefixtures("_settled")
def test_training_on_photographs_again_decodes_none(monkeypatch):
    photographs("photos/trainA", "photos/trainB")
    recipe = tiny_recipe(dataset=folders(), train={"cache": "file", "steps": 2})
    open_training(recipe, folders().build("train", DOMAINS), lambda *_: lambda: None)
    monkeypatch.setattr("imgtrans_cyclegan.listing.decode", None)
    data = open_training(recipe, folders().build("train", DOMAINS), lambda *_: lambda: None)
    assert len(list(data.batches(0, 2, CPU))) == 2


def test_of_very_many_images_a_small_one_may_be_found_only_when_it_is_read(monkeypatch):
    monkeypatch.setattr("imgtrans_cyclegan.sizes.LOOKED_AT", 2)
    photographs("photos/trainA", "photos/trainB", count=4)
    Image.new("RGB", (20, 30)).save("photos/trainA/1.jpg")
    images = folders().build("train", DOMAINS).x
    with pytest.raises(ImgtransError, match=r"1\.jpg \(20×30\) is smaller than image_size = 32"):
        images[1]
    Image.new("RGB", (20, 30)).save("photos/trainA/2.jpg")
    with pytest.raises(ImgtransError, match=r"1 images of 2 that were looked at in photos/trainA"):
        folders().build("train", DOMAINS)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("plain.jpg", {}, 40),
        ("progressive.jpg", {"progressive": True}, 40),
        ("long.jpg", {"exif": b"Exif\0\0" + bytes(60_000)}, 40),
        ("plain.png", {}, 40),
        ("plain.webp", {}, None),
    ],
)
def test_what_a_file_says_of_its_size_is_its_size(name, options, told):
    Image.new("RGB", (40, 48)).save(name, **options)
    assert shorter_side(name) == told


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8", b"\xff\xd8\xff\xff\xff\xda\0\x08\0\0\0", b"\xff\xd8\xff\xe0\xff\xff"],
)
def test_a_file_that_says_nothing_of_its_size_is_left_to_the_decoder(content):
    Path("broken.jpg").write_bytes(content)
    assert shorter_side("broken.jpg") is None
