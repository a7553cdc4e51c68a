"""Losses that are wrong."""

from imgtrans import Loss, Terms


def loss(generators, discriminators=None):
    class Made(Loss):
        """A loss."""

        def build(self):
            return Terms(generators, discriminators)

    return Made


class Unbuildable(Loss):
    """A loss."""

    def build(self):
        return {}["term"]


def in_place(translation):
    translation.source.mul_(0.5)
    return translation.fake.mean()


def changed_after_use(translation):
    value = translation.fake.exp().mean()
    translation.fake.mul_(0.5)
    return value + translation.fake.square().mean()


def backward_itself(translation):
    value = translation.fake.mean()
    value.backward()
    return value.detach()


def keeping(translation):
    translation.kept = translation.fake
    return translation.fake.mean()


def one_scale(translation):
    (scores,) = translation.discriminate(translation.fake)
    return scores.mean()


def by_force(translation):
    return (translation.fake - vars(translation)["source"]).abs().mean()


WRONG = {
    "is_a_finite_number": (loss(lambda t: (t.fake - t.source).abs()), "without dimensions"),
    "is_a_finite_number, whole": (loss(lambda t: (t.fake > 0).sum()), "() and torch.int64"),
    "is_a_finite_number, none": (loss(lambda t: None), "returns None"),
    "is_a_finite_number, infinite": (loss(lambda t: (t.fake * 0).mean().log()), "returns -inf"),
    "is_a_finite_number, no term": (loss(None), "must return a term"),
    "is_a_finite_number, one half": (loss("none", lambda t: t.fake.mean()), "must return a term"),
    "is_a_finite_number, build": (Unbuildable, "Unbuildable.build() fails: KeyError"),
    "is_a_finite_number, fails": (loss(lambda t: t.fake @ t.fake[:, :, 1:]), "term of Made fails"),
    "is_a_finite_number, one image": (
        loss(lambda t: (t.fake - t.fake.mean(0)).square().sum() / (len(t.fake) - 1)),
        "returns nan on a batch of one image, which is not finite",
    ),
    "is_a_finite_number, one scale": (
        loss(one_scale),
        "fails: ValueError: too many values to unpack",
    ),
    "reaches_what_it_trains": (loss(lambda t: t.fake.detach().mean()), "no gradient"),
    "reaches_what_it_trains, by itself": (loss(backward_itself), "calls backward"),
    "reaches_what_it_trains, not finite": (
        loss(lambda t: (t.fake - t.fake).square().sum().sqrt() + t.fake.mean()),
        "not finite",
    ),
    "reaches_what_it_trains, in place": (
        loss(changed_after_use),
        "the gradient of the generators' term of Made fails",
    ),
    "reaches_what_it_trains, discriminators": (
        loss(lambda t: t.fake.mean(), lambda t: t.replayed.mean()),
        "the discriminators' term of Made gives the discriminators no gradient",
    ),
    "leaves_the_translation_alone": (loss(in_place), "changes translation.source"),
    "leaves_the_translation_alone, gradient": (
        loss(lambda t: t.target.requires_grad_().mean() + t.fake.mean()),
        "changes translation.target",
    ),
    "leaves_the_translation_alone, keeping": (loss(keeping), "sets translation.kept"),
    "asks_for_what_is_documented": (loss(lambda t: t._direction), "asks the translation for '_dir"),
    "asks_for_what_is_documented, by force": (loss(by_force), "for images by their names"),
}
