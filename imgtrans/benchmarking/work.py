"""What operations cost: floating-point operations, and the bytes that they must at least move.

``Counting`` sees every operation that runs inside it, forward and backward, on numbers or on the
meta device. It counts

* a convolution or matrix product: two operations for each multiplication with its addition, and
  one reading of its input and of its weights, one writing of its result. Going backward it is one
  such product for each gradient that is asked for, and reads its three operands once;
* a normalisation: per value 5 operations forward (the mean 1, the variance 3, the scaling 1) and 9
  backward, each 2 and 1 more where it has weights. Like activations, losses and whatever else
  works value by value, it moves nothing: at best all of these happen while the numbers of a
  convolution are in the processor anyway;
* the optimizer, from ``adam``: 13 operations for each parameter that trains; it reads the
  parameter, its gradient and two moments, and writes all but the gradient.

So time that follows from these counts is a lower bound for any program that runs one convolution
after another. An algorithm with fewer multiplications, such as Winograd's, may beat it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

aten = torch.ops.aten

PRODUCTS: Final = ("convolution, forward", "convolution, backward", "matrix product")
"""The parts that a machine's matrix-product rate bounds."""


@dataclass(frozen=True)
class Operation:
    """One operation of a step."""

    part: str
    flops: int
    fixed_bytes: int = 0
    """Of weights: as many for any number of images."""
    image_bytes: int = 0
    gemm: tuple[int, int, int] | None = None
    """Rows, columns and inner length of the matrix product that a convolution is."""

    @property
    def bytes(self) -> int:
        """That it must at least move."""
        return self.fixed_bytes + self.image_bytes

    def scaled(self, factor: float) -> Operation:
        """The same for so many times more images."""
        if self.part == "optimizer":
            return self
        return replace(
            self,
            flops=round(self.flops * factor),
            image_bytes=round(self.image_bytes * factor),
        )


@dataclass(frozen=True)
class Work:
    """All operations of a step."""

    operations: tuple[Operation, ...]

    def flops(self, parts: Iterable[str] | None = None) -> int:
        """Floating-point operations, of some parts or of all."""
        return sum(o.flops for o in self.operations if parts is None or o.part in parts)

    @property
    def bytes(self) -> int:
        """The least that a step must move."""
        return sum(operation.bytes for operation in self.operations)

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """Operations and bytes by part."""
        names = dict.fromkeys(operation.part for operation in self.operations)
        return {
            name: (self.flops([name]), sum(o.bytes for o in self.operations if o.part == name))
            for name in names
        }

    def floor(self, flops_per_second: float, bytes_per_second: float) -> float:
        """Seconds that a step takes at least.

        The sum over its operations of what binds each, arithmetic or memory: one needs the result
        of another, so what one leaves unused does not help the next.
        """
        return sum(
            max(operation.flops / flops_per_second, operation.bytes / bytes_per_second)
            for operation in self.operations
        )

    def largest_gemms(self, count: int) -> list[tuple[int, int, int]]:
        """The shapes of matrix products that most arithmetic goes into."""
        flops: Counter[tuple[int, int, int]] = Counter()
        for operation in self.operations:
            if operation.gemm is not None:
                flops[operation.gemm] += operation.flops
        return [shape for shape, _ in flops.most_common(count)]

    def scaled(self, factor: float) -> Work:
        """The same for so many times more images."""
        return Work(tuple(operation.scaled(factor) for operation in self.operations))


def adam(parameters: int, bytes_each: int) -> Operation:
    """One step of Adam: moments 3 + 4 operations, the root of the second 3, the step itself 3."""
    return Operation("optimizer", 13 * parameters, 7 * bytes_each * parameters)


class Counting(TorchDispatchMode):
    """Notes every operation that runs inside."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run it, and note it if it counts."""
        del types
        made = func(*args, **(kwargs or {}))
        if (formula := _FORMULAS.get(func.overloadpacket)) is not None:
            self.operations.append(formula(args, made))
        return made


def _convolution(args: tuple[Any, ...], made: Tensor) -> Operation:
    images, weights, bias, *_, transposed, _, groups = args
    flops, gemm = _convolution_cost(images, weights, made, groups, transposed=transposed)
    return Operation(PRODUCTS[0], flops, _bytes(weights, bias), _bytes(images, made), gemm)


def _convolution_backward(args: tuple[Any, ...], made: tuple[Tensor | None, ...]) -> Operation:
    gradient, images, weights, *_, transposed, _, groups, wanted = args
    flops, gemm = _convolution_cost(images, weights, gradient, groups, transposed=transposed)
    to_images, to_weights, to_bias = made
    read = _bytes(images if wanted[1] else None, gradient)
    return Operation(
        PRODUCTS[1],
        flops * (wanted[0] + wanted[1]),
        _bytes(weights if wanted[0] else None, to_weights, to_bias),
        read + _bytes(to_images),
        gemm,
    )


def _convolution_cost(
    images: Tensor, weights: Tensor, made: Tensor, groups: int, *, transposed: bool
) -> tuple[int, tuple[int, int, int]]:
    """Each pixel of the output, or of the input if transposed, meets every weight of its group."""
    pixels = (images if transposed else made)[:, 0].numel()
    gemm = (weights.shape[0] // groups, pixels, prod(weights.shape[1:]))
    return 2 * groups * prod(gemm), gemm


def _product(first: int) -> Callable[[tuple[Any, ...], Tensor], Operation]:
    """A formula for two matrices, or two batches of them, from the argument ``first`` on."""

    def formula(args: tuple[Any, ...], made: Tensor) -> Operation:
        left, right = args[first : first + 2]
        flops = 2 * left.numel() * right.shape[-1]
        gemm = (left.shape[-2], right.shape[-1], left.shape[-1])
        added = args[0] if first else None
        return Operation(
            PRODUCTS[2], flops, image_bytes=_bytes(left, right, added, made), gemm=gemm
        )

    return formula


def _normalisation(
    values: int, each: int, weights: int, more: int
) -> Callable[[tuple[Any, ...], Any], Operation]:
    """A formula from where the values and the weights, if any, are among the arguments."""

    def formula(args: tuple[Any, ...], made: Any) -> Operation:
        del made
        count = each + more * (args[weights] is not None)
        return Operation("normalisation", count * args[values].numel())

    return formula


def _bytes(*tensors: Tensor | None) -> int:
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


_FORMULAS: Final[dict[Any, Callable[[tuple[Any, ...], Any], Operation]]] = {
    aten.convolution: _convolution,
    aten.convolution_backward: _convolution_backward,
    aten.mm: _product(0),
    aten.bmm: _product(0),
    aten.addmm: _product(1),
    aten.baddbmm: _product(1),
    aten.native_batch_norm: _normalisation(0, 5, 1, 2),
    aten.cudnn_batch_norm: _normalisation(0, 5, 1, 2),
    aten.native_group_norm: _normalisation(0, 5, 1, 2),
    aten.native_layer_norm: _normalisation(0, 5, 2, 2),
    aten.native_batch_norm_backward: _normalisation(1, 9, 2, 1),
    aten.cudnn_batch_norm_backward: _normalisation(0, 9, 2, 1),
    aten.native_group_norm_backward: _normalisation(1, 9, 4, 1),
    aten.native_layer_norm_backward: _normalisation(1, 9, 5, 1),
}
