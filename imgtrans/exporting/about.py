"""What a user of the file must know, as JSON within it: see ``docs/examples/run_onnx.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import imgtrans
from imgtrans.padding import padded_side

if TYPE_CHECKING:
    from imgtrans.inference import Translator

KEY: Final = "imgtrans"
"""Of the JSON: in ONNX's ``metadata_props``, in safetensors' metadata."""
EXTRA_FILE: Final = "imgtrans.json"
"""Of the JSON: among torch.export's ``extra_files``."""


def about(model: Translator, direction: str, format_: str) -> dict[str, Any]:
    """A description: what goes in, what comes out, and where it comes from."""
    source, target = model.recipe.domains
    if direction != model.directions[0]:
        source, target = target, source
    images = {
        "layout": "NCHW",
        "channels": model.channels,
        "colours": "RGB" if model.channels == 3 else "grey",
        "type": "float32",
        "range": [-1.0, 1.0],
    }
    return {
        "format": 1,
        "imgtrans": imgtrans.__version__,
        "recipe": model.recipe.name,
        "step": model.about.get("step"),
        "direction": direction,
        "source": source,
        "target": target,
        "training_size": model.recipe.dataset.image_size,
        "input": {**images, "name": "images", "from_8_bits": "value / 127.5 - 1"},
        "output": {**images, "name": "translated", "to_8_bits": "round((value + 1) * 127.5)"},
        "size": "any; the output's is the input's",
        "transparency": "what is transparent was seen over white in training",
        "padding": _padding(model.multiple, inside=format_ != "safetensors"),
    }


def _padding(multiple: int, *, inside: bool) -> dict[str, Any]:
    least = padded_side(1, multiple)
    how = (
        f"height and width become multiples of {multiple}, {least} at least, by reflection at the "
        "bottom and at the right, to and fro where they are small, without repeating the edge; the "
        "output is cut back"
    )
    return {"multiple": multiple, "least": least, "inside": inside, "how": how}
