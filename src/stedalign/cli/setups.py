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
    working,
)


def init(
    out: Annotated[Path, typer.Argument(help="The setup file to write.")] = Path("setup.toml"),
    from_dict: Annotated[
        Path | None, typer.Option(help="Take the values from the origin's format: a dict of dicts, Python or JSON.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a commented setup file, to be adapted to the microscope."""
    from stedalign.config import Setup
    from stedalign.config.origin_format import setup_from_origin
    from stedalign.files import replacing

    setup = setup_from_origin(from_dict) if from_dict else Setup()
    with replacing(fresh_file(out, overwrite)) as path:
        path.write_text(setup.to_toml(), encoding="utf-8")
    print(f"wrote {out}")


def simulate(
    out: Annotated[Path, typer.Option(help="OME-TIFF to write.")],
    setup: SetupFile = None,
    seed: Seed = 0,
    photons: Annotated[
        float | None, typer.Option(min=0, help="Counts at the crest of the ideal donut, more than 0.")
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
    import numpy as np

    from stedalign.formats.ome_tiff import save_sections, save_volume
    from stedalign.optics.wavefront import Wavefront
    from stedalign.simulator.microscope import make_microscope

    the_setup = read_setup(setup)
    path = fresh_file(out, overwrite, (".tif", ".tiff"))
    detector = the_setup.detector
    if photons is not None:
        detector = type(detector).parse(detector.model_dump() | {"photons": photons})
    generator = np.random.default_rng(seed)
    drawn = generator.normal(scale=peak_waves, size=len(the_setup.modes))
    hidden = read_wavefront(waves, "any", the_setup) if waves else Wavefront.from_peak_waves(the_setup.modes, drawn)
    place = generator.normal(scale=off_center_nm, size=3).tolist()
    microscope = make_microscope(
        the_setup.model_copy(update={"detector": detector}), seed, aberration=hidden, bead_offset_nm=tuple(place)
    )
    microscope.shutter.open()
    if volume:
        with working("simulating", quiet=json):
            expected = detector.expected(microscope.world.volume())
        counts = detector.expose(expected, generator).astype(np.uint16 if detector.saturation <= 65535 else np.float32)
        save_volume(path, counts, the_setup.sampling.pixel_nm, simulated=True)
    else:
        save_sections(path, microscope.source.acquire())
    truth = {**hidden.to_json(), "rms_waves": hidden.rms_waves, "bead_nm": place, "file": str(out), "seed": seed}
    if json:
        print_json(truth)
    else:
        print(f"wrote {out}: SIMULATED, {hidden.rms_waves * 1e3:.1f} mλ rms hidden")


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
    from stedalign.jobs.mask import correction_levels, save_mask
    from stedalign.optics.wavefront import Wavefront

    the_setup = read_setup(setup)
    fresh_file(out, overwrite, tuple(FORMATS))
    fresh_file(out.with_suffix(".json"), overwrite)
    correction = Wavefront.zero(the_setup.modes)
    if waves:
        correction = correction + read_wavefront(waves, "correction", the_setup)
    if estimate:
        correction = correction - read_wavefront(estimate, "estimate", the_setup)
    save_mask(the_setup, correction_levels(the_setup, correction), correction, out)
    print(f"wrote {out} and {out.with_suffix('.json').name}")
