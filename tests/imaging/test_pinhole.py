"""The confocal pinhole in the forward model, against direct sums over waves, over the pinhole's disk and the bead."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from optics_reference import dense_intensity
from scipy.interpolate import RectBivariateSpline

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec, optics_disagreement
from stedalign.imaging.images import Sampling, View
from stedalign.imaging.nuisances import Nuisances, Prior
from stedalign.optics.beam import Beam
from stedalign.optics.detection import Detection
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import BEAD, BLUR, LAYER, PINHOLE, PIXEL_ERRORS, SHEARS
from stedalign.optics.patterns import Flat
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
WAVES = (0.04, -0.05, 0.03)
SAMPLING = Sampling(samples=16, pixel_nm=(100.0, 90.0, 110.0))
ACCURACY = {"tolerance": 1e-5, "strength_waves": 0.12}
AIRY_NM = 1.22 * 775 / 1.4


def model(airy: float = math.inf, diameter_nm: float = 0.0, sampling: Sampling = SAMPLING, **changes) -> ForwardModel:
    detection, bead = Detection(pinhole_airy=airy), Bead(diameter_nm=diameter_nm)
    spec = ForwardSpec(detection=detection, bead=bead, sampling=sampling)
    return ForwardModel(spec, MODES, **ACCURACY | changes).double()


def focus_row(made: ForwardModel, shift=(0.0, 0.0, 0.0), **free: float) -> torch.Tensor:
    values = [
        free.get(name, nominal) for name, nominal in zip(made.layout.free_names, made.layout.nominal, strict=True)
    ]
    return made.layout.pack_focus(torch.tensor([WAVES]).double(), torch.tensor([shift]), free=torch.tensor([values]))


@lru_cache
def spread() -> RectBivariateSpline:
    """The detection's point spread function over rho and z: circular light is as round as unpolarized."""
    rho, z = np.linspace(0, 2600, 170), np.linspace(0, 1000, 33)
    points = np.stack([*np.broadcast_arrays(rho[:, None], 0.0, z)], axis=-1).reshape(-1, 3)
    light = dense_intensity(Objective(), Beam(pattern=Flat()), [Wavefront.zero(MODES)], points, 50, 70)
    return RectBivariateSpline(rho, z, light.reshape(len(rho), len(z)))


def dense_efficiency(airy: float, points: np.ndarray) -> np.ndarray:
    """The point spread function around each of the points, summed over the disk of the pinhole."""
    node, weight = np.polynomial.legendre.leggauss(24)
    radius, phi = AIRY_NM / 2 * airy * (node + 1) / 2, 2 * np.pi * np.arange(48) / 48
    u, v = radius[:, None] * np.cos(phi), radius[:, None] * np.sin(phi)

    def light(x: float, y: float, z: float) -> float:
        return float((weight * radius) @ spread().ev(np.hypot(u - x, v - y), abs(z)).sum(axis=1))

    return np.array([light(*point) for point in points]) / light(0.0, 0.0, 0.0)


def pixels(some: np.ndarray, sampling: Sampling = SAMPLING) -> np.ndarray:
    return np.concatenate(sampling.points_nm())[some]


