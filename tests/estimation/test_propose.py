import numpy as np
import torch

from stedalign.estimation.propose import propose
from stedalign.imaging.images import PLANES, OrthoSections, Sampling
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.optics.wavefront import ModeSet

MODES = ModeSet.default()
SAMPLING = Sampling(samples=32, pixel_nm=(60.0, 60.0, 60.0))


class Recorder(SectionNetwork):
    """Remembers what it was shown and answers 0."""

    def __init__(self):
        super().__init__(PLANES)

    def forward(self, images):
        self.shown = images
        return torch.zeros(len(images), len(MODES))


def bead(samples, pixel_nm, center_nm, width_nm=200.0):
    axes = [(np.arange(samples) - (samples - 1) / 2) * pixel_nm - c for c in center_nm]
    planes = [(axes[1], axes[0]), (axes[2], axes[0]), (axes[2], axes[1])]
    gaussians = [np.exp(-(np.add.outer(a**2, b**2)) / (2 * width_nm**2)) for a, b in planes]
    return OrthoSections(np.stack(gaussians) * 100, (pixel_nm,) * 3)


def shown(sections):
    recorder = Recorder()
    assert propose(Network(recorder, Outputs(MODES)), [sections], SAMPLING)[0] is not None
    return recorder.shown[0].numpy()


def test_the_network_sees_a_displaced_bead_in_the_middle():
    centered, moved = shown(bead(32, 60.0, (0, 0, 0))), shown(bead(32, 60.0, (118, -62, 55)))
    np.testing.assert_allclose(moved, centered, atol=0.05 * centered.max())


def test_counts_stay_counts_where_the_sampling_is_the_networks():
    generator = np.random.default_rng(0)
    image = bead(32, 60.0, (100, -80, 50))
    counts = OrthoSections(generator.poisson(image.data), image.pixel_nm)
    levels = np.unique(shown(counts))
    steps = np.diff(levels) / np.diff(levels).min()
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_a_network_without_shifts_leaves_them_to_the_center_of_mass():
    proposal = propose(Network(Recorder(), Outputs(MODES)), [bead(32, 60.0, (100, -80, 50))], SAMPLING)[0]
    np.testing.assert_allclose(proposal.shift_nm, (100, -80, 50), atol=3)


def test_the_shift_that_the_network_sees_adds_to_the_pixels_moved():
    class Shifted(Recorder):
        def forward(self, images):
            return torch.cat([super().forward(images), torch.tensor([[7.0, 8.0, 9.0]])], dim=1)

    proposal = propose(Network(Shifted(), Outputs(MODES, shift=True)), [bead(32, 60.0, (100, -80, 50))], SAMPLING)[0]
    np.testing.assert_allclose(proposal.shift_nm, (120 + 7, -60 + 8, 60 + 9))


def test_the_network_sees_its_own_pixel_size():
    own, finer = shown(bead(32, 60.0, (0, 0, 0))), shown(bead(64, 30.0, (0, 0, 0)))
    assert finer.shape == own.shape
    np.testing.assert_allclose(finer, own, atol=0.05 * own.max())


def test_a_field_much_smaller_than_the_networks_gives_no_proposal():
    assert propose(Network(Recorder(), Outputs(MODES)), [bead(20, 60.0, (0, 0, 0))], SAMPLING)[0] is None
