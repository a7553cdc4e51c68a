"""``imgtrans import``: published weights become a model file that makes what they make."""

import os
import pickle
import tomllib
from collections import OrderedDict
from pathlib import Path

import functional_networks as formulas
import published_layouts as layouts
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from imgtrans import Generator, Recognised, checkpoint, load_model, load_recipe
from imgtrans.cli import main

WIDTH = {"width": 8}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(path, shapes, seed=0, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    weights = OrderedDict(layouts.weights(shapes, seed))
    torch.save(weights, path, **options)
    return weights


def call(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


def bring(*words, code=0):
    return call("import", *words, "--output", "model.safetensors", code=code)


def images(side=64):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1


def resnet(blocks, **options):
    return lambda state, x: formulas.resnet(state, x, blocks, **options)


LAYOUTS = {
    "9 blocks": (
        layouts.resnet(**WIDTH), resnet(9),
        ["9 residual blocks of 32 channels, model.10 to model.18", "conv_block.5, so there is no",
         "instance normalisation: it has no weights", "so it is cyclegan/resnet, width = 8"],
    ),
    "6 blocks": (layouts.resnet(6, **WIDTH), resnet(6), ["6 residual blocks", "blocks = 6"]),
    "dropout": (
        layouts.resnet(3, dropout=True, **WIDTH), resnet(3, dropout=True),
        ["conv_block.6, after a dropout", "dropout = true"],
    ),
    "batch norm": (
        layouts.resnet(3, "batch", **WIDTH), resnet(3),
        ["batch normalisation: it has weights and running statistics", 'norm = "batch"'],
    ),
    "batch norm and dropout": (
        layouts.resnet(3, "batch", dropout=True, **WIDTH), resnet(3, dropout=True),
        ["conv_block.6, after a dropout", "batch normalisation"],
    ),
    "old statistics": (
        layouts.with_old_statistics(layouts.resnet(3, **WIDTH)), resnet(3),
        ["33 statistics of instance normalisation left out"],
    ),
    "CUT": (
        layouts.resnet(9, cut=True, **WIDTH), resnet(9, up="antialiased"),
        ["blurs at model.7, model.11, model.21, model.25: downsampling antialiased"],
    ),
    "unet_256": (
        layouts.unet(8, **WIDTH), lambda state, x: formulas.unet(state, x, 8),
        ["8 levels within each other: sides are multiples of 256", "so it is cyclegan/unet"],
    ),
    "unet_128": (
        layouts.unet(7, **WIDTH), lambda state, x: formulas.unet(state, x, 7),
        ["sides are multiples of 128", "depth = 7"],
    ),
    "unet_256, instance norm": (
        layouts.unet(8, "instance", **WIDTH), lambda state, x: formulas.unet(state, x, 8),
        ["instance normalisation"],
    ),
    "seed": (
        layouts.seed_generator(**WIDTH), lambda state, x: formulas.seed_generator(state, x, 6),
        ["6 blocks, res_blocks.0 to res_blocks.5", "so it is cyclegan/encoder-decoder"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_told_by_its_names_and_makes_what_it_made(name):
    shapes, formula, told = LAYOUTS[name]
    weights = saved("net.pth", shapes)
    said = bring("net.pth")
    assert all(words in said for words in told)
    model = load_model("model.safetensors")
    assert model.directions == ("x_to_y",)
    pictures = images(model.multiple if "unet" in name else 64)
    expected = formula(weights, pictures)
    assert expected.std() > 0.1
    torch.testing.assert_close(model.translate(pictures), expected, atol=2e-4, rtol=0)
    network = model.recipe.generator.build(3, 3)
    network.load_state_dict(below("x_to_y/"))
    assert_exact(network, formula, weights, pictures)


JUDGES = {
    "instance norm": (layouts.patch(**WIDTH), lambda s, x: formulas.patch(s, x, 3)),
    "batch norm": (layouts.patch(norm="batch", **WIDTH), lambda s, x: formulas.patch(s, x, 3)),
    "5 layers": (layouts.patch(5, **WIDTH), lambda s, x: formulas.patch(s, x, 5)),
    "CUT": (layouts.patch(cut=True, **WIDTH), lambda s, x: formulas.patch(s, x, 3)),
    "seed": (layouts.seed_discriminator(**WIDTH), formulas.seed_discriminator),
}


@pytest.mark.parametrize("name", JUDGES)
def test_discriminators_are_told_by_their_names_and_judge_as_they_did(name):
    shapes, formula = JUDGES[name]
    saved("latest_net_G.pth", layouts.resnet(1, **WIDTH))
    weights = saved("latest_net_D.pth", shapes)
    bring("latest_net_G.pth", "latest_net_D.pth")
    network = load_model("model.safetensors").recipe.discriminator.build(3)
    network.load_state_dict(below("discriminators.y/"))
    assert_exact(network, formula, weights, images(256))


def assert_exact(network, formula, weights, pictures):
    """In float64, where only a difference in what is computed is left."""
    made = network.double().eval()(pictures.double())
    weights = {name: w.double() if w.is_floating_point() else w for name, w in weights.items()}
    torch.testing.assert_close(made, formula(weights, pictures.double()), atol=1e-9, rtol=1e-9)


def below(prefix):
    """One network's state dict in the model file."""
    tensors = checkpoint.read(Path("model.safetensors")).tensors
    found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    assert found
    return found


def named(prefix, weights):
    return OrderedDict((prefix + name, value) for name, value in weights.items())


BOXES = {
    "data-parallel": (lambda w: named("module.", w), "module. is taken off every name"),
    "compiled": (lambda w: named("_orig_mod.", w), "_orig_mod. is taken off every name"),
    "both": (lambda w: named("module._orig_mod.", w), "module._orig_mod. is taken off"),
    "the other way": (lambda w: named("_orig_mod.module.", w), "_orig_mod.module. is taken"),
    "in a box": (
        lambda w: {"epoch": 3, "state_dict": w, "optimizer": {"state": {}, "param_groups": []}},
        "the weights are in the file's state_dict\n    left out: epoch, optimizer",
    ),
    "with a version": (lambda w: {**w, "_metadata": {"": {"version": 1}}}, "x_to_y  is net.pth"),
    "with numbers": (lambda w: {**w, "epoch": 3}, "left out: epoch"),
    "in half precision": (
        lambda w: {k: v.half() if v.is_floating_point() else v for k, v in w.items()},
        "float16 becomes float32",
    ),
    "without counts": (
        lambda w: {k: v for k, v in w.items() if "num_batches" not in k},
        "num_batches_tracked are not there and become 0",
    ),
}


@pytest.mark.parametrize("name", BOXES)
def test_what_training_programs_put_around_weights_is_taken_off_and_told(name):
    weights = saved("plain.pth", layouts.resnet(2, "batch", **WIDTH))
    box, told = BOXES[name]
    torch.save(box(weights), "net.pth")
    assert told in bring("net.pth")
    made = load_model("model.safetensors").translate(images())
    bring("plain.pth", "--overwrite")
    plain = load_model("model.safetensors").translate(images())
    torch.testing.assert_close(made, plain, atol=0.05 if "half" in name else 0, rtol=0)


def test_files_of_old_torch_and_of_safetensors_are_read():
    shapes = layouts.resnet(1, **WIDTH)
    weights = saved("old.pth", shapes, _use_new_zipfile_serialization=False)
    save_file(weights, "new.safetensors")
    bring("old.pth")
    old = checkpoint.read(Path("model.safetensors")).tensors
    bring("new.safetensors", "--overwrite")
    new = checkpoint.read(Path("model.safetensors")).tensors
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_the_release_names_a_discriminator_after_its_generator_and_the_seed_after_its_images():
    for seed, letter in enumerate("AB"):
        saved(f"release/latest_net_G_{letter}.pth", layouts.resnet(1, **WIDTH), seed)
        saved(f"release/latest_net_D_{letter}.pth", layouts.patch(**WIDTH), seed)
        x_or_y, way = "XY"[seed], ("XtoY", "YtoX")[seed]
        saved(f"seed/G_{way}.pkl", layouts.seed_generator(1, 8), seed)
        saved(f"seed/D_{x_or_y}.pkl", layouts.seed_discriminator(8), seed)
    release = bring("release", "--domains", "horse", "zebra")
    assert "horse_to_zebra  is latest_net_G_A.pth, by its name" in release
    assert "discriminators.zebra  is latest_net_D_A.pth, by its name" in release
    first = layouts.weights(layouts.patch(**WIDTH), 0)["model.0.weight"]
    assert torch.equal(below("discriminators.zebra/")["model.0.weight"], first)
    assert load_model("model.safetensors").directions == ("horse_to_zebra", "zebra_to_horse")
    bring("seed", "--overwrite")
    first = layouts.weights(layouts.seed_discriminator(8), 0)["conv1.0.weight"]
    assert torch.equal(below("discriminators.x/")["0.weight"], first)


def test_names_that_tell_nothing_go_by_the_order_given():
    for seed, name in enumerate(("winter", "summer")):
        saved(f"{name}/latest_net_G.pth", layouts.resnet(1, **WIDTH), seed)
    said = bring("winter/latest_net_G.pth", "summer", "--domains", "a", "b")
    assert "a_to_b  is latest_net_G.pth, by the order of the files" in said
    content = checkpoint.read(Path("model.safetensors"))
    first = layouts.weights(layouts.resnet(1, **WIDTH), 0)["model.1.weight"]
    assert torch.equal(content.tensors["a_to_b/model.1.weight"], first)


def test_a_generator_alone_is_the_first_direction_and_its_discriminator_goes_with_it():
    saved("latest_net_G_B.pth", layouts.resnet(1, **WIDTH))
    saved("latest_net_D_B.pth", layouts.patch(**WIDTH))
    said = bring("latest_net_G_B.pth", "latest_net_D_B.pth")
    assert "x_to_y  is latest_net_G_B.pth, the only one" in said
    assert "discriminators.y  is latest_net_D_B.pth" in said


class Marks:
    """What a file does to whoever unpickles it."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_nothing_in_a_file_is_executed():
    weights = layouts.weights(layouts.resnet(1, **WIDTH))
    for old in (True, False):
        torch.save({**weights, "evil": Marks()}, "evil.pth", _use_new_zipfile_serialization=not old)
        assert "to load it would be to run code from the file" in bring("evil.pth", code=1)
    Path("evil.pth").write_bytes(pickle.dumps(Marks()))
    bring("evil.pth", code=1)
    assert not Path("executed").exists()
    pickle.loads(pickle.dumps(Marks()))
    assert Path("executed").exists()  # so the file would have


def whole_module(path):
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1)), path)


def cut_off(path):
    saved(path, layouts.resnet(1, **WIDTH))
    Path(path).write_bytes(Path(path).read_bytes()[:3000])


def cut_off_old(path):
    saved(path, layouts.resnet(1, **WIDTH), _use_new_zipfile_serialization=False)
    Path(path).write_bytes(Path(path).read_bytes()[:-3000])


def cut_off_safetensors(path):
    save_file(layouts.weights(layouts.resnet(1, **WIDTH)), path)
    Path(path).write_bytes(Path(path).read_bytes()[:-3000])


def not_finite(path):
    weights = layouts.weights(layouts.resnet(1, **WIDTH))
    weights["model.4.bias"][3] = float("nan")
    torch.save(weights, path)


def several(path):
    weights = layouts.weights(layouts.resnet(1, **WIDTH))
    torch.save({"G_A": weights, "G_B": weights}, path)


def changed(name, change):
    def write(path):
        weights = layouts.weights(layouts.resnet(1, **WIDTH))
        torch.save({**weights, name: change(weights.get(name))}, path)

    return write


def affine(path):
    weights = layouts.weights(layouts.resnet(1, **WIDTH))
    torch.save({**weights, "model.5.weight": torch.ones(16), "model.5.bias": torch.ones(16)}, path)


def ours(kind):
    def write(path):
        checkpoint.write(Path(path), {}, {"kind": kind})

    return write


def misfits(path):
    weights = layouts.weights(layouts.resnet(2, **WIDTH))
    weights.pop("model.11.conv_block.5.bias")
    weights["model.4.weight"] = torch.zeros(16, 8, 5, 5)
    weights["more.weight"] = torch.zeros(7)
    torch.save(weights, path)


NOT_WEIGHTS = {
    "missing": (lambda path: None, ["there is no file net.pth"]),
    "empty": (lambda path: Path(path).touch(), ["net.pth is empty"]),
    "page": (lambda path: Path(path).write_text("\n<!DOCTYPE html>"), ["is a web page"]),
    "pointer": (
        lambda path: Path(path).write_text("version https://git-lfs.github.com/spec/v1\n"),
        ["git lfs pull"],
    ),
    "text": (lambda path: Path(path).write_text("hello"), ["is damaged, or no file of weights"]),
    "pickled numbers": (
        lambda path: Path(path).write_bytes(pickle.dumps({1, 2}, 4)), ["or no file of weights"]
    ),
    "cut off": (cut_off, ["is cut short: fetch it again"]),
    "cut off, old": (cut_off_old, ["is cut short: fetch it again"]),
    "cut off, safetensors": (cut_off_safetensors, ["is damaged"]),
    "module": (
        whole_module,
        ["holds more than tensors: torch.nn.modules.container.Sequential", "network.state_dict()"],
    ),
    "tensor": (lambda path: torch.save(torch.zeros(3), path), ["holds a Tensor, not tensors by"]),
    "numbers": (lambda path: torch.save({"epoch": 3}, path), ["no tensors by name; it has epoch"]),
    "several": (several, ["holds several networks: G_A, G_B", '["G_A"]']),
    "not finite": (not_finite, ["model.4.bias holds values that are not finite"]),
    "beyond float32": (
        changed("model.4.bias", lambda b: b.double().add(1e300)), ["values that are not finite"]
    ),
    "sparse": (changed("model.4.weight", lambda w: w.to_sparse()), ["model.4.weight is sparse"]),
    "meta": (changed("model.4.weight", lambda w: w.to("meta")), ["has a shape and no values"]),
    "complex": (changed("model.4.bias", lambda b: b + 0j), ["model.4.bias holds complex64, not"]),
    "integers": (changed("model.4.bias", lambda b: b.to(torch.uint8)), ["holds uint8, not"]),
    "model": (ours("model"), ["is a model already: imgtrans translate takes it"]),
    "checkpoint": (ours("checkpoint"), ["is a checkpoint already: imgtrans translate takes it"]),
    "statistics elsewhere": (
        changed("model.20.running_mean", lambda _: torch.zeros(3)),
        ["1 of its tensors does not fit", "model.20.running_mean (3) is not expected"],
    ),
    "statistics after the last convolution": (
        changed("model.18.running_mean", lambda _: torch.zeros(3)),
        ["model.18.running_mean (3) is not expected"],
    ),
    "counts elsewhere": (
        changed("model.20.num_batches_tracked", lambda _: torch.tensor(3)),
        ["model.20.num_batches_tracked (a number) is not expected"],
    ),
    "statistics of another size": (
        changed("model.5.running_var", lambda _: torch.zeros(7)),
        ["model.5.running_var (7) is not expected"],
    ),
    "affine instance norm": (
        affine,
        ["instance normalisation with weights, which networks here have not",
         "2 of its tensors do not fit", "model.5.weight (16) is not expected"],
    ),
    "unknown": (
        lambda path: torch.save({"encoder.weight": torch.zeros(8, 3, 3, 3)}, path),
        ["no network that is known here", "encoder.weight  8×3×3×3", "cyclegan/resnet"],
    ),
    "misfits": (
        misfits,
        ["looks like cyclegan/resnet", "3 of its tensors do not fit",
         "model.11.conv_block.5.bias is missing; it would be 32",
         "model.4.weight is 16×8×5×5 instead of 16×8×3×3", "more.weight (7) is not expected"],
    ),
    "pairs": (
        lambda path: saved(path, layouts.patch(norm="batch", channels=6)),
        ["sees 6 channels", "it judges pairs of images"],
    ),
    "six channels": (
        lambda path: saved(path, layouts.resnet(1, width=8, channels=6)),
        ["sees 6 channels; images here have 1 or 3\n"],
    ),
    "no generator": (
        lambda path: saved(path, layouts.patch(**WIDTH)), ["there is no generator among"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_WEIGHTS)
def test_what_cannot_be_imported_is_told_without_a_traceback_and_leaves_nothing(what):
    write, told = NOT_WEIGHTS[what]
    write("net.pth")
    said = bring("net.pth", code=1)
    assert all(words in said for words in told), said
    assert "weights_only" not in said and "miniz" not in said
    assert not Path("model.safetensors").exists()


def test_generators_that_are_built_differently_are_told():
    saved("a.pth", layouts.resnet(1, **WIDTH))
    saved("b.pth", layouts.resnet(2, **WIDTH))
    said = bring("a.pth", "b.pth", code=1)
    assert "a.pth and b.pth are built differently" in said
    assert "blocks = 1" in said and "blocks = 2" in said


def test_more_than_two_generators_and_an_empty_folder_are_told():
    for name in "abc":
        saved(f"{name}.pth", layouts.resnet(1, **WIDTH))
    assert "these are 3 generators" in bring("a.pth", "b.pth", "c.pth", code=1)
    Path("empty").mkdir()
    assert "empty has neither latest_net_G.pth" in bring("empty", code=1)


def test_a_model_is_written_over_only_when_asked():
    saved("net.pth", layouts.resnet(1, **WIDTH))
    bring("net.pth")
    assert "model.safetensors is there already" in bring("net.pth", code=2)
    bring("net.pth", "--overwrite")


def test_what_cannot_be_written_is_refused_before_anything_is_read(monkeypatch):
    for path in ("file", "net.pth", "folder/x"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("hello")  # no weights, which would be told when it is read
    cases = (
        ("folder", 2, "folder is a folder"),
        ("net.pth", 2, "is one of the files to import"),
        ("file/model", 1, "file is no folder"),
        ("x" * 300, 1, "cannot be written"),
    )
    for output, code, told in cases:
        words = ("import", "net.pth", "--overwrite", "-o", output)
        assert told in " ".join(call(*words, code=code).split()), output
    monkeypatch.setattr("os.access", lambda _, mode, **__: mode == os.R_OK)
    assert "may not be written to" in bring("net.pth", code=1)
    assert Path("net.pth").read_text() == "hello"


@pytest.mark.parametrize("names", [("a", "a"), ("a b", "c"), ("", "c")])
def test_domains_that_can_be_none_are_refused_before_anything_is_read(names):
    Path("net.pth").write_text("hello")
    said = bring("net.pth", "--domains", *names, code=2)
    assert "must be two different names of letters, digits, _ and -" in said


def test_without_a_name_the_model_is_called_after_what_is_imported():
    saved("in/nets.v2/latest_net_G.pth", layouts.resnet(1, **WIDTH))
    assert "wrote  latest_net_G.safetensors" in call("import", "in/nets.v2/latest_net_G.pth")
    assert "wrote  nets.v2.safetensors" in call("import", "in/nets.v2")
    assert load_model("nets.v2.safetensors").directions == ("x_to_y",)
    before = Path("nets.v2.safetensors").read_bytes()
    for option in ([], ["--overwrite"]):
        said = call("import", "in/nets.v2", *option, code=2)
        assert "nets.v2.safetensors is there already; name the model file with --output" in said
    assert Path("nets.v2.safetensors").read_bytes() == before


def test_a_file_that_is_named_twice_is_told():
    saved("in/latest_net_G.pth", layouts.resnet(1, **WIDTH))
    assert "latest_net_G.pth is named twice" in bring(*["in/latest_net_G.pth"] * 2, code=2)
    assert "latest_net_G.pth is named twice" in bring("in", "in/../in/latest_net_G.pth", code=2)


def test_a_folder_of_pix2pix_is_imported_without_the_discriminator_that_judges_pairs():
    saved("in/latest_net_G.pth", layouts.unet(5, **WIDTH))
    saved("in/latest_net_D.pth", layouts.patch(norm="batch", channels=6, **WIDTH))
    said = bring("in")
    assert "left out: in/latest_net_D.pth sees 6 channels, so it judges pairs of images" in said
    assert "x_to_y  is latest_net_G.pth, the only one" in said
    tensors = checkpoint.read(Path("model.safetensors")).tensors
    assert {name.partition("/")[0] for name in tensors} == {"x_to_y"}
    named = ("in/latest_net_G.pth", "in/latest_net_D.pth")
    assert "so it judges pairs of images" in bring(*named, "--overwrite", code=1)


def test_a_network_for_larger_pictures_than_its_recipe_loads_is_given_larger_ones():
    saved("net.pth", layouts.unet(9, width=2))
    bring("net.pth")
    dataset = load_model("model.safetensors").recipe.dataset
    assert dataset.image_size == 512
    assert (dataset.load_size or 512) >= 512


@pytest.mark.parametrize("save", ["zip", "pickle", "safetensors"])
@pytest.mark.parametrize("command", ["translate", "export"])
def test_whoever_uses_weights_of_another_program_as_a_model_is_told_of_import(save, command):
    weights = layouts.weights(layouts.resnet(1, **WIDTH))
    if save == "safetensors":
        save_file(weights, "their net.pth")
    else:
        torch.save(weights, "their net.pth", _use_new_zipfile_serialization=save == "zip")
    Image.new("RGB", (8, 8)).save("a.png")
    words = ["their net.pth", *(["a.png"] if command == "translate" else [])]
    said = call(command, *words, "--output", "out", code=1)
    assert "their net.pth is no file of imgtrans" in said
    assert "imgtrans import 'their net.pth'" in said


def test_the_model_says_what_it_was_made_of():
    saved("net.pth", layouts.resnet(1, **WIDTH))
    bring("net.pth")
    (about,) = checkpoint.read(Path("model.safetensors")).about["imported"]
    assert about["file"] == "net.pth"
    assert len(about["sha256"]) == 64
    assert "1 residual block of 32 channels, model.10 to model.10" in about["decisions"]


class Third(Generator):
    """A third party's generator, with weights that its authors published."""

    def build(self, channels_in, channels_out):
        return torch.nn.Sequential(torch.nn.Conv2d(channels_in, channels_out, 1), torch.nn.Tanh())

    @classmethod
    def recognise(cls, shapes):
        if "third.weight" in shapes:
            names = {"third.weight": "0.weight", "third.bias": "0.bias"}
            return Recognised(cls(), (3, 3), names, ("it is the third party's",))
        return None


class Failing(Third):
    """One whose plugin is broken."""

    @classmethod
    def recognise(cls, shapes):
        raise KeyError(shapes)


def test_plugins_bring_their_own_published_weights(monkeypatch):
    from imgtrans.plugins import registry

    monkeypatch.setattr(
        registry(), "components",
        lambda kind: {"a/failing": Failing, "b/third": Third} if kind is Generator else {},
    )  # fmt: skip
    registry().remember(Third)
    weights = {"third.weight": torch.eye(3)[..., None, None], "third.bias": torch.zeros(3)}
    torch.save(weights, "net.pth")
    said = bring("net.pth")
    assert "it is the third party's" in said
    assert "a/failing could not look: KeyError" in said
    made = load_model("model.safetensors", components=[Third]).translate(images())
    assert torch.equal(made, torch.tanh(images()))
    weights["third.bias"] = torch.zeros(4)
    torch.save(weights, "net.pth")
    assert "third.bias is 4 instead of 3" in bring("net.pth", "--overwrite", code=1)


def test_an_imported_model_translates_pictures():
    weights = saved("net.pth", layouts.resnet(2, **WIDTH))
    bring("net.pth", "--domains", "horse", "zebra")
    picture = Image.effect_noise((50, 37), 80).convert("RGB")
    picture.save("horse.png")
    call(
        "translate", "model.safetensors", "horse.png", "--direction", "horse-to-zebra", "-o", "out"
    )
    made = Image.open("out/horse.png")
    assert made.size == (50, 37)
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    padded = torch.nn.functional.pad(
        pixels.view(1, 37, 50, 3).permute(0, 3, 1, 2).float() / 127.5 - 1, (0, 2, 0, 3), "reflect"
    )
    expected = formulas.resnet(weights, padded, 2)[0, :, :37, :50].add(1).mul(127.5).round()
    got = torch.frombuffer(bytearray(made.tobytes()), dtype=torch.uint8).view(37, 50, 3)
    assert (got.permute(2, 0, 1) - expected).abs().max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 4)])
def test_the_smallest_pictures_are_translated_too(size):
    saved("net.pth", layouts.resnet(1, **WIDTH))
    bring("net.pth")
    assert load_model("model.safetensors")(Image.new("RGB", size)).size == size


def test_the_recipe_that_is_printed_is_whole_and_of_the_same_networks():
    for letter in "AB":
        saved(f"in/latest_net_G_{letter}.pth", layouts.resnet(6, **WIDTH))
        saved(f"in/latest_net_D_{letter}.pth", layouts.patch(**WIDTH))
    text = bring("in", "--domains", "a", "b").partition("goes on from here:\n")[2]
    Path("on.toml").write_text(text)
    recipe, model = load_recipe("on.toml"), load_model("model.safetensors").recipe
    assert tomllib.loads(text)["dataset"]["root"] == "photos"
    assert recipe.train.start_from == "model.safetensors"
    assert (recipe.domains, recipe.directions) == (("a", "b"), "both")
    assert (recipe.generator, recipe.discriminator) == (model.generator, model.discriminator)
    assert (recipe.dataset.image_size, recipe.dataset.download) == (256, None)
    paper = load_recipe("cyclegan_paper")
    assert (recipe.loss, recipe.fallback) == (paper.loss, None)
    assert recipe.train.pool_images == paper.train.pool_images
