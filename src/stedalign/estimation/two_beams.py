"""Two beams on one bead in one scan: what the scan does to both is fitted once, and so their displacement is known.

Each beam has its own wavelength, pattern, fill and wavefront; pixel sizes, blur, bead and the drift of each section are
those of the scan. Both images are explained by themselves first; then one Gauss-Newton fit joins the two likelihoods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from stedalign.errors import InputError
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.checks import ImageError
from stedalign.estimation.effects import Freedom, loss, step
from stedalign.estimation.estimate import Estimate
from stedalign.estimation.estimator import Estimator, Finding
from stedalign.estimation.explain import Explanation, covariances
from stedalign.estimation.fit import SMALLEST_GAIN, fit
from stedalign.estimation.linearized import Linearized
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.observed import Observed
from stedalign.estimation.overlay import Foci, Overlay, PlaceOfFocus
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.images import VOLUME, Image
from stedalign.imaging.nuisances import Prior
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.parameters import IMAGE_PARAMETERS, PARAMETERS

Floats = NDArray[np.float64]
ROUNDS, CORRELATED_STEPS = 2, 3
"""Joint fits, each with what the one before left as further noise; and steps that know how that is correlated."""
BRIGHT, DARK = 0.7, 0.5
"""Of the crest: what the middle of a spot exceeds, and that of a donut does not reach, whatever their aberrations."""
SMOOTHED_NM, DARKEST = 40.0, 0.1
"""Standard deviation over which noise is averaged there, and the share of the pixels that are background."""
STEP_SHARES = 1.0, 0.3, 0.1
"""Of a Gauss-Newton step, tried in turn."""


@dataclass(frozen=True, eq=False)
class TwoBeamEstimate:
    """What the images of one bead by both beams say."""

    depletion: Estimate
    excitation: Estimate
    overlay: Overlay | None
    """None where one of the two was refused."""

    def to_json(self) -> dict[str, Any]:
        overlay = None if self.overlay is None else self.overlay.to_json()
        return self.depletion.to_json() | {"excitation": self.excitation.to_json(), "overlay": overlay}


def estimate_two_beams(depletion: Estimator, excitation: Estimator, images: Sequence[Image]) -> TwoBeamEstimate:
    """Estimate both wavefronts and the overlay from ``images`` of one bead by either beam, in one scan.

    Raises ``InputError`` where the two show other sections or pixels, are exchanged, or where planes of volumes are to
    have a light and a place of their own, and ``ImageError``, which names the beam, for a saturated or an empty image.
    """
    _check_alike(*images)
    if images[0].view.parts == (VOLUME,) and any((*depletion.nuisances.unsteady, *excitation.nuisances.unsteady)):
        raise InputError(
            "both beams of volumes are estimated with steady planes: set plane_flux and plane_wobble_nm to 0"
        )
    if depletion.spec.beam.pattern.has_zero and not excitation.spec.beam.pattern.has_zero:
        _check_order(*images)
    findings = [
        _found(estimator, image, beam)
        for estimator, image, beam in zip((depletion, excitation), images, ("depletion", "excitation"), strict=True)
    ]
    zero, spot = depletion.told(findings[0]), excitation.told(findings[1])
    if not (zero.accepted and spot.accepted):
        return TwoBeamEstimate(zero, spot, None)
    joint = _Joint.of(findings).fitted()
    first, second = joint.explanations()
    zero = depletion.told(replace(findings[0], explanation=first))
    spot = excitation.told(replace(findings[1], explanation=second))
    if not (zero.accepted and spot.accepted):
        return TwoBeamEstimate(zero, spot, None)
    return TwoBeamEstimate(zero, spot, joint.overlay())


def _found(estimator: Estimator, image: Image, beam: str) -> Finding:
    try:
        return estimator.find(image)
    except ImageError as error:
        raise ImageError(f"{beam} beam: {error}") from error


def _check_alike(depletion: Image, excitation: Image) -> None:
    """Raise ``InputError`` unless both images may be of one scan."""
    for name, first, second in (
        ("sections", depletion.view.parts, excitation.view.parts),
        ("pixels", depletion.view.shape, excitation.view.shape),
        ("pixel sizes", depletion.pixel_nm, excitation.pixel_nm),
        ("pixel sizes", depletion.view.part_pixel_nm, excitation.view.part_pixel_nm),
    ):
        if first != second:
            raise InputError(
                f"the images of both beams come from one scan, but their {name} differ: {first} and {second}"
            )


def _check_order(zero: Image, spot: Image) -> None:
    """Raise ``InputError`` where the first image is bright in its middle and the second dark."""
    if _brightness_of_middle(zero) > BRIGHT and _brightness_of_middle(spot) < DARK:
        raise InputError(
            "the images look exchanged: the depletion beam's is bright in its middle, the excitation's dark"
        )


def _brightness_of_middle(image: Image) -> float:
    """How bright an image's first part is where its center of mass lies, over its brightest point."""
    pixel = image.view.pixel_of(image.view.parts[0])
    place = dict(zip("xyz", displacement_nm(image), strict=True))
    smooth = ndimage.gaussian_filter(image.counts[0], [SMOOTHED_NM / size for size in pixel.values()])
    light = smooth - np.quantile(smooth, DARKEST)
    places = [
        place[axis] / size + (count - 1) / 2 for (axis, size), count in zip(pixel.items(), light.shape, strict=True)
    ]
    (middle,) = ndimage.map_coordinates(light, [[at] for at in places], order=1, mode="nearest")
    return float(middle / max(light.max(), 1e-300))


