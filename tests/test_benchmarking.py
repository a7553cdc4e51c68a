"""Counts that are right, rates and steps that are measured, and what is said where memory ends."""

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from imgtrans_cyclegan import CycleConsistency, EncoderDecoder, UnpairedFolders
from test_plan import Masked
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from toys import CPU, tiny_paper_recipe, tiny_recipe, trainer_of

from imgtrans import ImgtransError, load_recipe
from imgtrans.benchmarking import machine, measuring, shortage, step
from imgtrans.benchmarking.command import benchmark
from imgtrans.benchmarking.machine import Rates, measure_rates
from imgtrans.benchmarking.memory import Keeping
from imgtrans.benchmarking.operators import Share, by_part, part_of
from imgtrans.benchmarking.showing import amount, show
from imgtrans.benchmarking.step import META, count_step
from imgtrans.benchmarking.work import PRODUCTS, Counting, Operation, Work
from imgtrans.monitor.display import Display
from imgtrans.plan import make_plan
from imgtrans.recipe import to_toml
from imgtrans.training import train_step


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMGTRANS_DATA", raising=False)


@pytest.fixture
def hasty(monkeypatch):
    """Measures as little as can be measured."""
    monkeypatch.setattr(machine, "SECONDS", 0.0)
    monkeypatch.setattr(machine, "SQUARES", {"cpu": (64,)})
    monkeypatch.setattr(machine, "COPIED", {"cpu": 2**20})
    monkeypatch.setattr(measuring, "SECONDS", 0.0)


def counted(network, *shape, wanted=True):
    """Operations of a network on meta, forward and backward."""
    images = torch.rand(shape, device="meta", requires_grad=wanted)
    network = network.to("meta")
    with Counting() as counting:
        network(images).sum().backward()
    return Work(tuple(counting.operations))


def step_of(recipe):
    return count_step(recipe, make_plan(recipe).images, CPU)


class Attention(nn.Module):
    """Matrix products in batches, as torch writes attention."""

    def forward(self, images):
        pixels = images.flatten(2)
        return torch.baddbmm(pixels, torch.bmm(pixels, pixels.mT).softmax(-1), pixels)


