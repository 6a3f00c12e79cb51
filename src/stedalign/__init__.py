"""stedalign aligns the depletion beam of a STED microscope: a bead goes in, an aligned donut comes out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stedalign.version import __version__

_HOMES = {
    "Mode": "stedalign.optics.zernike",
    "ModeSet": "stedalign.optics.wavefront",
    "Wavefront": "stedalign.optics.wavefront",
    "OrthoSections": "stedalign.imaging.images",
    "Selection": "stedalign.formats.selection",
    "inspect": "stedalign.jobs.inspect",
    "load_sections": "stedalign.formats.stack",
    "load_stack": "stedalign.formats.stack",
    "Setup": "stedalign.config",
    "Estimate": "stedalign.estimation.estimate",
    "focus": "stedalign.jobs.focus",
    "focus_on": "stedalign.jobs.focus",
    "effective_spot": "stedalign.jobs.focus",
    "bound": "stedalign.jobs.bound",
    "Bounds": "stedalign.estimation.acquisition",
    "estimate": "stedalign.jobs.estimate",
    "estimate_both_beams": "stedalign.jobs.two_beams",
    "TwoBeamEstimate": "stedalign.estimation.two_beams",
    "align": "stedalign.jobs.align",
    "Alignment": "stedalign.jobs.align",
    "load_microscope": "stedalign.instrument.loading",
}

__all__ = [
    "Alignment",
    "Bounds",
    "Estimate",
    "Mode",
    "ModeSet",
    "OrthoSections",
    "Selection",
    "Setup",
    "TwoBeamEstimate",
    "Wavefront",
    "__version__",
    "align",
    "bound",
    "effective_spot",
    "estimate",
    "estimate_both_beams",
    "focus",
    "focus_on",
    "inspect",
    "load_microscope",
    "load_sections",
    "load_stack",
]

if TYPE_CHECKING:
    from stedalign.config import Setup
    from stedalign.estimation.acquisition import Bounds
    from stedalign.estimation.estimate import Estimate
    from stedalign.estimation.two_beams import TwoBeamEstimate
    from stedalign.formats.selection import Selection
    from stedalign.formats.stack import load_sections, load_stack
    from stedalign.imaging.images import OrthoSections
    from stedalign.instrument.loading import load_microscope
    from stedalign.jobs.align import Alignment, align
    from stedalign.jobs.bound import bound
    from stedalign.jobs.estimate import estimate
    from stedalign.jobs.focus import effective_spot, focus, focus_on
    from stedalign.jobs.inspect import inspect
    from stedalign.jobs.two_beams import estimate_both_beams
    from stedalign.optics.wavefront import ModeSet, Wavefront
    from stedalign.optics.zernike import Mode


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import stedalign`` takes no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stedalign' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, also those that were not asked for yet."""
    return __all__
