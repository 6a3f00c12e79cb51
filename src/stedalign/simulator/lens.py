"""The simulated microscope's own lens: a Cartesian pupil, summed by matrix products in double precision.

Written apart from the estimator's engine on purpose (square cells instead of rays, angles instead of
direction cosines, a real-space bead), so that the two can only agree where both are right. The focal field is
the Debye integral over the pupil's area (Leutenegger et al. 2006, eqs. 9 and 12),

    E(r) = sum over cells of area / sqrt(cos theta) x R(theta, phi) J x amplitude exp(i phase) exp(i k.r),

where 1 / cos theta turns area into solid angle and sqrt(cos theta) is the aplanatic apodization. In a plane
that holds the axis the kernel is not separable. There exp(i kz z) is expanded in Chebyshev polynomials of kz
(Jacobi-Anger; Abramowitz and Stegun 9.1.44 and 9.1.45), good to 1e-10 after about 20 terms, so one lateral
axis can be contracted before z is ever looked at. A scan whose z axis leans sees every plane wave with another kz.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import jv

from stedalign.optics.objective import Objective
from stedalign.simulator.bead import POINT, BallRule

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Detection = Callable[[Floats, Floats, Floats], Floats]
"""How well light from places (x, y, z) in nm is detected; their shapes broadcast."""


def everywhere_alike(x_nm: Floats, y_nm: Floats, z_nm: Floats) -> Floats:
    """Detection without a pinhole."""
    return np.ones(())


class CartesianLens:
    """An aplanatic lens on N x N square pupil cells; every array over cells is [y, x]."""

    def __init__(self, objective: Objective, wavelength_nm: float, cells_per_radius: float) -> None:
        half = math.ceil(cells_per_radius)
        axis: Floats = (np.arange(2.0 * half) + 0.5 - half) / cells_per_radius
        self.x, self.y = np.meshgrid(axis, axis)
        """Pupil coordinates of the cells in pupil radii, each (N, N)."""
        self._axis, self._width = axis, 1 / cells_per_radius
        self.area = _disk_area(axis, self._width)
        """Area of each cell inside the pupil, in squared pupil radii, (N, N)."""
        wavenumber = objective.wavenumber(wavelength_nm)
        self.highest_frequency = 2 * wavenumber * objective.sine
        """Largest spatial frequency of the intensity, rad per nm."""
        self._k_axis = wavenumber * objective.sine * axis
        # Cells that the edge cuts may be centered outside it, where the sine of theta may pass 1.
        sine = objective.sine * np.minimum(np.hypot(self.x, self.y), 1)
        self._theta = np.arcsin(sine)
        self._phi = np.arctan2(self.y, self.x)
        self._shear = (0.0, 0.0)
        self._set_kz(wavenumber * np.cos(self._theta))

    def _set_kz(self, kz: Floats) -> None:
        inside = kz[self.area > 0]
        self._kz = kz
        self._kz_middle, self._kz_half = (inside.max() + inside.min()) / 2, (inside.max() - inside.min()) / 2
        self.highest_axial_frequency = float(2 * self._kz_half)
        """Largest spatial frequency of the intensity along the scan's z axis, rad per nm."""
        self._chebyshev_terms: dict[str, Floats] = {}

    def sheared(self, shear: tuple[float, float]) -> CartesianLens:
        """This lens seen by a scan whose z axis leans: at (x, y, z) it sees (x - shear_x z, y - shear_y z, z)."""
        if shear == (0.0, 0.0):
            return self
        lens = copy.copy(self)
        lens._shear = shear
        lens._set_kz(self._kz - shear[0] * self._k_axis - shear[1] * self._k_axis[:, None])
        return lens

    def waves(self, jones: Complexes, amplitude: Floats, phase_rad: Floats) -> Complexes:
        """Plane waves (3, N, N) of a beam: Jones vector (2,), amplitude and phase over the cells (N, N).

        The lens turns the polarization by R = Rz(phi) Ry(theta) Rz(-phi).
        """
        cos, sin = np.cos(self._theta), np.sin(self._theta)
        cos_phi, sin_phi = np.cos(self._phi), np.sin(self._phi)
        matrix = np.array(
            [
                [cos * cos_phi**2 + sin_phi**2, (cos - 1) * sin_phi * cos_phi],
                [(cos - 1) * sin_phi * cos_phi, cos * sin_phi**2 + cos_phi**2],
                [-sin * cos_phi, -sin * sin_phi],
            ]
        )
        weight = self.area / cos * np.sqrt(cos) * amplitude * np.exp(1j * phase_rad)
        return np.asarray(np.einsum("cjyx,j->cyx", matrix, jones) * weight)

    def open_part(self, stop_radius: float) -> Floats:
        """The part of each cell (N, N) outside a central stop of this radius in pupil radii."""
        if stop_radius == 0:
            return np.ones_like(self.area)
        stopped = stop_radius**2 * _disk_area(self._axis / stop_radius, self._width / stop_radius)
        return np.asarray(1 - stopped / np.where(self.area > 0, self.area, 1))

    def power(self, amplitude: Floats) -> float:
        """The power that an amplitude (N, N) carries through the pupil."""
        return float((self.area * amplitude**2).sum())

    def xy(
        self,
        waves: Complexes,
        x_nm: Floats,
        y_nm: Floats,
        z_nm: float,
        ball: BallRule = POINT,
        detection: Detection = everywhere_alike,
    ) -> Floats:
        """Detected intensity (y, x) in the plane z, averaged over a ball around each point."""
        ball = self._seen(ball, "zyx")
        image = np.zeros((len(y_nm), len(x_nm)))
        for index, slice_z in enumerate(ball.first):
            z = z_nm + slice_z
            turned = waves * np.exp(1j * self._kz * z)
            y_rows = y_nm + ball.second[index][:, None]
            for row, y, third, weight in zip(
                self._kernel(y_rows), y_rows, ball.third[index], ball.weight[index], strict=True
            ):
                x_columns = x_nm + third[:, None]
                partial = row @ turned
                for column, x, share in zip(self._kernel(x_columns), x_columns, weight, strict=True):
                    seen = detection(x - self._shear[0] * z, y[:, None] - self._shear[1] * z, z)
                    image += share * seen * _intensity(partial @ column.T)
        return image

    def xz(
        self,
        waves: Complexes,
        x_nm: Floats,
        y_nm: float,
        z_nm: Floats,
        ball: BallRule = POINT,
        detection: Detection = everywhere_alike,
    ) -> Floats:
        """Detected intensity (z, x) in the plane y, averaged over a ball around each point."""
        return self._axial("yxz", waves, x_nm, y_nm, z_nm, ball, detection)

    def yz(
        self,
        waves: Complexes,
        x_nm: float,
        y_nm: Floats,
        z_nm: Floats,
        ball: BallRule = POINT,
        detection: Detection = everywhere_alike,
    ) -> Floats:
        """Detected intensity (z, y) in the plane x, averaged over a ball around each point."""
        return self._axial("xyz", waves, y_nm, x_nm, z_nm, ball, detection)

    def volume(
        self,
        waves: Complexes,
        x_nm: Floats,
        y_nm: Floats,
        z_nm: Floats,
        ball: BallRule = POINT,
        detection: Detection = everywhere_alike,
    ) -> Floats:
        """Detected intensity (z, y, x), averaged over a ball around each point."""
        planes = [self.xz(waves, x_nm, y, z_nm, ball, detection) for y in y_nm]
        return np.stack(planes, axis=1)

    def _seen(self, ball: BallRule, order: str) -> BallRule:
        """What a sheared scan sees of the ball: an ellipsoid, sliced along the axes in this order."""
        if self._shear == (0.0, 0.0):
            return ball
        shear = np.eye(3)
        shear[:2, 2] = self._shear
        rows = ["xyz".index(axis) for axis in order]
        # Any map with the same product makes the same ellipsoid of the ball; this one keeps slices and rows.
        return ball.mapped(np.asarray(np.linalg.cholesky((shear @ shear.T)[np.ix_(rows, rows)]), dtype=np.float64))

    def _axial(
        self,
        order: str,
        waves: Complexes,
        along_nm: Floats,
        across_nm: float,
        z_nm: Floats,
        ball: BallRule,
        detection: Detection,
    ) -> Floats:
        """Detected intensity (z, along) of waves (3, y, x) in a plane; the order is across, along, z."""
        ball = self._seen(ball, order)
        axis = "xy".index(order[1])
        shear = self._shear[axis]
        z_middle = (z_nm.max() + z_nm.min()) / 2
        reach = z_nm - z_middle
        terms = self._terms(np.abs(reach).max() + np.abs(ball.third).max())
        # Both lateral axes have the same cells.
        cells = waves.transpose(2, 1, 0) if axis == 0 else waves.transpose(1, 2, 0)
        kz = self._kz.T if axis == 0 else self._kz
        turned = np.ascontiguousarray(cells) * np.exp(1j * kz * z_middle)[..., None]
        chebyshev = self._chebyshev(terms, order)
        image = np.zeros((len(z_nm), len(along_nm)))
        for index, slice_across in enumerate(ball.first):
            shifted = turned * self._kernel(np.array([[across_nm + slice_across]]))[0, 0][:, None]
            moments = (chebyshev @ shifted.view(np.float64)).view(np.complex128)
            moments = np.ascontiguousarray(moments.transpose(2, 1, 0))
            rows = self._kernel(along_nm + ball.second[index][:, None])
            for row, second, third, weight in zip(
                rows, ball.second[index], ball.third[index], ball.weight[index], strict=True
            ):
                partial = moments @ row.T
                for offset, share in zip(third, weight, strict=True):
                    z = (z_nm + offset)[:, None]
                    place = along_nm + second - shear * z, across_nm + slice_across - self._shear[1 - axis] * z
                    seen = detection(*(place if axis == 0 else place[::-1]), z)
                    image += share * seen * _intensity(self._expansion(reach + offset, terms) @ partial)
        return image

    def _kernel(self, positions_nm: Floats) -> Complexes:
        """exp(i k position) along one lateral axis: shape (*positions, N)."""
        return np.asarray(np.exp(1j * positions_nm[..., None] * self._k_axis))

    def _terms(self, reach_nm: float) -> int:
        """How many terms of the expansion are above 1e-10 up to the distance ``reach_nm`` from the middle."""
        argument = self._kz_half * reach_nm
        orders = np.arange(int(argument) + 60)
        return int(np.flatnonzero(np.abs(jv(orders, argument)) > 1e-10)[-1]) + 1

    def _chebyshev(self, terms: int, order: str) -> Floats:
        """Chebyshev polynomials of kz on the cells [along, terms, across]; kept for the next image."""
        # Without shear kz is the same along both lateral axes.
        key = order if self._shear != (0.0, 0.0) else ""
        kept = self._chebyshev_terms.get(key)
        if kept is None or kept.shape[1] < terms:
            kz = self._kz.T if order[1] == "x" else self._kz
            u = np.clip((kz - self._kz_middle) / self._kz_half, -1, 1)
            kept = self._chebyshev_terms[key] = np.cos(np.arange(terms)[:, None] * np.arccos(u)[:, None, :])
        return kept[:, :terms]

    def _expansion(self, z_nm: Floats, terms: int) -> Complexes:
        """Coefficients (z, terms) of exp(i kz z) in those polynomials, up to one phase for each z."""
        orders = np.arange(terms)
        bessel = jv(orders, self._kz_half * z_nm[:, None])
        return np.asarray(np.where(orders == 0, 1, 2) * 1j**orders * bessel)


def _intensity(field: Complexes) -> Floats:
    """Sum over the three components (first axis) of the squared modulus."""
    return np.asarray((field.real**2 + field.imag**2).sum(axis=0))


def _disk_area(axis: Floats, width: float) -> Floats:
    """Area of each cell inside the unit disk, exact: differences of the area from the origin to a corner."""
    edges = np.clip(np.append(axis - width / 2, axis[-1] + width / 2), -1, 1)
    x, y = np.abs(edges), np.abs(edges)[:, None]
    leaves = np.minimum(np.sqrt(1 - y**2), x)
    corner = y * leaves + _under_arc(x) - _under_arc(leaves)
    area = np.diff(np.diff(np.sign(edges) * np.sign(edges)[:, None] * corner, axis=0), axis=1)
    # Rounding leaves 1e-16 outside the disk.
    return np.asarray(np.where(area > 1e-12, area, 0.0))


def _under_arc(x: Floats) -> Floats:
    """Integral of sqrt(1 - x^2) from 0 to x."""
    return np.asarray((x * np.sqrt(1 - x**2) + np.arcsin(x)) / 2)
