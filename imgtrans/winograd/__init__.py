"""3×3 convolutions on a processor with a quarter of the multiplications, in float32.

A block of 4×4 output pixels is computed from a patch of 6×6 input pixels. Transformed, patch,
filter and block are 36 numbers each, and the convolution is 36 products, where its definition has
144. With all channels and blocks these are 36 matrix products, which a processor does fastest of
all. It is F(4×4, 3×3) of Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016,
https://arxiv.org/abs/1509.09308. The gradients are the same linear steps transposed, in reverse.
What differs from torch's convolution is rounding, some three times as large as its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from imgtrans.winograd.blocks import convolution, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FastConvolutions", "convolution", "pays"]


class FastConvolutions(TorchFunctionMode):
    """While entered, ``conv2d`` is computed by `convolution` where that is faster.

    So the networks need not know, and those of plugins gain too. It concerns 3×3 convolutions
    without strides, groups or dilation, of float32 tensors on a processor, of sizes for which it
    `pays`; not under autocast, in compiled code, or in ``torch.func``.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Everything else is left as it is."""
        return (_conv2d if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,  # noqa: A002 - as torch names them
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    plain = groups == 1 and _both(stride) == _both(dilation) == (1, 1)
    plain = plain and input.ndim == weight.ndim and weight.shape[2:] == (3, 3)
    if plain and _both(padding) in {(0, 0), (1, 1)} and _ordinary(input, weight, bias):
        frame: int = _both(padding)[0]
        if pays(input, weight, frame):
            return convolution(input, weight, bias, frame)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _both(value: Any) -> tuple[Any, ...]:
    """Of height and width, what torch may be given as one."""
    values = (value,) if isinstance(value, (int, str)) else tuple(value)
    return values * 2 if len(values) == 1 else values


def _ordinary(*tensors: Tensor | None) -> bool:
    """Whether they are nothing but float32 numbers on a processor, computed with as they are."""
    return (
        all(
            type(tensor) in {Tensor, nn.Parameter}
            and tensor.device.type == "cpu"
            and tensor.dtype == torch.float32
            and forward_ad.unpack_dual(tensor).tangent is None
            for tensor in tensors
            if tensor is not None
        )
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()  # noqa: SLF001 - it has no public name
    )


def pays(images: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether `convolution` was measured to be faster than torch's for these sizes."""
    count, _, height, width = shape_of(images, weight, padding)
    blocks = count * -(-height // 4) * -(-width // 4)
    return min(weight.shape[:2]) >= 96 and blocks >= 64
