"""Mountains, cliffs and meadows: what snow lies on, and the rock it slides off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imgtrans_seasons.canvas import Canvas, Patch, cover, rgb
from imgtrans_seasons.noise import Array, line, mix, sample, smooth
from imgtrans_seasons.plants import grass_green, needle_green

if TYPE_CHECKING:
    from imgtrans_seasons.sky import Light

ROCKS = ((0.50, 0.49, 0.50), (0.56, 0.51, 0.46), (0.43, 0.44, 0.48), (0.62, 0.59, 0.55))


@dataclass(frozen=True)
class Ridge:
    """A mountain ridge: its crest's height range on the picture, and how far away it is."""

    base: float
    rise: float
    depth: float
    pitch: float
    jagged: float
    offset: tuple[float, float]
    rock: int


def draw_ridge(
    rng: np.random.Generator, base: float, rise: float, depth: float, jagged: float
) -> Ridge:
    """A ridge that stands on `base` and rises by up to `rise`."""
    offset = (float(rng.uniform()), float(rng.uniform()))
    return Ridge(
        base, rise, depth, float(rng.uniform(0.16, 0.34)), jagged, offset, int(rng.integers(4))
    )


def crest(canvas: Canvas, ridge: Ridge) -> Array:
    """The y of the crest at every column: broad masses with sharper peaks on them."""
    u = canvas.x * np.float32(ridge.pitch) + np.float32(ridge.offset[0])
    mass = line("cloud", u, ridge.offset[1], canvas.step * ridge.pitch)
    peaks = line("crag", u * 0.8, ridge.offset[1] + 0.37, canvas.step * ridge.pitch)
    height = 0.25 + 0.75 * mix(mass, peaks, ridge.jagged)
    return np.float32(ridge.base) - np.float32(ridge.rise) * height


def paint_mountain(canvas: Canvas, light: Light, ridge: Ridge, snowline: float) -> None:
    """A ridge of rock: green below and bare above, in winter snowed over but for steep faces.

    Args:
        canvas: what to paint on.
        light: the scene's light.
        ridge: where it stands.
        snowline: the y above which some snow stays all summer.
    """
    top = crest(canvas, ridge)
    patch = canvas.patch(float(top.min()) - 0.01, ridge.base + 0.02)
    if patch is None:
        return
    below = patch.y - top
    # Gullies run down from the crest, so the texture is drawn out along the slope.
    u = patch.x * np.float32(0.42) + below * np.float32(0.14) + np.float32(ridge.offset[0])
    v = below * np.float32(0.24) + np.float32(ridge.offset[1])
    face = sample("relief", u, v, canvas.step * 0.45) * np.float32(light.side)
    steep = smooth(0.50, 0.78, sample("crag", u + 0.5, v + 0.5, canvas.step * 0.45))
    shade = np.clip(0.48 + 0.62 * face, 0.0, 1.0)
    low = np.float32(ridge.rise)
    green = smooth(0.25, 0.55, (below - 0.04 * face) / low) * (1.0 - 0.75 * steep)
    rock = light.on(rgb(ROCKS[ridge.rock]), shade)
    slope = mix(rock, light.on(rgb((0.36, 0.50, 0.22)), shade), green)
    old_snow = smooth(0.0, 0.06, snowline - patch.y - 0.05 * face) * (1.0 - steep)
    snow = light.snow(0.12 + 0.88 * shade)
    summer = mix(slope, snow, 0.85 * old_snow)
    lying = (1.0 - 0.88 * steep) * 0.96
    colour = cover(summer[None], snow, lying)
    forest = _forest(canvas, light, patch, shade, below / low, ridge.offset[0])
    colour = mix(colour, *forest)
    canvas.paint(patch, light.through(colour, ridge.depth), canvas.coverage(below))


def _forest(
    canvas: Canvas, light: Light, patch: Patch, shade: Array, below: Array, ridge_offset: float
) -> tuple[Array, Array]:
    """The conifers on a mountain's foot: their colour, and how densely they stand."""
    stand = sample("grain", patch.x * 0.9, patch.y * 0.45, canvas.step * 0.9)
    where = sample("cloud", patch.x * 0.4, patch.y * 0.9, canvas.step * 0.9)
    dense = smooth(0.50, 0.75, below + 0.5 * (where - 0.5) + 0.2 * (stand - 0.5))
    needles = light.on(needle_green(ridge_offset), np.clip(shade + 0.7 * (stand - 0.5), 0.0, 1.0))
    dusted = smooth(0.60, 0.95, stand) * 0.6
    return cover(needles[None], light.snow(0.2 + 0.8 * shade), dusted), dense


