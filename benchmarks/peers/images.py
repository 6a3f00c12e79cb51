"""Noise-free images of beads, cut from the peers' volumes and kept, since some of the peers take seconds for one.

A peer's volume is coarse: its intensity has no finer period than 277 nm laterally and 832 nm axially, and is sampled
four times in each. Pixels, beads and pinholes are made of it by interpolation, with code that shares nothing with the
package. Delete the folder ``images`` of the cache after a change of what is simulated.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from peers.compare import Convention, Floats, Modes, Reference, errors
from peers.environments import PEERS, Peer, environment, run_script
from peers.measure import ANSI_3_TO_13, JUDGED, NA, RMS_WAVES, WAVELENGTH_NM, edge_factor
from scipy.ndimage import map_coordinates, spline_filter

SIMULATORS = {
    "psf-generator": replace(PEERS["psf-generator"], script="volumes_psf_generator.py"),
    "PyCustomFocus": Peer(
        "PyCustomFocus==3.4.0",
        "volumes_pycustomfocus.py",
        settings=(),
        undeclared=("numpy", "scipy", "matplotlib", "pydantic", "tqdm"),
    ),
    "faser": replace(PEERS["faser"], script="volumes_faser.py"),
}
DEFAULT = [(n, m) for n in (2, 3, 4) for m in range(-n, n + 1, 2) if (n, m) != (2, 0)]
"""The modes (n, m) of the default setup; m < 0 is the sine."""
HIGHER = [(n, m) for n in (5, 6) for m in range(-n, n + 1, 2)]
SAMPLES, PIXEL_NM = 64, 31.25
HALF_NM, GRID = (1280.0, 1600.0), (38, 17)
"""Half widths and samples of a volume, laterally and axially: beyond the pixels by what the interpolation needs."""
WIDE_HALF_NM, WIDE_GRID = (2000.0, 1600.0), (59, 17)
"""Of the detection's, which the pinhole sees more of."""
AIRY_UNIT_NM = 1.22 * WAVELENGTH_NM / NA
AT_ONCE = 10


@dataclass(frozen=True)
class Subject:
    """What is imaged, and how."""

    bead_nm: float = 0.0
    higher_waves: float = 0.0
    """Rms of the modes of n = 5 and 6 together."""
    pinhole: bool = False
    """Whether the detected light, of the beam's wavelength, passes a pinhole of 1 Airy unit."""


SUBJECTS = {
    "point": Subject(),
    "bead": Subject(bead_nm=80.0),
    "higher-6": Subject(higher_waves=0.006),
    "higher-10": Subject(higher_waves=0.010),
    "higher-30": Subject(higher_waves=0.030),
    "pinhole": Subject(pinhole=True),
}


@dataclass(frozen=True)
class Truth:
    """What is random about an image: the same for every subject and peer."""

    waves: Floats
    """Of ``DEFAULT``, rms."""
    higher: Floats
    """Of ``HIGHER``, for a total of 1."""
    shift_nm: Floats
    """Of the bead along x, y, z: up to half a pixel."""

    @classmethod
    def draw(cls, seed: int) -> Truth:
        random = np.random.default_rng([5, seed])
        peak_waves = random.normal(scale=random.uniform(0.05, 0.1), size=len(DEFAULT))
        higher = random.normal(size=len(HIGHER))
        shift = random.uniform(-PIXEL_NM / 2, PIXEL_NM / 2, size=3)
        return cls(peak_waves / [edge_factor(n, m) for n, m in DEFAULT], higher / np.linalg.norm(higher), shift)

    def modes(self, higher_waves: float) -> Modes:
        return dict(zip(DEFAULT + HIGHER, [*self.waves, *(higher_waves * self.higher)], strict=True))


