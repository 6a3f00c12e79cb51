"""The network that ships with the package, alone: its error, its error bars and its speed.

    python benchmarks/default_network.py

1,000 fresh images of the default instrument at 350 photons for each strength, centered by their center of mass and
then shifted by 20 nm (standard deviation along each axis).
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stedalign import Setup
from stedalign.dataset.generate import Simulator
from stedalign.dataset.spec import DatasetSpec
from stedalign.imaging.detector import NoiseSpec, add_noise
from stedalign.jobs.estimate import DEFAULT_NETWORK
from stedalign.networks.checkpoint import load_network, packaged_weights

STRENGTHS = {
    "120 mλ": ("normal", 0.1),
    "uniform ±0.3 peak waves, 207 mλ": ("uniform", 0.3),
    "360 mλ": ("normal", 0.3),
}
BATCH = 100


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=Path, help="other weights than the packaged ones")
    arguments.add_argument("--samples", type=int, default=1000)
    arguments.add_argument("--photons", type=float, default=350)
    given = arguments.parse_args()

    setup = Setup()
    network = load_network(given.weights or packaged_weights(DEFAULT_NETWORK), setup.forward, setup.modes)
    names = "to be found", "median", "90 %", "rms", "mask offset", "in 1 sigma", "in 1.96 sigma"
    table = Table("images", *names, title=f"errors in mλ and pupil radii at {given.photons:g} photons")
    for name, (distribution, strength) in STRENGTHS.items():
        spec = DatasetSpec(
            samples=given.samples, distribution=distribution, range_peak_waves=strength, shift_nm=(20, 20, 20), seed=99
        )
        simulator, generator = Simulator(spec, setup.forward), torch.Generator().manual_seed(99)
        truth = torch.from_numpy(simulator.parameters[:, simulator.model.layout.modes])
        waves, offsets, shares = [], [], []
        for first in track(range(0, given.samples, BATCH), name, console=Console(stderr=True), transient=True):
            count = min(BATCH, given.samples - first)
            images = torch.from_numpy(simulator.images(first // 32 * 32, count + first % 32)[first % 32 :])
            found = network.predict_all(add_noise(images, NoiseSpec(photons=given.photons), generator))
            waves.append(found.waves - truth[first : first + count])
            if found.mask_offset is not None:
                offsets.append(found.mask_offset)
            if found.sigma is not None:
                shares.append(waves[-1].abs() / found.sigma.waves)
        errors = 1e3 * torch.cat(waves).norm(dim=1)
        row = [1e3 * truth.norm(dim=1).square().mean().sqrt(), errors.median(), errors.quantile(0.9)]
        cells = [f"{value:.1f}" for value in (*row, errors.square().mean().sqrt())]
        cells.append(f"{torch.cat(offsets).norm(dim=1).median():.4f}" if offsets else "")
        share = torch.cat(shares) if shares else None
        cells += ["" if share is None else f"{(share < limit).double().mean():.1%}" for limit in (1.0, 1.96)]
        table.add_row(name, *cells)
    Console().print(table)

    image = images[:1]
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        network.predict_all(image)
        seconds.append(time.perf_counter() - start)
    print(f"one estimate: {1e3 * np.median(seconds):.2f} ms (median of 50, {torch.get_num_threads()} threads)")


if __name__ == "__main__":
    main()