def paint_cliff(canvas: Canvas, light: Light, side: float, base: float, height: float) -> None:
    """A wall of pale rock at one edge; only its ledges turn from grass to snow."""
    inward = canvas.x * np.float32(side) / np.float32(canvas.half)
    rough = line("crag", canvas.x * 0.5 + np.float32(height), base, canvas.step * 0.5)
    slope = smooth(-0.15, 0.85, inward)
    top = np.float32(base) - np.float32(height) * slope * (0.75 + 0.25 * rough)
    patch = canvas.patch(float(top.min()) - 0.01, base + 0.02)
    if patch is None:
        return
    below = patch.y - top
    u, v = patch.x * np.float32(0.5) + np.float32(height), patch.y * np.float32(0.28)
    face = sample("relief", u, v, canvas.step * 0.5) * np.float32(light.side)
    strata = sample("grain", u * 0.25, patch.y * 0.9 + 0.05 * rough, canvas.step * 0.8)
    ledge = smooth(0.64, 0.80, strata + 0.10 * face) + smooth(0.03, 0.0, below)
    ledge = np.clip(ledge, 0.0, 1.0) * 0.9
    shade = np.clip(0.52 + 0.40 * face, 0.0, 1.0)
    stone = light.on(rgb((0.66, 0.60, 0.53)), shade)
    summer = mix(stone, light.on(rgb((0.34, 0.45, 0.20)), shade), ledge)
    colour = cover(summer[None], light.snow(0.3 + 0.7 * shade), ledge)
    seen = canvas.coverage(below) * smooth(0.0, 0.004, slope * height)
    canvas.paint(patch, light.through(colour, 0.12), seen)


@dataclass(frozen=True)
class Meadow:
    """A stretch of grassland: its far edge, how much that edge rolls, and how far it is.

    ``dry``, ``lush`` and ``heath`` tell how yellow, how light and how heathy it is, each up to 1.
    """

    base: float
    roll: float
    depth: float
    offset: tuple[float, float]
    dry: float
    lush: float
    heath: float


def draw_meadow(rng: np.random.Generator, base: float, roll: float, depth: float) -> Meadow:
    """A meadow whose far edge lies about `base`."""
    offset = (float(rng.uniform()), float(rng.uniform()))
    dry, lush, heath = (float(rng.uniform(0.0, most)) for most in (0.7, 1.0, 0.6))
    return Meadow(base, roll, depth, offset, dry, lush, heath)


def edge(canvas: Canvas, meadow: Meadow) -> Array:
    """The y of a meadow's far edge at every column."""
    u = canvas.x * np.float32(0.16) + np.float32(meadow.offset[0])
    wave = line("cloud", u, meadow.offset[1], 1.0 / 64.0)
    return np.float32(meadow.base) + np.float32(meadow.roll) * (0.5 - wave)


def paint_meadow(canvas: Canvas, light: Light, meadow: Meadow) -> None:
    """Grass and heath from the meadow's far edge to the bottom; snow covers the grass alone.

    Both have the same green in summer. Heath, evergreen, is told by its clumps and not by colour.
    """
    top = edge(canvas, meadow)
    patch = canvas.patch(float(top.min()) - 0.01, 1.0)
    if patch is None:
        return
    below = patch.y - top
    # A rise at hand is seen less aslant than a plain that ends far off.
    away = 0.30 / (np.maximum(below, 0.0) + (0.14 if meadow.depth > 0.0 else 0.40))
    u, v = patch.x * away * np.float32(0.5) + meadow.offset[0], away + meadow.offset[1]
    swell = sample("cloud", u, v, canvas.step)
    tuft = sample("grain", u * 1.5, v * 1.5, canvas.step * 1.5)
    where = sample("cloud", u * 0.8 + 0.37, v * 0.8 + 0.61, canvas.step)
    heath = smooth(1.02 - 0.5 * meadow.heath, 1.08 - 0.5 * meadow.heath, where)
    clumps = sample("grain", u * 0.8, v * 0.8, canvas.step * 0.8) - 0.5
    rough = 0.32 * (tuft - 0.5) * smooth(0.0, 0.3, below) + 1.1 * heath * clumps
    shade = np.clip(0.30 + 0.85 * swell * (1.0 - 0.3 * heath) + rough, 0.0, 1.0)
    shade *= 0.8 + 0.2 * smooth(0.12, 0.0, below)
    dry = smooth(0.55, 0.95, 1.0 - swell) * meadow.dry * (1.0 - heath)
    grass = mix(grass_green(meadow.lush)[None], rgb((0.62, 0.58, 0.29))[None], dry)
    lying = 1.0 - heath * (0.92 - 0.5 * smooth(0.05, 0.3, clumps))
    colour = cover(light.on(grass, shade), light.snow(0.15 + 0.85 * shade), lying)
    # Straw shows through the snow where the grass was dry, and tells the two apart in winter.
    colour[1] = mix(colour[1], light.on(rgb((0.66, 0.58, 0.42)), shade), 0.30 * dry)
    canvas.paint(patch, light.through(colour, meadow.depth), canvas.coverage(below))
