"""Decoding: every kind of image file becomes the right samples at its own depth, or an error."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from imgtrans.pictures import EXTENSIONS
from imgtrans.pictures.decoding import DecodingError, decode, image_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

THOUSAND = np.linspace(0, 65535, 1000).astype(np.uint16).reshape(20, 50)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
DEEP_NOISE = np.random.default_rng(1).integers(0, 65536, (40, 60, 3), dtype=np.uint16)
UPRIGHT: dict[int, Callable[[Any], Any]] = {
    1: np.asarray,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
SUFFIXES = ("png", "jpg", "webp", "tif")


def write_deep(path: Path, samples: npt.NDArray[np.uint16]) -> Path:
    """Write a 16-bit PNG or TIFF of RGB(A) or grey samples with a writer that keeps them."""
    order = [2, 1, 0, 3][: samples.shape[2]] if samples.ndim > 2 else None
    assert cv2.imwrite(str(path), samples[..., order] if order else samples)
    return path


def png_with(path: Path, name: bytes, body: bytes, *, before: bytes) -> Path:
    """Insert a chunk into a PNG in front of its first chunk of another name."""
    content = path.read_bytes()
    at = content.index(before) - 4
    chunk = struct.pack(">I", len(body)) + name + body
    chunk += struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(content[:at] + chunk + content[at:])
    return path


def exif(orientation: int) -> bytes:
    """EXIF data, a big-endian TIFF with nothing but an orientation."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def pixels(tensor: torch.Tensor) -> npt.NDArray[np.generic]:
    """From (C, H, W) to (H, W, C)."""
    return tensor.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_grey_keeps_a_thousand_distinct_values(tmp_path: Path, name: str) -> None:
    tensor = decode(write_deep(tmp_path / name, THOUSAND), 1)
    assert (tensor.dtype, tensor.shape) == (torch.uint16, (1, 20, 50))
    assert np.array_equal(tensor[0].numpy(), THOUSAND)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_colour_keeps_a_thousand_distinct_values(tmp_path: Path, name: str) -> None:
    colour = np.stack([THOUSAND, THOUSAND[::-1], THOUSAND[:, ::-1]], axis=2)
    tensor = decode(write_deep(tmp_path / name, colour), 3)
    assert tensor.dtype == torch.uint16
    assert np.array_equal(pixels(tensor), colour)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bit_tiffs_keep_their_bits_in_either_byte_order(
    tmp_path: Path, byteorder: Any, compression: str | None
) -> None:
    layout: dict[str, Any] = {"byteorder": byteorder, "compression": compression}
    tifffile.imwrite(tmp_path / "rgb.tif", DEEP_NOISE, photometric="rgb", **layout)
    tifffile.imwrite(tmp_path / "l.tif", THOUSAND, photometric="minisblack", **layout)
    assert np.array_equal(pixels(decode(tmp_path / "rgb.tif", 3)), DEEP_NOISE)
    assert np.array_equal(decode(tmp_path / "l.tif", 1)[0].numpy(), THOUSAND)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_colour_becomes_sixteen_bit_grey_by_luma(tmp_path: Path, name: str) -> None:
    tensor = decode(write_deep(tmp_path / name, DEEP_NOISE), 1)
    luma = DEEP_NOISE @ np.array([0.299, 0.587, 0.114])
    assert tensor.dtype == torch.uint16
    assert np.abs(tensor[0].numpy() - luma).max() < 2


