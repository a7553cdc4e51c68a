"""Folders of photographs as they are: cut off, renamed, linked in circles, in any script."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import sys
import zlib
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
from imgtrans_cyclegan import UnpairedFolders
from PIL import Image

from imgtrans.recipe import to_toml
from imgtrans.testing import tiny_recipe

from .killing import differences
from .promises import Figure, promise
from .storage import as_a_user
from .workers import imgtrans, start, wait_until

SIZE = 32
MOST_MIB = 300
"""Memory that the command that decodes every odd file may take beside what it begins with."""


@dataclass(frozen=True)
class Odd:
    """A file, and what is to be said of it; nothing where it can be read."""

    name: str
    reason: str = ""


def noise(seed: int, channels: int = 3) -> np.ndarray:
    """A picture that does not compress."""
    return np.random.default_rng(seed).integers(0, 256, (48, 40, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A black-and-white PNG of many pixels in few bytes, whole to its last chunk."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + -(-side // 8))) for _ in range(side))

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")


def readable(folder: Path) -> list[Odd]:
    """Files that are odd, and right."""
    rgb = Image.fromarray(noise(0))
    grey_alpha = Image.fromarray(noise(1, 2), "LA")
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = np.random.default_rng(2).integers(0, 65536, (48, 40), dtype=np.uint16)
    still = [Image.fromarray(noise(seed)) for seed in (3, 4)]
    files = {
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "deep.png": encoded(Image.fromarray(deep), "PNG"),
        "grey-alpha.png": encoded(grey_alpha, "PNG"),
        "palette.png": encoded(rgb.convert("P"), "PNG", transparency=3),
        "alpha.png": encoded(Image.fromarray(noise(5, 4)), "PNG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=turned),
        "animated.webp": encoded(still[0], "WEBP", save_all=True, append_images=still[1:]),
        "animated.png": encoded(still[0], "PNG", save_all=True, append_images=still[1:]),
        "png-called.jpg": encoded(rgb, "PNG"),
    }
    names = (
        "зима.png",
        "冬の山.png",
        "شتاء.png",
        "χειμώνας é ❄️.png",
        os.fsdecode(b"latin-\xe9.png"),
    )
    files |= {name: encoded(rgb, "PNG") for name in names}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [Odd(name) for name in files]


def unreadable(folder: Path) -> list[Odd]:
    """Files that cannot be trained on, and why."""
    jpeg, png = (encoded(Image.fromarray(noise(6)), kind) for kind in ("JPEG", "PNG"))
    files = {
        "cut-1.jpg": (jpeg[: len(jpeg) // 100], "runcated"),
        "cut-50.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut-99.jpg": (jpeg[: len(jpeg) * 99 // 100], "truncated"),
        "cut-50.png": (png[: len(png) // 2], "truncated"),
        "cut-99.png": (png[: len(png) * 99 // 100], "truncated"),
        "empty.png": (b"", "is empty"),
        "text.jpg": (b"no picture at all", "no readable image"),
        "1x1.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "smaller than image_size"),
        "bomb.png": (bomb(30_000), "decompression bomb"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    odd = [Odd(name, reason) for name, (_, reason) in files.items()]
    links = {"dangling.png": "nowhere.png", "itself.png": "itself.png", "endless.png": "/dev/zero"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.png")
    odd += [Odd("dangling.png", "No such file"), Odd("itself.png", "symbolic links")]
    odd += [Odd(name, "a pipe or a device") for name in ("endless.png", "pipe.png")]
    (folder / "closed.png").write_bytes(png)
    (folder / "closed.png").chmod(0)
    return [*odd, Odd("closed.png", "Permission denied")]


def good(folder: Path, count: int) -> None:
    """Photographs that nothing is wrong with."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(noise(100 + number)).save(folder / f"good-{number}.png")


def write_recipe(place: Path, root: Path, broken_images: str) -> Path:
    """A run of six steps on these photographs."""
    dataset = UnpairedFolders(root=str(root), image_size=SIZE, broken_images=broken_images)
    train = {"steps": 6, "checkpoint_every": 1, "batch_size": 4, "keep": 6}
    path = place / f"{broken_images}-{root.name}.toml"
    path.write_text(to_toml(tiny_recipe(dataset=dataset, train=train)))
    return path


