"""``imgtrans translate``: everybody's pictures, at their size, in their format, to their place."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from toys import CPU, tiny_recipe

from imgtrans import Generator, RecipeError, load_model, run
from imgtrans.building import build_trainer
from imgtrans.cli import main
from imgtrans.inference import save_model
from imgtrans.monitor.display import Display
from imgtrans.plan import make_plan
from imgtrans.translating import Options, batches, opened, translate_files
from imgtrans.translating.slots import Slots


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one step."""
    here = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        return (here / run(tiny_recipe(train={"steps": 1}), quiet=True).folder).resolve()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def picture(path, size=(30, 20), mode="RGB", **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **options)


def translate(trained, *words, code=0):
    done = CliRunner().invoke(main, ["translate", str(trained), *words, "--output", "out"])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done


def there(folder="out"):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def test_names_folders_sizes_and_formats_are_kept(trained):
    picture("in/a.png", (30, 20))
    picture("in/deep/er/b.jpg", (33, 41))
    picture("in/deep/c.WEBP", (8, 8))
    Path("in/notes.txt").write_text("no picture")
    out = translate(trained, "in").output
    assert there() == ["a.png", "deep/c.WEBP", "deep/er/b.jpg"]
    assert re.search(r"3 translated \(\d+\.\d images/s\)", out)
    with Image.open("out/deep/er/b.jpg") as made:
        assert (made.size, made.format) == ((33, 41), "JPEG")


def test_what_is_written_is_what_the_model_makes(trained):
    picture("in/a.png")
    translate(trained, "in/a.png", "--direction", "y-to-x")
    made = load_model(trained)(Image.open("in/a.png"), "winter_to_summer")
    assert np.array_equal(np.asarray(Image.open("out/a.png")), np.asarray(made))


def test_files_folders_and_patterns_may_be_mixed(trained):
    picture("one.png")
    picture("in/two.png")
    picture("more/x/three.png")
    picture("more/y/four.png")
    translate(trained, "one.png", "in", "more/*/*.png")
    assert there() == ["one.png", "two.png", "x/three.png", "y/four.png"]


def test_a_broken_file_is_named_and_the_others_are_done(trained):
    picture("in/a.png")
    Path("in/b.png").write_bytes(b"nonsense")
    picture("in/c.png", (16, 16))
    done = translate(trained, "in", code=1)
    assert there() == ["a.png", "c.png"]
    assert "in/b.png: cannot be decoded" in done.stderr
    assert "error: 1 failed:\n  in/b.png" in done.stderr


def test_what_is_there_already_is_left_unless_asked(trained):
    picture("in/a.png")
    translate(trained, "in")
    Path("out/a.png").write_bytes(b"mine")
    picture("in/b.png")
    assert "1 translated" in (out := translate(trained, "in").output)
    assert "1 there already (--overwrite)" in out
    assert Path("out/a.png").read_bytes() == b"mine"
    assert "2 translated" in translate(trained, "in", "--overwrite").output
    assert Path("out/a.png").read_bytes() != b"mine"


def test_another_format_and_what_it_cannot_hold(trained):
    picture("in/a.png", mode="RGBA")
    done = translate(trained, "in", "--format", "jpg")
    assert there() == ["a.jpg"]
    assert "in/a.png: the JPEG file has not its transparency" in done.stderr


def test_resizing_works_at_the_training_size(trained):
    picture("in/a.png", (90, 60))
    translate(trained, "in", "--resize")
    with Image.open("out/a.png") as made:
        assert made.size == (48, 32)  # image_size is 32


