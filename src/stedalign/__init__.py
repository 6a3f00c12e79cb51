"""stedalign aligns the depletion beam of a STED microscope: a bead goes in, an aligned donut comes out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Mode": "stedalign.optics.zernike",
    "ModeSet": "stedalign.optics.wavefront",
    "Wavefront": "stedalign.optics.wavefront",
    "OrthoSections": "stedalign.imaging.sections",
    "load_stack": "stedalign.formats.ome_tiff",
    "Setup": "stedalign.config",
    "Estimate": "stedalign.estimation.estimate",
    "focus": "stedalign.api",
    "focus_on": "stedalign.api",
    "effective_spot": "stedalign.api",
    "bound": "stedalign.api",
    "Bounds": "stedalign.estimation.acquisition",
    "estimate": "stedalign.api",
    "align": "stedalign.api",
    "Alignment": "stedalign.api",
    "load_microscope": "stedalign.instrument.loading",
}

__all__ = [
    "Alignment",
    "Bounds",
    "Estimate",
    "Mode",
    "ModeSet",
    "OrthoSections",
    "Setup",
    "Wavefront",
    "align",
    "bound",
    "effective_spot",
    "estimate",
    "focus",
    "focus_on",
    "load_microscope",
    "load_stack",
]

if TYPE_CHECKING:
    from stedalign.api import Alignment, align, bound, effective_spot, estimate, focus, focus_on
    from stedalign.config import Setup
    from stedalign.estimation.acquisition import Bounds
    from stedalign.estimation.estimate import Estimate
    from stedalign.formats.ome_tiff import load_stack
    from stedalign.imaging.images import OrthoSections
    from stedalign.instrument.loading import load_microscope
    from stedalign.optics.wavefront import ModeSet, Wavefront
    from stedalign.optics.zernike import Mode


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import stedalign`` takes no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stedalign' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
