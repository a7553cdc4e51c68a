"""What is measured of single images: known values, and what each figure sees and does not see."""

import pytest
import torch
from imgtrans_cyclegan import EncoderDecoder
from imgtrans_metrics import (
    PSNR,
    SSIM,
    Checkerboard,
    Content,
    CycleError,
    LuminanceCorrelation,
)
from imgtrans_seasons import Landscapes
from torch import nn

from imgtrans import ImgtransError, Metric, Score, Translated
from imgtrans.data import to_range
from imgtrans.plugins import registry
from imgtrans.testing import toy_images
from imgtrans.translation import Direction


@pytest.fixture(scope="module")
def seasons():
    """The same scenes in summer and in winter, ``8×3×64×64``."""
    test = Landscapes(image_size=64, test_scenes=8).build("test", ("summer", "winter"))
    return [torch.stack([to_range(each[i]) for i in range(8)]) for each in (test.x, test.y)]


def figure(metric, source, fake, truth=None):
    return metric.build()(Translated(source, fake, truth))


def test_the_plugin_is_found_like_any_other():
    assert isinstance(registry().find(Metric, "metrics/psnr")(), PSNR)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "metric", [PSNR(), SSIM(), Content(), LuminanceCorrelation(), Checkerboard()]
)
def test_grey_or_colour_flat_or_not_every_image_has_a_finite_figure(metric, channels):
    images = toy_images(4, (40, 56), channels)
    images[0], images[1] = 0.3, -1.0
    for fake in (images, images.flip(0), torch.full_like(images, 0.7)):
        figures = figure(metric, images, fake, images)
        assert figures.shape == (4,) and figures.isfinite().all()


def test_psnr_of_a_difference_of_one_tenth_of_the_range_is_20_db():
    truth = torch.zeros(2, 3, 16, 16)
    fakes = torch.stack([truth[0] + 0.2, truth[1]])
    assert figure(PSNR(), truth, fakes, truth).tolist() == pytest.approx([20, 100], abs=1e-5)


def test_cycle_error_is_in_levels_of_255():
    images = toy_images()
    direction = Direction("x_to_y", nn.Identity(), back=_Darken())
    translated = Translated(images, images, None, direction)
    assert CycleError().build()(translated).tolist() == pytest.approx([3.0, 3.0], abs=1e-4)


class _Darken(nn.Module):
    def forward(self, images):
        return images - 3 / 127.5


def test_content_is_blind_to_colour_brightness_and_inversion_and_sees_another_scene(seasons):
    summer, winter = seasons
    same = (-summer, 0.5 * summer + 0.3, summer.clone())
    for fake in same:
        assert figure(Content(), summer, fake).min() > 0.999
    reds = summer.clone()  # more red and less green of the same luminance
    reds[:, 0] += 0.2 / 0.299
    reds[:, 1] -= 0.2 / 0.587
    assert figure(Content(), summer, reds).min() > 0.999
    truth, other = (figure(Content(), summer, fake).mean() for fake in (winter, winter.roll(1, 0)))
    assert truth > 0.4
    assert other < 0.2


def test_luminance_correlation_tells_an_inverted_image(seasons):
    summer, winter = seasons
    metric = LuminanceCorrelation()
    assert figure(metric, summer, 0.4 * summer + 0.1).tolist() == pytest.approx([1] * 8)
    assert figure(metric, summer, -summer).tolist() == pytest.approx([-1] * 8)
    assert 0.2 < figure(metric, summer, winter).mean() < 0.6


def test_a_warning_says_what_inverted_images_mean_and_what_to_do():
    said = LuminanceCorrelation().warning(Score(-0.6, -0.7, -0.5))
    assert "bright parts of images become dark" in said and "-0.60" in said
    assert "cyclegan/identity" in said and "train.seed" in said


@pytest.mark.parametrize(
    "score", [Score(0.9, 0.8, 1.0), Score(-0.1, -0.15, -0.05), Score(-0.3, -0.7, 0.1), Score(0.0)]
)
def test_a_correlation_that_is_not_clearly_negative_is_no_reason_to_warn(score):
    assert LuminanceCorrelation().warning(score) is None


def test_landscapes_and_noise_have_no_checkerboard(seasons):
    noise = toy_images(8)
    for images in (*seasons, noise):
        assert abs(figure(Checkerboard(), images, images).mean()) < 1.5


@pytest.mark.parametrize("period", [2, 4, 8])
@pytest.mark.parametrize("axis", [-1, -2])
def test_a_grid_is_seen_at_each_period_along_rows_and_columns(seasons, period, axis):
    summer = seasons[0]
    grid = torch.zeros(64)
    grid[::period] = 16 / 127.5
    lines = grid if axis == -1 else grid[:, None]
    both = (summer, summer + lines)
    before, after = (figure(Checkerboard(), each, each).mean() for each in both)
    assert after > before + 3


def test_a_checkerboard_in_one_corner_is_seen():
    images = Landscapes(image_size=128, test_scenes=4).build("test", ("summer", "winter"))
    whole = torch.stack([to_range(images.x[i]) for i in range(4)])
    corner = whole.clone()
    corner[:, :, :64:2, :64:2] += 4 / 127.5
    before, after = (figure(Checkerboard(), whole, each).mean() for each in (whole, corner))
    assert after > before + 3


@pytest.mark.parametrize("kernel", [3, 4])
def test_transposed_convolutions_score_above_resizing_ones_for_each_of_20_seeds(seasons, kernel):
    images = seasons[0]
    for seed in range(20):
        scores = [
            figure(Checkerboard(), images, decoder(seed, up)(images)).mean()
            for up in (transposed(kernel), resizing)
        ]
        assert scores[0] > scores[1] + 3, (seed, scores)


def test_a_brief_training_does_not_change_their_order(seasons):
    images = seasons[0]
    scores = []
    for up in (transposed(4), resizing):
        network = decoder(0, up)
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(60):  # to paint what it sees
            loss = (network(images) - images).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores.append(figure(Checkerboard(), images, network(images)).mean())
    assert scores[0] > scores[1] + 1


def decoder(seed, up):
    """The seed project's generator with another upsampling."""
    torch.manual_seed(seed)
    network = EncoderDecoder(width=8, blocks=1, norm="instance").build(3, 3)
    for index, layer in enumerate(network.decoder):
        if isinstance(layer, nn.ConvTranspose2d):
            network.decoder[index] = up(layer.in_channels, layer.out_channels)
    return network.eval().requires_grad_(requires_grad=True)


def transposed(kernel):
    def up(channels_in, channels_out):
        return nn.ConvTranspose2d(
            channels_in, channels_out, kernel, 2, 1, output_padding=kernel % 2, bias=False
        )

    return up


def resizing(channels_in, channels_out):
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution)


def test_images_too_small_for_a_figure_are_named_with_their_size():
    images = toy_images(2, (16, 40))
    with pytest.raises(ImgtransError, match="at least 32×32 pixels, not 40×16"):
        figure(Checkerboard(), images, images)
