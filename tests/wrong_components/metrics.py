"""Metrics that are wrong."""

import random

import torch

from imgtrans import Comparison, Metric, Score
from wrong_components.feature_networks import COUNTER, means, network, not_here


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


class Unmeasurable(Metric):
    """A metric."""

    def build(self):
        not_here(self)


class Whims(Metric):
    """A metric."""

    def build(self):
        factor = random.random()
        return lambda t: factor * changed(t)


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


WRONG = {
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
