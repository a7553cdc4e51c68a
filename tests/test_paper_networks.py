"""The published networks: names, shapes, numbers of parameters, and what they compute."""

import functional_networks as formulas
import published_layouts as layouts
import pytest
import torch
from imgtrans_cyclegan import Patch, ReflectedResidual, ResNet, UNet
from torch import nn

BATCH = ReflectedResidual(norm="batch")
BLURRED = {"downsampling": "antialiased", "upsampling": "antialiased"}
PUBLISHED = {
    "CycleGAN, 9 blocks": (ResNet(), layouts.resnet(), 11_378_179, 48),
    "CycleGAN, 6 blocks": (ResNet(blocks=6), layouts.resnet(6), 7_837_699, 36),
    "CycleGAN, batch norm": (
        ResNet(norm="batch", residual_block=BATCH), layouts.resnet(norm="batch"), 11_383_427, 140,
    ),
    "CycleGAN, dropout": (
        ResNet(residual_block=ReflectedResidual(dropout=True)),
        layouts.resnet(dropout=True), 11_378_179, 48,
    ),
    "CUT": (ResNet(**BLURRED), layouts.resnet(cut=True), 11_387_779, 52),
    "unet_256, batch norm": (UNet(), layouts.unet(), 54_413_955, 82),
    "unet_256, instance norm": (
        UNet(norm="instance"), layouts.unet(norm="instance"), 54_409_603, 32,
    ),
    "unet_128": (UNet(depth=7), layouts.unet(7), 41_828_995, 70),
    "patches": (Patch(), layouts.patch(), 2_764_737, 10),
    "patches, pix2pix": (
        Patch(norm="batch"), layouts.patch(norm="batch", channels=6), 2_768_705, 22,
    ),
    "patches, 5 layers": (Patch(layers=5), layouts.patch(5), 11_154_369, 14),
    "patches, CUT": (Patch(downsampling="antialiased"), layouts.patch(cut=True), 2_768_769, 13),
}  # fmt: skip
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_shapes_order_and_numbers_are_the_published_ones(name):
    component, shapes, values, tensors = PUBLISHED[name]
    channels = 6 if "pix2pix" in name else 3
    with torch.device("meta"):
        network = component.build(*(channels,) if name.startswith("patches") else (3, 3))
    state = network.state_dict()
    assert [(key, tuple(value.shape)) for key, value in state.items()] == [*shapes.items()]
    assert len(state) == tensors
    counted = [value.numel() for key, value in state.items() if not key.endswith(STATISTICS)]
    assert sum(counted) == values


