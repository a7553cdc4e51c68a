"""The published networks as formulas over a state dict, with nothing but torch.nn.functional.

Written from their descriptions, for evaluation: no dropout, batch normalisation's running
statistics.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812


def _norm(state, name, x):
    if f"{name}.weight" in state:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale, shift = state[f"{name}.weight"], state[f"{name}.bias"]
        mean, var, scale, shift = (each.view(1, -1, 1, 1) for each in (mean, var, scale, shift))
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift
    mean = x.mean((2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean((2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5)


def _conv(state, name, x, **options):
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def _up(state, name, x, **options):
    return F.conv_transpose2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def _mirrored(x, pixels):
    return F.pad(x, (pixels,) * 4, mode="reflect")


def _halved(x, filt):
    return F.conv2d(_mirrored(x, 1), filt, stride=2, groups=x.shape[1])


def _doubled(x, filt):
    x = F.pad(x, (1,) * 4, mode="replicate")
    x = F.conv_transpose2d(x, filt, stride=2, padding=2, groups=x.shape[1])
    return x[:, :, 1:, 1:][:, :, :-1, :-1]


def resnet(state, x, blocks, *, dropout=False, up="transposed"):
    """The generator of CycleGAN; with ``filt`` in its state that of CUT."""
    cut = "model.7.filt" in state
    x = F.relu(_norm(state, "model.2", _conv(state, "model.1", _mirrored(x, 3))))
    for at in (4, 8) if cut else (4, 7):
        x = _conv(state, f"model.{at}", x, stride=1 if cut else 2, padding=1)
        x = F.relu(_norm(state, f"model.{at + 1}", x))
        if cut:
            x = _halved(x, state[f"model.{at + 3}.filt"])
    at = 12 if cut else 10
    second = 6 if dropout else 5
    for _ in range(blocks):
        name = f"model.{at}.conv_block"
        y = _conv(state, f"{name}.1", _mirrored(x, 1))
        y = F.relu(_norm(state, f"{name}.2", y))
        y = _conv(state, f"{name}.{second}", _mirrored(y, 1))
        x = x + _norm(state, f"{name}.{second + 1}", y)
        at += 1
    for _ in range(2):
        if up == "transposed":
            x = _up(state, f"model.{at}", x, stride=2, padding=1, output_padding=1)
        else:
            nearest = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = _doubled(x, state[f"model.{at}.filt"]) if up == "antialiased" else nearest
            at += 1
            x = _conv(state, f"model.{at}", x, padding=1)
        x = F.relu(_norm(state, f"model.{at + 1}", x))
        at += 3
    return torch.tanh(_conv(state, f"model.{at + 1}", _mirrored(x, 3)))


def unet(state, x, depth):
    """The generator of pix2pix."""

    def level(number, name, x):
        y = F.leaky_relu(x, 0.2)
        y = _conv(state, f"{name}.1", y, stride=2, padding=1)
        at = 3
        if number < depth - 1:
            y = _norm(state, f"{name}.2", y)
            y = level(number + 1, f"{name}.3.model", y)
            at = 5
        y = _up(state, f"{name}.{at}", F.relu(y), stride=2, padding=1)
        return torch.cat([F.leaky_relu(x, 0.2), _norm(state, f"{name}.{at + 1}", y)], 1)

    x = _conv(state, "model.model.0", x, stride=2, padding=1)
    x = level(1, "model.model.1.model", x)
    return torch.tanh(_up(state, "model.model.3", F.relu(x), stride=2, padding=1))


def patch(state, x, layers):
    """The discriminator of both."""
    cut, at = "model.2.filt" in state, 0
    for layer in range(layers + 1):
        strided = layer < layers and not cut
        x = _conv(state, f"model.{at}", x, stride=2 if strided else 1, padding=1)
        if layer:
            x = _norm(state, f"model.{at + 1}", x)
            at += 1
        x = F.leaky_relu(x, 0.2)
        at += 2
        if cut and layer < layers:
            x = _halved(x, state[f"model.{at}.filt"])
            at += 1
    return _conv(state, f"model.{at}", x, padding=1)


def seed_generator(state, x, blocks):
    """The seed project's generator, by its own names."""
    for n in (1, 2, 3):
        x = _conv(state, f"conv{n}.0", x, stride=2, padding=1)
        x = F.relu(_norm(state, f"conv{n}.1", x))
    for block in range(blocks):
        name = f"res_blocks.{block}.conv_layer"
        y = F.relu(_norm(state, f"{name}1.1", _conv(state, f"{name}1.0", x, padding=1)))
        x = x + _norm(state, f"{name}2.1", _conv(state, f"{name}2.0", y, padding=1))
    for n in (1, 2):
        x = _up(state, f"deconv{n}.0", x, stride=2, padding=1)
        x = F.relu(_norm(state, f"deconv{n}.1", x))
    return torch.tanh(_up(state, "deconv3.0", x, stride=2, padding=1))


def seed_discriminator(state, x):
    """The seed project's discriminator, by its own names."""
    x = F.relu(_conv(state, "conv1.0", x, stride=2, padding=1))
    for n in (2, 3, 4):
        x = _conv(state, f"conv{n}.0", x, stride=2, padding=1)
        x = F.relu(_norm(state, f"conv{n}.1", x))
    return _conv(state, "conv5.0", x, padding=1)
