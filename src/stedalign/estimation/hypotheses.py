"""What may explain an image that this setup does not: another light, another scale, turned sections, two beads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.fit import FitResult, fit, start_parameters
from stedalign.estimation.fits import fit_from, place
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.models import Models
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal
from stedalign.estimation.two_beads import two_beads_misfit
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import Image, OrthoSections
from stedalign.imaging.nuisances import Prior
from stedalign.optics.parameters import PIXEL_ERRORS
from stedalign.optics.patterns import Flat, Pattern, TopHat, Vortex

Floats = np.typing.NDArray[np.float64]

BETTER = 0.5
"""What another hypothesis leaves unexplained, over what this setup does, where it is the better one."""
MOST_UNEXPLAINED = 0.03
"""Share that a rough model of the right setup leaves unexplained at most."""
LEAST_MISFIT = 0.003
"""Share left unexplained below which nothing else is asked: other hypotheses do not come as near."""
LEAST_SECOND = 0.1
"""Light of a second bead over the first one's below which there is none."""
ROUGH_STEPS = 25
ROUGH_GUESSES, GUESS_WAVES = 8, 0.05
"""Random starts of each rough fit, and how far they lie from zero."""
LARGEST_SCALE, SCALE_SIGMA, LEAST_SCALE = 0.3, 0.2, 0.07
"""How far another size of pixels may be off, its standard deviation, and below what it is no other one."""
PATTERNS: tuple[tuple[str, Pattern], ...] = (
    ("a top-hat", TopHat()),
    ("a vortex", Vortex()),
    ("a beam without a pattern", Flat()),
)


def better_light(models: Models, observed: Observed, solution: FitResult, misfit: Misfit) -> str:
    """Which other light explains one image far better than the fit ``solution``, in words; empty if none does.

    Tried by rough models of wavefront and shift, in some tenths of a second.
    """
    return _better(_other_lights(models, observed, solution), misfit)


def better_scan(
    models: Models,
    observed: Observed,
    image: Image,
    solution: FitResult,
    misfit: Misfit,
    propose: Callable[[Sequence[Image]], Sequence[Proposal]],
) -> str:
    """Which other size of pixels or order of sections does, in words; empty if none does.

    Orders of the sections take the whole model, which starts from what ``propose`` makes of such images.
    """
    return _better(_other_scans(models, observed, image, solution, propose), misfit)


def _better(hypotheses: Iterator[tuple[str, float]], misfit: Misfit) -> str:
    """The first of what leaves such shares of an image unexplained that is far better than what leaves ``misfit``."""
    if misfit.share < LEAST_MISFIT:
        return ""
    for what, share in hypotheses:
        if share < min(MOST_UNEXPLAINED, BETTER * misfit.share):
            return (
                f"this does not look like this setup's focus: {what} explains the image better "
                f"({share:.1%} of it unexplained, not {misfit.share:.1%})"
            )
    return ""


def shows_two_beads(models: Models, observed: Observed, image: Image, misfit: Misfit) -> bool:
    """Whether two beads explain one image far better than one does, which leaves ``misfit``."""
    if misfit.share < LEAST_MISFIT:
        return False
    rough = models.rough
    middle = torch.tensor(displacement_nm(image))
    left, brightness = two_beads_misfit(rough, observed.binned(rough), middle)
    return brightness > LEAST_SECOND and left.share < min(MOST_UNEXPLAINED, BETTER * misfit.share)


def _other_lights(models: Models, observed: Observed, solution: FitResult) -> Iterator[tuple[str, float]]:
    """What else the light may be, and the share of the image that this leaves unexplained."""
    begin, beam = Proposal(*place(models.layout, solution)), models.spec.beam
    if beam.polarization.kind == "uniform" and beam.polarization.ellipticity_deg:
        other = beam.polarization.model_copy(update={"ellipticity_deg": -beam.polarization.ellipticity_deg})
        handed = beam.model_copy(update={"polarization": other})
        yield "light of the other handedness", _rough(models.rough_of(handed), observed, begin)[0].share
    if beam.overlay is None:
        for what, pattern in PATTERNS:
            if pattern.kind != beam.pattern.kind:
                patterned = beam.model_copy(update={"pattern": pattern})
                yield f"the focus of {what}", _rough(models.rough_of(patterned), observed, begin)[0].share


