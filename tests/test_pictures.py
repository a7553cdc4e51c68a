"""Picture files and pictures in programs: what surrounds the pixels survives a translation."""

import io
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from imgtrans import ImgtransError
from imgtrans.pictures.decoding import Stored, decode, read
from imgtrans.pictures.files import SUFFIXES, encode, lost
from imgtrans.pictures.samples import stored_as, upright
from imgtrans.pictures.values import pixels_of, quantised

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
THOUSAND = np.linspace(0, 65535, 1000).astype(np.uint16).reshape(20, 50)
COLOUR = np.stack([THOUSAND, THOUSAND[::-1], THOUSAND[:, ::-1]], -1)
ALPHA = np.random.default_rng(0).integers(0, 65536, (20, 50, 1), dtype=np.uint16)


def shallow(samples):
    return (samples >> 8).astype(np.uint8)


def written(tmp_path, samples, format_, orientation=1, icc=ICC):
    """A file as a camera or a program leaves it."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a meadow", orientation
    path = tmp_path / f"source{SUFFIXES[format_]}"
    options = {"exif": exif, "icc_profile": icc} if format_ != "BMP" else {}
    Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples).save(path, **options)
    return path


def round_trip(tmp_path, path, format_=None):
    """What is read of a file that was read and written again, untranslated."""
    stored = read(path)
    given = upright(stored.samples, stored.orientation)
    given = given if given.shape[2] in (1, 3) else given[..., :-1]
    again = tmp_path / f"again{SUFFIXES[format_ or stored.format]}"
    again.write_bytes(encode(given, stored, format_ or stored.format))
    return stored, read(again)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_has_its_way_back(orientation):
    samples = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    assert np.array_equal(stored_as(upright(samples, orientation), orientation), samples)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "JPEG", "TIFF", "BMP"])
def test_pixels_profile_and_exif_survive_where_the_format_holds_them(tmp_path, format_):
    before, after = round_trip(tmp_path, written(tmp_path, shallow(COLOUR), format_, 6))
    assert after.format == format_
    assert after.samples.shape == before.samples.shape
    difference = np.abs(after.samples.astype(int) - before.samples)
    assert difference.max() == 0 if format_ in ("PNG", "TIFF", "BMP") else difference.mean() < 4
    if format_ != "BMP":
        assert after.icc == ICC
        assert b"a meadow" in after.exif
        assert after.orientation == (1 if format_ == "TIFF" else 6)  # Pillow turns TIFFs


def photograph(tmp_path, format_="JPEG", orientation=6):
    """As a phone saves it: with a place, an exposure and a maker's notes."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8769).update({33434: 0.01, 0x927C: b"notes"})
    path = tmp_path / f"phone{SUFFIXES[format_]}"
    Image.fromarray(shallow(COLOUR)).save(path, exif=exif, icc_profile=ICC)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", list(SUFFIXES))
@pytest.mark.parametrize("depth", [8, 16])
def test_a_turned_picture_looks_the_same_in_every_format(tmp_path, orientation, format_, depth):
    stored = read(photograph(tmp_path, "PNG", orientation))
    given = upright(stored.samples, orientation)
    if depth == 16:
        stored = replace(stored, samples=stored.samples.astype(np.uint16) * 257)
        given = given.astype(np.uint16) * 257
    (tmp_path / "again").write_bytes(encode(given, stored, format_))
    after = read(tmp_path / "again")
    seen = upright(after.samples, after.orientation)
    assert seen.shape[:2] == given.shape[:2]
    assert (
        np.abs(seen[::4, ::4].astype(int) - given[::4, ::4].astype(seen.dtype)).mean()
        < 12 * (257 if seen.dtype == np.uint16 else 1)
        or seen.dtype != given.dtype
    )


