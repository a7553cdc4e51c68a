"""``imgtrans export``: files that other programs run, tried before they are written."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from imgtrans_cyclegan import EncoderDecoder, Residual, ResNet, UNet
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from toys import CPU, tiny_recipe

from imgtrans import Generator, ImgtransError, RecipeError, exporting, load_model
from imgtrans.building import build_trainer
from imgtrans.cli import main
from imgtrans.exporting import export_model, files
from imgtrans.inference import save_model
from imgtrans.plan import make_plan

ROOT = Path(__file__).parent.parent
FORMATS = ["onnx", "torch-export", "safetensors"]


def saved(folder, recipe):
    """A model file with weights that no training has seen."""
    trainer = build_trainer(recipe, CPU, make_plan(recipe).images)
    for network in trainer.networks.values():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):  # statistics as after training
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
    path = folder / "model.safetensors"
    save_model(path, trainer, recipe, {"step": 7})
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The reference generator with batch normalisation."""
    return saved(tmp_path_factory.mktemp("batch"), tiny_recipe())


def export(model, *words, code=0):
    done = CliRunner().invoke(main, ["export", str(model), *words])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done


def traced_once():
    """Tracing takes long, and both kinds of program begin with it."""
    return functools.cache(files.traced)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The first direction in every format, by format."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(files, "traced", traced_once())
        for format_ in FORMATS:
            export(trained, "--format", format_)
    return {
        format_: folder / f"summer_to_winter{exporting.SUFFIXES[format_]}" for format_ in FORMATS
    }


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(path)
    (made,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(made)


def run_program(path, images):
    return torch.export.load(path).module()(images)


RUN = {"onnx": run_onnx, "torch-export": run_program}
SIZES = [(1, 3, 32, 32), (3, 3, 41, 30), (1, 3, 5, 70), (2, 3, 1, 3)]


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("format_", ["onnx", "torch-export"])
def test_a_program_takes_any_number_and_size(trained, exported, format_, shape):
    images = torch.rand(shape) * 2 - 1
    wanted = load_model(trained).translate(images)
    made = RUN[format_](exported[format_], images)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=0)


def test_weights_are_the_generators_own(trained, exported):
    weights = load_file(exported["safetensors"])
    own = load_model(trained).network().state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[key], own[key]) for key in own)


def described(path, format_):
    if format_ == "onnx":
        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["imgtrans"]
    if format_ == "safetensors":
        with safe_open(path, "pt") as file:
            return file.metadata()["imgtrans"]
    extra = {"imgtrans.json": ""}
    torch.export.load(path, extra_files=extra)
    return extra["imgtrans.json"]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_says_how_it_is_used_and_where_it_comes_from(exported, format_):
    about = json.loads(described(exported[format_], format_))
    assert (about["source"], about["target"], about["recipe"]) == ("summer", "winter", "tiny")
    assert (about["step"], about["training_size"]) == (7, 32)
    for images in (about["input"], about["output"]):
        assert (images["layout"], images["channels"], images["colours"]) == ("NCHW", 3, "RGB")
        assert (images["type"], images["range"]) == ("float32", [-1, 1])
    assert (about["padding"]["multiple"], about["padding"]["least"]) == (8, 8)
    assert "multiples of 8, 8 at least, by reflection" in about["padding"]["how"]
    assert about["padding"]["inside"] is (format_ != "safetensors")


def test_the_other_direction_is_another_file(trained, exported, tmp_path):
    path = tmp_path / "a.safetensors"
    out = export(
        trained, "--format", "safetensors", "--direction", "y-to-x", "-o", str(path)
    ).output
    assert f"winter_to_summer as safetensors: {path}" in out
    about = json.loads(described(path, "safetensors"))
    assert (about["source"], about["target"]) == ("winter", "summer")
    ours, others = load_file(path), load_file(exported["safetensors"])
    assert not torch.equal(*(each["encoder.0.weight"] for each in (ours, others)))


def test_an_onnx_file_is_alone_and_tells_nothing_of_this_machine(exported):
    session = onnxruntime.InferenceSession(exported["onnx"])
    for each in (*session.get_inputs(), *session.get_outputs()):
        assert each.shape == ["batch", 3, "height", "width"]
    there = {path.name for path in exported["onnx"].parent.iterdir()}
    assert there == {f"summer_to_winter.{end}" for end in ("onnx", "pt2", "safetensors")}
    for path in exported.values():
        assert str(ROOT).encode() not in path.read_bytes()


