"""Tiles: as if the network had seen the whole image, or a refusal."""

import pytest
import torch
from imgtrans_cyclegan import EncoderDecoder, Residual
from torch import nn
from toys import CPU

from imgtrans.data import to_range
from imgtrans.fusing import fused
from imgtrans.tiling import Tiler, UntileableError

SIZE = (160, 232)


def image(size=SIZE):
    """Smooth shapes with some texture, uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse, fine = torch.rand(1, 3, 6, 8, generator=generator), torch.rand(1, 3, *size)
    shapes = nn.functional.interpolate(coarse, size, mode="bicubic")
    return ((0.8 * shapes + 0.2 * fine)[0].clamp(0, 1) * 255).byte()


def network(norm, blocks=1):
    torch.manual_seed(0)
    block = Residual(norm=norm)
    made = EncoderDecoder(width=4, blocks=blocks, norm=norm, residual_block=block).build(3, 3)
    if norm == "batch":  # running statistics of its own
        with torch.no_grad():
            made(torch.rand(4, 3, 64, 64) * 2 - 1)
    return made.eval().requires_grad_(requires_grad=False)


def tiler(net, multiple=8, core=32):
    """With memory for tiles of this core and no more."""
    made = Tiler(net, channels=3, multiple=multiple, device=CPU, memory=2**40)
    made.memory = int((2 * made.halo + core) ** 2 * made.per_pixel) + 1
    return made


def whole(net, pixels):
    with torch.no_grad():
        return net(to_range(pixels[None]))[0]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_tiles_make_the_picture_that_the_whole_image_makes(norm, fast):
    net, pixels = network(norm), image()
    if fast:
        net = fused(net, to_range(image((64, 64))[None]))
    tiles = tiler(net)
    assert not tiles.fits(*SIZE)
    strips = list(tiles.translate(pixels))
    assert len(strips) == 5
    starts = [top for top, _ in strips]
    assert starts == [sum(s.shape[1] for _, s in strips[:n]) for n in range(5)]
    difference = (torch.cat([strip for _, strip in strips], 1) - whole(net, pixels)).abs() * 127.5
    assert difference.mean() < 0.01
    assert difference.max() < 0.2


@pytest.mark.parametrize(
    "norm", [nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(2, 4), nn.GroupNorm(1, 4)], ids=str
)
def test_normalisation_with_weights_or_groups_of_its_own_keeps_them(norm):
    torch.manual_seed(1)
    first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    net = nn.Sequential(first, norm, last).eval().requires_grad_(requires_grad=False)
    pixels = image()
    strips = tiler(net, multiple=1).translate(pixels)
    made = torch.cat([strip for _, strip in strips], 1)
    torch.testing.assert_close(made, whole(net, pixels), atol=1e-4, rtol=1e-4)


def test_a_shrunken_images_statistics_are_faster_and_not_the_same():
    net, pixels = network("instance"), image()
    tiles, ticks = tiler(net), {"exact": 0, "reduced": 0}
    made = {}
    for statistics in ("exact", "reduced"):

        def tick(statistics=statistics):
            ticks[statistics] += 1

        strips = list(tiles.translate(pixels, statistics, tick))
        made[statistics] = torch.cat([strip for _, strip in strips], 1)
        assert ticks[statistics] == tiles.ticks(*SIZE, statistics)
    calls = sum(isinstance(each, nn.InstanceNorm2d) for each in net.modules())
    assert ticks["exact"] == (calls + 1) * ticks["reduced"]
    assert (made["exact"] - made["reduced"]).abs().max() > 0.01


def test_a_network_is_left_as_it_was():
    net, pixels = network("instance"), image()
    before = whole(net, pixels)
    list(tiler(net).translate(pixels))
    assert torch.equal(whole(net, pixels), before)


class OwnNorm(nn.Module):
    """Normalises by the whole image in a way of its own."""

    def forward(self, images):
        return (images - images.mean((2, 3), keepdim=True)) / images.std((2, 3), keepdim=True)


class Gain(nn.InstanceNorm2d):
    """Instance normalisation, and more."""

    def forward(self, images):
        return super().forward(images) * 1.5 + 0.3


class Gate(nn.Module):
    """Squeeze and excitation with a shut gate on noise, open on other pictures."""

    def forward(self, images):
        return images * (1 + 4 * (images.mean((2, 3), keepdim=True).abs() - 0.05).relu())


class Position(nn.Module):
    """Adds where in the image a pixel is."""

    def forward(self, images):
        return images + torch.linspace(-1, 1, images.shape[-1])


class Everything(nn.Module):
    """Adds the mean of the whole image."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.convolution(images) + images.mean((2, 3), keepdim=True)


SUBCLASS = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), Gain(3))
PADDING = nn.Sequential(nn.Conv2d(3, 3, 3, padding=3), nn.InstanceNorm2d(3), nn.Conv2d(3, 3, 5))


@pytest.mark.parametrize(
    "net",
    [Everything(), OwnNorm(), SUBCLASS, Gate(), Position(), PADDING],
    ids=["mean", "own norm", "subclass", "gate", "position", "padding"],
)
def test_a_network_that_sees_the_whole_image_is_refused(monkeypatch, net):
    monkeypatch.setattr("imgtrans.tiling.measuring.LARGEST_PROBE", 128)
    tiles = Tiler(net, channels=3, multiple=1, device=CPU, memory=1)
    tiles.memory = 2**18
    words = r"looks at the whole image|tiles differ|cannot be tiled"
    with pytest.raises(UntileableError, match=words):
        list(tiles.translate(image()))


def test_too_little_memory_is_told_with_how_much_is_needed():
    net = network("batch")
    tiles = Tiler(net, channels=3, multiple=8, device=CPU, memory=1000)
    with pytest.raises(UntileableError, match=r"so allow 1 MiB or more"):
        list(tiles.translate(image()))


def test_a_reach_is_that_of_the_layers():
    net = nn.Sequential(nn.Conv2d(3, 3, 7, padding=3), nn.Conv2d(3, 3, 5, padding=2))
    tiles = Tiler(
        net.requires_grad_(requires_grad=False), channels=3, multiple=1, device=CPU, memory=1
    )
    assert 4 + 8 <= tiles.halo <= 5 + 8