@pytest.mark.parametrize("target", list(SUFFIXES))
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_a_phone_writes_goes_into_every_format(tmp_path, source, target):
    stored = read(photograph(tmp_path, source))
    given = upright(stored.samples, stored.orientation)
    (tmp_path / "again").write_bytes(encode(given, stored, target))
    with Image.open(tmp_path / "again") as after:
        if target in ("JPEG", "PNG", "WEBP") and source != "TIFF":
            assert after.getexif().get_ifd(0x8825)[1] == "N"
            assert 0x927C not in after.getexif().get_ifd(0x8769)
        if target != "BMP":
            assert after.getexif()[0x010F].strip("\0") == "maker"
    told = target == "BMP" or (target == "TIFF" and source != "TIFF")
    assert ("EXIF" in lost(stored, target)) is told


def test_odd_exif_leaves_a_picture_readable(tmp_path):
    path = photograph(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x01\x12\x00\x03", b"\x01\x12\x00\x02"))  # a text
    assert read(path).samples.shape == (20, 50, 3)


def test_exif_whose_tables_cannot_be_read_leaves_a_picture_readable(tmp_path, monkeypatch):
    def fails(self, ifd):
        raise KeyError(ifd)

    path = photograph(tmp_path)
    monkeypatch.setattr(Image.Exif, "get_ifd", fails)
    assert read(path).missed == ("EXIF",)
    assert b"maker" in read(path).exif


def test_training_reads_no_exif_but_the_orientation(tmp_path, monkeypatch):
    path = photograph(tmp_path)
    monkeypatch.setattr("imgtrans.pictures.decoding.exif_of", lambda image: 1 // 0)
    assert decode(path, 3).shape == (3, 50, 20)


def test_frames_after_the_first_are_told(tmp_path):
    frames = [Image.fromarray(shallow(COLOUR)) for _ in range(2)]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    assert "frames after the first" in lost(read(tmp_path / "two.tif"), "TIFF")


def test_deep_grey_with_alpha_comes_back_from_a_tiff(tmp_path):
    stored = replace(
        read(written(tmp_path, shallow(COLOUR), "PNG")),
        samples=np.concatenate((THOUSAND[..., None], ALPHA), 2),
    )
    (tmp_path / "again.tif").write_bytes(encode(THOUSAND[..., None], stored, "TIFF"))
    after = read(tmp_path / "again.tif").samples
    assert np.array_equal(after[..., 0], THOUSAND)
    assert np.array_equal(after[..., 3:], ALPHA)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_transparency_survives(tmp_path, format_):
    samples = shallow(np.concatenate((COLOUR, ALPHA), 2))
    before, after = round_trip(tmp_path, written(tmp_path, samples, format_))
    assert np.array_equal(after.samples[..., 3], before.samples[..., 3])


def deep_file(tmp_path, samples, format_):
    path = tmp_path / f"deep{SUFFIXES[format_]}"
    if format_ == "TIFF":
        extra = ["unassalpha"] if samples.shape[2] == 4 else None
        tifffile.imwrite(path, samples, photometric="rgb", extrasamples=extra, iccprofile=ICC)
    else:
        kinds, values = [cv2.IMAGE_METADATA_ICCP], [np.frombuffer(ICC, np.uint8)]
        order = [2, 1, 0, 3][: samples.shape[2]]
        cv2.imwriteWithMetadata(str(path), np.ascontiguousarray(samples[..., order]), kinds, values)
    return path


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_thousand_values_of_sixteen_bits_survive_in_every_channel(tmp_path, format_, alpha):
    samples = np.concatenate((COLOUR, ALPHA), 2) if alpha else COLOUR
    _, after = round_trip(tmp_path, deep_file(tmp_path, samples, format_))
    assert np.array_equal(after.samples, samples)
    assert after.icc == ICC
    assert len(np.unique(after.samples[..., 0])) == 1000


def test_deep_grey_survives_as_grey(tmp_path):
    Image.fromarray(THOUSAND).save(tmp_path / "grey.png")
    _, after = round_trip(tmp_path, tmp_path / "grey.png")
    assert np.array_equal(after.samples[..., 0], THOUSAND)


def test_what_a_format_cannot_hold_is_told_and_done_sensibly(tmp_path):
    stored = read(deep_file(tmp_path, np.concatenate((COLOUR, ALPHA), 2), "PNG"))
    assert lost(stored, "JPEG") == ["transparency", "16-bit depth"]
    assert lost(stored, "WEBP") == ["16-bit depth"]
    assert lost(stored, "TIFF") == []
    white = encode(np.zeros_like(COLOUR), stored, "BMP")
    made = np.asarray(Image.open(io.BytesIO(white)))[..., 0]
    assert np.abs(made.astype(int) + shallow(ALPHA)[..., 0] - 255).max() <= 1  # black over white


def test_a_profile_of_grey_is_not_given_to_colour(tmp_path):
    grey = ICC[:16] + b"GRAY" + ICC[20:]
    stored = read(written(tmp_path, shallow(COLOUR)[..., :1], "PNG", icc=grey))
    colour = np.repeat(stored.samples, 3, axis=2)
    assert "icc_profile" not in Image.open(io.BytesIO(encode(colour, stored, "PNG"))).info
    assert Image.open(io.BytesIO(encode(stored.samples, stored, "PNG"))).info["icc_profile"] == grey


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((8, 9), np.uint8), ((8, 9, 3), np.uint16), ((8, 9, 4), np.float32), ((8, 9, 1), np.uint8)],
)
def test_an_array_comes_back_as_an_array_of_its_type(shape, kind):
    values = np.random.default_rng(0).random(shape)
    array = (values if kind is np.float32 else values * np.iinfo(kind).max).astype(kind)
    pixels, back = pixels_of(array, 1 if len(shape) == 2 or shape[2] == 1 else 3)
    made = back(torch.zeros(pixels.shape))
    assert (made.shape, made.dtype) == (array.shape, array.dtype)
    half = 0.5 if kind is np.float32 else np.iinfo(kind).max / 2
    assert np.abs(made.reshape(8, 9, -1)[..., 0] - half).max() <= 0.5
    if shape[-1] == 4:
        assert np.array_equal(made[..., 3], array[..., 3])


