"""Promises of the hidden world: optics that are not as the setup says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.support.optics_reference import dense_intensity, gauss

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.instrument.slm_mask import SlmGeometry, mask_levels
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.hidden import HiddenWorld, IndexLayer, draw_hidden
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build
from stedalign.spec import SpecError

MODES = ModeSet.default()
HIDDEN = draw_hidden(MODES, np.random.default_rng(4))
SAMPLING = Sampling(samples=9, pixel_nm=(90.0, 80.0, 120.0))
SECTION_AXES = ((1, 0), (2, 0), (2, 1))
PIXELS = [(0, 0, 8), (0, 3, 1), (1, 8, 2), (1, 4, 4), (2, 0, 7), (2, 6, 3)]


def make(*, sampling=SAMPLING, diameter_nm=0.0, beam=None, correction=None, objective=None, **hidden):
    """A simulated microscope with an open shutter whose hidden world differs in ``hidden``."""
    instrument = Instrument(
        objective=objective or Objective(),
        depletion=beam or Beam(),
        sampling=sampling,
        bead=Bead(diameter_nm=diameter_nm),
    )
    microscope = build(instrument, HiddenWorld(**(dict(HIDDEN) | hidden)), seed=0)
    microscope.shutter.open()
    if correction is not None:
        microscope.slm.show(mask_levels(SlmGeometry(), instrument.depletion.pattern, correction))
    return microscope


def places_nm():
    """The places (x, y, z) of ``PIXELS``, each (section, row, column)."""
    places = np.zeros((len(PIXELS), 3))
    for place, (plane, row, column) in zip(places, PIXELS, strict=True):
        axes = list(SECTION_AXES[plane])
        place[axes] = SAMPLING.axis_px[[row, column]] * np.array(SAMPLING.pixel_nm)[axes]
    return places


def at_pixels(sections):
    return np.array([sections[pixel] for pixel in PIXELS])


def seen_from(microscope, places):
    """The intensity in the middle of the field with the stage at each of the places."""
    seen = []
    for place in places:
        microscope.stage.move_to_nm(*place)
        seen.append(microscope.truth.intensity()[0, 4, 4])
    return np.array(seen)


@pytest.mark.parametrize(
    "nothing",
    [
        {"shear": (0.0, 0.0), "ez_weight": 1.0, "fill_center": (0.2, 0.1), "bead_diameter_nm": 80.0},
        {"halves_offset": (0.0, 0.0), "halves_tilt": (0.0, 0.0), "layer": None, "pinhole_airy": None},
    ],
)
def test_what_is_as_the_setup_says_changes_no_bit(nothing):
    plain, told = make(diameter_nm=80.0), make(diameter_nm=80.0, **nothing)
    assert np.array_equal(plain.source.acquire().data, told.source.acquire().data)


@pytest.mark.parametrize("diameter_nm", [0.0, 150.0])
def test_a_sheared_scan_sees_what_lies_beside_the_axis_far_from_the_focus(diameter_nm):
    shear = (0.2, -0.1)
    places = places_nm()
    places[:, :2] -= places[:, 2:] * shear
    expected = seen_from(make(diameter_nm=diameter_nm), places)
    found = at_pixels(make(diameter_nm=diameter_nm, shear=shear).truth.intensity())
    assert np.allclose(found, expected, rtol=0, atol=1e-4 if diameter_nm else 1e-9)


def detection(airy_units, places):
    """How much of the light from each place passes a pinhole: direct sums over dense pupil and pinhole."""
    radius_nm = airy_units * 1.22 * 775 / 1.4 / 2
    ring, width = gauss(np.array(0.0), np.array(radius_nm), 14)
    angle = 2 * np.pi * (np.arange(24) + 0.5) / 24
    hole = np.stack([np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle)), np.zeros((14, 24))], axis=-1)
    weight = np.repeat(ring * width, 24)
    spots = np.concatenate([np.zeros((1, 3)), places])
    points = (spots[:, None] + hole.reshape(-1, 3)).reshape(-1, 3)
    spot = sum(
        dense_intensity(
            Objective(),
            Beam(pattern=Flat(), polarization=Polarization(ellipticity_deg=0, azimuth_deg=azimuth)),
            [Wavefront.zero(MODES)],
            points,
            polar=24,
            around=48,
        )[0]
        for azimuth in (0, 90)
    )
    passed = spot.reshape(len(spots), -1) @ weight
    return passed[1:] / passed[0]


@pytest.mark.parametrize("airy_units", [0.2, 1.0, 3.0])
def test_a_pinhole_dims_each_point_as_the_convolved_spot_says(airy_units):
    # The focus stays at the origin of the scan, where the bead lies.
    open_, behind = (make(bead_nm=(0.0, 0.0, 0.0), pinhole_airy=airy).truth for airy in (None, airy_units))
    expected = at_pixels(open_.intensity()) * detection(airy_units, places_nm())
    assert np.allclose(at_pixels(behind.intensity()), expected, rtol=0, atol=2e-5)


def test_a_bead_behind_a_pinhole_is_the_average_of_its_points():
    radius, axis = 60.0, np.array([1.0, (1 + math.sqrt(5)) / 2]) / math.hypot(1, (1 + math.sqrt(5)) / 2)
    corners = [
        np.roll([0.0, first * axis[0], second * axis[1]], turn)
        for turn in range(3)
        for first in (-1, 1)
        for second in (-1, 1)
    ]
    # The center and an icosahedron average polynomials of degree 5 over the ball.
    offsets = radius * math.sqrt(5 / 7) * np.array([np.zeros(3), *corners])
    weights = np.array([4 / 25] + 12 * [7 / 100])
    sheared = {"pinhole_airy": 0.7, "shear": (0.1, 0.05)}
    point = make(**sheared)
    bead = make(diameter_nm=2 * radius, **sheared)
    for place in ((0.0, 0.0, 0.0), (200.0, -150.0, 250.0)):
        expected = weights @ seen_from(point, place + offsets)
        assert seen_from(bead, [place]) == pytest.approx(expected, abs=1e-3)


def test_a_wide_pinhole_is_an_open_one():
    wide = make(pinhole_airy=20.0).truth.intensity()
    assert np.allclose(wide, make().truth.intensity(), rtol=0.06, atol=0)


def test_a_bead_of_another_size_is_a_setup_with_that_bead():
    found = make(diameter_nm=80.0, bead_diameter_nm=150.0).truth.intensity()
    assert np.array_equal(found, make(diameter_nm=150.0).truth.intensity())


def reference(beam):
    """The sections of a point by the estimator's engine, which shares no propagation code with the simulator."""
    spec = ForwardSpec(beam=beam, bead=Bead(diameter_nm=0.0), sampling=SAMPLING)
    model = ForwardModel(spec, MODES, tolerance=2e-5, strength_waves=0.3).double()
    parameters = torch.tensor([[*HIDDEN.aberration.waves, *HIDDEN.bead_nm]], dtype=torch.float64)
    return model.intensity(parameters)[0].numpy()


