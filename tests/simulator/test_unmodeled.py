"""Promises of what the simulated microscope does outside every model."""

from __future__ import annotations

import numpy as np
import pytest

from stedalign.imaging.detector import Detector
from stedalign.imaging.images import Sampling
from stedalign.instrument.slm_mask import SlmGeometry, mask_levels
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat, Vortex
from stedalign.optics.wavefront import ModeSet, Wavefront
from stedalign.simulator.hidden import HiddenWorld, draw_hidden
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.lens import CartesianLens
from stedalign.simulator.microscope import build
from stedalign.simulator.panel_phase import PanelPhase
from stedalign.simulator.unmodeled import EFFECTS, Unmodeled, draw_flatness, draw_unmodeled

MODES = ModeSet.default()
HIDDEN = draw_hidden(MODES, np.random.default_rng(4))
SAMPLING = Sampling(samples=24, pixel_nm=(60.0, 60.0, 60.0))
AXES_NM = (60.0 * SAMPLING.axis_px,) * 2
FLAT = np.full((24, 24), 0.3)


def make(photons=350.0, **hidden):
    """A simulated microscope with an open shutter whose hidden world differs in ``hidden``."""
    instrument = Instrument(sampling=SAMPLING, detector=Detector(photons=photons, saturation=1e9))
    microscope = build(instrument, HiddenWorld(**(dict(HIDDEN) | hidden)), seed=0)
    microscope.shutter.open()
    return microscope


def spoiled(seed=0, **effects):
    """What the effects make of an even section."""
    return Unmodeled(**effects).spoil(FLAT, AXES_NM, np.random.default_rng(seed))


def test_no_effect_changes_no_bit():
    told = make(unmodeled=Unmodeled())
    assert np.array_equal(told.source.acquire().data, make().source.acquire().data)
    assert np.array_equal(spoiled(), FLAT)


@pytest.mark.parametrize("blur_nm", [0.0, 20.0])
def test_lines_that_hardly_jitter_are_the_sections(blur_nm):
    still, hardly = make(blur_nm=blur_nm).truth, make(blur_nm=blur_nm, unmodeled=Unmodeled(line_jitter_nm=1e-6)).truth
    assert np.allclose(hardly.intensity(), still.intensity(), rtol=0, atol=3e-5)


def test_jitter_moves_lines_along_x_in_xy_and_xz_and_along_y_in_yz():
    still, jittered = (make(unmodeled=Unmodeled(line_jitter_nm=jitter)).truth.intensity() for jitter in (1e-6, 3.0))
    slope = np.gradient(still, 60.0, axis=2)
    shift = -((jittered - still) * slope).sum(axis=2) / (slope**2).sum(axis=2)
    left = jittered - still + shift[..., None] * slope
    assert np.linalg.norm(left) < 0.3 * np.linalg.norm(jittered - still)
    assert 1 < np.std(shift) < 6


def test_what_is_drawn_is_drawn_anew_for_each_section_and_image_but_alike_for_the_truth():
    microscope = make(photons=1e6, unmodeled=Unmodeled(fringes=0.05))
    plain = make().truth.intensity()
    first, again = (microscope.truth.intensity() - plain for _ in range(2))
    assert np.array_equal(first, again)
    assert np.abs(np.corrcoef(first.reshape(3, -1))[np.triu_indices(3, 1)]).max() < 0.9
    one, another = (microscope.source.acquire().data / 1e6 for _ in range(2))
    assert np.abs(one - another).mean() > 0.01


def test_fringes_are_one_wave_of_their_amplitude():
    for seed in range(20):
        added = spoiled(seed, fringes=0.02) - FLAT
        assert added.min() >= 0
        assert added.max() <= 0.04
        # A plane wave obeys f'' = -q^2 f along each axis, here as differences.
        wave = added - 0.02
        for axis in (0, 1):
            inner = np.take(wave, range(1, 23), axis)
            neighbors = np.take(wave, range(22), axis) + np.take(wave, range(2, 24), axis)
            ratio = (neighbors * inner).sum() / (inner**2).sum()
            assert np.allclose(neighbors, ratio * inner, rtol=0, atol=1e-12)
            assert abs(ratio) <= 2


def test_the_baseline_is_a_surface_of_second_order_of_its_height():
    y, x = np.meshgrid(*AXES_NM, indexing="ij")
    terms = np.stack([x**0, x, y, x**2, x * y, y**2], axis=-1).reshape(-1, 6) / [1, 1e3, 1e3, 1e6, 1e6, 1e6]
    for seed in range(5):
        added = spoiled(seed, baseline=0.03) - FLAT
        assert added.min() == pytest.approx(0, abs=1e-12)
        assert np.ptp(added) == pytest.approx(0.03)
        _, left, *_ = np.linalg.lstsq(terms, added.ravel(), rcond=None)
        assert left[0] < 1e-20


