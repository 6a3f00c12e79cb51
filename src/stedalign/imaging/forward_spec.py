"""Everything that decides how an image of an unaberrated focus looks, and how two such descriptions are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from stedalign.imaging.detector import Bead
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.detection import Detection
from stedalign.optics.objective import Objective
from stedalign.optics.patterns.upgrade import upgraded
from stedalign.optics.wavefront import ModeSet
from stedalign.recorded import differences
from stedalign.spec import Spec, SpecError


class ForwardSpec(Spec):
    """Everything that decides how the image of an unaberrated focus looks."""

    objective: Objective = Objective()
    beam: Beam = Beam()
    bead: Bead = Bead()
    detection: Detection = Detection()
    sampling: Sampling = Sampling()

    @classmethod
    def recorded(cls, data: Mapping[str, Any]) -> ForwardSpec:
        """What a file was made for, whichever version recorded it. Raises ``SpecError`` as ``parse``."""
        return cls.parse(upgraded(data))

    @property
    def image(self) -> dict[str, Any]:
        """The description, as plain data, less what does not change the image: laser power, pulses, places of files.

        What a file holds is told by its fingerprint.
        """
        where: dict[str, Any] = {"pattern": {"file"}, "polarization": {"file"}}
        inert = dict.fromkeys(("power_w", "repetition_rate_hz", "pulse_length_s", "transmittance"), True)
        plain: dict[str, Any] = json.loads(
            json.dumps(self.model_dump(exclude={"beam": inert | where | {"overlay": where}}))
        )
        return plain

    @property
    def hash(self) -> str:
        """A fingerprint of ``image``."""
        return hashlib.sha256(json.dumps(self.image, sort_keys=True).encode()).hexdigest()[:16]


def optics_disagreement(
    recorded_spec: Mapping[str, Any], recorded_modes: ModeSet | None, forward: ForwardSpec, modes: ModeSet | None
) -> str | None:
    """One clause that names both values where a file was made for another optics, sampling or mode set.

    Descriptions are compared, not fingerprints: a key that a later version added has its default, which must mean
    what was before, so that older files stay good. ``modes`` None asks for none in particular.
    """
    try:
        recorded = ForwardSpec.recorded(recorded_spec)
    except SpecError as error:
        return f"for optics that this version does not know ({error})"
    disagreement = differences(recorded.image, forward.image)
    if disagreement:
        return f"for {disagreement[0]}, this setup has {disagreement[1]}"
    if modes is not None and recorded_modes is None:
        return f"for the mask offset alone, this setup asks for the modes {modes}"
    if modes is not None and recorded_modes != modes:
        return f"for the modes {recorded_modes}, this setup has {modes}"
    return None
