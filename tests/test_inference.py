"""A trained file as image to image: by itself, and with its mistakes told."""

import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import tiny_recipe

from imgtrans import ImgtransError, checkpoint, load_model
from imgtrans.data import to_range
from imgtrans.fusing import Mixed
from imgtrans.monitor.display import Display
from imgtrans.padding import padded
from imgtrans.running import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of one step."""
    here = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert run(tiny_recipe(train={"steps": 1}), Display(quiet=True)).exit_code == 0
    return here / "runs/tiny"


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [("RGB", "RGB"), ("L", "RGB"), ("RGBA", "RGBA"), ("LA", "RGBA"), ("P", "RGB"), ("1", "RGB")],
)
@pytest.mark.parametrize("size", [(43, 35), (1, 1), (3, 64)])
def test_a_picture_of_any_mode_and_size_becomes_a_picture_of_that_size(folder, mode, becomes, size):
    made = load_model(folder)(Image.new(mode, size), "winter_to_summer")
    assert (made.mode, made.size) == (becomes, size)


@pytest.mark.parametrize("size", [(8, 8), (9, 30), (1, 5), (2, 3)])
def test_what_a_size_lacks_is_mirrored(size):
    images = torch.arange(size[0] * size[1], dtype=torch.float32).view(1, 1, *size)
    made = padded(images, 8)
    assert all(side % 8 == 0 for side in made.shape[-2:])
    assert torch.equal(made[..., : size[0], : size[1]], images)
    if min(size) > 1 and size[1] % 8:
        assert torch.equal(made[..., : size[0], size[1]], images[..., -2])


def test_numpy_and_tensors_come_back_as_they_came(folder):
    model, pixels = load_model(folder), np.full((40, 24, 3), 99, np.uint8)
    made = model(pixels)
    assert (type(made), made.shape, made.dtype) == (np.ndarray, (40, 24, 3), np.uint8)
    tensor = model(torch.from_numpy(pixels).permute(2, 0, 1))
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), made)
    assert np.array_equal(np.asarray(model(Image.fromarray(pixels))), made)


def test_an_image_does_not_depend_on_what_is_translated_beside_it(folder):
    model, images = load_model(folder), torch.rand(3, 3, 32, 32) * 2 - 1
    together = model.translate(images)
    alone = torch.cat([model.translate(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def seen(folder, picture):
    """What the networks are shown of a picture."""
    model, shown = load_model(folder), []
    model.translate = lambda images, direction: shown.append(images) or to_range(images)
    model(picture)
    return to_range(shown[0])


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


@pytest.mark.parametrize("name", ["x-to-y", "x_to_y", "summer-to-winter", "summer_to_winter", None])
def test_a_direction_is_called_by_its_letters_or_by_its_domains(folder, name):
    assert load_model(folder).direction(name) == "summer_to_winter"
    assert load_model(folder).direction("y-to-x") == "winter_to_summer"


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(ImgtransError, match=r"there is no model at .*model\.safetensors"):
        load_model(tmp_path)


def test_a_checkpoint_serves_as_a_model_and_so_does_the_folder_of_a_killed_run(folder, tmp_path):
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    made = load_model(folder).translate(images)
    (newest, *_) = checkpoint.found(folder / "checkpoints")
    assert torch.equal(load_model(newest).translate(images), made)
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(newest, tmp_path / "checkpoints")
    assert torch.equal(load_model(tmp_path).translate(images), made)


@pytest.mark.parametrize("step", [9, 100_000_000])
def test_a_checkpoint_that_is_newer_than_the_model_beside_it_is_taken(folder, tmp_path, step):
    shutil.copytree(folder, tmp_path / "run")
    (old,) = checkpoint.found(tmp_path / "run/checkpoints")
    content = checkpoint.read(old)
    model = checkpoint.read(tmp_path / "run/model.safetensors")
    about = {**model.about, "step": step - 1}
    checkpoint.write(tmp_path / "run/model.safetensors", model.tensors, about)
    newer = tmp_path / "run/checkpoints" / checkpoint.name_of(step)
    tensors = {name: value * 0 for name, value in content.tensors.items()}
    checkpoint.write(newer, tensors, {**content.about, "step": step})
    assert load_model(tmp_path / "run").about["step"] == step


def test_a_file_of_another_kind_is_no_model(tmp_path):
    checkpoint.write(tmp_path / "other.safetensors", {}, {"kind": "other"})
    with pytest.raises(ImgtransError, match="is no model and no checkpoint"):
        load_model(tmp_path / "other.safetensors")


def test_a_damaged_model_is_an_error(folder, tmp_path):
    data = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-9] + b"\1" * 9)
    with pytest.raises(ImgtransError, match="is damaged"):
        load_model(tmp_path)


def test_the_model_holds_generators_only(folder):
    names = checkpoint.read(Path(folder) / "model.safetensors").tensors
    assert {name.partition("/")[0] for name in names} == {"summer_to_winter", "winter_to_summer"}


def test_levels_are_translated_as_the_floats_that_they_stand_for(folder):
    model = load_model(folder)
    for levels in (torch.arange(256, dtype=torch.uint8), torch.arange(65536).to(torch.uint16)):
        images = levels.view(1, 1, 16, -1).expand(1, 3, -1, -1)
        assert torch.equal(model.translate(images), model.translate(to_range(images)))


def test_translating_is_fast_and_the_network_itself_stays_exact(folder):
    model = load_model(folder)
    fast, plain = ([type(each) for each in n.modules()] for n in (model.runner(), model.network()))
    assert torch.nn.BatchNorm2d in plain
    assert torch.nn.BatchNorm2d not in fast
    assert model.as_directions()[0].generator is model.network()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    apart = (model.translate(images) - model.network()(images)).abs().max()
    assert 127.5 * apart < 1e-3


@pytest.mark.parametrize(
    ("precision", "device", "able", "shallow", "deep"),
    [
        ("auto", "cpu", True, False, False),
        ("auto", "cuda", True, True, False),
        ("auto", "cuda", False, False, False),
        ("float32", "cuda", True, False, False),
        ("bfloat16", "cpu", True, True, True),
    ],
)
def test_bfloat16_is_for_eight_bits_on_a_gpu_that_has_it_or_where_it_is_asked_for(
    folder, monkeypatch, precision, device, able, shallow, deep
):
    model = load_model(folder, precision=precision)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: able)
    model.runner()  # made here, where there may be no GPU
    model.device = torch.device(device)
    assert isinstance(model.runner(deep=False), Mixed) == shallow
    assert isinstance(model.runner(deep=True), Mixed) == deep


def test_bfloat16_changes_pictures_by_levels(folder):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    made = [load_model(folder, precision=each)(picture) for each in ("float32", "bfloat16")]
    apart = np.abs(made[0].astype(int) - made[1])
    assert 0 < apart.max() <= 8


def test_weights_that_are_not_those_of_the_recipe_beside_them_are_refused(folder, tmp_path):
    content = checkpoint.read(folder / "model.safetensors")
    vast = dict(content.about, recipe={**content.about["recipe"]})
    vast["recipe"]["generator"] = {**vast["recipe"]["generator"], "width": 10**6}
    checkpoint.write(tmp_path / "file", content.tensors, vast)  # it would take terabytes
    with pytest.raises(ImgtransError, match=r"those of the file's own recipe: .* the first"):
        load_model(tmp_path / "file")


def test_a_model_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(ImgtransError, match="cannot be read: File name too long"):
        load_model(tmp_path / ("a" * 300))
