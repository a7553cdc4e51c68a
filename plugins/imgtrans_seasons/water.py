"""Lakes and rivers, which mirror what stands behind them, and the ice they turn to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from imgtrans_seasons.canvas import Canvas, Patch, rgb
from imgtrans_seasons.noise import Array, line, mix, sample, smooth

if TYPE_CHECKING:
    from imgtrans_seasons.sky import Light


def paint_lake(
    canvas: Canvas, light: Light, shore: float, reach: float, offset: float, width: float
) -> None:
    """A lake from its far shore at y = `shore` down over `reach`.

    Args:
        canvas: what to paint on, with all that is mirrored already there.
        light: the scene's light.
        shore: y of the far shore.
        reach: how far down the picture the water comes.
        offset: tells one lake from another.
        width: half the lake's width as a share of half the picture; above 1 it has no sides.
    """
    patch = canvas.patch(shore - 0.01, shore + reach + 0.03)
    if patch is None:
        return
    down = (patch.y - np.float32(shore)) / np.float32(reach)
    wobble = line("cloud", patch.y * 1.1 + np.float32(offset), offset, canvas.step) - 0.5
    near = line("cloud", patch.x * 0.3 + np.float32(offset), 0.3, canvas.step * 0.3) - 0.5
    middle = np.float32((offset - 0.5) * canvas.half)
    across = (patch.x - middle + wobble * 0.5) / np.float32(canvas.half * width)
    bend = np.clip(1.0 - across**2, 0.0, 1.0)
    # Signed distances: to the far shore, which is nearly straight, and to the bent near one.
    far = line("crag", patch.x * 0.5 + np.float32(offset), 0.8, canvas.step * 0.5) - 0.5
    inside = np.minimum(
        patch.y - shore + 0.03 * far, (bend**0.5 * (0.85 + 0.5 * near) - down) * reach
    )
    _paint_water(canvas, light, patch, shore, inside, freezes=True)


def paint_river(
    canvas: Canvas, light: Light, source: float, offset: float, lean: float, width: float
) -> None:
    """A river that winds from y = `source` to the bottom; it runs too fast to freeze."""
    patch = canvas.patch(source, 1.0)
    if patch is None:
        return
    down = np.clip((patch.y - np.float32(source)) / np.float32(1.0 - source), 0.0, 1.0)
    middle = course(canvas, down, offset, lean)
    half = np.float32(width) * (0.02 + 0.98 * down**1.6)
    # A bank is seen at a slant: distances across are foreshortened where the river runs flat.
    inside = (half - np.abs(patch.x - middle)) * 0.6
    _paint_water(canvas, light, patch, source, inside, freezes=False)


def paint_path(canvas: Canvas, light: Light, source: float, offset: float, lean: float) -> None:
    """A sandy path: pale in summer, and trodden nearly bare in winter."""
    patch = canvas.patch(source, 1.0)
    if patch is None:
        return
    down = np.clip((patch.y - np.float32(source)) / np.float32(1.0 - source), 0.0, 1.0)
    middle = course(canvas, down, offset, lean)
    inside = 0.006 + 0.075 * down**1.5 - np.abs(patch.x - middle)
    grit = sample("grain", patch.x * 0.7, patch.y * 1.4, canvas.step)
    shade = 0.55 + 0.35 * grit
    sand = light.on(rgb((0.74, 0.63, 0.46)), shade)
    trodden = mix(sand, light.snow(shade), 0.35)
    canvas.paint(patch, np.stack((sand, trodden)), canvas.coverage(inside) * 0.95)


def course(canvas: Canvas, down: Array, offset: float, lean: float) -> Array:
    """The x of a winding line at each row: wide bends at hand, narrow ones far off."""
    bend = line("cloud", np.sqrt(down) * np.float32(0.55) + np.float32(offset), 0.7, 1.0 / 64.0)
    swing = (bend - 0.5) * (0.15 + 1.1 * down)
    return (np.float32(lean * canvas.half) * (1.0 - down) + swing).astype(np.float32)


def _paint_water(
    canvas: Canvas, light: Light, patch: Patch, shore: float, inside: Array, *, freezes: bool
) -> None:
    """Water where `inside` is positive, within a narrow bank of stones that no season changes."""
    bank = light.on(rgb((0.58, 0.53, 0.45)), 0.6)
    canvas.paint(patch, bank, canvas.coverage(inside + 0.008) * 0.8)
    alpha = canvas.coverage(inside)
    canvas.wet[patch.rows, patch.columns] |= inside > 0
    ripple = sample("grain", patch.x * 0.22, patch.y * 2.2, canvas.step * 1.5)
    mirrored = _mirror(canvas, patch, shore)
    deep = smooth(0.0, 0.5, patch.y - np.float32(shore))
    water = light.on(mix(rgb((0.13, 0.27, 0.40)), rgb((0.06, 0.16, 0.28)), deep), 0.7)
    # Calm water has the very colours of the sky, which winter leaves alone while lakes freeze.
    clear = mix(mirrored * rgb((0.88, 0.95, 1.0)), water, 0.08 + 0.30 * deep)
    clear = clear + 0.10 * (ripple - 0.5) * (light.direct + 0.3)
    if not freezes:
        canvas.paint(patch, clear, alpha)
        return
    drift = smooth(0.55, 0.85, sample("cloud", patch.x * 0.35, patch.y * 1.1, canvas.step))
    ice = light.on(rgb((0.60, 0.77, 0.84)), 0.55 + 0.25 * ripple)
    ice = mix(ice, mirrored[1], 0.16)
    ice = mix(ice, light.snow(0.8), 0.55 * drift)
    canvas.paint(patch, np.stack((clear[0], ice)), alpha)


def _mirror(canvas: Canvas, patch: Patch, shore: float) -> Array:
    """What stands above the shore, upside down, as 2×3×h×w."""
    axis = shore / canvas.step
    rows = np.arange(patch.rows.start, patch.rows.stop)
    source = np.clip((2.0 * axis - rows - 1.0).astype(np.int64), 0, canvas.y.size - 1)
    # Above the shore only: the rows below it have not been painted yet.
    image: Array = canvas.pixels[:, :, np.minimum(source, max(0, int(axis) - 1)), patch.columns]
    return image
