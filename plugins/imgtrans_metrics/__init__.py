"""What translations are measured by, and the networks that judge them.

Components only; they import what computes, and torch with it, in ``build``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtrans import hookimpl
from imgtrans_metrics.alone import Checkerboard, Content, CycleError, LuminanceCorrelation
from imgtrans_metrics.distances import FID, KID
from imgtrans_metrics.judges import EfficientNetLite0, Inception
from imgtrans_metrics.truths import LPIPS, PSNR, SSIM, ShiftTolerantLPIPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imgtrans import FeatureNetwork, Metric

__all__ = (
    "FID",
    "KID",
    "LPIPS",
    "PSNR",
    "SSIM",
    "Checkerboard",
    "Content",
    "CycleError",
    "EfficientNetLite0",
    "Inception",
    "LuminanceCorrelation",
    "ShiftTolerantLPIPS",
)


@hookimpl
def imgtrans_metrics() -> Mapping[str, type[Metric]]:
    """Against real images, against the truth, and of each translation by itself."""
    return {
        "kid": KID,
        "fid": FID,
        "psnr": PSNR,
        "ssim": SSIM,
        "lpips": LPIPS,
        "st-lpips": ShiftTolerantLPIPS,
        "cycle-error": CycleError,
        "content": Content,
        "luminance": LuminanceCorrelation,
        "checkerboard": Checkerboard,
    }


@hookimpl
def imgtrans_feature_networks() -> Mapping[str, type[FeatureNetwork]]:
    """The one that everybody can install, and the one of published figures."""
    return {"efficientnet-lite0": EfficientNetLite0, "inception": Inception}
