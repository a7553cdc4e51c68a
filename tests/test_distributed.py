"""Two processes do what one does with the same global batch."""

import pytest
import torch
from imgtrans_cyclegan import Convolutional, EncoderDecoder, Residual
from ranks import together
from toys import batch_of, tiny_paper_recipe, tiny_recipe

from imgtrans.building import build_trainer
from imgtrans.distributed import ALONE
from imgtrans.distributed.normalising import synchronise
from imgtrans.plan import make_plan
from imgtrans.training import train_step

CPU = torch.device("cpu")


def recipe_of(case):
    """By the name of a case: what it changes of the tiny recipes, and how many steps it makes."""
    if case == "gradients in float32":
        recipe = tiny_paper_recipe()
        settings = {"precision": "float32"}
    elif case == "accumulating":
        recipe = tiny_paper_recipe()
        settings = {"accumulate": 2, "order": "discriminators-first"}
    elif case.endswith("batch norm"):
        recipe = tiny_recipe(
            generator=EncoderDecoder(width=2, blocks=1, residual_block=Residual()),
            discriminator=Convolutional(width=2),
        )
        settings = {"precision": "float64", "batch_norm": case.split()[0]}
    else:
        recipe, settings = tiny_paper_recipe(), {}
    settings["batch_size"] = 4 // settings.get("accumulate", 1)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})


CASES = ["instance norm", "accumulating", "synchronised batch norm", "local batch norm"]


def train(ranks, case, steps=5):
    """What a process has after some steps: its state, gradients and losses."""
    recipe = recipe_of(case)
    trainer = build_trainer(recipe, CPU, make_plan(recipe).images, ranks)
    parts, losses = recipe.train.accumulate, []
    for seed in range(1 if case.startswith("gradients") else steps):
        x, y = (own(images, ranks, parts) for images in batch_of(trainer, seed, count=4))
        losses.append(train_step(trainer, x, y).read())
    named = [item for phase in trainer.phases for item in phase.parameters.items()]
    return {
        "weights": {name: parameter.detach() for name, parameter in named},
        "gradients": {name: parameter.grad for name, parameter in named},
        "buffers": {
            f"{name}.{key}": value
            for name, network in trainer.networks.items()
            for key, value in network.named_buffers()
        },
        "pools": {name: pool.images for name, pool in trainer.pools.items() if pool.count},
        "losses": losses,
    }


def own(images, ranks, parts):
    """A process's share of each part of a step, as the data order gives it out."""
    return torch.cat([ranks.share(part) for part in images.chunk(parts)])


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    cases = [*CASES, "gradients in float32"]
    both = together(train, tmp_path_factory.mktemp("ranks"), *cases)
    return {case: [results[index] for results in both] for index, case in enumerate(cases)}


def difference(ones, others):
    assert set(ones) == set(others)
    return max((ones[name] - others[name]).abs().max().item() for name in ones)


@pytest.mark.parametrize("case", CASES)
def test_all_processes_have_the_same_weights(two, case):
    first, second = two[case]
    assert difference(first["weights"], second["weights"]) == 0
    assert first["losses"] == second["losses"]


@pytest.mark.parametrize("case", ["instance norm", "accumulating", "synchronised batch norm"])
def test_two_processes_train_as_one_with_the_same_global_batch(two, case):
    alone = train(ALONE, case)
    for one in two[case]:
        assert difference(alone["weights"], one["weights"]) < 1e-9
        for step, losses in enumerate(alone["losses"]):
            assert one["losses"][step] == pytest.approx(losses, abs=1e-9)


def test_gradients_in_float32_differ_by_rounding_only(two):
    case = "gradients in float32"
    alone = train(ALONE, case)
    for one in two[case]:
        expected, found = (
            torch.cat([gradient.flatten() for gradient in each["gradients"].values()])
            for each in (alone, one)
        )
        assert (found - expected).norm() / expected.norm() < 1e-6


def test_the_pool_of_past_fakes_is_one_and_the_same_on_all_processes(two):
    alone = train(ALONE, "instance norm")
    for one in two["instance norm"]:
        assert one["pools"]["summer_to_winter"].shape[0] == 3
        assert difference(alone["pools"], one["pools"]) < 1e-9


def test_synchronised_batch_norm_remembers_the_statistics_of_all_images(two):
    alone = train(ALONE, "synchronised batch norm")
    for one in two["synchronised batch norm"]:
        assert difference(alone["buffers"], one["buffers"]) < 1e-9


def test_local_batch_norm_has_statistics_of_its_own(two):
    alone = train(ALONE, "local batch norm")
    first, second = two["local batch norm"]
    assert difference(first["buffers"], second["buffers"]) > 1e-3
    assert difference(alone["weights"], first["weights"]) > 1e-6


def normalised(ranks, case):
    """What synchronised batch norm makes of half of some images, and its slopes, once and twice."""
    norm = torch.nn.BatchNorm2d(3, dtype=torch.float32 if case == "bfloat16" else torch.float64)
    synchronise([norm], ranks)
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    own = ranks.share(images).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "bfloat16"):
        seen = norm(own.bfloat16() if case == "bfloat16" else own)
    weighted = (own, norm.weight, norm.bias)
    once, *parts = torch.autograd.grad(seen.pow(3).sum(), weighted, retain_graph=True)
    slope = torch.autograd.grad(seen.pow(3).sum(), own, create_graph=True)[0]
    penalty = torch.autograd.grad(slope.square().sum(), own)[0]
    made = {"made": seen, "once": once, "slope": slope, "penalty": penalty}
    return {name: each.detach() for name, each in made.items()} | {"parts": parts}


def test_synchronised_batch_norm_can_be_differentiated_twice_and_works_in_bfloat16(tmp_path):
    first, second = together(normalised, tmp_path, "float64", "bfloat16")
    norm = torch.nn.BatchNorm2d(3).double()
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    images.requires_grad_()
    seen = norm(images)
    parts = torch.autograd.grad(seen.pow(3).sum(), list(norm.parameters()), retain_graph=True)
    slope = torch.autograd.grad(seen.pow(3).sum(), images, create_graph=True)[0]
    penalty = torch.autograd.grad(slope.square().sum(), images)[0]
    for expected, one, other in zip(parts, first[0]["parts"], second[0]["parts"], strict=True):
        torch.testing.assert_close(one + other, expected, rtol=1e-9, atol=1e-9)
    made = {"made": seen, "once": slope, "slope": slope, "penalty": penalty}
    for name, expected in made.items():
        both = torch.cat([each[0][name] for each in (first, second)])
        assert (both - expected).abs().max() < 1e-9 * expected.abs().max().clamp(min=1)
    assert first[1]["made"].dtype == torch.bfloat16
    assert (torch.cat([first[1]["made"], second[1]["made"]]) - seen).abs().max() < 0.05