def test_nothing_but_our_lines_is_shown(trained, tmp_path):
    command = [sys.executable, "-m", "imgtrans", "export", str(trained), "-o", "a.onnx"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=240
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first.startswith("summer_to_winter as onnx: a.onnx (")
    assert "1×3×32×32, 2×3×19×37, 3×3×40×32, 1×3×9×19, 1×3×9×16, 1×3×3×5, 2×3×1×2: the" in second


class Reflecting(Generator):
    """A generator that needs everything exporters find difficult."""

    @property
    def multiple(self):
        return 4

    def build(self, channels_in, channels_out):
        class Attending(nn.Module):
            def __init__(self):
                super().__init__()
                self.heads = nn.MultiheadAttention(8, 2, batch_first=True)

            def forward(self, images):
                words = images.flatten(2).transpose(1, 2)
                return images + self.heads(words, words, words)[0].transpose(1, 2).view_as(images)

        return nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(channels_in, 4, 7),
            nn.InstanceNorm2d(4),
            nn.Conv2d(4, 8, 3, 2, 1),
            nn.GroupNorm(2, 8),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            Attending(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.ConvTranspose2d(8, channels_out, 3, 2, 1, output_padding=1),
            nn.Tanh(),
        )


def grey(recipe):
    return recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"channels": 1})})


GENERATORS = {
    "instance norm": EncoderDecoder(
        width=2, blocks=1, norm="instance", residual_block=Residual(norm="instance")
    ),
    "reflection, attention and every norm": Reflecting(),
    "one pixel inside": UNet(width=2, depth=5),
    "the paper's": ResNet(width=2, blocks=1),
    "CUT's": ResNet(width=2, blocks=1, downsampling="antialiased", upsampling="antialiased"),
}


@pytest.mark.parametrize("generator", GENERATORS.values(), ids=GENERATORS)
def test_generators_of_every_make_can_be_exported(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "traced", traced_once())
    path = saved(tmp_path, grey(tiny_recipe(generator=generator)))
    model = load_model(path, components=[type(generator)])
    for format_, run in RUN.items():
        done = export_model(model, tmp_path / format_, format_)
        assert done.difference < 1e-5
        assert "1×1×32×32" in done.sizes
        for shape in ((2, 1, 70, 45), (1, 1, 3, 70), (2, 1, 70, 1)):
            images = torch.rand(shape) * 2 - 1
            made = run(tmp_path / format_, images)
            torch.testing.assert_close(made, model.translate(images), atol=1e-5, rtol=0)


class Choosing(Generator):
    """Decides by what is in its images, or by how large they are."""

    by: str = "value"

    def build(self, channels_in, channels_out):
        by = self.by

        class Network(nn.Conv2d):
            def forward(self, images):
                made = super().forward(images)
                large = made.shape[-1] > 20 if by == "size" else made.mean() > 0
                return made if large else -made

        return Network(channels_in, channels_out, 1)


def chooser(folder, by):
    return load_model(saved(folder, tiny_recipe(generator=Choosing(by=by))), components=[Choosing])


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ("value", r"summer_to_winter cannot become a program: .*data-dependent.*\n  in File .*"),
        ("size", "cannot take images of 1×3×9×19"),
    ],
)
def test_a_generator_that_is_no_program_is_told_with_the_cause(tmp_path, by, says):
    with pytest.raises(ImgtransError, match=says):
        export_model(chooser(tmp_path, by), tmp_path / "file", "onnx")
    assert not (tmp_path / "file").exists()


class Rare(Generator):
    """Uses what ONNX has no operator for."""

    def build(self, channels_in, channels_out):
        class Network(nn.Conv2d):
            def forward(self, images):
                return torch.special.i1(super().forward(images))

        return Network(channels_in, channels_out, 1)


def test_an_operation_that_onnx_lacks_is_named(tmp_path):
    path = saved(tmp_path, tiny_recipe(generator=Rare()))
    with pytest.raises(ImgtransError, match=r"No ONNX function found for .*bessel_i1"):
        export_model(load_model(path, components=[Rare]), tmp_path / "file", "onnx")


