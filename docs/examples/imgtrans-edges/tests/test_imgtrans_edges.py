"""Every component keeps the promises of its kind; the loss keeps edges and nothing else."""

import pytest
import torch
from imgtrans.testing import parametrize_with_checks, toy_images, translation_of

from imgtrans_edges import NormalizedGradients

FLAT = torch.zeros(2, 3, 64, 64)


@parametrize_with_checks("imgtrans_edges")
def test_component(component, check):
    check(component)


def lost(source, fake):
    return NormalizedGradients().build()(translation_of(source=source, fake=fake))


def blurred(images):
    return torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_equal_images_lose_nothing(channels):
    images = toy_images(channels=channels)
    assert lost(images, images).item() == pytest.approx(0, abs=1e-6)


def test_another_brightness_loses_nothing_and_another_contrast_next_to_nothing():
    images = toy_images()
    assert lost(images, images + 0.3).item() == pytest.approx(0, abs=1e-6)
    assert lost(images, 0.5 * images).item() < 0.05
    assert lost(images, -images).item() < 0.1


def test_the_more_blurred_the_more_is_lost():
    once = blurred(toy_images())
    little, much = lost(toy_images(), once).item(), lost(toy_images(), blurred(once)).item()
    assert 0.1 < little < much <= 1


def test_edges_that_were_not_there_are_lost_as_much_as_edges_that_are_gone():
    assert lost(FLAT, toy_images()).item() > 0.9
    assert lost(toy_images(), FLAT).item() == lost(FLAT, toy_images()).item()


@pytest.mark.parametrize("channel", range(3))
def test_edges_of_every_channel_count(channel):
    fake = FLAT.clone()
    fake[:, channel] = toy_images()[:, channel]
    assert lost(FLAT, fake).item() > 0.8


def test_edges_count_alike_whichever_way_they_run():
    upright = toy_images(size=(1, 64)).expand(2, 3, 64, 64)
    assert lost(FLAT, upright).item() > 0.8
    assert lost(FLAT, upright.mT).item() == pytest.approx(lost(FLAT, upright).item())


def test_flat_images_have_a_gradient():
    fake = FLAT.clone().requires_grad_()
    lost(toy_images(), fake).backward()
    assert fake.grad.isfinite().all()
    assert fake.grad.any()
