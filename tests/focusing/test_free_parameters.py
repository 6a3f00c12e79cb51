"""The table of free parameters says of every beam what a focus of it accepts."""

import math

import pytest

from stedalign.errors import InputError
from stedalign.focusing.focus import Focus
from stedalign.imaging.nuisances import Nuisances
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.detection import Detection
from stedalign.optics.deviations import check_free
from stedalign.optics.objective import Objective
from stedalign.optics.parameters import (
    BEAM_PARAMETERS,
    DETECTION_PARAMETERS,
    IMAGE_PARAMETERS,
    PARAMETERS,
    PINHOLE,
    free_deviations,
    nominal,
)
from stedalign.optics.patterns import Flat, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import section
from stedalign.optics.wavefront import ModeSet
from stedalign.training.spec import SimulationSpec

BEAMS = {
    "vortex": Beam(),
    "tapered top-hat": Beam(fill=1.1, pattern=TopHat(mask_offset=(0.1, -0.2))),
    "flat": Beam(pattern=Flat()),
    "stop": Beam(stop_radius=0.3),
    "mask at the edge of the stop": Beam(stop_radius=0.3, pattern=Vortex(mask_offset=(0.298, 0.0))),
    "overlay": Beam(overlay=Overlay()),
    "unpolarized": Beam(polarization=Polarization(kind="unpolarized")),
}
FREE = (*BEAM_PARAMETERS, *IMAGE_PARAMETERS)
TARGETS = [section("yx", (8, 8), (90.0, 90.0))]


def focus(beam: Beam, free: dict[str, float]) -> Focus:
    return Focus(Objective(), beam, ModeSet.of([(2, 2)]), TARGETS, free=free, tolerance=1e-1, strength_waves=0.05)


@pytest.mark.parametrize("beam", BEAMS.values(), ids=BEAMS.keys())
@pytest.mark.parametrize("name", FREE)
def test_a_focus_accepts_what_the_table_says_its_beam_has_and_nothing_else(name: str, beam: Beam) -> None:
    row = PARAMETERS[name]
    if row.largest(beam) == 0:
        with pytest.raises(InputError, match="mask offset" if not row.lacking(beam) else name):
            focus(beam, {name: 1e-3})
    else:
        reach = min(row.largest(beam), row.plausible)
        made = focus(beam, {name: reach})
        assert made.free == (name,)
        assert float(made.rest[-1]) == pytest.approx(nominal(beam, name))


@pytest.mark.parametrize("name", [*FREE, *DETECTION_PARAMETERS])
def test_every_row_says_what_it_is_and_how_far_an_instrument_may_be_off(name: str) -> None:
    row = PARAMETERS[name]
    assert row.unit
    assert row.meaning
    assert 0 < row.plausible < math.inf
    assert row.setting in Nuisances.model_fields
    assert row.setting in SimulationSpec.model_fields


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("most", [0.0, -1.0, math.inf, math.nan])
def test_a_deviation_is_a_positive_number(name: str, most: float) -> None:
    with pytest.raises(InputError, match=f"the largest deviation of {name} must lie between 0 and"):
        check_free(Beam(), {name: most})


@pytest.mark.parametrize("name", IMAGE_PARAMETERS)
def test_what_the_focus_cannot_follow_is_refused(name: str) -> None:
    check_free(Beam(), {name: PARAMETERS[name].limit})
    with pytest.raises(InputError, match="must lie between 0 and"):
        check_free(Beam(), {name: 1.01 * PARAMETERS[name].limit})


def test_a_mask_whose_core_would_leave_the_light_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"a mask offset of up to 0\.28 pupil radii is too far; it must stay below 0\.25"
    ):
        check_free(Beam(stop_radius=0.25), {"mask_offset_x": 0.2, "mask_offset_y": 0.2})


def test_bounds_start_where_physics_does() -> None:
    taper = nominal(Beam(fill=1.25), "taper")
    assert PARAMETERS["taper"].bounds(taper, 0.3) == pytest.approx((0.34, 0.94))
    assert PARAMETERS["taper"].bounds(taper, 1.0) == pytest.approx((0.0, 1.64))
    assert PARAMETERS["fill_center_x"].bounds(0.0, 0.1) == (-0.1, 0.1)


@pytest.mark.parametrize(("airy", "narrower"), [(math.inf, 0.125), (1.0, 1.5**3 - 1)])
def test_a_pinhole_deviates_from_the_one_that_the_setup_has(airy: float, narrower: float) -> None:
    found = free_deviations({"pinhole": 0.5}, Beam(), detection=Detection(pinhole_airy=airy))
    assert found == pytest.approx({PINHOLE: narrower})


def test_a_focus_knows_no_detector() -> None:
    with pytest.raises(InputError, match=f"no beam has a parameter {PINHOLE}"):
        focus(Beam(), {PINHOLE: 1.0})


@pytest.mark.parametrize("axes", ["yx", "zx", "zyx"])
def test_pixel_errors_are_free_along_the_axes_that_an_image_resolves(axes: str) -> None:
    free = free_deviations({"pixel_error": 0.02, "z_scale": 0.02, "blur_nm": 20.0}, Beam(), axes)
    assert free == {"blur_nm2": 400.0} | {f"pixel_error_{axis}": 0.02 for axis in sorted(axes)}
