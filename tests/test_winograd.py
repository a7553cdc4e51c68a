"""3×3 convolutions by Winograd's algorithm: torch's, but for rounding, and only where they pay."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from toys import batch_of, tiny_recipe, trainer_of

from imgtrans import winograd
from imgtrans.training import train_step
from imgtrans.winograd import FastConvolutions, convolution

SHAPES = {
    "blocks that fit": ((3, 4, 16, 16), 6, 1),
    "odd sizes": ((2, 5, 13, 18), 7, 1),
    "one image": ((1, 3, 9, 7), 4, 1),
    "nothing around": ((2, 3, 18, 14), 4, 0),
    "one pixel": ((2, 3, 3, 3), 2, 0),
    "more blocks than at once": ((1, 3, 70, 66), 2, 0),
    "more images than at once": ((20, 2, 12, 12), 2, 1),
    "a row of more blocks than at once": ((1, 1, 5, 530), 2, 1),
}


def material(shape, channels, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(shape, generator=generator, dtype=dtype)
    weight = torch.randn((channels, shape[1], 3, 3), generator=generator, dtype=dtype)
    bias = torch.randn(channels, generator=generator, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (images, weight, bias)]


def with_gradients(function, tensors, *rest):
    result = function(*tensors, *rest)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(result.shape, generator=generator, dtype=torch.float64)
    return [result, *torch.autograd.grad(result, tensors, weights.to(result.dtype))]


def torchs(images, weight, bias, padding):
    return functional.conv2d(images, weight, bias, padding=padding)


def difference(ones, others):
    return max((one - other).abs().max() for one, other in zip(ones, others, strict=True))


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(winograd, "pays", lambda *_: True)


@pytest.fixture
def used(monkeypatch, always):
    """What went through it."""
    shapes = []

    def counted(images, *rest):
        shapes.append(tuple(images.shape))
        return convolution(images, *rest)

    monkeypatch.setattr(winograd, "convolution", counted)
    return shapes


@pytest.mark.parametrize("name", SHAPES)
def test_result_and_gradients_are_those_of_torch(name):
    shape, channels, padding = SHAPES[name]
    tensors = material(shape, channels)
    ours = with_gradients(convolution, tensors, padding)
    assert difference(ours, with_gradients(torchs, tensors, padding)) < 1e-10


def test_in_float32_rounding_is_a_few_times_that_of_torch():
    exact = with_gradients(torchs, material((4, 96, 16, 16), 96), 1)
    tensors = [tensor.detach().float().requires_grad_() for tensor in material((4, 96, 16, 16), 96)]
    ours, theirs = (with_gradients(how, tensors, 1) for how in (convolution, torchs))
    for one, other, right in zip(ours, theirs, exact, strict=True):
        error, usual = ((each - right).norm() / right.norm() for each in (one, other))
        assert error < 1e-5
        assert error < 20 * usual + 1e-7


@pytest.mark.parametrize("layout", ["every second", "channels last", "transposed", "repeated"])
def test_images_may_lie_in_memory_in_any_way(layout):
    images, weight, bias = (tensor.detach() for tensor in material((2, 3, 8, 16), 4))
    images = {
        "every second": images[..., ::2],
        "channels last": images.contiguous(memory_format=torch.channels_last),
        "transposed": images.transpose(2, 3),
        "repeated": images[:1].expand(5, -1, -1, -1),
    }[layout]
    tensors = [tensor.requires_grad_() for tensor in (images, weight, bias)]
    ours = with_gradients(convolution, tensors, 1)
    theirs = with_gradients(torchs, tensors, 1)
    assert difference(ours, theirs) < 1e-10
    assert ours[0].stride() == theirs[0].stride()


def test_a_gradient_may_lie_in_memory_in_any_way():
    images, weight, _ = material((2, 3, 8, 8), 4)
    for how in (lambda result: result.sum(), lambda result: result.transpose(2, 3)[:, ::2].norm()):
        ours, theirs = (
            torch.autograd.grad(how(function(images, weight, None, 1)), (images, weight))
            for function in (convolution, torchs)
        )
        assert difference(ours, theirs) < 1e-10


def test_a_gradient_that_nobody_wants_is_not_computed():
    images, weight, bias = material((2, 3, 8, 8), 4)
    for wanted in (images, weight, bias):
        for tensor in (images, weight, bias):
            tensor.requires_grad_(tensor is wanted)
        ours, theirs = (
            torch.autograd.grad(function(images, weight, bias, 1).square().sum(), wanted)
            for function in (convolution, torchs)
        )
        assert difference(ours, theirs) < 1e-9


def test_a_second_use_leaves_the_first_result_alone():
    tensors = material((2, 3, 8, 8), 4)
    first = convolution(*tensors, 1)
    before = first.detach().clone()
    with_gradients(convolution, material((2, 3, 8, 8), 4), 1)
    assert torch.equal(first, before)


def test_the_same_twice_is_the_same_to_the_bit():
    tensors = material((2, 8, 12, 12), 8, torch.float32)
    ones, others = (with_gradients(convolution, tensors, 1) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def test_gradients_of_gradients_are_right(always):
    """A penalty on the gradient, as some losses of discriminators have it."""
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3), nn.Tanh()
    ).requires_grad_()
    images = torch.randn(2, 2, 9, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def penalised():
        (slope,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [images, *network[:3:2].parameters()])

    theirs = penalised()
    with FastConvolutions():
        ours = penalised()
    assert difference(ours, theirs) < 1e-4
    assert max(gradient.abs().max() for gradient in theirs) > 1e-2


def test_second_derivatives_pass_torchs_own_check():
    tensors = material((1, 2, 5, 4), 2)
    assert torch.autograd.gradgradcheck(
        lambda *three: convolution(*three, 1), tensors, fast_mode=True
    )


def test_networks_need_not_know(used):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, (3, 3), padding="valid", bias=False),
    )
    images = torch.rand(1, 3, 12, 12)
    expected = network(images)
    assert used == []
    with FastConvolutions():
        assert (network(images) - expected).abs().max() < 1e-5
    assert used == [(1, 3, 12, 12), (1, 4, 14, 14)]
    assert torch.equal(network(images), expected)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, padding=2),
        nn.Conv2d(4, 4, 3, padding=(1, 0)),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 4, padding=1),
        nn.Conv2d(4, 4, (3, 1)),
        nn.Conv2d(4, 4, 3, dtype=torch.float64),
        nn.Conv2d(4, 4, 3, device="meta"),
        nn.ConvTranspose2d(4, 4, 3),
    ],
    ids=repr,
)
def test_other_convolutions_are_torchs(layer, used):
    images = torch.rand(1, 4, 12, 12, dtype=layer.weight.dtype, device=layer.weight.device)
    expected = layer(images)
    with FastConvolutions():
        found = layer(images)
    assert used == []
    assert found.is_meta or torch.equal(found, expected)


def test_an_image_without_a_batch_is_torchs(used):
    layer, image = nn.Conv2d(4, 4, 3), torch.rand(4, 12, 12)
    with FastConvolutions():
        found = layer(image)
    assert used == []
    assert torch.equal(found, layer(image))


def test_autocast_keeps_its_own(used):
    layer, images = nn.Conv2d(4, 4, 3), torch.rand(1, 4, 12, 12)
    with FastConvolutions(), torch.autocast("cpu", torch.bfloat16):
        assert layer(images).dtype == torch.bfloat16
    assert used == []


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own use of it
def test_other_kinds_of_derivative_keep_their_own(used):
    layer, images = nn.Conv2d(4, 4, 3), torch.rand(1, 4, 6, 6)
    tangent = torch.rand(1, 4, 6, 6)
    _, expected = torch.autograd.functional.jvp(layer, images, tangent)
    with FastConvolutions():
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(images, tangent)
            found = torch.autograd.forward_ad.unpack_dual(layer(dual)).tangent
        mapped = torch.func.vmap(lambda image: layer(image[None])[0])(images)
    assert used == []
    assert (found - expected).abs().max() < 1e-5
    assert (mapped - layer(images)).abs().max() < 1e-5


def test_a_step_of_a_training_uses_it_and_plain_execution_does_not(used):
    losses = {}
    for execution in ("auto", "plain"):
        trainer = trainer_of(tiny_recipe(train={"execution": execution}))
        used.clear()
        losses[execution] = train_step(trainer, *batch_of(trainer)).values
        assert len(used) == {"auto": 4 * 2, "plain": 0}[execution]  # 4 images of 1 block
    assert torch.allclose(losses["auto"], losses["plain"], rtol=1e-5)


def test_a_training_in_float64_is_torchs(used):
    trainer = trainer_of(tiny_recipe(train={"precision": "float64"}))
    train_step(trainer, *batch_of(trainer))
    assert used == []


def test_it_pays_for_the_residual_blocks_of_the_shipped_recipes():
    layers = {"seed": ((16, 256, 16, 16), 1), "paper": ((1, 256, 66, 66), 0)}
    for shape, padding in layers.values():
        assert winograd.pays(torch.empty(shape), torch.empty(256, 256, 3, 3), padding)


def test_it_does_not_pay_for_few_channels_or_few_blocks():
    assert not winograd.pays(torch.empty(16, 3, 64, 64), torch.empty(64, 3, 3, 3), 1)
    assert not winograd.pays(torch.empty(1, 256, 4, 4), torch.empty(256, 256, 3, 3), 1)
