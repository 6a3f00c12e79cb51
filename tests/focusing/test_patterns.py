"""Patterns that the package does not have, in the focus that users compute."""

from __future__ import annotations

import numpy as np
import pytest
from cross_pattern import Cross
from optics_reference import dense_intensity

import stedalign as sa
from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import TopHat


@pytest.mark.parametrize(
    ("pattern", "tolerance"),
    [(Cross(), 1e-5), (Cross(mask_rotation_deg=30.0, step_waves=0.4, mask_offset=(0.2, -0.1)), 1e-4)],
    ids=["centered", "displaced"],
)
def test_a_cross_shaped_step_meets_dense_quadrature(pattern, tolerance):
    setup = sa.Setup(sampling=Sampling(samples=24, pixel_nm=(50.0, 50.0, 60.0)))
    setup = setup.model_copy(update={"depletion": setup.depletion.model_copy(update={"pattern": pattern})})
    wavefront = sa.Wavefront(setup.modes, tuple(np.linspace(-0.05, 0.05, len(setup.modes))))
    found = sa.focus(setup, wavefront, tolerance=tolerance).data.ravel()
    points = np.concatenate([target.points_nm for target in setup.sampling.targets()])
    (expected,) = dense_intensity(setup.objective, setup.depletion, [wavefront], points, 60, 60)
    # The focus is relative to the crest, the reference in physical units.
    expected *= (found @ expected) / (expected @ expected)
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


class CrossInRings(Cross):
    """A cross with two rings, of which the outer one leaves the pupil where it is displaced."""

    kind: str = "test_patterns:CrossInRings"

    @property
    def rings(self):
        return 0.6, 0.3

    def phase(self, x, y, offset=None):
        inside = (TopHat(ring_radius=ring, mask_offset=self.mask_offset).phase(x, y, offset) for ring in self.rings)
        return super().phase(x, y, offset) + sum(inside)


@pytest.mark.parametrize("mapping", ["sine", "herschel"])
def test_the_rule_converges_spectrally_for_edges_and_several_rings_together(mapping):
    beam = Beam(pattern=CrossInRings(mask_rotation_deg=20.0, mask_offset=(0.4, -0.25)))
    points = np.random.default_rng(0).uniform(-500, 500, size=(40, 3))
    coarser, coarse, finest = (
        sample_pupil(Objective(mapping=mapping), beam, radial, 8 * radial).intensity(points) for radial in (6, 12, 24)
    )
    assert np.linalg.norm(coarser - finest) < 1e-2 * np.linalg.norm(finest)
    assert np.linalg.norm(coarse - finest) < 1e-7 * np.linalg.norm(finest)
