"""``landscapes``: unpaired in training, with the truth in the test split."""

import pytest
import torch
from imgtrans_metrics.images import psnr, ssim
from imgtrans_seasons import Landscapes
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imgtrans.data import to_range

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
