"""Inputs that are nearly right: files with bytes changed, tables with values changed, and words."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import numpy as np
import tifffile
from hypothesis import strategies as st
from PIL import Image

PIECES = (b"", b"\0", b"\xff" * 4, b"\0\0\0\0", b"\x7f\xff\xff\xff", b"IDAT", b"IEND", b"{", b"[[")
TOML_PIECES = (b"[", b"]", b"{", b"}", b'"', b"'", b'"""', b"\n", b"=", b".", b"#", b"\\", b"inf",
               b"nan", b"-", b"1e400", b"9" * 30, b"true", b"\xff", b"use = ", b"extends = ",
               b"[loss.x]\n", b"1979-05-27", b"[" * 60, b"a." * 40)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2, 3, 7, 33, 2**31, 2**63 - 1, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308,
    "", "x", "../x", "/etc/passwd", "a" * 300, "\udcff", "é❄", "cyclegan/resnet", "cyclegan/patch",
    [], [[]], {}, {"use": "cyclegan/unet"}, {"use": "x"}, [1, 2], ["a", "b"], [0.5, 2.0],
)  # fmt: skip
WORDS = (
    "run", "validate", "translate", "export", "evaluate", "import", "report", "list-components",
    "show", "recipes", "copy", "schema", "new-plugin", "benchmark", "--set", "--resume", "--name",
    "--device", "--quiet", "--plugin", "--dry-run", "--data", "--output", "-o", "--direction",
    "--format", "--overwrite", "--memory", "--statistics", "--precision", "--json", "--match",
    "--kind", "--domains", "--lock", "--help", "-h", "--", "-", "=", "", "--recipe", "--resize",
    "tiny.toml", "tiny", "model.safetensors", "picture.png", "pictures", "plugin.py", "out",
    "weights.pth", "generator", "loss", "residual_block", "cyclegan/residual", "x-to-y", "onnx",
    "cpu", "png", "cuda:9", "train.steps=1", "generator.width=x", "name=y", "quickstart", "0", "-1",
    "1e9", "pictures/../x", ".", "*", "**", "~", "\udcff", "é❄", "a" * 300,
)  # fmt: skip
# A command line has surrogates only where its bytes are no UTF-8.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6)
LINES = (
    "validate tiny.toml --set train.steps=1", "validate tiny.toml --data", "show tiny.toml --lock",
    "show generator cyclegan/resnet --json", "list-components loss --match l*", "recipes --json",
    "translate model.safetensors picture.png -o out --overwrite --format png", "schema",
    "translate model.safetensors pictures -o out --direction x-to-y", "copy quickstart copied.toml",
    "import weights.pth -o out/imported.safetensors --domains a b", "run tiny.toml --name y -q",
    "run --resume", "evaluate model.safetensors --json", "export model.safetensors --format onnx",
    "report tiny --output out/page.html", "new-plugin x --kind loss", "benchmark tiny.toml",
)  # fmt: skip


@st.composite
def changed_bytes(draw: st.DrawFn, originals: list[bytes], pieces: tuple[bytes, ...]) -> bytes:
    """A file with some bytes replaced, put in, taken out, or cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        piece = draw(st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(pieces)))
        match draw(st.sampled_from(("replace", "flip", "insert", "delete", "repeat", "cut"))):
            case "replace":
                content[place : place + len(piece)] = piece
            case "flip" if content:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "insert":
                content[place:place] = piece
            case "delete":
                del content[place : place + draw(st.integers(1, 40))]
            case "repeat":
                content[place:place] = content[place : place + draw(st.integers(1, 40))]
            case "cut":
                del content[place:]
    return bytes(content)


def _places(tables: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested tables and arrays."""
    inside = tables.items() if isinstance(tables, dict) else enumerate(tables)
    found = []
    for key, value in inside:
        found.append((*path, key))
        if isinstance(value, (dict, list)):
            found += _places(value, (*path, key))
    return found


