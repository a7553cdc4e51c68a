"""``Translation``: every image is made once, with its graph, in a fixed order."""

import random

import pytest
import torch
from imgtrans_cyclegan import CycleConsistency, Identity, LeastSquares
from textbook import ImagePool
from toys import batch_of, tiny_paper_recipe, tiny_recipe, trainer_of

from imgtrans import RecipeError
from imgtrans.replay import Pool
from imgtrans.training import train_step
from imgtrans.translation import Direction, Translation, once


def count_forwards(trainer) -> dict[str, int]:
    counts = dict.fromkeys(trainer.networks, 0)

    def counter(name):
        def count(*_):
            counts[name] += 1

        return count

    for name, network in trainer.networks.items():
        network.register_forward_hook(counter(name))
    return counts


def test_a_step_makes_every_image_once():
    trainer = trainer_of(tiny_recipe())
    counts = count_forwards(trainer)
    train_step(trainer, *batch_of(trainer))
    assert counts == {
        "generators.summer_to_winter": 2,  # fake, and the other direction's reconstructed
        "generators.winter_to_summer": 2,
        "discriminators.summer": 3,  # real, fake, and fake again once it has learned
        "discriminators.winter": 3,
    }


def test_identity_costs_one_more_forward_per_generator():
    trainer = trainer_of(tiny_paper_recipe())
    counts = count_forwards(trainer)
    train_step(trainer, *batch_of(trainer))
    assert counts["generators.summer_to_winter"] == 3


def test_an_image_first_asked_for_without_gradients_still_trains_its_generator():
    network = torch.nn.Conv2d(3, 3, 1)
    translation = Translation(Direction("x_to_y", network), *torch.rand(2, 1, 3, 4, 4))
    with torch.no_grad():
        translation.fake  # noqa: B018 - a sampler peeks
    translation.fake.mean().backward()
    assert network.weight.grad is not None


def test_an_image_made_by_a_frozen_generator_is_refused():
    network = torch.nn.Conv2d(3, 3, 1).requires_grad_(requires_grad=False)
    translation = Translation(Direction("x_to_y", network), *torch.rand(2, 1, 3, 4, 4))
    with pytest.raises(RuntimeError, match="freeze discriminators only"):
        translation.fake  # noqa: B018


@pytest.mark.parametrize("order", ["discriminators-first", "generators-first"])
def test_the_adversarial_loss_reaches_the_generators_in_either_order(order):
    recipe = tiny_recipe(loss={"adversarial": LeastSquares()}, train={"order": order})
    trainer = trainer_of(recipe)
    train_step(trainer, *batch_of(trainer))
    network = trainer.networks["generators.summer_to_winter"]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_discriminators_get_no_gradient_from_the_generators_phase():
    recipe = tiny_recipe(train={"order": "discriminators-first"})
    trainer = trainer_of(recipe)
    seen = []
    step = trainer.phases[1].optimizer.step
    before = [p.grad for p in trainer.phases[0].parameters.values()]

    def watched():
        seen.extend(p.grad.clone() for p in trainer.phases[0].parameters.values())
        step()

    after_first = []
    first = trainer.phases[0].optimizer.step

    def remember():
        first()
        after_first.extend(p.grad.clone() for p in trainer.phases[0].parameters.values())

    trainer.phases[0].optimizer.step, trainer.phases[1].optimizer.step = remember, watched
    train_step(trainer, *batch_of(trainer))
    assert before == [None] * len(seen)
    assert all(torch.equal(a, b) for a, b in zip(after_first, seen, strict=True))


def test_the_order_of_losses_changes_nothing():
    one = {"identity": Identity(), "cycle": CycleConsistency(), "adversarial": LeastSquares()}
    results = []
    for losses in (one, dict(reversed(one.items()))):
        trainer = trainer_of(tiny_recipe(loss=losses, train={"precision": "float64"}))
        add_dropout(trainer)
        results.append(train_step(trainer, *batch_of(trainer)).read())
    assert set(results[0]) == set(results[1])
    assert results[0] == pytest.approx(results[1], abs=1e-12)


