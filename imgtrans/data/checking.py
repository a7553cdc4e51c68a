"""Every image of a recipe decoded once, as training and measuring would; nothing is changed.

Only decoding a file to its end tells whether it is whole: headers of most broken ones are fine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from imgtrans.components.dataset import Split
from imgtrans.data.flat import Broken
from imgtrans.data.reading import cores, every
from imgtrans.data.store import open_store
from imgtrans.problems import ImgtransError, NoHeldOutError

if TYPE_CHECKING:
    from imgtrans.monitor.display import Display
    from imgtrans.recipe import Recipe

FEW = 32
"""Images that a process must have to read for it to be worth its start."""


def check_data(recipe: Recipe, display: Display) -> None:
    """Read every training and held-out image, and tell how many there are and which are broken.

    Args:
        recipe: whose dataset is where it says; nothing is downloaded.
        display: told the counts, and each broken image with the reason.

    Raises:
        DataNotFoundError: the images are not here.
        ImgtransError: some are broken, after all are told of; or the dataset cannot be used.
    """
    # What training would stop at, at the first of them, is here to be told of all.
    dataset = recipe.dataset.model_copy(update={"broken_images": "skip"})
    broken = total = 0
    for split in get_args(Split):
        try:
            images = dataset.build(split, recipe.domains)
        except NoHeldOutError as error:
            display.say(f"none held out: {error}")
            continue
        for domain, each in zip(recipe.domains, (images.x, images.y), strict=True):
            store = open_store(each, dataset, files=False)  # a kept image tells nothing of its file
            helpers = min(cores(), len(each) // FEW)
            tick = display.counter(f"{split} {domain}, image", len(each))
            read = every(store, range(len(each)), helpers, tick)
            reasons = [image.reason for image in read if isinstance(image, Broken)]
            display.stop()
            display.say(f"{split} {domain}: {len(each):,} images, {len(reasons):,} broken")
            for reason in reasons:
                display.say(f"  {reason}")
            broken, total = broken + len(reasons), total + len(each)
    if broken:
        use = "out and names them" if recipe.dataset.broken_images == "skip" else "none of them out"
        message = (
            f"{broken:,} of {total:,} images are broken\n  replace or remove them; a run with "
            f'[dataset] broken_images = "{recipe.dataset.broken_images}" leaves {use}'
        )
        raise ImgtransError(message)
