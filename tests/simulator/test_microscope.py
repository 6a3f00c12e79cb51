"""Promises of the simulated microscope."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from stedalign.config import Setup
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.instrument.slm_mask import SlmGeometry, mask_levels
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.bead import ball_rule
from stedalign.simulator.hidden import HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.lens import CartesianLens
from stedalign.simulator.microscope import build, make_microscope

MODES = ModeSet.default()
SAMPLING = Sampling(samples=24, pixel_nm=(50.0, 50.0, 60.0))
GENERATOR = np.random.default_rng(5)
DIRECTION = GENERATOR.normal(size=len(MODES))
ABERRATION = Wavefront(MODES, tuple(0.12 * DIRECTION / np.linalg.norm(DIRECTION)))
SHIFT = (40.0, -25.0, 70.0)


def make(*, hidden=None, aberration=None, bead_nm=(0.0, 0.0, 0.0), seed=0, is_open=True, **parts):
    """A simulated microscope without aberration and with a centered bead, but for what is asked."""
    instrument = Instrument(**({"bead": Bead(diameter_nm=0.0), "sampling": SAMPLING} | parts))
    hidden = hidden or HiddenWorld(aberration=aberration or Wavefront.zero(MODES), bead_nm=bead_nm)
    microscope = build(instrument, hidden, seed)
    if is_open:
        microscope.shutter.open()
    return microscope


@cache
def reference(diameter_nm, aberration, shift_nm):
    """The three sections by the estimator's engine, which shares no propagation code with the simulator."""
    spec = ForwardSpec(bead=Bead(diameter_nm=diameter_nm), sampling=SAMPLING)
    model = ForwardModel(spec, MODES, tolerance=2e-5, strength_waves=0.13).double()
    parameters = torch.tensor([[*aberration.waves, *shift_nm]], dtype=torch.float64)
    return model.intensity(parameters)[0].numpy()


def errors(sections, expected):
    """Relative L2 error of each section after one common scale."""
    scale = (sections * expected).sum() / (sections**2).sum()
    return np.linalg.norm(scale * sections - expected, axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))


def crest_nm(section, pixel_nm):
    """Center of mass (column, row) of a section's brightest parts, in nm from the image's center."""
    weight = np.clip(section - 0.5 * section.max(), 0, None)
    axis = np.arange(len(section)) - (len(section) - 1) / 2
    return (
        (weight.sum(axis=0) @ axis) / weight.sum() * pixel_nm[0],
        (weight.sum(axis=1) @ axis) / weight.sum() * pixel_nm[1],
    )


@pytest.mark.parametrize("diameter_nm", [0.0, 80.0])
def test_the_lens_agrees_with_the_polar_engine_to_1e_4_for_an_ideal_phase(diameter_nm):
    beam = Beam()
    lens = CartesianLens(Objective(), beam.wavelength_nm, 2 * 67.2)
    phase = beam.pattern.phase(lens.x, lens.y) + 2 * np.pi * MODES.polynomials(lens.x, lens.y) @ ABERRATION.array
    waves = lens.waves(beam.polarization.jones, np.ones_like(lens.x), phase)
    ball = ball_rule(diameter_nm, lens.highest_frequency)
    axes = [SAMPLING.axis_px * pixel - shift for pixel, shift in zip(SAMPLING.pixel_nm, SHIFT, strict=True)]
    sections = np.stack(
        [
            lens.xy(waves, axes[0], axes[1], -SHIFT[2], ball),
            lens.xz(waves, axes[0], -SHIFT[1], axes[2], ball),
            lens.yz(waves, -SHIFT[0], axes[1], axes[2], ball),
        ]
    )
    assert errors(sections, reference(diameter_nm, ABERRATION, SHIFT)).max() < 1e-4


def test_the_microscope_agrees_with_the_polar_engine_to_3e_4_through_an_8_bit_mask():
    microscope = make(aberration=ABERRATION, bead_nm=SHIFT, bead=Bead())
    assert errors(microscope.truth.intensity(), reference(80.0, ABERRATION, SHIFT)).max() < 3e-4


