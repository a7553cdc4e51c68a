"""Translate a picture with an exported file, without imgtrans and without torch.

    imgtrans export runs/quickstart --output to_winter.onnx
    python run_onnx.py to_winter.onnx meadow.jpg meadow_in_winter.png

Needs numpy, pillow and onnxruntime. The file says itself what it takes; pictures have any size.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def pixels_of(picture: Image.Image, takes: dict[str, Any]) -> np.ndarray[Any, Any]:
    """``1×C×H×W`` float32 as the network saw pictures in training: upright, and over white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    picture = picture.convert("RGB" if takes["channels"] == 3 else "L")
    levels = np.asarray(picture, np.float32).reshape(picture.height, picture.width, -1)
    black, white_ = takes["range"]
    values = black + levels / 255 * (white_ - black)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], takes["type"])


def picture_of(values: np.ndarray[Any, Any], gives: dict[str, Any]) -> Image.Image:
    """The way back."""
    black, white = gives["range"]
    levels = np.clip((values[0] - black) / (white - black) * 255, 0, 255).round().astype(np.uint8)
    return Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))


def main(model: str, source: str, target: str) -> None:
    """Translate one picture."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["imgtrans"])
    takes, gives = about["input"], about["output"]
    with Image.open(source) as picture:
        given = pixels_of(picture, takes)
    (made,) = session.run([gives["name"]], {takes["name"]: given})
    picture_of(made, gives).save(target)
    print(f"{about['source']} to {about['target']}: {target}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: python {sys.argv[0]} MODEL.onnx PICTURE TRANSLATED")
    main(*sys.argv[1:])