class Heads(nn.MultiheadAttention):
    """Torch's own."""

    def __init__(self):
        super().__init__(8, 2)

    def forward(self, words):
        return super().forward(words, words, words)[0]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 5)), (2, 3, 16, 16)),
        (nn.Conv2d(4, 8, 4, stride=2, padding=1), (2, 4, 15, 16)),
        (nn.Conv2d(4, 8, 3, dilation=2, bias=False), (2, 4, 16, 16)),
        (nn.ConvTranspose2d(4, 8, 4, stride=2, padding=1), (2, 4, 8, 9)),
        (nn.Conv1d(4, 8, 3), (2, 4, 16)),
        (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), (7, 6)),
        (nn.Linear(6, 5), (3, 7, 6)),
        (Attention(), (2, 4, 8, 8)),
        (Heads(), (7, 3, 8)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_operations_of_a_network_equal_torchs_count(network, shape):
    ours = counted(network, *shape)
    with FlopCounterMode(display=False) as theirs:
        network(torch.rand(shape, device="meta", requires_grad=True)).sum().backward()
    assert ours.flops(PRODUCTS) == theirs.get_total_flops() > 0


@pytest.mark.parametrize("name", ["quickstart", "cyclegan_yosemite", "cyclegan_paper"])
def test_operations_of_a_step_equal_torchs_count(name):
    recipe = load_recipe(name)
    images = make_plan(recipe).images
    trainer = step.build_trainer(recipe, META, images)
    step._prepare(trainer)
    size, batch = recipe.dataset.image_size, recipe.train.batch_size
    x, y = (torch.rand(batch, 3, size, size, device=META) for _ in range(2))
    with FlopCounterMode(display=False) as theirs:
        train_step(trainer, x, y)
    assert count_step(recipe, images, CPU).work.flops(PRODUCTS) == theirs.get_total_flops()


def test_a_convolution_is_counted_as_by_hand():
    work = counted(nn.Conv2d(3, 4, 5), 2, 3, 12, 12)
    products = 2 * 8 * 8 * 4 * 3 * 5 * 5  # images, pixels, channels out, channels in, weights
    source, made, weights, bias = 4 * 2 * 3 * 12 * 12, 4 * 2 * 4 * 8 * 8, 4 * 4 * 3 * 25, 4 * 4
    assert work.operations == (
        Operation(
            "convolution, forward", 2 * products, weights + bias, source + made, (4, 128, 75)
        ),
        Operation(
            "convolution, backward",
            4 * products,
            2 * weights + bias,  # read, and written as their gradient
            2 * source + made,
            (4, 128, 75),
        ),
    )


def test_a_gradient_that_nobody_asks_for_costs_nothing():
    forward, backward = counted(nn.Conv2d(3, 4, 5), 2, 3, 12, 12, wanted=False).operations
    assert backward.flops == forward.flops
    assert backward.bytes == forward.bytes


def test_each_group_of_a_convolution_sees_its_own_channels_only():
    whole, grouped = (
        counted(nn.Conv2d(8, 8, 3, groups=groups), 1, 8, 8, 8).flops() for groups in (1, 4)
    )
    assert whole == 4 * grouped


@pytest.mark.parametrize(("affine", "flops"), [(True, 7 + 10), (False, 5 + 9)])
def test_normalisation_is_counted_by_the_value_and_moves_nothing(affine, flops):
    for norm in (nn.BatchNorm2d(4, affine=affine), nn.InstanceNorm2d(4, affine=affine)):
        work = counted(norm, 2, 4, 8, 8)
        assert (work.flops(), work.bytes) == (flops * 2 * 4 * 8 * 8, 0)


def test_the_optimizer_reads_four_numbers_for_each_parameter_and_writes_three():
    recipe = tiny_recipe()
    parameters = sum(network.parameters for network in make_plan(recipe).networks)
    assert step_of(recipe).work.parts["optimizer"] == (13 * parameters, 7 * 4 * parameters)


def test_the_floor_is_what_binds_each_operation_arithmetic_or_memory():
    work = Work((Operation("a", 100, 10), Operation("b", 10, 0, 200)))
    assert work.floor(flops_per_second=10, bytes_per_second=20) == 100 / 10 + 200 / 20


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_meta_counts_what_a_real_step_does(precision):
    recipe = tiny_recipe(train={"precision": precision})
    images = make_plan(recipe).images
    meta, real = (step._count(recipe, images, device, 2) for device in (META, CPU))
    assert meta == real


def test_counts_of_more_images_are_those_of_few_scaled_but_for_weights():
    few, many = (step_of(tiny_recipe(train={"batch_size": count})) for count in (2, 6))
    assert few.work.scaled(3).parts == many.work.parts
    assert few.memory.scaled(3).total == pytest.approx(many.memory.total, rel=0.01)


def test_a_step_in_parts_computes_as_much_and_keeps_less():
    changes = {"order": "generators-first"}
    whole, parts = (
        step_of(tiny_recipe(train={**changes, "batch_size": batch, "accumulate": 4 // batch}))
        for batch in (4, 2)
    )
    assert parts.work.flops(PRODUCTS) == whole.work.flops(PRODUCTS)
    assert parts.memory.images == whole.memory.images
    assert parts.memory.total == pytest.approx(whole.memory.in_parts(2).total, rel=0.05)


def test_what_meta_cannot_run_is_counted_on_a_few_real_images_and_scaled():
    recipe = tiny_recipe(
        generator=Masked(),
        loss={"cycle": CycleConsistency()},
        discriminator=None,
        train={"batch_size": 8},
    )
    counted = step_of(recipe)
    assert counted.scaled_from == 2
    # Four forwards of a 1×1 convolution; backward, two of them only need their weights' gradient.
    assert counted.work.flops(PRODUCTS) == (4 + 4 + 2) * 2 * 8 * 32 * 32 * 3 * 3


def test_counting_leaves_the_random_numbers_of_a_program_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    step_of(tiny_recipe())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_kept_is_counted_once_and_let_go_of():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Tanh(), nn.Conv2d(4, 4, 1)).to("meta")
    images = torch.rand(2, 3, 8, 8, device="meta")
    keeping = Keeping({"generators.a": network}, [images])
    with keeping.watching():
        made = (network(images) ** 2).sum()
        # What tanh gave, kept by itself and by the next layer; and what the square took.
        kept = {"generators.a": 4 * 2 * 4 * 8 * 8, "losses": 4 * 2 * 4 * 8 * 8}
        assert keeping.now == keeping.most == kept
        made.backward()
    assert keeping.now.total() == 0
    assert keeping.most == kept


def test_memory_has_weights_gradients_moments_images_and_past_fakes():
    recipe = tiny_paper_recipe()
    memory = step_of(recipe).memory
    parameters = sum(network.parameters for network in make_plan(recipe).networks)
    image = 8 * 3 * 32 * 32
    assert memory.weights == memory.gradients == memory.moments // 2 == 8 * parameters
    assert memory.images == 2 * 2 * image
    assert memory.pools == 2 * (3 + 1) * image  # one place takes what is not to be kept
    assert {name.partition(".")[0] for name in memory.kept} == {
        "generators", "discriminators", "losses",
    }  # fmt: skip
    assert memory.total == sum(
        (memory.weights, memory.gradients, memory.moments, memory.images, memory.pools,
         *memory.kept.values())
    )  # fmt: skip


@pytest.mark.usefixtures("hasty")
def test_rates_are_the_best_of_squares_and_the_recipes_own_shapes():
    own = (8, 32, 16)
    rates = measure_rates(CPU, "float32", [own])
    assert rates.gemm in {(64, 64, 64), own}
    assert rates.flops > 0
    assert rates.copied > 0


def test_the_better_of_two_measurings_counts():
    one, other = Rates(10.0, (1, 2, 3), 5.0), Rates(8.0, (4, 5, 6), 7.0)
    assert one.or_better(other) == other.or_better(one) == Rates(10.0, (1, 2, 3), 7.0)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("aten::convolution_backward", "convolution, backward"),
        ("ConvolutionBackward0", "convolution, backward"),
        ("aten::mkldnn_convolution", "convolution, forward"),
        ("sm90_xmma_fprop_implicit_gemm_bf16", "convolution, forward"),
        ("aten::native_batch_norm", "normalisation"),
        ("aten::threshold_backward", "activation"),
        ("aten::_fused_adam_", "optimizer"),
        ("aten::addmm", "matrix product"),
        ("aten::copy_", "copying"),
        ("aten::sgn", "other"),
    ],
)
def test_operators_are_told_by_what_they_are_for(name, part):
    assert part_of(name) == part


@pytest.mark.usefixtures("hasty")
def test_a_benchmark_measures_steps_and_leaves_nothing(tmp_path):
    figures = benchmark(tiny_recipe(), Display(quiet=True), CPU)
    assert list(tmp_path.iterdir()) == []
    assert figures["floor_share"] == figures["floor_seconds"] / figures["step_seconds"] > 0
    assert figures["images_per_second"] == 4 / figures["step_seconds"]
    assert 0 <= figures["data_wait_share"] < 1
    assert figures["data"] == "summer 6 · winter 6"
    assert sum(figures["time_by_part"].values()) == pytest.approx(1)
    assert figures["time_by_part"] == by_part([Share(**each) for each in figures["operators"]])
    assert {"convolution, forward", "convolution, backward"} <= set(figures["time_by_part"])


@pytest.mark.usefixtures("hasty")
def test_a_benchmark_is_shown_in_words(capsys):
    show(benchmark(tiny_recipe(), Display(quiet=True), CPU), Display())
    words = " ".join(capsys.readouterr().out.split())
    for part in (
        "recipe tiny: 32×32 pixels, 2 images a domain",
        "images summer 6 · winter 6, in memory",
        "GFLOP a step",
        "GFLOP/s in products",
        "floor",
        "% of the rate of matrix products",
        "data wait",
        "a step needs",
        "convolution, backward",
    ):
        assert part in words


@pytest.mark.usefixtures("hasty")
def test_random_images_stand_in_for_missing_ones_and_it_says_so(capsys):
    recipe = tiny_recipe(dataset=UnpairedFolders(root="nowhere", image_size=32, load_size=40))
    figures = benchmark(recipe, Display(quiet=True), CPU)
    assert figures["data"] == "random images"
    assert "random images stand in for the recipe's" in capsys.readouterr().err


def test_the_command_prints_one_json_object_and_its_memory_is_near_the_counted():
    code = (
        "import sys\nfrom imgtrans.benchmarking import machine, measuring\n"
        "machine.SECONDS = measuring.SECONDS = 0.0\nmachine.SQUARES = {'cpu': (64,)}\n"
        "from imgtrans.cli import main\nmain(sys.argv[1:])"
    )
    changes = ["dataset.scenes=4", "train.batch_size=16", "generator.width=16", "name=wide"]
    options = [part for change in changes for part in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-c", code, "benchmark", "quickstart", "--json", *options],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)
    assert figures["recipe"] == "wide"
    assert 0.5 < figures["peak_memory_bytes"] / figures["memory"]["total"] < 3
    assert list(Path().iterdir()) == []


def test_amounts_of_memory_are_told_in_the_unit_that_fits():
    assert [amount(b) for b in (3 * 2**30, 812 * 2**20, 2**19)] == ["3.0 GiB", "812 MiB", "0.5 MiB"]


def failing(allocation):
    """The errors that a step too large ends in."""
    try:
        torch.empty(10**15)
    except RuntimeError as error:
        return [error, torch.OutOfMemoryError("CUDA out of memory."), MemoryError()][allocation]


@pytest.mark.parametrize("allocation", range(3))
def test_every_error_of_missing_memory_is_known(allocation):
    assert shortage.ran_out(failing(allocation))


def test_other_errors_are_not_taken_for_missing_memory():
    assert not shortage.ran_out(RuntimeError("shape '[5]' is invalid for input of size 24"))
    assert not shortage.ran_out(ImgtransError("can't allocate memory"))


def test_a_shortage_says_what_a_step_needs_what_there_is_and_what_needs_less(monkeypatch):
    recipe = tiny_recipe(generator=EncoderDecoder(width=8, blocks=1), train={"batch_size": 48})
    need, half, narrow = (
        step_of(each).memory.total
        for each in (
            recipe,
            tiny_recipe(
                generator=EncoderDecoder(width=8, blocks=1),
                train={"batch_size": 24, "accumulate": 2},
            ),
            tiny_recipe(generator=EncoderDecoder(width=4, blocks=1), train={"batch_size": 48}),
        )
    )
    monkeypatch.setattr(shortage, "_room", lambda device: (1.5 * half, "there is little"))
    text = shortage.shortage(failing(0), recipe, CPU)
    assert text.startswith("out of memory: DefaultCPUAllocator: can't allocate memory: you tried")
    assert f"a step needs about {amount(need)}" in text
    assert "layers of the generators" in text
    assert "there is little" in text
    change = "--set train.batch_size=24 --set train.accumulate=2, from 48 and 1"
    assert f"{change}: about {amount(half)}" in text
    assert f"--set generator.width=4, from 8: about {amount(narrow)}" in text
    assert "image_size=16" not in text  # the discriminator cannot be built for it


def test_a_shortage_of_one_of_several_processes_counts_its_share_of_the_batch(monkeypatch):
    monkeypatch.setattr(shortage, "_room", lambda device: (1, "nothing"))
    half = step_of(tiny_recipe(train={"batch_size": 3})).memory.total
    recipe = tiny_recipe(train={"batch_size": 6})
    text = shortage.shortage(MemoryError(), recipe, CPU, 2)
    assert f"a step needs about {amount(half)} in each of 2 processes" in text
    assert "--set train.batch_size=2 --set train.accumulate=3, from 6 and 1: about" in text


def test_without_any_batch_that_fits_a_single_image_is_named(monkeypatch):
    monkeypatch.setattr(shortage, "_room", lambda device: (1, "nothing"))
    recipe = tiny_recipe(train={"batch_size": 6})
    assert "train.batch_size=1 --set train.accumulate=6, from 6 and 1" in shortage.shortage(
        MemoryError(), recipe, CPU
    )


def test_a_batch_can_be_made_in_parts_which_is_the_same_training(monkeypatch):
    monkeypatch.setattr(shortage, "_room", lambda device: (1, "nothing"))
    recipe = tiny_recipe(train={"batch_size": 6, "accumulate": 2})
    text = shortage.shortage(MemoryError(), recipe, CPU)
    assert "--set train.batch_size=1 --set train.accumulate=12, from 6 and 2: about" in text
    assert "the same training, but for batch norm" in text


def test_a_shortage_is_told_even_where_counting_fails(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(shortage, "count_step", fail)
    text = shortage.shortage(MemoryError(), tiny_recipe(), CPU)
    assert text == ("out of memory\n  lower train.batch_size or dataset.image_size in a new run")


def test_a_failed_step_holds_nothing_while_its_shortage_is_told():
    held = []

    def too_large():
        images = torch.zeros(4)
        held.append(weakref.ref(images))
        raise MemoryError

    with pytest.raises(MemoryError) as caught:
        too_large()
    shortage.shortage(caught.value, tiny_recipe(), CPU)
    assert held[0]() is None


def test_the_limit_that_leaves_least_is_named(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    monkeypatch.setattr(shortage, "CONTAINER_LIMIT", tmp_path / "memory.max")
    left, text = shortage._room(CPU)
    assert left < 1000
    assert text.startswith("this container may have")


@pytest.mark.usefixtures("hasty")
def test_a_benchmark_out_of_memory_is_told_as_a_run_is(monkeypatch):
    def too_much(*_):
        raise MemoryError

    monkeypatch.setattr(measuring, "train_step", too_much)
    with pytest.raises(ImgtransError, match=r"out of memory\n  a step needs about"):
        benchmark(tiny_recipe(), Display(quiet=True), CPU)


LIMITED = """
import resource, sys
import psutil
from imgtrans import cli, running

build = running.build_trainer

def then_limit(*arguments):
    trainer = build(*arguments)
    most = psutil.Process().memory_info().vms + 400 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return trainer

running.build_trainer = then_limit
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits address space, which Linux does")
def test_a_run_that_really_ends_for_lack_of_memory_says_so():
    recipe = tiny_recipe(train={"batch_size": 4096})
    Path("tiny.toml").write_text(to_toml(recipe))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "run", "tiny.toml", "--quiet", "--device", "cpu"],
        capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    for part in (
        "error: after step 0: out of memory: ",
        "a step needs about 668 MiB",
        "this process may have (ulimit -v)",
        "--set train.batch_size=",
        "continue with: imgtrans run --resume runs/tiny",
    ):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(Path("runs/tiny/status.json").read_text())["state"] == "failed"


def test_trainers_of_runs_are_not_the_counted_ones():
    recipe = tiny_recipe()
    before = trainer_of(recipe).networks["generators.summer_to_winter"].state_dict()
    step_of(recipe)
    after = trainer_of(recipe).networks["generators.summer_to_winter"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