def test_eight_bit_grey_is_pillows_own(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    grey = np.asarray(Image.fromarray(NOISE).convert("L"))
    assert np.array_equal(decode(tmp_path / "a.png", 1)[0].numpy(), grey)


def test_grey_becomes_colour_by_repetition(tmp_path: Path) -> None:
    Image.fromarray(NOISE[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(pixels(decode(tmp_path / "a.png", 3)), NOISE[..., :1].repeat(3, 2))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_eight_bit_colour_keeps_its_samples(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(NOISE).save(path)
    tensor = decode(path, 3)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(pixels(tensor), NOISE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exif_orientation_is_honoured_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    path, tag = tmp_path / f"a.{suffix}", Image.Exif()
    tag[274] = orientation
    Image.fromarray(NOISE).resize((64, 48)).save(path, exif=tag)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(pixels(decode(path, 3)), expected)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_orientation_is_honoured_once(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        png_with(write_deep(path, DEEP_NOISE), b"eXIf", exif(orientation), before=b"IDAT")
    else:
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, DEEP_NOISE, photometric="rgb", extratags=tags)
    assert np.array_equal(pixels(decode(path, 3)), UPRIGHT[orientation](DEEP_NOISE))
    assert image_size(path) == UPRIGHT[orientation](DEEP_NOISE).shape[:2]


def test_a_png_may_name_its_orientation_behind_its_pixels(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    path = png_with(tmp_path / "a.png", b"eXIf", exif(6), before=b"IEND")
    assert np.array_equal(pixels(decode(path, 3)), np.rot90(NOISE, -1))
    assert image_size(path) == (60, 40)


def test_the_size_is_read_without_the_pixels(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    assert image_size(tmp_path / "a.png") == (40, 60)


def test_an_unreadable_orientation_is_none_and_warns_of_nothing(tmp_path: Path) -> None:
    broken = b"Exif\0\0" + exif(6)[:8] + b"\xff\xff" + exif(6)[10:16]
    Image.fromarray(NOISE).save(tmp_path / "a.jpg", exif=broken)
    assert decode(tmp_path / "a.jpg", 3).shape == (3, 40, 60)


def test_an_inverted_cmyk_jpeg_has_its_colours_right(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red.save(tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    red, green, blue = pixels(decode(tmp_path / "a.jpg", 3))[8, 8]
    assert red > 245
    assert max(green, blue) < 10


def test_transparent_palette_entries_become_white(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=bytes([255, 0, 128]))
    found = pixels(decode(tmp_path / "a.png", 3))[0].tolist()
    assert found == [[10, 20, 30], [255, 255, 255], [162, 167, 172]]


def test_a_palette_without_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.bmp")
    assert pixels(decode(tmp_path / "a.bmp", 3))[0].tolist() == [[10, 20, 30], [40, 50, 60]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_with_alpha_lies_over_white(tmp_path: Path, suffix: str) -> None:
    image = Image.new("LA", (3, 1))
    image.putdata([(100, 255), (100, 0), (100, 51)])
    image.save(tmp_path / f"a.{suffix}")
    assert decode(tmp_path / f"a.{suffix}", 1).tolist() == [[[100, 255, 224]]]


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_sixteen_bit_alpha_lies_over_white_at_sixteen_bits(tmp_path: Path, name: str) -> None:
    rgba = np.array([[[1, 2, 3, 65535], [1, 2, 3, 0], [0, 1000, 65535, 32768]]], np.uint16)
    tensor = decode(write_deep(tmp_path / name, rgba), 3)
    expected = [[1, 2, 3], [65535, 65535, 65535], [32767, 33267, 65535]]
    assert pixels(tensor)[0].tolist() == expected


def test_sixteen_bit_grey_with_alpha_keeps_its_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.dstack([THOUSAND] * 2))
    header = struct.pack(">IIBBBBB", 50, 20, 16, 4, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82")
    png_with(path, b"IHDR", header, before=b"IEND")
    png_with(path, b"IDAT", zlib.compress(rows), before=b"IEND")
    value = THOUSAND.astype(np.float64)
    expected = value * value / 65535 + 65535 - value
    assert np.abs(decode(path, 1)[0].numpy() - expected).max() <= 0.51


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_a_png_becomes_white(
    tmp_path: Path, *, deep: bool, channels: int
) -> None:
    samples = np.array([[300, 700]] if deep else [[30, 70]], np.uint16)
    colour = samples if channels == 1 else np.dstack([samples] * 3)
    path = tmp_path / "a.png"
    write_deep(path, colour) if deep else cv2.imwrite(str(path), colour.astype(np.uint8))
    png_with(path, b"tRNS", struct.pack(">H", samples[0, 0]) * channels, before=b"IDAT")
    white = 65535 if deep else 255
    assert decode(path, 1)[0].tolist() == [[white, samples[0, 1]]]


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 1).tolist() == [[[255, 0, 255]]]


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for suffix in ("webp", "png", "tif"):
        path = tmp_path / f"a.{suffix}"
        first.save(path, save_all=True, append_images=[second], lossless=True)
        assert decode(path, 3)[:, 4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("percent", [1, 50, 99])
@pytest.mark.parametrize("suffix", [*SUFFIXES, "bmp"])
def test_a_truncated_file_is_an_error_that_names_it(
    tmp_path: Path, suffix: str, percent: int
) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * percent // 100])
    with pytest.raises(DecodingError, match=f"cut.{suffix}"):
        decode(path, 3)


@pytest.mark.parametrize("name", ["cut.png", "cut.tif"])
def test_truncated_sixteen_bit_colour_is_an_error(tmp_path: Path, name: str) -> None:
    path = write_deep(tmp_path / name, DEEP_NOISE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    with pytest.raises(DecodingError, match=name):
        decode(path, 3)


@pytest.mark.parametrize("read", [lambda path: decode(path, 3), image_size])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DecodingError, match=r"a\.jpg.*empty"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("read", [lambda path: decode(path, 3), image_size])
def test_text_named_like_an_image_is_an_error(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(DecodingError, match=r"a\.jpg.*no readable image"):
        read(tmp_path / "a.jpg")


def test_a_missing_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(DecodingError, match="No such file"):
        decode(tmp_path / "a.jpg", 3)


@pytest.mark.filterwarnings("default")  # it must not take -W error to refuse it
@pytest.mark.parametrize("size", [6000, 12000])
def test_a_decompression_bomb_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000 * 6000 - 1)
    Image.new("1", (size, size)).save(tmp_path / "a.png")
    with pytest.raises(DecodingError, match=r"a\.png.*bomb"):
        image_size(tmp_path / "a.png")


@pytest.mark.parametrize("read", [lambda path: decode(path, 3), image_size])
def test_a_pipe_that_is_called_like_an_image_is_not_waited_for(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DecodingError, match=r"pipe\.png: cannot be decoded: it is a pipe"):
        read(tmp_path / "pipe.png")


@pytest.mark.parametrize("read", [lambda path: decode(path, 3), image_size])
def test_a_file_larger_than_any_picture_is_not_read(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    with (tmp_path / "vast.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        DecodingError, match=r"vast\.png.*1,099,511,627,776 bytes, and no more than"
    ):
        read(tmp_path / "vast.png")


@pytest.mark.parametrize("kind", ["float32", "int32", "uint32", "int16", "int8"])
def test_samples_without_a_set_black_and_white_are_refused(tmp_path: Path, kind: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", THOUSAND.astype(kind), photometric="minisblack")
    with pytest.raises(DecodingError, match="no set black and white"):
        decode(tmp_path / "a.tif", 1)


@pytest.mark.parametrize(
    "layout",
    [
        {"photometric": "rgb", "extrasamples": ["assocalpha"]},
        {"photometric": "separated"},
        {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]},
    ],
)
def test_sixteen_bit_layouts_that_would_lose_bits_are_refused(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    samples = np.dstack([DEEP_NOISE, DEEP_NOISE[..., 0]])
    samples = np.moveaxis(samples, 2, 0) if "planarconfig" in layout else samples
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(samples), **layout)
    with pytest.raises(DecodingError, match="16-bit"):
        decode(tmp_path / "a.tif", 3)


def test_sixteen_bit_grey_with_zero_for_white_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", THOUSAND, photometric="miniswhite")
    with pytest.raises(DecodingError, match="0 for white"):
        decode(tmp_path / "a.tif", 1)


def test_two_channels_are_not_a_choice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="channels is 2"):
        decode(tmp_path / "a.png", 2)


def test_a_decoding_error_survives_the_way_out_of_a_worker_process(tmp_path: Path) -> None:
    with pytest.raises(DecodingError) as caught:
        decode(tmp_path / "a.png", 3)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_many_threads_leave_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        sizes = set(pool.map(image_size, [tmp_path / "a.png"] * 200))
    assert sizes == {(40, 60)}
    assert list(warnings.filters) == before


def test_the_tensor_may_be_written_to(tmp_path: Path) -> None:
    Image.fromarray(NOISE[..., 0]).save(tmp_path / "a.png")
    decode(tmp_path / "a.png", 1).zero_()
    assert decode(tmp_path / "a.png", 1).any()


def test_the_extensions_are_lower_case_with_their_dots() -> None:
    assert all(suffix.startswith(".") and suffix.islower() for suffix in EXTENSIONS)
