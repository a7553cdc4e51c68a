"""What the processes of a training tell each other; here two threads that share a store."""

import os
import threading

import pytest
import torch
from torch import distributed
from toys import tiny_recipe

from imgtrans.distributed import GoneError, Ranks, joining, living
from imgtrans.distributed.group import Group, OverError
from imgtrans.distributed.joining import joined, refuse_uneven
from imgtrans.monitor.clock import Stop
from imgtrans.monitor.display import Display
from imgtrans.problems import ImgtransError, ProcessError, RecipeError
from imgtrans.resuming import check_environment
from imgtrans.testing import run_imgtrans
from imgtrans.testing.command_line import Outcome

CPU = torch.device("cpu")


def two(store=None, restarts=0):
    store = store or distributed.HashStore()
    return [Group(CPU, Ranks(rank, 2), store, restarts) for rank in range(2)]


def both(first, second):
    """What two functions return or raise that run side by side."""
    found = [None, None]

    def one(index, function):
        try:
            found[index] = function()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found[index] = error

    threads = [threading.Thread(target=one, args=each) for each in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def refuse(text):
    raise ImgtransError(text)


def test_the_others_wait_for_what_the_first_decides():
    first, other = two()
    found = both(lambda: first.tell("recipe", {"steps": 4}), lambda: other.ask("recipe"))
    assert found == [None, {"steps": 4}]


def test_the_others_end_with_the_exit_code_of_the_first():
    first, other = two()
    _, error = both(lambda: first.over(75), lambda: other.ask("recipe"))
    assert isinstance(error, OverError)
    assert error.exit_code == 75
    assert other.last_word() == 75


def test_the_others_wait_until_the_first_has_done_what_only_it_does_after_a_step():
    first, other = two()
    first.passed(3)
    other.wait(3)
    first.over(1)
    with pytest.raises(OverError):
        other.wait(4)


@pytest.fixture
def watch(monkeypatch):
    """Looks at every call, at counts that the test appends."""
    monkeypatch.setattr(living, "SECONDS", 0)
    counts = [0]
    return living.Watch(1, lambda: counts[-1]), counts


def test_a_process_that_shows_life_now_and_then_is_waited_for_without_end(watch):
    process, counts = watch
    for number in range(living.LOOKS * 5):
        process.look()
        if number % (living.LOOKS - 1) == 0:
            counts.append(number)


def test_a_process_that_has_fallen_silent_is_gone_after_so_many_looks(watch):
    process, _ = watch
    for _ in range(living.LOOKS):
        process.look()
    with pytest.raises(GoneError, match="process 1 of this training has shown no sign of life"):
        process.look()


def test_who_waits_for_a_process_that_shows_no_life_says_which(monkeypatch):
    monkeypatch.setattr(living, "SECONDS", 0)
    first, other = two()
    with pytest.raises(GoneError, match="process 0 of this training has shown no sign of life"):
        other.ask("recipe")
    with pytest.raises(GoneError, match="process 1 of this training has shown no sign of life"):
        first.together("opened", lambda: None)


def test_a_process_shows_life_until_it_leaves(monkeypatch):
    monkeypatch.setattr(living, "SECONDS", 0.001)
    signs, enough = [], threading.Event()

    def sign(number):
        signs.append(number)
        if number == 9:
            enough.set()

    with living.shown(sign):
        (thread,) = (each for each in threading.enumerate() if each.name == "signs of life")
        assert enough.wait(30)
    thread.join(30)
    assert signs[:10] == list(range(10))
    assert not thread.is_alive()


def test_what_only_another_process_cannot_do_is_said_by_the_first():
    first, other = two()

    def lead():
        try:
            first.together("open", lambda: None)
        except ImgtransError as error:
            first.over(error.exit_code)
            raise

    said, ended = both(lead, lambda: other.together("open", lambda: refuse("no such image")))
    assert str(said) == "process 1: no such image"
    assert isinstance(ended, OverError)


def test_what_no_process_can_do_is_said_once():
    first, other = two()

    def lead():
        try:
            first.together("open", lambda: refuse("no such image"))
        except ImgtransError as error:
            first.over(error.exit_code)
            raise

    said, ended = both(lead, lambda: other.together("open", lambda: refuse("no such image")))
    assert str(said) == "no such image"
    assert isinstance(ended, OverError)


def test_images_that_another_process_leaves_out_are_told_to_the_first():
    first, other = two()
    assert first.left_out() == []
    other.leave_out(["a.png is damaged"])
    other.leave_out(["a.png is damaged", "b.png is damaged"])
    assert first.left_out() == ["a.png is damaged", "b.png is damaged"]


def test_processes_that_are_started_again_know_their_run_and_nothing_else_of_before():
    store = distributed.HashStore()
    first, _ = two(store)
    first.begin("runs/tiny")
    first.over(1)
    again, other = two(store, restarts=1)
    assert str(again.begun()) == "runs/tiny"
    assert other.failure() == ""
    again.tell("recipe", 1)
    assert other.ask("recipe") == 1
    assert two(distributed.HashStore(), restarts=1)[0].begun() is None


def test_a_run_that_torchrun_begins_is_a_new_one():
    store = distributed.HashStore()
    two(store)[0].begin("runs/tiny")
    assert two(store)[0].begun() is None


def test_where_torchrun_is_gone_a_process_stops_after_the_step(monkeypatch):
    alone = Group(CPU, Ranks(), distributed.HashStore())
    stop = Stop()
    assert not alone.stops(stop, 1)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert alone.stops(stop, 2)
    assert stop.exit_code == 143
    with pytest.raises(GoneError, match="torchrun, which has started this process, is gone"):
        alone.begin("runs/tiny")


@pytest.mark.parametrize(("rank", "error"), [("0", GoneError), ("1", ProcessError)])
@pytest.mark.usefixtures("second", "waiting")
def test_a_process_that_does_not_come_is_waited_for_so_long_and_told(monkeypatch, rank, error):
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(error, match="a process of this training is gone or does not answer"):
        joined("cpu").__enter__()


@pytest.fixture
def second(monkeypatch):
    """As if torchrun had started this process as the second of two."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "0",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture
def waiting(monkeypatch):
    """The store of a torchrun whose other process never comes; it is waited for a second."""
    monkeypatch.setattr(joining, "MINUTES", 0.02)
    server = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    for name, value in {
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(server.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "OMP_NUM_THREADS": "2",  # else meeting would change the threads of this process
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return server


@pytest.mark.usefixtures("second", "waiting")
def test_that_the_first_process_does_not_come_is_said_by_who_is_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    outcome = run_imgtrans("run", "quickstart", "--device", "cpu")
    assert outcome.exit_code == 1
    assert "error: a process of this training is gone or does not answer" in outcome.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("second")
def test_of_several_processes_each_takes_its_own_gpu(monkeypatch):
    with pytest.raises(RecipeError, match="--device cuda:1: of several processes each takes"):
        joined("cuda:1").__enter__()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match="there are 2 processes and 1 GPUs on this machine"):
        joined(None).__enter__()


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("words", [["run", "nowhere.toml"], ["run", "--frobnicate"], ["run"]])
def test_what_every_process_finds_wrong_only_the_first_one_says(words):
    assert run_imgtrans(*words) == Outcome(2, "", "")


@pytest.mark.usefixtures("second")
def test_on_every_machine_one_process_says_what_is_wrong(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")  # the first of a second machine
    assert "nowhere.toml" in run_imgtrans("run", "nowhere.toml").stderr


def test_a_batch_is_shared_evenly():
    refuse_uneven(tiny_recipe(train={"batch_size": 4}), Ranks(0, 2))
    with pytest.raises(RecipeError, match="batch_size = 3 cannot be shared evenly by 2 processes"):
        refuse_uneven(tiny_recipe(train={"batch_size": 3}), Ranks(0, 2))


def test_another_number_of_processes_is_told_once_when_a_run_goes_on(capsys):
    now = {"fingerprint": "a", "data": "", "device": "cpu", "torch": "2", "threads": 1}
    check_environment({**now, "threads": 2}, {**now, "processes": 2}, Display())
    warned = capsys.readouterr().err
    assert warned.count("warning") == 1
    assert "trained by 1 process before and by 2 processes now" in warned
