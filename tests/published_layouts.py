"""What published files hold: names and shapes, in their order, and random weights of them.

Written from the published layouts, and nothing of it is made by the networks under test.
"""

from __future__ import annotations

import torch


def _batch_norm(name, channels):
    size = (channels,)
    return {
        f"{name}.weight": size,
        f"{name}.bias": size,
        f"{name}.running_mean": size,
        f"{name}.running_var": size,
        f"{name}.num_batches_tracked": (),
    }


def _layer(name, shape, norm, norm_name):
    """A convolution, or a transposed one, and what follows it."""
    channels = shape[1] if name.endswith("^") else shape[0]
    name = name.removesuffix("^")
    if norm == "instance":
        return {f"{name}.weight": shape, f"{name}.bias": (channels,)}
    return {f"{name}.weight": shape, **_batch_norm(norm_name, channels)}


def resnet(blocks=9, norm="instance", *, dropout=False, cut=False, width=64, channels=3):
    """``latest_net_G.pth`` of CycleGAN, or of CUT."""
    w = width
    found = _layer("model.1", (w, channels, 7, 7), norm, "model.2")
    found |= _layer("model.4", (2 * w, w, 3, 3), norm, "model.5")
    if cut:
        found["model.7.filt"] = (2 * w, 1, 3, 3)
    at = 8 if cut else 7
    found |= _layer(f"model.{at}", (4 * w, 2 * w, 3, 3), norm, f"model.{at + 1}")
    if cut:
        found["model.11.filt"] = (4 * w, 1, 3, 3)
    at = 12 if cut else 10
    second = 6 if dropout else 5
    for block in range(at, at + blocks):
        name = f"model.{block}.conv_block"
        for conv in (1, second):
            found |= _layer(f"{name}.{conv}", (4 * w, 4 * w, 3, 3), norm, f"{name}.{conv + 1}")
    at += blocks
    for before in (4 * w, 2 * w):
        if cut:
            found[f"model.{at}.filt"] = (before, 1, 4, 4)
            shape = (before // 2, before, 3, 3)
            found |= _layer(f"model.{at + 1}", shape, norm, f"model.{at + 2}")
            at += 4
        else:
            shape = (before, before // 2, 3, 3)
            found |= _layer(f"model.{at}^", shape, norm, f"model.{at + 1}")
            at += 3
    return found | {
        f"model.{at + 1}.weight": (channels, w, 7, 7),
        f"model.{at + 1}.bias": (channels,),
    }


def unet(depth=8, norm="batch", width=64, channels=3):
    """``latest_net_G.pth`` of pix2pix: depth 8 for 256 pixels, 7 for 128."""
    sizes = [width * min(2**level, 8) for level in range(depth)]

    def level(number, name):
        outer, inner = sizes[number - 1], sizes[number]
        innermost = number == depth - 1
        down = (inner, outer, 4, 4)
        up = (inner if innermost else 2 * inner, outer, 4, 4)
        if innermost:
            found = {f"{name}.1.weight": down}
            if norm == "instance":
                found[f"{name}.1.bias"] = (inner,)
            return found | _layer(f"{name}.3^", up, norm, f"{name}.4")
        found = _layer(f"{name}.1", down, norm, f"{name}.2")
        found |= level(number + 1, f"{name}.3.model")
        return found | _layer(f"{name}.5^", up, norm, f"{name}.6")

    found = {"model.model.0.weight": (width, channels, 4, 4)}
    if norm == "instance":
        found["model.model.0.bias"] = (width,)
    found |= level(1, "model.model.1.model")
    return found | {
        "model.model.3.weight": (2 * width, channels, 4, 4),
        "model.model.3.bias": (channels,),
    }


def patch(layers=3, norm="instance", *, cut=False, width=64, channels=3):
    """``latest_net_D.pth``, with one logit per patch."""
    sizes = [width * min(2**layer, 8) for layer in range(layers + 1)]
    found = {"model.0.weight": (width, channels, 4, 4), "model.0.bias": (width,)}
    at = 2
    for layer in range(1, layers + 1):
        if cut:
            found[f"model.{at}.filt"] = (sizes[layer - 1], 1, 3, 3)
            at += 1
        shape = (sizes[layer], sizes[layer - 1], 4, 4)
        found |= _layer(f"model.{at}", shape, norm, f"model.{at + 1}")
        at += 3
    return found | {f"model.{at}.weight": (1, sizes[-1], 4, 4), f"model.{at}.bias": (1,)}


def seed_generator(blocks=6, width=64):
    """``G_XtoY.pkl``: no convolution has a bias, the last one no norm."""
    sizes = [3, width, 2 * width, 4 * width]
    found = {}
    for n in (1, 2, 3):
        found |= {f"conv{n}.0.weight": (sizes[n], sizes[n - 1], 4, 4)}
        found |= _batch_norm(f"conv{n}.1", sizes[n])
    for block in range(blocks):
        for n in (1, 2):
            name = f"res_blocks.{block}.conv_layer{n}"
            found |= {f"{name}.0.weight": (4 * width, 4 * width, 3, 3)}
            found |= _batch_norm(f"{name}.1", 4 * width)
    for n in (1, 2):
        found |= {f"deconv{n}.0.weight": (sizes[4 - n], sizes[3 - n], 4, 4)}
        found |= _batch_norm(f"deconv{n}.1", sizes[3 - n])
    return found | {"deconv3.0.weight": (width, 3, 4, 4)}


def seed_discriminator(width=64):
    """``D_X.pkl``: the first and the last convolution have no norm."""
    found = {"conv1.0.weight": (width, 3, 4, 4)}
    for n in (2, 3, 4):
        found |= {f"conv{n}.0.weight": (width * 2 ** (n - 1), width * 2 ** (n - 2), 4, 4)}
        found |= _batch_norm(f"conv{n}.1", width * 2 ** (n - 1))
    return found | {"conv5.0.weight": (1, 8 * width, 4, 4)}


def with_old_statistics(shapes):
    """As torch before 0.4 saved instance normalisation: statistics after each convolution."""
    found = {}
    last = [*shapes][-1]
    for name, shape in shapes.items():
        found[name] = shape
        if name.endswith(".bias") and name != last:
            prefix, _, at = name.removesuffix(".bias").rpartition(".")
            for statistic in ("running_mean", "running_var"):
                found[f"{prefix}.{int(at) + 1}.{statistic}"] = shape
            found[f"{prefix}.{int(at) + 1}.num_batches_tracked"] = ()
    return found


def weights(shapes, seed=0):
    """Random tensors of these shapes, such as a trained network might have."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            made[name] = torch.tensor(1000)
        elif kind == "running_var":
            made[name] = torch.rand(shape, generator=generator) + 0.5
        elif kind == "filt":
            row = torch.tensor({3: [1.0, 2.0, 1.0], 4: [1.0, 3.0, 3.0, 1.0]}[shape[-1]])
            blur = row[:, None] * row
            made[name] = (blur / blur.sum() * (4 if shape[-1] == 4 else 1)).repeat(
                shape[0], 1, 1, 1
            )
        else:
            fan = max(1, torch.Size(shape[1:]).numel())
            made[name] = torch.randn(shape, generator=generator) * fan**-0.5
            if kind == "weight" and len(shape) == 1:
                made[name] = made[name].abs() + 0.5
    return made
