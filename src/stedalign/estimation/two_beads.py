"""Two beads in one image: how well they explain it."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stedalign.estimation.fit import fit, with_light
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.observed import Observed
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.nuisances import LEAST_COUNTS, Prior

START_DISTANCES_NM = 250.0, 400.0
"""Where the search for a second bead begins, in 13 directions each; a pair is the same seen from either bead."""
BRIGHTNESS_PRIOR = 1.0, 0.3
"""Mean and standard deviation of what the second bead has of the first one's light."""
FIRST_STEPS, LAST_STEPS, FINISHED_STARTS = 8, 25, 4
"""Steps from every start, further ones, and how many get these."""


class TwoBeads(torch.nn.Module):
    """Expected counts of two beads in one field, with the interface of ``ForwardModel`` that a fit needs.

    The parameters are the modes, the shift of the first bead, from there the way to the second one, how bright it is
    compared to the first, and scale and background of each part of the image.
    """

    def __init__(self, one: ForwardModel) -> None:
        """``one`` has nothing free but wavefront and shift."""
        super().__init__()
        self.one = one
        self.focus, self.pooled, self.planes = one.focus, one.pooled, None
        layout, parts = one.layout, len(one.view.parts)
        self.first, self.shift = layout.focus, layout.shift
        self.apart = slice(self.first.stop, self.first.stop + 3)
        self.brightness = self.apart.stop
        self.scale = slice(self.brightness + 1, self.brightness + 1 + parts)
        self.background = slice(self.scale.stop, self.scale.stop + parts)
        self.names = (
            *layout.names[layout.focus],
            *(f"apart {axis}" for axis in "xyz"),
            "brightness",
            *layout.names[layout.scale],
            *layout.names[layout.background],
        )

    def intensity(self, parameters: Float[Tensor, "images parameters"]) -> Float[Tensor, "images parts *pixels"]:
        """Of both beads, (B, parts, ...), relative to the unaberrated crest of the first one."""
        first, second = self.one.intensity(self._both(parameters)).split(len(parameters))
        return first + _like(parameters[:, self.brightness], second) * second

    def forward(self, parameters: Float[Tensor, "images parameters"]) -> Float[Tensor, "images parts *pixels"]:
        """Expected counts (B, parts, ...)."""
        light = self.intensity(parameters)
        scale, background = (_like(parameters[:, some], light) for some in (self.scale, self.background))
        return (light * scale + background) * self.pooled

    def linearize(
        self, parameters: Float[Tensor, "images {len(self.names)}"]
    ) -> tuple[Float[Tensor, "images parts pixels"], Float[Tensor, "images {len(self.names)} parts pixels"]]:
        """Expected counts (B, parts, pixels) and their derivatives (B, len(names), parts, pixels)."""
        size = len(parameters)
        (first, second), (slopes, others) = (part.split(size) for part in self.one.jacobian(self._both(parameters)))
        brightness = parameters[:, self.brightness, None, None]
        light = first + brightness * second
        scale = parameters[:, self.scale, None] * self.pooled
        jacobian = light.new_zeros(size, len(self.names), *light.shape[1:])
        jacobian[:, self.first] = (slopes + brightness[:, None] * others) * scale[:, None]
        jacobian[:, self.apart] = (brightness[:, None] * others[:, self.shift]) * scale[:, None]
        jacobian[:, self.brightness] = second * scale
        for part in range(light.shape[1]):
            jacobian[:, self.scale.start + part, part] = light[:, part] * self.pooled
            jacobian[:, self.background.start + part, part] = self.pooled
        return light * scale + parameters[:, self.background, None] * self.pooled, jacobian

    def prior(self, observed: Observed) -> Prior:
        """Of fits to what is ``observed``."""
        mean, precision = torch.zeros(2, len(self.names), dtype=torch.float64)
        lowest, known = torch.full_like(mean, -torch.inf), Prior.of(self.one)
        mean[self.first], precision[self.first] = known.mean[self.first], known.precision[self.first]
        mean[self.brightness], precision[self.brightness] = BRIGHTNESS_PRIOR[0], BRIGHTNESS_PRIOR[1] ** -2
        lowest[self.brightness], lowest[self.scale] = 0.0, LEAST_COUNTS
        least = observed.least_background(self.pooled)
        lowest = lowest.repeat(len(least), 1)
        lowest[:, self.background] = least
        return Prior(mean, precision, lowest, torch.full_like(mean, torch.inf))

    def _both(self, parameters: Tensor) -> Tensor:
        """The parameters (2 B, modes + 3) of the first bead of each image, and then of the second."""
        first = parameters[:, self.first]
        second = first.clone()
        second[:, self.shift] += parameters[:, self.apart]
        return torch.cat([first, second])


def two_beads_misfit(rough: ForwardModel, observed: Observed, middle_nm: Float[Tensor, " 3"]) -> tuple[Misfit, float]:
    """What the likeliest two beads leave of the one image ``observed``, and the second one's light over the first's.

    The search begins around the center of mass ``middle_nm`` (3,). ``rough`` is a model of wavefront and shift.
    """
    model = TwoBeads(rough)
    directions = [np.array(way, dtype=float) for way in product((-1, 0, 1), repeat=3) if way > (0, 0, 0)]
    ways = [length * way / np.linalg.norm(way) for length in START_DISTANCES_NM for way in directions]
    apart = torch.from_numpy(np.stack(ways))
    beads = torch.zeros(len(apart), model.scale.start, dtype=torch.float64)
    beads[:, model.apart], beads[:, model.brightness] = apart, 1.0
    beads[:, model.shift] = middle_nm - apart / 2
    several = observed.repeated(len(beads))
    first = fit(model, several, with_light(model, several, beads), prior=model.prior(several), iterations=FIRST_STEPS)
    likeliest = first.parameters[first.loss.argsort()[:FINISHED_STARTS]]
    several = observed.repeated(len(likeliest))
    pairs = fit(model, several, likeliest, prior=model.prior(several), iterations=LAST_STEPS)
    best = pairs.item(int(pairs.loss.nan_to_num(torch.inf).argmin()))
    misfit = Misfit.of_fit(model, observed, best.parameters, len(model.names))
    return misfit, float(best.parameters[0, model.brightness])


def _like(values: Tensor, images: Tensor) -> Tensor:
    """Values (B,) or (B, parts), to be multiplied with images (B, parts, ...)."""
    return values.reshape(*values.shape, *[1] * (images.ndim - values.ndim))
