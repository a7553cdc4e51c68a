"""``landscapes``: unpaired in training, with the truth in the test split; figures against it."""

import pytest
import torch
from imgtrans_seasons import Landscapes
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from toys import tiny_recipe, trainer_of

from imgtrans.data import held_out, open_store, to_range
from imgtrans.evaluation import ColourMatch, compare, psnr, ssim

DOMAINS = ("summer", "winter")
SMALL = Landscapes(image_size=32, scenes=4, test_scenes=3)


def test_training_scenes_are_unpaired_and_apart_from_held_out_ones():
    train, test = SMALL.build("train", DOMAINS), SMALL.build("test", DOMAINS)
    scenes = [
        {images.name(i).partition(" in ")[0] for i in range(len(images))}
        for images in (train.x, train.y, test.x)
    ]
    assert not train.paired
    assert not (scenes[0] & scenes[1] or scenes[0] & scenes[2] or scenes[1] & scenes[2])


def test_held_out_scenes_are_the_same_places_in_both_seasons():
    test = SMALL.build("test", DOMAINS)
    assert test.paired
    assert [test.x.name(i).replace("summer", "") for i in range(3)] == [
        test.y.name(i).replace("winter", "") for i in range(3)
    ]


def test_scenes_come_in_the_asked_size_and_channels():
    grey = SMALL.model_copy(update={"channels": 1, "load_size": 40})
    assert grey.build("train", DOMAINS).x[0].shape == (1, 40, 40)
    assert SMALL.build("train", DOMAINS).x[0].dtype == torch.uint8


def test_another_world_has_other_scenes():
    one, other = (Landscapes(image_size=32, scenes=1, scene_seed=s) for s in (0, 1))
    assert not torch.equal(one.build("train", DOMAINS).x[0], other.build("train", DOMAINS).x[0])


def test_psnr_and_ssim_agree_with_another_library():
    test = Landscapes(image_size=96, test_scenes=2).build("test", DOMAINS)
    images, truth = (torch.stack([to_range(d[i]) for i in range(2)]) for d in (test.x, test.y))
    for index in range(2):
        a, b = (((t[index] + 1) / 2).permute(1, 2, 0).numpy() for t in (images, truth))
        assert psnr(images, truth)[index].item() == pytest.approx(
            peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4
        )
        _, everywhere = structural_similarity(
            b, a, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True,
        )  # fmt: skip
        assert ssim(images, truth)[index].item() == pytest.approx(everywhere.mean(), abs=1e-3)


def test_a_colour_match_moves_mean_and_deviation():
    source, target = torch.rand(4, 3, 8, 8) - 0.5, torch.rand(4, 3, 8, 8) * 0.2
    matched = ColourMatch.fit(source, target)(source)
    assert matched.mean().item() == pytest.approx(target.mean().item(), abs=0.01)
    assert matched.std().item() == pytest.approx(target.std().item(), abs=0.01)


def test_a_perfect_translation_would_have_the_best_figures():
    recipe = tiny_recipe(dataset=SMALL)
    trainer, test = trainer_of(recipe), SMALL.build("test", DOMAINS)
    stores = (open_store(test.x, SMALL), open_store(test.y, SMALL))
    pairs = held_out(stores, 3, 32, paired=True)
    assert pairs is not None
    x, y = pairs.x, pairs.y

    class Perfect(torch.nn.Module):
        def forward(self, images):
            known = torch.stack([(images[0] - each).abs().sum() for each in x]).argmin()
            return y[known : known + len(images)]

    trainer.directions[0].generator = Perfect()
    figures = compare(recipe, trainer, stores, test)
    assert figures is not None
    rows = {(row.direction, row.what): row for row in figures.rows}
    assert rows["summer to winter", "translated"].ssim == pytest.approx(1)
    untranslated = rows["summer to winter", "untranslated input"]
    assert untranslated.psnr_db == pytest.approx(psnr(x, y).mean().item())


def test_without_a_truth_there_are_no_figures():
    recipe = tiny_recipe(dataset=SMALL)
    train = SMALL.build("train", DOMAINS)
    stores = (open_store(train.x, SMALL), open_store(train.y, SMALL))
    assert compare(recipe, trainer_of(recipe), stores, train) is None


def test_each_direction_is_measured_against_its_own_truth_and_matched_on_training_images():
    dataset = Landscapes(image_size=32, scenes=20, test_scenes=3)
    recipe = tiny_recipe(dataset=dataset)
    train, test = (dataset.build(split, DOMAINS) for split in ("train", "test"))
    stores = tuple(open_store(images, dataset) for images in (train.x, train.y))
    figures = compare(recipe, trainer_of(recipe), stores, test)
    rows = {(row.direction, row.what): row.psnr_db for row in figures.rows}
    known = [torch.stack([to_range(d[i]) for i in range(20)]) for d in (train.x, train.y)]
    held = [torch.stack([to_range(d[i]) for i in range(3)]) for d in (test.x, test.y)]
    for name, one, other in (("summer to winter", 0, 1), ("winter to summer", 1, 0)):
        matched = ColourMatch.fit(known[one], known[other])(held[one])
        expected = psnr(matched, held[other]).mean().item()
        assert rows[name, "colour match"] == pytest.approx(expected, abs=1e-3)
