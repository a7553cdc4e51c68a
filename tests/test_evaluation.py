"""Metrics over held-out images: what is measured of what, when, and what comes of it."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from imgtrans_cyclegan import UnpairedFolders
from imgtrans_seasons import Landscapes, Scenes
from judges import Brightness, Cycle, Distance, Error, Means
from PIL import Image
from toys import tiny_recipe, trainer_of

from imgtrans import (
    Comparison,
    ImgtransError,
    Metric,
    RecipeError,
    Score,
    checkpoint,
    load_model,
    state,
)
from imgtrans.cli import main
from imgtrans.components import Images
from imgtrans.data import HeldOutImages, to_range
from imgtrans.evaluation import Evaluator, Translated, build_metrics, command, references
from imgtrans.evaluation.colours import ColourMatch
from imgtrans.evaluation.measuring import mean
from imgtrans.monitor.display import Display
from imgtrans.running import run

DOMAINS = ("summer", "winter")
PAIRED = Landscapes(image_size=32, scenes=8, test_scenes=5)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(references, "cache_folder", lambda: tmp_path / "cache")


def quiet_run(recipe, **options):
    return run(recipe, Display(quiet=True), **options).exit_code


def figures_of(recipe, *, built=None, test=None, whole=True, warn=print, directions=None):
    test = test or recipe.dataset.build("test", recipe.domains)
    both = len(recipe.direction_names) == 2
    built = built or build_metrics(recipe.metric, test, back=both)[0]
    evaluator = Evaluator(recipe, test, built, warn)
    ways = directions or trainer_of(recipe).directions
    return evaluator.measure(ways, recipe.dataset.build("train", recipe.domains), whole=whole)


def of_paired(**metrics):
    return tiny_recipe(dataset=PAIRED, domains=DOMAINS, metric=metrics)


def stacked(images):
    return torch.stack([to_range(images[index]) for index in range(len(images))])


def test_a_colour_match_moves_mean_and_deviation():
    source, target = torch.rand(4, 3, 8, 8) - 0.5, torch.rand(4, 3, 8, 8) * 0.2
    matched = ColourMatch.fit(source, target)(source)
    assert matched.mean().item() == pytest.approx(target.mean().item(), abs=0.01)
    assert matched.std().item() == pytest.approx(target.std().item(), abs=0.01)


def test_a_colour_match_is_fitted_to_training_images_of_its_own_direction():
    recipe = of_paired(error=Error())
    scores = figures_of(recipe).scores["error"]
    train, test = (PAIRED.build(split, DOMAINS) for split in ("train", "test"))
    known, held = ([stacked(images.x), stacked(images.y)] for images in (train, test))
    for way, one, other in (("summer_to_winter", 0, 1), ("winter_to_summer", 1, 0)):
        matched = ColourMatch.fit(known[one], known[other])(held[one])
        expected = (matched - held[other]).abs().mean().item()
        assert scores[way]["colour match"].score.value == pytest.approx(expected, abs=1e-5)


def test_every_metric_is_measured_in_both_directions_beside_simpler_translations():
    recipe = of_paired(error=Error(), far=Distance(), cycle=Cycle())
    scores = figures_of(recipe).scores
    assert list(scores) == ["error", "far", "cycle"]
    for name in ("error", "far"):
        for way in recipe.direction_names:
            whats = ["translated", "untranslated", "colour match"]
            assert list(scores[name][way]) == whats
    assert list(scores["cycle"]["summer_to_winter"]) == ["translated"]


def test_figures_equal_what_the_networks_give_by_hand():
    recipe = of_paired(error=Error(), far=Distance(), cycle=Cycle())
    trainer = trainer_of(recipe)
    scores = figures_of(recipe, directions=trainer.directions).scores
    held = recipe.dataset.build("test", DOMAINS)
    x, y = stacked(held.x), stacked(held.y)
    for index, (source, truth) in enumerate([(x, y), (y, x)]):
        way = trainer.directions[index]
        with torch.no_grad():
            fake = way.generator.eval()(source)
            back = way.back.eval()(fake)
        features = Means().build()
        by_hand = {
            "error": (fake - truth).abs().mean(),
            "far": (features(fake).mean(dim=0) - features(truth).mean(dim=0)).norm(),
            "cycle": (back - source).abs().mean(),
        }
        for name, value in by_hand.items():
            got = scores[name][way.name]["translated"]
            assert got.score.value == pytest.approx(value.item(), abs=1e-5)
            assert got.images == 5
        untouched = scores["error"][way.name]["untranslated"].score.value
        assert untouched == pytest.approx((source - truth).abs().mean().item(), abs=1e-5)


def test_a_mean_has_the_interval_that_holds_it_in_nineteen_of_twenty_cases():
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(400):
        score = mean(torch.randn(50, generator=generator).double() + 3)
        held += score.low <= 3 <= score.high
    assert 0.91 <= held / 400 <= 0.98
    assert mean(torch.tensor([2.0])) == Score(2.0)


def test_measuring_changes_neither_modes_nor_weights_nor_random_numbers():
    recipe = of_paired(error=Error(), far=Distance(), cycle=Cycle())
    trainer = trainer_of(recipe)
    before = {key: value.clone() for key, value in state.collect(trainer).items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    figures_of(recipe, directions=trainer.directions)
    assert torch.equal(torch.rand(3), expected)
    assert all(network.training for network in trainer.networks.values())
    after = state.collect(trainer)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_domains_of_different_sizes_are_measured_whole():
    held = PAIRED.build("test", DOMAINS)
    more = PAIRED.build("train", DOMAINS).y
    recipe = of_paired(far=Distance(), bright=Brightness())
    figures = figures_of(recipe, test=Images(held.x, more))
    forth = figures.scores["far"]["summer_to_winter"]["translated"]
    back = figures.scores["far"]["winter_to_summer"]["translated"]
    assert (forth.images, forth.targets) == (5, 8)
    assert (back.images, back.targets) == (8, 5)
    assert "5 summer and 8 winter held-out images at 32×32" in figures.title


def test_metrics_that_need_a_truth_or_a_way_back_say_that_there_is_none():
    class Many(Brightness):
        fewest_images = 9

    metrics = {"error": Error(), "cycle": Cycle(), "many": Many(), "bright": Brightness()}
    unpaired = PAIRED.build("train", DOMAINS)
    built, unfit = build_metrics(metrics, unpaired, back=False)
    assert [each.name for each in built] == ["bright"]
    assert "no true counterparts" in unfit["error"]
    assert "one direction only" in unfit["cycle"]
    assert unfit["many"] == "it needs 9 held-out images of each domain, not 8"


def test_truth_and_reconstruction_are_refused_where_there_are_none():
    shown = Translated(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(RecipeError, match="needs_truth"):
        shown.truth  # noqa: B018
    with pytest.raises(RecipeError, match="needs_reconstruction"):
        shown.reconstructed  # noqa: B018


class Missing(Means):
    def build(self):
        message = "its weights are not here; pip install something"
        raise ImgtransError(message)


def test_a_metric_that_cannot_be_made_is_refused_before_there_is_a_run():
    recipe = of_paired(far=Distance(features=Missing()))
    with pytest.raises(RecipeError, match=r"\[metric.far\] its weights are not here; pip install"):
        quiet_run(recipe)
    assert not Path("runs").exists()


def small(shown):
    message = "it needs 99 pixels"
    raise ImgtransError(message)


class Wrong(Metric):
    gives: str = "one"

    def build(self):
        if self.gives == "nothing":
            return None
        if self.gives in ("far", "half", "number"):
            given = {
                "far": lambda: 1 / 0,
                "half": lambda: Score(0.5, None, 1),
                "number": lambda: 1.0,
            }
            return Comparison(Means(), lambda fakes, reals: given[self.gives]())
        if self.gives == "small":
            return small
        if self.gives == "raises":
            return lambda shown: shown.nowhere
        return lambda shown: shown.fake.mean()


@pytest.mark.parametrize(
    ("gives", "text"),
    [
        ("one", r"it must give one number for each of 5 images: .* \(5,\), not \(\)"),
        ("raises", r"it raised AttributeError: .*nowhere"),
        ("far", r"it raised ZeroDivisionError"),
        ("half", r"its distance must give a Score, .*low=None, high=1"),
        ("number", r"its distance must give a Score, .* not 1.0"),
        ("small", r"needs 99 pixels"),
    ],
)
def test_a_metric_that_fails_is_named_and_the_others_are_measured(gives, text):
    figures = figures_of(of_paired(w=Wrong(gives=gives), error=Error()))
    assert re.search(text, figures.failed["w"])
    assert list(figures.scores) == ["error"]
    assert figures.as_json({})["not_measured"]["w"] == figures.failed["w"]


def test_a_metric_that_builds_something_else_is_refused():
    with pytest.raises(RecipeError, match=r"\[metric.w\] Wrong.build must return a function or"):
        figures_of(of_paired(w=Wrong(gives="nothing")))


def test_a_training_goes_on_without_a_metric_that_fails(capsys):
    metric = {"w": Wrong(gives="small"), "bright": Brightness()}
    assert quiet_run(short(evaluate_every=1, metric=metric)) == 0
    assert capsys.readouterr().err.count("[metric.w] is not measured: it needs 99 pixels") == 1
    assert set(scores_of()[0][1]) == {"bright/summer_to_winter", "bright/winter_to_summer"}


def photographs(folder, counts=(("trainA", 4), ("trainB", 4), ("testA", 5), ("testB", 3))):
    generator = torch.Generator().manual_seed(1)
    for name, count in counts:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = torch.randint(0, 256, (40, 50, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / name / f"{index}.png")
    return folder


def test_broken_images_are_left_out_and_not_counted(tmp_path):
    root = photographs(tmp_path / "photos")
    (root / "testA" / "2.png").write_bytes(b"no picture")
    dataset = UnpairedFolders(root=str(root), image_size=32, broken_images="skip")
    recipe = tiny_recipe(dataset=dataset, metric={"bright": Brightness()})
    held = HeldOutImages(dataset.build("test", recipe.domains), dataset)
    assert [len(batch.names) for batch in held.batches(0, 3)] == [3, 1]
    assert held.count(0) == 4
    assert held.count(1) == 3
    assert "2.png" in next(iter(held.broken))
    score = figures_of(recipe).scores["bright"]["summer_to_winter"]["translated"]
    assert score.images == 4


def test_a_pair_with_a_broken_half_goes_as_a_whole(monkeypatch):
    read = Scenes.__getitem__
    held = PAIRED.build("test", DOMAINS)

    def broken(self, index):
        if self is held.y and index == 1:
            message = "the second winter is broken"
            raise ImgtransError(message)
        return read(self, index)

    monkeypatch.setattr(Scenes, "__getitem__", broken)
    skipping = PAIRED.model_copy(update={"broken_images": "skip"})
    recipe = of_paired(error=Error()).model_copy(update={"dataset": skipping})
    scores = figures_of(recipe, test=held).scores["error"]
    assert {way["translated"].images for way in scores.values()} == {4}


def test_features_of_real_images_are_made_once_and_found_again(monkeypatch, tmp_path):
    seen = []
    build = Means.build

    def counted(self):
        network = build(self)
        network.register_forward_hook(lambda _m, args, _o: seen.append(len(args[0])))
        return network

    monkeypatch.setattr(Means, "build", counted)
    recipe = of_paired(far=Distance())
    first = figures_of(recipe, whole=False).values()
    assert sum(seen) == 4 * 5  # fakes and real images, both ways
    assert len(list((tmp_path / "cache").iterdir())) == 2
    seen.clear()
    assert figures_of(recipe, whole=False).values() == first
    assert sum(seen) == 2 * 5  # only fakes


def test_features_of_other_images_are_not_mistaken_for_these(tmp_path):
    recipe = of_paired(far=Distance())
    figures_of(recipe)
    figures_of(recipe, test=PAIRED.build("train", DOMAINS))
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_damaged_or_unwritable_features_are_made_again_with_a_warning(tmp_path):
    recipe = of_paired(far=Distance())
    first, warned = figures_of(recipe).values(), []
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    assert figures_of(recipe, warn=warned.append).values() == first
    assert len(warned) == 2 and "made again" in warned[0]
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("in the way")
    warned.clear()
    assert figures_of(recipe, warn=warned.append).values() == first
    assert "cannot be kept" in warned[0]


def test_the_best_and_the_worst_images_are_kept_in_order(tmp_path):
    recipe = of_paired(bright=Brightness(), error=Error())
    figures = figures_of(recipe)
    told = figures.as_json({})["extremes"]["summer_to_winter"]
    assert told["metric"] == "error"  # with a truth before without
    assert told["columns"] == ["source", "fake", "truth"]
    values = [each["value"] for each in told["best"]]
    assert values == sorted(values) and len(values) == 4
    assert told["worst"][0]["value"] >= told["worst"][-1]["value"] >= values[0]
    figures.extremes[0].write(tmp_path)
    with Image.open(tmp_path / "summer_to_winter-best.png") as grid:
        assert grid.size == (2 + 3 * 34, 2 + 4 * 34)


def short(**changes):
    fields = {key: changes.pop(key) for key in ("metric",) if key in changes}
    train = {"steps": 4, "checkpoint_every": 3, "sample_every": 4, "keep": 1, **changes}
    return tiny_recipe(train=train, **fields)


def scores_of(folder="runs/tiny"):
    lines = (Path(folder) / "scores.jsonl").read_text().splitlines()
    return [(line["step"], line["scores"]) for line in map(json.loads, lines)]


def test_a_run_measures_when_its_recipe_says_and_at_its_end():
    assert quiet_run(short(evaluate_every=2, metric={"bright": Brightness()})) == 0
    steps = [step for step, _ in scores_of()]
    assert steps == [2, 4]
    figures = json.loads(Path("runs/tiny/figures.json").read_text())
    assert figures["step"] == 4
    last = figures["metrics"]["bright"]["scores"]["summer_to_winter"]["translated"]["value"]
    assert scores_of()[-1][1]["bright/summer_to_winter"] == pytest.approx(last)
    page = Path("runs/tiny/report.html").read_text()
    assert "Brightness (cd)" in page and "worst by Brightness" in page


def test_measuring_changes_nothing_of_a_training():
    quiet_run(short())
    quiet_run(short(evaluate_every=1, metric={"far": Distance(), "cycle": Cycle()}))
    one, other = (
        checkpoint.read(checkpoint.found(Path("runs") / name / "checkpoints")[0]).tensors
        for name in ("tiny", "tiny-2")
    )
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_without_metrics_leaves_no_figures():
    assert quiet_run(short()) == 0
    assert not Path("runs/tiny/figures.json").exists()


class Falling(Metric):
    """1 at first, then 0, 2, 3, …: the second measurement is the best."""

    judges_inputs = False

    def build(self):
        values = iter([1.0, 1.0, 0.0, 0.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0])
        return lambda shown: torch.full((len(shown.fake),), next(values))


def test_the_best_checkpoint_stays_and_is_told():
    recipe = short(steps=5, evaluate_every=1, keep_best="f", metric={"f": Falling()})
    assert quiet_run(recipe) == 0
    there = {path.name for path in Path("runs/tiny/checkpoints").glob("*.safetensors")}
    assert there >= {checkpoint.name_of(2), checkpoint.name_of(5)}
    assert checkpoint.name_of(1) not in there
    status = json.loads(Path("runs/tiny/status.json").read_text())
    best = status["best"]
    assert (best["step"], best["metric"], best["value"]) == (2, "f", 0.0)
    assert "step 2, by f: 0" in Path("runs/tiny/report.html").read_text()
    best = load_model("runs/tiny/checkpoints/step-00000002.safetensors", components=[Falling])
    assert best.about["step"] == 2


def worst(metric):
    return lambda shown: torch.full((len(shown.fake),), 9.0)


def test_scores_are_on_the_disk_before_the_checkpoint_that_they_choose(monkeypatch):
    synced, fsync = [], os.fsync

    def noted(descriptor):
        synced.append(Path(f"/dev/fd/{descriptor}").resolve().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    quiet_run(short(steps=2, evaluate_every=1, checkpoint_every=1, metric={"bright": Brightness()}))
    saved = next(index for index, name in enumerate(synced) if "step-00000001" in name)
    assert "scores.jsonl" in synced[:saved]


def test_a_resumed_run_remembers_its_best_checkpoint(monkeypatch):
    class Interrupting(Display):
        def update(self, done, facts=tuple):
            super().update(done, facts)
            if done == 3 and self._label == "step":
                import signal

                signal.raise_signal(signal.SIGINT)

    recipe = short(steps=5, evaluate_every=1, keep_best="f", metric={"f": Falling()})
    assert run(recipe, Interrupting(quiet=True)).exit_code == 130
    assert [step for step, _ in scores_of()] == [1, 2]  # a run that stops does not measure
    monkeypatch.setattr(Falling, "build", worst)
    assert quiet_run(recipe, resume=Path("runs/tiny")) == 0
    assert [step for step, _ in scores_of()] == [1, 2, 4, 5]
    assert json.loads(Path("runs/tiny/status.json").read_text())["best"]["step"] == 2
    assert (Path("runs/tiny/checkpoints") / checkpoint.name_of(2)).exists()


@pytest.mark.parametrize("name", ["nothing", "n"])
def test_the_best_can_only_be_chosen_by_a_metric_that_has_better_and_worse(name):
    class Neutral(Brightness):
        better = "neither"

    with pytest.raises(ValueError, match="keep_best"):
        tiny_recipe(
            train={"keep_best": name, "evaluate_every": 1},
            metric={"n": Neutral(), "b": Brightness()},
        )


def test_what_a_metric_warns_of_is_said_once_and_shown_in_the_report(capsys):
    quiet_run(short(evaluate_every=1, metric={"bright": Brightness()}))
    err = capsys.readouterr().err
    assert err.count("summer to winter: translations are dark") == 1
    assert "translations are dark" in Path("runs/tiny/report.html").read_text()


def test_metrics_may_change_when_a_run_goes_on():
    quiet_run(short(metric={"bright": Brightness()}))
    longer = short(steps=6, evaluate_every=1, metric={"far": Distance()})
    assert quiet_run(longer, resume=Path("runs/tiny")) == 0
    assert list(scores_of()[-1][1]) == ["far/summer_to_winter", "far/winter_to_summer"]


def call(*words):
    done = CliRunner().invoke(main, [*map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


PLUGIN = """
from judges import Brightness, Distance, Error, Means
from imgtrans import hookimpl
@hookimpl
def imgtrans_metrics():
    return {"brightness": Brightness, "distance": Distance, "error": Error}
