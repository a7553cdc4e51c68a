"""Landscapes drawn from a seed, each in summer and in winter, pixel by pixel the same place.

`draw` is a pure function of its arguments, and a scene is composed alike at every size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgtrans_seasons import plants, sky, terrain, things, water
from imgtrans_seasons.canvas import Canvas

if TYPE_CHECKING:
    from imgtrans_seasons.sky import Light

Picture = npt.NDArray[np.uint8]


def draw(seed: int, index: int, height: int, width: int) -> tuple[Picture, Picture]:
    """One scene in summer and in winter.

    Args:
        seed: which world the scenes are from.
        index: which of its scenes, 0 or more.
        height: rows of the pictures.
        width: columns of the pictures.

    Returns:
        Two `height`×`width`×3 arrays of the same scene, summer first.
    """
    rng = np.random.Generator(np.random.PCG64((seed, index)))
    canvas = Canvas(height, width)
    horizon = float(rng.uniform(0.36, 0.70))
    light = sky.draw_light(rng, horizon, canvas.half)
    sky.paint_sky(canvas, light, horizon)
    sky.paint_clouds(canvas, light, horizon + 0.05, rng)
    _paint_ridges(canvas, light, horizon, rng)
    _paint_plain(canvas, light, horizon, rng)
    _paint_foreground(canvas, light, horizon, rng)
    return canvas.finish()


def _paint_ridges(canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator) -> None:
    """None to four ridges, the far ones higher and paler; perhaps a cliff at one edge."""
    count = int(rng.choice(5, p=(0.08, 0.22, 0.32, 0.26, 0.12)))
    alpine = rng.uniform() < 0.65
    rise = horizon * rng.uniform(0.45, 0.85) if alpine else rng.uniform(0.08, 0.2)
    snowline = horizon - rise * rng.uniform(0.55, 0.85)
    for number in range(count):
        near = (number + 1) / count
        jagged = rng.uniform(0.45, 0.8) if alpine else rng.uniform(0.1, 0.3)
        ridge = terrain.draw_ridge(
            rng, horizon + 0.02, rise * (1.0 - 0.55 * near * (count > 1)), 0.9 - 0.62 * near, jagged
        )
        terrain.paint_mountain(canvas, light, ridge, snowline)
        if rng.uniform() < 0.35 and number == count - 1:
            _paint_woods(canvas, light, terrain.crest(canvas, ridge) + 0.02, 0.28, 0.05, rng)
    if rng.uniform() < 0.28:
        side = -1.0 if rng.uniform() < 0.5 else 1.0
        terrain.paint_cliff(canvas, light, side, horizon + 0.03, float(rng.uniform(0.2, 0.45)))


def _paint_woods(
    canvas: Canvas,
    light: Light,
    ground: npt.NDArray[np.float32],
    depth: float,
    height: float,
    rng: np.random.Generator,
) -> None:
    """Up to four rows of trees in front of each other, with clearings in the same places."""
    kind: plants.Tree = "conifer" if rng.uniform() < 0.6 else "leafy"
    offset, amount = float(rng.uniform()), float(rng.uniform(0.35, 1.1))
    share = plants.tree_cover(canvas, offset, amount)
    for row in range(int(rng.integers(1, 5))):
        lower = ground + np.float32(0.35 * row * height)
        plants.paint_wood(canvas, light, kind, lower, share, height, depth, offset + 0.21 * row)


def _paint_plain(canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator) -> None:
    """The land from the horizon to the bottom: meadow, woods at its edge, water or a path."""
    far = terrain.draw_meadow(rng, horizon, float(rng.uniform(0.01, 0.06)), 0.28)
    terrain.paint_meadow(canvas, light, far)
    if rng.uniform() < 0.75:
        ground = terrain.edge(canvas, far) + np.float32(rng.uniform(0.0, 0.03))
        _paint_woods(canvas, light, ground, 0.22, float(rng.uniform(0.03, 0.10)), rng)
    room = 1.0 - horizon
    offset, lean = float(rng.uniform()), float(rng.uniform(-0.7, 0.7))
    choice = rng.uniform()
    if choice < 0.38:
        shore = horizon + 0.05 + room * rng.uniform(0.0, 0.12)
        reach = room * rng.uniform(0.3, 0.75)
        water.paint_lake(canvas, light, shore, reach, offset, float(rng.uniform(0.7, 1.9)))
    elif choice < 0.54:
        width = float(rng.uniform(0.12, 0.3))
        water.paint_river(canvas, light, horizon + 0.04, offset, lean, width)
    else:
        if rng.uniform() < 0.85:
            far_edge = horizon + 0.05 + room * float(rng.uniform(0.02, 0.3))
            span = (far_edge, far_edge + room * float(rng.uniform(0.2, 0.55)))
            crop: things.Crop = ("grain", "rye", "reed")[int(rng.integers(3))]
            things.paint_field(canvas, light, horizon, span, offset, crop)
        if rng.uniform() < 0.5:
            water.paint_path(canvas, light, horizon + 0.04, offset, lean)


def _paint_foreground(
    canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator
) -> None:
    """Single trees from far to near, and perhaps a rise of meadow that some of them stand on."""
    room = 1.0 - horizon
    count = int(rng.integers(0, 9))
    leafy = float(rng.choice((0.1, 0.4, 0.75)))
    nearness = np.sort(rng.uniform(0.0, 1.0, count) ** 1.3)
    rise = float(rng.uniform(0.5, 0.85)) if rng.uniform() < 0.5 else 2.0
    for near in (*nearness, None):
        if rise < 1.5 and (near is None or near > rise):
            hill = terrain.draw_meadow(rng, horizon + room * (rise + 0.05), 0.14, 0.0)
            terrain.paint_meadow(canvas, light, hill)
            rise = 2.0
        if near is not None:
            _paint_one(canvas, light, horizon, float(near), leafy, rng)


def _paint_one(
    canvas: Canvas,
    light: Light,
    horizon: float,
    near: float,
    leafy: float,
    rng: np.random.Generator,
) -> None:
    """A tree, or now and then a boulder or a cabin; size and haze follow from how near it is.

    It stands on dry land, or nowhere. A tree draws its crown from a generator of its own, so what
    one scene has at a shore does not depend on its size in pixels.
    """
    base = horizon + 0.05 + (1.0 - horizon) * 0.92 * near
    tries = [float(rng.uniform(-1.0, 1.0)) * canvas.half for _ in range(4)]
    x = next((x for x in tries if not canvas.is_wet(x, base)), None)
    height = (0.12 + 0.55 * near) * float(rng.uniform(0.75, 1.2))
    depth = 0.22 * (1.0 - near)
    what, kind = rng.uniform(), rng.uniform()
    crown = np.random.Generator(np.random.PCG64(int(rng.integers(2**32))))
    if x is None:
        return
    place = (x, base)
    if what < 0.16:
        things.paint_shadow(canvas, light, place, 0.3 * height)
        things.paint_boulder(canvas, light, place, 0.4 * height)
        return
    things.paint_shadow(canvas, light, place, 0.42 * height)
    if what < 0.24:
        things.paint_cabin(canvas, light, place, 0.35 * height, depth)
    elif kind < leafy:
        plants.paint_leafy(canvas, light, place, 0.85 * height, depth, crown)
    else:
        plants.paint_conifer(canvas, light, place, height, depth)
