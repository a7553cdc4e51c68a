"""Metrics and feature networks that are wrong."""

import itertools
import random

import torch
from torch import nn

from imgtrans import Comparison, FeatureNetwork, Field, ImgtransError, Judge, Metric, Score

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


def metric(function, **said):
    """A number for each image, by a function of the batch."""

    class Made(Metric):
        """A metric."""

        def build(self):
            return function

    for name, value in said.items():
        setattr(Made, name, value)
    return Made


def changed(t):
    """What is right."""
    return (t.fake - t.source).abs().mean((1, 2, 3))


def comparison(distance, features=None, **said):
    """A score, by a function of two sets of features."""
    looked = network(means)() if features is None else features
    said = {"judge": getattr(looked, "judge", None), **said}
    return metric(Comparison(looked, distance), **said)


def apart(fakes, reals):
    """What is right."""
    return Score((fakes.mean(0) - reals.mean(0)).abs().sum().item())


def on_a_whim(fakes, reals):
    return Score(apart(fakes, reals).value + random.random())


def in_place(t):
    return t.fake.sub_(t.source).abs().mean((1, 2, 3))


def features_in_place(fakes, reals):
    return Score(fakes.sub_(reals.mean(0)).abs().sum().item())


def keeping(t):
    t.kept = changed(t)
    return t.kept


def counting(t):
    return changed(t) + next(COUNTER)


def drawing(t):
    return (t.fake + torch.rand_like(t.fake)).mean((1, 2, 3))


def not_here(made):
    message = "its weights are not installed"
    raise ImgtransError(message)


class Unmeasurable(Metric):
    """A metric."""

    def build(self):
        not_here(self)


class Whims(Metric):
    """A metric."""

    def build(self):
        factor = random.random()
        return lambda t: factor * changed(t)


class Unhashable(network(means)):
    """A network."""

    layers: list[int] = Field(default=[1], description="which to look at")


class Untitled(metric(changed)):
    """A metric."""

    @property
    def title(self):
        return self.name_of_it


class Loud(metric(changed)):
    """A metric."""

    def warning(self, score):
        return score.value > 0.5


class Narrow(metric(changed)):
    """A metric."""

    def warning(self, score):
        return "wide" if score.high > 1 else None


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


