"""The convolution of some images with 3×3 filters, and its gradients.

Inside, channels come last. Blocks are worked on in parts, so many at once that the matrix products
are large and so few that what they work on stays in the processor's cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from imgtrans.winograd.transforms import (
    BLOCK,
    FILTER,
    PATCH,
    copied,
    flat,
    product,
    space,
    spectrum_of_filters,
    spectrum_of_patches,
    transform,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCKS_AT_ONCE: Final = 128


def convolution(images: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """What ``torch.conv2d`` gives with this padding; it can be differentiated as often.

    Args:
        images: ``N×C×H×W`` float on a processor, with any strides.
        weight: ``D×C×3×3``.
        bias: ``D``, or none.
        padding: how many rows and columns of zeros are around each image.

    Returns:
        ``N×D×H'×W'``, in the memory format that torch would choose.
    """
    result: Tensor = _Convolution.apply(images, weight, bias, padding)
    return result


def shape_of(images: Tensor, weight: Tensor, padding: int) -> tuple[int, int, int, int]:
    """What `convolution` returns has."""
    count, _, height, width = images.shape
    return count, len(weight), height + 2 * padding - 2, width + 2 * padding - 2


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, padding: int
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return _forward(images, weight, bias, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        *wanted, of_bias, _ = ctx.needs_input_grad
        # One that shall be differentiated again is torch's own, which knows how.
        compute = _differentiable if torch.is_grad_enabled() else _backward
        of_images, of_weight = compute(gradient, images, weight, ctx.padding, wanted)
        return of_images, of_weight, gradient.sum((0, 2, 3)) if of_bias else None, None


def _forward(images: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    result = torch.empty(
        shape_of(images, weight, padding),
        dtype=images.dtype,
        memory_format=_format(images, weight),
    )
    whole = _whole(result)
    blocks, patches = _blocks(whole), _patches(images, padding, whole)
    filters = spectrum_of_filters(weight)
    for part in _parts(blocks):
        products = product(spectrum_of_patches(patches[part]), filters, "products")
        found = transform(BLOCK, products, "blocks")
        if bias is not None:
            found += bias
        blocks[part] = found
    if whole.data_ptr() != result.data_ptr():
        height, width = result.shape[2:]
        result.copy_(whole[:, :height, :width].permute(0, 3, 1, 2))
    return result


def _backward(
    gradient: Tensor, images: Tensor, weight: Tensor, padding: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Of images and of weight, where it is wanted."""
    whole = _whole(gradient)
    if whole.data_ptr() != gradient.data_ptr():
        _fill(whole, gradient, 0)
    blocks, patches = _blocks(whole), _patches(images, padding, whole)
    filters = spectrum_of_filters(weight)
    count, height, width, _ = whole.shape
    sums = space("sums", filters.shape, weight).zero_()
    spread = space("spread", (count, height + 4, width + 4, images.shape[1]), images).zero_()
    for part in _parts(blocks):
        products = transform(BLOCK, copied(blocks[part]), "products", transposed=True)
        if wanted[1]:
            spectrum = spectrum_of_patches(patches[part])
            torch.baddbmm(flat(sums), flat(spectrum).mT, flat(products), out=flat(sums))
        if wanted[0]:
            spectrum = product(products, filters.mT, "spectrum")
            _add(transform(PATCH, spectrum, "patches", transposed=True), _blocks(spread), part)
    of_images = of_weight = None
    if wanted[0]:
        height, width = images.shape[2:]
        inner = spread[:, padding : padding + height, padding : padding + width]
        of_images = torch.empty_like(images).copy_(inner.permute(0, 3, 1, 2))
    if wanted[1]:
        found = transform(FILTER, sums, "filters", transposed=True)
        of_weight = torch.empty_like(weight).copy_(found.permute(3, 2, 0, 1))
    return of_images, of_weight


def _differentiable(
    gradient: Tensor, images: Tensor, weight: Tensor, padding: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    of_images, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient,
        images,
        weight,
        bias_sizes=None,
        stride=[1, 1],
        padding=[padding, padding],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[*wanted, False],
    )
    return of_images, of_weight


def _format(*tensors: Tensor) -> torch.memory_format:
    last = torch.channels_last
    if any(t.is_contiguous(memory_format=last) and not t.is_contiguous() for t in tensors):
        return last
    return torch.contiguous_format


def _whole(images: Tensor) -> Tensor:
    """``N×H×W×C`` of ``N×C×H×W``, with H and W rounded up to multiples of 4.

    A view where that is possible, else a space to be filled.
    """
    count, channels, height, width = images.shape
    whole = images.permute(0, 2, 3, 1)
    if height % 4 == width % 4 == 0 and whole.is_contiguous():
        return whole
    return space("whole", (count, height + -height % 4, width + -width % 4, channels), images)


def _patches(images: Tensor, padding: int, whole: Tensor) -> Tensor:
    """A view ``6×6×N×h×w×C``: what the blocks of ``whole`` are computed from, two pixels shared."""
    shape = (len(images), whole.shape[1] + 2, whole.shape[2] + 2, images.shape[1])
    framed = images.permute(0, 2, 3, 1)
    if framed.shape != shape or not framed.is_contiguous():
        framed = space("framed", shape, images)
        _fill(framed, images, padding)
    return framed.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)


def _fill(place: Tensor, images: Tensor, padding: int) -> None:
    """Images ``N×C×H×W`` into a larger ``N×H×W×C``, with zeros around."""
    bottom, right = (padding + size for size in images.shape[2:])
    place[:, :padding], place[:, bottom:] = 0, 0
    place[:, :, :padding], place[:, :, right:] = 0, 0
    place[:, padding:bottom, padding:right] = images.permute(0, 2, 3, 1)


def _blocks(whole: Tensor) -> Tensor:
    """A view ``4×4×N×h×w×C`` of ``N×4h×4w×C``."""
    blocks: Tensor = whole.unflatten(1, (-1, 4)).unflatten(3, (-1, 4))
    return blocks.permute(2, 4, 0, 1, 3, 5)


def _parts(blocks: Tensor) -> Iterator[tuple[slice, ...]]:
    """Some images, or where those have many blocks, some rows of blocks of one."""
    count, rows, columns = blocks.shape[2:5]
    images = max(1, BLOCKS_AT_ONCE // (rows * columns))
    at_once = max(1, BLOCKS_AT_ONCE // columns)
    every = slice(None)
    for image in range(0, count, images):
        for row in range(0, rows, at_once):
            yield every, every, slice(image, image + images), slice(row, row + at_once)


def _add(patches: Tensor, blocks: Tensor, part: tuple[slice, ...]) -> None:
    """Add patches where they lie; of blocks there is one more row and column than of patches."""
    *_, images, rows = part
    height, width = patches.shape[3:5]
    for down in (0, 1):
        for right in (0, 1):
            corner = patches[4 * down : 4 * down + 4, 4 * right : 4 * right + 4]
            tall, wide = corner.shape[:2]
            top = rows.start + down
            blocks[:tall, :wide, images, top : top + height, right : right + width] += corner