def test_hot_and_dead_pixels_bad_and_junk_lines_are_as_many_as_asked():
    count = FLAT.size
    assert (spoiled(hot_pixels=0.1) >= 0.5).sum() == pytest.approx(0.1 * count, rel=0.4)
    assert (spoiled(dead_pixels=0.1) == 0).sum() == pytest.approx(0.1 * count, rel=0.4)
    bad = spoiled(bad_lines=2) != FLAT
    assert (bad.all(axis=1) | ~bad.any(axis=1)).all()
    assert bad.any(axis=1).sum() == 2
    junk = spoiled(junk_lines=2) != FLAT
    assert junk[:2].all()
    assert junk[:, :2].all()
    assert not junk[2:, 2:].any()


def test_crosstalk_leaves_even_levels_and_takes_light_out_of_a_grating():
    lens, sigma = CartesianLens(Objective(), 775.0, 2 * 67.2), 0.6
    plain, coupled = (PanelPhase(lens, SlmGeometry(), 2, (0.0, 0.0), blur) for blur in (0.0, sigma))
    even = np.full(SlmGeometry().shape, 60, np.uint8)
    assert np.allclose(coupled.factor(even), plain.factor(even), rtol=0, atol=1e-12)

    geometry = SlmGeometry(grating_period_px=(8.0, 0.0))
    gratings = [PanelPhase(lens, geometry, 2, (0.0, 0.0), blur) for blur in (0.0, sigma)]
    levels = mask_levels(geometry, Flat(), Wavefront.zero(MODES))
    inside = lens.area > lens.area.max() / 2
    ideal, left = (abs(panel.factor(levels)[inside].mean()) for panel in gratings)
    # One period by itself: the blurred sawtooth's part in the first order.
    saw = np.tile(np.arange(8) / 8, 9)
    reach = np.arange(-4, 5)
    kernel = np.exp(-((reach / sigma) ** 2) / 2)
    blurred = np.convolve(saw, kernel / kernel.sum(), mode="same")[32:40]
    expected = abs(np.exp(2j * np.pi * (blurred - np.arange(8) / 8)).mean())
    assert ideal == pytest.approx(1, abs=1e-3)
    assert left == pytest.approx(expected, abs=5e-3)
    assert left < 0.9


def test_crosstalk_spoils_the_focus_where_the_mask_jumps_by_a_wave():
    plain, coupled = (make(unmodeled=Unmodeled(crosstalk_px=blur)) for blur in (0.0, 0.5))
    before, after = (microscope.truth.intensity() for microscope in (plain, coupled))
    assert 1e-3 < np.abs(after - before).max() < 0.2
    for microscope in (plain, coupled):
        microscope.slm.show(mask_levels(SlmGeometry(), Flat(), Wavefront.zero(MODES)))
    assert np.allclose(plain.truth.intensity(), coupled.truth.intensity(), rtol=0, atol=1e-12)


def test_flatness_is_a_wavefront_of_high_orders_that_adds_to_the_hidden_one():
    flatness = draw_flatness(np.random.default_rng(3), 0.03)
    assert flatness.rms_waves == pytest.approx(0.03)
    assert {mode.n for mode in flatness.modes} == {5, 6, 7, 8}
    both = Wavefront(
        ModeSet.of([(mode.n, mode.m) for mode in (*MODES, *flatness.modes)]),
        (*HIDDEN.aberration.waves, *flatness.waves),
    )
    found, expected = make(unmodeled=Unmodeled(flatness=flatness)), make(aberration=both)
    assert np.allclose(found.truth.intensity(), expected.truth.intensity(), rtol=0, atol=1e-12)
    assert found.truth.residual(-HIDDEN.aberration).rms_waves == 0


def test_the_corrected_mask_undoes_flatness_and_nothing_else_does():
    flatness = draw_flatness(np.random.default_rng(3), 0.03)
    world = make(unmodeled=Unmodeled(flatness=flatness), aberration=Wavefront.zero(MODES))
    ideal = make(aberration=Wavefront.zero(MODES)).truth.intensity()
    assert np.abs(world.truth.intensity() - ideal).max() > 0.02
    world.slm.show(mask_levels(SlmGeometry(), Vortex(), -flatness))
    assert np.allclose(world.truth.intensity(), ideal, rtol=0, atol=5e-3)


def test_all_effects_hold_for_sections_and_volumes_and_are_drawn_by_name():
    world = make(unmodeled=draw_unmodeled(np.random.default_rng(0))).truth
    plain = make().truth.volume()
    assert world.intensity().min() >= 0
    assert world.volume().shape == plain.shape
    assert not np.isclose(world.volume(), plain).all(axis=(1, 2)).any()
    assert draw_unmodeled(np.random.default_rng(0), ["fringes"]) == Unmodeled(fringes=0.02)
    with pytest.raises(ValueError, match=f"^no effect is called 'dust'; known: {', '.join(EFFECTS)}$"):
        draw_unmodeled(np.random.default_rng(0), ["dust"])