OFF_CENTER = {"fill": 0.8, "fill_center": (0.2, -0.1)}


@pytest.mark.parametrize(
    ("told", "true", "hidden"),
    [
        (Beam(), Beam(**OFF_CENTER), OFF_CENTER),
        (Beam(**OFF_CENTER), Beam(**OFF_CENTER), {}),
        (Beam(stop_radius=0.4), Beam(stop_radius=0.4), {}),
        (Beam(overlay=Overlay(pattern=Flat())), Beam(overlay=Overlay(pattern=Flat())), {}),
    ],
)
def test_uneven_annular_and_overlaid_beams_agree_with_the_polar_engine(told, true, hidden):
    found, expected = make(beam=told, **hidden).truth.intensity(), reference(true)
    found = found * (found * expected).sum() / (found**2).sum()
    assert np.linalg.norm(found - expected) < 2e-3 * np.linalg.norm(expected)


def test_the_crest_of_an_ideal_overlay_is_one_and_a_correction_reaches_both_patterns():
    fine = Sampling(samples=65, pixel_nm=(16.0, 16.0, 16.0))
    overlaid = {"beam": Beam(overlay=Overlay(share=0.3)), "sampling": fine, "bead_nm": (0.0, 0.0, 0.0)}
    ideal = make(aberration=Wavefront.zero(MODES), **overlaid).truth.intensity()
    corrected = make(correction=-HIDDEN.aberration, **overlaid).truth.intensity()
    assert ideal.max() == pytest.approx(1, abs=1e-2)
    assert np.linalg.norm(corrected - ideal) < 2e-2 * np.linalg.norm(ideal)


