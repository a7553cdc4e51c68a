"""A step as a graph: what is recorded once and replayed is what each step would have done."""

import math
import random

import pytest
import torch
from test_translation import add_dropout
from toys import batch_of, tiny_paper_recipe, tiny_recipe, trainer_of

from imgtrans.execution import EAGER_STEPS, Graphed
from imgtrans.training import train_step

STEPS = 8


class Repeated:
    """Stands in for a CUDA graph on a processor: the same memory is worked on at each replay."""

    def __init__(self, step):
        self.step, self.replayed = step, 0

    def replay(self):
        self.losses.copy_(self.step())
        self.replayed += 1

    @classmethod
    def record(cls, step):
        graph = cls(step)
        graph.losses = torch.full((8 + 4,), torch.nan, dtype=torch.float64)
        cls.last = graph
        return graph, graph.losses


def trained(compute=None, change=lambda trainer: None):
    recipe = tiny_paper_recipe()
    settings = {"decay_steps": 6, "steps": STEPS}
    trainer = trainer_of(
        recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})
    )
    add_dropout(trainer)
    change(trainer)
    if compute is not None:
        trainer.compute = compute
    losses = [train_step(trainer, *batch_of(trainer, step)).read() for step in range(STEPS)]
    return trainer, losses


def test_replayed_steps_are_the_steps_bit_for_bit():
    plain, expected = trained()
    graphed, losses = trained(Graphed(Repeated.record))
    assert Repeated.last.replayed == STEPS - EAGER_STEPS
    assert losses == expected
    for name, network in plain.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, graphed.networks[name].state_dict()[key])
    for name, pool in plain.pools.items():
        assert torch.equal(pool.images, graphed.pools[name].images)


def test_what_cannot_be_recorded_is_told_and_goes_on_operation_by_operation():
    def refuse(step):
        message = "operation not permitted when stream is capturing\nand more"
        raise RuntimeError(message)

    trainer, losses = trained(Graphed(refuse))
    assert losses == trained()[1]
    (note,) = trainer.notes
    assert "operation not permitted when stream is capturing" in note
    assert "and more" not in note


def test_random_numbers_of_the_host_keep_a_step_from_being_a_graph():
    def draws(trainer):
        generator = trainer.directions[0].generator
        generator.register_forward_hook(lambda *_: random.random() and None)

    def record(step):
        step()  # as recording does, but on copies
        return Repeated.record(step)

    trainer, _ = trained(Graphed(record), draws)
    (note,) = trainer.notes
    assert "random numbers on the host" in note


@pytest.mark.parametrize(
    "change", [{"accumulate": 2}, {"execution": "plain"}, {"execution": "auto"}]
)
def test_a_step_is_a_graph_only_on_a_gpu_as_wished_and_where_it_does_not_accumulate(change):
    from imgtrans.execution import fastest
    from imgtrans.training import compute

    trainer = trainer_of(tiny_paper_recipe())
    trainer.settings = trainer.settings.model_copy(update={"execution": "graph"})
    assert not isinstance(fastest(trainer), Graphed)
    trainer.device = torch.device("cuda")
    assert isinstance(fastest(trainer), Graphed)
    trainer.settings = trainer.settings.model_copy(update=change)
    assert fastest(trainer) is compute


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("execution", ["plain", "graph"])
def test_no_step_waits_for_a_gpu(execution):
    from imgtrans.building import build_trainer
    from imgtrans.plan import make_plan

    recipe = tiny_recipe(train={"execution": execution, "precision": "float32", "steps": STEPS})
    trainer = build_trainer(recipe, torch.device("cuda"), make_plan(recipe).images)
    batches = [[each.cuda() for each in batch_of(trainer, step)] for step in range(STEPS)]
    train_step(trainer, *batches[0]).read()  # what is made once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = [train_step(trainer, *batch) for batch in batches[1:]]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(math.isfinite(value) for each in losses for value in each.read().values())
