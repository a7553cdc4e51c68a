"""Components that are unlike others and keep every promise."""

import random

import torch
from torch import nn
from wrong_components.feature_networks import Look, network
from wrong_components.losses import loss
from wrong_components.making import block, discriminator, generator, tanh
from wrong_components.metrics import comparison, metric

from imgtrans import (
    Dataset,
    Field,
    Images,
    ImgtransError,
    Metric,
    NoHeldOutError,
    RecipeError,
    Score,
)


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


class Whole(nn.Module):
    """How many pixels are brighter than before: a module, and whole numbers."""

    def forward(self, translated):
        return (translated.fake > translated.source).sum((1, 2, 3))


class Against(Metric):
    """The error against the truth or the source, as a field says."""

    better = "lower"
    unit = "of 2"
    to: str = Field(default="truth", description="truth or source")

    @property
    def needs_truth(self):
        return self.to == "truth"

    def build(self):
        return lambda t: (t.fake - getattr(t, self.to)).abs().mean((1, 2, 3))

    def warning(self, score):
        return "nothing is right" if score.value > 1 else None


def way_back(t):
    """Decibels, of which identical images have 100."""
    return -10 * (t.source - t.reconstructed).square().mean((1, 2, 3)).clamp_min(1e-10).log10()


def of_some(fakes, reals):
    """The distance of random halves, several times, and where it lies."""
    if len(fakes) < 10:
        message = "too few images"
        raise ImgtransError(message)
    drawn = [[s[torch.randperm(len(s))[: len(s) // 2]] for s in (fakes, reals)] for _ in range(9)]
    apart = torch.stack([(a.mean(0) - b.mean(0)).norm() for a, b in drawn])
    return Score(apart.mean().item(), apart.min().item(), apart.max().item())


def variety(fakes, reals):
    """Asks nothing of the real images."""
    return Score(torch.pdist(fakes).mean().item())


class Quantised(Look):
    """A network with norms and dropout that first makes 256 steps of each colour."""

    def __init__(self, function):
        super().__init__(function)
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout())
        for number, weight in enumerate(self.layers.parameters()):
            nn.init.constant_(weight, (number + 1) / 9)
        self.eval().requires_grad_(requires_grad=False)


def sees(network, images):
    bytes_ = (images * 127.5 + 127.5).round().to(torch.uint8)
    sized = nn.functional.interpolate(bytes_.float(), (32, 32), mode="bilinear", antialias=True)
    return network.layers(sized / 255).amax((2, 3))


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
    "whole numbers": metric(Whole(), better="neither", judges_inputs=False),
    "as a field says": Against,
    "way back": metric(way_back, better="higher", unit="dB", needs_reconstruction=True),
    "of some": comparison(of_some),
    "variety": comparison(variety, better="higher"),
    "quantised": network(sees, Quantised),
}
"""Component by what is unlike others."""