def test_a_thin_layer_is_the_defocus_and_spherical_aberration_of_its_phase():
    objective, layer = Objective(na=1.2, back_aperture_mm=4.32), IndexLayer(thickness_nm=400.0, index=1.4)
    radius, weight = gauss(np.array(0.0), np.array(1.0), 60)
    sine = 1.2 * radius
    waves = layer.thickness_nm / 775 * (np.sqrt(1.4**2 - sine**2) - np.sqrt(1.518**2 - sine**2))
    modes = ModeSet.of([*((mode.n, mode.m) for mode in MODES), (2, 0), (6, 0), (8, 0), (10, 0)])
    # Orthonormal on the disk, whose area is pi.
    projected = modes.polynomials(radius, 0 * radius).T @ (2 * radius * weight * waves)
    symmetric = np.array([mode.m == 0 for mode in modes])
    alike = Wavefront(modes, tuple(np.where(symmetric, projected, 0.0)))
    without = Wavefront.zero(MODES)
    plain, expected = (make(objective=objective, aberration=it).truth.intensity() for it in (without, alike))
    found = make(objective=objective, layer=layer, aberration=without).truth.intensity()
    assert np.allclose(found, expected, rtol=0, atol=1e-4)
    assert not np.allclose(found, plain, rtol=0, atol=0.05)


def test_a_layer_of_the_immersion_s_index_is_none_and_one_of_air_takes_light():
    plain = make().truth.intensity()
    same = make(layer=IndexLayer(thickness_nm=5000.0, index=1.518)).truth.intensity()
    assert np.allclose(same, plain, rtol=0, atol=1e-12)
    assert make(layer=IndexLayer(thickness_nm=100.0, index=1.0)).truth.intensity().sum() < 0.95 * plain.sum()


def test_the_axial_field_counts_by_its_weight():
    none, half, one = (make(ez_weight=weight).truth.intensity() for weight in (0.0, 0.5, 1.0))
    assert np.allclose(half, (none + one) / 2, rtol=0, atol=1e-12)
    # What fills the zero of the wrong handedness is axial.
    wrong = Beam(polarization=Polarization(ellipticity_deg=-45.0))
    ideal = {"beam": wrong, "aberration": Wavefront.zero(MODES), "bead_nm": (0.0, 0.0, 0.0)}
    assert make(ez_weight=0.0, **ideal).truth.intensity()[0, 4, 4] < 1e-6
    assert make(ez_weight=1.0, **ideal).truth.intensity()[0, 4, 4] > 0.3


@pytest.mark.parametrize(("azimuth_deg", "side"), [(0.0, 1), (90.0, -1)])
def test_each_half_of_the_polarization_has_its_own_mask_and_tilt(azimuth_deg, side):
    linear = Beam(polarization=Polarization(ellipticity_deg=0.0, azimuth_deg=azimuth_deg))
    tilt = np.array([0.05, 0.3])
    halves = make(beam=linear, halves_offset=(0.1, -0.06), halves_tilt=tuple(tilt), mask_shift=(0.02, 0.0))
    # A slope of one wave per pupil radius moves the focus by wavelength over NA.
    moved = np.array(HIDDEN.bead_nm) - side * 775 / 1.4 * np.array([*tilt, 0.0])
    one = make(beam=linear, mask_shift=(0.02 + side * 0.1, -side * 0.06), bead_nm=tuple(moved))
    assert np.allclose(halves.truth.intensity(), one.truth.intensity(), rtol=0, atol=1e-9)


