"""Decoded images are kept for later runs, and never served once they have changed."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import torch
from filelock import Timeout
from test_data import Numbered, all_batches, same
from toys import tiny_recipe

from imgtrans import Images, ImgtransError, RecipeError
from imgtrans.caches import cache_folder
from imgtrans.data import HeldOutImages, held_out, image_file, keeping, open_store, open_training
from imgtrans.data.flat import Broken
from imgtrans.data.reading import every
from imgtrans.data.store import loudly


@dataclass
class Stamped(Numbered):
    """Images with stamps, which note when they are read; a stamp also changes the pixels."""

    stamps: dict = field(default_factory=dict)
    reads: list = field(default_factory=list, compare=False)

    def __getitem__(self, index):
        self.reads.append(index)
        image = super().__getitem__(index)
        image[1] += self.stamps.get(index, 0)
        return image

    def stamp(self, index):
        return str(self.stamps.get(index, 0))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGTRANS_CACHE", str(tmp_path))
    return tmp_path / "images"


def opened(x, y=None, cache="file", warn=lambda text: None, progress=None, **changes):
    recipe = tiny_recipe(train={"steps": 6, "batch_size": 3, "cache": cache, "workers": 0})
    settings = {"load_size": 40, "flip": True, **changes}
    dataset = recipe.dataset.model_copy(update=settings)
    recipe = recipe.model_copy(update={"dataset": dataset})
    images = Images(x, y or Stamped(5, label="y"))
    return open_training(recipe, images, progress or (lambda *_: lambda: None), warn)


def files(folder):
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def test_a_second_run_reads_no_image_and_sees_the_same():
    first = all_batches(opened(Stamped(7)))
    again = Stamped(7)
    assert same(first, all_batches(opened(again)))
    assert same(first, all_batches(opened(Stamped(7), cache="memory")))
    assert again.reads == []


def test_a_changed_image_is_read_again_and_no_other():
    opened(Stamped(7))
    changed = Stamped(7, stamps={2: 9})
    batches = all_batches(opened(changed))
    assert set(changed.reads) == {2}
    assert same(batches, all_batches(opened(Stamped(7, stamps={2: 9}), cache="memory")))


@pytest.mark.parametrize("count", [6, 9])
def test_added_and_removed_images_are_noticed_and_the_others_stay(count):
    opened(Stamped(7))
    now = Stamped(count)
    batches = all_batches(opened(now))
    assert set(now.reads) == set(range(7, count))
    assert same(batches, all_batches(opened(Stamped(count), cache="memory")))


@dataclass
class Moved(Stamped):
    def name(self, index):
        return super().name(index + (index > 2))

    def __getitem__(self, index):
        return super().__getitem__(index + (index > 2))


def test_images_that_moved_in_the_list_are_found(folder):
    opened(Stamped(7))
    kept = [image_file.open_file(path) for path in folder.glob("*.images")]
    moved = Moved(6)
    keys = [image_file.key(moved, index) for index in range(6)]
    found = next(each for each in kept if len(each.flat) == 7)
    assert all(torch.equal(found.find(key, at), moved[at]) for at, key in enumerate(keys))


def test_broken_images_that_are_left_out_are_remembered():
    def broken():
        return Stamped(6, broken=(2, 3))

    first = opened(broken(), broken_images="skip")
    again = broken()
    second = opened(again, broken_images="skip")
    assert second.broken == first.broken == ["x/2.png is broken", "x/3.png is broken"]
    assert again.reads == []
    assert same(all_batches(first), all_batches(second))


@dataclass
class Failing(Stamped):
    """A disk that fails now."""

    def __getitem__(self, index):
        if index == 2:
            message = "x/2.png: the disk fails"
            raise ImgtransError(message) from OSError(errno.EIO, "I/O error")
        return super().__getitem__(index)


def test_an_image_that_could_not_be_read_for_a_passing_reason_is_tried_again(monkeypatch):
    assert opened(Failing(6), broken_images="skip").broken == ["x/2.png: the disk fails"]
    monkeypatch.setattr(Failing, "__getitem__", Stamped.__getitem__)
    mended = Failing(6)
    assert opened(mended, broken_images="skip").broken == []
    assert set(mended.reads) == {2}


def test_a_broken_image_that_may_not_be_left_out_leaves_no_file(folder):
    with pytest.raises(ImgtransError, match=r"x/2\.png is broken"):
        opened(Stamped(6, broken=(2,)))
    assert files(folder) == []


@dataclass
class Interrupted(Stamped):
    def __getitem__(self, index):
        if index == 3 and len(self.reads) > 6:  # behind the few that are judged by
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_an_interrupted_run_leaves_no_file(folder):
    with pytest.raises(KeyboardInterrupt):
        opened(Interrupted(7))
    assert files(folder) == []


def cut_off(data):
    return data[:-9]


def changed_at_the_end(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def changed_in_the_head(data):
    return data.replace(b'"images": 7', b'"images": 6')


@pytest.mark.parametrize(
    "damage",
    [cut_off, changed_at_the_end, changed_in_the_head, lambda data: b"", lambda data: b"{"],
)
def test_a_damaged_file_is_set_aside_loudly_and_made_again(folder, damage):
    whole = all_batches(opened(Stamped(7), Stamped(7, label="y")))
    for path in folder.glob("*.images"):
        path.write_bytes(damage(path.read_bytes()))
    said = []
    assert same(whole, all_batches(opened(Stamped(7), Stamped(7, label="y"), warn=said.append)))
    assert len(said) == 2
    assert all("is damaged" in line and "set aside as" in line for line in said)
    assert [name.rpartition(".")[2] for name in files(folder)].count("damaged") == 2
    again = Stamped(7)
    opened(again, Stamped(7, label="y"))
    assert again.reads == []


def damage_one_of_seven(folder):
    """Keep seven images in a file, and damage the one of index 4."""
    opened(Stamped(7))
    (path,) = (each for each in folder.glob("*.images") if b'"images": 7' in each.read_bytes())
    data = bytearray(path.read_bytes())
    data[image_file.HEAD + image_file.open_file(path).flat.places["offset"][4]] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_damaged_in_a_file_that_training_reads_is_told_and_read_again(
    folder, monkeypatch, capfd, workers
):
    monkeypatch.setattr(keeping, "has_room", lambda *_: False)
    monkeypatch.setattr(keeping, "fits_in_memory", lambda _: False)
    monkeypatch.setattr(keeping, "JUDGING_SECONDS", -1.0)  # so it is not seen as all are judged
    whole = all_batches(opened(Stamped(8), cache="none"))
    damage_one_of_seven(folder)
    training = opened(Stamped(8), cache="auto", warn=loudly)
    assert not training.cached
    assert capfd.readouterr().err == ""
    assert same(whole, all_batches(replace(training, workers=workers)))
    (told,) = capfd.readouterr().err.splitlines()
    assert told.startswith("warning: ")
    assert "is damaged: image 4 in it is not what was written; set aside as" in told


@pytest.mark.parametrize("cache", ["auto", "file"])
@pytest.mark.parametrize("helpers", [0, 2])
def test_an_image_damaged_in_a_file_that_has_to_follow_a_change_is_told_and_read_again(
    folder, monkeypatch, cache, helpers
):
    monkeypatch.setattr(keeping, "PAYS_SECONDS", -1.0)
    monkeypatch.setattr(keeping, "cores", lambda: helpers)
    monkeypatch.setattr(keeping, "JUDGING_SECONDS", -1.0)  # so it is not seen as all are judged
    whole = all_batches(opened(Stamped(8), cache="none"))
    damage_one_of_seven(folder)
    said = []
    assert same(whole, all_batches(opened(Stamped(8), cache=cache, warn=said.append)))
    (told,) = said
    assert "is damaged: image 4 in it is not what was written; set aside as" in told


def test_images_without_stamps_are_kept_in_no_file(folder):
    with pytest.raises(RecipeError, match=r'cache = "file".*no stamps.*"auto" or "memory"'):
        opened(Numbered(4))
    assert opened(Numbered(4), cache="auto").cached
    assert not folder.exists()


@pytest.mark.parametrize(("pays", "there"), [(-1.0, 2), (1e9, 0)])
def test_auto_keeps_in_a_file_what_takes_long_to_read(folder, monkeypatch, pays, there):
    monkeypatch.setattr(keeping, "PAYS_SECONDS", pays)
    monkeypatch.setattr(keeping, "cores", lambda: 0)
    assert opened(Stamped(7), cache="auto").cached
    assert len(files(folder)) == there


def test_auto_follows_changes_of_images_that_it_has_in_a_file(folder):
    opened(Stamped(7))
    opened(Stamped(7, stamps={1: 1}), cache="auto")
    again = Stamped(7, stamps={1: 1})
    assert opened(again, cache="auto").cached
    assert again.reads == []


def test_images_that_fit_nowhere_are_read_when_they_are_needed(folder, monkeypatch):
    monkeypatch.setattr(keeping, "PAYS_SECONDS", -1.0)
    monkeypatch.setattr(keeping, "CACHE_SHARE", 0.0)
    assert not opened(Stamped(7), cache="auto").cached
    assert not folder.exists()


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_and_memory_takes_its_place(monkeypatch):
    monkeypatch.setattr(keeping, "PAYS_SECONDS", -1.0)
    monkeypatch.setattr(keeping, "cores", lambda: 0)
    monkeypatch.setattr(keeping, "write_file", full)
    said = []
    assert opened(Stamped(7), cache="auto", warn=said.append).cached
    assert "cannot be kept" in said[0] and "No space left" in said[0]
    with pytest.raises(ImgtransError, match=r"(?s)No space left.*make room.*IMGTRANS_CACHE"):
        opened(Stamped(7))


def test_one_process_fills_a_file_and_another_waits_for_it(monkeypatch):
    class Held:
        """Held by another process, which lets go when it has filled the file."""

        def __init__(self, path):
            self.path = path

        def acquire(self, timeout=None):
            if timeout is not None:
                raise Timeout(str(self.path))
            monkeypatch.undo()
            monkeypatch.setenv("IMGTRANS_CACHE", str(self.path.parent.parent))
            opened(Stamped(7))
            return contextlib.nullcontext()

    monkeypatch.setattr(keeping, "FileLock", Held)
    said, waiting = [], Stamped(7)
    assert opened(waiting, warn=said.append).cached
    assert waiting.reads == list(range(7))  # a few to judge by, and no more
    assert "another process is reading the same images" in said[0]


def test_where_files_cannot_be_locked_images_are_kept_in_memory(monkeypatch):
    def unknown(self, *_, **__):
        message = "the file system knows no locks"
        raise NotImplementedError(message)

    monkeypatch.setattr(keeping, "PAYS_SECONDS", 0)
    monkeypatch.setattr(keeping.FileLock, "acquire", unknown)
    said = []
    assert opened(Stamped(7), cache="auto", warn=said.append).cached
    assert "the file system knows no locks" in said[0]
    with pytest.raises(ImgtransError, match="the file system knows no locks"):
        opened(Stamped(7), cache="file")


@pytest.mark.parametrize(
    "changes", [{"load_size": 36}, {"broken_images": "skip"}, {"channels": 1}, {"scene_seed": 1}]
)
def test_other_settings_have_files_of_their_own(folder, changes):
    opened(Stamped(7))
    other = Stamped(7)
    opened(other, **changes)
    assert set(other.reads) == set(range(7))
    assert len(files(folder)) == 4


@pytest.mark.parametrize("what", ["_versions", "_code"])
def test_images_are_read_again_by_another_version_of_what_reads_them(monkeypatch, what):
    opened(Stamped(7))
    monkeypatch.setattr(image_file, what, lambda *_: "another")
    other = Stamped(7)
    opened(other)
    assert set(other.reads) == set(range(7))


def test_files_that_no_run_has_used_for_long_are_deleted(folder):
    opened(Stamped(7), load_size=36)
    long_ago = time.time() - 31 * 86_400
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    opened(Stamped(7))
    assert len(files(folder)) == 2
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    opened(Stamped(7))  # uses them
    opened(Stamped(7), load_size=36)
    assert len(files(folder)) == 4


def test_what_a_killed_process_left_is_deleted(folder):
    opened(Stamped(7))
    for path in list(folder.glob("*.images")):
        path.rename(path.with_name(f".{path.name}.123.tmp"))
    opened(Stamped(7))
    assert len(files(folder)) == 2


@dataclass
class Mixed(Stamped):
    def __getitem__(self, index):
        image = super().__getitem__(index)
        return (image.int() * 257).to(torch.uint16) if index % 2 else image


def test_eight_and_sixteen_bit_images_are_kept_in_one_file():
    memory = all_batches(opened(Mixed(6), cache="memory"))
    for _ in range(2):
        assert same(memory, all_batches(opened(Mixed(6))))


def test_held_out_images_are_kept_for_later_runs_too(monkeypatch):
    monkeypatch.setattr(keeping, "PAYS_SECONDS", -1.0)
    monkeypatch.setattr(keeping, "cores", lambda: 0)
    dataset = tiny_recipe().dataset
    first = HeldOutImages(Images(Stamped(4, 32, 32), Stamped(4, 32, 32, label="y")), dataset)
    first.keep()
    again = Stamped(4, 32, 32)
    second = HeldOutImages(Images(again, Stamped(4, 32, 32, label="y")), dataset)
    second.keep()
    pairs = zip(first.batches(0, 3), second.batches(0, 3), strict=True)
    assert all(torch.equal(one.images, two.images) for one, two in pairs)
    assert again.reads == []


def test_a_few_images_are_taken_from_a_file_that_is_there():
    opened(Stamped(7))
    dataset = tiny_recipe().dataset.model_copy(update={"load_size": 40, "flip": True})
    now = Stamped(7, stamps={0: 1})
    store = open_store(now, dataset)
    assert held_out((store, store), 3, 32).x.shape == (3, 3, 32, 32)
    assert set(now.reads) == {0}  # which has changed


def test_of_a_damaged_file_that_a_few_images_are_taken_from_it_is_told(folder):
    damage_one_of_seven(folder)
    dataset = tiny_recipe().dataset.model_copy(update={"load_size": 40, "flip": True})
    now, said = Stamped(7), []
    store = open_store(now, dataset, warn=said.append)
    held_out((store,) * 2, 7, 32)
    (told,) = said
    assert "is damaged: image 4 in it is not what was written; set aside as" in told
    assert {4, 5, 6} <= {*now.reads}  # nothing more is taken from it


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_who_wants_no_file_gets_none(folder, monkeypatch, cache):
    monkeypatch.setattr(keeping, "PAYS_SECONDS", -1.0)
    monkeypatch.setattr(keeping, "cores", lambda: 0)
    all_batches(opened(Stamped(7), cache=cache))
    assert not folder.exists()


def store_of(images, **changes):
    dataset = tiny_recipe().dataset.model_copy(update={"load_size": 40, **changes})
    return open_store(images, dataset)


def test_processes_read_the_same_images_in_the_same_order():
    ticks = []
    read = every(store_of(Numbered(40)), range(40), 2, lambda: ticks.append(1))
    assert all(torch.equal(image, Numbered(40)[at]) for at, image in enumerate(read))
    assert len(ticks) == 40


def test_an_image_that_a_process_cannot_read_is_named():
    broken = Numbered(6, broken=(2,))
    read = list(every(store_of(broken, broken_images="skip"), range(6), 2, lambda: None))
    assert read[2] == Broken("x/2.png is broken")
    with pytest.raises(ImgtransError, match=r"^x/2\.png is broken$"):
        list(every(store_of(broken), range(6), 2, lambda: None))


@dataclass
class Killing(Numbered):
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_as_it_reads_is_told():
    with pytest.raises(ImgtransError, match="a process that reads images is gone"):
        list(every(store_of(Killing(6)), range(6), 1, lambda: None))


@dataclass
class Endless(Numbered):
    def __getitem__(self, index):
        time.sleep(0.05)
        return super().__getitem__(0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads read")
def test_processes_that_read_end_with_a_main_process_that_is_killed(tmp_path):
    program = """
import sys
from test_keeping import Endless, store_of
from imgtrans.data.reading import every
for _ in every(store_of(Endless(100_000)), range(100_000), 2, lambda: None):
    print("reading", flush=True)
"""
    here = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as main:
        main.stdout.readline()
        readers = psutil.Process(main.pid).children()
        main.kill()
    assert len(readers) == 2
    _, left = psutil.wait_procs(readers, timeout=30)
    for each in left:
        each.kill()
    assert left == []


def test_the_folder_of_caches_is_the_users_unless_the_environment_names_one(monkeypatch, tmp_path):
    assert cache_folder("images") == tmp_path / "images"
    monkeypatch.delenv("IMGTRANS_CACHE")
    assert cache_folder("images").parts[-2:] == ("imgtrans", "images")


def test_progress_is_shown_only_where_something_is_read():
    shown = []

    def progress(label, total):
        shown.append((label, total))
        return lambda: None

    for _ in range(2):
        opened(Stamped(7), progress=progress)
    assert shown == [("reading images", 12)]
