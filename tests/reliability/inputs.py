"""What is made of each kind of input, and what it is tried on."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import tomli_w
import torch
from click.testing import CliRunner
from hypothesis import strategies as st
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

Kind = Callable[[Path], tuple[st.SearchStrategy[Any], Callable[[Any], object]]]


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