class Interpolated:
    """The intensity (P,) at points (P, 3) in nm, in our axes, from samples [x, y, z] in a peer's."""

    def __init__(self, samples: NDArray[np.floating], positions_nm: Sequence[Floats], convention: Convention) -> None:
        self.coefficients = spline_filter(samples.astype(float), order=5)
        self.first = np.array([axis[0] for axis in positions_nm])
        self.step = np.array([axis[1] - axis[0] for axis in positions_nm])
        self.convention = convention

    def __call__(self, points_nm: Floats) -> Floats:
        places = (self.convention.peer_points(points_nm) - self.first) / self.step
        return map_coordinates(self.coefficients, places.T, order=5, prefilter=False)


Intensity = Callable[[Floats], Floats]


class Simulator:
    """A peer in its environment, its conventions known."""

    def __init__(self, name: str, cache: Path, reference: Reference, say: Callable[[str], None]) -> None:
        self.script, self.say, self.name = SIMULATORS[name].script, say, name
        self.python = environment(name.lower(), SIMULATORS[name], cache, say)
        known = cache / "images" / name / "convention.json"
        if not known.exists():
            known.parent.mkdir(parents=True, exist_ok=True)
            facts = self._compare(reference)
            known.write_text(json.dumps(facts), encoding="utf-8")
        self.convention = Convention(*json.loads(known.read_text(encoding="utf-8"))["convention"])

    def _compare(self, reference: Reference) -> dict[str, list[float]]:
        """The peer's convention, and its relative errors against dense quadrature."""
        self.say(f"comparing {self.name} with direct summation")
        random = np.random.default_rng(0)
        waves = random.normal(size=(JUDGED, len(ANSI_3_TO_13)))
        waves *= RMS_WAVES / np.linalg.norm(waves, axis=1, keepdims=True)
        modes: list[Modes] = [dict(zip(ANSI_3_TO_13, row, strict=True)) for row in waves]
        volumes, positions = self._run(modes, True, HALF_NM, GRID)
        facts = {"positions_nm": positions, "modes": ANSI_3_TO_13, "waves": waves}
        distances, convention = errors(facts, volumes, reference)
        return {"convention": list(convention), "errors": distances}

    def _run(
        self, modes: list[Modes], vortex: bool, half_nm: tuple[float, float], samples: tuple[int, int]
    ) -> tuple[NDArray[np.floating], list[Floats]]:
        """Volumes (W, x, y, z) and their positions, both in the peer's axes."""
        with tempfile.TemporaryDirectory() as folder:
            request, out = Path(folder) / "request.npz", Path(folder) / "volumes.npz"
            waves = [list(row.values()) for row in modes]
            np.savez(
                request, modes=list(modes[0]), waves=waves, vortex=vortex, half_nm=np.array(half_nm), samples=samples
            )
            run_script(self.python, self.script, str(request), 1, out)
            with np.load(out) as made:
                return made["volumes"], [made[axis] for axis in "xyz"]

    def volumes(self, wavefronts: Sequence[Modes]) -> list[Intensity]:
        """The beam with the wavefronts, which are all of the same modes."""
        volumes, positions = self._run([self.convention.modes(modes) for modes in wavefronts], True, HALF_NM, GRID)
        return [Interpolated(volume, positions, self.convention) for volume in volumes]

    @cached_property
    def through_pinhole(self) -> Intensity:
        """What a pinhole of 1 Airy unit lets pass of the light from each point of the focus."""
        flat: list[Modes] = [{(2, 0): 0.0}]
        volumes, positions = self._run(flat, False, WIDE_HALF_NM, WIDE_GRID)
        detection = Interpolated(volumes[0], positions, self.convention)
        lateral, axial = (half * np.linspace(-1, 1, count) for half, count in zip(HALF_NM, GRID, strict=True))
        grid = np.stack(np.meshgrid(lateral, lateral, axial, indexing="ij"), axis=-1)
        passing = averaged(detection, grid.reshape(-1, 3), *disk(AIRY_UNIT_NM / 2))
        return Interpolated(passing.reshape(grid.shape[:-1]), (lateral, lateral, axial), Convention(*5 * [False]))