def test_the_negative_aberration_on_the_mask_undoes_it():
    microscope = make(aberration=ABERRATION)
    microscope.slm.show(mask_levels(SlmGeometry(), Vortex(), -ABERRATION))
    assert errors(microscope.truth.intensity(), reference(0.0, Wavefront.zero(MODES), (0.0, 0.0, 0.0))).max() < 6e-4
    assert microscope.truth.residual(-ABERRATION).rms_waves == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"flip_x": True},
        {"rotation_deg": 30.0, "flip_y": True},
        {"half": "right", "pupil_center_px": (600.3, 280.8)},
        {"grating_period_px": (8.0, -11.0)},
        {"levels_per_2pi": 128.7},
    ],
)
def test_any_geometry_of_the_panel_gives_the_same_focus(changes):
    geometry = SlmGeometry(**changes)
    microscope = make(slm=geometry)
    microscope.slm.show(mask_levels(geometry, Vortex(), ABERRATION))
    assert errors(microscope.truth.intensity(), reference(0.0, ABERRATION, (0.0, 0.0, 0.0))).max() < 3e-3


def test_a_shifted_mask_is_the_pattern_s_mask_offset():
    shifted = Beam(pattern=Vortex(mask_offset=(0.06, -0.03)))
    model = ForwardModel(
        ForwardSpec(beam=shifted, bead=Bead(diameter_nm=0.0), sampling=SAMPLING), MODES, strength_waves=0.05
    )
    expected = model.intensity(torch.zeros(1, len(MODES) + 3))[0].numpy().astype(float)
    hidden = HiddenWorld(aberration=Wavefront.zero(MODES), mask_shift=(0.06, -0.03))
    assert errors(make(hidden=hidden).truth.intensity(), expected).max() < 3e-3


def test_the_ideal_crest_of_a_point_is_one():
    fine = Sampling(samples=65, pixel_nm=(10.0, 10.0, 10.0))
    assert make(sampling=fine).truth.intensity().max() == pytest.approx(1, abs=5e-3)


def test_matched_handedness_gives_a_zero_and_the_wrong_one_fills_it():
    centered = Sampling(samples=33, pixel_nm=(40.0, 40.0, 50.0))
    wrong = Beam(polarization=Polarization(ellipticity_deg=-45.0))
    assert make(sampling=centered).truth.intensity()[0, 16, 16] < 1e-6
    assert make(sampling=centered, depletion=wrong).truth.intensity()[0, 16, 16] > 0.3


@pytest.mark.parametrize(("mode", "axis"), [((1, 1), 0), ((1, -1), 1)])
def test_tilt_moves_the_focus_against_the_slope_by_2_wavelengths_over_na_a_wave(mode, axis):
    tilt = Wavefront(ModeSet.of([mode]), (0.1,))
    microscope = make(depletion=Beam(pattern=Flat()))
    microscope.slm.show(mask_levels(SlmGeometry(), Flat(), tilt))
    found = crest_nm(microscope.truth.intensity()[0], SAMPLING.pixel_nm)
    expected = [0.0, 0.0]
    expected[axis] = -2 * 0.1 * 775 / 1.4
    assert found == pytest.approx(expected, abs=2)


def test_a_bead_off_the_stage_s_position_moves_the_image_the_same_way():
    microscope = make(depletion=Beam(pattern=Flat()), bead_nm=(70.0, -50.0, 120.0))
    microscope.stage.move_to_nm(20.0, 10.0, 0.0)
    xy, xz, _ = microscope.truth.intensity()
    assert crest_nm(xy, SAMPLING.pixel_nm) == pytest.approx((50, -60), abs=2)
    assert crest_nm(xz, SAMPLING.pixel_nm[::2]) == pytest.approx((50, 120), abs=5)


def test_phase_moves_light_and_makes_none():
    wide = Sampling(samples=64, pixel_nm=(60.0, 60.0, 60.0))
    ideal, aberrated = (make(sampling=wide, aberration=a).truth.intensity()[0].sum() for a in (None, ABERRATION))
    assert aberrated == pytest.approx(ideal, rel=0.03)


def test_hidden_illumination_brings_the_same_power():
    hidden = HiddenWorld(aberration=Wavefront.zero(MODES), fill=0.8, amplitude=((1, 1, 0.2),))
    wide = Sampling(samples=64, pixel_nm=(60.0, 60.0, 60.0))
    # At high NA the focal power of a narrower beam differs a little: its flux is weighted by cos theta.
    uneven, even = (make(sampling=wide, hidden=world).truth.intensity()[0].sum() for world in (hidden, None))
    assert uneven == pytest.approx(even, rel=0.15)


