"""The job every peer gets, and how it is timed; imported by the run_*.py scripts inside the peers' environments.

NA 1.4, n 1.518, 775 nm, circular light with a matched vortex (zero in the middle), uniform fill, sqrt(cos theta)
apodization, no mismatch; 64 samples at 20 nm along x, y and z; new random aberrations of 0.137 waves rms (0.86 rad)
for every repeat. No peer can make the three ortho-sections without the volume, so the volume is what all of them are
timed on. Needs numpy and nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NA, INDEX, WAVELENGTH_NM = 1.4, 1.518, 775.0
SAMPLES, STEP_NM = 64, 20.0
RMS_WAVES = 0.137
REPEATS, SECONDS = 5, 2.0
"""At least so many timed repeats, and more of them until so many seconds are over."""
JUDGED = 3
"""Wavefronts whose volumes are kept: the error depends on the wavefront, by a factor of 3 for the same rms."""
ANSI_3_TO_13 = ((2, -2), (2, 0), (2, 2), (3, -3), (3, -1), (3, 1), (3, 3), (4, -4), (4, -2), (4, 0), (4, 2))
"""The modes (n, m) for peers that have a choice; m < 0 is the sine."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Engine:
    """A peer made ready at one setting."""

    volume: Callable[[Floats], NDArray[np.floating]]
    """From waves rms of the modes to the intensity [x, y, z], in any unit."""
    positions_nm: tuple[Floats, Floats, Floats]
    """The samples along x, y and z that the peer really computes, which need not be those asked for."""


def edge_factor(n: int, m: int) -> float:
    """The value at the pupil's edge of an orthonormal Zernike polynomial."""
    return float(np.sqrt((n + 1) * (2 if m else 1)))


def peak_mb() -> float | None:
    """Peak resident memory of this process so far, in MB; None where the system does not tell."""
    # Not ru_maxrss on Linux: it survives exec, so that of a child starts at the peak of whoever started it.
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None


def main(peer: str, modes: Sequence[tuple[int, int]], build: Callable[[str, int], Engine], *engines: str) -> None:
    """Measure ``peer`` at the setting on the command line; write SETTING.npy and SETTING.json.

    ``modes`` are (n, m), m < 0 for the sine; ``build`` makes the engine from a setting and a number of threads;
    ``engines`` are packages whose versions matter too.
    """
    parser = argparse.ArgumentParser(description=f"Measures {peer} at one setting.")
    parser.add_argument("setting")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    random = np.random.default_rng(0)

    def draw() -> Floats:
        waves = random.normal(size=len(modes))
        return RMS_WAVES * waves / np.linalg.norm(waves)

    judged = [draw() for _ in range(JUDGED)]
    imported = peak_mb()
    engine = build(arguments.setting, arguments.threads)
    engine.volume(draw())
    times: list[float] = []
    while len(times) < REPEATS or sum(times) < SECONDS:
        waves = draw()
        start = time.perf_counter()
        engine.volume(waves)
        times.append(time.perf_counter() - start)
    peak = peak_mb()

    arguments.out.mkdir(parents=True, exist_ok=True)
    np.save(arguments.out / f"{arguments.setting}.npy", np.stack([engine.volume(waves) for waves in judged]))
    facts = {
        "peer": peer,
        "setting": arguments.setting,
        "seconds": min(times),
        "repeats": len(times),
        "memory_mb": None if peak is None or imported is None else peak - imported,
        "positions_nm": [positions.tolist() for positions in engine.positions_nm],
        "modes": list(modes),
        "waves": np.stack(judged).tolist(),
        "threads": arguments.threads,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in (peer, "numpy", *engines)},
    }
    (arguments.out / f"{arguments.setting}.json").write_text(json.dumps(facts), encoding="utf-8")
