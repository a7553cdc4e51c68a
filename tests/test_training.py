"""The step: what a broken loss changes, and accumulating the gradients of parts of a batch."""

import math

import pytest
import torch
from imgtrans_cyclegan import CycleConsistency, LeastSquares, imgtrans_losses
from test_parity import largest_difference, networks_of
from test_translation import add_dropout, count_forwards
from torch import nn
from toys import batch_of, tiny_paper_recipe, tiny_recipe, trainer_of

from imgtrans import Loss, Terms
from imgtrans.building import build_trainer
from imgtrans.outcome import NonFiniteError
from imgtrans.parts import seed_everything
from imgtrans.plan import make_plan
from imgtrans.recipe import load_recipe, shipped_recipes
from imgtrans.training import train_step

ORDERS = ["discriminators-first", "generators-first"]


def weights_of(trainer) -> list[torch.Tensor]:
    parameters = (p for phase in trainer.phases for p in phase.parameters.values())
    return [parameter.detach().clone() for parameter in parameters]


def test_a_loss_that_is_not_finite_changes_no_weight_from_then_on():
    trainer = trainer_of(tiny_recipe(loss={"cycle": CycleConsistency()}, discriminator=None))
    x, y = batch_of(trainer)
    train_step(trainer, x, y)
    before = weights_of(trainer)
    broken = train_step(trainer, x * math.nan, y)
    later = train_step(trainer, x, y)
    assert all(map(torch.equal, before, weights_of(trainer)))
    with pytest.raises(NonFiniteError, match=r"step 2: cycle/.* = nan"):
        broken.read()
    assert all(math.isfinite(loss) for loss in later.read().values())


def test_a_gradient_that_is_not_finite_changes_no_weight_and_its_network_is_named(monkeypatch):
    trainer = trainer_of(tiny_recipe())
    before = weights_of(trainer)
    name, weights = next(iter(trainer.phases[0].networks.items()))
    weights[0].register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NonFiniteError, match=rf"step 1: gradient of {name} = (nan|inf)"):
        train_step(trainer, *batch_of(trainer)).read()
    assert all(map(torch.equal, before, weights_of(trainer)))


class Scaled(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self, of):
        super().__init__()
        self.of, self.scale = of, nn.Parameter(torch.ones(()))

    def forward(self, translation):
        scores = translation.discriminate(getattr(translation, self.of))
        return self.scale * sum(each.square().mean() for each in scores)


class BothHalves(Loss):
    """Such a loss, against which both phases train."""

    def build(self):
        return Terms(Scaled("fake"), Scaled("target"))


@pytest.mark.parametrize("half", ["learned", "learned.discriminators"])
@pytest.mark.parametrize("direction", ["summer_to_winter", "winter_to_summer"])
def test_of_a_loss_with_parameters_the_half_and_direction_are_named_whose_gradient_is_not_finite(
    half, direction
):
    trainer = trainer_of(tiny_recipe(loss={"learned": BothHalves()}))
    name = f"losses.{half}.{direction}"
    next(trainer.networks[name].parameters()).register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(NonFiniteError) as error:
        train_step(trainer, *batch_of(trainer)).read()
    assert [key for key in trainer.gradients if f"{key} = nan" in str(error.value)] == [
        f"gradient of {name}"
    ]
    assert {key for phase in trainer.phases for key in phase.networks} == set(trainer.networks)


@pytest.mark.parametrize("accelerated", [False, True])
def test_random_numbers_are_the_seeds_and_the_steps_and_an_accelerators_are_seeded_too(
    monkeypatch, accelerated
):
    seeded, everywhere = [], torch.manual_seed
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerated)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: [seeded.append(seed), everywhere(seed)])
    drawn = []
    for seed, step in [(0, 1), (0, 2), (1, 1), (0, 1)]:
        seed_everything(seed, step)
        drawn.append(torch.rand(()).item())
    assert len({*drawn}) == 3
    assert drawn[0] == drawn[3]
    assert len(seeded) == (4 if accelerated else 0)


def test_a_learning_rate_that_is_not_finite_is_refused(monkeypatch):
    trainer = trainer_of(tiny_recipe())
    monkeypatch.setattr(type(trainer), "learning_rates", lambda self: {"generators": math.nan})
    with pytest.raises(NonFiniteError, match=r"step 1: the learning rate .* \(generators: nan\)"):
        train_step(trainer, *batch_of(trainer))


@pytest.mark.parametrize("name", ["quickstart", "cyclegan_yosemite", "cyclegan_paper"])
def test_a_whole_step_with_every_shipped_loss_runs_on_meta_and_so_reads_nothing_back(name):
    recipe = load_recipe(name)
    trainer = build_trainer(recipe, torch.device("meta"), make_plan(recipe).images)
    shape = (recipe.train.batch_size, 3, *[recipe.dataset.image_size] * 2)
    losses = train_step(trainer, *(torch.empty(shape, device="meta") for _ in range(2)))
    assert losses.values.is_meta
    assert len(losses.names) == 2 * (len(recipe.loss) + 1)  # both directions, both halves of one


def test_the_shipped_recipes_have_every_shipped_loss():
    used = {type(loss) for name in shipped_recipes() for loss in load_recipe(name).loss.values()}
    assert used == set(imgtrans_losses().values())


def accumulating(order: str, parts: int, **changes: object):
    recipe = tiny_paper_recipe(**changes)
    settings = {"order": order, "accumulate": parts, "batch_size": 4 // parts}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})


@pytest.mark.parametrize("order", ORDERS)
def test_accumulating_makes_the_step_of_the_larger_batch(order):
    whole, parted = (trainer_of(accumulating(order, parts)) for parts in (1, 4))
    for seed in range(5):
        x, y = batch_of(whole, seed, count=4)
        losses = [train_step(trainer, x, y).read() for trainer in (whole, parted)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-9)
    assert largest_difference(networks_of(whole), networks_of(parted)) < 1e-9


@pytest.mark.parametrize("order", ORDERS)
def test_the_plan_knows_the_forwards_of_a_step_that_accumulates(order):
    recipe = accumulating(order, 2)
    trainer = trainer_of(recipe)
    counts = count_forwards(trainer)
    train_step(trainer, *batch_of(trainer, count=4))
    assert {n.name: n.forwards for n in make_plan(recipe).networks} == counts
    # fake, reconstructed and same for each part; the fake once more, where its graph was not kept
    again = 2 if order == "discriminators-first" else 0
    assert counts["generators.summer_to_winter"] == 2 * 3 + again


def test_both_phases_of_an_accumulating_step_see_the_same_fakes_though_they_are_made_twice():
    recipe = tiny_recipe(
        loss={"adversarial": LeastSquares(), "cycle": CycleConsistency()},
        train={"accumulate": 2, "batch_size": 1},
    )
    trainer = trainer_of(recipe)
    add_dropout(trainer)
    made = {direction.name: [] for direction in trainer.directions}
    for direction in trainer.directions:
        direction.generator.register_forward_hook(
            lambda module, inputs, output, name=direction.name: made[name].append(output.detach())
        )
    train_step(trainer, *batch_of(trainer))
    # a part of the discriminators makes the fake only, one of the generators the fakes first
    first, second, again, *_ = made["summer_to_winter"]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
