"""From which aberrations does the fit find the truth: started from zero, from the network, or from both?

    python benchmarks/capture_range.py --cases 40

Pictures come from the independent Cartesian simulator through the 8-bit mask, at 350 photons, the bead off center by
20 nm. A case counts as found when the total error is at most 10 mλ. The network alone is printed beside it.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import stedalign as sa
from stedalign.api import default_network, make_estimator
from stedalign.devices.simulated import make_microscope
from stedalign.estimation.propose import propose

FOUND_WAVES = 0.010


def draw(generator: np.random.Generator, kind: str, size: float, modes: sa.ModeSet) -> sa.Wavefront:
    if kind == "normal":
        peaks = generator.normal(scale=size, size=len(modes))
    else:
        peaks = generator.uniform(-size, size, size=len(modes))
    return sa.Wavefront.from_peak_waves(modes, peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=40)
    arguments = parser.parse_args()
    setup = sa.Setup()
    network = default_network(setup)
    estimators = {"zero": make_estimator(setup, None), "zero and network": make_estimator(setup, network)}
    table = Table(title=f"{arguments.cases} SIMULATED cases each, 350 photons", title_justify="left")
    for name in ("aberration", "mλ rms", "network alone", *(f"fit from {start}" for start in estimators), "refused"):
        table.add_column(name, justify="right")
    console = Console(width=110, stderr=True)
    for kind, size in (("normal", 0.1), ("uniform", 0.3), ("normal", 0.3)):
        generator = np.random.default_rng(0)
        true, alone = [], []
        errors: dict[str, list[float]] = {name: [] for name in estimators}
        missed, refused = 0, 0
        for case in track(range(arguments.cases), f"{kind} {size}", console=console, transient=True):
            hidden = draw(generator, kind, size, setup.modes)
            x, y, z = generator.normal(scale=20, size=3)
            microscope = make_microscope(setup, seed=case, aberration=hidden, bead_offset_nm=(x, y, z))
            microscope.shutter.open()
            sections = microscope.source.acquire()
            true.append(hidden.rms_waves)
            alone.append(np.linalg.norm(propose(network, sections, setup.sampling).waves - hidden.array))
            for name, estimator in estimators.items():
                found = estimator(sections)
                errors[name].append(np.linalg.norm(found.wavefront.array - hidden.array))
            # The last estimator is the one that ships; what it misses it has to refuse.
            if errors[name][-1] > FOUND_WAVES:
                missed += 1
                refused += not found.accepted
        shares = [f"{np.mean(np.array(values) <= FOUND_WAVES):.0%}" for values in errors.values()]
        table.add_row(
            f"{kind} {size} peak waves",
            f"{1e3 * np.mean(true):.0f}",
            f"{1e3 * np.median(alone):.0f} mλ",
            *shares,
            f"{refused} of {missed} missed",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
