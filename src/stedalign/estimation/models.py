"""The forward models that estimates of one kind of image need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from stedalign.estimation.effects import EFFECTS, higher_modes
from stedalign.estimation.fit import FitResult
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import View
from stedalign.imaging.nuisances import SIGMAS, Nuisances
from stedalign.imaging.parameter_layout import ParameterLayout, ParameterValues
from stedalign.optics.beam import Beam
from stedalign.optics.parameters import PARAMETERS, UNEVENNESS
from stedalign.optics.resolution import bandwidth
from stedalign.optics.targets import AXES
from stedalign.optics.wavefront import ModeSet

TOLERANCE, ROUGH_TOLERANCE = 1e-2, 3e-2
"""Of the models, for the strongest wavefronts and blurs that they are for; at half of both they are good to 1e-3."""
WHOLE_TOLERANCE, WHOLE_WAVES = 3e-2, 0.2
"""Of the model with all effects: where it is less good, that looks like an effect."""
ORDINARY_WAVES, STRONG_WAVES = 0.2, 0.35
"""Strength of the wavefronts that the models are for: the stronger ones take twice the plane waves, and time."""
KEPT_MODELS = 6
"""How many kinds of images, over all instruments, are kept at hand."""


class Models:
    """The forward models of one instrument and view, each built on first use."""

    def __init__(self, spec: ForwardSpec, view: View, modes: ModeSet, nuisances: Nuisances) -> None:
        self.spec, self.view, self.modes, self.nuisances = spec, view, modes, nuisances
        self._rough: dict[tuple[str, tuple[tuple[str, float], ...]], ForwardModel] = {}

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
            unsteady=self.nuisances.unsteady,
        )

    @cached_property
    def whole(self) -> ForwardModel:
        """With all effects that an image may need, and higher modes."""
        free = dict(self.free)
        for effect in EFFECTS:
            for name, sigma in effect.sigmas.items():
                row = PARAMETERS[name]
                most = min(SIGMAS * sigma, row.plausible, row.largest(self.spec.beam))
                if most > 0 and (not row.axis or row.axis in self.view.axes):
                    free[name] = max(most, free.get(name, 0.0))
        return ForwardModel(
            self.spec,
            ModeSet((*self.modes, *higher_modes(self.modes))),
            view=self.view,
            free={name: free[name] for name in PARAMETERS if name in free},
            drifting=self.drifting,
            uneven=len(self.view.shape) == 2,
            binning=self.binning,
            tolerance=WHOLE_TOLERANCE,
            strength_waves=WHOLE_WAVES,
        )

    @property
    def rough(self) -> ForwardModel:
        """Of wavefront and shift alone, on as few pixels as show them."""
        return self.rough_of(self.spec.beam)

    def rough_of(self, beam: Beam, free: Mapping[str, float] | None = None) -> ForwardModel:
        """The same of another beam, with these parameters ``free``."""
        key = beam.model_dump_json(), tuple((free or {}).items())
        if key not in self._rough:
            self._rough[key] = ForwardModel(
                self.spec.model_copy(update={"beam": beam}),
                self.modes,
                view=self.view,
                free=free,
                binning=self._binning(1.0),
                tolerance=ROUGH_TOLERANCE,
                strength_waves=STRONG_WAVES,
            )
        return self._rough[key]

    def for_fit(self, solution: FitResult) -> ForwardModel:
        """The model that one fit ended with."""
        strong = self.is_strong(float(solution.parameters[0, self.layout.modes].norm()))
        return self.strong if strong else self.ordinary

    def in_whole(self, parameters: Float[Tensor, "images parameters"]) -> Float[Tensor, "images whole"]:
        """Parameters (B, P) of ``ordinary`` in the order of ``whole``, whose further ones are nominal."""
        values, layout = self.layout.unpack(parameters), self.whole.layout
        whole = ParameterValues(
            waves=functional.pad(values.waves, (0, len(layout.mode_set) - len(self.modes))),
            shift_nm=values.shift_nm,
            drift_nm=values.drift_nm,
            free=values.free.new_tensor(layout.nominal).repeat(len(parameters), 1),
            scale=values.scale,
            background=values.background,
            surface=values.scale.new_zeros(len(parameters), len(self.view.parts) * layout.uneven, len(UNEVENNESS)),
        )
        vectors = layout.pack(whole)
        vectors[:, layout.columns(self.layout.free_names)] = values.free
        return vectors

    def from_whole(self, covariance: Float[Tensor, "whole whole"]) -> Float[Tensor, "parameters parameters"]:
        """The part of a covariance of ``whole`` that belongs to the parameters of ``ordinary``."""
        ours, layout = self.layout, self.whole.layout
        columns = [
            *range(len(self.modes)),
            *range(layout.shift.start, layout.drift.stop),
            *layout.columns(ours.free_names),
            *range(layout.scale.start, layout.background.stop),
        ]
        return covariance[columns][:, columns]

    @property
    def binning(self) -> int:
        """How many pixels fit half the width of the finest detail, so that their sum tells as much as each."""
        return self._binning(0.5)

    def _binning(self, share: float) -> int:
        """How many pixels fit that share of the width of the finest detail, along every axis."""
        view, spec = self.view, self.spec
        widths = [
            share * np.pi / bandwidth(spec.objective, AXES[axis], spec.beam.wavelength_nm) / pixel
            for part in view.parts
            for axis, pixel in view.pixel_of(part).items()
        ]
        fitting = [step for step in (2, 4, 8) if step <= min(widths) and not any(n % step for n in view.shape)]
        return max(fitting, default=1)


@lru_cache(maxsize=KEPT_MODELS)
def models_of(spec: ForwardSpec, view: View, modes: ModeSet, nuisances: Nuisances) -> Models:
    """Those of an instrument and view, the same ones when asked again."""
    return Models(spec, view, modes, nuisances)
