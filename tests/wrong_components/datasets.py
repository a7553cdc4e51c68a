"""Datasets that are wrong."""

import itertools

import torch

from imgtrans import DataNotFoundError, Dataset, Images

COUNTER = itertools.count()


class List:
    """Images that a function makes of their numbers."""

    def __init__(self, make, count=2, name=str):
        self.make, self.count, self.name = make, count, name

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.make(index)


class Fresh(List):
    """A list that knows nothing of itself once it is pickled."""

    def __reduce__(self):
        return (List, (black, 2))


def dataset(x, y=None, *, paired=False):
    class Made(Dataset):
        """A dataset."""

        def build(self, split, domains):
            made = x() if isinstance(x, type(grey)) else x
            return Images(made, made if y is None else y, paired=paired)

    return Made


def built(function):
    class Made(Dataset):
        """A dataset."""

        def build(self, split, domains):
            return function(self)

    return Made


def grey(index, size=8):
    return torch.full((3, size, size), 10 * index, dtype=torch.uint8)


def black(index):
    return grey(index) * 0


def growing():
    return List(grey, count=2 + next(COUNTER))


def nothing_there(made):
    message = "no folder is called photographs"
    raise DataNotFoundError(message)


class Unprepared(Dataset):
    """A dataset."""

    def prepare(self, domains, say):
        say("found")

    def build(self, split, domains):
        return Images(List(grey), List(grey))


class Unready(Unprepared):
    """A dataset."""

    def prepare(self, domains, say):
        nothing_there(self)


WRONG = {
    "has_images_to_the_end": (
        dataset(List([grey(0)].__getitem__, count=2)),
        "reading number 1 of the train images of x fails: IndexError",
    ),
    "has_images_to_the_end, none": (dataset(List(grey, count=0)), "train images of x are none"),
    "has_images_to_the_end, one name": (
        dataset(List(grey, name=lambda index: "image")),
        "have 1 names for 2 images",
    ),
    "has_images_to_the_end, numbers": (dataset(List(grey, name=int)), "0 names one of the train"),
    "has_images_to_the_end, tensors": (dataset([grey(0)]), "naming the train images of x fails"),
    "has_images_to_the_end, countless": (
        dataset(map(grey, range(2))),
        "counting the train images of x fails: TypeError",
    ),
    "has_images_to_the_end, bytes": (dataset(List(bytes)), "number 0 of the train images of x is"),
    "has_images_to_the_end, missing": (
        built(nothing_there),
        'Made.build("train", …) fails: DataNotFoundError: no folder is called photographs; where',
    ),
    "has_images_to_the_end, tuple": (
        built(lambda made: (List(grey), List(grey))),
        "it must return Images(x, y)",
    ),
    "has_images_to_the_end, not prepared": (Unprepared, "Unprepared.prepare returns None"),
    "has_images_to_the_end, not there": (Unready, "examples=[Unready(…)]"),
    "makes_images": (dataset(List(lambda index: grey(index) / 5)), "number 1 of the train"),
    "makes_images, last": (
        dataset(List(lambda index: grey(index) / 200, count=24)),
        "number 23 of the train images of x is from 1.15 to 1.15",
    ),
    "makes_images, rows first": (
        dataset(List(lambda index: grey(index).permute(1, 2, 0))),
        "of shape (8, 8, 3)",
    ),
    "makes_images, whole": (dataset(List(lambda index: grey(index).int())), "of torch.int32"),
    "makes_images, not a number": (
        dataset(List(lambda index: grey(index) / 0)),
        "is not finite everywhere",
    ),
    "makes_images, colour only": (
        dataset(List(grey)),
        "with channels = 1, number 0 of the train images of x is of shape (3, 8, 8)",
    ),
    "makes_images, no grey": (
        built(lambda made: {3: Images(List(grey), List(grey))}[made.channels]),
        'Made.build("train", …) fails: KeyError: 1',
    ),
    "reads_the_same_again": (
        dataset(List(lambda index: torch.rand(3, 8, 8))),
        "another image when it is read again",
    ),
    "reads_the_same_again, more": (dataset(growing), "let the fields alone decide"),
    "pairs_are_pairs": (
        dataset(List(grey), List(grey, count=1), paired=True),
        "are 2 of x and 1 of y",
    ),
    "pairs_are_pairs, sizes": (
        dataset(List(grey), List(lambda index: grey(index, 9)), paired=True),
        "pair 0 of the train images is (8, 8) and (9, 9)",
    ),
    "is_read_by_other_processes": (
        dataset(List(lambda index: grey(index + 1))),
        "pickling the train images of x fails",
    ),
    "is_read_by_other_processes, changed": (
        dataset(Fresh(lambda index: grey(index + 1))),
        "is another image once they are pickled",
    ),
}
