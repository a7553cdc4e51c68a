"""Thousands of inputs that are nearly right: each is taken, or refused by an error of ours.

Each kind goes through a process of its own, so that a crash, a hang and memory are seen from
outside; the inputs are the same in every run.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import tomli_w
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from PIL import Image

from imgtrans import checkpoint, state
from imgtrans.building import build_trainer
from imgtrans.cli import main
from imgtrans.importing.reading import read_weights
from imgtrans.inference import load_model, save_model
from imgtrans.pictures.decoding import DecodingError, decode, image_size, read
from imgtrans.plan import make_plan
from imgtrans.problems import ImgtransError
from imgtrans.recipe import load_recipe, to_toml
from imgtrans.recipe.reading import check
from imgtrans.saving import refuse_other_pools
from imgtrans.testing import tiny_recipe
from imgtrans.training import train_step

from .mutations import (
    PIECES,
    TOML_PIECES,
    changed_bytes,
    changed_tables,
    command_lines,
    overrides,
    pictures,
    signed,
    without_none,
)
from .promises import Figure, promise
from .workers import _context

ALONE = 1000
"""Inputs that one process goes through."""
SECONDS = 10
"""That one input may take."""
MOST_MIB = 1500
"""That a process may come to need beside what it begins with."""
Kind = Callable[[Path], tuple[st.SearchStrategy[Any], Callable[[Any], object]]]


class TooLongError(BaseException):
    """An input has taken longer than any may."""


def recipes(place: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], object]]:
    """Recipe files; what is taken is saved and read back as the same."""
    file = place / "fuzzed.toml"
    texts = [to_toml(tiny_recipe()).encode(), b'extends = "quickstart"\n[train]\nsteps = 2\n']
    shipped = ["quickstart", "cyclegan", "cyclegan_paper"]
    tables = [tiny_recipe().tables(), *(load_recipe(name).tables() for name in shipped)]

    def as_toml(tables: dict[str, Any]) -> bytes:
        try:
            return tomli_w.dumps(without_none(tables)).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError):
            return b"x = 1"

    def try_one(content: bytes) -> None:
        file.write_bytes(content)
        recipe = load_recipe(file)
        file.write_text(to_toml(recipe))
        assert load_recipe(file) == recipe

    return changed_bytes(texts, TOML_PIECES) | changed_tables(tables).map(as_toml), try_one


def set_options(place: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], object]]:
    """``--set`` options of a recipe."""
    file = place / "tiny.toml"
    file.write_text(to_toml(tiny_recipe()))
    known = overrides(tiny_recipe().tables())
    return st.lists(known, min_size=1, max_size=2), lambda given: load_recipe(file, given)


def commands(place: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], object]]:
    """Command lines, up to where training begins."""
    folder = place / "words"
    folder.mkdir()
    write_state(folder)
    Image.new("RGB", (9, 9)).save(folder / "picture.png")
    (folder / "pictures").mkdir()
    (folder / "plugin.py").write_text("x = 1\n")
    os.chdir(folder)
    before = set(place.iterdir())
    stopped = ImgtransError("this would take long")
    for name in ("running.run", "benchmarking.command.benchmark", "exporting.export_model"):
        mock.patch(f"imgtrans.{name}", side_effect=stopped).start()

    def try_one(words: list[str]) -> None:
        done = CliRunner().invoke(main, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code in {0, 1, 2}, done.output
        told = "rror: " in done.output or "Usage: " in done.output
        assert told or not done.exit_code, done.output
        assert "Traceback" not in done.output, done.output
        others = {path.name for path in set(place.iterdir()) - before} - {"cache"}
        assert not others, f"written elsewhere: {others}"
        if done.exit_code:
            raise ImgtransError(done.output)

    return command_lines(), try_one


def images(place: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], object]]:
    """Picture files, as training and translating read them."""
    file = place / "fuzzed.png"

    def try_one(content: bytes) -> None:
        file.write_bytes(content)
        with contextlib.suppress(DecodingError):
            image_size(file)  # a header may be whole where pixels are not
        stored, pixels = read(file), decode(file, 3)
        height, width = stored.samples.shape[:2]
        assert pixels.shape in {(3, height, width), (3, width, height)}

    return changed_bytes(pictures(), PIECES), try_one


def write_state(folder: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A trained state, a model file, and weights; returns trainer, tensors and description."""
    recipe = tiny_recipe(train={"pool_images": 3})
    trainer = build_trainer(recipe, torch.device("cpu"), make_plan(recipe).images)
    train_step(trainer, *torch.rand(2, 2, 3, 32, 32)).read()
    about = {
        "kind": "checkpoint", "step": 1, "recipe": recipe.tables(), "fingerprint": "x",
        "generated": False, "seconds": 1.5, "best": {"step": 1, "metric": "x", "value": 0.5},
    }  # fmt: skip
    tensors = state.collect(trainer)
    checkpoint.write(folder / "step-00000001.safetensors", tensors, about)
    save_model(folder / "model.safetensors", trainer, recipe, {"step": 1, "generated": False})
    (folder / "tiny.toml").write_text(to_toml(recipe))
    network = trainer.networks["generators.summer_to_winter"].state_dict()
    torch.save(network, folder / "weights.pth")
    torch.save(network, folder / "old.pth", _use_new_zipfile_serialization=False)
    return trainer, tensors, about


