"""Small metrics and feature networks for tests: nothing that has to be installed or learned."""

from __future__ import annotations

from torch import nn

from imgtrans import Comparison, FeatureNetwork, Judge, Metric, Score


class Means(FeatureNetwork):
    """The mean of each of 16 parts of an image."""

    @property
    def judge(self):
        return Judge("means", "0" * 64, "none")

    def build(self):
        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


class Distance(Metric):
    """How far the mean features of translations are from those of real images."""

    features: FeatureNetwork = Means()

    @property
    def judge(self):
        return self.features.judge

    def build(self):
        def distance(fakes, reals):
            return Score((fakes.mean(dim=0) - reals.mean(dim=0)).norm().item())

        return Comparison(self.features, distance)


class Error(Metric):
    """Mean absolute error against the truth."""

    needs_truth = True

    def build(self):
        return lambda translated: (translated.fake - translated.truth).abs().mean(dim=(1, 2, 3))


class Cycle(Metric):
    """Mean absolute error of the way there and back."""

    needs_reconstruction = True
    judges_inputs = False

    def build(self):
        return lambda shown: (shown.reconstructed - shown.source).abs().mean(dim=(1, 2, 3))


class Brightness(Metric):
    """How bright translations are; warns of the dark."""

    better = "higher"
    unit = "cd"

    def build(self):
        return lambda translated: translated.fake.mean(dim=(1, 2, 3))

    def warning(self, score):
        return f"translations are dark ({score.value:.6f})" if score.value < 2 else None
