"""Scenes are pure functions of their arguments, and winter is more than another palette."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from imgtrans_seasons import scenes
from imgtrans_seasons.canvas import Canvas

Floats = npt.NDArray[np.float64]


def _scenes(seed: int, count: int, size: int = 32) -> tuple[Floats, Floats]:
    """`count` scenes as two N×H×W×3 arrays in [0, 1], summer and winter."""
    drawn = [scenes.draw(seed, index, size, size) for index in range(count)]
    summer, winter = (np.stack([pair[season] for pair in drawn]) / 255.0 for season in (0, 1))
    return summer, winter


def _psnr(image: Floats, truth: Floats) -> float:
    return float(np.mean(-10.0 * np.log10(((image - truth) ** 2).mean((1, 2, 3)))))


def _matched(image: Floats, source: Floats, target: Floats) -> Floats:
    """`image` with each channel's mean and deviation moved from `source`'s to `target`'s."""
    axes = (0, 1, 2)
    scaled = (image - source.mean(axes)) / source.std(axes) * target.std(axes)
    return np.clip(scaled + target.mean(axes), 0.0, 1.0)


def test_the_same_seed_and_index_draw_the_same_scene() -> None:
    first, again = scenes.draw(3, 5, 48, 48), scenes.draw(3, 5, 48, 48)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("other", [(3, 6), (4, 5)])
def test_another_seed_or_index_draws_another_scene(other: tuple[int, int]) -> None:
    here, there = scenes.draw(3, 5, 48, 48)[0], scenes.draw(*other, 48, 48)[0]
    assert np.abs(here.astype(float) - there).mean() > 10.0


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (7, 31), (50, 20), (96, 160)])
def test_a_scene_comes_in_any_size(size: tuple[int, int]) -> None:
    for picture in scenes.draw(0, 1, *size):
        assert picture.shape == (*size, 3)
        assert picture.dtype == np.uint8


@pytest.mark.parametrize("index", range(8))
def test_a_scene_is_composed_alike_at_every_size(index: int) -> None:
    for small, large in zip(
        scenes.draw(2, index, 32, 48), scenes.draw(2, index, 128, 192), strict=True
    ):
        shrunk = large.reshape(32, 4, 48, 4, 3).mean((1, 3))
        assert np.abs(shrunk - small).mean() < 8.0  # of 255; two scenes differ by 25 and more


def test_the_sky_is_nearly_the_same_in_both_seasons() -> None:
    summer, winter = _scenes(0, 12)
    assert np.abs(summer[:, :4] - winter[:, :4]).mean() < 0.04


def test_the_seasons_differ_greatly_below_the_sky() -> None:
    summer, winter = _scenes(0, 12)
    assert np.abs(summer[:, 24:] - winter[:, 24:]).mean() > 0.2
    assert 8.0 < _psnr(summer, winter) < 14.0


def test_light_and_composition_vary_from_scene_to_scene() -> None:
    summer, winter = _scenes(0, 24)
    for season in (summer, winter):
        assert season.std(0).mean() > 0.1


PAINTERS = (
    "sky.paint_clouds", "terrain.paint_mountain", "terrain.paint_cliff", "terrain.paint_meadow",
    "plants.paint_wood", "plants.paint_conifer", "plants.paint_leafy", "water.paint_lake",
    "water.paint_river", "water.paint_path", "things.paint_field", "things.paint_boulder",
    "things.paint_cabin", "things.paint_shadow",
)  # fmt: skip


@pytest.mark.parametrize("painter", PAINTERS)
def test_every_kind_of_thing_is_in_some_of_thirty_scenes(
    painter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = _scenes(0, 30)
    monkeypatch.setattr(f"imgtrans_seasons.scenes.{painter}", lambda *_: None)
    changed = sum(
        np.any(a != b, axis=(1, 2, 3)) for a, b in zip(drawn, _scenes(0, 30), strict=True)
    )
    assert np.count_nonzero(changed) >= 2


def test_what_is_far_fades_into_the_haze(monkeypatch: pytest.MonkeyPatch) -> None:
    hazy = _scenes(0, 12)[0]
    monkeypatch.setattr("imgtrans_seasons.sky.Light.through", lambda self, colour, depth: colour)
    assert hazy.std() < _scenes(0, 12)[0].std()


def test_nothing_stands_in_the_water(monkeypatch: pytest.MonkeyPatch) -> None:
    stood = []

    def look(canvas: Canvas, light: object, place: tuple[float, float], *_: object) -> None:
        stood.append(canvas.is_wet(*place))

    for painter in ("plants.paint_conifer", "plants.paint_leafy", "things.paint_boulder"):
        monkeypatch.setattr(f"imgtrans_seasons.scenes.{painter}", look)
    _scenes(0, 30)
    assert len(stood) > 50
    assert not any(stood)


def _table(source: Floats, target: Floats) -> Floats:
    """The mean colour that each of 16³ colours of `source` has in `target`."""
    bins = _bins(source).ravel()
    count = np.bincount(bins, minlength=16**3)
    sums = [np.bincount(bins, target[..., c].ravel(), 16**3) for c in range(3)]
    mean: Floats = np.stack(sums, 1) / np.maximum(count, 1)[:, None]
    mean[count == 0] = target.mean((0, 1, 2))
    return mean


def _bins(image: Floats) -> npt.NDArray[np.int64]:
    levels = (image * 15.99).astype(np.int64)
    bins: npt.NDArray[np.int64] = (levels[..., 0] * 16 + levels[..., 1]) * 16 + levels[..., 2]
    return bins


@pytest.mark.parametrize("to_winter", [True, False])
def test_no_table_of_all_colours_explains_the_other_season(to_winter: bool) -> None:
    known, held_out = _scenes(0, 150), _scenes(1, 60)
    source, target = (0, 1) if to_winter else (1, 0)
    changed = _table(known[source], known[target])[_bins(held_out[source])]
    assert _psnr(changed, held_out[target]) < 19.5  # though it was fitted with the truth


@pytest.mark.parametrize("to_winter", [True, False])
def test_no_colour_map_per_channel_explains_the_other_season(to_winter: bool) -> None:
    known, held_out = _scenes(0, 60), _scenes(1, 30)
    source, target = (0, 1) if to_winter else (1, 0)
    matched = _matched(held_out[source], known[source], known[target])
    assert _psnr(matched, held_out[target]) < 16.0
