"""Commands that make files from a setup: the setup itself, a simulated image, a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stedalign.cli.options import (
    Json,
    Overwrite,
    Seed,
    SetupFile,
    fresh_file,
    print_json,
    read_setup,
    read_wavefront,
)
from stedalign.cli.progress import shown
from stedalign.errors import InputError
from stedalign.ranges import MOST_PHOTONS


def init(
    out: Annotated[Path, typer.Argument(help="The setup file to write.")] = Path("setup.toml"),
    from_dict: Annotated[
        Path | None, typer.Option(help="Take the values from the origin's format: a dict of dicts, Python or JSON.")
    ] = None,
    as_the_origin: Annotated[
        bool,
        typer.Option(
            "--as-the-origin",
            help="With --from-dict: the lens that the origin computes with, r = f tan(theta), not an aplanatic one.",
        ),
    ] = False,
    upgrade: Annotated[
        Path | None, typer.Option(help="Take this setup file of an earlier version, less the keys that do nothing.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a commented setup file, to be adapted to the microscope."""
    from stedalign.config import Setup
    from stedalign.config.origin_format import setup_from_origin
    from stedalign.config.upgrade import upgraded_setup
    from stedalign.files import replacing

    if from_dict and upgrade:
        raise InputError("take the values from one file: --from-dict or --upgrade")
    if as_the_origin and not from_dict:
        raise InputError("--as-the-origin says how to read --from-dict: name its file, too")
    fresh_file(out, overwrite)
    dropped: dict[str, list[str]] = {}
    if upgrade:
        text, dropped = upgraded_setup(upgrade, out.parent)
    else:
        setup = setup_from_origin(from_dict, as_the_origin=as_the_origin) if from_dict else Setup()
        text = setup.to_toml()
    with replacing(out) as path:
        path.write_text(text, encoding="utf-8")
    for table, keys in dropped.items():
        print(f"dropped from [{table}], where they did nothing: {', '.join(keys)}")
    print(f"wrote {out}")


def simulate(
    out: Annotated[Path, typer.Option(help="OME-TIFF to write.")],
    setup: SetupFile = None,
    seed: Seed = 0,
    photons: Annotated[
        float | None,
        typer.Option(min=0, max=MOST_PHOTONS, help="Counts at the crest of the ideal donut, more than 0."),
    ] = None,
    peak_waves: Annotated[
        float, typer.Option(min=0, max=1, help="Standard deviation of each mode, un-normalized, in waves.")
    ] = 0.1,
    waves: Annotated[
        Path | None, typer.Option(help='Take the wavefront from JSON with "modes" and "waves" (rms) instead.')
    ] = None,
    off_center_nm: Annotated[float, typer.Option(min=0, max=2000, help="Standard deviation of the bead's place.")] = 20,
    volume: Annotated[bool, typer.Option("--volume", help="A whole volume instead of three sections.")] = False,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Simulate the image of a bead on a microscope with hidden aberrations; prints the truth."""
    from stedalign.jobs.simulate import simulate as job

    the_setup = read_setup(setup)
    fresh_file(out, overwrite, (".tif", ".tiff"))
    with shown("simulating", quiet=json) as tell:
        done = job(
            the_setup,
            out,
            seed=seed,
            photons=photons,
            peak_waves=peak_waves,
            wavefront=read_wavefront(waves, "any", the_setup) if waves else None,
            off_center_nm=off_center_nm,
            volume=volume,
            progress=tell,
        )
    if json:
        print_json(done.to_json())
    else:
        print(f"wrote {out}: SIMULATED, {done.wavefront.rms_waves * 1e3:.1f} mλ rms hidden")


def mask(
    out: Annotated[Path, typer.Option(help="Mask to write, .bmp or .png; a .json goes beside it.")],
    setup: SetupFile = None,
    waves: Annotated[
        Path | None, typer.Option(help='Correction to add: JSON with "modes" and "waves", such as a side-car.')
    ] = None,
    estimate: Annotated[
        Path | None, typer.Option(help="Correct what this estimate.json found (its wavefront is subtracted).")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the SLM's mask: the pattern, with a correction or without."""
    from stedalign.instrument.mask_files import FORMATS
    from stedalign.jobs.mask import mask as job
    from stedalign.optics.wavefront import Wavefront

    the_setup = read_setup(setup)
    fresh_file(out, overwrite, tuple(FORMATS))
    fresh_file(out.with_suffix(".json"), overwrite)
    correction = Wavefront.zero(the_setup.modes)
    if waves:
        correction = correction + read_wavefront(waves, "correction", the_setup)
    if estimate:
        correction = correction - read_wavefront(estimate, "estimate", the_setup)
    done = job(the_setup, out, correction)
    print(f"wrote {done.mask} and {done.sidecar.name}")
