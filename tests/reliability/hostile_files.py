"""Files that somebody made to do harm, in place of weights, models, checkpoints and recipes."""

from __future__ import annotations

import marshal
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from imgtrans.recipe import to_toml
from imgtrans.testing import tiny_recipe

from .mutations import signed
from .odd_files import bomb

TOUCHED = "touched-by-a-file"
"""What code in a hostile file would make in the current folder."""


class Harm:
    """Pickled, it is a command to whoever unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {TOUCHED}",)


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    """A file with any header."""
    return struct.pack("<Q", len(header)) + header + data


def weights(place: Path) -> Iterator[Path]:
    """Files that are given in place of weights, models or checkpoints."""
    harm = {"a.weight": torch.ones(3), "harm": Harm()}
    for name, content in {
        "harm-in-a-dict.pth": harm, "harm.pth": Harm(), "whole-network.pth": torch.nn.Linear(2, 2),
    }.items():  # fmt: skip
        torch.save(content, place / name)
        yield place / name
        torch.save(content, old := place / f"old-{name}", _use_new_zipfile_serialization=False)
        yield old
    files: dict[str, bytes] = {
        "harm.pkl": pickle.dumps(Harm()),
        "protocol-0.pth": pickle.dumps(Harm(), 0),
        "marshalled.pth": marshal.dumps(compile("1", "x", "exec")),
        "yaml.pth": f"!!python/object/apply:os.system ['touch {TOUCHED}']\n".encode(),
        "deep.pth": b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
        "header-100-MB.safetensors": safetensors(
            b'{"__metadata__":{"about":"' + b"x" * 10**8 + b'"}}'
        ),
        "header-of-lists.safetensors": safetensors(b'{"a":[' + b"[]," * 10**7 + b"[]]}"),
        "header-too-long.safetensors": struct.pack("<Q", 2**63) + b"{}",
        "header-negative.safetensors": struct.pack("<q", -1) + b"{}",
        "header-deep.safetensors": safetensors(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    }
    about = '{"__metadata__":{"about":"{}","sha256":""}'
    tensor = about + ',"a":{"dtype":"F32",%s},"b":{"dtype":"F32",%s}}'
    shapes = {
        "overlapping": ('"shape":[1],"data_offsets":[0,4]', '"shape":[1],"data_offsets":[2,6]'),
        "outside": ('"shape":[1],"data_offsets":[0,4]', '"shape":[9],"data_offsets":[4,40]'),
        "negative": ('"shape":[-1],"data_offsets":[0,4]', '"shape":[1],"data_offsets":[4,8]'),
        "vast": ('"shape":[4611686018427387904,9],"data_offsets":[0,4]',
                 '"shape":[1],"data_offsets":[4,8]'),
        "of-NaN": ('"shape":[NaN],"data_offsets":[0,4]', '"shape":[1],"data_offsets":[4,8]'),
    }  # fmt: skip
    for name, told in shapes.items():
        files[f"shapes-{name}.safetensors"] = safetensors((tensor % told).encode(), b"\0" * 8)
    recipe = tiny_recipe().tables()
    vast = recipe | {"generator": recipe["generator"] | {"width": 10**6}}
    endless = recipe | {"generator": {"use": "cyclegan/encoder-decoder", "blocks": 10**9}}
    outside = recipe | {"name": "../outside", "domains": ["../a", "b"]}
    tensors = {"summer_to_winter/a": torch.ones(1)}
    forged: dict[str, Any] = {
        "nothing-told": {},
        "no-table": [1],
        "deep": {"kind": "model", "recipe": _nested(900)},
        "no-recipe": {"kind": "model"},
        "vast-network": {"kind": "model", "recipe": vast},
        "endless-network": {"kind": "model", "recipe": endless},
        "name-outside": {"kind": "model", "recipe": outside},
        "other-tensors": {"kind": "model", "recipe": recipe},
        "step-of-text": {"kind": "model", "recipe": recipe, "step": "../../x"},
    }
    files |= {f"forged-{k}.safetensors": signed(tensors, about) for k, about in forged.items()}
    for name, content in files.items():
        (place / name).write_bytes(content)
        yield place / name
    yield _zip(place / "outside.pth", {"../../outside": b"x", "archive/data.pkl": b"\x80\x02}."})
    small = b"\x80\x02}."
    yield _zip(place / "bomb.pth", {"archive/data.pkl": small, "archive/data/0": bytes(3 * 10**8)})
    yield _zip(place / "bomb-pickle.pth", {"archive/data.pkl": bytes(3 * 10**8)})


def _nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def recipes(place: Path) -> Iterator[Path]:
    """Files that are given in place of recipes."""
    good = to_toml(tiny_recipe())
    texts = {
        "huge": good + f'x = "{"a" * 10**8}"\n',
        "many-keys": good + "".join(f"k{number} = 1\n" for number in range(60_000)),
        "deep-arrays": "x = " + "[" * 10**5 + "]" * 10**5,
        "deep-tables": "x = " + "{a = " * 10**4 + "1" + "}" * 10**4,
        "deep-keys": "x." * 10**5 + "x = 1",
        "vast-number": "x = 0x" + "f" * 10**5,
        "extends-itself": 'extends = "extends-itself.toml"',
        "extends-one": 'extends = "extends-other.toml"',
        "extends-other": 'extends = "extends-one.toml"',
        "extends-a-device": 'extends = "/dev/zero"',
        "extends-a-secret": 'extends = "/etc/passwd"',
        "python": good.replace('"tiny"', f"\"__import__('os').system('touch {TOUCHED}')\""),
        "local-class": good.replace("seasons/landscapes", "local:os.system"),
        "name-outside": good.replace('name = "tiny"', 'name = "../outside"'),
        "name-absolute": good.replace('name = "tiny"', 'name = "/tmp/outside"'),
        "domain-outside": good.replace('"summer"', '"../outside"'),
        "loss-outside": good.replace("[loss.cycle]", '[loss."../outside"]'),
        "endless-network": 'extends = "quickstart"\n[generator]\nblocks = 1000000000\n',
        "start-from-a-pickle": good.replace("[train]", '[train]\nstart_from = "files/harm.pth"'),
    }  # fmt: skip
    for name, text in texts.items():
        path = place / f"{name}.toml"
        path.write_text(text)
        yield path


def odd_pictures(folder: Path) -> None:
    """Files that are called pictures and are programs, or would fill any memory."""
    folder.mkdir()
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'
    (folder / "svg.png").write_text(svg)
    (folder / "script.jpg").write_text(f"#!/bin/sh\ntouch {TOUCHED}\n")
    (folder / "bomb.png").write_bytes(bomb(30_000))