def test_a_tensor_comes_back_as_a_tensor():
    given = torch.rand(3, 8, 9)
    pixels, back = pixels_of(given, 3)
    assert torch.equal(pixels, given)
    torch.testing.assert_close(back(given * 2 - 1), given)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.zeros(2, 3, 8, 8), "not 2×3×8×8; translate several with .translate"),
        (np.zeros((8, 8, 5), np.uint8), "not 8×8×5"),
        (np.zeros((8, 8), np.int32), "not int32"),
        (-np.ones((8, 8), np.float32), r"in \[0, 1\], this one in \[-1, -1\]"),
        ("meadow.png", "not a str"),
        (Image.new("F", (8, 8)), "mode F has no set black and white"),
    ],
)
def test_what_is_no_picture_is_told(image, says):
    with pytest.raises(ImgtransError, match=says):
        pixels_of(image, 3)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"])
@pytest.mark.parametrize("icc", [b"", ICC, ICC + bytes(99_999)], ids=["none", "icc", "long"])
def test_a_jpeg_is_what_pillow_writes(icc, exif, grey):
    samples = np.ascontiguousarray(shallow(COLOUR)[..., : 1 if grey else 3])
    stored = Stored(samples, "JPEG", 1, icc, exif)
    given = {"icc_profile": icc} if icc and not grey else {}  # it is a profile of colour
    given |= {"exif": exif} if exif else {}
    file = io.BytesIO()
    image = Image.fromarray(samples[..., 0] if grey else samples)
    image.save(file, "JPEG", quality=95, subsampling=0, **given)
    ours = encode(samples, stored, "JPEG")
    with Image.open(io.BytesIO(ours)) as one, Image.open(io.BytesIO(file.getvalue())) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
        assert one.info == other.info


def test_levels_of_a_translation_are_the_nearest_ones():
    made = torch.rand(2, 3, 200, 300, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    for kind in (np.uint8, np.uint16):
        levels = ((made + 1) / 2).clamp(0, 1).mul(np.iinfo(kind).max).round()
        assert np.array_equal(quantised(made, np.dtype(kind)), levels.permute(0, 2, 3, 1).numpy())
