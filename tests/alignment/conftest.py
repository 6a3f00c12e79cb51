"""A toy instrument whose donut is a Gaussian and whose only light path is the mask."""

import numpy as np
import pytest

from stedalign.estimation.estimate import Estimate
from stedalign.imaging.images import OrthoSections
from stedalign.instrument.protocols import Microscope
from stedalign.optics.wavefront import ModeSet, Wavefront

MODES = ModeSet.from_ansi([3, 5])
PIXEL_NM = 50.0


class Panel:
    shape = (2, 2)

    def __init__(self):
        self.levels = np.full((2, 2), 7, dtype=np.uint8)
        self.history = []

    def show(self, levels):
        self.levels = levels.copy()
        self.history.append(levels.copy())

    def shown(self):
        return self.levels.copy()


class Table:
    limits_nm = ((-1000.0,) * 3, (1000.0,) * 3)

    def __init__(self, direction=1.0):
        self.position = np.zeros(3)
        self.direction = direction

    def position_nm(self):
        return tuple(self.position)

    def move_to_nm(self, x, y, z):
        if not (np.abs([x, y, z]) <= 1000).all():
            raise ValueError("outside the stage's limits")
        self.position = self.direction * np.array([x, y, z])


class Shutter:
    is_open = False

    def open(self):
        self.is_open = True

    def close(self):
        self.is_open = False


class Toy:
    """The world: the residual is the misalignment plus what the mask says, level 100 meaning zero."""

    def __init__(self, misalignment=(0.1, -0.05), bead_nm=(60.0, -40.0, 0.0), direction=1.0, fail_at=None):
        self.misalignment = np.array(misalignment)
        self.bead_nm = np.array(bead_nm)
        self.panel, self.table, self.shutter = Panel(), Table(direction), Shutter()
        self.acquired, self.fail_at = 0, fail_at
        self.microscope = Microscope(self, self.panel, self.table, self.shutter, name="toy")

    @property
    def residual(self):
        return self.misalignment + (self.panel.levels[0].astype(float) - 100) / 1000

    def acquire(self):
        self.acquired += 1
        if self.acquired == self.fail_at:
            raise KeyboardInterrupt
        assert self.shutter.is_open
        axes = [(np.arange(32) - 15.5) * PIXEL_NM - d for d in self.bead_nm - self.table.position]
        width = 200 * (1 + 4 * np.linalg.norm(self.residual))
        planes = [(axes[1], axes[0]), (axes[2], axes[0]), (axes[2], axes[1])]
        return OrthoSections(
            np.stack([1000 * np.exp(-np.add.outer(a**2, b**2) / (2 * width**2)) for a, b in planes]), (PIXEL_NM,) * 3
        )

    def ideal(self):
        axis = (np.arange(32) - 15.5) * PIXEL_NM
        return np.stack([np.exp(-np.add.outer(axis**2, axis**2) / (2 * 200.0**2))] * 3)


def mask(correction):
    waves = correction.on(MODES).array
    return np.tile(np.rint(100 + 1000 * waves), (2, 1)).clip(0, 255).astype(np.uint8)


def make_estimate(toy, waves, *, sigma=0.001, accepted=True, shift_nm=(0.0, 0.0, 0.0)):
    return Estimate(
        wavefront=Wavefront(MODES, tuple(waves)),
        sigma_waves=(sigma,) * len(MODES),
        blind=(),
        shift_nm=shift_nm,
        photons=(350.0,) * 3,
        background=(7.0,) * 3,
        nuisances={},
        reduced_chi2=1.0 if accepted else 5.0,
        accepted=accepted,
        reason="" if accepted else "the model does not explain the image",
        null_ratio=0.01,
        crest_uniformity=0.9,
        correlation=0.99,
        start="zero",
        reconstruction=toy.ideal(),
        ideal=toy.ideal(),
        simulated=False,
    )


@pytest.fixture
def toy():
    return Toy


@pytest.fixture
def estimate_of():
    return make_estimate


@pytest.fixture
def mask_of():
    return mask


@pytest.fixture
def zero():
    return Wavefront.zero(MODES)