def largest_difference(network, weights, images, formula):
    """Of the network's outputs from those of the formula, on the same weights, in float64."""
    weights = {k: v.double() if v.is_floating_point() else v for k, v in weights.items()}
    images = images.double()
    network.double().load_state_dict(weights)
    with torch.no_grad():
        made, expected = network.eval()(images), formula(weights, images)
    assert expected.std() > 0.01
    return (made - expected).abs().max().item()


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(
    ("down", "up"),
    [("strided", "transposed"), ("antialiased", "antialiased"), ("strided", "resize")],
)
@pytest.mark.parametrize("dropout", [False, True])
def test_the_resnet_computes_what_its_formula_says(norm, down, up, dropout):
    block = ReflectedResidual(norm=norm, dropout=dropout)
    component = ResNet(
        width=16, blocks=3, norm=norm, downsampling=down, upsampling=up, residual_block=block
    )
    network = component.build(3, 3)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if up != "resize":
        published = layouts.resnet(3, norm, dropout=dropout, cut=down == "antialiased", width=16)
        assert shapes == published
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    formula = lambda state, x: formulas.resnet(state, x, 3, dropout=dropout, up=up)  # noqa: E731
    assert largest_difference(network, layouts.weights(shapes), images, formula) < 1e-9


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("depth", [5, 6])
def test_the_unet_computes_what_its_formula_says(norm, depth):
    network = UNet(width=8, depth=depth, norm=norm, dropout=True).build(3, 3)
    images = torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    weights = layouts.weights(layouts.unet(depth, norm, width=8))
    formula = lambda state, x: formulas.unet(state, x, depth)  # noqa: E731
    assert largest_difference(network, weights, images, formula) < 1e-9


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("layers", [1, 3, 5])
@pytest.mark.parametrize("down", ["strided", "antialiased"])
def test_the_patch_discriminator_computes_what_its_formula_says(norm, layers, down):
    network = Patch(width=8, layers=layers, norm=norm, downsampling=down).build(3)
    images = torch.rand(2, 3, 128, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    weights = layouts.weights(layouts.patch(layers, norm, cut=down == "antialiased", width=8))
    formula = lambda state, x: formulas.patch(state, x, layers)  # noqa: E731
    assert largest_difference(network, weights, images, formula) < 1e-9


@pytest.mark.parametrize("name", ["CycleGAN, 9 blocks", "CUT", "unet_128", "patches"])
def test_the_whole_published_networks_compute_what_their_formulas_say(name):
    formula = {
        "unet_128": lambda state, x: formulas.unet(state, x, 7),
        "patches": lambda state, x: formulas.patch(state, x, 3),
        "CUT": lambda state, x: formulas.resnet(state, x, 9, up="antialiased"),
    }.get(name, lambda state, x: formulas.resnet(state, x, 9))
    component, shapes, *_ = PUBLISHED[name]
    network = component.build(*(3,) if name == "patches" else (3, 3))
    side = 128 if name == "unet_128" else 48
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert largest_difference(network, layouts.weights(shapes), images, formula) < 1e-9


@pytest.mark.parametrize(("depth", "dropouts"), [(8, 3), (7, 2), (5, 0)])
def test_the_unet_has_dropout_where_pix2pix_has_it(depth, dropouts):
    network = UNet(width=1, depth=depth, dropout=True).build(3, 3)
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in network.modules()) == dropouts
    network = UNet(width=1, depth=depth).build(3, 3)
    assert not any(isinstance(layer, torch.nn.Dropout) for layer in network.modules())


def test_dropout_is_on_in_training_only():
    block = ReflectedResidual(dropout=True).build(8)
    images = torch.randn(1, 8, 8, 8)
    assert not torch.equal(block(images), block(images))
    assert torch.equal(block.eval()(images), block(images))


@pytest.mark.parametrize(("pixels", "logits"), [(256, 30), (128, 14)])
def test_patches_are_as_many_as_published(pixels, logits):
    with torch.device("meta"):
        assert Patch().build(3)(torch.empty(1, 3, pixels, pixels)).shape == (1, 1, logits, logits)


@pytest.mark.parametrize(
    "network",
    [
        ResNet(blocks=1, norm="batch", residual_block=BATCH).build(3, 3),
        UNet(width=32, depth=4).build(3, 3),
        Patch(norm="batch").build(3),
    ],
    ids=lambda network: type(network).__name__,
)
def test_first_weights_are_the_papers(network):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.5)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            assert module.weight.mean().item() == pytest.approx(0, abs=0.002)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()


def test_a_resnet_holds_blocks_of_any_plugin_and_leaves_their_first_weights():
    from imgtrans_cyclegan import Residual

    torch.manual_seed(0)
    network = ResNet(width=8, blocks=2, residual_block=Residual(norm="none")).build(3, 3)
    assert isinstance(network.model[10].layers[0], nn.Conv2d)
    assert network.model[10].layers[0].weight.std().item() == pytest.approx(0.034, rel=0.2)


def test_blurs_are_those_of_the_published_files():
    component = ResNet(width=8, blocks=1, **BLURRED)
    made = component.build(3, 3).state_dict()
    published = layouts.weights(layouts.resnet(1, cut=True, width=8))
    blurs = [name for name in published if name.endswith(".filt")]
    assert len(blurs) == 4
    assert all(torch.equal(made[name], published[name]) for name in blurs)
