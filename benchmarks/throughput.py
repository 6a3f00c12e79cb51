"""How fast the focus is and how exact, beside other libraries that do the job, all measured in this run.

    python benchmarks/throughput.py

The job: NA 1.4, n 1.518, 775 nm, matched circular light, vortex, 64 samples at 20 nm, 11 modes of 0.137 waves rms in
all (0.86 rad); the three ortho-sections, and the whole 64 x 64 x 64 volume. No peer can make the sections without the
volume, so a peer's volume is what its sections cost. Every error is the largest over three wavefronts of the relative
L2 of the intensity, on 600 random pixels of the three sections, against direct summation over 300 x 300 nodes in
float64; peers are given the best scale factor and the axes, flips and signs that suit them best. Ours are float32.

Each peer runs in an environment of its own below benchmarks/.peers, made at the first run (some minutes).
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peers.compare import errors
from peers.environments import CACHE, PEERS, run_peer
from peers.measure import RMS_WAVES, peak_mb
from rich.console import Console
from rich.table import Table

from stedalign.focusing.focus import Focus
from stedalign.focusing.pupil_quadrature import sample_pupil
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import TopHat
from stedalign.optics.targets import Target, section
from stedalign.optics.wavefront import ModeSet
from stedalign.optics.zernike import Mode

Floats = NDArray[np.float64]
MODES = ModeSet.default()
VORTEX, TOP_HAT = Beam(), Beam(pattern=TopHat())
OFFSETS = {"mask_offset_x": 0.3, "mask_offset_y": 0.25}
JUDGED = 3
TRIPLETS = 20_000


def sections(samples: int = 64) -> list[Target]:
    return [section(axes, (samples,) * 2, (20.0,) * 2) for axes in ("yx", "zx", "zy")]


def volume() -> list[Target]:
    return [section("zyx", (64,) * 3, (20.0,) * 3)]


TARGETS = {"sections": sections, "volume": volume}


def _mb(megabytes: float | None) -> str:
    return "unknown" if megabytes is None else f"{megabytes:.0f}"


def seconds(job: Callable[[], object], least: float = 1.0) -> float:
    """Best wall time of repeats over ``least`` seconds, five at least, after one to warm up."""
    job()
    times: list[float] = []
    while len(times) < 5 or sum(times) < least:
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def draw(plan: Focus, count: int) -> torch.Tensor:
    """Random parameters (count, modes + 3 + free): the wavefront's strength is fixed, free parameters are uniform."""
    generator = np.random.default_rng(0)
    waves = generator.normal(size=(count, len(plan.modes)))
    waves *= RMS_WAVES / np.linalg.norm(waves, axis=1, keepdims=True)
    free = [generator.uniform(-OFFSETS[name], OFFSETS[name], size=(count, 1)) for name in plan.free]
    return torch.tensor(np.concatenate([waves, np.zeros((count, 3)), *free], axis=1), dtype=torch.float32)


def plan_of(
    beam: Beam,
    targets: list[Target],
    tolerance: float,
    *,
    modes: ModeSet = MODES,
    free: Mapping[str, float] | None = None,
) -> Focus:
    return Focus(Objective(), beam, modes, targets, free=free, tolerance=tolerance, strength_waves=RMS_WAVES).float()


def exact(beam: Beam, points: Floats, modes: Mapping[tuple[int, int], float]) -> Floats:
    pupil = sample_pupil(Objective(), beam, 300, 300)
    phase = sum(2 * np.pi * waves * Mode(*pair).polynomial(pupil.x, pupil.y) for pair, waves in modes.items())
    return pupil.intensity(points, np.asarray(phase))


def own_error(plan: Focus, beam: Beam, targets: list[Target]) -> float:
    parameters = draw(plan, JUDGED)
    points = np.concatenate([target.points_nm for target in targets])
    generator = np.random.default_rng(1)
    if len(targets) == 1:
        # Of a volume the voxels of its central planes, as for the peers.
        central = np.flatnonzero((np.abs(points) == np.abs(points).min()).any(axis=1))
        some = generator.choice(central, size=600)
    else:
        some = generator.integers(len(points), size=600)
    found = torch.cat(plan(parameters), dim=1).double().numpy()[:, some]
    worst = 0.0
    for row, ours in zip(parameters.double().numpy(), found, strict=True):
        free = row[len(plan.modes) + 3 :]
        moved = beam if not len(free) else Beam(pattern=beam.pattern.model_copy(update={"mask_offset": tuple(free)}))
        modes = {(mode.n, mode.m): waves for mode, waves in zip(plan.modes, row, strict=False)}
        reference = exact(moved, points[some], modes) * float(plan.scale)
        worst = max(worst, float(np.linalg.norm(ours - reference) / np.linalg.norm(reference)))
    return worst


