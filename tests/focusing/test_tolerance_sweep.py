"""Beams, wavefronts and targets of all sorts against the slow reference, each at the tolerance it was planned for."""

import numpy as np
import pytest
import torch
from optics_reference import dense_intensity

from stedalign.focusing.focus import Focus
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import pattern_class
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import plane, section
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.default()
KINDS = "vortex", "top_hat", "half_moon", "bivortex", "flat"
TOLERANCES = 1e-2, 1e-3, 1e-4, 1e-5, 1e-6


def random_beam(kind, generator):
    # One mask in three is centered.
    offset, towards = max(0.0, generator.uniform(-0.2, 0.4)), generator.uniform(0, 2 * np.pi)
    drawn = {
        "charge": int(generator.choice([-2, -1, 1, 2])),
        "ring_radius": generator.uniform(0.4, 0.9),
        "step_waves": generator.uniform(0.3, 0.6),
        "mask_offset": (offset * np.cos(towards), offset * np.sin(towards)),
        "mask_rotation_deg": generator.uniform(-180, 180),
    }
    found = pattern_class(kind)
    pattern = found(**{name: value for name, value in drawn.items() if name in found.model_fields})
    ellipse = Polarization(ellipticity_deg=generator.uniform(-45, 45), azimuth_deg=generator.uniform(-90, 90))
    fill = generator.choice([np.inf, generator.uniform(0.6, 1.5)])
    return Beam(pattern=pattern, polarization=ellipse, fill=fill, fill_center=tuple(generator.uniform(-0.2, 0.2, 2)))


def random_objective(generator, mappings=("sine", "sine", "sine", "herschel", "uniform", "tangent")):
    na, index = generator.choice([(1.2, 1.333), (generator.uniform(0.7, 1.49), 1.518)], p=[0.25, 0.75])
    return Objective(na=na, immersion_index=index, back_aperture_mm=3.6 * na, mapping=generator.choice(mappings))


def random_targets(generator):
    samples, (x, y, z), tilt = int(generator.integers(16, 49)), generator.uniform(20, 60, 3), generator.uniform(0, 1.5)
    sections = [
        section(axes, (samples, samples), pixel) for axes, pixel in {"yx": (y, x), "zx": (z, x), "zy": (z, y)}.items()
    ]
    lifted = plane((0, 1, 0), (1, 0, 0), samples, x, center_nm=(0, 0, 250))
    tilted = plane((0, np.cos(tilt), np.sin(tilt)), (1, 0, 0), samples, x)
    volume = section("zyx", (12, 14, 16), (z, y, x))
    choice = generator.choice(4, p=[0.5, 0.2, 0.15, 0.15])
    return (sections, [lifted], [tilted], [volume])[choice]


@pytest.mark.parametrize("number", range(50))
def test_the_error_on_each_target_stays_below_the_tolerance(number):
    generator = np.random.default_rng(number)
    kind, tolerance = KINDS[number % 5], TOLERANCES[(number + number // 5) % 5]
    beam, objective, targets = random_beam(kind, generator), random_objective(generator), random_targets(generator)
    wavefront = Wavefront(MODES, tuple(generator.uniform(-0.15, 0.15, len(MODES))))
    strength = max(0.35, wavefront.rms_waves)
    focus = Focus(objective, beam, MODES, targets, tolerance=tolerance, strength_waves=strength)
    # The loose tolerances must survive single precision.
    focus = focus if tolerance >= 1e-4 and number % 2 else focus.double()
    parameters = torch.tensor([[*wavefront.waves, 0, 0, 0]], dtype=focus.basis.dtype)
    for target, (found,) in zip(targets, focus(parameters), strict=True):
        some = generator.permutation(len(found))[:100]
        (reference,) = dense_intensity(objective, beam, [wavefront], target.points_nm[some], 60, 120)
        error = found[some].double().numpy() / float(focus.scale) - reference
        assert np.linalg.norm(error) <= tolerance * np.linalg.norm(reference)


def steepest(strength_waves, count):
    """Of many random wavefronts those whose phase changes fastest towards the edge of the pupil."""
    random = np.random.default_rng(0).normal(size=(300, len(MODES)))
    random *= strength_waves / np.linalg.norm(random, axis=1, keepdims=True)
    phi = np.linspace(0, 2 * np.pi, 100)
    inner, edge = (MODES.polynomials(radius * np.cos(phi), radius * np.sin(phi)) for radius in (0.99, 1.0))
    return random[np.argsort(np.abs(random @ (edge - inner).T).max(axis=1))[-count:]]


@pytest.mark.parametrize(
    "modes", [ModeSet.report12(), ModeSet.of([(2, 2), (4, 4), (8, 0), (7, -5)])], ids=["12", "odd"]
)
def test_every_mode_alone_meets_the_tolerance_at_the_promised_strength(modes):
    target = section("yx", (32, 32), (30, 30))
    focus = Focus(Objective(), Beam(), modes, [target], tolerance=1e-4, strength_waves=0.35)
    waves = 0.35 * np.eye(len(modes))
    (found,) = focus(torch.from_numpy(np.hstack([waves, np.zeros((len(modes), 3))])))
    some = np.random.default_rng(1).permutation(found.shape[1])[:100]
    wavefronts = [Wavefront(modes, tuple(row)) for row in waves]
    reference = dense_intensity(Objective(), Beam(), wavefronts, target.points_nm[some], 80, 160)
    error = found[:, some].numpy() / float(focus.scale) - reference
    assert (np.linalg.norm(error, axis=1) / np.linalg.norm(reference, axis=1)).max() <= 1e-4


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_the_hardest_wavefronts_of_the_promised_strength_meet_the_tolerance(tolerance):
    targets = [section("yx", (32, 32), (30, 30)), section("zx", (32, 32), (45, 30))]
    focus = Focus(Objective(), Beam(), MODES, targets, tolerance=tolerance, strength_waves=0.35).double()
    waves = np.concatenate([0.35 * np.eye(len(MODES)), steepest(0.35, 9)])
    parameters = torch.from_numpy(np.hstack([waves, np.zeros((20, 3))]))
    for target, found in zip(targets, focus(parameters), strict=True):
        some = np.random.default_rng(1).permutation(found.shape[1])[:100]
        wavefronts = [Wavefront(MODES, tuple(row)) for row in waves]
        reference = dense_intensity(Objective(), Beam(), wavefronts, target.points_nm[some], 60, 120)
        error = found[:, some].numpy() / float(focus.scale) - reference
        assert (np.linalg.norm(error, axis=1) / np.linalg.norm(reference, axis=1)).max() <= tolerance