def test_halves_that_hardly_differ_are_one_beam():
    halves = make(halves_offset=(1e-9, 0.0)).truth.intensity()
    assert np.allclose(halves, make().truth.intensity(), rtol=0, atol=1e-9)


def test_the_correction_reaches_both_halves():
    correction = -HIDDEN.aberration
    dark = make(correction=correction, halves_tilt=(0.0, 1e-6), bead_nm=(0.0, 0.0, 0.0)).truth.intensity()
    assert dark[0, 4, 4] < 1e-3 < make(bead_nm=(0.0, 0.0, 0.0)).truth.intensity()[0, 4, 4]


def test_the_volume_holds_the_sections_of_all_that_is_hidden_together():
    everything = {
        "pixel_error": (0.1, -0.1, -0.27),
        "shear": (0.05, -0.08),
        "pinhole_airy": 1.0,
        "ez_weight": 0.7,
        "bead_diameter_nm": 60.0,
        "blur_nm": 15.0,
        "layer": IndexLayer(thickness_nm=200.0, index=1.4),
        "halves_offset": (0.05, 0.02),
        "halves_tilt": (0.02, 0.05),
        "second_bead_nm": (150.0, 90.0, -100.0),
    }
    world = make(diameter_nm=80.0, **everything).truth
    volume = world.volume()
    assert np.allclose(world.intensity(), [volume[4], volume[:, 4], volume[:, :, 4]], rtol=0, atol=1e-4)


def test_each_plane_of_a_volume_wobbles_by_itself_and_sections_do_not():
    fine = Sampling(samples=16, pixel_nm=(60.0, 60.0, 90.0))
    still, wobbling = (make(sampling=fine, wobble_nm=wobble).truth for wobble in (0.0, 4.0))
    plain, moved = still.volume(), wobbling.volume()
    inner = np.s_[:, 2:-2, 2:-2]
    slopes = np.stack([np.gradient(plain, 60.0, axis=axis)[inner].reshape(16, -1) for axis in (2, 1)], axis=-1)
    change = (moved - plain)[inner].reshape(16, -1)
    shifts = -np.stack([np.linalg.lstsq(*of_plane, rcond=None)[0] for of_plane in zip(slopes, change, strict=True)])
    assert np.linalg.norm(change + np.einsum("zpa,za->zp", slopes, shifts)) < 0.3 * np.linalg.norm(change)
    assert (shifts.std(axis=0) > 1).all()
    assert (shifts.std(axis=0) < 8).all()
    assert np.array_equal(wobbling.intensity(), still.intensity())


def test_each_plane_of_a_volume_has_its_own_light():
    still, flickering = (make(flicker=flicker).truth for flicker in (0.0, 0.1))
    ratio = flickering.volume() / still.volume()
    assert np.allclose(ratio, ratio[:, :1, :1], rtol=1e-9, atol=0)
    assert 0.03 < ratio[:, 0, 0].std() < 0.3
    assert np.array_equal(flickering.intensity(), still.intensity())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shear": (0.6, 0.0)}, "shear (0.6, 0.0) must lie between -0.5 and 0.5"),
        ({"halves_tilt": (0.0, float("nan"))}, "halves_tilt (0.0, nan) must lie between -2 and 2"),
        ({"halves_offset": (0.4, 0.4)}, "halves_offset (0.4, 0.4) is longer than 0.5 pupil radii"),
        ({"fill_center": (1.0, 0.4)}, "fill_center (1.0, 0.4) is longer than 1 pupil radii"),
        ({"pinhole_airy": 0.0}, "pinhole_airy = 0.0: Input should be greater than 0"),
    ],
)
def test_optics_that_cannot_be_are_refused_in_one_line(changes, words):
    with pytest.raises(SpecError) as refusal:
        HiddenWorld.parse({"aberration": HIDDEN.aberration, **changes})
    assert str(refusal.value) == words