def tell_memory() -> None:
    """In a command's process: say at its end how much memory it took more than at its start."""
    as_a_user()

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def tell() -> None:
        sys.stdout.write(f"MORE MEMORY {peak() - before:.0f}\n")
        sys.stdout.flush()

    before = peak()
    Finalize(None, tell, exitpriority=0)


def _contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every regular file below a folder as it is now."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and os.access(path, os.R_OK)
    }


def misjudged(odd: list[Odd], said: str) -> list[str]:
    """Files that were not told of as they should have been."""
    lines = [line for line in said.splitlines() if line.startswith("  ")]
    wrong = []
    for file in odd:
        printed = file.name.encode("utf-8", "replace").decode()
        about = [line for line in lines if f"{printed}: " in line or f"{printed} (" in line]
        right = len(about) == 1 and file.reason in about[0] if file.reason else not about
        wrong += [] if right else [f"{printed}: {about or 'nothing is said'}"]
    return wrong


@promise("R12", "odd files are told apart by a full decode, left out or named by training, and "
         "left as they are", short=1, full=15)  # fmt: skip
def odd_files(place: Path, count: int) -> Figure:
    root = place / "photos"
    for name in ("trainB", "testA", "testB", "trainA"):
        good(root / name, 3)
    odd = readable(root / "trainA") + (bad := unreadable(root / "trainA"))
    (root / "trainA/round").symlink_to(".")
    (root / "testA/cut.jpg").write_bytes(b"\xff\xd8\xff")
    skipping, before = write_recipe(place, root, "skip"), _contents(root)
    code, said = imgtrans("validate", skipping, "--data", folder=place, prepare=tell_memory)
    wrong = misjudged([*odd, Odd("testA/cut.jpg", "cannot be decoded")], said)
    memory = int(said.rpartition("MORE MEMORY ")[2] or 0)
    wrong += [] if code == 1 and "Traceback" not in said else [f"validate ends with {code}: {said}"]
    wrong += [] if memory < MOST_MIB else [f"it took {memory} MiB more"]
    wrong += [] if _contents(root) == before else ["validate has changed files"]
    wrong += left_out(place, skipping, bad)
    wrong += [line for each in bad[:count] for line in named(place, each, root / "trainA")]
    tried = len(odd) + 5 + len(bad[:count])
    detail = f"{len(odd)} kinds of odd file, {memory} MiB more at most"
    return Figure(tried, wrong, detail)


def left_out(place: Path, recipe: Path, bad: list[Odd]) -> list[str]:
    """What is wrong with a run that leaves broken files out, and with a killed one that goes on."""
    code, said = imgtrans("run", recipe, "--name", "whole", folder=place, prepare=as_a_user)
    if code:
        return [f"leaving out ends with {code}: {said}"]
    whole, killed = place / "runs/whole", place / "runs/killed"
    told = json.loads((whole / "status.json").read_text())["left_out"]
    missing = [each.name for each in bad if sum(f"/{each.name}" in line for line in told) != 1]
    wrong = [f"not told as left out: {missing}"] if missing else []
    wrong += [f"left out {told}"] if len(told) != len(bad) + 1 else []
    command = start("run", recipe, "--name", "killed", "--quiet", folder=place, prepare=as_a_user)
    wait_until(command, lambda: any(killed.glob("checkpoints/step-*2.safetensors")))
    command.signal(signal.SIGKILL)
    wrong += [] if command.wait() == -signal.SIGKILL else ["it was over before it was killed"]
    code, said = imgtrans("run", "--resume", killed, folder=place, prepare=as_a_user)
    wrong += [f"resuming ends with {code}: {said}"] if code else []
    return wrong + [f"resumed: {name} differs" for name in differences(killed, whole)]


def named(place: Path, odd: Odd, folder: Path) -> list[str]:
    """What is wrong with how a run ends at one broken file."""
    root = place / f"with-{odd.name}"
    for name in ("trainA", "trainB"):
        good(root / name, 2)
    (folder / odd.name).rename(root / "trainA" / odd.name)
    recipe = write_recipe(place, root, "stop")
    code, said = imgtrans(
        "run", recipe, "--quiet", "--name", root.name, folder=place, prepare=as_a_user
    )
    right = code == 1 and "Traceback" not in said and f"trainA/{odd.name}" in said
    return [] if right else [f"{odd.name}: a run ends with {code}: {said}"]
