"""Components that are unlike others and keep every promise."""

import random

import torch
from torch import nn
from wrong_components.losses import loss
from wrong_components.making import block, discriminator, generator, tanh

from imgtrans import Dataset, Field, Images, NoHeldOutError, RecipeError


class Sometimes(nn.Module):
    """Three branches; a training leaves out most of them in most steps, and drops channels."""

    def __init__(self, function, channels):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.dropout = nn.Dropout2d(0.5)

    def forward(self, images):
        for branch in self.branches:
            if not self.training or random.random() < 0.3:
                images = images + self.dropout(branch(images))
        return images


def inverse(conv, images):
    """Steps back from the tanh that made the images; nothing beyond ±1 has such a place."""
    return torch.tanh(conv(torch.atanh(images.clamp(-2, 2) * 0.99)))


def in_place(conv, images):
    return nn.functional.relu(images, inplace=True) + conv(images)


def stopped(conv, images):
    return images + conv(images) * 0


def two_scales(conv, images):
    return conv(images)[:, :1], nn.functional.avg_pool2d(conv(images), 8)[:, :1]


def hinge(translation):
    scales = translation.discriminate(translation.fake)
    return -sum(scores.mean() for scores in scales)


class Grey:
    """Images at a module's top level, which pickle."""

    def __init__(self, channels, dtype):
        self.channels, self.dtype = channels, dtype

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return torch.full((self.channels, 9, 12), index + 1).to(self.dtype)

    def name(self, index):
        return f"image {index}"


class Radiographs(Dataset):
    """A dataset of grey images of 16 bits, all of them to train on."""

    channels: int = Field(default=1, description="one")

    def build(self, split, domains):
        if self.channels != 1:
            message = "radiographs have one channel"
            raise RecipeError(message)
        if split == "test":
            message = "nothing is held out"
            raise NoHeldOutError(message)
        images = Grey(1, torch.uint16)
        return Images(images, images, paired=True)


class Colours(Dataset):
    """A dataset of halves."""

    def build(self, split, domains):
        return Images(Grey(self.channels, torch.float16), Grey(self.channels, torch.float16))


UNUSUAL = {
    "sometimes": block(None, Sometimes),
    "in place": block(in_place),
    "no parameters": block(None, lambda function, channels: nn.Identity()),
    "begins as nothing": block(stopped),
    "inverse": generator(inverse),
    "many pixels": generator(tanh, pixels=96),
    "two scales": discriminator(two_scales),
    "hinge": loss(hinge, lambda t: sum(s.relu().mean() for s in t.discriminate(t.target))),
    "radiographs": Radiographs,
    "halves": Colours,
}
"""Component by what is unlike others."""