@dataclass(frozen=True, eq=False)
class _Joint:
    """The parameters of both beams as one vector (J,), in which those of the scan stand once."""

    findings: Sequence[Finding]
    misfits: Sequence[Misfit]
    columns: Sequence[Int[Tensor, " _"]]
    """Where each beam's parameters stand."""
    given: Freedom
    parameters: Float[Tensor, " joint"]

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> _Joint:
        first, second = (finding.explanation for finding in findings)
        columns = _columns(first, second)
        size = int(columns[1].max()) + 1
        known = cls(
            findings,
            [first.misfit, second.misfit],
            columns,
            _joined(first.given, second.given, columns, size),
            torch.zeros(size, dtype=torch.float64),
        )
        # Of what both tell, the surer one.
        begin, surest = known.parameters.clone(), torch.full((size,), torch.inf, dtype=torch.float64)
        for explanation, places in zip((first, second), columns, strict=True):
            variance = explanation.total_covariance.diagonal()
            surer = variance < surest[places]
            begin[places[surer]] = explanation.solution.parameters[0][surer]
            surest[places] = torch.minimum(variance, surest[places])
        return replace(known, parameters=begin)

    @property
    def explained(self) -> list[Explanation]:
        return [finding.explanation for finding in self.findings]

    def at(self, parameters: Float[Tensor, " joint"]) -> Linearized:
        """The likelihood of both images around ``parameters`` (J,)."""
        each = []
        for finding, misfit, places in zip(self.findings, self.misfits, self.columns, strict=True):
            model = finding.explanation.model
            observed = finding.recording.observed.binned(model)
            each.append(Linearized.at(model, observed, misfit, parameters[places]))
        return _together(each, self.columns, parameters)

    def fitted(self) -> _Joint:
        """At the end of the joint fit, with the misfits that it leaves.

        Each pixel by itself first, which is robust; then some steps that know how what is left is correlated.
        """
        joint = self
        for _ in range(ROUNDS):
            observed = joint.observed
            prior = Prior(self.given.mean, self.given.precision, self.given.lowest, self.given.highest)
            model = _BothBeams([each.model for each in self.explained], self.columns)
            ended = fit(model, observed, joint.parameters[None], prior=prior, held=~self.given.free)
            joint = joint.moved(ended.parameters[0])
        at = joint.at(joint.parameters)
        for _ in range(CORRELATED_STEPS):
            whole_step = step(at, self.given)
            trials = (joint.at(at.parameters + share * whole_step) for share in STEP_SHARES)
            enough = loss(at, self.given) - SMALLEST_GAIN
            better = next((trial for trial in trials if loss(trial, self.given) < enough), None)
            if better is None:
                break
            at = better
        return joint.moved(at.parameters)

    @property
    def observed(self) -> Observed:
        """All pixels of both images as one part, with what the models leave as further noise."""
        each = []
        for finding, misfit in zip(self.findings, self.misfits, strict=True):
            binned = finding.recording.observed.binned(finding.explanation.model)
            further = torch.full(binned.counts.shape[:2], misfit.counts**2, dtype=torch.float64)
            noisy = binned.with_more_noise(further)
            each.append([part.flatten(1)[:, None] for part in (noisy.counts, noisy.extra, noisy.weight)])
        return Observed(*(torch.cat(parts, dim=2) for parts in zip(*each, strict=True)))

    def moved(self, parameters: Float[Tensor, " joint"]) -> _Joint:
        """At other parameters (J,), with the misfits there."""
        misfits = [
            _left(finding, misfit, parameters[places])
            for finding, misfit, places in zip(self.findings, self.misfits, self.columns, strict=True)
        ]
        return replace(self, parameters=parameters, misfits=misfits)

    def explanations(self) -> list[Explanation]:
        """Those of each beam by itself, with what the other tells of the scan."""
        noise, beyond, spread = self.covariance
        return [
            replace(
                explanation,
                solution=replace(explanation.solution, parameters=self.parameters[places][None]),
                misfit=misfit,
                noise_covariance=noise[places][:, places],
                misfit_covariance=beyond[places][:, places],
                spread=spread[places][:, places],
            )
            for explanation, misfit, places in zip(self.explained, self.misfits, self.columns, strict=True)
        ]

    @cached_property
    def covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the joint parameters (J, J): from noise, from what the models leave, and from effects not taken."""
        noise, beyond = covariances(self.at(self.parameters), self.given)
        spread = torch.zeros_like(noise)
        for explanation, places in zip(self.explained, self.columns, strict=True):
            spread[places[:, None], places] += explanation.spread
        # Of what both have in common the mean.
        twice = torch.bincount(torch.cat(list(self.columns))).double()
        return noise, beyond, spread / (twice[:, None] * twice).sqrt()

    def overlay(self) -> Overlay:
        """Of the foci as they are fitted."""
        first, second = self.explained
        ours, theirs = self.columns
        zero, spot = PlaceOfFocus(first.model), PlaceOfFocus(second.model)

        def foci(vectors: Tensor) -> Foci:
            depletion, excitation = vectors[:, ours], vectors[:, theirs]
            return Foci(
                zero=zero(depletion),
                mended=zero.without_wavefront(depletion),
                spot=spot(excitation),
                zero_alone=depletion[:, first.model.layout.shift].numpy(),
                spot_alone=excitation[:, second.model.layout.shift].numpy(),
            )

        noise, beyond, spread = self.covariance
        return Overlay.of(foci, self.parameters, noise + beyond + spread, first.model.spec)


class _BothBeams:
    """The expected counts of both images, all pixels as one part, for joint parameters."""

    planes = None
    """Planes with a light and a place of their own are refused."""

    def __init__(self, models: Sequence[ForwardModel], columns: Sequence[Tensor]) -> None:
        self.models, self.columns = models, columns

    @property
    def focus(self) -> Focus:
        """Of the depletion beam."""
        return self.models[0].focus

    def __call__(self, parameters: Float[Tensor, "images joint"]) -> Float[Tensor, "images 1 pixels"]:
        each = zip(self.models, self.columns, strict=True)
        return torch.cat([model(parameters[:, places]).flatten(1) for model, places in each], dim=1)[:, None]

    def linearize(
        self, parameters: Float[Tensor, "images joint"]
    ) -> tuple[Float[Tensor, "images 1 pixels"], Float[Tensor, "images joint 1 pixels"]]:
        """Expected counts (B, 1, pixels) and their derivatives (B, J, 1, pixels)."""
        values, derivatives = [], []
        for model, places in zip(self.models, self.columns, strict=True):
            value, slopes = model.linearize(parameters[:, places])
            wide = slopes.new_zeros(*parameters.shape, value[0].numel())
            wide[:, places] = slopes.flatten(2)
            values.append(value.flatten(1))
            derivatives.append(wide)
        return torch.cat(values, dim=1)[:, None], torch.cat(derivatives, dim=2)[:, :, None]


def _columns(first: Explanation, second: Explanation) -> list[Tensor]:
    """Where the parameters of each stand in the joint vector: those of the second after the first's, but for shared."""
    ours, theirs = first.model.layout, second.model.layout
    shared = {name: column for name, column in _of_the_scan(ours).items() if bool(first.given.free[column])}
    places, end = [], len(ours)
    named = {column: name for name, column in _of_the_scan(theirs).items() if bool(second.given.free[column])}
    for column in range(len(theirs)):
        name = named.get(column)
        if name in shared:
            places.append(shared[name])
        else:
            places.append(end)
            end += 1
    return [torch.arange(len(ours)), torch.tensor(places)]


