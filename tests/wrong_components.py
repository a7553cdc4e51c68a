"""For each check of ``imgtrans.testing`` a component that is wrong in just that."""

import itertools
import random

import torch
from pydantic import ConfigDict, field_serializer, field_validator
from torch import nn
from torch.autograd.function import once_differentiable

from imgtrans import (
    Dataset,
    Discriminator,
    Field,
    Generator,
    Images,
    Loss,
    ResidualBlock,
    Terms,
)

COUNTER = itertools.count()


class Net(nn.Module):
    """A function with the parameters of a 1×1 convolution."""

    def __init__(self, function, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.function = function

    def forward(self, images):
        return self.function(self.conv, images)


class Once(torch.autograd.Function):
    """The identity, whose gradient has no gradient."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        return gradient


def generator(function):
    class Made(Generator):
        """A generator."""

        def build(self, channels_in, channels_out):
            return Net(function, channels_in)

    return Made


def block(function):
    class Made(ResidualBlock):
        """A block."""

        def build(self, channels):
            return Net(function, channels)

    return Made


def discriminator(function):
    class Made(Discriminator):
        """A discriminator."""

        def build(self, channels):
            return Net(function, channels)

    return Made


def loss(generators, discriminators=None):
    class Made(Loss):
        """A loss."""

        def build(self):
            return Terms(generators, discriminators)

    return Made


class List:
    """Images that a function makes of their numbers."""

    def __init__(self, make, count=2, name=str):
        self.make, self.count, self.name = make, count, name

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.make(index)


def dataset(x, y=None, *, paired=False):
    class Made(Dataset):
        """A dataset."""

        def build(self, split, domains):
            return Images(x, x if y is None else y, paired=paired)

    return Made


def grey(index, size=8):
    return torch.full((3, size, size), 10 * index, dtype=torch.uint8)


class Untold(ResidualBlock):
    size: int = Field(1, description="of something")

    def build(self, channels):
        return nn.Identity()


class Undescribed(ResidualBlock):
    """A block."""

    size: int = 1

    def build(self, channels):
        return nn.Identity()


class Unmakeable(ResidualBlock):
    """A block."""

    size: int = Field(description="of something")

    def build(self, channels):
        return nn.Identity()


class Growing(ResidualBlock):
    """A block."""

    size: int = Field(1, description="of something")

    @field_validator("size")
    @classmethod
    def _grow(cls, size):
        return size + 1

    def build(self, channels):
        return nn.Identity()


class Unsaveable(ResidualBlock):
    """A block."""

    size: int = Field(1, description="of something")

    @field_serializer("size")
    def _words(self, size):
        return "one"

    def build(self, channels):
        return nn.Identity()


class Unpicklable(ResidualBlock):
    """A block."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    size: int = Field(1, description="of something")

    def __reduce__(self):
        message = "holds an open file"
        raise TypeError(message)

    def build(self, channels):
        return nn.Identity()


def odd_weights(conv, images):
    return torch.tanh(conv(images))


class OddWeights(Generator):
    """A generator whose weights come from Python's own random numbers."""

    def build(self, channels_in, channels_out):
        network = Net(odd_weights, channels_in)
        nn.init.constant_(network.conv.bias, random.random())
        return network


class Forgetful(Generator):
    """A generator that keeps what it learned out of its state."""

    def build(self, channels_in, channels_out):
        shift = next(COUNTER) / 100
        return Net(lambda conv, images: torch.tanh(conv(images) + shift), channels_in)


def branching(conv, images):
    made = torch.tanh(conv(images))
    return made if made.mean() > -2 else -made


def in_place(translation):
    translation.source.mul_(0.5)
    return translation.fake.mean()


def backward_itself(translation):
    value = translation.fake.mean()
    value.backward()
    return value.detach()


WRONG = {
    "has_a_summary": (Untold, "docstring whose first line"),
    "describes_its_fields": (Undescribed, "Undescribed.size has no description"),
    "is_made_from_defaults_or_an_example": (Unmakeable, "give size a default"),
    "survives_a_recipe": (Unsaveable, "cannot be saved in a recipe"),
    "survives_a_recipe, changed": (Growing, "changes when it is saved"),
    "pickles": (Unpicklable, "holds an open file"),
    "keeps_shape": (generator(lambda conv, im: torch.tanh(conv(im))[..., 1:]), "keep the shape"),
    "keeps_shape, square only": (
        generator(lambda conv, im: torch.tanh(conv(im) + conv(im).mT)),
        "fails on images of 2×1×64×128",
    ),
    "stays_in_range": (generator(lambda conv, im: conv(im)), "end it in a tanh"),
    "trains_every_parameter": (
        generator(lambda conv, im: torch.tanh(im * conv.weight.sum())),
        "parameter conv.bias of Made gets no gradient",
    ),
    "draws_weights_from_torch": (OddWeights, "other first weights though the seed"),
    "comes_back_from_its_weights": (Forgetful, "makes another image"),
    "runs_on_meta": (
        generator(lambda conv, im: torch.tanh(conv(im) * max(1.0, float(im.mean())))),
        "on meta",
    ),
    "runs_in_bfloat16": (
        generator(lambda conv, im: torch.tanh(conv(im)) if conv(im).dtype == im.dtype else im / 0),
        "not finite under bfloat16",
    ),
    "exports": (generator(branching), "cannot be exported"),
    "block_keeps_shape": (block(lambda conv, im: torch.cat((conv(im), im), 1)), "keep the shape"),
    "block_trains_every_parameter": (
        block(lambda conv, im: conv(im).detach() + conv.bias.sum()),
        "parameter conv.weight of Made gets no gradient",
    ),
    "scores_every_image": (
        discriminator(lambda conv, im: conv(im).mean()),
        "must make finite logits",
    ),
    "differentiates_twice": (
        discriminator(lambda conv, im: Once.apply(conv(im)).mean((2, 3))[:, :1]),
        "cannot be differentiated twice",
    ),
    "is_a_finite_number": (loss(lambda t: (t.fake - t.source).abs()), "without dimensions"),
    "is_a_finite_number, infinite": (loss(lambda t: (t.fake * 0).mean().log()), "returns -inf"),
    "reaches_what_it_trains": (loss(lambda t: t.fake.detach().mean()), "no gradient"),
    "is_a_finite_number, no term": (loss(None), "must return a term"),
    "reaches_what_it_trains, by itself": (loss(backward_itself), "calls backward"),
    "reaches_what_it_trains, not finite": (
        loss(lambda t: (t.fake - t.fake).square().sum().sqrt() + t.fake.mean()),
        "not finite",
    ),
    "leaves_the_translation_alone, gradient": (
        loss(lambda t: t.target.requires_grad_().mean() + t.fake.mean()),
        "changes translation.target",
    ),
    "keeps_shape, colour only": (
        generator(lambda conv, im: torch.tanh(conv(im) * torch.ones(3, 1, 1))),
        "makes (1, 3, 64, 64) of (1, 1, 64, 64)",
    ),
    "scores_every_image, none": (discriminator(lambda conv, im: ()), "no scores at all"),
    "reaches_what_it_trains, discriminators": (
        loss(lambda t: t.fake.mean(), lambda t: t.replayed.mean()),
        "the discriminators' term of Made gives the discriminators no gradient",
    ),
    "leaves_the_translation_alone": (loss(in_place), "changes translation.source"),
    "asks_for_what_is_documented": (loss(lambda t: t._direction), "asks the translation for '_dir"),
    "has_images_to_the_end": (
        dataset(List([grey(0)].__getitem__, count=2)),
        "of 2 train images of x the last cannot be read",
    ),
    "has_images_to_the_end, none": (dataset(List(grey, count=0)), "train images of x are none"),
    "has_images_to_the_end, one name": (
        dataset(List(grey, name=lambda index: "image")),
        "have 1 names for 2 images",
    ),
    "makes_images": (dataset(List(lambda index: grey(index) / 5)), "number 1 of the train"),
    "makes_images, rows first": (
        dataset(List(lambda index: grey(index).permute(1, 2, 0))),
        "of shape (8, 8, 3)",
    ),
    "reads_the_same_again": (
        dataset(List(lambda index: torch.rand(3, 8, 8))),
        "another image when it is read again",
    ),
    "pairs_are_pairs": (
        dataset(List(grey), List(grey, count=1), paired=True),
        "are 2 of x and 1 of y",
    ),
    "pairs_are_pairs, sizes": (
        dataset(List(grey), List(lambda index: grey(index, 9)), paired=True),
        "pair 0 of the train images is (8, 8) and (9, 9)",
    ),
}
"""Check, and what is wrong where several are; the component; what the check says."""
