"""Which of the networks here published weights are of, told by their names and shapes.

A name that is missing, or a shape that is odd, must not hide what the rest clearly is: whether all
of it fits is compared afterwards, and told tensor by tensor.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from imgtrans import Recognised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans import Discriminator, Generator
    from imgtrans_cyclegan.paper import Down, Norm, Up

_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")
_PAPER: Final = "cyclegan_paper"
_SEED: Final = "cyclegan"


def resnet(shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
    """CycleGAN's generator, and CUT's: a list of layers with ``conv_block`` in the middle."""
    from imgtrans_cyclegan.paper import ReflectedResidual, ResNet

    places = sorted({int(at) for at in _numbers(r"model\.(\d+)\.conv_block\.", shapes)})
    if not places:
        return None
    first, last = places[0], places[-1]
    kernels = {at: shape for at, shape in _kernels(shapes).items() if not first <= at <= last}
    channels = (_at(kernels.get(1), 1, 3), _at(kernels[max(kernels)], 0, 3) if kernels else 3)
    inner = next((s[0] for n, s in shapes.items() if "conv_block" in n and len(s) == 4), 256)
    width = _at(kernels.get(1), 0, inner // 4)
    norm, said = _norm(shapes)
    dropout = any(
        re.search(r"conv_block\.6\.weight$", n) and len(s) == 4 for n, s in shapes.items()
    )
    blurs = [int(at) for at in _numbers(r"model\.(\d+)\.filt$", shapes)]
    down: Down = "antialiased" if any(at < first for at in blurs) else "strided"
    up: Up = "antialiased" if any(at > last for at in blurs) else "resize"
    up = "transposed" if f"model.{last + 1}.weight" in shapes else up
    second = "conv_block.6, after a dropout" if dropout else "conv_block.5, so there is no dropout"
    blurred = "blurs at model." + ", model.".join(map(str, blurs)) if blurs else "no blurs"
    component = ResNet(
        width=width,
        blocks=last - first + 1,
        norm=norm,
        downsampling=down,
        upsampling=up,
        residual_block=ReflectedResidual(norm=norm, dropout=dropout),
    )
    blocks = _count(last - first + 1, "residual block")
    decisions = (
        f"{blocks} of {inner} channels, model.{first} to model.{last}",
        f"a block's second convolution is {second}",
        f"{blurred}: downsampling {down}, upsampling {up}",
        *said,
    )
    return _recognised(component, channels, shapes, decisions, norm)


def unet(shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
    """pix2pix's generator: levels within levels, each called ``model``."""
    from imgtrans_cyclegan.paper import UNet

    found = _numbers(r"model\.(model\.1(?:\.model\.3)*)\.model\.\d+\.", shapes)
    levels = max((name.count("model") for name in found), default=0)
    if not levels:
        return None
    norm, said = _norm(shapes)
    outermost = shapes.get("model.model.0.weight")
    channels = (_at(outermost, 1, 3), _at(shapes.get("model.model.3.weight"), 1, 3))
    component = UNet(width=_at(outermost, 0, 64), depth=levels + 1, norm=norm)
    decisions = (
        f"{levels + 1} levels within each other: sides are multiples of {component.multiple}",
        *said,
        "whether it had dropout cannot be told, and makes no difference to translating",
    )
    return _recognised(component, channels, shapes, decisions, norm)


