"""Networks whose weights or gradients are wrong."""

import itertools
import random

import torch
from torch import nn

from imgtrans import Recognised
from wrong_components.making import Net, block, discriminator, generator, tanh

COUNTER = itertools.count()
ONE = Net(tanh)


class Listed(nn.Module):
    """A network whose layers nobody knows of."""

    def __init__(self, function, channels):
        super().__init__()
        self.layers = [nn.Conv2d(channels, channels, 1)]
        self.function = function

    def forward(self, images):
        return self.function(self.layers[0], images)


class Noted(Net):
    """A network that keeps a text in its state."""

    def get_extra_state(self):
        return "a note"

    def set_extra_state(self, state):
        pass


def odd_weights(function, channels):
    """Weights from Python's own random numbers."""
    network = Net(function, channels)
    nn.init.constant_(network.conv.bias, random.random())
    return network


def the_same(function, channels):
    """One network for whoever asks."""
    return ONE


def forgetful(function, channels):
    """What it learned is kept out of its state."""
    shift = next(COUNTER) / 100
    return Net(lambda conv, images: torch.tanh(conv(images) + shift), channels)


def tied(function, channels):
    network = Net(function, channels)
    network.same = network.conv
    return network


def changed_after_use(conv, images):
    made = conv(images).exp()
    made.square_()
    return made


def in_place(conv, images):
    return conv(images.mul_(0.5))[:, :1]


def claiming(what, kind=generator):
    """A component that says of every file what it is told to say."""

    class Claiming(kind(tanh)):
        """A network."""

        @classmethod
        def recognise(cls, shapes):
            return what(cls, shapes)

    return Claiming


WRONG = {
    "trains_every_parameter": (
        generator(lambda conv, im: torch.tanh(im * conv.weight.sum())),
        "parameter conv.bias of Made gets no gradient",
    ),
    "trains_every_parameter, block": (
        block(lambda conv, im: conv(im).detach() + conv.bias.sum()),
        "parameter conv.weight of Made gets no gradient",
    ),
    "trains_every_parameter, discriminator": (
        discriminator(lambda conv, im: nn.functional.conv2d(im, conv.weight)[:, :1]),
        "parameter conv.bias of Made gets no gradient",
    ),
    "trains_every_parameter, none": (generator(tanh, Listed), "several of them an nn.ModuleList"),
    "trains_every_parameter, not finite": (
        block(lambda conv, im: conv(im) + (conv.bias - conv.bias).sum().sqrt()),
        "gets a gradient that is not finite",
    ),
    "trains_every_parameter, in place": (block(changed_after_use), "leave tensors as they are"),
    "passes_gradients_on": (
        generator(lambda conv, im: tanh(conv, im.detach())),
        "gives its images no gradient",
    ),
    "passes_gradients_on, not finite": (
        block(lambda conv, im: conv(im) + (im - im).sqrt()),
        "gives its images a gradient that is not finite",
    ),
    "leaves_images_alone": (discriminator(in_place), "so not inplace=True"),
    "draws_weights_from_torch": (generator(tanh, odd_weights), "first weights though the seed"),
    "draws_weights_from_torch, once": (generator(tanh, the_same), "makes one network for two"),
    "comes_back_from_its_weights": (generator(tanh, forgetful), "makes something else"),
    "comes_back_from_its_weights, list": (block(tanh, Listed), "several layers as an"),
    "comes_back_from_its_weights, text": (block(tanh, Noted), "let it hold tensors only"),
    "comes_back_from_its_weights, tied": (block(tanh, tied), "each with memory of its own"),
    "recognises_only_its_own": (
        claiming(lambda cls, shapes: Recognised(cls(), (3, 3))),
        "Claiming.recognise takes {} for its own: return None",
    ),
    "recognises_only_its_own, names": (
        claiming(lambda cls, shapes: shapes["model.0.weight"], discriminator),
        "Claiming.recognise({}) fails: KeyError",
    ),
}
