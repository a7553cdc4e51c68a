"""The kinds of file: each as bytes, and as what those bytes make of images."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from safetensors.torch import load, save
from torch import Tensor

import imgtrans
from imgtrans.exporting.about import EXTRA_FILE, KEY
from imgtrans.exporting.tracing import quietly, traced, unexportable
from imgtrans.padding import padded
from imgtrans.problems import ImgtransError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imgtrans.inference import Translator

    Made = tuple[bytes, Callable[[Tensor], Tensor]]

Format = Literal["onnx", "torch-export", "safetensors"]

SUFFIXES: Final[Mapping[Format, str]] = {
    "onnx": ".onnx",
    "torch-export": ".pt2",
    "safetensors": ".safetensors",
}
"""How each format's files are named."""

ONNX_LIMIT: Final = 2 * 2**30 - 2**20
"""Bytes: a protobuf has at most 2 GiB; a mebibyte is left for the graph."""
ONNX_PACKAGES: Final = ("onnx", "onnxruntime", "onnxscript")


def needed(format_: Format) -> None:
    """Find the packages of a format.

    Raises:
        ImgtransError: one is missing.
    """
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if format_ == "onnx" and missing:
        message = f"{' and '.join(missing)} missing: pip install 'imgtrans[export]'"
        raise ImgtransError(message)


def onnx(model: Translator, direction: str, about: str) -> Made:
    """One ONNX file with the weights inside; it is run by ONNX Runtime.

    Raises:
        ImgtransError: it would be too large, or the generator has no form in ONNX.
    """
    weights = model.network(direction).state_dict().values()
    size = sum(each.numel() * each.element_size() for each in weights)
    if size > ONNX_LIMIT:
        message = (
            f"the weights of {direction} take {size / 2**30:.1f} GiB, and an ONNX file holds 2 GiB"
            "; use torch-export or safetensors"
        )
        raise ImgtransError(message)
    program = traced(model, direction)
    try:
        with quietly():
            made = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=["translated"]
            )
    except Exception as error:
        raise unexportable(direction, error) from error
    assert made is not None  # noqa: S101 - it is None only for the older exporter
    file = _described(made.model_proto, about).SerializeToString()
    session = _session(file)
    return file, lambda images: torch.from_numpy(
        session.run(["translated"], {"images": images.numpy()})[0]
    )


def _described(file: Any, about: str) -> Any:
    """With what its user must know, and without what its maker noted: names, places in sources."""
    graph = file.graph
    del graph.value_info[:]
    for each in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    for each in (*graph.input, *graph.output):
        for name, at in (("batch", 0), ("height", 2), ("width", 3)):
            each.type.tensor_type.shape.dim[at].dim_param = name
    file.producer_name, file.producer_version = "imgtrans", imgtrans.__version__
    file.metadata_props.add(key=KEY, value=about)
    return file


def _session(file: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def torch_export(model: Translator, direction: str, about: str) -> Made:
    """What ``torch.export.load`` reads.

    Raises:
        ImgtransError: the generator cannot be traced.
    """
    file = io.BytesIO()
    torch.export.save(traced(model, direction), file, extra_files={EXTRA_FILE: about})
    with quietly():
        loaded = torch.export.load(io.BytesIO(file.getvalue()))
    return file.getvalue(), loaded.module()


def safetensors(model: Translator, direction: str, about: str) -> Made:
    """The generator's own state dict, for programs that have the network."""
    weights = model.network(direction).state_dict()
    file = save({key: value.contiguous() for key, value in weights.items()}, {KEY: about})
    channels, multiple = model.channels, model.multiple
    network = model.recipe.generator.build(channels, channels)
    network.load_state_dict(load(file))
    network.eval()

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        made: Tensor = network(padded(images, multiple))
        return made[..., :height, :width]

    return file, run


MAKERS: Final[Mapping[Format, Callable[[Translator, str, str], Made]]] = {
    "onnx": onnx,
    "torch-export": torch_export,
    "safetensors": safetensors,
}
