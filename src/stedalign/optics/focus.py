"""The factored focus: many wavefronts of one beam to the intensity on fixed points, by matrix products.

With fixed pupil nodes k_j and fixed points r, the kernel exp(i k_j.r) does not depend on the wavefront. On a set
of points that contains -r with every r its even part cos(k.r) and its odd part sin(k.r) are real matrices of low
rank, so the field is two slim real products, and intensities at r and -r come from the same numbers.
Everything that moves the phase (modes, and shifts of the picture) is linear in it: phase = basis x parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedalign.optics.beam import Beam, Objective
from stedalign.optics.pupil import Pupil, sample_pupil
from stedalign.optics.wavefront import ModeSet

Floats = NDArray[np.float64]
SHIFT_AXES = ("x", "y", "z")

ROWS_AT_ONCE = 192
"""Waves (batch x channels) that are propagated together: more leave the cache and gain nothing."""
FINEST_NODES = (32, 64), (48, 96), (80, 176), (128, 288)


class Focus(torch.nn.Module):
    """Intensity of one beam's focus on fixed sets of points, for batches of wavefronts.

    Built once from the optics; then differentiable, batched, on any device and in float32 or float64
    (``.to(...)``, ``.double()``). Intensities are relative to the crest (maximum over all points) of the
    unaberrated focus.
    """

    basis: Tensor
    channels: Tensor
    scale: Tensor

    def __init__(
        self,
        objective: Objective,
        beam: Beam,
        modes: ModeSet,
        targets_nm: Sequence[Floats],
        *,
        bead_diameter_nm: float = 0.0,
        tolerance: float = 1e-5,
        strength_waves: float = 0.35,
    ) -> None:
        """Plan the focus on ``targets_nm``, arrays (P, 3) of x, y, z in nm with point[P-1-i] = -point[i].

        Nodes and ranks are chosen so that the relative L2 error of the intensity stays below ``tolerance``
        for wavefronts of up to ``strength_waves`` rms on ``modes`` (stronger ones lose accuracy slowly).
        """
        super().__init__()
        for points in targets_nm:
            if points.ndim != 2 or points.shape[1] != 3 or not np.allclose(points, -points[::-1], atol=1e-6):
                raise ValueError("each target must be (P, 3) points that contain -r with every r, in mirrored order")
        self.modes = modes
        self.points = [len(points) for points in targets_nm]
        self.pupil = _choose_pupil(objective, beam, modes, np.concatenate(targets_nm), strength_waves, tolerance)
        pupil = self.pupil

        # The mean of kz only turns the phase of whole planes: without it the kernel's rank is lower.
        k = pupil.k - np.array([0.0, 0.0, (pupil.k[:, 2].max() + pupil.k[:, 2].min()) / 2])
        zernikes = 2 * np.pi * modes.polynomials(pupil.x, pupil.y)
        beads = _coherent_modes(pupil, bead_diameter_nm / 2, tolerance)
        channels = (pupil.amplitude[None] * beads[:, None]).reshape(-1, len(k))

        self.register_buffer("basis", torch.from_numpy(np.concatenate([zernikes, -k], axis=1)))
        self.register_buffer("channels", torch.from_numpy(np.stack([channels.real, channels.imag])))
        importance = np.sqrt((np.abs(channels) ** 2).sum(axis=0))
        for index, points in enumerate(targets_nm):
            half = points[: (len(points) + 1) // 2] @ k.T
            for name, kernel in (("even", np.cos(half)), ("odd", np.sin(half))):
                expand, compress = _factor(kernel, importance, tolerance)
                self.register_buffer(f"expand_{name}{index}", torch.from_numpy(expand))
                self.register_buffer(f"compress_{name}{index}", torch.from_numpy(compress))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        ideal = self(torch.zeros(1, self.basis.shape[1], dtype=torch.float64))
        self.scale.fill_(1 / float(torch.cat(ideal, dim=-1).max()))
        self.float()

    @property
    def nodes(self) -> int:
        """How many plane waves the plan uses."""
        return int(self.basis.shape[0])

    def forward(self, parameters: Tensor) -> list[Tensor]:
        """Intensity on each target, shapes (B, P), for ``parameters`` (B, modes + 3).

        The parameters are the modes' coefficients in rms waves, then the shift of the picture along
        x, y, z in nm.
        """
        chunk = max(1, ROWS_AT_ONCE // self.channels.shape[1])
        parts = [self._intensities(part) for part in parameters.split(chunk)]
        return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]

    def _intensities(self, parameters: Tensor) -> list[Tensor]:
        fields = self._fields(self._waves(parameters))
        return [
            _mirrored(even.square().sum((1, 2)), odd.square().sum((1, 2)), _cross(even, odd), size) * self.scale
            for (even, odd), size in zip(fields, self.points, strict=True)
        ]

    def jacobian(self, parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Intensities (B, P) as from ``forward`` and their derivatives (B, modes + 3, P), per target.

        Analytic: a parameter multiplies each plane wave by i times its row of the basis, and the field is
        linear in the waves.
        """
        chunk = max(1, ROWS_AT_ONCE // (self.channels.shape[1] * parameters.shape[1]))
        parts = [self._slopes(part) for part in parameters.split(chunk)]
        values, derivatives = zip(*parts, strict=True)
        return (
            [torch.cat(pieces) for pieces in zip(*values, strict=True)],
            [torch.cat(pieces) for pieces in zip(*derivatives, strict=True)],
        )

    def _slopes(self, parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        count, size = parameters.shape
        waves = self._waves(parameters)
        real, imag = waves[:, None, 0], waves[:, None, 1]
        rows = self.basis.T[None, :, None, :]
        # i (a + ib) row = (-b + ia) row
        turned = torch.stack([-imag * rows, real * rows], dim=2).flatten(0, 1)
        fields = self._fields(waves)
        slopes = self._fields(turned)
        values, derivatives = [], []
        for (even, odd), (d_even, d_odd), points in zip(fields, slopes, self.points, strict=True):
            values.append(_mirrored(even.square().sum((1, 2)), odd.square().sum((1, 2)), _cross(even, odd), points))
            d_even, d_odd = (part.unflatten(0, (count, size)) for part in (d_even, d_odd))
            even, odd = even[:, None], odd[:, None]
            crossed = _cross(d_even, odd) + _cross(even, d_odd)
            derivatives.append(
                _mirrored(2 * (even * d_even).sum((2, 3)), 2 * (odd * d_odd).sum((2, 3)), crossed, points)
            )
        return [value * self.scale for value in values], [value * self.scale for value in derivatives]

    def _waves(self, parameters: Tensor) -> Tensor:
        """The plane waves of each channel, (B, 2, channels, J) with real and imaginary part on the second axis."""
        phase = parameters @ self.basis.T
        cosine, sine = torch.cos(phase)[:, None], torch.sin(phase)[:, None]
        real, imag = self.channels
        return torch.stack([cosine * real - sine * imag, cosine * imag + sine * real], dim=1)

    def _fields(self, waves: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Even and odd part of the field on each target's first half, each (B, 2, channels, P/2)."""
        shape, flat = waves.shape[:-1], waves.flatten(0, -2)

        def part(name: str) -> Tensor:
            # One large product each: batched ones are several times slower.
            coefficients = flat @ self.get_buffer(f"compress_{name}").T
            return (coefficients @ self.get_buffer(f"expand_{name}").T).unflatten(0, shape)

        return [(part(f"even{index}"), part(f"odd{index}")) for index in range(len(self.points))]


def _cross(even: Tensor, odd: Tensor) -> Tensor:
    """Re(conj(even) i odd) x 2, summed over the channels; (real, imag) is the third axis from the end."""
    product = even[..., 1, :, :] * odd[..., 0, :, :] - even[..., 0, :, :] * odd[..., 1, :, :]
    return 2 * product.sum(-2)


def _mirrored(even: Tensor, odd: Tensor, cross: Tensor, size: int) -> Tensor:
    """|even + i odd|^2 on the first half of the points and |even - i odd|^2 on the mirrored second half."""
    total = even + odd
    return torch.cat([total + cross, (total - cross)[..., : size // 2].flip(-1)], dim=-1)


def _factor(kernel: Floats, importance: Floats, tolerance: float) -> tuple[Floats, Floats]:
    """Factors (P, rank) and (rank, J) of a real kernel (P, J) whose columns matter as ``importance`` (J,) says."""
    left, sizes, right = _leading(kernel * importance, 0.25 * tolerance)
    return left * sizes, (right / importance[:, None]).T


def _leading(matrix: Floats, tolerance: float) -> tuple[Floats, Floats, Floats]:
    """Leading singular triplets (P, r), (r,), (J, r) that leave less than ``tolerance`` of the Frobenius norm.

    By a randomized range finder with one power iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4), whose
    guess of the rank doubles until the discarded part is seen to be small. In torch, to have one pool of threads.
    """
    with _one_thread():
        generator = torch.Generator().manual_seed(0)
        whole = torch.from_numpy(matrix)
        total = float(whole.square().sum())
        guess, most = 64, min(matrix.shape)
        while True:
            guess = min(2 * guess, most)
            probe = torch.randn(matrix.shape[1], guess, generator=generator, dtype=whole.dtype)
            basis, _ = torch.linalg.qr(whole @ probe)
            basis, _ = torch.linalg.qr(whole @ (whole.T @ basis))
            left, sizes, right = torch.linalg.svd(basis.T @ whole, full_matrices=False)
            small = total - sizes.square().cumsum(0) <= max(tolerance**2, 1e-14) * total
            if small.any() or guess == most:
                rank = int(small.int().argmax()) + 1 if small.any() else most
                return (basis @ left[:, :rank]).numpy(), sizes[:rank].numpy(), right[:rank].T.numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """For many small factorizations, in which threads wait for each other more than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _coherent_modes(pupil: Pupil, radius_nm: float, tolerance: float) -> Floats:
    """The bead as a short sum of coherent pupil factors, shape (modes, J).

    A bead averages the intensity over its volume. Its effect on a pair of plane waves is the Fourier transform
    of the ball at k_j - k_l, a positive matrix whose leading eigenvectors are pupil factors that propagate one
    by one and add as intensities (the coherent-mode expansion, Wolf 1982).
    """
    if radius_nm == 0:
        return np.ones((1, len(pupil.k)))
    weight = np.sqrt((np.abs(pupil.amplitude) ** 2).sum(axis=0))
    q = radius_nm * np.linalg.norm(pupil.k[:, None] - pupil.k[None], axis=-1)
    small = q < 1e-2
    safe = np.where(small, 1.0, q)
    ball = np.where(small, 1 - q**2 / 10, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)
    root = np.sqrt(weight)
    # Intensities add here, so the singular values are already powers.
    vectors, power, _ = _leading(root[:, None] * ball * root, tolerance)
    return (np.sqrt(power) * vectors / root[:, None]).T


def _choose_pupil(
    objective: Objective, beam: Beam, modes: ModeSet, points: Floats, strength_waves: float, tolerance: float
) -> Pupil:
    """The smallest pupil sampling that meets the tolerance on a sample of the points and wavefronts.

    It is measured against a rule that itself agrees with one twice as coarse in both directions. Raises ``ValueError``
    where the finest rule is not enough for the field.
    """
    generator = np.random.default_rng(0)
    extremes = np.concatenate([points.argmin(axis=0), points.argmax(axis=0)])
    some = points[np.concatenate([extremes, generator.integers(len(points), size=60)])]
    coefficients = generator.normal(size=(3, len(modes)))
    coefficients *= strength_waves / np.linalg.norm(coefficients, axis=1, keepdims=True)

    def intensity(radial: int, azimuthal: int) -> Floats:
        pupil = sample_pupil(objective, beam, radial, azimuthal)
        kernel = np.exp(1j * (pupil.k @ some.T))
        phases = 2 * np.pi * coefficients @ modes.polynomials(pupil.x, pupil.y).T
        fields = (pupil.amplitude * np.exp(1j * phases)[:, None]) @ kernel
        return np.asarray((np.abs(fields) ** 2).sum(axis=1))

    def error(found: Floats, reference: Floats) -> float:
        return float((np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)).max())

    # An error falls at least as the square of itself when the nodes double, so the finer rule is good enough.
    for finest in FINEST_NODES:
        reference = intensity(*finest)
        if error(intensity(finest[0] // 2, finest[1] // 2), reference) < max(0.1 * tolerance**0.5, 1e-9):
            break
    else:
        reach = np.abs(points).max()
        raise ValueError(
            f"a field that reaches {reach:.0f} nm from the focus is too wide for a tolerance of {tolerance:g}: take "
            "fewer or smaller pixels"
        )

    def first_good(counts: Sequence[int], evaluate: Callable[[int], Floats]) -> int:
        return next(
            (count for count in counts[:-1] if error(evaluate(count), reference) < 0.15 * tolerance), counts[-1]
        )

    radial = first_good(_ladder(finest[0], 2), partial(intensity, azimuthal=finest[1]))
    azimuthal = first_good(_ladder(finest[1], 4), partial(intensity, finest[0]))
    return sample_pupil(objective, beam, radial, azimuthal)


def _ladder(finest: int, step: int) -> list[int]:
    """Numbers of nodes to try, from few to ``finest``: multiples of ``step``, ten percent apart at least."""
    counts = [4 * step]
    while counts[-1] < finest:
        counts.append(min(finest, max(counts[-1] + step, int(1.1 * counts[-1]) // step * step)))
    return counts