def channels(plan: Focus) -> int:
    """How many beams add up as intensities."""
    return plan.amplitude.shape[1] * len(plan.beads)


def products(plan: Focus, batch: int) -> Callable[[], object]:
    """The matrix products of one batch, on random numbers of the same shapes."""
    quarter = torch.randn(2 * channels(plan) * batch, plan.nodes // 4)
    kernels = [group.get_buffer(name) for group in plan.kernels for name in group.names.values()]
    pairs = []
    for samples in plan.targets:
        counts, matrices = samples.counts, [samples.get_buffer(f"interpolate{i}") for i in range(len(samples.counts))]
        for index, matrix in enumerate(matrices):
            before, after = counts[:index], [len(later) for later in matrices[index + 1 :]]
            if after:
                pairs.append((matrix, torch.randn(batch * int(np.prod(before)), counts[index], int(np.prod(after)))))
            else:
                pairs.append((torch.randn(batch * int(np.prod(before)), counts[index]), matrix.T))
    phase = torch.randn(batch, plan.basis.shape[1]), plan.basis.T
    return lambda: [
        phase[0] @ phase[1],
        *(quarter @ kernel for kernel in kernels),
        *(left @ right for left, right in pairs),
    ]


def unfactored(plan: Focus, batch: int) -> Callable[[], object]:
    """One product from waves to the complex field on every pixel: what a plan without structure costs."""
    waves = torch.randn(channels(plan) * batch, 2 * plan.nodes)
    kernel = torch.randn(2 * plan.nodes, 2 * sum(samples.size for samples in plan.targets))
    return lambda: waves @ kernel


def hold(what: str, count: int, tolerance: float, pipe: multiprocessing.connection.Connection) -> None:
    """In a fresh process: make ``count`` samples, keep them all, tell peak memory, its part since import, and time."""
    imported = peak_mb()
    with torch.no_grad():
        plan = plan_of(VORTEX, TARGETS[what](), tolerance)
        parameters = draw(plan, count)
        start = time.perf_counter()
        found = plan(parameters)
        spent = time.perf_counter() - start
    assert all(len(part) == count for part in found)
    peak = peak_mb()
    pipe.send((peak, None if peak is None or imported is None else peak - imported, spent))


def apart(what: str, count: int, tolerance: float) -> tuple[float | None, float | None, float]:
    """``hold`` in a process of its own, since a peak never falls again."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=hold, args=(what, count, tolerance, theirs))
    # Ours to close, or a child that dies would be waited for without end.
    with theirs:
        child.start()
    found: tuple[float | None, float | None, float] = ours.recv()
    child.join()
    return found


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index == 0 else "right")
    return made


def compare_with_peers(console: Console, cache: Path, out: Path, slow: bool) -> None:
    """The headline: each peer's volume, our sections and our volume, with ratios of time at no larger error."""
    threads = torch.get_num_threads()
    shown = table(
        f"peers, {threads} threads",
        "library, setting",
        "error",
        "ms / sample",
        "MB",
        "sections: ours x",
        "volume: ours x",
    )
    ours = []
    for name, targets, tolerances in (("sections", sections(), (1e-3, 1e-5)), ("volume", volume(), (1e-2, 1e-3, 1e-5))):
        for tolerance in tolerances:
            plan = plan_of(VORTEX, targets, tolerance)
            batch = 64 if name == "sections" else 1
            parameters = draw(plan, batch)
            ours.append((name, tolerance, own_error(plan, VORTEX, targets), seconds(lambda: plan(parameters)) / batch))  # noqa: B023
    best = next(spent for name, tolerance, _, spent in ours if name == "sections" and tolerance == 1e-5)
    rows = []
    with console.status("peers") as status:
        for name, peer in PEERS.items():
            settings = (*peer.settings, *(peer.slow if slow else ()))
            for facts in run_peer(name, settings, threads=threads, out=out, cache=cache, say=status.update):
                if "problem" in facts:
                    shown.add_row(f"{name} {facts['setting'] or ''}", facts["problem"])
                    continue
                found, _ = errors(facts, np.load(facts["volume"]), lambda points, modes: exact(VORTEX, points, modes))
                rows.append((f"{name} {facts['setting']}", max(found), facts["seconds"], facts["memory_mb"]))
    for label, error, spent, memory in rows:
        equal = [time for name, _, own, time in ours if name == "volume" and own <= error]
        volume_ratio = f"{spent / min(equal):.1f}" if equal else ""
        shown.add_row(label, f"{error:.1e}", f"{1e3 * spent:.1f}", _mb(memory), f"{spent / best:.0f}", volume_ratio)
    shown.add_section()
    for name, tolerance, error, spent in ours:
        own = _mb(apart(name, 64 if name == "sections" else 1, tolerance)[1])
        label = f"stedalign {name}, tolerance {tolerance:.0e}"
        shown.add_row(label, f"{error:.1e}", f"{1e3 * spent:.3f}", own, "", "")
    console.print(shown)
    able = [spent for _, error, spent, _ in rows if error <= 1e-3]
    if able:
        console.print(
            f"The fastest peer at an error of 1e-3 takes {1e3 * min(able):.1f} ms; "
            f"our sections at 1e-5 take {1e3 * best:.3f} ms, {min(able) / best:.0f} times less."
        )


def sections_in_detail(console: Console) -> None:
    shown = table(
        f"three sections, {torch.get_num_threads()} threads",
        "mask",
        "tolerance",
        "error",
        "nodes",
        "plan (s)",
        "batch",
        "µs / triplet",
        "triplets / s",
        "products",
        "unfactored",
    )
    cases = [("vortex", VORTEX, tolerance, None) for tolerance in (1e-3, 1e-4, 1e-5, 1e-6)]
    cases += [("top-hat", TOP_HAT, 1e-5, None), ("vortex, own offset each", VORTEX, 1e-5, OFFSETS)]
    for name, beam, tolerance, free in cases:
        start = time.perf_counter()
        plan = plan_of(beam, sections(), tolerance, free=free)
        built = time.perf_counter() - start
        found = own_error(plan, beam, sections())
        for batch in (1, 16, 64, 256):
            parameters = draw(plan, batch)
            spent, bare = seconds(lambda: plan(parameters)), seconds(products(plan, batch))  # noqa: B023
            plain = seconds(unfactored(plan, batch)) if batch <= 64 else float("nan")
            cells = name, f"{tolerance:.0e}", f"{found:.1e}", str(plan.nodes), f"{built:.2f}", str(batch)
            shares = f"{bare / spent:.0%}", "" if np.isnan(plain) else f"{plain / spent:.0%}"
            shown.add_row(*cells, f"{1e6 * spent / batch:.0f}", f"{batch / spent:.0f}", *shares)
    console.print(shown)
    console.print(
        '"products": time of the bare matrix products of the same shapes over our time. "unfactored": the same for\n'
        "one product from waves to the field on all pixels, which a plan without structure needs."
    )


def scaling(console: Console) -> None:
    shown = table("scaling at batch 64", "what", "pixels", "modes", "tolerance", "nodes", "plan (s)", "µs / triplet")
    cases = [("pixels", samples, 11, 1e-5) for samples in (32, 64, 128)]
    cases += [("modes", 64, modes, 1e-5) for modes in (3, 25, 63)]
    cases += [("tolerance", 64, 11, tolerance) for tolerance in (1e-2, 1e-4, 1e-6)]
    for what, samples, modes, tolerance in cases:
        start = time.perf_counter()
        chosen = ModeSet.from_ansi(range(3, 3 + modes)) if modes != len(MODES) else MODES
        plan = plan_of(VORTEX, sections(samples), tolerance, modes=chosen)
        built = time.perf_counter() - start
        parameters = draw(plan, 64)
        spent = seconds(lambda: plan(parameters)) / 64  # noqa: B023
        cells = what, str(samples), str(modes), f"{tolerance:.0e}", str(plan.nodes), f"{built:.2f}"
        shown.add_row(*cells, f"{1e6 * spent:.0f}")
    console.print(shown)


def memory(console: Console) -> None:
    peak, _, spent = apart("sections", TRIPLETS, 1e-5)
    console.print(
        f"{TRIPLETS} triplets at once, all kept ({TRIPLETS * 3 * 64**2 * 4 / 1e6:.0f} MB of images): peak of the "
        f"whole process {_mb(peak)} MB, {spent:.1f} s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--slow", action="store_true", help="also the peers' settings that take minutes or gigabytes")
    parser.add_argument("--peers", type=Path, default=CACHE, help="where the peers' environments are or will be made")
    arguments = parser.parse_args()
    console = Console(width=130)
    with torch.no_grad():
        if not arguments.no_peers:
            compare_with_peers(console, arguments.peers, arguments.peers / "out", arguments.slow)
        sections_in_detail(console)
        scaling(console)
    memory(console)


if __name__ == "__main__":
    main()