def test_large_pictures_go_in_tiles_and_look_the_same(trained):
    picture("in/a.png", (420, 390))
    translate(trained, "in")
    shutil.move("out", "whole")
    translate(trained, "in", "--memory", "1")
    whole, tiled = (np.asarray(Image.open(f"{each}/a.png")) for each in ("whole", "out"))
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.max() <= 1
    assert difference.mean() < 0.05


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere is not there; pictures end in .bmp, .jpeg"),
        (["*.png"], r"\*.png is not there"),
        (["empty"], "empty holds no picture"),
        (["in", "--direction", "up"], "this model has summer_to_winter and winter_to_summer"),
        (["in", "twin"], "in/a.png and twin/a.png would both become out/a.png"),
        (["in", "--device", "cuda:7"], "there is no such device here"),
        (["in", "--memory", "0"], "0 is not in the range"),
        (["in", "--output", "in/a.png"], "--output in/a.png is a file; give a folder"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(trained, words, says):
    picture("in/a.png")
    picture("twin/a.png")
    Path("empty").mkdir()
    done = CliRunner().invoke(main, ["translate", str(trained), "--output", "out", *words])
    assert done.exit_code in (1, 2)
    assert re.search(says, done.output), done.output
    assert "Traceback" not in done.output
    assert not Path("out").exists()


def test_an_output_folder_among_the_inputs_is_not_translated_again(trained):
    picture("a.png")
    for _ in range(2):
        translate(trained, ".")
    assert there() == ["a.png"]


def test_names_may_look_like_patterns(trained):
    picture("in [1]/a[2]*.png")
    translate(trained, "in [1]/a[2]*.png")
    assert there() == ["a[2]*.png"]


def test_inputs_are_never_written_over(trained):
    picture("in/a.png")
    words = ["translate", str(trained), "in", "--output", "in", "--overwrite"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "in/a.png is one of the inputs" in done.output


def test_what_cannot_be_written_fails_by_itself(trained):
    picture("in/a.png")
    picture("in/b/c.png")
    Path("out").mkdir()
    Path("out/b").write_text("a file")
    done = translate(trained, "in", code=1)
    assert "in/b/c.png: cannot be written: " in done.stderr
    assert there() == ["a.png", "b"]


def test_a_picture_that_its_format_or_the_network_cannot_take_fails_by_itself(trained, monkeypatch):
    picture("in/a.png")
    picture("in/other.png")

    def fails(translated, stored, format_, real=opened.encode):
        if translated.mean() == fails.mean:
            message = "encoding error 5"
            raise ValueError(message)
        return real(translated, stored, format_)

    fails.mean = np.asarray(load_model(trained)(Image.open("in/a.png"))).mean()
    monkeypatch.setattr(opened, "encode", fails)
    done = translate(trained, "in", code=1)
    assert "in/a.png: cannot be written: encoding error 5" in done.stderr
    assert there() == ["other.png"]


def test_pictures_that_a_batch_of_them_is_too_much_for_are_translated_singly(trained, monkeypatch):
    for name in "abc":
        picture(f"in/{name}.png")

    def singly(self, batch, real=batches.Batches._translated):
        if len(batch) > 1:
            message = "not enough memory"
            raise RuntimeError(message)
        return real(self, batch)

    monkeypatch.setattr(batches.Batches, "_translated", singly)
    translate(trained, "in")
    assert there() == ["a.png", "b.png", "c.png"]


def test_the_same_file_named_twice_is_one_and_known_suffixes_stay(trained):
    picture("in/a.jpeg")
    picture("in/v1.2.png")
    translate(trained, "in", str(Path.cwd() / "in/a.jpeg"), "--format", "jpg")
    assert there() == ["a.jpeg", "v1.2.jpg"]


def test_a_place_holds_a_whole_picture_or_none(trained, monkeypatch):
    picture("in/a.png")
    real = Path.replace

    def fails(self, target):
        if str(target).endswith("a.png"):
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    assert "No space left" in translate(trained, "in", code=1).stderr
    assert there() == []


def test_batches_have_one_core_each_and_what_takes_much_memory_has_more(trained):
    model = load_model(trained)
    made = batches.Batches(model, model.directions[0], 2**30, "exact", lambda _: None)
    made.slots = Slots(4)
    picture("small.png", (64, 64))
    picture("large.png", (400, 400))
    small, large = (
        opened.open_picture(Path(name), Path("out"), 3, None) for name in ("small.png", "large.png")
    )
    assert made.at_once(small) == 32
    assert made.at_once(large) == 1
    assert made.wanted([small] * 16, 1000) == 1
    assert made.wanted([small], 1) == 4
    share = 400 * 400 * made._tilers[False].per_pixel / 4
    for slots in (1, 2, 3, 4):
        made.memory = 4 * 4 * share / (slots - 0.5)
        assert made.wanted([large], 1000) == slots
    made.memory = share
    assert made.wanted([large], 1000) == 4


def test_slots_are_given_in_the_order_in_which_they_were_asked_for():
    slots, order, first = Slots(2), [], Event()

    def take(wanted):
        with slots.taken(wanted):
            order.append(wanted)

    with ThreadPoolExecutor(3) as pool:
        with slots.taken(1):
            asked = pool.submit(take, 2)
            while not slots._turn.locked():
                first.wait(0.001)
            later = pool.submit(take, 1)  # there is one, but not for who came last
            first.wait(0.05)
            assert order == []
        asked.result()
        later.result()
    assert order == [2, 1]


def test_pictures_side_by_side_are_those_that_were_given_and_threads_stay_as_they_were(trained):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for index in range(40):
            picture(f"in/{index:02}.png", (17 + index % 3, 20 + index))
        translate(trained, "in")
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(threads)
    model = load_model(trained)
    for path in sorted(Path("in").iterdir()):
        apart = np.asarray(model(Image.open(path))).astype(int) - Image.open(f"out/{path.name}")
        assert np.abs(apart).max() <= 1


def test_the_precision_is_chosen(trained):
    picture("in/a.png", (32, 32))
    translate(trained, "in", "--precision", "bfloat16")
    made = load_model(trained, precision="bfloat16")(Image.open("in/a.png"))
    assert np.abs(np.asarray(Image.open("out/a.png")).astype(int) - made).max() <= 1
    assert "'half' is not one of" in translate(trained, "in", "--precision", "half", code=2).output


class Same(Generator):
    """Gives back what it is given."""

    def build(self, channels_in, channels_out):
        class Unchanged(torch.nn.Conv2d):
            def forward(self, images):
                return images + 0 * self.weight.sum()

        return Unchanged(1, 1, 1)


@pytest.fixture(scope="module", params=[1, 3])
def unchanging(request, tmp_path_factory):
    """A model of so many channels that changes nothing."""
    recipe = tiny_recipe()
    dataset = recipe.dataset.model_copy(update={"channels": request.param})
    recipe = recipe.model_copy(update={"generator": Same(), "dataset": dataset})
    trainer = build_trainer(recipe, CPU, make_plan(recipe).images)
    path = tmp_path_factory.mktemp("same") / "model.safetensors"
    save_model(path, trainer, recipe, {"step": 0})
    return load_model(path, components=[Same])


def test_a_thousand_values_of_sixteen_bits_go_in_and_come_out(unchanging):
    values = np.linspace(0, 65535, 1000).astype(np.uint16).reshape(20, 50)
    Path("in").mkdir()
    given = np.stack([values] * 3, -1) if unchanging.channels == 3 else values
    for name in ("in/deep.png", "in/deep.tif"):
        cv2.imwrite(name, given)
    options = Options()
    summary = translate_files(unchanging, ["in"], Path("out"), options, Display(quiet=True))
    assert (summary.done, summary.failed) == (2, {})
    for name in ("out/deep.png", "out/deep.tif"):
        assert np.array_equal(cv2.imread(name, cv2.IMREAD_UNCHANGED), given)


def test_a_model_of_one_channel_takes_colour_and_makes_grey(unchanging):
    picture("in/a.png", (9, 7))
    picture("in/g.png", (9, 7), mode="L")
    translate_files(unchanging, ["in"], Path("out"), Options(), Display(quiet=True))
    modes = {1: ("L", "L"), 3: ("RGB", "RGB")}[unchanging.channels]
    with Image.open("out/a.png") as a, Image.open("out/g.png") as g:
        assert (a.mode, g.mode) == modes
    if unchanging.channels == 1:
        with Image.open("in/a.png") as before, Image.open("out/a.png") as after:
            grey = np.asarray(before.convert("L")).astype(int)
            assert np.abs(np.asarray(after) - grey).max() <= 1


def test_a_turned_photograph_is_seen_upright_and_saved_as_it_lay(unchanging):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("in/a.png", (9, 7), exif=exif)
    translate_files(unchanging, ["in/a.png"], Path("out"), Options(), Display(quiet=True))
    with Image.open("in/a.png") as before, Image.open("out/a.png") as after:
        assert after.size == (9, 7)
        assert after.getexif()[0x0112] == 6
        if unchanging.channels == 3:
            assert np.array_equal(np.asarray(before), np.asarray(after))


def test_two_pictures_of_one_place_are_refused_from_python_too(unchanging):
    picture("in/a.png")
    picture("other/a.png")
    with pytest.raises(RecipeError, match="would both become"):
        translate_files(unchanging, ["in", "other"], Path("out"), Options(), Display(quiet=True))
