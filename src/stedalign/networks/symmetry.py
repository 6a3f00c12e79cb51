"""Quarter turns about the optical axis, and the mirror: what they do to sections and outputs, and layers that turn.

The mirror: with the conjugate pupil function, light goes backwards, E*(-r) in the place of E(r). That inverts the focus
and undoes handedness of vortex and polarization, and a reflection at the plane x = 0 of the pupil brings both back. So
the wavefront -W(-x, y) has the focus I(x, -y, -z).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.outputs import Outputs
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Flat, TopHat, Vortex
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode

TURNS = 4


def looks_the_same_turned(forward: ForwardSpec, modes: ModeSet | None) -> bool:
    """Whether a quarter turn of the instrument is the same instrument with other coefficients of the same modes.

    It is for a centered mask of whole symmetry in circularly polarized light, since a turn of vortex or polarization is
    no more than a phase, and in unpolarized light.
    """
    x, y, _ = forward.sampling.pixel_nm
    paired = modes is None or all(Mode(mode.n, -mode.m) in modes for mode in modes)
    return _is_round(forward.beam) and paired and x == y


def looks_the_same_mirrored(forward: ForwardSpec) -> bool:
    """Whether the mirrored instrument is the same instrument with other coefficients of the same modes.

    It is for a mask as above of which the conjugate is no more than its reflection, and where the sample has no phase
    of its own.
    """
    pattern = forward.beam.pattern
    halves = not isinstance(pattern, TopHat) or abs(pattern.step_waves) == 0.5
    return _is_round(forward.beam) and halves and not forward.objective.sample_depth_nm


def _is_round(beam: Beam) -> bool:
    round_mask = isinstance(beam.pattern, Vortex | TopHat | Flat) and not any(beam.pattern.core)
    light = beam.polarization
    round_light = light.kind == "unpolarized" or (light.kind == "uniform" and abs(light.ellipticity_deg) == 45)
    return round_mask and round_light and beam.overlay is None and not any(beam.fill_center)


def turned_sections(xy: Tensor, xz: Tensor, yz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine coefficients (..., rows, columns) of the sections of a focus turned by 90 degrees, from +x to +y.

    A cosine of odd order changes its sign where its axis is mirrored.
    """
    return _flipped(xy.mT), _flipped(yz), xz


def mirrored_sections(planes: Sequence[str], sections: Sequence[Tensor]) -> list[Tensor]:
    """Cosine coefficients (..., rows, columns) of the sections ``planes`` of a mirrored focus, in which x is kept."""
    mirrored = []
    for plane, section in zip(planes, sections, strict=True):
        across = section if plane[0] == "x" else _flipped(section)
        mirrored.append(across if plane[1] == "x" else _flipped(across.mT).mT)
    return mirrored


def _flipped(coefficients: Tensor) -> Tensor:
    """With the axis of the columns reversed."""
    sign = (-1.0) ** torch.arange(coefficients.shape[-1], dtype=coefficients.dtype, device=coefficients.device)
    return coefficients * sign


def turned_outputs(outputs: Outputs) -> Tensor:
    """The matrix (labels, labels) that takes the labels of a focus to those of the turned one."""
    blocks = []
    if outputs.modes is not None:
        modes = list(outputs.modes)
        matrix = np.zeros((len(modes), len(modes)))
        for column, mode in enumerate(modes):
            # m cos -> m (phi - 90 degrees), and likewise the sine.
            order = abs(mode.m)
            cosine, sine = np.cos(order * np.pi / 2).round(), np.sin(order * np.pi / 2).round()
            matrix[column, column] = cosine
            if mode.m:
                matrix[modes.index(Mode(mode.n, -mode.m)), column] = sine if mode.m > 0 else -sine
        blocks.append(matrix)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    if outputs.mask_offset:
        blocks.append(turn)
    if outputs.shift:
        blocks += [turn, np.ones((1, 1))]
    return torch.block_diag(*(torch.from_numpy(block) for block in blocks)).float()


def mirrored_outputs(outputs: Outputs) -> Tensor:
    """The matrix (labels, labels), diagonal, that takes the labels of a focus to those of the mirrored one."""
    signs: list[float] = []
    if outputs.modes is not None:
        # m phi -> m (180 degrees - phi), and the sign of the whole.
        signs += [-((-1.0) ** mode.m) * (1 if mode.m >= 0 else -1) for mode in outputs.modes]
    if outputs.mask_offset:
        signs += [-1.0, 1.0]
    if outputs.shift:
        signs += [1.0, -1.0, -1.0]
    return torch.diag(torch.tensor(signs))


class TurningLinear(nn.Module):
    """A dense layer on features (B, 4, width), one row for each quarter turn of the input, that turns with them.

    It adds to each row the others through weights that hang on the angle between them alone. In sums and differences
    of the rows (a Fourier series around the circle) it falls apart into four products of half the cost.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = (TURNS * inputs) ** -0.5
        self.even, self.odd = (nn.Parameter(torch.empty(outputs, inputs).uniform_(-1, 1) * bound * 2) for _ in range(2))
        self.turning = nn.Parameter(torch.empty(2, outputs, inputs).uniform_(-1, 1) * bound * 2)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, rows: Tensor) -> Tensor:
        """(B, 4, inputs) to (B, 4, outputs)."""
        first, second, third, fourth = rows.unbind(1)
        opposite, across = first + third, second + fourth
        even = functional.linear(opposite + across, self.even)
        odd = functional.linear(opposite - across, self.odd)
        real, imaginary = self.turning
        matrix = torch.cat([torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)])
        pair = functional.linear(torch.cat([first - third, second - fourth], dim=1), matrix)
        cosine, sine = pair.chunk(2, dim=1)
        half, quarter = (even + odd) / 4, (even - odd) / 4
        turned = [half + cosine / 2, quarter + sine / 2, half - cosine / 2, quarter - sine / 2]
        return torch.stack(turned, dim=1) + self.bias