def disk(radius: float) -> tuple[Floats, Floats]:
    """Points (P, 3) of a disk across the optical axis and their weights, which sum to 1."""
    (node, share), turns = leggauss(8), np.arange(16) / 16 * 2 * np.pi
    r = radius * (node + 1) / 2
    points = np.stack([np.outer(r, np.cos(turns)), np.outer(r, np.sin(turns)), np.zeros((8, 16))], axis=-1)
    weights = np.repeat(share * r, 16)
    return points.reshape(-1, 3), weights / weights.sum()


def ball(radius: float) -> tuple[Floats, Floats]:
    """Points (P, 3) of a ball and their weights, which sum to 1: exact for polynomials up to the fifth degree."""
    (node, share), turns = leggauss(3), np.arange(6) / 6 * 2 * np.pi
    r, cos, turn = (part.ravel() for part in np.meshgrid(radius * (node + 1) / 2, node, turns, indexing="ij"))
    weights = (share[:, None, None] * share[:, None] * np.ones(6)).ravel() * r**2
    sin = np.sqrt(1 - cos**2)
    points = np.stack([r * sin * np.cos(turn), r * sin * np.sin(turn), r * cos], axis=-1)
    return points, weights / weights.sum()


def averaged(intensity: Intensity, points_nm: Floats, around: Floats, weights: Floats) -> Floats:
    """The mean of the intensity over a body around each of the points."""
    return sum(weight * intensity(points_nm + place) for place, weight in zip(around, weights, strict=True))


def section_points() -> Floats:
    """The pixels (3 * N * N, 3) of xy [y, x], xz [z, x] and yz [z, y]."""
    axis = (np.arange(SAMPLES) - (SAMPLES - 1) / 2) * PIXEL_NM
    down, right = np.meshgrid(axis, axis, indexing="ij")
    none = np.zeros_like(down)
    planes = (right, down, none), (right, none, down), (none, right, down)
    return np.stack([np.stack(plane, axis=-1) for plane in planes]).reshape(-1, 3)


def sections(subject: Subject, focus: Intensity, simulator: Simulator, shift_nm: Floats) -> Floats:
    """The noise-free image (3, N, N) of a bead, its crest 1."""
    points = section_points() - shift_nm

    def seen(places: Floats) -> Floats:
        return focus(places) * (simulator.through_pinhole(places) if subject.pinhole else 1)

    image = averaged(seen, points, *ball(subject.bead_nm / 2)) if subject.bead_nm else seen(points)
    return (image / image.max()).reshape(3, SAMPLES, SAMPLES)


def image_path(cache: Path, name: str, subject: str, seed: int) -> Path:
    return cache / "images" / name / f"{subject}-{seed:04d}.npz"


def make_images(
    name: str,
    subjects: Sequence[str],
    seeds: Sequence[int],
    *,
    cache: Path,
    reference: Reference,
    say: Callable[[str], None],
) -> None:
    """Make the images of a peer that are not there yet. Raises ``Unavailable`` where the peer cannot run."""
    missing = [
        (subject, seed) for subject in subjects for seed in seeds if not image_path(cache, name, subject, seed).exists()
    ]
    if not missing:
        return
    simulator = Simulator(name, cache, reference, say)
    for strength in sorted({SUBJECTS[subject].higher_waves for subject, _ in missing}):
        alike = [(subject, seed) for subject, seed in missing if SUBJECTS[subject].higher_waves == strength]
        wanted = sorted({seed for _, seed in alike})
        for first in range(0, len(wanted), AT_ONCE):
            chunk = wanted[first : first + AT_ONCE]
            say(f"{name}: n = 5, 6 of {1e3 * strength:g} mλ, images {chunk[0]} to {chunk[-1]}")
            volumes = simulator.volumes([Truth.draw(seed).modes(strength) for seed in chunk])
            for seed, volume in zip(chunk, volumes, strict=True):
                for subject in (subject for subject, other in alike if other == seed):
                    image = sections(SUBJECTS[subject], volume, simulator, Truth.draw(seed).shift_nm)
                    # Under another name until it is whole.
                    path = image_path(cache, name, subject, seed)
                    part = path.with_suffix(".part.npz")
                    np.savez_compressed(part, sections=image.astype(np.float32))
                    part.replace(path)