@st.composite
def changed_tables(draw: st.DrawFn, originals: list[dict[str, Any]]) -> dict[str, Any]:
    """Tables with some values replaced, taken out, or put elsewhere."""
    tables = copy.deepcopy(draw(st.sampled_from(originals)))
    values = st.one_of(
        st.sampled_from(VALUES), st.integers(), st.floats(), st.text(max_size=8), st.booleans()
    )
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
        places = _places(tables)
        if not places:
            break
        *path, key = draw(st.sampled_from(places))
        table = tables
        for part in path:
            table = table[part]
        match draw(st.sampled_from(("set", "set", "delete", "rename", "swap"))):
            case "set":
                table[key] = copy.deepcopy(draw(values))
            case "delete":
                del table[key]
            case "rename" if isinstance(table, dict):
                table[draw(st.text(max_size=5)) or "x"] = table.pop(key)
            case "swap":
                *other, last = draw(st.sampled_from(places))
                source = tables
                for part in other:
                    source = source[part]
                table[key] = copy.deepcopy(source[last])
    return tables


def without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {str(key): without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_none(each) for each in value if each is not None]
    return value


def overrides(tables: dict[str, Any]) -> st.SearchStrategy[str]:
    """What may follow ``--set`` of a recipe: mostly a key that it has, and a value of its type."""
    leaves = [place for place in _places(tables) if not isinstance(place[-1], int)]
    parts = ("train", "steps", "use", "loss", "cycle", "x", "plugins", "extends", "betas", "", " ")
    made = st.lists(st.sampled_from(parts) | st.text(max_size=3), max_size=4).map(".".join)
    words = (
        "1", "8", "-1", "true", "[1, 2]", '["a", "b"]', "{}", "{use = 'x'}", "nan", "1e999",
        "[" * 99, "cyclegan/resnet", "9" * 40, "'", '"', "1\n[train]", "", "1979-05-27", "\udcff",
    )  # fmt: skip
    any_value = st.sampled_from(words) | st.text(max_size=12)

    def valued(place: tuple[Any, ...]) -> st.SearchStrategy[str]:
        value: Any = tables
        for part in place:
            value = value[part]
        alike: st.SearchStrategy[Any] = st.just(value)
        if type(value) is int:
            alike = st.integers(0, 99)
        elif isinstance(value, float):
            alike = st.floats(0, 1)
        same = alike.map(lambda each: json.dumps(each).replace("{", '"').replace("}", '"'))
        return (same | same | any_value).map(lambda text: f"{'.'.join(place)}={text}")

    odd = st.tuples(made, st.sampled_from(("=", "=", "")), any_value).map("".join)
    known = st.sampled_from(leaves).flatmap(valued)
    return known | known | known | odd


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command line that works, with some words changed, put in or taken out."""
    line = draw(st.sampled_from(LINES)).split()
    words = st.sampled_from(WORDS) | _TEXT
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(line)))
        kept = draw(st.integers(0, 1))  # whether the word in its place stays
        line[place : place + 1 - kept] = draw(st.lists(words, max_size=2))
    return line


def pictures() -> list[bytes]:
    """Small files of every format and kind that is read."""
    draw = np.random.default_rng(0)
    rgb, rgba = (draw.integers(0, 256, (9, 7, n), dtype=np.uint8) for n in (3, 4))
    image, deep = Image.fromarray(rgb), draw.integers(0, 65536, (9, 7, 3), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    saved: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "PNG", {"exif": exif}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("L"), "PNG", {}),
        (Image.fromarray(rgba), "PNG", {}),
        (Image.fromarray(deep[..., 0]), "PNG", {}),
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "WEBP", {"exif": exif}),
        (image, "WEBP", {"lossless": True, "save_all": True, "append_images": [image]}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (image.convert("1"), "TIFF", {"compression": "group4"}),
        (image, "TIFF", {"compression": "jpeg"}),
        (image, "BMP", {}),
        (image.convert("P"), "BMP", {}),
    ]
    files = []
    for each, kind, options in saved:
        buffer = io.BytesIO()
        each.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    for options in ({}, {"compression": "zlib", "tile": (16, 16)}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, photometric="rgb", **options)
        files.append(buffer.getvalue())
    return files


def signed(tensors: dict[str, Any], about: Any) -> bytes:
    """A file as a forger would make it: its SHA-256 is right, whatever it says."""
    from safetensors.torch import save

    from imgtrans.checkpoint import _digest

    text = json.dumps(about)
    return save(tensors, {"about": text, "sha256": _digest(tensors, text)})
