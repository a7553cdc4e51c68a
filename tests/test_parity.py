"""Our training step equals the textbook's, written out in ``textbook.py``."""

import random
from copy import deepcopy

import pytest
import torch
from imgtrans_cyclegan import Patch, ResNet
from textbook import ImagePool, Networks, PaperTraining, SeedTraining
from torch import nn
from toys import batch_of, tiny_paper_recipe, tiny_recipe, trainer_of

from imgtrans.recipe import load_recipe
from imgtrans.training import Trainer, train_step


def networks_of(trainer: Trainer) -> Networks:
    names = (
        "generators.summer_to_winter",
        "generators.winter_to_summer",
        "discriminators.summer",
        "discriminators.winter",
    )
    return Networks(*(trainer.networks[name] for name in names))


def largest_difference(ours: Networks, theirs: Networks) -> float:
    pairs = [
        (p, q)
        for name in ("g_x_to_y", "g_y_to_x", "d_x", "d_y")
        for p, q in zip(
            getattr(ours, name).parameters(), getattr(theirs, name).parameters(), strict=True
        )
    ]
    return max((p - q).abs().max().item() for p, q in pairs)


def in_float64(recipe):
    return recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"precision": "float64"})}
    )


@pytest.mark.parametrize("size", ["tiny", "whole"])
def test_five_steps_equal_the_seeds_textbook_step(size):
    if size == "tiny":
        recipe, pixels = tiny_recipe(), 32
    else:  # the shipped recipe's networks, all 22 million parameters of them
        recipe, pixels = load_recipe("cyclegan_yosemite"), 64
    trainer = trainer_of(in_float64(recipe))
    ours = networks_of(trainer)
    theirs = deepcopy(ours)
    textbook = SeedTraining(theirs)
    for seed in range(5):
        x, y = batch_of(trainer, seed, pixels)
        train_step(trainer, x, y)
        textbook.step(x, y)
    assert largest_difference(ours, networks_of(trainer_of(in_float64(recipe)))) > 1e-4
    assert largest_difference(ours, theirs) < 1e-6


@pytest.mark.parametrize("networks", ["the seed's", "the paper's", "the whole paper's"])
def test_steps_equal_the_papers_textbook_step(networks):
    recipe, steps, count = tiny_paper_recipe(), 5, 2
    if networks != "the seed's":
        recipe = recipe.model_copy(
            update={"generator": ResNet(width=2, blocks=1), "discriminator": Patch(width=2)}
        )
    if networks == "the whole paper's":  # the shipped recipe, 28 million parameters
        recipe, steps, count = in_float64(load_recipe("cyclegan_paper")), 2, 1
    trainer = trainer_of(recipe)
    pool = recipe.train.pool_images
    ours = networks_of(trainer)
    theirs = deepcopy(ours)
    textbook = PaperTraining(theirs, ImagePool(pool), ImagePool(pool))
    for step in range(steps):
        x, y = batch_of(trainer, step, count=count)
        train_step(trainer, x, y)
        draws = [
            random.Random(f"0/{name}/{step}") for name in ("winter_to_summer", "summer_to_winter")
        ]
        textbook.step(x, y, *draws)
    assert largest_difference(ours, networks_of(trainer_of(recipe))) > 1e-4
    assert largest_difference(ours, theirs) < 1e-6


def test_a_wrong_order_of_phases_would_be_noticed():
    trainer = trainer_of(in_float64(tiny_recipe(train={"order": "generators-first"})))
    ours = networks_of(trainer)
    theirs = deepcopy(ours)
    textbook = SeedTraining(theirs)
    for seed in range(5):
        x, y = batch_of(trainer, seed)
        train_step(trainer, x, y)
        textbook.step(x, y)
    assert largest_difference(ours, theirs) > 1e-5


def test_batch_norm_sees_each_fake_once():
    trainer = trainer_of(tiny_recipe())
    x, y = batch_of(trainer)
    train_step(trainer, x, y)
    first = next(
        m
        for m in trainer.networks["generators.summer_to_winter"].modules()
        if isinstance(m, nn.BatchNorm2d)
    )
    # the source and the other direction's fake; the textbook makes the fake a second time
    assert torch.equal(first.num_batches_tracked, torch.tensor(2))
