"""Every component keeps the promises of its kind; the block's attention does what it says."""

import pytest
import torch
from imgtrans.testing import parametrize_with_checks, toy_images
from imgtrans_cyclegan import Residual

from imgtrans_attention import SqueezeExcitation

NORMS = ["batch", "instance", "none"]
IMAGES = toy_images(2, (8, 8), 16)


@parametrize_with_checks("imgtrans_attention")
def test_component(component, check):
    check(component)


def gate_of(block, weight, bias):
    """Every channel's factor becomes ``2 sigmoid(weight · units + bias)``."""
    torch.nn.init.constant_(block.gate[2].weight, weight)
    block.gate[2].bias.data[:] = torch.as_tensor(bias)
    return block


@pytest.mark.parametrize("norm", NORMS)
def test_a_new_block_does_what_the_reference_does(norm):
    torch.manual_seed(0)
    block = SqueezeExcitation(norm=norm).build(16)
    torch.manual_seed(0)
    reference = Residual(norm=norm).build(16)
    assert torch.allclose(block(IMAGES), reference(IMAGES))


@pytest.mark.parametrize("norm", NORMS)
def test_each_channel_adds_to_the_image_by_its_own_factor(norm):
    block = SqueezeExcitation(norm=norm).build(16)
    added = block(IMAGES) - IMAGES
    shut = torch.arange(16) < 8
    gate_of(block, 0.0, torch.where(shut, -torch.inf, torch.inf))
    wanted = torch.where(shut[:, None, None], 0.0, 2 * added)
    assert torch.allclose(block(IMAGES) - IMAGES, wanted, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_each_image_has_factors_of_its_own(norm):
    block = gate_of(SqueezeExcitation(norm=norm).build(16), 1.0, 0.0)
    factors = []
    block.gate.register_forward_hook(lambda module, given, made: factors.append(made))
    block(IMAGES * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
    assert not torch.allclose(*factors[0])


def test_few_channels_still_have_a_unit_between_the_layers():
    block = SqueezeExcitation(reduction=16).build(4)
    assert block.gate[0].out_features == 1
    assert block(IMAGES[:, :4]).shape == (2, 4, 8, 8)
