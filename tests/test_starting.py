"""Training that starts from weights: whose they are, what is left to chance, what does not fit."""

import shutil
from pathlib import Path

import published_layouts as layouts
import pytest
import torch
from imgtrans_cyclegan import EncoderDecoder, Residual
from imgtrans_cyclegan.paper import UNet
from pydantic import ValidationError
from toys import tiny_recipe

from imgtrans import ImgtransError, RecipeError, checkpoint
from imgtrans.importing import import_weights
from imgtrans.monitor.display import Display
from imgtrans.recipe import changes, load_recipe, to_toml
from imgtrans.running import run
from imgtrans.testing import run_imgtrans

NETWORKS = [
    "generators.summer_to_winter",
    "generators.winter_to_summer",
    "discriminators.winter",
    "discriminators.summer",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps, with its checkpoint and its model."""
    here = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        assert run(tiny_recipe(train={"steps": 2}), Display(quiet=True)).exit_code == 0
    return here / "runs/tiny"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def going_on(start, **changes):
    train = {"steps": 2, "seed": 7, "start_from": str(start), **changes.pop("train", {})}
    return tiny_recipe(name="on", train=train, **changes)


def first_weights(name="on"):
    """What a run's networks were before its first step."""
    return checkpoint.read(Path(f"runs/{name}/checkpoints") / checkpoint.name_of(0)).tensors


def of(tensors, network):
    prefix = f"networks/{network}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def source(trained):
    return checkpoint.read(checkpoint.found(trained / "checkpoints")[0]).tensors


@pytest.mark.parametrize("what", ["folder", "checkpoint"])
def test_a_run_begins_with_all_networks_of_another(trained, what):
    start = trained if what == "folder" else checkpoint.found(trained / "checkpoints")[0]
    done = run_imgtrans("run", going_on(start))
    assert done.exit_code == 0, done.stderr
    assert "the first weights of generators.summer_to_winter, generators.winter" in done.stdout
    assert "start afresh" not in done.stdout
    assert all(same(of(first_weights(), name), of(source(trained), name)) for name in NETWORKS)
    assert not any(name.startswith("optimizer") for name in first_weights())


def test_a_model_file_has_generators_only_so_discriminators_start_afresh(trained):
    done = run_imgtrans("run", going_on(trained / "model.safetensors"))
    assert "none of discriminators.summer, discriminators.winter, which start afresh" in done.stdout
    for name in NETWORKS:
        taken = same(of(first_weights(), name), of(source(trained), name))
        assert taken == name.startswith("generators")


def test_domains_the_other_way_round_are_known_by_name_and_others_by_their_order(trained):
    run(going_on(trained, domains=("winter", "summer")), Display(quiet=True))
    assert all(same(of(first_weights(), name), of(source(trained), name)) for name in NETWORKS)
    run(going_on(trained, domains=("day", "night")), Display(quiet=True))
    made = first_weights("on-2")
    assert same(of(made, "generators.day_to_night"), of(source(trained), NETWORKS[0]))
    assert same(of(made, "discriminators.day"), of(source(trained), NETWORKS[3]))


def test_a_run_is_resumed_though_the_file_is_gone(trained):
    shutil.copy(trained / "model.safetensors", "first.safetensors")
    recipe = going_on("first.safetensors")
    whole = run(recipe, Display(quiet=True)).folder
    Path("first.safetensors").rename("gone")
    for path in checkpoint.found(whole / "checkpoints")[:-1]:
        path.unlink()  # as if it had been killed in the first step
    (whole / "status.json").unlink()
    before = checkpoint.found(whole / "checkpoints")
    assert [path.name for path in before] == [checkpoint.name_of(0)]
    done = run_imgtrans("run", "--resume", str(whole))
    assert done.exit_code == 0, done.stderr
    assert "done after step 2" in done.stdout


def test_the_same_recipe_continues_the_run_that_saved_the_whole_path(trained):
    shutil.copy(trained / "model.safetensors", "first.safetensors")
    recipe = going_on("first.safetensors")
    run(recipe, Display(quiet=True))
    own = load_recipe("runs/on/recipe.toml")
    assert own.train.start_from == str(Path("first.safetensors").absolute())
    Path("on.toml").write_text(to_toml(recipe))
    longer = run_imgtrans("run", "on.toml", "--resume", "runs/on", "--set", "train.steps=3")
    assert "done after step 3" in longer.stdout, longer.stderr
    other = run_imgtrans(
        "run", "on.toml", "--resume", "runs/on", "--set", "train.start_from=b.safetensors"
    )
    assert other.exit_code == 2
    assert "[train] start_from = " in other.stderr


def test_weights_of_other_shapes_are_listed_with_what_they_were_made_with(trained):
    recipe = going_on(trained, generator=EncoderDecoder(width=3, blocks=1))
    done = run_imgtrans("run", recipe)
    assert done.exit_code == 2
    assert "holds weights of other networks" in done.stderr
    assert "encoder.0.weight is (2, 3, 4, 4) in the file, (3, 3, 4, 4) here" in done.stderr
    assert "and 60 more" in done.stderr
    assert "[generator] width was 2 where the weights are from, and is 3 here" in done.stderr
    assert not Path("runs").exists()


def test_settings_that_fit_but_differ_are_told(trained):
    middle = Residual(norm="none")
    recipe = going_on(trained, generator=EncoderDecoder(width=2, blocks=1, norm="batch"))
    assert "was" not in run_imgtrans("run", recipe).stderr
    recipe = going_on(trained, generator=EncoderDecoder(width=2, blocks=1, residual_block=middle))
    done = run_imgtrans("run", recipe)
    assert "blocks.0.layers.1.weight is (8,) in the file, nothing here" in done.stderr


def test_dropout_that_the_weights_were_made_without_is_told():
    torch.save(layouts.weights(layouts.unet(4, width=2)), "net.pth")
    import_weights([Path("net.pth")], Path("net.safetensors"), ("a", "b"), lambda _: None)
    generator = UNet(width=2, depth=4, dropout=True)
    done = run_imgtrans("run", going_on("net.safetensors", generator=generator))
    assert done.exit_code == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "[generator] dropout was false where the weights are from, and is true here" in told
    assert "depth was" not in told


def test_a_run_whose_checkpoints_are_gone_begins_again_with_the_same_weights(trained):
    whole = run(going_on(trained), Display(quiet=True)).folder
    (newest, *others) = checkpoint.found(whole / "checkpoints")
    before = checkpoint.read(newest).tensors
    for path in (newest, *others, whole / "status.json"):
        path.unlink()
    done = run_imgtrans("run", "--resume", str(whole))
    assert done.exit_code == 0, done.stderr
    assert "the run starts from step 0" in done.stdout
    assert "the first weights of generators.summer_to_winter" in done.stdout
    assert same(checkpoint.read(newest).tensors, before)


def test_a_damaged_checkpoint_is_passed_over_loudly_and_left_where_it_is(trained):
    shutil.copytree(trained, "run")
    (newest, *_) = checkpoint.found(Path("run/checkpoints"))
    whole, older = newest.read_bytes(), newest.with_name(checkpoint.name_of(1))
    older.write_bytes(whole)
    newest.write_bytes(whole[:-50])
    done = run_imgtrans("run", going_on("run"))
    assert done.exit_code == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert f"{newest.name} is damaged" in told and f"{older.name} is taken instead" in told
    assert all(same(of(first_weights(), name), of(source(trained), name)) for name in NETWORKS)
    assert newest.read_bytes() == whole[:-50]
    Path("on.toml").write_text(to_toml(going_on("run")))
    planned = run_imgtrans("validate", "on.toml", "--dry-run").stdout
    assert f"{older.name} is taken instead" in " ".join(planned.split())
    older.write_bytes(whole[:-50])
    for path in checkpoint.found(Path("run/checkpoints")):
        path.write_bytes(whole[:-50])
    assert "model.safetensors is taken instead" in run_imgtrans("run", going_on("run")).stderr
    Path("run/model.safetensors").unlink()
    done = run_imgtrans("run", going_on("run"))
    assert done.exit_code == 1
    assert "is damaged" in done.stderr


def test_what_is_no_file_of_weights_is_told(trained):
    done = run_imgtrans("run", going_on("nowhere"))
    assert done.exit_code == 2
    assert 'start_from = "nowhere": there is no such file' in done.stderr
    Path("empty").mkdir()
    Path("text").write_text("hello")
    checkpoint.write(Path("other"), {}, {"kind": "other"})
    torch.save({}, "net.pth")
    for name, words in (
        ("empty", "neither a checkpoint nor a model"),
        ("text", "is damaged or no file of imgtrans"),
        ("other", "is no model and no checkpoint"),
        ("net.pth", "makes a model of them: imgtrans import .*net.pth"),
    ):
        with pytest.raises(ImgtransError, match=words):
            run(going_on(name), Display(quiet=True))
    with pytest.raises(ValidationError, match="start_from"):
        going_on("")
    assert not Path("runs").exists()


def test_weights_that_are_not_finite_are_no_start(trained):
    content = checkpoint.read(trained / "model.safetensors")
    weights = next(each for each in content.tensors.values() if each.is_floating_point())
    weights.view(-1)[0] = torch.nan
    checkpoint.write(Path("nan.safetensors"), content.tensors, content.about)
    with pytest.raises(ImgtransError, match=r"holds weights of generators\..* that are not finite"):
        run(going_on("nan.safetensors"), Display(quiet=True))


@pytest.mark.parametrize("domains", [None, "ab", ["a"], [1, 2]])
def test_a_file_whose_recipe_names_no_domains_is_no_start(trained, domains):
    content = checkpoint.read(trained / "model.safetensors")
    content.about["recipe"] = {"domains": domains, "generator": 3}
    checkpoint.write(Path("forged"), content.tensors, content.about)
    with pytest.raises(ImgtransError, match="is no model and no checkpoint"):
        run(going_on("forged"), Display(quiet=True))


def test_a_direction_that_the_file_has_not_is_told(trained):
    content = checkpoint.read(trained / "model.safetensors")
    other = {k: v for k, v in content.tensors.items() if k.startswith("winter_to_summer/")}
    checkpoint.write(Path("one"), other, content.about)
    run(going_on("one"), Display(quiet=True))
    assert not same(of(first_weights(), NETWORKS[0]), of(source(trained), NETWORKS[0]))
    assert same(of(first_weights(), NETWORKS[1]), of(source(trained), NETWORKS[1]))
    checkpoint.write(Path("none"), {}, content.about)
    with pytest.raises(ImgtransError, match="has no generator for summer_to_winter, winter"):
        run(going_on("none"), Display(quiet=True))


def test_a_dry_run_looks_at_the_file_and_fills_nothing(trained):
    Path("on.toml").write_text(to_toml(going_on(trained)))
    done = run_imgtrans("validate", "on.toml", "--dry-run")
    assert "the first weights of generators.summer_to_winter" in " ".join(done.stdout.split())
    done = run_imgtrans("validate", "on.toml", "--dry-run", "--set", "train.start_from=nowhere")
    assert done.exit_code == 2
    assert "there is no such file" in done.stderr
    assert not Path("runs").exists()


def test_where_it_started_is_fixed_on_resume():
    (change,) = changes(going_on("a"), going_on("b"))
    assert (change.key, change.free) == ("train.start_from", False)
    assert "start_from" not in to_toml(tiny_recipe())


def test_imported_weights_are_those_that_training_starts_with():
    for seed, (way, letter) in enumerate((("XtoY", "X"), ("YtoX", "Y"))):
        torch.save(layouts.weights(layouts.seed_generator(1, 2), seed), f"G_{way}.pkl")
        torch.save(layouts.weights(layouts.seed_discriminator(2), seed), f"D_{letter}.pkl")
    names = ("summer", "winter")
    import_weights([Path()], Path("seed.safetensors"), names, lambda _: None)
    done = run_imgtrans("run", going_on("seed.safetensors"))
    assert done.exit_code == 0, done.stderr
    assert "start afresh" not in done.stdout
    generator = layouts.weights(layouts.seed_generator(1, 2), 1)
    made = of(first_weights(), "generators.winter_to_summer")
    assert torch.equal(made["encoder.0.weight"], generator["conv1.0.weight"])
    assert torch.equal(made["encoder.4.running_mean"], generator["conv2.1.running_mean"])
    assert torch.equal(made["decoder.6.weight"], generator["deconv3.0.weight"])
    judge = layouts.weights(layouts.seed_discriminator(2), 0)
    made = of(first_weights(), "discriminators.summer")
    assert torch.equal(made["11.weight"], judge["conv5.0.weight"])
    with pytest.raises(RecipeError, match="no such file"):
        run(going_on("else.safetensors"), Display(quiet=True))
