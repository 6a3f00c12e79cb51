"""Two patterns in one beam path, incoherent with each other."""

import numpy as np
import pytest
import torch

import stedalign as sa
from stedalign.focusing.focus import Focus
from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam, Overlay
from stedalign.optics.fluorophore import watts_per_cm2
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import TopHat, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.of([(2, 2), (3, 1)])
WAVEFRONT = Wavefront(MODES, (0.06, -0.04))
SAMPLING = Sampling(samples=17, pixel_nm=(60.0, 60.0, 80.0))
TOP_HAT, LINEAR = TopHat(ring_radius=0.6), Polarization(ellipticity_deg=0.0)


def intensity(beam):
    """On the three sections, with the plan's scale and its ``Pupil``."""
    focus = Focus(Objective(), beam, MODES, SAMPLING.targets(), tolerance=1e-6).double()
    values = torch.cat(focus(torch.tensor([[*WAVEFRONT.waves, 0, 0, 0]], dtype=torch.float64)), dim=1)
    return values[0].numpy() / float(focus.scale), focus.pupil.power


@pytest.mark.parametrize("share", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("fill", [np.inf, 0.8])
def test_an_overlay_adds_the_intensities_by_their_shares_of_the_power(share, fill):
    vortex, top_hat = Beam(fill=fill), Beam(fill=fill, pattern=TOP_HAT, polarization=LINEAR)
    together = vortex.model_copy(update={"overlay": Overlay(share=share, pattern=TOP_HAT, polarization=LINEAR)})
    (found, power), (first, power_1), (second, power_2) = map(intensity, (together, vortex, top_hat))
    expected = (1 - share) * first / power_1 + share * second / power_2
    np.testing.assert_allclose(found / power, expected, atol=2e-6 * expected.max())


def test_an_intensity_of_one_is_the_crest_of_both_patterns_together():
    focus = Focus(Objective(), Beam(overlay=Overlay(pattern=TOP_HAT)), MODES, SAMPLING.targets(), tolerance=1e-4)
    assert float(torch.cat(focus(focus.rest[None]), dim=1).max()) == pytest.approx(1)


def test_the_gradient_of_an_overlay_is_the_analytic_one():
    beam = Beam(overlay=Overlay(pattern=TOP_HAT))
    focus = Focus(Objective(), beam, MODES, SAMPLING.targets(), tolerance=1e-3).double()
    row = torch.tensor([0.05, -0.03, 20.0, -10.0, 30.0], dtype=torch.float64)
    expected = torch.func.jacrev(lambda row: torch.cat(focus(row[None]), dim=1)[0])(row)
    _, derivatives = focus.jacobian(row[None])
    torch.testing.assert_close(torch.cat(derivatives, dim=2)[0], expected.T, rtol=1e-8, atol=1e-10)


def test_an_overlay_of_the_same_pattern_changes_nothing():
    plain, (same, _) = intensity(Beam())[0], intensity(Beam(overlay=Overlay(share=0.4, pattern=Vortex())))
    np.testing.assert_allclose(same / same.max(), plain / plain.max(), atol=2e-6)


def test_a_beam_with_an_overlay_has_components_but_no_single_pupil():
    beam = Beam(overlay=Overlay(share=0.25, pattern=TOP_HAT))
    assert [part.pattern.kind for part in beam.components] == ["vortex", "top_hat"]
    assert [part.power_w for part in beam.components] == pytest.approx([0.75 * beam.power_w, 0.25 * beam.power_w])
    with pytest.raises(ValueError, match="components one by one"):
        sample_pupil(Objective(), beam, 10, 20)


def test_the_effective_spot_feels_both_patterns():
    sampling = Sampling(samples=33, pixel_nm=(30.0, 30.0, 50.0))
    zero = Wavefront.zero(MODES)
    overlay = Overlay(share=0.4, pattern=TopHat())
    plain = sa.Setup(sampling=sampling)
    three_d = plain.model_copy(update={"depletion": plain.depletion.model_copy(update={"overlay": overlay})})
    flat_only, both = (sa.effective_spot(setup, zero).data for setup in (plain, three_d))
    assert both[0, 16, 16] == pytest.approx(1, abs=0.05)
    # Along z the spot shrinks, which a vortex alone cannot do.
    assert both[1, 8, 16] < 0.2 * flat_only[1, 8, 16]
    quench, points = 0.0, np.concatenate(sampling.points_nm())
    for part in three_d.depletion.components:
        pupil = sample_pupil(Objective(), part, 36, 80)
        quench += pupil.intensity(points) * watts_per_cm2(pupil.power, Objective(), part, "pulsed")
    weak = plain.model_copy(update={"depletion": plain.depletion.model_copy(update={"power_w": 1e-12})})
    unquenched = sa.effective_spot(weak, zero).data
    np.testing.assert_allclose(both.ravel(), unquenched.ravel() * np.exp2(-quench / 10e6), atol=1e-3)
