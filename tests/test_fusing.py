"""The faster copy of a network: the same picture, or the network itself."""

import copy

import pytest
import torch
from imgtrans_cyclegan import EncoderDecoder, ReflectedResidual, Residual, ResNet, UNet
from torch import nn

from imgtrans.fusing import Instance, Mixed, fused

NETWORKS = {
    "seed, batch": EncoderDecoder(width=8, blocks=2, residual_block=Residual()),
    "seed, instance": EncoderDecoder(
        width=8, blocks=2, norm="instance", residual_block=Residual(norm="instance")
    ),
    "seed, none": EncoderDecoder(
        width=8, blocks=2, norm="none", residual_block=Residual(norm="none")
    ),
    "resnet, batch": ResNet(
        width=8, blocks=2, norm="batch", residual_block=ReflectedResidual(norm="batch")
    ),
    "resnet, instance": ResNet(width=8, blocks=2, residual_block=ReflectedResidual()),
    "resnet, antialiased": ResNet(
        width=8,
        blocks=1,
        downsampling="antialiased",
        upsampling="antialiased",
        residual_block=ReflectedResidual(),
    ),
    "unet, batch": UNet(width=8, depth=5, dropout=True),
    "unet, instance": UNet(width=8, depth=5, norm="instance"),
}


def trained(network, size=64):
    """With weights that make something of an image, and statistics of some images."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
            layer.momentum = None
    with torch.no_grad():
        network.train()(images(4, size))
    return network.eval().requires_grad_(requires_grad=False)


def images(count=1, size=64, seed=0):
    drawn = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return drawn * 2 - 1


def levels(one, other):
    """The greatest difference between images, in levels of 255."""
    return 127.5 * float((one - other).abs().max())


def kinds(network):
    return [type(layer) for layer in network.modules()]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_shipped_network_makes_the_same_picture_in_fewer_steps(name):
    plain = trained(NETWORKS[name].build(3, 3))
    before = copy.deepcopy(plain.state_dict())
    fast = fused(plain, images())
    assert not {nn.BatchNorm2d, nn.InstanceNorm2d} & set(kinds(fast))
    assert fast(images()).is_contiguous(memory_format=torch.channels_last)
    shown = images(2, 96, seed=1)
    wanted = plain(shown)
    assert wanted.std() > 0.1  # of what is nearly one grey, every network makes the same
    assert levels(fast(shown), wanted) < (5e-3 if Instance in kinds(fast) else 1e-3)
    assert all(torch.equal(before[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (10, 1), (10, 0.003), (-1, 0.001)])
def test_instance_normalisation_is_as_exact_of_values_far_from_zero(mean, deviation):
    values = mean + deviation * images(size=128).to(memory_format=torch.channels_last)
    plain, truth = nn.InstanceNorm2d(3), nn.InstanceNorm2d(3)(values.double())
    made = Instance(3)(values)
    assert made.is_contiguous(memory_format=torch.channels_last)
    allowed = 3 * (plain(values) - truth).abs().max() + 1e-6
    assert (made - truth).abs().max() < allowed


class Named(nn.Module):
    """Layers by attributes, as most networks of others have them; what ``then`` says comes next."""

    def __init__(self, then=lambda network, convolved, normal: normal, norm=None):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 3, 3, padding=1), norm or nn.BatchNorm2d(3)
        self.then = then

    def forward(self, seen):
        convolved = self.first(seen)
        return self.then(self, convolved, self.norm(convolved)).tanh()


def test_layers_that_are_called_by_name_are_folded_too():
    plain = trained(Named())
    fast = fused(plain, images())
    assert nn.BatchNorm2d not in kinds(fast)
    assert levels(fast(images(seed=1)), plain(images(seed=1))) < 1e-3


class Halved(nn.BatchNorm2d):
    """Normalises to half the size."""

    def forward(self, values):
        return super().forward(values) / 2


def by_value(network, convolved, normal):
    return normal if convolved.sum() > 0 else -normal


@pytest.mark.parametrize(
    "plain",
    [
        Named(lambda network, convolved, normal: convolved + normal),
        Named(lambda network, convolved, normal: network.norm(normal)),
        Named(lambda network, convolved, normal: network.first(normal)),
        Named(norm=Halved(3)),
        Named(by_value),
    ],
    ids=["shared output", "norm twice", "convolution twice", "subclass", "decides by values"],
)
def test_what_is_not_a_convolution_and_its_norm_alone_is_not_folded(plain):
    trained(plain)
    fast = fused(plain, images())
    assert any(issubclass(kind, nn.BatchNorm2d) for kind in kinds(fast))
    assert levels(fast(images(seed=1)), plain(images(seed=1))) < 1e-3


def test_statistics_of_what_is_seen_are_not_folded():
    plain = trained(Named(norm=nn.BatchNorm2d(3, track_running_stats=False)))
    assert nn.BatchNorm2d in kinds(fused(plain, images()))


class Viewing(nn.Module):
    """Takes its values in the order in which they lie."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)

    def forward(self, seen):
        return self.first(seen).view(len(seen), -1).cumsum(1).view(seen.shape)


class Original(nn.Module):
    """Makes another picture once it was copied."""

    def __init__(self):
        super().__init__()
        self.first, self.sign = nn.Conv2d(3, 3, 1), 1

    def __deepcopy__(self, memo):
        other = Original()
        other.sign = -1
        return other

    def forward(self, seen):
        return self.sign * self.first(seen)


class Single(nn.Module):
    """Cannot be copied."""

    def __deepcopy__(self, memo):
        raise TypeError

    def forward(self, seen):
        return seen


@pytest.mark.parametrize("plain", [Viewing(), Original(), Single()], ids=lambda n: type(n).__name__)
def test_a_network_that_no_copy_equals_is_used_as_it_is(plain):
    plain.eval().requires_grad_(requires_grad=False)
    assert fused(plain, images()) is plain


def test_a_copy_that_normalises_a_single_pixel_refuses_it_as_the_network_does():
    plain = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.InstanceNorm2d(4)).eval()
    fast = fused(plain, images(size=16))
    assert Instance in kinds(fast)
    for network in (plain, fast):
        for count in (1, 2):
            with pytest.raises(ValueError, match=r"single pixel|more than 1"):
                network(images(count, 8))


def test_weights_of_instance_normalisation_stay():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True))
    nn.init.uniform_(plain[1].weight)
    nn.init.uniform_(plain[1].bias)
    fast = fused(plain.eval().requires_grad_(requires_grad=False), images())
    assert Instance in kinds(fast)
    assert levels(fast(images(seed=1)), plain(images(seed=1))) < 5e-3


def test_bfloat16_changes_a_picture_by_some_levels_and_gives_floats():
    plain = trained(NETWORKS["seed, batch"].build(3, 3))
    made = Mixed(plain)(images(seed=1))
    assert made.dtype == torch.float32
    apart = (made - plain(images(seed=1))).abs() * 127.5
    assert 0 < apart.mean() < 2