def _of_the_scan(layout: ParameterLayout) -> dict[str, int]:
    """The columns of what belongs to scan and bead, by name: the drift of each part, and what is kept of the image."""
    words = {PARAMETERS[name].label for name in IMAGE_PARAMETERS}
    return {
        name: column
        for column, name in enumerate(layout.names)
        if layout.drift.start <= column < layout.drift.stop or name in words
    }


def _joined(first: Freedom, second: Freedom, columns: Sequence[Tensor], size: int) -> Freedom:
    """Of shared parameters the wider prior, and the bounds of both."""
    free, mean = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.float64)
    precision = torch.full_like(mean, torch.inf)
    lowest, highest = torch.full_like(mean, -torch.inf), torch.full_like(mean, torch.inf)
    for each, places in zip((first, second), columns, strict=True):
        free[places], mean[places] = each.free, each.mean
        precision[places] = torch.minimum(precision[places], each.precision)
        lowest[places] = torch.maximum(lowest[places], each.lowest)
        highest[places] = torch.minimum(highest[places], each.highest)
    return Freedom(free, mean, precision, lowest, highest)


def _together(each: Sequence[Linearized], columns: Sequence[Tensor], parameters: Tensor) -> Linearized:
    """Several likelihoods as one of the joint parameters; images do not know of each other's noise."""
    size, pairs = len(parameters), list(zip(each, columns, strict=True))

    def spread_out(matrices: Tensor, places: Tensor) -> Tensor:
        wide = matrices.new_zeros(*matrices.shape[:-2], size, size)
        wide[..., places[:, None], places] = matrices
        return wide

    def lengthened(vectors: Tensor, places: Tensor) -> Tensor:
        long = vectors.new_zeros(*vectors.shape[:-1], size)
        long[..., places] = vectors
        return long

    return Linearized(
        parameters,
        loss=sum(at.loss for at in each),
        information=torch.cat([spread_out(at.information, places) for at, places in pairs]),
        gradient=torch.cat([lengthened(at.gradient, places) for at, places in pairs]),
        noise=torch.stack([spread_out(at.noise, places) for at, places in pairs]).sum(0),
        misfit=torch.stack([spread_out(at.misfit, places) for at, places in pairs]).sum(0),
    )


def _left(finding: Finding, before: Misfit, parameters: Tensor) -> Misfit:
    """What one beam's image is left with; nothing beyond noise where that explained it before."""
    explanation = finding.explanation
    observed = finding.recording.observed.binned(explanation.model)
    misfit = Misfit.of_fit(explanation.model, observed, parameters[None], int(explanation.given.free.sum()))
    return misfit if before.counts else replace(misfit, counts=0.0, fraction=0.0)
