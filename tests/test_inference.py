"""A trained file as image to image: by itself, and with its mistakes told."""

from io import BytesIO
from pathlib import Path

import numpy as np
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
        assert run(tiny_recipe(train={"steps": 1}), Display(quiet=True)).exit_code == 0
    return here / "runs/tiny"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_any_mode_and_size_becomes_a_picture(folder, mode):
    made = load_model(folder)(Image.new(mode, (43, 35)), "winter_to_summer")
    assert (made.mode, made.size) == ("RGB", (40, 32))


def seen(folder, picture):
    """What the networks are shown of a picture."""
    model, shown = load_model(folder), []
    model.translate = lambda images, direction: shown.append(images) or images
    model(picture)
    return shown[0]


def test_a_picture_is_turned_upright_as_it_was_in_training(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    Image.new("RGB", (48, 32)).save(file, "JPEG", exif=exif)
    assert seen(folder, Image.open(file)).shape == (1, 3, 48, 32)


def test_what_is_transparent_in_a_picture_is_white(folder):
    assert (seen(folder, Image.new("RGBA", (32, 32), (0, 0, 0, 0))) == 1).all()


def test_sixteen_bits_of_grey_reach_the_networks(folder):
    picture = Image.fromarray(np.full((32, 32), 32768, np.uint16))
    assert seen(folder, picture).mean().item() == pytest.approx(2 * 32768 / 65535 - 1, abs=1e-7)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Image.new("RGB", (7, 32)), "7×32 pixels; this model needs at least 8×8"),
        (Image.new("F", (32, 32)), "mode F has no set black and white"),
    ],
)
def test_a_picture_that_cannot_be_translated_is_told(folder, picture, says):
    with pytest.raises(ImgtransError, match=says):
        load_model(folder)(picture)


def test_images_of_other_channels_are_told(folder):
    with pytest.raises(ImgtransError, match=r"must be N×3×H×W, not 1×1×32×32"):
        load_model(folder).translate(torch.zeros(1, 1, 32, 32))


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
