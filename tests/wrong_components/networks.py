"""Networks that do not build, or whose outputs are wrong."""

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from wrong_components.making import Net, block, discriminator, generator, tanh


class Once(torch.autograd.Function):
    """The identity, whose gradient has no gradient."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        return gradient


class Lazy(Net):
    """A network whose weights have no shape yet."""

    def __init__(self, function, channels):
        super().__init__(function, channels)
        self.weight = nn.UninitializedParameter()


def colour_only(function, channels):
    return Net(function, {3: 3}[channels])


def by_values(function, channels):
    network = Net(function, channels)
    network.conv.weight.data.div_(network.conv.weight.norm().item())
    return network


def one_pixel(conv, images):
    norm = nn.BatchNorm2d(images.shape[1])
    return torch.tanh(conv(images) + norm(images.mean((2, 3), keepdim=True)))


def smooth(conv, images):
    """Its first gradient is finite, its second is not."""
    return ((conv(images) * 0).pow(1.5) + conv(images))[:, :1]


def cut_when_exported(conv, images):
    return conv(images)[..., 1:] if torch.compiler.is_exporting() else conv(images)


def branching(conv, images):
    made = torch.tanh(conv(images))
    return made if made.mean() > -2 else -made


WRONG = {
    "keeps_shape": (generator(lambda conv, im: tanh(conv, im)[..., 1:]), "keep the shape"),
    "keeps_shape, square only": (
        generator(lambda conv, im: torch.tanh(conv(im) + conv(im).mT)),
        "fails on images of 2×1×64×65",
    ),
    "keeps_shape, colour only": (
        generator(lambda conv, im: torch.tanh(conv(im) * torch.ones(3, 1, 1))),
        "makes (1, 3, 64, 64) of (1, 1, 64, 64)",
    ),
    "keeps_shape, pair": (generator(lambda conv, im: (tanh(conv, im), im)), "makes tuple of"),
    "keeps_shape, halved": (
        generator(
            lambda conv, im: nn.functional.interpolate(conv(im[..., ::2, ::2]), scale_factor=2)
        ),
        "makes (2, 1, 64, 66) of (2, 1, 64, 65)",
    ),
    "keeps_shape, double": (generator(lambda conv, im: tanh(conv, im).double()), "keep the type"),
    "keeps_shape, build": (generator(tanh, colour_only), "Made.build(1, 1) fails: KeyError: 1"),
    "keeps_shape, function": (
        generator(tanh, lambda function, channels: function),
        "must return a torch.nn.Module, not a function",
    ),
    "keeps_shape, lazy": (generator(tanh, Lazy), "weight of Made has no shape before the first"),
    "keeps_shape, multiple": (generator(tanh, pixels=0), "Made.multiple is 0; it must be"),
    "keeps_shape, no multiple": (generator(tanh, pixels=lambda: 1 // 0), "Made.multiple fails"),
    "keeps_shape, one pixel": (generator(one_pixel), "leave out the norm of so small"),
    "stays_in_range": (generator(lambda conv, im: conv(im) * 10), "end it in a tanh"),
    "stays_in_range, at first": (generator(lambda conv, im: conv(im) / 10), "end it in a tanh"),
    "stays_in_range, not a number": (
        generator(lambda conv, im: tanh(conv, im) / (im - im)),
        "not finite of random images: keep divisions",
    ),
    "stays_in_range, one colour": (
        generator(lambda conv, im: torch.tanh(conv((im - im.mean()) / im.std()))),
        "not finite of white images",
    ),
    "runs_on_meta": (
        generator(lambda conv, im: torch.tanh(conv(im) * max(1.0, float(im.mean())))),
        "on meta",
    ),
    "runs_on_meta, processor": (
        generator(lambda conv, im: torch.tanh(conv(im) + torch.zeros(3, 1, 1))),
        "with device=images.device",
    ),
    "runs_on_meta, build": (generator(tanh, by_values), "build without reading any"),
    "runs_in_bfloat16": (
        generator(lambda conv, im: tanh(conv, im) if conv(im).dtype == im.dtype else im / 0),
        "not finite under bfloat16",
    ),
    "runs_in_bfloat16, types": (
        generator(lambda conv, im: torch.tanh(im.flatten(2).baddbmm(conv(im)[:, 0], im[0]))),
        "make new tensors of the type of those they meet",
    ),
    "exports": (generator(branching), "torch.export of Made fails"),
    "exports, cut": (block(cut_when_exported), "(2, 8, 16, 16) once it is exported"),
    "block_keeps_shape": (block(lambda conv, im: torch.cat((conv(im), im), 1)), "keep the shape"),
    "block_keeps_shape, double": (block(lambda conv, im: conv(im).double()), "keep the type"),
    "scores_every_image": (discriminator(lambda conv, im: conv(im).mean()), "must make logits"),
    "scores_every_image, none": (discriminator(lambda conv, im: ()), "no scores at all"),
    "scores_every_image, not a number": (
        discriminator(lambda conv, im: conv(im)[:, :1].log()),
        "not finite of random images",
    ),
    "differentiates_twice": (
        discriminator(lambda conv, im: Once.apply(conv(im)).mean((2, 3))[:, :1]),
        "discriminator Made twice fails",
    ),
    "differentiates_twice, not finite": (discriminator(smooth), "the second gradient of"),
}