def states(place: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], object]]:
    """Checkpoints and model files: with bytes changed, and forged with a SHA-256 that is right."""
    trainer, tensors, about = write_state(place)
    files = [place / "step-00000001.safetensors", place / "model.safetensors"]
    first = checkpoint.read(files[1])
    models = [first.about, {key: about[key] for key in ("kind", "recipe", "step")}]
    fuzzed = place / "fuzzed.safetensors"

    def try_one(content: bytes) -> None:
        fuzzed.write_bytes(content)
        taken = checkpoint.read(fuzzed)
        if taken.about.get("kind") == "checkpoint":
            recipe = check(taken.about["recipe"], "the checkpoint")
            refuse_other_pools(taken.tensors, recipe)
            state.restore(trainer, taken.tensors, taken.about["step"])
            train_step(trainer, *torch.rand(2, 2, 3, 32, 32)).read()
        load_model(fuzzed)

    forged = st.one_of(
        changed_tables([about]).map(lambda told: signed(tensors, told)),
        changed_tables(models).map(lambda told: signed(first.tensors, told)),
        changed_names(tensors).map(lambda changed: signed(changed, about)),
    )
    return changed_bytes([file.read_bytes() for file in files], PIECES) | forged, try_one


@st.composite
def changed_names(draw: st.DrawFn, tensors: dict[str, Any]) -> dict[str, Any]:
    """A state in which some tensors are missing, of another shape or type, or another's."""
    changed, names = dict(tensors), sorted(tensors)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(names))
        match draw(st.sampled_from(("drop", "shape", "type", "swap", "new"))):
            case "drop":
                changed.pop(name, None)
            case "shape":
                changed[name] = torch.zeros(draw(st.lists(st.integers(0, 5), max_size=5)))
            case "type":
                kinds = (torch.int8, torch.bool, torch.float64, torch.float16, torch.complex64)
                changed[name] = tensors[name].to(draw(st.sampled_from(kinds)))
            case "swap":
                changed[name] = tensors[draw(st.sampled_from(names))].clone()
            case "new":
                changed[f"{name}{draw(st.sampled_from('/x.'))}y"] = tensors[name].clone()
    return changed


def weights(place: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], object]]:
    """Files of published weights, which ``imgtrans import`` reads."""
    write_state(place)
    fuzzed, buffer = place / "fuzzed.pth", io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.ones(3)}, "epoch": 3}, buffer)
    files = [(place / name).read_bytes() for name in ("weights.pth", "old.pth")]

    def try_one(content: bytes) -> None:
        fuzzed.write_bytes(content)
        read_weights(fuzzed)

    return changed_bytes([*files, buffer.getvalue()], PIECES), try_one


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Ends what takes too long, whatever it catches."""

    def over(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _go_through(kind: Kind, place: Path, count: int, part: int, answer: Any) -> None:
    """In a process of its own: try so many inputs and send back what was found."""
    torch.set_num_threads(1)
    os.environ["IMGTRANS_CACHE"] = str(place / "cache")
    set_hypothesis_home_dir(place / "cache")
    os.chdir(place)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # where the C libraries of pictures speak
    strategy, try_one = kind(place)
    found: dict[str, str] = {}
    tally = {"taken": 0, "refused": 0, "broken": 0, "slowest": 0.0}

    @seed(part)
    @settings(
        max_examples=count, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(strategy)
    def go(given: Any) -> None:
        began = time.perf_counter()
        try:
            with bounded():
                try_one(given)
            tally["taken"] += 1
        except ImgtransError:
            tally["refused"] += 1
        except (Exception, TooLongError) as error:  # noqa: BLE001 - each is a broken promise
            tally["broken"] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            found.setdefault(key, f"{key}: {str(error)[:300]} of {str(given)[:300]!r}")
        tally["slowest"] = max(tally["slowest"], time.perf_counter() - began)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    go()
    tally["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if tally["memory"] > MOST_MIB:
        found["memory"] = f"it took {tally['memory']:.0f} MiB"
    answer.send((list(found.values()), tally))


def fuzzed(kind: Kind, place: Path, count: int) -> Figure:
    """What so many inputs of a kind lead to; very many go through two processes."""
    parts = 2 if count > ALONE else 1
    running = []
    for part in range(parts):
        (folder := place / str(part)).mkdir()
        heard, answer = _context().Pipe(duplex=False)
        process = _context().Process(
            target=_go_through, args=(kind, folder, count // parts, part, answer)
        )
        process.start()
        answer.close()
        running.append((process, heard))
    broken: list[str] = []
    tallies = []
    for process, heard in running:
        try:
            # Inside C code an input is not ended after its seconds: then all of them are.
            if not heard.poll(60 + count * SECONDS / 20):
                process.kill()
                return Figure(count, ["a process hangs"])
            found, tally = heard.recv()
        except EOFError:
            process.join()
            return Figure(count, [f"a process ended with {process.exitcode}"])
        process.join()
        broken += found
        tallies.append(tally)
    taken, refused, wrong = (
        sum(tally[key] for tally in tallies) for key in ("taken", "refused", "broken")
    )
    slowest, memory = (max(tally[key] for tally in tallies) for key in ("slowest", "memory"))
    detail = f"{taken:,} taken, {refused:,} refused, the slowest in {slowest:.1f} s, "
    return Figure(taken + refused + wrong, broken, f"{detail}{memory:.0f} MiB more at most")


def _promised(key: str, says: str, kind: Kind, short: int) -> None:
    @promise(key, f"{says}: taken, or refused by an error of ours", short=short, full=10_000)
    def check(place: Path, count: int) -> Figure:
        return fuzzed(kind, place, count)


_promised("F1", "changed recipes", recipes, 300)
_promised("F2", "changed --set options", set_options, 300)
_promised("F3", "command lines", commands, 200)
_promised("F4", "changed pictures", images, 300)
_promised("F5", "changed and forged checkpoints and model files", states, 150)
_promised("F6", "changed files of weights", weights, 300)
