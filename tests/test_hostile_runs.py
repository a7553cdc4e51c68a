"""Run folders that somebody else has made: nothing in them is waited for, or leads elsewhere."""

import os
from pathlib import Path

import pytest
from pages import fabricate, words_of
from toys import tiny_recipe

from imgtrans import ImgtransError, checkpoint, load_model
from imgtrans.monitor import crash
from imgtrans.monitor.comparing import refuse_foreign, write_comparison
from imgtrans.monitor.display import Display
from imgtrans.monitor.folder import APPENDED, FOLDERS, RunFolder, unfinished
from imgtrans.monitor.report import write_report
from imgtrans.outcome import NonFiniteError
from imgtrans.running import run
from imgtrans.testing import run_imgtrans

NESTED = "[" * 100_000
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(steps=1):
    run(tiny_recipe(train={"steps": steps}), Display(quiet=True))
    return Path("runs/tiny")


def longer(folder):
    overrides = ["train.steps=2"]
    return run(None, Display(quiet=True), resume=folder, overrides=overrides).exit_code


def pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path):
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, endless])
def test_a_checkpoint_that_never_ends_is_set_aside_and_the_one_before_used(make, capsys):
    folder = trained()
    make(folder / "checkpoints" / checkpoint.name_of(9))
    with pytest.raises(ImgtransError, match=r"step-00000009\.\w+ is no file of .* a pipe or a dev"):
        load_model(folder)
    assert longer(folder) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "it is a pipe or a device; set aside as step-00000009.safetensors.damaged" in told
    assert checkpoint.step_of(checkpoint.found(folder / "checkpoints")[0]) == 2


@pytest.mark.parametrize("make", [pipe, endless, lambda path: path.write_text(NESTED)])
def test_what_a_run_tells_of_itself_is_as_if_missing_where_it_makes_no_sense(make):
    folder = trained()
    for name in ("status.json", "environment.json"):
        make(folder / name)
    assert longer(folder) == 0
    assert RunFolder(folder).read("status.json")["state"] == "done"


@pytest.mark.parametrize("make", [pipe, endless, lambda path: path.write_text("x = " + NESTED)])
def test_a_run_whose_recipe_makes_no_sense_is_of_no_recipe(make):
    Path("runs/tiny").mkdir(parents=True)
    make(Path("runs/tiny/recipe.toml"))
    assert unfinished("tiny") is None


@pytest.mark.parametrize("make", [pipe, endless])
def test_pages_wait_for_nothing(tmp_path, make):
    folders = []
    for name in ("one", "two"):
        Path(name).mkdir()
        folders.append(fabricate(tmp_path / name))
        for path in [*folders[-1].glob("*.*"), *(folders[-1] / "samples").iterdir()]:
            make(path)
        assert "not started" in words_of(write_report(folders[-1]).read_text(encoding="utf-8"))
    assert write_comparison(folders, tmp_path / "page.html").exists()
    make(tmp_path / "page.html")
    with pytest.raises(ImgtransError, match="is no page of imgtrans"):
        refuse_foreign(tmp_path / "page.html")


@pytest.mark.parametrize("name", ["metrics.jsonl", "scores.jsonl"])
@pytest.mark.parametrize("make", [pipe, endless])
def test_a_log_that_is_no_file_is_refused(name, make):
    folder = trained()
    make(folder / name)
    with pytest.raises(ImgtransError, match=rf"{name} is a (pipe or a device|link to /dev/zero)"):
        longer(folder)


@pytest.mark.parametrize("name", [*FOLDERS, *APPENDED])
def test_a_link_out_of_a_run_folder_is_refused_and_nothing_is_done_at_its_end(name):
    folder, outside = trained(), Path("outside").absolute()
    if (folder / name).exists():
        (folder / name).rename(folder / "away")
    if "." not in name:
        outside.mkdir()
        (outside / ".file.tmp").touch()
    (folder / name).symlink_to(outside)
    with pytest.raises(ImgtransError, match=rf"{name} is a link to .*/outside, and a run writes"):
        longer(folder)
    assert [path.name for path in outside.rglob("*")] == ([] if "." in name else [".file.tmp"])


def test_a_crash_leaves_nothing_at_the_end_of_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run/crash").mkdir(parents=True)
    (tmp_path / "run/crash/step-00000003").symlink_to("../../outside")
    with pytest.raises(ImgtransError, match="step-00000003 is a link to"):
        crash.leave(tmp_path / "run", NonFiniteError("no", 3), None, None)
    assert [*(tmp_path / "outside").iterdir()] == []


def test_a_link_that_has_the_name_of_a_half_written_file_leads_nobody_elsewhere(tmp_path):
    folder, outside = trained(), tmp_path / "outside"
    outside.write_text("mine")
    names = ("report.html", "status.json", "scores.jsonl")
    for name in names:
        (folder / f".{name}.{os.getpid()}.tmp").symlink_to(outside)
    write_report(folder)
    for name in names[1:]:
        checkpoint.write_bytes(folder / name, b"{}")
    assert outside.read_text() == "mine"
    assert not any((folder / name).is_symlink() for name in names)


def test_a_file_of_ours_that_is_too_large_to_be_one_is_as_if_missing(tmp_path):
    with (tmp_path / "status.json").open("wb") as file:
        file.truncate(10**12)
    assert RunFolder(tmp_path).read("status.json") == {}


def test_everything_that_a_run_leaves_where_it_is_written_is_looked_at_first(tmp_path):
    metrics = {"content": {"use": "metrics/content"}}
    run(tiny_recipe(train={"steps": 1}, metric=metrics), Display(quiet=True))
    assert run_imgtrans("evaluate", "runs/tiny", "--quiet").exit_code == 0
    names = {path.name for path in Path("runs/tiny").iterdir()}
    whole = {"environment.json", "figures.json", "model.safetensors"}  # put in place when whole
    whole |= {"recipe.toml", "report.html", "status.json"}
    assert names == {*FOLDERS, *APPENDED} - {"crash"} | whole


def test_a_run_folder_may_itself_be_a_link_and_hold_links_to_what_is_in_it():
    folder = trained()
    Path("runs").rename("large-disk")
    Path("runs").symlink_to("large-disk")
    (folder / "metrics.jsonl").rename(folder / "log")
    (folder / "metrics.jsonl").symlink_to("log")
    assert longer(folder) == 0