@hookimpl
def imgtrans_feature_networks():
    return {"means": Means}
"""


@pytest.fixture
def plugin(tmp_path):
    from imgtrans.plugins import registry

    file = tmp_path / "judged.py"
    file.write_text(PLUGIN)
    yield file
    registry.cache_clear()


def test_evaluate_measures_with_everything_installed_and_fills_the_run(plugin):
    recipe = tiny_recipe(dataset=PAIRED, domains=DOMAINS, train={"steps": 1})
    quiet_run(recipe)
    done = call("evaluate", "runs/tiny", "--plugin", plugin, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {"brightness", "distance", "error"} <= set(told["metrics"])
    distance = told["metrics"]["distance"]
    assert distance["judge"] == {"name": "means", "sha256": "0" * 64, "resizing": "none"}
    score = distance["scores"]["summer_to_winter"]["translated"]
    assert (score["images"], score["targets"]) == (5, 5)
    assert json.loads(Path("runs/tiny/figures.json").read_text()) == told
    assert "worst by" in Path("runs/tiny/report.html").read_text()
    shown = call("evaluate", "runs/tiny", "--plugin", plugin)
    assert "Brightness (cd)" in shown.output
    assert "5 summer and 5 winter held-out images" in shown.output


def test_evaluate_takes_a_model_file_and_other_images(plugin, tmp_path):
    quiet_run(tiny_recipe(train={"steps": 1}))
    Path("runs/tiny/model.safetensors").rename("model.safetensors")
    root = photographs(tmp_path / "photos", (("testA", 3), ("testB", 2)))
    Path("other.toml").write_text(
        'extends = "cyclegan"\nname = "other"\n'
        f'[dataset]\nroot = "{root}"\nimage_size = 32\n'
        '[metric.mine]\nuse = "judged/brightness"\n'
    )
    words = ("evaluate", "model.safetensors", "--recipe", "other.toml", "--plugin", plugin)
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["images"] == {"x": 3, "y": 2}  # as the other recipe calls its domains
    assert "mine" in told["metrics"] and "brightness" not in told["metrics"]
    assert "no true counterparts" in told["not_measured"]["error"]
    mine = told["metrics"]["mine"]["scores"]["summer_to_winter"]
    assert list(mine) == ["translated", "untranslated"]  # no training images tell colours
    again = json.loads(call(*words, "--data", root, "--json").stdout)
    assert again["metrics"]["mine"] == told["metrics"]["mine"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["runs/tiny", "--data", "runs"], "images are not read from a folder"),
        (["runs/tiny", "--data", "photos"], "Directory 'photos' does not exist"),
        (["runs/tiny", "--recipe", "nowhere"], "nowhere"),
        (["runs/none"], "there is no model"),
        (["runs/tiny", "--recipe", "grey.toml"], "channels = 1, but the model has 3"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_words(words, text):
    quiet_run(tiny_recipe(train={"steps": 1}))
    grey = '[dataset]\nuse = "seasons/landscapes"\nchannels = 1\n'
    Path("grey.toml").write_text(f'extends = "cyclegan"\nname = "grey"\n{grey}')
    done = call("evaluate", *words)
    assert done.exit_code in (1, 2)
    assert text in done.output


def test_a_run_that_is_being_trained_is_left_alone():
    from imgtrans.monitor.folder import RunFolder

    quiet_run(tiny_recipe(train={"steps": 1}))
    with RunFolder(Path("runs/tiny")):
        done = call("evaluate", "runs/tiny")
    assert done.exit_code == 75


def test_images_without_a_split_of_their_own_are_measured_with_a_warning(tmp_path, capsys):
    root = photographs(tmp_path / "photos", (("trainA", 3), ("trainB", 2)))
    recipe = tiny_recipe(
        dataset=UnpairedFolders(root=str(root), image_size=32),
        metric={"bright": Brightness()},
        train={"steps": 1},
    )
    quiet_run(recipe)
    told = command.evaluate("runs/tiny", Display(quiet=True), torch.device("cpu"))
    assert told["held_out"] is False
    assert "flatters" in capsys.readouterr().err
