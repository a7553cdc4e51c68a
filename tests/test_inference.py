"""A trained file as image to image: by itself, and with its mistakes told."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from toys import tiny_recipe

from imgtrans import ImgtransError, checkpoint, load_model
from imgtrans.monitor.display import Display
from imgtrans.running import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of one step."""
    here = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert run(tiny_recipe(train={"steps": 1}), Display(quiet=True)) == 0
    return here / "runs/tiny"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_any_mode_and_size_becomes_a_picture(folder, mode):
    made = load_model(folder)(Image.new(mode, (43, 35)), "winter_to_summer")
    assert (made.mode, made.size) == ("RGB", (40, 32))


def test_the_first_direction_is_the_default(folder):
    model, images = load_model(folder), torch.rand(1, 3, 32, 32) * 2 - 1
    first, second = (model.translate(images, name) for name in model.directions)
    assert torch.equal(model.translate(images), first)
    assert not torch.equal(first, second)
    assert first.abs().max() <= 1
    assert not first.requires_grad


def test_a_direction_that_is_not_there_names_those_that_are(folder):
    with pytest.raises(ImgtransError, match=r"no direction up; this model has .*summer_to_winter"):
        load_model(folder).translate(torch.zeros(1, 3, 32, 32), "up")


def test_a_size_that_does_not_fit_names_the_multiple(folder):
    with pytest.raises(ImgtransError, match="multiples of 8"):
        load_model(folder).translate(torch.zeros(1, 3, 30, 32))


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(ImgtransError, match=r"there is no model at .*model\.safetensors"):
        load_model(tmp_path)


def test_a_checkpoint_is_no_model(folder):
    (newest, *_) = checkpoint.found(folder / "checkpoints")
    with pytest.raises(ImgtransError, match="is no model file"):
        load_model(newest)


def test_a_damaged_model_is_an_error(folder, tmp_path):
    data = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-9] + b"\1" * 9)
    with pytest.raises(ImgtransError, match="is damaged"):
        load_model(tmp_path)


def test_the_model_holds_generators_only(folder):
    names = checkpoint.read(Path(folder) / "model.safetensors").tensors
    assert {name.partition("/")[0] for name in names} == {"summer_to_winter", "winter_to_summer"}
