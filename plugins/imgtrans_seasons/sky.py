"""Sky, sun and clouds, and the light they throw; the sky hardly knows what season it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imgtrans_seasons.canvas import SEASON, Canvas, Rgb, pair, rgb
from imgtrans_seasons.noise import Array, mix, sample, smooth

# Zenith, horizon, direct light, light from the whole sky.
MOODS: tuple[tuple[Rgb, Rgb, Rgb, Rgb], ...] = (
    ((0.24, 0.46, 0.80), (0.70, 0.83, 0.94), (0.62, 0.60, 0.55), (0.50, 0.53, 0.58)),
    ((0.33, 0.54, 0.82), (0.93, 0.87, 0.76), (0.64, 0.55, 0.40), (0.46, 0.48, 0.55)),
    ((0.40, 0.46, 0.70), (0.97, 0.76, 0.64), (0.60, 0.44, 0.33), (0.46, 0.46, 0.55)),
    ((0.58, 0.65, 0.73), (0.83, 0.86, 0.89), (0.26, 0.26, 0.25), (0.74, 0.75, 0.77)),
)


@dataclass(frozen=True)
class Light:
    """The light of a scene; colours are 3×1×1."""

    sun: tuple[float, float]
    zenith: Array
    horizon: Array
    direct: Array
    ambient: Array
    haze: float

    @property
    def side(self) -> float:
        """-1 where the sun stands on the left, 1 where it stands on the right."""
        return -1.0 if self.sun[0] < 0.0 else 1.0

    def on(self, colour: Array, shade: Array | float) -> Array:
        """`colour` lit by the sky and, by `shade` in [0, 1], by the sun."""
        lit: Array = colour * (self.ambient + self.direct * shade)
        return lit

    def through(self, colour: Array, depth: float) -> Array:
        """`colour` seen through haze: 0 is at hand, 1 far away."""
        # Air is a little bluer than the horizon it fades into.
        air = mix(self.horizon, rgb((0.66, 0.76, 0.88)), 0.35)
        return mix(colour, air, min(0.92, depth * self.haze))

    def snow(self, shade: Array | float) -> Array:
        """Snow in sun by `shade`: white where lit, blue where not."""
        sunlit = rgb((0.93, 0.94, 0.95)) * (0.86 + 0.14 * (self.direct + self.ambient))
        return mix(rgb((0.56, 0.67, 0.86)), sunlit, shade)


def draw_light(rng: np.random.Generator, horizon: float, half: float) -> Light:
    """A light for a scene: the weather between two moods, the sun anywhere above the horizon."""
    first, second = rng.choice(len(MOODS), 2, p=(0.42, 0.24, 0.14, 0.20))
    share = rng.uniform(0.0, 0.6)
    zenith, low, direct, ambient = (
        mix(rgb(a), rgb(b), share) for a, b in zip(MOODS[first], MOODS[second], strict=True)
    )
    sun = (rng.uniform(-1.1, 1.1) * half, horizon * rng.uniform(0.15, 0.95))
    return Light(sun, zenith, low, direct, ambient, float(rng.uniform(0.45, 1.0)))


def paint_sky(canvas: Canvas, light: Light, horizon: float) -> None:
    """The whole canvas as sky: a gradient, and a glow round the sun."""
    height = np.clip((horizon - canvas.y) / max(horizon, 0.3), 0.0, 1.0) ** np.float32(0.75)
    sky = mix(light.horizon, light.zenith, height)
    away = np.hypot(canvas.x - light.sun[0], canvas.y - light.sun[1])
    warm = np.clip(light.horizon * rgb((1.12, 1.06, 1.0)), 0.0, 1.0)
    sky = mix(sky, warm, 0.65 * np.exp(-((away / np.float32(0.30)) ** 2)))
    # A veiled sun is a brightening and no disc.
    clear = float(light.direct.mean() > 0.44)
    sky = mix(
        sky, rgb((1.0, 0.97, 0.86)), 0.75 * np.exp(-((away / np.float32(0.085)) ** 2)) * clear
    )
    sky = mix(sky, rgb((1.0, 0.99, 0.93)), canvas.coverage(0.032 - away) * clear)
    # Winter air is a shade paler, and no more than that.
    canvas.pixels[:] = mix(sky[None], pair((0.78, 0.84, 0.91)), SEASON * 0.10)


def paint_clouds(canvas: Canvas, light: Light, horizon: float, rng: np.random.Generator) -> None:
    """Clouds in perspective, from a clear sky to a nearly closed one, white in both seasons."""
    amount = float(rng.choice((0.0, 0.25, 0.42, 0.58, 0.75), p=(0.12, 0.23, 0.3, 0.23, 0.12)))
    stretch, soft = float(rng.uniform(0.45, 1.0)), float(rng.uniform(0.10, 0.32))
    offset = rng.uniform(0.0, 1.0, 2).astype(np.float32)
    patch = canvas.patch(0.0, horizon)
    if patch is None or amount == 0.0:
        return
    away = 0.20 / (horizon - patch.y + 0.22)
    u, v = patch.x * away * np.float32(stretch) + offset[0], away * 0.9 + offset[1]
    density = sample("cloud", u, v, canvas.step * 0.5)
    # Reading the same field a little nearer to the sun tells which side of a cloud is lit.
    toward = np.float32(0.018 * light.side)
    nearer = sample("cloud", u + toward, v + np.float32(0.012), canvas.step * 0.5)
    thick = smooth(1.0 - amount, 1.0 - amount + soft, density)
    lit = np.clip(0.72 + (density - nearer) * 4.0 - 0.35 * thick * (density - 0.6), 0.0, 1.0)
    white = np.clip(0.62 + 0.36 * (light.ambient + light.direct), 0.0, 0.99)
    colour = mix(mix(light.zenith, rgb((0.62, 0.65, 0.72)), 0.7), white, lit)
    fade = smooth(0.0, 0.16, horizon - patch.y)
    canvas.paint(patch, colour, thick * (0.35 + 0.6 * fade))
