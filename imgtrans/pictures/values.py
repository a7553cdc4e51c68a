"""Pictures as Python programs hold them: PIL, numpy or torch in, the same kind out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from imgtrans.pictures.samples import alpha_of, over_white, with_channels
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable


def pixels_of(image: Any, channels: int) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """``C×H×W`` for a network (uint8, uint16 or float in [0, 1]), and the way back.

    Args:
        image: a PIL image; a numpy array ``H×W`` or ``H×W×C``; or a tensor ``C×H×W``. Arrays and
            tensors are uint8, uint16 or float in [0, 1]; C is 1, 3, or one more for alpha.
        channels: of the network: 1 or 3.

    Raises:
        ImgtransError: it is none of these; the text says what is wrong.
    """
    if isinstance(image, Image.Image):
        return _of_pil(image, channels)
    if isinstance(image, np.ndarray):
        return _of_array(image, channels)
    if isinstance(image, Tensor):
        if image.ndim != 3:
            raise ImgtransError(_shapes(tuple(image.shape)))
        pixels, back = _of_array(image.detach().cpu().permute(1, 2, 0).numpy(), channels)
        return pixels, lambda made: torch.from_numpy(
            np.ascontiguousarray(back(made).transpose(2, 0, 1))
        )
    message = f"a picture is a PIL image, a numpy array or a tensor, not a {type(image).__name__}"
    raise ImgtransError(message)


def quantised(made: Tensor, like: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """``…C×H×W`` in [-1, 1] as ``…H×W×C`` of a type: whole levels, or float in [0, 1]."""
    above = made.float().add(1).movedim(-3, -1)
    if np.issubdtype(like, np.floating):
        unit = above.div_(2).clamp_(0, 1)
        floats: np.ndarray[Any, Any] = unit.contiguous().cpu().numpy().astype(like)
        return floats
    most = np.iinfo(like).max
    levels = above.mul_(most / 2).clamp_(0, most).round_()
    if levels.device.type != "cpu":  # fewer bytes to bring here; on a processor numpy is faster
        levels = levels.to(torch.uint8 if like == np.uint8 else torch.int32)
    samples: np.ndarray[Any, Any] = levels.cpu().numpy().astype(like, order="C")
    return samples


def _shapes(shape: tuple[int, ...]) -> str:
    return (
        "a picture is H×W or H×W×C as an array, C×H×W as a tensor, with C from 1 to 4, not "
        f"{'×'.join(map(str, shape)) or 'a number'}; translate several with .translate"
    )


def _of_array(
    array: np.ndarray[Any, Any], channels: int
) -> tuple[Tensor, Callable[[Tensor], np.ndarray[Any, Any]]]:
    samples = array[..., None] if array.ndim == 2 else array
    if samples.ndim != 3 or not 1 <= samples.shape[2] <= 4 or not samples.size:
        raise ImgtransError(_shapes(array.shape))
    floating = np.issubdtype(samples.dtype, np.floating)
    if not floating and samples.dtype not in (np.uint8, np.uint16):
        message = f"a picture is uint8, uint16 or float in [0, 1], not {samples.dtype}"
        raise ImgtransError(message)
    if floating and not (samples.min() >= 0 and samples.max() <= 1):
        message = (
            f"a picture of floats is in [0, 1], this one in [{samples.min():.3g}, "
            f"{samples.max():.3g}]; images in [-1, 1] are for .translate"
        )
        raise ImgtransError(message)
    alpha = alpha_of(samples)
    seen = _floats_over_white(samples) if floating else over_white(samples)
    seen = _float_channels(seen, channels) if floating else with_channels(seen, channels)

    def back(made: Tensor) -> np.ndarray[Any, Any]:
        result = quantised(made, array.dtype)
        if alpha is not None:
            result = np.concatenate((result, alpha), axis=2)
        return result[..., 0] if array.ndim == 2 and result.shape[2] == 1 else result

    return torch.from_numpy(np.array(seen.transpose(2, 0, 1), order="C")), back


def _floats_over_white(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if samples.shape[2] in (1, 3):
        return samples
    alpha = samples[..., -1:]
    laid: np.ndarray[Any, Any] = samples[..., :-1] * alpha + (1 - alpha)
    return laid


def _float_channels(samples: np.ndarray[Any, Any], channels: int) -> np.ndarray[Any, Any]:
    if samples.shape[2] == channels:
        return samples
    if samples.shape[2] == 1:
        return np.repeat(samples, channels, axis=2)
    grey: np.ndarray[Any, Any] = samples @ np.array([[0.299], [0.587], [0.114]], samples.dtype)
    return grey  # ITU-R 601


def _of_pil(image: Image.Image, channels: int) -> tuple[Tensor, Callable[[Tensor], Image.Image]]:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        message = f"a picture of mode {image.mode} has no set black and white; convert it to L"
        raise ImgtransError(message)
    if image.mode.startswith("I;16"):
        array = np.array(image).astype(np.uint16)
    elif image.has_transparency_data:
        array = np.array(image.convert("RGBA"))
    else:
        array = np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    pixels, back = _of_array(array, channels)

    def picture(made: Tensor) -> Image.Image:
        samples = back(made)
        if samples.dtype == np.uint16 and samples.ndim == 3:  # PIL has no 16-bit colour
            samples = (samples >> 8).astype(np.uint8)
        return Image.fromarray(samples)

    return pixels, picture