def test_ellipticity_fills_the_zero():
    centered = Sampling(samples=33, pixel_nm=(40.0, 40.0, 50.0))
    hidden = HiddenWorld(aberration=Wavefront.zero(MODES), ellipticity_error_deg=6.0, ellipse_azimuth_deg=20.0)
    assert 1e-3 < make(sampling=centered, hidden=hidden).truth.intensity()[0, 16, 16] < 0.05


def test_the_volume_holds_the_sections():
    odd = Sampling(samples=9, pixel_nm=(60.0, 60.0, 80.0))
    world = make(sampling=odd, aberration=ABERRATION, bead=Bead(), bead_nm=SHIFT).truth
    volume = world.volume()
    assert np.allclose(world.intensity(), [volume[4], volume[:, 4], volume[:, :, 4]], rtol=0, atol=1e-4 * volume.max())


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    worlds = [
        make(seed=seed, hidden=HiddenWorld(aberration=ABERRATION, drift_nm=5.0), sampling=Sampling(samples=16))
        for seed in (1, 1, 2)
    ]
    first, again, other = ([w.source.acquire().data for _ in range(2)] for w in worlds)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_drift_moves_the_bead_between_sections_and_no_drift_leaves_it():
    moving = make(hidden=HiddenWorld(aberration=ABERRATION, drift_nm=5.0), sampling=Sampling(samples=8))
    moving.source.acquire()
    resting = make(sampling=Sampling(samples=8))
    resting.source.acquire()
    assert moving.truth.bead_nm != (0.0, 0.0, 0.0)
    assert resting.truth.bead_nm == (0.0, 0.0, 0.0)


def test_the_detector_clips_and_the_image_says_where():
    image = make(detector=Detector(photons=1000.0, saturation=200.0)).source.acquire()
    assert image.saturation == 200
    assert image.data.max() == 200
    assert image.simulated


def test_a_closed_shutter_leaves_only_background():
    microscope = make(is_open=False)
    assert microscope.source.acquire().data.mean() == pytest.approx(350 * 0.02, rel=0.05)
    assert not microscope.truth.volume().any()


@pytest.mark.parametrize("target", [(5000.1, 0.0, 0.0), (0.0, -6000.0, 0.0), (0.0, 0.0, float("nan"))])
def test_the_stage_refuses_to_leave_its_limits_and_stays(target):
    stage = make().stage
    stage.move_to_nm(1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="outside the stage's limits"):
        stage.move_to_nm(*target)
    assert stage.position_nm() == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("levels", [np.zeros((600, 791), np.uint8), np.zeros((600, 792))])
def test_the_panel_refuses_what_it_cannot_show(levels):
    with pytest.raises(ValueError, match="uint8 levels"):
        make().slm.show(levels)


def test_what_the_panel_shows_cannot_be_changed_from_outside():
    slm = make().slm
    levels = np.zeros(slm.shape, np.uint8)
    slm.show(levels)
    levels[:] = 9
    slm.shown()[:] = 9
    assert slm.shown().max() == 0


@pytest.mark.parametrize(
    ("objective", "beam", "words"),
    [
        (Objective(mapping="tangent"), Beam(), "the mapping 'tangent'"),
        (Objective(sample_index=1.33, sample_depth_nm=500.0), Beam(), "a sample of another index"),
        (Objective(), Beam(polarization=Polarization(kind="radial")), "radial polarization"),
        (Objective(), Beam(overlay=Overlay(polarization=Polarization(kind="azimuthal"))), "azimuthal polarization"),
        (Objective(apodization="uniform"), Beam(), "the apodization 'uniform'"),
    ],
)
def test_optics_that_it_would_leave_out_are_refused(objective, beam, words):
    with pytest.raises(ValueError, match=f"^the simulated microscope does not know {words}$"):
        make(objective=objective, depletion=beam)


def test_drawn_worlds_have_the_asked_strength():
    worlds = [make_microscope(Setup(sampling=SAMPLING), seed).truth.hidden for seed in range(12)]
    assert np.std([world.aberration.peak_waves for world in worlds]) == pytest.approx(0.1, rel=0.2)
    assert np.std([world.bead_nm for world in worlds], axis=0).max() < 250
