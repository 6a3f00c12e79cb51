"""A stand-in for a whole instrument: its donut is a Gaussian, its only light path the mask, and its parts can break."""

from __future__ import annotations

import numpy as np

from stedalign.imaging.images import OrthoSections
from stedalign.instrument.protocols import Microscope

PIXEL_NM = 50.0
BEFORE = np.full((2, 2), 7, dtype=np.uint8)
"""The mask that someone left on the panel."""


class Panel:
    shape = (2, 2)

    def __init__(self, world):
        self.world = world
        self.levels = BEFORE.copy()

    def show(self, levels):
        self.world.touch("mask")
        self.levels = levels.copy()

    def shown(self):
        return self.levels.copy()


class Table:
    limits_nm = ((-1000.0,) * 3, (1000.0,) * 3)

    def __init__(self, world, direction):
        self.world = world
        self.position = np.zeros(3)
        self.direction = direction

    def position_nm(self):
        return tuple(self.position)

    def move_to_nm(self, x, y, z):
        self.world.touch("stage")
        if not (np.abs([x, y, z]) <= 1000).all():
            raise ValueError("outside the stage's limits")
        self.position = self.direction * np.array([x, y, z])


class Shutter:
    is_open = False

    def __init__(self, world):
        self.world = world

    def open(self):
        self.is_open = True

    def close(self):
        self.world.touch("shutter")
        self.is_open = False


class Toy:
    """The world: the residual is the misalignment plus what the mask says, level 100 meaning zero."""

    def __init__(self, misalignment=(0.1, -0.05), bead_nm=(60.0, -40.0, 0.0), direction=1.0, fail_at=None):
        self.misalignment = np.array(misalignment)
        self.bead_nm = np.array(bead_nm)
        self.panel, self.table, self.shutter = Panel(self), Table(self, direction), Shutter(self)
        self.acquired, self.fail_at = 0, fail_at
        self.broken, self.touched = {}, []
        self.microscope = Microscope(self, self.panel, self.table, self.shutter, name="toy")

    @property
    def residual(self):
        return self.misalignment + (self.panel.levels[0].astype(float) - 100) / 1000

    def touch(self, part):
        """What a part does first: note the call, and fail where it is broken."""
        self.touched.append(part)
        if part in self.broken:
            raise self.broken[part]

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
