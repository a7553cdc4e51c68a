"""``unpaired-folders``: three layouts, clear errors, and what happens when images are missing."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from imgtrans_cyclegan import UnpairedFolders
from imgtrans_cyclegan.folders import Download
from PIL import Image
from toys import CPU, tiny_recipe

from imgtrans import DataNotFoundError, ImgtransError, NoHeldOutError
from imgtrans.monitor.display import Display
from imgtrans.monitor.folder import RunFolder
from imgtrans.opening import dry_run_data, find_data
from imgtrans.resuming import find_run
from imgtrans.running import run

DOMAINS = ("summer", "winter")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


def photographs(*folders, count=2, size=(40, 48)):
    for place, folder in enumerate(folders):
        Path(folder).mkdir(parents=True, exist_ok=True)
        for index in range(count + place):
            Image.new("RGB", size, (index, place, 99)).save(Path(folder) / f"{index}.jpg")


def folders(**changes):
    return UnpairedFolders(root="photos", image_size=32, **changes)


def names(images):
    return [images.name(index) for index in range(len(images))]


def test_the_canonical_layout():
    photographs("photos/trainA", "photos/trainB", "photos/testA", "photos/testB")
    images = folders().build("train", DOMAINS)
    assert names(images.x) == ["trainA/0.jpg", "trainA/1.jpg"]
    assert len(images.y) == 3
    assert names(folders().build("test", DOMAINS).x)[0] == "testA/0.jpg"


def test_the_seeds_layout_by_the_domains_names_with_class_folders():
    photographs("photos/summer/summer", "photos/winter/winter", "photos/test_summer/x")
    photographs("photos/test_winter/y")
    assert names(folders().build("train", DOMAINS).x)[0] == "summer/summer/0.jpg"
    assert names(folders().build("test", DOMAINS).y)[0] == "test_winter/y/0.jpg"


def test_keys_in_the_recipe_win_over_other_layouts():
    photographs("photos/trainA", "photos/trainB", "photos/hot", "photos/cold")
    images = folders(train_x="hot", train_y="cold").build("train", DOMAINS)
    assert names(images.x)[0] == "hot/0.jpg"


def test_one_key_without_the_other_says_which_is_missing():
    photographs("photos/hot")
    with pytest.raises(ImgtransError, match="train_x is given without train_y"):
        folders(train_x="hot").build("train", DOMAINS)


def test_missing_folders_say_what_was_looked_for_and_what_is_there():
    photographs("photos/horses")
    with pytest.raises(
        ImgtransError, match=r"(?s)trainA/ and trainB/ or summer/ and winter/.*horses"
    ):
        folders().build("train", DOMAINS)


def test_an_empty_folder_is_an_error():
    photographs("photos/trainA")
    Path("photos/trainB").mkdir()
    with pytest.raises(ImgtransError, match=r"trainB holds no image"):
        folders().build("train", DOMAINS)


def test_two_domains_in_one_folder_are_an_error():
    photographs("photos/all")
    Path("photos/too").symlink_to("all")
    with pytest.raises(ImgtransError, match="summer and winter are the same folder"):
        folders(train_x="all", train_y="too").build("train", DOMAINS)


def test_images_smaller_than_the_crop_are_named_with_their_sizes():
    photographs("photos/trainA", "photos/trainB")
    with pytest.raises(ImgtransError, match=r"(?s)smaller than image_size = 48.*0\.jpg \(40×48\)"):
        folders().model_copy(update={"image_size": 48}).build("train", DOMAINS)


def test_the_root_is_looked_up_under_the_data_folder_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGTRANS_DATA", str(tmp_path / "elsewhere"))
    photographs("elsewhere/photos/trainA", "elsewhere/photos/trainB", "photos/trainA")
    assert folders().prepare(DOMAINS, print).root == str(tmp_path / "elsewhere/photos")


def test_a_missing_root_lists_the_places_and_the_ways_out():
    with pytest.raises(DataNotFoundError, match=r"(?s)data/photos.*set root, or set IMGTRANS_DATA"):
        folders().prepare(DOMAINS, print)


def test_files_that_are_no_images_are_not_taken():
    photographs("photos/trainA", "photos/trainB")
    Path("photos/trainA/notes.txt").write_text("no image")
    Path("photos/trainA/._0.jpg").write_text("left by a file manager")
    assert len(folders().build("train", DOMAINS).x) == 2


def test_upper_case_suffixes_and_deep_folders_are_found():
    photographs("photos/trainA/a/b", "photos/trainB")
    Path("photos/trainA/a/b/0.jpg").rename("photos/trainA/a/b/0.JPG")
    assert names(folders().build("train", DOMAINS).x)[0] == "trainA/a/b/0.JPG"


def test_a_dataset_without_test_folders_shows_training_images(capsys):
    photographs("photos/trainA", "photos/trainB")
    with pytest.raises(NoHeldOutError):
        folders().build("test", DOMAINS)
    data = find_data(tiny_recipe(dataset=folders()), Display(), CPU)
    assert not data.held_out
    assert "sample grids show training images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("there", "keys", "says"),
    [
        (["testA"], {}, "no folders testA/ and testB/ for the test images"),
        ([], {"test_x": "tset", "test_y": "testB"}, "no folders tset/ and testB/"),
        ([], {"test_x": "trainA", "test_y": "trainB"}, "and its test images are the same folder"),
    ],
)
def test_test_folders_that_are_half_there_or_misnamed_are_an_error(there, keys, says):
    photographs("photos/trainA", "photos/trainB", *(f"photos/{name}" for name in there))
    keys |= {"train_x": "trainA", "train_y": "trainB"} if keys else {}
    with pytest.raises(ImgtransError, match=says) as caught:
        folders(**keys).build("test", DOMAINS)
    assert not isinstance(caught.value, NoHeldOutError)


def test_a_layout_is_one_for_both_splits():
    photographs("photos/hot", "photos/cold", "photos/testA", "photos/testB")
    with pytest.raises(NoHeldOutError):
        folders(train_x="hot", train_y="cold").build("test", DOMAINS)


def test_a_domain_inside_the_other_is_an_error():
    photographs("photos/all", "photos/all/winter")
    with pytest.raises(ImgtransError, match=r"all/winter lies inside .*/all, so its images would"):
        folders(train_x="all", train_y="all/winter").build("train", DOMAINS)


def test_linked_folders_are_walked_and_loops_end():
    photographs("photos/trainA/here", "photos/trainB", "elsewhere")
    Path("photos/trainA/there").symlink_to(Path("elsewhere").absolute())
    Path("photos/trainA/loop").symlink_to(Path("photos/trainA").absolute())
    assert names(folders().build("train", DOMAINS).x) == [
        "trainA/here/0.jpg", "trainA/here/1.jpg", *(f"trainA/there/{n}.jpg" for n in range(4)),
    ]  # fmt: skip


def test_hidden_folders_are_left_out():
    photographs("photos/trainA", "photos/trainB", "photos/trainA/.thumbnails")
    assert len(folders().build("train", DOMAINS).x) == 2


def test_a_folder_that_cannot_be_read_is_an_error(monkeypatch):
    photographs("photos/trainA", "photos/trainB")

    def walk(folder, followlinks, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder)))

    monkeypatch.setattr("imgtrans_cyclegan.listing.os.walk", walk)
    with pytest.raises(ImgtransError, match=r"trainA cannot be read: Permission denied"):
        folders().build("train", DOMAINS)


def test_small_images_of_either_domain_are_named():
    photographs("photos/trainA", size=(64, 64))
    photographs("photos/trainB", size=(32, 32))
    with pytest.raises(ImgtransError, match=r"trainB are smaller than image_size = 48"):
        folders().model_copy(update={"image_size": 48}).build("train", DOMAINS)


def test_small_images_are_left_out_as_broken_ones_are_where_the_recipe_allows_it():
    photographs("photos/trainA", "photos/trainB")
    Image.new("RGB", (1, 1)).save("photos/trainA/small.png")
    recipe = tiny_recipe(dataset=folders(broken_images="skip"), train={"steps": 2})
    run(recipe, Display(quiet=True))
    (told,) = RunFolder(Path("runs/tiny")).read("status.json")["left_out"]
    assert "small.png (1×1) is smaller than image_size = 32" in told


def test_a_pipe_called_like_an_image_is_not_waited_for():
    photographs("photos/trainA", "photos/trainB")
    os.mkfifo("photos/trainA/pipe.jpg")
    images = folders().build("train", DOMAINS)
    with pytest.raises(ImgtransError, match=r"pipe\.jpg: cannot be decoded: it is a pipe"):
        images.x[names(images.x).index("trainA/pipe.jpg")]


def test_a_run_on_photographs_ends_well():
    photographs("photos/trainA", "photos/trainB", "photos/testA", "photos/testB")
    recipe = tiny_recipe(dataset=folders(flip=True, load_size=36), train={"steps": 2})
    assert run(recipe, Display(quiet=True)).exit_code == 0


def test_missing_images_fall_back_with_a_warning_nobody_can_miss(capsys):
    recipe = tiny_recipe(dataset=folders(), fallback=tiny_recipe().dataset, train={"steps": 1})
    assert run(recipe, Display(quiet=True)).exit_code == 0
    warning = capsys.readouterr().err
    assert "THE IMAGES OF THIS RECIPE ARE NOT HERE" in warning
    first, *_ = warning.splitlines()
    assert "TRAINING ON GENERATED ONES INSTEAD" in first
    assert "minutes" in warning
    assert "32×32 pixels" in warning
    assert "imgtrans run quickstart" in warning
    assert '"generated": true' in Path("runs/tiny-generated/environment.json").read_text()


def test_the_model_of_a_fallback_run_carries_the_mark():
    from imgtrans import load_model

    recipe = tiny_recipe(dataset=folders(), fallback=tiny_recipe().dataset, train={"steps": 1})
    run(recipe, Display(quiet=True))
    assert load_model("runs/tiny-generated").about["generated"] is True


def test_a_generated_run_is_not_continued_once_the_photographs_are_there(capsys):
    recipe = tiny_recipe(dataset=folders(), fallback=tiny_recipe().dataset, train={"steps": 2})
    run(recipe, Display(quiet=True))
    status = Path("runs/tiny-generated/status.json")
    status.write_text(status.read_text().replace('"done"', '"stopped"'))
    assert find_run(recipe, Display()) is not None
    photographs("photos/trainA", "photos/trainB")
    assert find_run(recipe, Display()) is None
    assert "the named ones are here now" in capsys.readouterr().out


def test_changed_files_refuse_to_resume():
    photographs("photos/trainA", "photos/trainB")
    run(tiny_recipe(dataset=folders(), train={"steps": 1}), Display(quiet=True))
    photographs("photos/trainA", count=5)
    with pytest.raises(ImgtransError, match="files were added, removed or renamed"):
        run(None, Display(quiet=True), resume=Path("tiny"), overrides=["train.steps=2"])


def test_a_moved_folder_is_given_on_resume():
    photographs("photos/trainA", "photos/trainB")
    run(tiny_recipe(dataset=folders(), train={"steps": 1}), Display(quiet=True))
    Path("photos").rename("moved")
    with pytest.raises(DataNotFoundError, match=r"(?s)set root.*if they have moved since"):
        run(None, Display(quiet=True), resume=Path("tiny"), overrides=["train.steps=2"])
    overrides = ["train.steps=2", "dataset.root=moved"]
    assert run(None, Display(quiet=True), resume=Path("tiny"), overrides=overrides).exit_code == 0


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def published(tmp_path):
    """The address of a zip of four folders of images, on a server of this machine."""
    photographs(*(f"site/photos/{name}" for name in ("trainA", "trainB", "testA", "testB")))
    shutil.make_archive("site/photos", "zip", "site", "photos")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory="site")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/photos.zip"
        server.shutdown()
        thread.join()


def test_missing_images_are_downloaded_to_where_they_are_looked_for(published):
    said = []
    nowhere = "http://127.0.0.1:9/photos.zip"
    download = {"addresses": [nowhere, published], "counts": {"trainA": 2, "testB": 5}}
    prepared = folders(download=download).prepare(DOMAINS, said.append)
    assert Path(prepared.root) == Path("data/photos").absolute()
    assert len(prepared.build("train", DOMAINS).y) == 3
    assert nowhere in said[0]
    assert said[-1].endswith("MiB")  # progress


def test_a_download_with_other_counts_is_refused(published):
    download = {"addresses": [published], "counts": {"trainA": 1231}}
    with pytest.raises(ImgtransError, match=r"1,?231"):
        folders(download=download).prepare(DOMAINS, print)


def test_an_address_that_does_not_answer_says_what_to_download_and_where_to_put_it():
    download = {"addresses": ["http://127.0.0.1:9/photos.zip"]}
    with pytest.raises(DataNotFoundError, match=r"(?s)127\.0\.0\.1:9/photos\.zip.*data/photos"):
        folders(download=download).prepare(DOMAINS, print)


def test_a_dry_run_says_what_it_finds_and_downloads_nothing():
    recipe = tiny_recipe(dataset=folders())
    assert "a run would stop here" in dry_run_data(recipe)
    photographs("photos/trainA", "photos/trainB")
    photographs("photos/testA", "photos/testB")
    assert dry_run_data(recipe) == "summer 2 · winter 3 to train on; 2 · 3 held out"


def test_a_download_of_the_wrong_photographs_is_an_error_and_no_fallback_stands_in(published):
    download = Download(addresses=(published,), counts={"trainA": 1231})
    recipe = tiny_recipe(dataset=folders(download=download), fallback=tiny_recipe().dataset)
    with pytest.raises(ImgtransError, match="but 1231 are expected") as caught:
        run(recipe, Display(quiet=True))
    assert not isinstance(caught.value, DataNotFoundError)
    assert not Path("runs").exists()


def test_folders_outside_of_the_root_are_called_by_their_whole_paths(tmp_path):
    photographs("elsewhere/a", "elsewhere/b", "photos/c")
    keys = {"train_x": str(tmp_path / "elsewhere/a"), "train_y": str(tmp_path / "elsewhere/b")}
    images = folders(**keys).build("train", DOMAINS)
    assert images.x.name(0) == f"{tmp_path.as_posix()}/elsewhere/a/0.jpg"
