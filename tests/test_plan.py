"""The plan: what a step makes is known, and what cannot work is refused, before training."""

import pytest
import torch
from imgtrans_cyclegan import CycleConsistency, EncoderDecoder, Residual
from toys import tiny_recipe

from imgtrans import Generator, ImgtransError, Loss, RecipeError
from imgtrans.building import build_trainer, precision_of
from imgtrans.plan import make_plan


def test_the_plan_counts_what_a_step_runs():
    plan = make_plan(tiny_recipe())
    forwards = {network.name: network.forwards for network in plan.networks}
    assert forwards == {
        "generators.summer_to_winter": 2,
        "generators.winter_to_summer": 2,
        "discriminators.winter": 3,
        "discriminators.summer": 3,
    }
    assert plan.images == ("fake", "reconstructed")
    assert plan.networks[0].output == (2, 3, 32, 32)


def test_images_too_small_for_a_network_name_it_its_table_and_the_cause():
    dataset = tiny_recipe().dataset.model_copy(update={"image_size": 16})
    with pytest.raises(ImgtransError) as caught:
        make_plan(tiny_recipe(dataset=dataset))
    text = str(caught.value)
    assert text.startswith("[discriminator] discriminators.winter fails on images of 16×16 pixels")
    assert "Kernel size" in text
    assert "choose another dataset.image_size" in text


class Fails(Loss):
    """Cannot be computed."""

    def build(self):
        return lambda translation: translation.fake[0, 0, 0, 0] / torch.zeros(2, 3, 4).view(5)


def test_a_loss_that_fails_is_named():
    with pytest.raises(ImgtransError, match=r"\[loss.bad\] fails: RuntimeError: shape .* invalid"):
        make_plan(tiny_recipe(loss={"bad": Fails()}, discriminator=None))


class Masking(torch.nn.Module):
    """Needs real numbers: how many pixels are positive decides what is computed."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 1)

    def forward(self, images):
        made = self.layer(images)
        return made if int((images > 0).sum()) else -made


class Masked(Generator):
    """A generator that the meta device cannot run."""

    def build(self, channels_in, channels_out):
        return Masking()


def test_what_meta_cannot_run_is_planned_on_a_small_real_batch():
    recipe = tiny_recipe(generator=Masked(), loss={"cycle": CycleConsistency()}, discriminator=None)
    plan = make_plan(recipe)
    assert [network.forwards for network in plan.networks] == [2, 2]
    assert plan.networks[0].output == (2, 3, 32, 32)


class Faulty(Residual):
    """Cannot be built."""

    def build(self, channels):
        message = f"{channels} channels are too many"
        raise ValueError(message)


def test_a_component_that_cannot_be_built_is_told_with_the_path_to_it():
    recipe = tiny_recipe(generator=EncoderDecoder(width=2, residual_block=Faulty()))
    says = (
        r"\[generator.residual_block\] Faulty cannot be built: ValueError: 8 channels are too many"
    )
    with pytest.raises(RecipeError, match=says):
        make_plan(recipe)


def test_bfloat16_is_what_cuda_computes_in_unless_a_recipe_says_otherwise():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert precision_of(tiny_recipe(), cuda) == "bfloat16"
    assert precision_of(tiny_recipe(), cpu) == "float32"
    assert precision_of(tiny_recipe(train={"precision": "float32"}), cuda) == "float32"


def test_a_loss_must_return_a_scalar():
    class Map(Loss):
        """One value per pixel."""

        def build(self):
            return lambda translation: translation.fake - translation.source

    with pytest.raises(ImgtransError, match=r"\[loss.map\] must return a scalar tensor, not a"):
        make_plan(tiny_recipe(loss={"map": Map()}, discriminator=None))


@pytest.mark.parametrize(
    ("device", "precision", "dtype"),
    [("cpu", "auto", torch.float32), ("cpu", "bfloat16", torch.bfloat16)],
)
def test_precision_decides_what_networks_compute_in_and_losses_stay_at_least_float32(
    device, precision, dtype
):
    from imgtrans.translation import Translation

    trainer = build_trainer(
        tiny_recipe(train={"precision": precision}), torch.device(device), ("fake",)
    )
    seen = []
    network = trainer.directions[0].generator
    first = next(each for each in network.modules() if isinstance(each, torch.nn.Conv2d))
    first.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    images = torch.zeros(2, 3, 32, 32)
    made = Translation(trainer.directions[0], images, images).fake
    assert (seen, made.dtype) == ([dtype], torch.float32)
    seen.clear()
    discriminator = trainer.directions[0].discriminator
    discriminator.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    (scores,) = Translation(trainer.directions[0], images, images).discriminate(images)
    assert (seen, scores.dtype) == ([dtype], torch.float32)