def patch(shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
    """CycleGAN's, pix2pix's and CUT's discriminator: a list of 4×4 convolutions."""
    from imgtrans_cyclegan.paper import Patch

    kernels = _kernels(shapes)
    if not kernels or 0 not in kernels or any(shape[2:] != (4, 4) for shape in kernels.values()):
        return None
    blurs = _numbers(r"model\.(\d+)\.filt$", shapes)
    down: Down = "antialiased" if blurs else "strided"
    layers = max(1, len(kernels) - 2)
    norm, said = _norm(shapes)
    component = Patch(width=kernels[0][0], layers=layers, norm=norm, downsampling=down)
    decisions = (
        f"{len(kernels)} convolutions of 4×4: {_count(layers, 'halving')}, then two of stride 1",
        *(["blurs between them: downsampling antialiased"] if blurs else []),
        *said,
    )
    return _recognised(component, (kernels[0][1],), shapes, decisions, norm)


def encoder_decoder(shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
    """The seed's generator."""
    from imgtrans_cyclegan import EncoderDecoder, Residual

    blocks = {int(at) for at in _numbers(r"res_blocks\.(\d+)\.", shapes)}
    if not blocks:
        return None
    norm = "batch" if any(name.endswith("running_mean") for name in shapes) else "none"
    first, last = shapes.get("conv1.0.weight"), shapes.get("deconv3.0.weight")
    component = EncoderDecoder(
        width=_at(first, 0, 64),
        blocks=max(blocks) + 1,
        norm=norm,
        residual_block=Residual(norm=norm),
    )
    ours = {f"conv{n}": ("encoder", 3 * n - 3) for n in (1, 2, 3)}
    ours |= {f"deconv{n}": ("decoder", 3 * n - 3) for n in (1, 2, 3)}
    for n in range(max(blocks) + 1):
        for layer in (1, 2):
            ours[f"res_blocks.{n}.conv_layer{layer}"] = (f"blocks.{n}.layers", 3 * layer - 3)
    decisions = (
        f"{_count(max(blocks) + 1, 'block')}, res_blocks.0 to res_blocks.{max(blocks)}",
        f"{norm} normalisation; the names are the seed project's, and become those used here",
    )
    channels = (_at(first, 1, 3), _at(last, 1, 3))
    return Recognised(component, channels, _renamed(shapes, ours), decisions, _SEED)


def convolutional(shapes: Mapping[str, tuple[int, ...]]) -> Recognised | None:
    """The seed's discriminator."""
    from imgtrans_cyclegan import Convolutional

    first = shapes.get("conv1.0.weight")
    if not any(name.startswith("conv5.") for name in shapes):
        return None
    norm = "batch" if any(name.endswith("running_mean") for name in shapes) else "none"
    component = Convolutional(width=_at(first, 0, 64), norm=norm)
    # The first has no norm after it, the others do: 0 conv, 1 relu, 2 conv, 3 norm, 4 relu, …
    places = [0, 2, 5, 8, 11] if norm == "batch" else [0, 2, 4, 6, 8]
    ours = {f"conv{n}": ("", at) for n, at in enumerate(places, 1)}
    decisions = (
        f"five convolutions, {norm} normalisation",
        "the names are the seed project's, and become those used here",
    )
    return Recognised(component, (_at(first, 1, 3),), _renamed(shapes, ours), decisions, _SEED)


def _renamed(
    shapes: Mapping[str, tuple[int, ...]], ours: Mapping[str, tuple[str, int]]
) -> dict[str, str]:
    """``conv2.1.bias`` to ``encoder.4.bias``: a part's place, and where it begins among ours."""
    names = {}
    for name in shapes:
        match = re.fullmatch(r"(.+)\.([01])\.(\w+)", name)
        if match and match[1] in ours:
            prefix, begins = ours[match[1]]
            at = begins + int(match[2])
            names[name] = f"{prefix}.{at}.{match[3]}".removeprefix(".")
    return names


def _recognised(
    component: Generator | Discriminator,
    channels: tuple[int, ...],
    shapes: Mapping[str, tuple[int, ...]],
    decisions: tuple[str, ...],
    norm: str,
) -> Recognised:
    """With the statistics left out that instance normalisation saved before torch 0.4.

    Only where it stands: anywhere else they are what does not fit.
    """
    norms = _instance_norms(component, channels) if norm == "instance" else {}
    names: dict[str, str | None] = {}
    for name, shape in shapes.items():
        place, _, kind = name.rpartition(".")
        wanted = () if kind == "num_batches_tracked" else (norms.get(place),)
        if place in norms and kind in _STATISTICS and shape == wanted:
            names[name] = None
    if names:
        left_out = f"{_count(len(names), 'statistic')} of instance normalisation left out: "
        decisions += (left_out + "torch before 0.4 saved them, and nothing uses them",)
    return Recognised(component, channels, names, decisions, _PAPER)


def _instance_norms(
    component: Generator | Discriminator, channels: tuple[int, ...]
) -> dict[str, int]:
    """Channels of the network's instance normalisations, by their place."""
    import torch
    from torch import nn

    with torch.device("meta"):
        network = component.build(*channels)
    layers = network.named_modules()
    return {name: each.num_features for name, each in layers if isinstance(each, nn.InstanceNorm2d)}


def _norm(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Norm, list[str]]:
    """Batch normalisation has weights, of one dimension, next after a kernel; and statistics.

    Affine instance normalisation has the weights alone. Networks here have none of it, so its
    weights are what does not fit.
    """
    kernels = {name for name, shape in shapes.items() if len(shape) == 4}
    vectors = [name for name, shape in shapes.items() if len(shape) == 1]
    placed = (re.fullmatch(r"(.+\.)(\d+)\.weight", name) for name in vectors)
    if any(match and f"{match[1]}{int(match[2]) - 1}.weight" in kernels for match in placed):
        if any(name.endswith("running_mean") for name in vectors):
            return "batch", ["batch normalisation: it has weights and running statistics"]
        return "instance", ["instance normalisation with weights, which networks here have not"]
    return "instance", ["instance normalisation: it has no weights, and convolutions a bias"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _numbers(pattern: str, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What the pattern's group is in the names that it fits, each once."""
    matches = (re.match(pattern, name) for name in shapes)
    return [*dict.fromkeys(match[1] for match in matches if match)]


def _kernels(shapes: Mapping[str, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Shapes of the convolutions in the outer list, by their place; empty where it is no list."""
    found = ((re.fullmatch(r"model\.(\d+)\.weight", name), s) for name, s in shapes.items())
    return {int(match[1]): shape for match, shape in found if match and len(shape) == 4}


def _at(shape: tuple[int, ...] | None, position: int, otherwise: int) -> int:
    """A size from a shape that may be missing."""
    return shape[position] if shape and len(shape) > position else otherwise
