"""The reference networks, layer for layer."""

import pytest
import torch
from imgtrans_cyclegan import Convolutional, EncoderDecoder, Residual
from torch import nn

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU, nn.Tanh)


def parameters(network):
    return sum(each.numel() for each in network.parameters())


def layers(network):
    """Every layer as the seed's code would list it: channels, kernel, stride, padding."""
    found = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            assert module.bias is None
            name = "up" if isinstance(module, nn.ConvTranspose2d) else "conv"
            sizes = (module.kernel_size[0], module.stride[0], module.padding[0])
            found.append((name, module.in_channels, module.out_channels, *sizes))
        elif isinstance(module, LAYERS):
            found.append(type(module).__name__)
    return found


def test_the_generator_has_the_seeds_parameters_and_keeps_the_size():
    generator = EncoderDecoder().build(3, 3)
    assert parameters(generator) == 8_402_176
    image = torch.rand(2, 3, 128, 128) * 2 - 1
    translated = generator(image)
    assert translated.shape == image.shape
    assert translated.abs().max() <= 1


def test_the_discriminator_has_the_seeds_parameters_and_gives_7_by_7_logits():
    discriminator = Convolutional().build(3)
    assert parameters(discriminator) == 2_765_568
    assert discriminator(torch.rand(2, 3, 128, 128)).shape == (2, 1, 7, 7)


def test_the_generators_layers_are_the_seeds():
    norm, relu = "BatchNorm2d", "ReLU"
    block = [("conv", 256, 256, 3, 1, 1), norm, relu, ("conv", 256, 256, 3, 1, 1), norm]
    assert layers(EncoderDecoder(blocks=2).build(3, 3)) == [
        ("conv", 3, 64, 4, 2, 1), norm, relu,
        ("conv", 64, 128, 4, 2, 1), norm, relu,
        ("conv", 128, 256, 4, 2, 1), norm, relu,
        *block, *block,
        ("up", 256, 128, 4, 2, 1), norm, relu,
        ("up", 128, 64, 4, 2, 1), norm, relu,
        ("up", 64, 3, 4, 2, 1), "Tanh",
    ]  # fmt: skip


def test_the_discriminators_layers_are_the_seeds():
    norm, relu = "BatchNorm2d", "ReLU"
    assert layers(Convolutional().build(3)) == [
        ("conv", 3, 64, 4, 2, 1), relu,
        ("conv", 64, 128, 4, 2, 1), norm, relu,
        ("conv", 128, 256, 4, 2, 1), norm, relu,
        ("conv", 256, 512, 4, 2, 1), norm, relu,
        ("conv", 512, 1, 4, 1, 1),
    ]  # fmt: skip


def test_a_residual_block_adds_its_input_and_ends_without_an_activation():
    block = Residual(norm="none").build(4)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    image = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(image), image)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 72), (8, 16)])
def test_the_generator_keeps_every_size_that_is_a_multiple_of_8(height, width):
    chosen = EncoderDecoder(width=2, blocks=1)
    image = torch.rand(2, 3, height, width)
    assert height % chosen.multiple == width % chosen.multiple == 0
    assert chosen.build(3, 1)(image).shape == (2, 1, height, width)
