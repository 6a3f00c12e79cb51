"""What a file says of the microscope against what the setup says."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stedalign.config.setup import Setup
from stedalign.formats.facts import Facts

INDICES = {
    "oil": (1.50, 1.53),
    "water": (1.32, 1.35),
    "glycerol": (1.43, 1.48),
    "silicone": (1.39, 1.42),
    "air": (1, 1.01),
}
"""The refractive indices that an immersion medium can have."""
SAME_WAVELENGTH_NM = 3.0
SAME_PINHOLE = 0.2
"""How far pinholes may differ, as a fraction; what they are in Airy units depends on the wavelength that was meant."""
TWO_PI_KEY = "slm/twopi_gray_level"


def differences(facts: Facts, setup: Setup) -> Iterator[str]:
    """Sentences, one for each difference."""
    objective, nm = setup.objective, setup.depletion.wavelength_nm
    if facts.na is not None and abs(facts.na - objective.na) > 0.005:
        yield f"the file is of an objective of NA {facts.na:g}, the setup says {objective.na:g}"
    low, high = INDICES.get(facts.immersion, (0, math.inf))
    if not low <= objective.immersion_index <= high:
        yield f"the file is of an objective for {facts.immersion}, the setup's index is {objective.immersion_index:g}"
    waves = [laser.wavelength_nm for laser in facts.lasers]
    if waves and min(abs(wave - nm) for wave in waves) > SAME_WAVELENGTH_NM:
        lasers = ", ".join(f"{wave:g}" for wave in waves)
        yield f"the file is of lasers of {lasers} nm, the setup's depletion beam has {nm:g} nm"
    if facts.pinhole_airy and abs(facts.pinhole_airy / setup.detection.pinhole_airy - 1) > SAME_PINHOLE:
        ours = setup.detection.pinhole_airy
        words = "an open one" if math.isinf(ours) else f"{ours:g}"
        yield f"the file is of a pinhole of {facts.pinhole_airy:.2g} Airy units, the setup says {words}"
    levels = facts.slm.get(TWO_PI_KEY, "")
    if levels.isdigit() and abs(int(levels) - setup.slm.levels_per_2pi) > 0.5:
        yield f"the file is of an SLM with {levels} gray levels per wave, the setup says {setup.slm.levels_per_2pi:g}"