def add_dropout(trainer) -> None:
    for direction in trainer.directions:
        direction.generator.blocks.append(torch.nn.Dropout(0.5))


def test_a_missing_direction_says_what_to_set():
    translation = Translation(
        Direction("summer_to_winter", torch.nn.Identity()), *torch.rand(2, 1, 3, 4, 4)
    )
    with pytest.raises(RecipeError, match='directions = "both"'):
        translation.reconstructed  # noqa: B018


def test_several_scales_are_a_tuple_and_one_is_wrapped():
    image = torch.rand(1, 3, 4, 4)
    one = Direction("x_to_y", torch.nn.Identity(), discriminator=torch.nn.Identity())
    assert len(Translation(one, image, image).discriminate(image)) == 1
    network = torch.nn.Identity()
    network.register_forward_hook(lambda module, inputs, output: (output, output[..., ::2]))
    two = Direction("x_to_y", torch.nn.Identity(), discriminator=network)
    shapes = [tuple(scale.shape) for scale in Translation(two, image, image).discriminate(image)]
    assert shapes == [(1, 3, 4, 4), (1, 3, 4, 2)]


def test_losses_see_at_least_float32_and_float64_stays():
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        network = torch.nn.Conv2d(3, 3, 1).to(dtype)
        images = torch.rand(2, 1, 3, 4, 4, dtype=dtype)
        assert Translation(Direction("x_to_y", network), *images).fake.dtype == expected


def exchange(pool, fakes, step):
    pool.draw(step, len(fakes))
    return pool.exchange(fakes)


def test_a_pool_shows_new_fakes_until_it_is_full_then_some_old_ones():
    pool = Pool(2, "seed")
    first, second = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    assert torch.equal(exchange(pool, first, 0), first)
    assert torch.equal(exchange(pool, second, 1), second)
    shown = [exchange(pool, torch.full((1, 1, 1, 1), 2.0 + step), 2 + step) for step in range(50)]
    fresh = [image.item() == 2 + step for step, image in enumerate(shown)]
    assert 15 < sum(fresh) < 35
    assert len(pool.images) == 2


def test_a_pool_of_none_shows_each_fake_itself():
    fakes = torch.rand(2, 3, 4, 4)
    assert exchange(Pool(0, "seed"), fakes, 0) is fakes


@pytest.mark.parametrize("parts", [1, 3])
def test_a_pool_is_the_textbooks_also_where_a_batch_shows_its_own_fakes(parts):
    pool, textbook = Pool(4, "seed"), ImagePool(4)
    for step in range(40):
        fakes = torch.arange(6.0).view(6, 1, 1, 1) + 6 * step
        expected = textbook.query(fakes, random.Random(f"seed/{step}"))
        pool.draw(step, 6 // parts, parts)
        shown = [pool.exchange(part, index) for index, part in enumerate(fakes.chunk(parts))]
        assert torch.equal(torch.cat(shown), expected)
    assert torch.equal(pool.images, torch.stack(textbook.images))


def test_once_makes_a_value_once():
    class Counted:
        made = 0

        @once
        def value(self):
            """Counted."""
            Counted.made += 1
            return Counted.made

    counted = Counted()
    assert (counted.value, counted.value, Counted.made) == (1, 1, 1)


def test_a_pool_of_fifty_shows_new_fakes_until_it_is_full_and_then_half_old_ones():
    shown = []
    pool = Pool(50, "seed")
    for step in range(1050):
        fake = torch.full((1, 1, 1, 1), float(step))
        shown.append(exchange(pool, fake, step).item() == step)
    assert all(shown[:50])
    assert 0.45 < sum(shown[50:]) / 1000 < 0.55
    assert len(pool.images) == 50
