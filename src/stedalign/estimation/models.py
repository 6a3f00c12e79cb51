"""The forward models that estimates of one kind of image need."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import View
from stedalign.imaging.nuisances import Nuisances
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.resolution import bandwidth
from stedalign.optics.targets import AXES
from stedalign.optics.wavefront import ModeSet

TOLERANCE, ROUGH_TOLERANCE = 1e-2, 3e-2
"""Of the models, for the strongest wavefronts and blurs that they are for; at half of both they are good to 1e-3."""
ORDINARY_WAVES, STRONG_WAVES = 0.2, 0.35
"""Strength of the wavefronts that the models are for: the stronger ones take twice the plane waves, and time."""
KEPT_MODELS = 6
"""How many kinds of images, over all instruments, are kept at hand."""


class Models:
    """The forward models of one instrument and view, each built on first use."""

    def __init__(self, spec: ForwardSpec, view: View, modes: ModeSet, nuisances: Nuisances) -> None:
        self.spec, self.view, self.modes, self.nuisances = spec, view, modes, nuisances

    @staticmethod
    def is_strong(rms_waves: float) -> bool:
        """Whether a wavefront takes the strong model."""
        return rms_waves > ORDINARY_WAVES

    @cached_property
    def ordinary(self) -> ForwardModel:
        """With all that the setup does not know for sure."""
        return self._with_nuisances(ORDINARY_WAVES)

    @cached_property
    def strong(self) -> ForwardModel:
        """The same for strong wavefronts."""
        return self._with_nuisances(STRONG_WAVES)

    @cached_property
    def free(self) -> dict[str, float]:
        """What the setup does not know for sure, with the largest deviations."""
        return self.nuisances.free(self.spec.beam, self.view.axes, self.spec.detection)

    @property
    def drifting(self) -> bool:
        """Whether the parts of the image may move against each other."""
        return self.nuisances.drift_nm > 0 and len(self.view.parts) > 1

    @cached_property
    def layout(self) -> ParameterLayout:
        """Of ``ordinary`` and ``strong``."""
        return ParameterLayout(
            self.spec.beam, self.modes, self.view.parts, tuple(self.free), self.drifting, self.spec.detection
        )

    def _with_nuisances(self, strength_waves: float) -> ForwardModel:
        return ForwardModel(
            self.spec,
            self.modes,
            view=self.view,
            free=self.free,
            drifting=self.drifting,
            binning=self.binning,
            tolerance=TOLERANCE,
            strength_waves=strength_waves,
        )

    @cached_property
    def rough(self) -> ForwardModel:
        """Of wavefront and shift alone, on as few pixels as show them."""
        return ForwardModel(
            self.spec,
            self.modes,
            view=self.view,
            binning=self._binning(1.0),
            tolerance=ROUGH_TOLERANCE,
            strength_waves=STRONG_WAVES,
        )

    @property
    def binning(self) -> int:
        """How many pixels fit half the width of the finest detail, so that their sum tells as much as each."""
        return self._binning(0.5)

    def _binning(self, share: float) -> int:
        """How many pixels fit that share of the width of the finest detail, along every axis."""
        view, spec = self.view, self.spec
        pixels = dict(zip("xyz", view.pixel_nm, strict=True))
        widths = [
            share * np.pi / bandwidth(spec.objective, AXES[axis], spec.beam.wavelength_nm) / pixels[axis]
            for axis in view.axes
        ]
        fitting = [step for step in (2, 4, 8) if step <= min(widths) and not any(n % step for n in view.shape)]
        return max(fitting, default=1)


@lru_cache(maxsize=KEPT_MODELS)
def models_of(spec: ForwardSpec, view: View, modes: ModeSet, nuisances: Nuisances) -> Models:
    """Those of an instrument and view, the same ones when asked again."""
    return Models(spec, view, modes, nuisances)
