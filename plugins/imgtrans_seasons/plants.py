"""Conifers, broad-leaved trees and woods; what winter does to each depends on which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from imgtrans_seasons.canvas import Canvas, Patch, cover, pair, rgb
from imgtrans_seasons.noise import Array, line, mix, sample, smooth

if TYPE_CHECKING:
    from imgtrans_seasons.sky import Light

Tree = Literal["conifer", "leafy"]

DARK_NEEDLES = (0.11, 0.25, 0.17)
LIGHT_NEEDLES = (0.27, 0.44, 0.17)
LEAVES = ((0.30, 0.50, 0.13), (0.40, 0.55, 0.14), (0.24, 0.44, 0.16))
BARK = (0.34, 0.26, 0.21)
TWIGS = (0.42, 0.33, 0.30)


def needle_green(kind: float) -> Array:
    """The green of conifers, from nearly black to that of grass; `kind` tells trees apart."""
    return mix(rgb(DARK_NEEDLES), rgb(LIGHT_NEEDLES), (kind * 7.31) % 1.0)


def grass_green(lush: float) -> Array:
    """The green of meadows, heath and rye: dark where `lush` is 0, light where it is 1."""
    return mix(rgb((0.19, 0.36, 0.15)), rgb((0.38, 0.58, 0.17)), lush)


def paint_conifer(
    canvas: Canvas, light: Light, place: tuple[float, float], height: float, depth: float
) -> None:
    """A conifer of the given height that stands on `place`; in winter snow lies on its boughs."""
    x, base = place
    spread = 0.24 * height
    patch = canvas.patch(base - height, base + 0.01, x - spread, x + spread)
    if patch is None:
        return
    across = (patch.x - np.float32(x)) / np.float32(height)
    down = (patch.y - np.float32(base - height)) / np.float32(height)
    reach = np.abs(across)
    # Boughs droop: the tiers' edges come lower towards the tips.
    phase = ((down - 0.45 * reach) * 7.0) % 1.0
    half = 0.19 * np.clip(down, 0.0, 0.93) * (0.62 + 0.45 * phase)
    inside = np.minimum(half - reach, 0.94 - down) * height
    rough = sample("grain", across * 0.5 + np.float32(x), down * 0.35, canvas.step / height * 0.5)
    toward = np.clip(0.5 + 2.6 * across * np.float32(light.side) + 0.5 * (rough - 0.5), 0.0, 1.0)
    shade = toward * (0.25 + 0.75 * phase)
    lying = smooth(0.42, 0.80, phase * (0.55 + 0.75 * rough)) * (0.55 + 0.45 * toward)
    needles = light.on(needle_green(x), shade)[None]
    colour = cover(needles, light.snow(0.35 + 0.65 * toward), lying * 0.85)
    _paint_trunk(canvas, light, place, height * 0.09, height * 0.022, depth)
    canvas.paint(patch, light.through(colour, depth), canvas.coverage(inside))


def paint_leafy(
    canvas: Canvas,
    light: Light,
    place: tuple[float, float],
    height: float,
    depth: float,
    rng: np.random.Generator,
) -> None:
    """A broad-leaved tree: a green crown in summer, its bare branches in winter."""
    x, base = place
    blobs = _blobs(rng, x, base, height)
    leaf = LEAVES[int(rng.integers(len(LEAVES)))]
    limbs = _limbs(rng, x, base, height)
    patch = canvas.patch(base - 1.08 * height, base + 0.01, x - 0.5 * height, x + 0.5 * height)
    if patch is None:
        return
    rough = sample(
        "grain",
        patch.x * np.float32(0.35 / height),
        patch.y * np.float32(0.35 / height),
        canvas.step / height * 0.35,
    )
    crown, lit = _crown(patch, blobs, light.side)
    inside = (crown + 0.30 * (rough - 0.5)) * height * 0.30
    shade = np.clip(0.38 + 0.75 * lit + 0.55 * (rough - 0.5), 0.0, 1.0)
    green = light.on(rgb(leaf), shade)
    twigs = light.on(rgb(TWIGS), 0.25 + 0.5 * shade)
    haze = 0.30 + 0.45 * rough
    alpha = canvas.coverage(inside)
    _paint_limbs(canvas, light, patch, limbs, depth)
    both = np.concatenate((np.ones_like(alpha)[None, None], haze[None, None])) * alpha
    colour = np.stack((green, mix(twigs, light.snow(0.7), 0.22 * shade)))
    canvas.paint(patch, light.through(colour, depth), both)


def _blobs(rng: np.random.Generator, x: float, base: float, height: float) -> Array:
    """The balls of foliage a crown is made of: n rows of x, y, radius."""
    count = 7
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False) + rng.uniform(0.0, 1.0, count)
    out = rng.uniform(0.14, 0.22, count)
    out[0] = 0.0
    radius = rng.uniform(0.15, 0.21, count) * height
    across = x + out * np.cos(angle) * height
    up = base - height * (0.66 + 1.05 * out * np.sin(angle))
    return np.stack((across, up, radius), 1).astype(np.float32)


def _crown(patch: Patch, blobs: Array, side: float) -> tuple[Array, Array]:
    """How deep each sample is in the crown, and how far its ball turns it to the light."""
    x, y, radius = (blobs[:, column].reshape(-1, 1, 1) for column in range(3))
    across, down = (patch.x - x) / radius, (patch.y - y) / radius
    depth = 1.0 - np.sqrt(across**2 + down**2)
    turned = (0.55 * np.float32(side) * across - 0.75 * down) * (depth > -0.3)
    # Each ball counts by how far in front it is, which rounds the seams between them.
    weight = np.exp(6.0 * depth)
    return depth.max(0), (turned * weight).sum(0) / weight.sum(0)


def _limbs(rng: np.random.Generator, x: float, base: float, height: float) -> Array:
    """Trunk, branches and twigs: n rows of x and y of both ends, and half the thickness."""
    ends = [(x, base, x, base - 0.45 * height, 0.030 * height)]
    tips = [(x, base - 0.38 * height, np.pi / 2.0, 0.30 * height)]
    for thickness in (0.016, 0.008):
        grown = []
        for from_x, from_y, angle, length in tips:
            for turn in (-0.75, -0.2, 0.35, 0.85):
                way = angle + turn + rng.uniform(-0.2, 0.2)
                reach = length * rng.uniform(0.75, 1.15)
                to_x, to_y = from_x + reach * np.cos(way), from_y - reach * np.sin(way)
                ends.append((from_x, from_y, to_x, to_y, thickness * height))
                grown.append((to_x, to_y, way, 0.62 * length))
        tips = grown
    return np.array(ends, np.float32)


def _paint_limbs(canvas: Canvas, light: Light, patch: Patch, limbs: Array, depth: float) -> None:
    """The trunk, and in winter the branches too: in summer leaves hide them."""
    ax, ay, bx, by, half = (limbs[:, column].reshape(-1, 1, 1) for column in range(5))
    length = (bx - ax) ** 2 + (by - ay) ** 2
    along = ((patch.x - ax) * (bx - ax) + (patch.y - ay) * (by - ay)) / length
    along = np.clip(along, 0.0, 1.0)
    away = np.hypot(patch.x - ax - along * (bx - ax), patch.y - ay - along * (by - ay))
    inside = half * (1.0 - 0.5 * along) - away
    shown = np.stack((canvas.coverage(inside[0]), canvas.coverage(inside.max(0))))
    bark = light.on(pair(BARK), 0.5)
    canvas.paint(patch, light.through(bark, depth), shown[:, None])


def _paint_trunk(
    canvas: Canvas,
    light: Light,
    place: tuple[float, float],
    height: float,
    half: float,
    depth: float,
) -> None:
    x, base = place
    patch = canvas.patch(base - height, base, x - 2.0 * half, x + 2.0 * half)
    if patch is None:
        return
    inside = np.minimum(half - np.abs(patch.x - x), base - patch.y)
    canvas.paint(patch, light.through(light.on(pair(BARK), 0.4), depth), canvas.coverage(inside))


def paint_wood(
    canvas: Canvas,
    light: Light,
    kind: Tree,
    ground: Array,
    share: Array,
    height: float,
    depth: float,
    offset: float,
) -> None:
    """A row of small trees along `ground`, the y of their feet at every column.

    Args:
        canvas: what to paint on.
        light: the scene's light.
        kind: what grows there.
        ground: 1×W, y of the trees' feet.
        share: 1×W in [0, 1], how tall the trees are at each column; 0 leaves a gap.
        height: height of the tallest tree.
        depth: how far away it is.
        offset: tells one wood from another.
    """
    tip = _tips(canvas, kind, height, offset) * share
    top = ground - tip
    patch = canvas.patch(float(top.min()) - 0.01, float(ground.max()) + 0.01)
    if patch is None:
        return
    down = (patch.y - top) / np.float32(height)
    inside = np.minimum(patch.y - top, ground - patch.y + 0.004)
    inside = inside - smooth(0.1, 0.0, tip / height) * 0.02
    scale = np.float32(0.06 / height)
    rough = sample("grain", patch.x * scale + offset, patch.y * scale, canvas.step * 0.06 / height)
    shade = np.clip(0.95 - 0.9 * down + 0.8 * (rough - 0.5), 0.0, 1.0)
    if kind == "conifer":
        needles = light.on(needle_green(offset), shade)[None]
        lying = smooth(0.45, 0.95, rough + 0.35 - 0.55 * down) * 0.65
        colour, dense = cover(needles, light.snow(0.35 + 0.6 * shade), lying), 1.0
    else:
        green = light.on(rgb(LEAVES[0]), shade)
        twigs = mix(light.on(rgb(TWIGS), 0.2 + 0.5 * shade), light.snow(0.6), 0.2 * rough)
        colour, dense = np.stack((green, twigs)), 0.78
    alpha = canvas.coverage(inside)
    both = np.stack((alpha, alpha * dense))[:, None]
    canvas.paint(patch, light.through(colour, depth), both)


def _tips(canvas: Canvas, kind: Tree, height: float, offset: float) -> Array:
    """How high the trees of a row reach at each column: pointed or round, by kind."""
    spacing = height * (0.30 if kind == "conifer" else 0.62)
    place = canvas.x / np.float32(spacing)
    cell = np.floor(place)
    best = np.zeros_like(place)
    for near in (-1.0, 0.0, 1.0):
        tree = cell + near
        tall = 0.6 + 0.4 * _hash(tree, offset)
        from_stem = np.abs(place - tree - 0.5 - 0.5 * (_hash(tree, offset + 0.5) - 0.5))
        if kind == "conifer":
            reach = tall * np.clip(1.0 - from_stem / 1.1, 0.0, 1.0)
        else:
            reach = tall * np.sqrt(np.clip(1.0 - (from_stem / 0.85) ** 2, 0.0, 1.0))
        best = np.maximum(best, reach)
    return (best * np.float32(height)).astype(np.float32)


def _hash(cell: Array, offset: float) -> Array:
    """A number in [0, 1) for each whole number, the same wherever the row is cut off."""
    value: Array = np.sin(cell * np.float32(12.9898) + np.float32(offset * 78.233)) * 437.5453
    return value - np.floor(value)


def tree_cover(canvas: Canvas, offset: float, amount: float) -> Array:
    """1×W in [0, 1]: where along a row trees grow, over `amount` of its length."""
    u = canvas.x * np.float32(0.30) + np.float32(offset)
    return smooth(1.0 - amount, 1.0 - amount + 0.15, line("cloud", u, offset * 0.7, 1.0 / 64.0))
