"""Components made of a function, for what is wrong in one line."""

import torch
from torch import nn

from imgtrans import Discriminator, Generator, ResidualBlock


class Net(nn.Module):
    """A function with the parameters of a 1×1 convolution."""

    def __init__(self, function, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.function = function

    def forward(self, images):
        return self.function(self.conv, images)


def generator(function, make=Net, pixels=1):
    class Made(Generator):
        """A generator."""

        @property
        def multiple(self):
            return pixels() if callable(pixels) else pixels

        def build(self, channels_in, channels_out):
            return make(function, channels_in)

    return Made


def block(function, make=Net):
    class Made(ResidualBlock):
        """A block."""

        def build(self, channels):
            return make(function, channels)

    return Made


def discriminator(function, make=Net):
    class Made(Discriminator):
        """A discriminator."""

        def build(self, channels):
            return make(function, channels)

    return Made


def tanh(conv, images):
    """What is right."""
    return torch.tanh(conv(images))
