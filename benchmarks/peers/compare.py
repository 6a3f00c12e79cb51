"""How far a peer's volume is from a reference, whatever conventions the peer follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Modes = dict[tuple[int, int], float]
Reference = Callable[[Floats, Modes], Floats]
"""From points (P, 3) in nm and waves rms of the modes (n, m) to the intensity (P,), in any unit."""


class Convention(NamedTuple):
    """How a peer's axes and pupil lie in the reference's.

    These 32 are all there are. Turning everything about z changes nothing, as light and vortex are round, so the
    pupil needs no turn of its own. The conjugate field is that of light of the other hand with the phase reversed,
    at -r; so the hand and the sign of the aberrations come with a flip of z and a pupil flipped or not.
    """

    flip_x: bool
    flip_y: bool
    flip_z: bool
    swap_xy: bool
    flip_pupil: bool
    """y of the pupil: the sign of the sine modes."""

    def points(self, points_nm: Floats) -> Floats:
        signs = np.where(self[:3], -1.0, 1.0)
        return points_nm[:, [1, 0, 2] if self.swap_xy else [0, 1, 2]] * signs

    def peer_points(self, points_nm: Floats) -> Floats:
        """The other way round."""
        signs = np.where(self[:3], -1.0, 1.0)
        return (points_nm * signs)[:, [1, 0, 2] if self.swap_xy else [0, 1, 2]]

    def modes(self, modes: Modes) -> Modes:
        return {(n, m): -waves if self.flip_pupil and m < 0 else waves for (n, m), waves in modes.items()}

    def __str__(self) -> str:
        return ", ".join(name.replace("_", " ") for name, on in self._asdict().items() if on) or "the reference's"


CONVENTIONS = [Convention(*choice) for choice in product((False, True), repeat=5)]


def errors(
    facts: Mapping[str, Any], volumes: NDArray[np.floating], reference: Reference, pixels: int = 600
) -> tuple[list[float], Convention]:
    """Relative L2 error of each wavefront's volume after one scale factor, and the convention the peer follows.

    ``facts`` are those of ``environments.run_peer``, ``volumes`` (W, x, y, z) the array that they name. The error is
    over random pixels of the three central sections. A tenth of the pixels of one wavefront tells the conventions
    apart, so ``reference`` is asked for about (3 + W) x ``pixels`` points.
    """
    axes = [np.array(axis) for axis in facts["positions_nm"]]
    random = np.random.default_rng(1)
    index = np.stack([random.integers(len(axis), size=pixels) for axis in axes])
    across = random.integers(3, size=pixels)
    index[across, np.arange(pixels)] = np.array([np.abs(axis).argmin() for axis in axes])[across]
    points = np.stack([axis[place] for axis, place in zip(axes, index, strict=True)], axis=-1)

    def error(convention: Convention, wavefront: int, count: int) -> float:
        waves = facts["waves"][wavefront]
        modes = {(n, m): value for (n, m), value in zip(facts["modes"], waves, strict=True)}
        exact = reference(convention.points(points[:count]), convention.modes(modes))
        found = volumes[wavefront][tuple(index[:, :count])].astype(float)
        found *= (found @ exact) / (found @ found)
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    best = min(CONVENTIONS, key=lambda convention: error(convention, 0, pixels // 10))
    return [error(best, wavefront, pixels) for wavefront in range(len(volumes))], best
