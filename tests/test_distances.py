"""KID and FID: equal to an independent computation, near zero for one domain, honest intervals."""

import numpy as np
import pytest
import torch
from imgtrans_metrics import FID, KID, EfficientNetLite0, Inception
from imgtrans_seasons import Landscapes

from imgtrans import FeatureNetwork, ImgtransError, Judge
from imgtrans.data import to_range


class Pixels(FeatureNetwork):
    """Nothing is looked at: the features are given."""

    @property
    def judge(self):
        return Judge("pixels", "0" * 64, "none")

    def build(self):
        raise NotImplementedError


def kid(fakes, reals, **fields):
    return KID(features=Pixels(), **fields).build().distance(fakes, reals)


def fid(fakes, reals):
    return FID(features=Pixels()).build().distance(fakes, reals).value


def features(count, seed, dimensions=12, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.2, 2, dimensions)
    return torch.randn(count, dimensions, generator=generator) * spread + shift


def textbook_kid(x, y):
    """The unbiased squared MMD with the kernel (x·y / D + 1)³ (Bińkowski et al., section 4)."""
    (n, dimensions), m = x.shape, len(y)
    xx, yy, xy = (((a @ b.T) / dimensions + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return within - 2 * xy.mean()


def textbook_fid(x, y):
    """|μ - ν|² + tr(A + B - 2 (A½ B A½)½), with square roots from eigenvalues."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * shared


def test_kid_of_whole_sets_is_the_textbooks():
    x, y = features(40, 0, shift=0.3), features(40, 1)
    found = kid(x, y, subset_size=40)
    assert found.value == pytest.approx(textbook_kid(x.double().numpy(), y.double().numpy()))
    assert found.low is None  # every subset was the same, so nothing is known of the spread


def test_the_mean_over_subsets_is_near_the_textbooks_for_sets_of_unequal_size():
    x, y = features(80, 0, shift=0.3), features(50, 1)
    found = kid(x, y, subsets=400)
    expected = textbook_kid(x.double().numpy(), y.double().numpy())
    assert found.value == pytest.approx(expected, abs=0.1 * (found.high - found.low))


@pytest.mark.parametrize(("n", "m", "dimensions"), [(200, 150, 12), (20, 14, 50), (12, 300, 50)])
def test_fid_is_the_textbooks_also_where_images_are_fewer_than_features(n, m, dimensions):
    x, y = features(n, 0, dimensions, shift=0.3), features(m, 1, dimensions)
    expected = textbook_fid(x.double().numpy(), y.double().numpy())
    assert fid(x, y) == pytest.approx(expected, rel=1e-5)


def test_fid_of_normal_distributions_is_the_squared_shift():
    assert fid(features(20_000, 0, shift=0.5), features(20_000, 1)) == pytest.approx(3, rel=0.05)


def test_the_same_features_give_the_same_figure_and_disturb_no_random_numbers():
    x, y = features(40, 0), features(40, 1)
    before = torch.get_rng_state()
    first = kid(x, y)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert kid(x, y) == first


@pytest.mark.parametrize(
    ("n", "m", "size"), [(40, 40, None), (40, 40, 10), (40, 40, 30), (40, 90, None)]
)
def test_the_interval_is_as_wide_as_figures_of_other_images_spread(n, m, size):
    draws = [
        kid(
            features(n, 2 * i, 8, shift=0.5),
            features(m, 2 * i + 1, 8),
            subsets=40,
            subset_size=size,
        )
        for i in range(80)
    ]
    spread = np.std([each.value for each in draws])
    claimed = np.mean([(each.high - each.low) / 2 / 1.96 for each in draws])
    assert 0.8 < claimed / spread < 1.6  # of unequal sets it is a little too wide


def test_too_few_images_are_told():
    for distance in (kid, fid):
        with pytest.raises(ImgtransError, match="which 9 images do not show"):
            distance(features(9, 0), features(40, 1))
    with pytest.raises(ImgtransError, match="subset_size = 21 images, but there are only 20"):
        kid(features(40, 0), features(20, 1), subset_size=21)


def test_the_bare_words_are_for_the_inception_file_of_published_figures():
    assert [each(features=Inception()).title for each in (KID, FID)] == ["KID", "FID"]
    assert KID().title == "KID on EfficientNet-Lite0"
    assert FID(features=Pixels()).title == "FID on pixels"
    assert KID().judge == EfficientNetLite0().judge


def test_one_season_split_in_two_is_near_zero_and_the_other_season_clearly_above():
    train = Landscapes(image_size=64, scenes=28).build("train", ("summer", "winter"))
    network = EfficientNetLite0().build()
    summer, winter = (
        torch.cat([network(to_range(images[i])[None]) for i in range(28)])
        for images in (train.x, train.y)
    )
    half = KID().build().distance(summer[:14], summer[14:])
    seasons = KID().build().distance(summer[:14], winter[:14])
    assert half.low < 0 < half.high
    assert seasons.low > half.high
    near, far = (FID().build().distance(summer[:14], each) for each in (summer[14:], winter[:14]))
    assert far.value > 1.5 * near.value
