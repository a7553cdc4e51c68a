"""Feature networks that are wrong."""

import itertools

import torch
from torch import nn

from imgtrans import FeatureNetwork, Field, ImgtransError, Judge

COUNTER = itertools.count()
JUDGE = Judge("Means", "0" * 64, "none")


class Look(nn.Module):
    """A function of images as a network in evaluation mode."""

    def __init__(self, function, channels=3):
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, images):
        return self.function(self, images)


def network(function, make=Look, judge=JUDGE):
    """Features by a function of the network and its images."""

    class Made(FeatureNetwork):
        """A network."""

        @property
        def judge(self):
            return judge(self) if callable(judge) else judge

        def build(self):
            return make(function)

    return Made


def means(network, images):
    """What is right."""
    return images.mean((2, 3))


def not_here(made):
    message = "its weights are not installed"
    raise ImgtransError(message)


class Unhashable(network(means)):
    """A network."""

    layers: list[int] = Field(default=[1], description="which to look at")


class Trainable(Look):
    def __init__(self, function):
        super().__init__(function)
        self.weight = nn.Parameter(torch.ones(3))


class Dropping(Look):
    def __init__(self, function):
        super().__init__(function)
        self.drop = nn.Dropout()


class Elsewhere(Look):
    def __init__(self, function):
        super().__init__(function)
        self.register_buffer("weight", torch.ones(3, device="meta"))


class Unregistered(Look):
    def __init__(self, function):
        super().__init__(function)
        self.weight = torch.arange(3.0)


class Drawn(Look):
    def __init__(self, function):
        super().__init__(function)
        self.register_buffer("weight", torch.rand(3))


class Immovable(Look):
    def to(self, device):
        message = "nowhere to go"
        raise RuntimeError(message)


def told(**parts):
    return Judge(**{**vars(JUDGE), **parts})


def with_torch(made):
    import torch as heavy

    return told(name=heavy.__name__)


WRONG = {
    "says_which_it_is": (network(means, judge=("Means",)), "must be a Judge(name, sha256"),
    "says_which_it_is, name": (network(means, judge=told(name="")), "has name = ''"),
    "says_which_it_is, resizing": (network(means, judge=told(resizing=224)), "resizing = 224"),
    "says_which_it_is, hash": (network(means, judge=told(sha256="57934424")), "must be the 64"),
    "says_which_it_is, torch": (network(means, judge=with_torch), "leave torch and the weights"),
    "says_which_it_is, weights": (network(means, judge=not_here), "Made.judge fails: Imgtrans"),
    "says_which_it_is, changing": (
        network(means, judge=lambda made: told(name=f"{next(COUNTER)}")),
        "it names one network",
    ),
    "says_which_it_is, unhashable": (Unhashable, "such as tuples instead of lists"),
    "is_frozen": (network(means, lambda f: Look(f).train()), "Made is built in training mode"),
    "is_frozen, a part": (network(means, Dropping), "drop of Made is built in training mode"),
    "is_frozen, waiting": (network(means, Trainable), "network.requires_grad_(False)"),
    "is_frozen, elsewhere": (network(means, Elsewhere), "weight of Made is built on meta"),
    "is_frozen, function": (network(means, lambda f: f), "must return a torch.nn.Module, not a f"),
    "is_frozen, not here": (network(means, not_here), "weights are not installed; put its"),
    "makes_features": (network(lambda n, im: im.mean(1)), "a tensor of (1, 64, 64) and"),
    "makes_features, one row": (network(lambda n, im: im.mean((0, 2, 3))), "a tensor of (3,)"),
    "makes_features, tuple": (network(lambda n, im: (means(n, im), im)), "one row of features"),
    "makes_features, double": (network(lambda n, im: means(n, im).double()), "torch.float64"),
    "makes_features, none": (network(lambda n, im: means(n, im)[:, :0]), "of (1, 0) and"),
    "makes_features, small": (network(lambda n, im: im[:, :, 40, 40]), "of 2×3×16×12 on cpu fails"),
    "makes_features, places": (
        network(lambda n, im: im.flatten(1)),
        "12288 features of images of 64×64 and 11520 of 48×80",
    ),
    "makes_features, one colour": (
        network(lambda n, im: 1 / im.std((2, 3))),
        "not finite of white images",
    ),
    "makes_features, blind": (
        network(lambda n, im: means(n, im) * 0),
        "the same features of different images",
    ),
    "makes_features, drawing": (
        network(lambda n, im: means(n, im) + torch.rand(3)),
        "draws or seeds the random numbers",
    ),
    "sees_each_image_by_itself": (network(lambda n, im: means(n, im - im.mean(0))), "never over"),
    "sees_the_same_again": (
        network(lambda n, im: means(n, im) + next(COUNTER)),
        "when it is asked again",
    ),
    "sees_the_same_again, built": (
        network(lambda n, im: means(n, im) * n.weight, Drawn),
        "when it is built again",
    ),
    "leaves_its_images_alone": (network(lambda n, im: im.exp_().mean((2, 3))), "not inplace=True"),
    "moves_as_a_whole": (
        network(lambda n, im: means(n, im) * n.weight, Unregistered),
        "register constants as buffers",
    ),
    "moves_as_a_whole, values": (
        network(lambda n, im: means(n, im) / max(1.0, float(im.max()))),
        "on the meta device, which stands for a GPU",
    ),
    "moves_as_a_whole, at all": (network(means, Immovable), "nowhere to go"),
}
