"""Beams that differ from sample to sample of a batch, through one plan."""

import numpy as np
import pytest
import torch

from stedalign.focusing.focus import Focus
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Bivortex, Flat, HalfMoon, TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import Points, section
from stedalign.optics.wavefront import ModeSet

# Forward differentiation makes torch load a module of its own that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

MODES = ModeSet.of([(2, 2), (3, -1), (4, 0)])
SECTIONS = [section("yx", (14, 14), (60, 60)), section("zx", (14, 14), (80, 60))]
FEW = [Points(np.random.default_rng(0).uniform(-400, 400, size=(5, 3)))]
ALL_FREE = {
    "mask_offset_x": 0.2,
    "mask_offset_y": 0.2,
    "taper": 0.5,
    "fill_center_x": 0.2,
    "fill_center_y": 0.2,
    "leak_real": 0.3,
    "leak_imaginary": 0.3,
}
WITHOUT_MASK = {name: most for name, most in ALL_FREE.items() if not name.startswith("mask")}
TILTED = Beam(
    fill=0.9,
    fill_center=(0.1, -0.1),
    pattern=Vortex(mask_offset=(0.05, -0.1)),
    polarization=Polarization(ellipticity_deg=30.0, azimuth_deg=20.0),
)


def with_changes(beam, changes):
    """The beam with some of ``BEAM_PARAMETERS`` changed, by hand."""

    def pair(name, own):
        return tuple(changes.get(f"{name}_{axis}", value) for axis, value in zip("xy", own, strict=True))

    offset, center = pair("mask_offset", beam.pattern.mask_offset), pair("fill_center", beam.fill_center)
    own = beam.polarization.jones
    leak = complex(changes.get("leak_real", 0.0), changes.get("leak_imaginary", 0.0))
    return beam.model_copy(
        update={
            "pattern": beam.pattern.model_copy(update={"mask_offset": offset}),
            "polarization": ellipse(own + leak * np.array([-own[1].conj(), own[0].conj()])),
            "fill": changes.get("taper", beam.taper) ** -0.5 if changes.get("taper", beam.taper) else np.inf,
            "fill_center": center,
        }
    )


def ellipse(jones):
    """By Stokes parameters (Born and Wolf, section 1.4.2; the sign of the last as ``Polarization`` has it)."""
    x, y = jones / np.linalg.norm(jones)
    across = 2 * x.conjugate() * y
    return Polarization(
        ellipticity_deg=np.degrees(np.arcsin(np.clip(across.imag, -1, 1)) / 2),
        azimuth_deg=np.degrees(np.arctan2(across.real, abs(x) ** 2 - abs(y) ** 2) / 2),
    )


def intensity(focus, parameters):
    """In the units of the beam, whose crest each plan has its own scale for."""
    return torch.cat(focus(parameters), dim=1) / focus.scale


VORTEX, TOP_HAT = Beam(), Beam(pattern=TopHat(ring_radius=0.5))
TURNED = Beam(polarization=Polarization(ellipticity_deg=20.0, azimuth_deg=10.0))


