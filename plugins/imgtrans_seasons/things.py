"""Fields, boulders, cabins and the shadows that things throw on the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from imgtrans_seasons.canvas import Canvas, Patch, cover, pair, rgb
from imgtrans_seasons.noise import Array, line, mix, sample, smooth
from imgtrans_seasons.plants import grass_green

if TYPE_CHECKING:
    from imgtrans_seasons.sky import Light

Crop = Literal["grain", "rye", "reed"]

ROWS: Final[dict[Crop, float]] = {"grain": 26.0, "rye": 34.0, "reed": 13.0}
"""How close the rows of a crop stand."""
GRANITE = (0.66, 0.63, 0.60)


def paint_shadow(canvas: Canvas, light: Light, place: tuple[float, float], reach: float) -> None:
    """The shadow of what stands on `place`: long, flat, away from the sun, blue on snow."""
    x, base = place
    middle = x - light.side * 0.75 * reach
    patch = canvas.patch(base - 0.2 * reach, base + 0.2 * reach, middle - reach, middle + reach)
    if patch is None:
        return
    away = np.hypot((patch.x - middle) / reach, (patch.y - base - 0.03 * reach) / (0.13 * reach))
    strength = smooth(1.0, 0.45, away) * float(light.direct.mean()) * 1.3
    tint = pair((0.50, 0.56, 0.56), (0.62, 0.73, 0.90))
    canvas.pixels[:, :, patch.rows, patch.columns] *= 1.0 - (1.0 - tint) * strength


def paint_field(
    canvas: Canvas,
    light: Light,
    horizon: float,
    span: tuple[float, float],
    offset: float,
    crop: Crop,
) -> None:
    """A strip of one crop, whose rows tell what it is; winter does something else to each.

    Ripe grain is gold in summer and ploughed earth in winter; rye is green in both; broad rows of
    reed are gold in both.

    Args:
        canvas: what to paint on.
        light: the scene's light.
        horizon: y at which the furrows would meet.
        span: y of the far and of the near edge.
        offset: tells one field from another.
        crop: what grows there.
    """
    patch = canvas.patch(span[0] - 0.02, span[1] + 0.03)
    if patch is None:
        return
    wave = line("cloud", patch.x * 0.2 + np.float32(offset), offset, 1.0 / 64.0) - 0.5
    down = np.maximum(patch.y - np.float32(horizon - 0.04), 0.01)
    across = (patch.x - np.float32((offset - 0.5) * canvas.half)) / down
    end = np.float32(1.4 + 2.4 * ((offset * 7.0) % 1.0)) - np.abs(across - (offset - 0.5) * 3.0)
    inside = np.minimum(patch.y - span[0] - 0.05 * wave, span[1] + 0.05 * wave - patch.y)
    inside = np.minimum(inside, end * down)
    furrow = 0.5 + 0.5 * np.sin(across * np.float32(ROWS[crop]))
    # Far off the furrows run together, and would shimmer.
    furrow = mix(np.array(0.5, np.float32), furrow, smooth(0.04, 0.25, down))
    ears = sample("grain", patch.x * 0.6, patch.y * 1.6, canvas.step * 1.6)
    shade = np.clip(0.55 + 0.35 * furrow + 0.3 * (ears - 0.5), 0.0, 1.0)
    colour = light.through(_crop_colour(light, crop, shade, furrow, offset), 0.16)
    canvas.paint(patch, colour, canvas.coverage(inside))


def _crop_colour(light: Light, crop: Crop, shade: Array, furrow: Array, offset: float) -> Array:
    snowy = 0.42 * smooth(0.45, 1.0, furrow)
    if crop == "rye":
        green = light.on(grass_green((offset * 13.0) % 1.0), shade)
        return np.stack((green, mix(green, light.snow(0.6), 0.5 * snowy)))
    gold = light.on(rgb((0.94, 0.77, 0.36)), shade)
    if crop == "reed":
        return np.stack((gold, mix(gold, light.snow(0.6), 0.5 * snowy)))
    earth = light.on(rgb((0.36, 0.28, 0.23)), 0.2 + 0.6 * shade)
    return np.stack((gold, mix(earth, light.snow(0.6), snowy)))


def paint_boulder(canvas: Canvas, light: Light, place: tuple[float, float], size: float) -> None:
    """A pale boulder; in winter snow lies on top of it, and its sides stay bare."""
    x, base = place
    patch = canvas.patch(base - size, base + 0.01, x - size, x + size)
    if patch is None:
        return
    across = (patch.x - np.float32(x)) / np.float32(size)
    up = (np.float32(base) - patch.y) / np.float32(size)
    rough = sample("crag", across * 0.1 + np.float32(x), up * 0.1, canvas.step / size * 0.1)
    round_ = 1.0 - np.sqrt((across * 1.15) ** 2 + (up * 1.45) ** 2) + 0.22 * (rough - 0.5)
    inside = np.minimum(round_, up - 0.22 * across**2) * size
    toward = 0.45 + 0.75 * across * np.float32(light.side) + 0.5 * (up - 0.3)
    shade = np.clip(toward + 0.5 * (rough - 0.5), 0.0, 1.0)
    lying = smooth(0.26, 0.44, up + 0.25 * (rough - 0.5) - 0.2 * across**2)
    colour = cover(light.on(rgb(GRANITE), shade)[None], light.snow(0.3 + 0.7 * shade), lying)
    canvas.paint(patch, colour, canvas.coverage(inside))


def paint_cabin(
    canvas: Canvas, light: Light, place: tuple[float, float], size: float, depth: float
) -> None:
    """A wooden cabin; its red roof is white in winter, and its walls are as they were."""
    x, base = place
    patch = canvas.patch(base - 1.3 * size, base + 0.01, x - 1.1 * size, x + 1.1 * size)
    if patch is None:
        return
    across = (patch.x - np.float32(x)) / np.float32(size)
    up = (np.float32(base) - patch.y) / np.float32(size)
    shade = 0.5 + 0.3 * across * np.float32(light.side)
    logs = 0.82 + 0.18 * np.sin(up * np.float32(45.0))
    wall = light.on(rgb((0.50, 0.34, 0.22)), shade) * mix(
        np.array(0.9, np.float32), logs, float(size > 0.08)
    )
    roof = np.stack((light.on(rgb((0.60, 0.23, 0.17)), shade), light.snow(0.35 + 0.6 * shade)))
    pieces = (
        (pair((0.42, 0.36, 0.34)), _box(across, up, 0.38, 0.52, 0.7, 1.2)),
        (wall, _box(across, up, -0.75, 0.75, 0.0, 0.58)),
        (roof, np.minimum(_box(across, up, -2, 2, 0.5, 1.0), 1.25 - 0.7 * up - np.abs(across))),
        (light.on(rgb((0.27, 0.17, 0.12)), 0.4), _box(across, up, -0.12, 0.14, 0.0, 0.40)),
        (pair((0.98, 0.86, 0.55)), _box(across, up, 0.32, 0.55, 0.20, 0.40)),
        (pair((0.98, 0.86, 0.55)), _box(across, up, -0.55, -0.32, 0.20, 0.40)),
    )
    for colour, inside in pieces:
        _paint_piece(canvas, light, patch, colour, inside * size, depth)


def _paint_piece(
    canvas: Canvas, light: Light, patch: Patch, colour: Array, inside: Array, depth: float
) -> None:
    canvas.paint(patch, light.through(colour, depth), canvas.coverage(inside))


def _box(x: Array, y: Array, left: float, right: float, bottom: float, top: float) -> Array:
    """Signed distance into a box, positive inside."""
    inside: Array = np.minimum(
        np.minimum(x - np.float32(left), np.float32(right) - x),
        np.minimum(y - np.float32(bottom), np.float32(top) - y),
    )
    return inside