def chosen(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(3 * SAMPLING.samples**2)[:count]


def distance(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("airy", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("free", [False, True])
def test_a_pinhole_weighs_the_light_of_a_point(airy: float, free: bool) -> None:
    """Known beforehand, and as a parameter."""
    made = model(free={PINHOLE: 8.0}) if free else model(airy)
    row = focus_row(made, shift=(40.0, -25.0, 60.0), **{PINHOLE: airy**-3.0})
    some = chosen(150)
    where = pixels(some) - [40.0, -25.0, 60.0]
    light = dense_intensity(Objective(), Beam(), [Wavefront(MODES, WAVES)], where)[0] * float(made.focus.scale)
    found = made.intensity(row).flatten().numpy()[some]
    assert distance(found, light * dense_efficiency(airy, where)) < (1e-3 if free else 1e-5)
    assert distance(found, light) > 0.01


@pytest.mark.parametrize("airy", [0.5, 1.0, 3.0])
def test_a_bead_averages_the_light_behind_the_pinhole(airy: float) -> None:
    """To a fiftieth of what a model would be wrong by that takes the efficiency in its middle."""
    fine = Sampling(samples=24, pixel_nm=(60.0, 50.0, 70.0))
    made = model(airy, diameter_nm=80.0, sampling=fine)
    some = np.random.default_rng(1).permutation(3 * 24**2)[:30]
    where = pixels(some, fine)
    node, weight = np.polynomial.legendre.leggauss(3)
    radius, phi = (node + 1) / 2, 2 * np.pi * np.arange(6) / 6
    ring = np.sqrt(1 - node[:, None] ** 2)
    sphere = np.stack([ring * np.cos(phi), ring * np.sin(phi), np.broadcast_to(node[:, None], (3, 6))], axis=-1)
    ball = 40.0 * radius[:, None, None, None] * sphere
    share = np.broadcast_to((weight * radius**2)[:, None, None] * weight[:, None], ball.shape[:3]).ravel()
    inside = (where[:, None] + ball.reshape(-1, 3)).reshape(-1, 3)
    light = dense_intensity(Objective(), Beam(), [Wavefront(MODES, WAVES)], inside, 40, 60)[0]
    seen = (light * dense_efficiency(airy, inside)).reshape(len(where), -1) @ share / share.sum()
    found = made.intensity(focus_row(made)).flatten().numpy()[some] / float(made.focus.scale)
    assert distance(found, seen) < 5e-4


@pytest.mark.parametrize("integrate", [False, True])
def test_wide_pixels_average_the_light_behind_the_pinhole(integrate: bool) -> None:
    """Binned ones add up smaller ones, which hold the mean over their area where they integrate."""
    fine = Sampling(samples=48, pixel_nm=(30.0, 30.0, 30.0), integrate=integrate)
    finest = Sampling(samples=240, pixel_nm=(6.0, 6.0, 6.0))
    wide, many = model(1.0, sampling=fine, binning=2), model(1.0, sampling=finest)
    found = wide.intensity(focus_row(wide)) / wide.focus.scale
    exact = many.intensity(focus_row(many)) / many.focus.scale
    each = torch.nn.functional.avg_pool2d(exact, 5) if integrate else exact[..., 2::5, 2::5]
    reference = torch.nn.functional.avg_pool2d(each, 2)
    assert distance(found.numpy(), reference.numpy()) < 3e-4


VIEWS = {
    "sections": SAMPLING.view,
    "integrated": SAMPLING.view.model_copy(update={"integrate": True}),
    "volume": View(parts=("volume",), shape=(4, 6, 8), pixel_nm=(100.0, 90.0, 160.0)),
    "a pixel when binned": View(parts=("volume",), shape=(2, 6, 8), pixel_nm=(100.0, 90.0, 160.0)),
    "one plane": View(parts=("xy",), shape=(12, 8), pixel_nm=(100.0, 90.0, 110.0)),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize(("binning", "leaning"), [(1, False), (2, False), (2, True)])
def test_derivatives_behind_a_pinhole_are_those_of_finite_differences(view: View, binning: int, leaning: bool) -> None:
    free = {PINHOLE: 8.0, LAYER: 300.0, BLUR: 900.0, BEAD: 60.0}
    free |= {name: 0.05 for name in PIXEL_ERRORS if name[-1] in view.axes}
    free |= dict.fromkeys(SHEARS, 0.05) if "z" in view.axes and leaning else {}
    made = model(view=view, free=free, drifting=len(view.parts) > 1, binning=binning, tolerance=1e-2)
    layout = made.layout
    row = 0.5 + 0.5 * torch.arange(2.0 * len(layout), dtype=torch.float64).reshape(2, -1).cos()
    row[:, layout.modes] *= 0.05
    row[:, layout.shift] *= 80
    row[:, layout.drift] *= 20
    row[:, layout.columns(PIXEL_ERRORS)] *= 0.05
    row[:, layout.columns(SHEARS)] *= 0.04
    row[:, layout.columns([LAYER])] = 200.0
    row[:, layout.columns([BLUR])] = 300.0
    row[:, layout.columns([BEAD])] = torch.tensor([[30.0], [45.0]], dtype=torch.float64)
    row[:, layout.columns([PINHOLE])] = torch.tensor([[0.04], [1.5]], dtype=torch.float64)
    expected, derivatives = made.linearize(row)
    torch.testing.assert_close(expected, made(row).flatten(2))
    for column, name in enumerate(layout.names):
        step = torch.zeros_like(row)
        step[:, column] = 1e-5 * max(1e-2, float(row[:, column].abs().max()))
        slope = (made(row + step) - made(row - step)).flatten(2) / (2 * step[0, column])
        assert float((derivatives[:, column] - slope).norm()) < 1e-5 * float(slope.norm()), name


def test_a_scan_that_leans_is_seen_through_the_pinhole_where_it_is() -> None:
    airy, lean = 1.0, (0.05, -0.04)
    made = model(airy, free=dict.fromkeys(SHEARS, 0.05))
    row = focus_row(made, **dict(zip(SHEARS, lean, strict=True)))
    found = made.intensity(row)[0].numpy() / float(made.focus.scale)
    for target, section in zip(SAMPLING.targets(), found, strict=True):
        places = target.points_nm.copy()
        places[:, :2] -= np.outer(target.points_nm[:, 2], lean)
        where = places - row[0, made.layout.shift].numpy()
        light = dense_intensity(Objective(), Beam(), [Wavefront(MODES, WAVES)], where, 60, 100)[0]
        assert distance(section.ravel(), light * dense_efficiency(airy, where)) < 1e-3


def test_an_open_pinhole_changes_nothing() -> None:
    row = torch.tensor([[*WAVES, 30.0, -20.0, 50.0]], dtype=torch.float64)
    plain, free = model(), model(free={PINHOLE: 8.0})
    assert plain.pinhole is None
    opened = torch.cat([row, torch.zeros(1, 1)], dim=1)
    torch.testing.assert_close(free.intensity(opened), plain.intensity(row), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(free.jacobian(opened)[1][:, :-1], plain.jacobian(row)[1], rtol=1e-4, atol=1e-4)


def test_an_open_pinhole_is_no_place_to_be_stuck_at() -> None:
    """The image begins to change at once, and about as fast as on the way to a pinhole of 3 Airy units."""
    made = model(free={PINHOLE: 8.0})
    row = focus_row(made)
    intensity, slopes = made.jacobian(row)
    narrower = made.intensity(focus_row(made, **{PINHOLE: 3.0**-3})).flatten(2) - intensity
    assert distance((slopes[:, -1] * 3.0**-3).numpy(), narrower.numpy()) < 0.5


def test_light_farther_out_than_the_pinhole_is_followed_stays_what_it_is_there() -> None:
    wide = Sampling(samples=16, pixel_nm=(100.0, 100.0, 100.0))
    made = model(1.0, sampling=wide, tolerance=1e-2)
    row = focus_row(made, shift=(0.0, 0.0, 3000.0))
    light = torch.ones(1, 3, 16**2, dtype=torch.float64)
    left, slopes = made.pinhole.linearize(light, torch.zeros(1, 6, *light.shape[1:]).double(), row)
    assert torch.isfinite(left).all()
    assert float(left.abs().max()) < 0.2
    assert not slopes[:, made.layout.shift.stop - 1].any()


def test_what_is_free_of_the_detection_comes_after_what_the_focus_takes() -> None:
    made = model(free={PINHOLE: 1.0, "taper": 0.5})
    assert made.layout.free_names == ("taper", PINHOLE)
    assert made.reach == {"taper": 0.5, PINHOLE: 1.0}
    assert made.focus.free == ("taper",)


@pytest.mark.parametrize("most", [0.0, -1.0, math.inf])
def test_a_pinhole_that_cannot_deviate_is_not_free(most: float) -> None:
    with pytest.raises(ValueError, match=f"the largest deviation of {PINHOLE} must lie between 0 and"):
        model(free={PINHOLE: most})


def test_the_prior_of_a_pinhole_is_centered_where_the_setup_has_it() -> None:
    nuisances = Nuisances(
        pinhole=0.1, mask_offset=0, taper=0, fill_center=0, ellipticity_deg=0, blur_nm=0, pixel_error=0
    )
    made = model(2.0, free=nuisances.free(Beam(), detection=Detection(pinhole_airy=2.0)))
    prior = Prior.of(made, nuisances)
    (column,) = made.layout.columns([PINHOLE])
    assert float(prior.mean[column]) == pytest.approx(0.125)
    assert float(prior.precision[column]) == pytest.approx((0.6**3 - 0.125) ** -2)
    assert float(prior.lowest[column]) == 0


def test_a_file_that_knows_no_pinhole_was_made_with_an_open_one() -> None:
    recorded = ForwardSpec().model_dump()
    del recorded["detection"]
    assert optics_disagreement(recorded, None, ForwardSpec(), None) is None
    narrow = ForwardSpec(detection=Detection(pinhole_airy=1.0))
    assert (
        optics_disagreement(recorded, None, narrow, None) == "for pinhole_airy = inf, this setup has pinhole_airy = 1.0"
    )