@pytest.mark.parametrize(
    ("beam", "free"),
    [
        (VORTEX, {"mask_offset_x": 0.4, "mask_offset_y": 0.3}),
        (TOP_HAT, {"mask_offset_x": 0.3, "mask_offset_y": 0.3}),
        (Beam(pattern=HalfMoon(mask_rotation_deg=30.0)), {"mask_offset_x": 0.3}),
        (Beam(fill=1.0), {"taper": 0.8}),
        (Beam(fill=0.8), {"fill_center_x": 0.3, "fill_center_y": 0.3}),
        (VORTEX, {"leak_real": 0.2, "leak_imaginary": 0.2}),
        (TURNED, {"leak_real": 0.4, "leak_imaginary": 0.4}),
        (TILTED, ALL_FREE),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else value.pattern.kind,
)
def test_each_sample_of_a_batch_is_the_focus_of_its_own_beam(beam, free):
    generator, tolerance = np.random.default_rng(1), 1e-5
    together = Focus(Objective(), beam, MODES, SECTIONS, free=free, tolerance=tolerance).double()
    own = together.rest[-len(free) :].numpy()
    beams = own + generator.uniform(-1, 1, size=(3, len(free))) * list(free.values())
    steering = generator.normal(size=(3, len(MODES) + 3)) * ([0.08] * len(MODES) + [30.0] * 3)
    found = intensity(together, torch.from_numpy(np.hstack([steering, beams])))
    for row, values, pixels in zip(steering, beams, found, strict=True):
        changed = with_changes(beam, dict(zip(free, values, strict=True)))
        alone = Focus(Objective(), changed, MODES, SECTIONS, tolerance=tolerance / 10).double()
        (expected,) = intensity(alone, torch.from_numpy(row[None]))
        assert torch.linalg.norm(pixels - expected) <= tolerance * torch.linalg.norm(expected)


@pytest.mark.parametrize("beam", [TILTED, TOP_HAT, Beam(pattern=Flat())], ids=lambda b: b.pattern.kind)
def test_a_free_parameter_at_the_beams_own_value_changes_nothing(beam):
    names = WITHOUT_MASK if beam.pattern.kind == "flat" else ALL_FREE
    free, plain = (Focus(Objective(), beam, MODES, SECTIONS, free=f, tolerance=1e-6) for f in (names, None))
    assert len(free.rest) == len(plain.rest) + len(names)
    at_rest, expected = intensity(free, free.rest[None]), intensity(plain, plain.rest[None])
    assert torch.linalg.norm(at_rest - expected) <= 1e-6 * torch.linalg.norm(expected)


def somewhere(focus, count, seed=2):
    """Parameters (count, modes + 3 + free) near the resting ones."""
    generator = np.random.default_rng(seed)
    most = [0.1] * len(MODES) + [40.0] * 3 + [0.5 * ALL_FREE[name] for name in focus.free]
    return focus.rest + torch.from_numpy(generator.uniform(-1, 1, size=(count, len(most))) * most)


@pytest.mark.parametrize(
    ("pattern", "mapping"),
    [
        (Vortex(mask_offset=(0.05, -0.1)), "sine"),
        (TopHat(ring_radius=0.5, mask_offset=(0.05, -0.1)), "sine"),
        (HalfMoon(mask_offset=(0.05, -0.1)), "sine"),
        (Flat(), "sine"),
        (Bivortex(ring_radius=0.5, mask_offset=(0.05, -0.1)), "uniform"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_gradients_of_everything_match_finite_differences(pattern, mapping):
    beam = TILTED.model_copy(update={"pattern": pattern})
    free = ALL_FREE if pattern.can_move else WITHOUT_MASK
    focus = Focus(Objective(mapping=mapping), beam, MODES, FEW, free=free, tolerance=1e-3)
    parameters = somewhere(focus, 2).requires_grad_()
    torch.autograd.gradcheck(lambda p: focus(p)[0], parameters, eps=1e-5, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pattern", [Vortex(), TopHat(ring_radius=0.5)], ids=lambda pattern: pattern.kind)
def test_the_analytic_jacobian_is_that_of_autograd_for_every_parameter(pattern):
    beam = TILTED.model_copy(update={"pattern": pattern})
    focus = Focus(Objective(), beam, MODES, SECTIONS, free=ALL_FREE, tolerance=1e-3).double()
    parameters = somewhere(focus, 2)
    values, derivatives = focus.jacobian(parameters)
    expected = torch.func.jacrev(lambda row: torch.cat(focus(row[None]), dim=1)[0])
    for row, value, derivative in zip(parameters, torch.cat(values, 1), torch.cat(derivatives, 2), strict=True):
        torch.testing.assert_close(value, torch.cat(focus(row[None]), dim=1)[0])
        torch.testing.assert_close(derivative, expected(row).T, rtol=1e-8, atol=1e-9)


def test_a_uniform_fill_can_become_tapered():
    focus = Focus(Objective(), VORTEX, MODES, FEW, free={"taper": 1.0}, tolerance=1e-4).double()
    assert float(focus.rest[-1]) == 0
    _, (slopes,) = focus.jacobian(focus.rest[None])
    assert torch.isfinite(slopes).all()
    assert float(slopes[0, -1].abs().max()) > 0.01


def test_single_precision_carries_beams_and_their_gradients():
    focus = Focus(Objective(), TILTED, MODES, FEW, free=ALL_FREE, tolerance=1e-4)
    parameters = somewhere(focus, 2)
    _, (double,) = focus.jacobian(parameters)
    _, (single,) = focus.float().jacobian(parameters)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4 * float(double.abs().max()))


def test_free_parameters_that_would_change_nothing_are_refused():
    with pytest.raises(ValueError, match="mask_offset_x would change nothing"):
        Focus(Objective(), Beam(pattern=Flat()), MODES, SECTIONS, free={"mask_offset_x": 0.1})


def test_a_ring_at_the_edge_of_the_pupil_has_finite_slopes():
    beam = Beam(pattern=TopHat(ring_radius=1.0))
    free = {"mask_offset_x": 0.1, "mask_offset_y": 0.1}
    focus = Focus(Objective(), beam, MODES, FEW, free=free, tolerance=1e-2)
    _, (slopes,) = focus.jacobian(focus.rest[None])
    assert torch.isfinite(slopes).all()


def test_an_unknown_free_parameter_is_refused():
    with pytest.raises(ValueError, match="no beam has a parameter wavelength_nm"):
        Focus(Objective(), Beam(), MODES, SECTIONS, free={"wavelength_nm": 5.0})