def _other_scans(
    models: Models,
    observed: Observed,
    image: Image,
    solution: FitResult,
    propose: Callable[[Sequence[Image]], Sequence[Proposal]],
) -> Iterator[tuple[str, float]]:
    """The same of sections of another size or order, the cheapest first."""
    scales = [name for name in PIXEL_ERRORS if name[-1] in models.view.axes]
    scaled = models.rough_of(models.spec.beam, dict.fromkeys(scales, LARGEST_SCALE))
    misfit, parameters = _rough(scaled, observed, Proposal(*place(models.layout, solution)))
    far = float(parameters[0, scaled.layout.columns(PIXEL_ERRORS[:2])].abs().max())
    if far > LEAST_SCALE:
        yield f"a pixel size {far:.0%} off", misfit.share
    if isinstance(image, OrthoSections):
        yield from _turned(models, observed, image, propose)


def _rough(model: ForwardModel, observed: Observed, begin: Proposal) -> tuple[Misfit, Tensor]:
    """What the likeliest of some rough fits leaves unexplained, and its parameters (1, P)."""
    layout, binned = model.layout, observed.binned(model)
    guesses = np.random.default_rng(0).normal(scale=GUESS_WAVES, size=(ROUGH_GUESSES, len(begin.waves)))
    waves = torch.from_numpy(np.stack([begin.waves, np.zeros_like(begin.waves), *guesses]))
    scales = [-SCALE_SIGMA, 0.0, SCALE_SIGMA] if layout.free_names else [0.0]
    several = binned.repeated(len(waves) * len(scales))
    free = torch.tensor(scales).repeat_interleave(len(waves))[:, None].expand(-1, len(layout.free_names))
    shift = torch.from_numpy(begin.shift_nm).expand(len(several.counts), 3)
    start = start_parameters(model, several, waves.repeat(len(scales), 1), shift, free)
    prior = Prior.of(model, None, several.least_background(model.pooled))
    prior.precision[layout.free] = SCALE_SIGMA**-2
    ends = fit(model, several, start, prior=prior, iterations=ROUGH_STEPS)
    best = ends.item(int(ends.loss.nan_to_num(torch.inf).argmin()))
    return Misfit.of_fit(model, binned, best.parameters, len(layout)), best.parameters


def _turned(
    models: Models,
    observed: Observed,
    image: OrthoSections,
    propose: Callable[[Sequence[Image]], Sequence[Proposal]],
) -> Iterator[tuple[str, float]]:
    """The same for sections that are mirrored, turned or in another order."""
    turns: dict[str, Callable[[Tensor], Tensor]] = {
        "a mirrored scan": lambda parts: torch.stack([parts[0].flip(-1), parts[1].flip(-1), parts[2]]),
        "a mirrored xy section": lambda parts: torch.stack([parts[0].flip(-1), parts[1], parts[2]]),
        "an xy section turned by 90 degrees": lambda parts: torch.stack([parts[0].rot90(1), parts[1], parts[2]]),
        "an xy section turned back by 90 degrees": lambda parts: torch.stack([parts[0].rot90(-1), parts[1], parts[2]]),
        "x and y exchanged in the xy section": lambda parts: torch.stack([parts[0].mT, parts[1], parts[2]]),
        "another order of the xz and the yz section": lambda parts: torch.stack([parts[0], parts[2], parts[1]]),
        "sections with z along their rows": lambda parts: torch.stack([parts[0], parts[1].mT, parts[2].mT]),
    }
    for what, turn in turns.items():
        turned = Observed(*(turn(part[0])[None] for part in (observed.counts, observed.extra, observed.weight)))
        data = turn(torch.from_numpy(np.array(image.data))).numpy()
        start = propose([OrthoSections(data, image.pixel_nm, saturation=image.saturation)])
        end = fit_from(models, turned, start)
        model = models.for_fit(end)
        yield what, Misfit.of_fit(model, turned.binned(model), end.parameters, len(model.layout)).share