NETWORKS = {
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
    "makes_features, places": (network(lambda n, im: im.flatten(1)), "11520 features of images of"),
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
METRICS = {
    "says_what_it_is": (metric(changed, better="high"), 'must be "lower", "higher" or "neither"'),
    "says_what_it_is, title": (metric(changed, title=" "), "Made.title is ' '; it must be one"),
    "says_what_it_is, title fails": (Untitled, "what Untitled says of itself fails: AttributeErr"),
    "says_what_it_is, unit": (metric(changed, unit=None), "Made.unit is None; it must be one"),
    "says_what_it_is, needs": (metric(changed, needs_truth="yes"), "it must be True or False"),
    "says_what_it_is, judge": (metric(changed, judge="Means"), "Made.judge is 'Means'; it must"),
    "says_what_it_is, no judge": (
        comparison(apart, judge=None),
        "a property `judge` that returns self.features.judge",
    ),
    "warns_in_words": (Loud, "Loud.warning returns False; it must return what to warn of"),
    "warns_in_words, no interval": (Narrow, "with an interval or without"),
    "gives_finite_scores": (metric(lambda t: changed(t).mean()), "a tensor of () for a batch of 2"),
    "gives_finite_scores, number": (
        metric(lambda t: changed(t).mean().item()),
        "it must give each image a number",
    ),
    "gives_finite_scores, more": (
        metric(lambda t: (t.fake - t.source).abs().mean((2, 3))),
        "a tensor of (2, 3) for a batch of 2",
    ),
    "gives_finite_scores, none": (metric(None), "Made.build returns None; it must return a func"),
    "gives_finite_scores, not here": (Unmeasurable, "examples=[Unmeasurable(…)]"),
    "gives_finite_scores, one image": (
        metric(lambda t: changed(t) / (changed(t) - changed(t).mean()).square().sum()),
        "on a batch of one image, which is not finite",
    ),
    "gives_finite_scores, colour only": (
        metric(lambda t: t.fake[:, 1].mean((1, 2))),
        "on grey images fails: IndexError",
    ),
    "gives_finite_scores, square only": (
        metric(lambda t: (t.fake - t.fake.mT).mean((1, 2, 3))),
        "on images that are not square fails",
    ),
    "gives_finite_scores, perfect": (
        metric(lambda t: (t.fake - t.truth).square().mean((1, 2, 3)).log(), needs_truth=True),
        "where the translation is the truth, which is not finite; a model may be perfect",
    ),
    "gives_finite_scores, one colour": (
        metric(lambda t: changed(t) / t.fake.std((1, 2, 3))),
        "on images of one colour, which is not finite; a model may fail so",
    ),
    "gives_finite_scores, drawing": (metric(drawing), "the metric Made draws or seeds"),
    "gives_finite_scores, features": (
        comparison(apart, "inception", judge=None),
        "Comparison(features=a feature network",
    ),
    "gives_finite_scores, as many": (
        comparison(lambda fakes, reals: Score((fakes - reals).abs().mean().item())),
        "of 24 translations and 40 others fails",
    ),
    "gives_finite_scores, few": (
        comparison(lambda fakes, reals: Score(fakes[3].sum().item())),
        "of 2 translations and 3 others fails: IndexError",
    ),
    "gives_finite_scores, tensor": (
        comparison(lambda fakes, reals: fakes.mean() - reals.mean()),
        "it must return a Score(value, low, high)",
    ),
    "gives_finite_scores, tensor inside": (
        comparison(lambda fakes, reals: Score(fakes.mean() - reals.mean())),
        "a finite Python number, as .item() makes it",
    ),
    "gives_finite_scores, infinite": (
        comparison(lambda fakes, reals: Score(float("inf"))),
        "has value = inf",
    ),
    "gives_finite_scores, outside": (
        comparison(lambda fakes, reals: Score(1.0, 2.0, 3.0)),
        "its value must lie in its interval",
    ),
    "gives_finite_scores, one end": (
        comparison(lambda fakes, reals: Score(1.0, high=2.0)),
        "both ends of the interval, or neither",
    ),
    "scores_an_image_by_itself": (
        metric(lambda t: changed(t) - changed(t).mean()),
        "dim=(1, 2, 3), never over the batch",
    ),
    "scores_the_same_again": (metric(counting), "another score when it is asked again"),
    "scores_the_same_again, built": (Whims, "another score when it is built again"),
    "scores_the_same_again, whim": (comparison(on_a_whim), "may draw from torch's own"),
    "leaves_what_it_is_given_alone": (metric(in_place), "the metric Made changes translated.fake"),
    "leaves_what_it_is_given_alone, keeping": (metric(keeping), "sets translated.kept"),
    "leaves_what_it_is_given_alone, features": (
        comparison(features_in_place),
        "changes the translations' features",
    ),
    "asks_for_what_it_declares": (
        metric(lambda t: (t.fake - t.truth).mean((1, 2, 3))),
        "asks for translated.truth without saying so: set needs_truth = True",
    ),
    "asks_for_what_it_declares, back": (
        metric(lambda t: (t.source - t.reconstructed).mean((1, 2, 3)), needs_truth=True),
        "set needs_reconstruction = True",
    ),
    "asks_for_what_it_declares, more": (
        metric(lambda t: t._direction.generator(t.source).mean((1, 2, 3))),
        "asks for translated._direction; metrics may use source, fake, truth, reconstructed",
    ),
    "asks_for_what_it_declares, by force": (
        metric(lambda t: vars(t)["fake"].mean((1, 2, 3))),
        "ask for images by their names",
    ),
    "tells_equal_from_different": (comparison(apart, better="higher"), "though higher is better"),
    "tells_equal_from_different, never": (
        comparison(lambda fakes, reals: Score(0.0)),
        "gives equal features 0 and different ones 0",
    ),
}
WRONG = NETWORKS | METRICS
