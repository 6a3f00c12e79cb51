"""The focus of the depletion beam, and the spot that it leaves of the excitation."""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from stedalign.config.setup import Setup
from stedalign.errors import check_type
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import OrthoSections
from stedalign.optics.fluorophore import watts_per_cm2
from stedalign.optics.targets import Target
from stedalign.optics.wavefront import ModeSet, Wavefront


def focus(setup: Setup, wavefront: Wavefront, *, tolerance: float = 1e-5) -> OrthoSections:
    """Intensity of the depletion focus in three sections, relative to the crest without aberrations.

    No bead, no noise, no background; the relative L2 error stays below ``tolerance``. Raises ``InputError`` where the
    sections are too wide for it.
    """
    check_type("sa.focus", setup, Setup)
    check_type("sa.focus", wavefront, Wavefront)
    wavefront.check_range()
    planes = _intensity(_section_plan(setup.forward, wavefront.modes, tolerance, _strength(wavefront)), wavefront)
    samples = setup.sampling.samples
    return OrthoSections(np.stack(planes).reshape(3, samples, samples), setup.sampling.pixel_nm)


def focus_on(setup: Setup, wavefront: Wavefront, target: Target, *, tolerance: float = 1e-5) -> NDArray[np.float64]:
    """The same intensity on any target of ``stedalign.optics.targets``: a plane, a line, a volume, points.

    Shaped like the target; points give (P,). A volume [z, y, x] is ``section("zyx", samples, pixel_nm)``.
    """
    check_type("sa.focus_on", setup, Setup)
    check_type("sa.focus_on", wavefront, Wavefront)
    wavefront.check_range()
    check_type("sa.focus_on", target, *get_args(Target))
    strength = _strength(wavefront)
    plan = Focus(
        setup.objective, setup.depletion, wavefront.modes, [target], tolerance=tolerance, strength_waves=strength
    ).double()
    # Every plan is relative to its own brightest pixel, which may lie far from the crest.
    crest = _section_plan(setup.forward, wavefront.modes, tolerance, strength)
    (values,) = _intensity(plan, wavefront)
    return values.reshape(target.shape) * float(crest.scale / plan.scale)


def _strength(wavefront: Wavefront) -> float:
    return round(max(0.2, 1.25 * wavefront.rms_waves), 1)


def _intensity(plan: Focus, wavefront: Wavefront) -> list[NDArray[np.float64]]:
    with torch.no_grad():
        return [values[0].numpy() for values in plan(plan.aberrated(torch.from_numpy(wavefront.array)[None]))]


@lru_cache(maxsize=8)
def _section_plan(forward: ForwardSpec, modes: ModeSet, tolerance: float, strength_waves: float) -> Focus:
    return Focus(
        forward.objective,
        forward.beam,
        modes,
        forward.sampling.targets(),
        tolerance=tolerance,
        strength_waves=strength_waves,
    ).double()


def effective_spot(setup: Setup, wavefront: Wavefront) -> OrthoSections:
    """What fluoresces in three sections: the excitation spot, times what a depletion beam with ``wavefront`` leaves.

    Relative to the unquenched excitation's maximum; powers, pulses and saturation intensity come from the setup. The
    excitation is unaberrated. No bead, no detection.
    """
    check_type("sa.effective_spot", setup, Setup)
    check_type("sa.effective_spot", wavefront, Wavefront)
    wavefront.check_range()
    zero = Wavefront.zero(wavefront.modes)
    spot = focus(setup.model_copy(update={"depletion": setup.excitation}), zero, tolerance=1e-4)
    # Where the depletion is a hundred times the saturation intensity, so is the error of what it leaves.
    plan = _section_plan(setup.forward, wavefront.modes, 1e-6, _strength(wavefront))
    law = setup.fluorophore.law
    crest = watts_per_cm2(plan.pupil.power, setup.objective, setup.depletion, law) / float(plan.scale)
    depletion = np.stack(_intensity(plan, wavefront)).reshape(spot.data.shape)
    left = spot.data / spot.data.max() * setup.fluorophore.remaining(depletion * crest)
    return OrthoSections(left, setup.sampling.pixel_nm)