def test_a_file_that_differs_from_the_model_is_not_written(trained, tmp_path, monkeypatch):
    def wrong(*arguments, real=files.safetensors):
        data, run = real(*arguments)
        return data, lambda images: run(images) + 2e-3 * (images.shape[-1] == 16)

    monkeypatch.setitem(exporting.MAKERS, "safetensors", wrong)
    done = export(trained, "--format", "safetensors", "-o", str(tmp_path / "a"), code=1)
    assert "differs from the model by 2.0e-03, which is more than 1e-03" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_no_numbers_or_of_other_size_differ(trained, tmp_path, monkeypatch):
    for change in (lambda made: made * float("nan"), lambda made: made[..., 1:]):

        def wrong(*arguments, real=files.safetensors, change=change):
            data, run = real(*arguments)
            return data, lambda images: change(run(images))

        monkeypatch.setitem(exporting.MAKERS, "safetensors", wrong)
        with pytest.raises(ImgtransError, match="differs from the model by inf"):
            export_model(load_model(trained), tmp_path / "a", "safetensors")


def test_a_file_that_is_there_is_left_unless_asked(trained, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"mine")
    words = ("--format", "safetensors", "-o", str(path))
    assert "is there already; replace it with --overwrite" in export(trained, *words, code=2).stderr
    assert path.read_bytes() == b"mine"
    export(trained, *words, "--overwrite")
    assert path.read_bytes() != b"mine"
    with pytest.raises(RecipeError, match="is a folder"):
        export_model(load_model(trained), tmp_path, "onnx")


def test_without_a_name_the_file_is_named_after_its_direction(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--format", "safetensors", "--direction", "y-to-x")
    out = export(trained, *words).output
    assert "winter_to_summer as safetensors: winter_to_summer.safetensors (" in out
    assert [path.name for path in tmp_path.iterdir()] == ["winter_to_summer.safetensors"]
    assert "winter_to_summer.safetensors is there already" in export(trained, *words, code=2).stderr
    export(trained, *words, "--overwrite")


@pytest.mark.parametrize(
    ("name", "format_", "says"),
    [
        (
            "y.safetensors",
            "onnx",
            "named like safetensors: add --format safetensors, or name it *.onnx",
        ),
        ("y.PT2", "safetensors", "named like torch-export: add --format torch-export"),
        ("y.onnx", "torch-export", "named like onnx: add --format onnx, or name it *.pt2"),
    ],
)
def test_a_file_is_not_named_like_another_format(trained, tmp_path, name, format_, says):
    done = export(trained, "--format", format_, "-o", str(tmp_path / name), code=2)
    assert f"{name} is {says}" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_and_what_cannot_be_written_is_told(trained, tmp_path):
    (tmp_path / "file").write_text("no folder")
    words = ("--format", "safetensors", "-o")
    export(trained, *words, str(tmp_path / "new/deep/a.safetensors"))
    done = export(trained, *words, str(tmp_path / "file/a.safetensors"), code=1)
    assert "a.safetensors cannot be written: " in done.stderr


def test_a_missing_package_is_named_with_the_command(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    done = export(trained, "-o", str(tmp_path / "a.onnx"), code=1)
    assert "onnxscript missing: pip install 'imgtrans[export]'" in done.stderr
    export(trained, "--format", "safetensors", "-o", str(tmp_path / "a.safetensors"))


def test_more_than_a_protobuf_holds_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ONNX_LIMIT", 1000)
    done = export(trained, "-o", str(tmp_path / "a.onnx"), code=1)
    assert "an ONNX file holds 2 GiB; use torch-export or safetensors" in done.stderr


def test_the_example_says_what_it_takes():
    example = ROOT / "docs/examples/run_onnx.py"
    done = subprocess.run(
        [sys.executable, example, "a.onnx"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"usage: python {example} MODEL.onnx PICTURE TRANSLATED\n"


BLOCKED = """
import runpy, sys
for name in ("torch", "imgtrans"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_the_example_needs_no_imgtrans_and_translates_as_we_do(trained, exported, mode, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (39, 50, 4), np.uint8)
    Image.fromarray(noise).convert(mode).save(tmp_path / "a.png")
    example = ROOT / "docs/examples/run_onnx.py"
    words = [sys.executable, "-c", BLOCKED, example, exported["onnx"], "a.png", "made.png"]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("summer to winter: made.png\n", "")
    translate = ["translate", str(trained), str(tmp_path / "a.png"), "-o", str(tmp_path / "ours")]
    assert CliRunner().invoke(main, translate).exit_code == 0
    with Image.open(tmp_path / "made.png") as made, Image.open(tmp_path / "ours/a.png") as ours:
        assert made.size == ours.size == (50, 39)
        difference = np.asarray(made, int) - np.asarray(ours.convert("RGB"), int)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01
