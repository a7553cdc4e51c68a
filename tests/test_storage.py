"""Disks that are full and folders that change under a run: each is told of, in words that help."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
import torch
from click.testing import CliRunner
from toys import tiny_recipe

from imgtrans import checkpoint
from imgtrans.caches import cache_folder
from imgtrans.checkpoint import CorruptFileError
from imgtrans.cli import main
from imgtrans.data import image_file
from imgtrans.data.flat import Cut
from imgtrans.monitor.display import Display
from imgtrans.monitor.folder import RunFolder
from imgtrans.running import run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder():
    """An open run folder with three steps in its log."""
    with RunFolder.create("tiny") as opened:
        for step in (1, 2, 3):
            opened.log({"step": step})
        yield opened


def steps_in(folder):
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_full_disk_is_told_with_the_path_and_what_is_needed_and_free(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")  # as the system says it: without a name

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space .*: it takes [\d,]+ bytes, [\d,]+ are") as caught:
        checkpoint.write(tmp_path / "file", {"a": torch.zeros(3)}, {})
    assert caught.value.filename == str(tmp_path / "file")


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG])
def test_of_a_quota_or_a_limit_it_is_not_told_what_the_disk_has_free(tmp_path, monkeypatch, number):
    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        checkpoint.write(tmp_path / "file", {"a": torch.zeros(3)}, {})
    assert caught.value.strerror.endswith(": it takes 188 bytes")


def test_a_log_that_cannot_be_written_is_named(folder):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")  # as the system says it: without a name

        def close(self):
            pass

    folder._metrics.close()
    folder._metrics = Full()
    with pytest.raises(OSError, match="No space left on device") as caught:
        folder.log({"step": 4})
    assert caught.value.filename == "runs/tiny/metrics.jsonl"


@pytest.mark.parametrize("how", ["removed", "replaced by a file", "replaced by a folder"])
def test_a_folder_that_is_no_longer_the_one_of_the_run_is_noticed(folder, how):
    assert folder.sync_metrics()
    folder.path.rename("elsewhere")
    if how == "replaced by a file":
        folder.path.write_text("a file")
    elif how == "replaced by a folder":
        folder.path.mkdir()
    with pytest.raises(FileNotFoundError, match="folder was removed or replaced while it ran"):
        folder.sync_metrics()


def test_a_log_that_is_removed_under_a_run_is_told_of_and_begun_anew(folder):
    (folder.path / "metrics.jsonl").unlink()
    assert not folder.sync_metrics()
    folder.log({"step": 4})
    assert folder.sync_metrics()
    assert steps_in(folder) == [4]


def test_a_run_warns_of_a_log_that_is_gone(monkeypatch, capsys):
    log = RunFolder.log

    def removed(self, line):
        log(self, line)
        if line["step"] == 3:
            (self.path / "metrics.jsonl").unlink()

    monkeypatch.setattr(RunFolder, "log", removed)
    recipe = tiny_recipe(train={"steps": 8, "checkpoint_every": 4})
    assert run(recipe, Display(quiet=True)).exit_code == 0
    assert "metrics.jsonl was removed or replaced before step 4" in capsys.readouterr().err
    assert steps_in(RunFolder(Path("runs/tiny"))) == [5, 6, 7, 8]


@pytest.mark.parametrize("damage", [b'{"step": 9}\n', b'{"st\xffp": 2}\n', b"[" * 10_000 + b"\n"])
def test_a_damaged_line_of_the_log_costs_that_line_alone(folder, damage):
    path = folder.path / "metrics.jsonl"
    one, _, three = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one + damage + three)
    assert folder.cut_metrics(3) == 2
    assert steps_in(folder) == [1, 3]


@pytest.mark.parametrize("way", ["view", "crops", "to"])
def test_a_changed_pixel_is_seen_before_it_is_used(tmp_path, way):
    path = tmp_path / "x.images"
    images = [torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (10, 20, 30)]
    image_file.write_file(path, bytes(3 * image_file.KEY), iter(images))
    data = bytearray(path.read_bytes())
    data[image_file.HEAD + 200] ^= 1  # in the second image
    path.write_bytes(data)
    flat = image_file.open_file(path).flat
    assert flat.view(0)[0, 0, 0] == 10
    uses = {
        "view": lambda: flat.view(1),
        "crops": lambda: flat.crops([Cut(1, 0, 0, mirrored=False)], 4),
        "to": lambda: flat.to(torch.device("cpu")),
    }
    with pytest.raises(CorruptFileError, match=r"image 1 in it .* set aside as x\.damaged"):
        uses[way]()
    assert not path.exists() and (tmp_path / "x.damaged").exists()


def test_output_that_cannot_be_written_ends_nothing():
    code = (
        "from imgtrans.monitor.display import Display\n"
        "display = Display()\n"
        "display.say('a line'); display.warn('a warning'); display.say('another')\n"
        "open('lived', 'w').close()\n"
    )
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", code]
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == 0
    assert Path("lived").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *("--help", "show --help", "show quickstart", "list-components", "list-components --json"),
        *("recipes", "schema", "validate quickstart", "copy quickstart mine.toml"),
        *("new-plugin mine --kind loss", "report run"),
    ],
)
def test_a_command_whose_words_find_no_room_says_so(arguments):
    Path("run").mkdir()
    Path("run/recipe.toml").write_text('name = "run"\n')
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "imgtrans", *arguments.split()],
            stdout=full, stderr=-1, text=True, env=environment, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "Input/output error", "recipes/x.toml"), "recipes/x.toml: Input/outp"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError("odd"), "odd"),
    ],
)
def test_what_a_system_refuses_is_told_without_a_traceback(monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("imgtrans.recipe.load_recipe", fail)
    done = CliRunner().invoke(main, ["validate", "quickstart"])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {said}")


def test_an_error_that_nobody_can_read_still_has_its_exit_code():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "imgtrans", "run", "no-such-recipe"]
        assert subprocess.run(command, stdout=full, stderr=full, check=False).returncode == 2


def test_who_has_no_home_keeps_decoded_images_as_long_as_the_process_lasts(monkeypatch):
    def homeless(*_, **__):
        message = "could not determine the home directory"
        raise RuntimeError(message)

    monkeypatch.delenv("IMGTRANS_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_path", homeless)
    assert cache_folder("images").is_absolute()
    assert cache_folder("images") == cache_folder("images")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_: Path("~/.cache/imgtrans"))
    assert cache_folder("images").is_absolute()
