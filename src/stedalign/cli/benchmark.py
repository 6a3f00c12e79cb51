"""Commands that tell what is possible: benchmark bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from stedalign.cli.options import Json, Seed, SetupFile, print_json, read_setup
from stedalign.cli.progress import shown
from stedalign.ranges import MOST_BACKGROUND, MOST_PHOTONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from stedalign.estimation.acquisition import Bounds

app = typer.Typer(name="benchmark", help="What is possible: how well any estimate can tell the modes.")


@app.command()
def bound(
    setup: SetupFile = None,
    photons: Annotated[
        float | None,
        typer.Option(
            min=0, max=MOST_PHOTONS, help="Counts per pixel at the crest, more than 0; the setup's without it."
        ),
    ] = None,
    background: Annotated[
        float | None,
        typer.Option(min=0, max=MOST_BACKGROUND, help="Background as a fraction of the crest; the setup's without it."),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=500, help="Of the random wavefronts, mλ rms; 0 = unaberrated.")
    ] = 120,
    wavefronts: Annotated[int, typer.Option(min=1, max=1000, help="How many of them; their rms is printed.")] = 8,
    seed: Seed = 0,
    without_volume: Annotated[bool, typer.Option("--without-volume", help="Leave the volume out: faster.")] = False,
    json: Json = False,
) -> None:
    """Tell what to acquire: how well any estimate can tell each mode from xy, three sections or a volume.

    This is the Cramér-Rao bound. "known" is an instrument exactly as its setup says, "unsure" one known only as well as
    the setup's [nuisances] say. The crest gives every pixel the same counts, so the dose is as the number of pixels.
    "blind" is worse than 30 mλ.
    """
    with shown("reading") as tell:
        import numpy as np

        from stedalign.estimation.acquisition import random_wavefronts
        from stedalign.jobs.bound import bound as compute_bound

        the_setup = read_setup(setup)
        drawn = random_wavefronts(the_setup.modes, 1e-3 * strength, wavefronts, np.random.default_rng(seed))
        bounds = compute_bound(the_setup, drawn, photons, background, volume=not without_volume, progress=tell)
    if json:
        print_json(bounds.to_json() | {"read_noise": the_setup.detector.read_photons, "seed": seed})
        return
    _print(bounds, the_setup.detector.read_photons)


def _print(bounds: Bounds, read_noise: float) -> None:
    from stedalign.estimation.acquisition import SECTIONS
    from stedalign.estimation.bound import BLIND_WAVES

    light = f"{bounds.photons:g} counts per pixel at the crest, {100 * bounds.background:.3g} % background"
    where = f"rms over {bounds.wavefronts} random" if bounds.wavefronts > 1 else "one random"
    strength = f"{where}, of {1e3 * bounds.rms_waves:.3g} mλ rms" if bounds.rms_waves else "unaberrated"
    title = f"bound (mλ), {light}\nwavefronts: {strength}"
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
    )
    table.add_column("mode", no_wrap=True)
    images = bounds.images
    for name in images:
        table.add_column(f"{name}\nknown", justify="right", no_wrap=True)
        table.add_column("\nunsure", justify="right", no_wrap=True)

    def text(waves: float, blind: bool) -> str:
        return "blind" if blind else f"{1e3 * waves:.2f}"

    def of_images(title: str, tell: Callable[[str], str]) -> None:
        table.add_row(title, *(cell for name in images for cell in (tell(name), "")))

    columns = [bound for image in images.values() for bound in (image.known, image.unsure)]
    for row, mode in enumerate(bounds.modes):
        table.add_row(mode.name, *(text(float(bound.rms[row]), bound.rms[row] > BLIND_WAVES) for bound in columns))
    table.add_section()
    table.add_row("total", *(text(bound.rms_total, bound.rms.max() > BLIND_WAVES) for bound in columns))
    # With read noise a pixel's light is not all that counts.
    if not read_noise:
        blind = {name: image.known.rms.max() > BLIND_WAVES for name, image in images.items()}
        of_images("total, equal dose", lambda name: text(bounds.at_equal_dose(name), blind[name]))
    of_images("dose, sections = 1", lambda name: f"{images[name].pixels / images[SECTIONS].pixels:.2g}")
    of_images("pixels to scan", lambda name: str(images[name].pixels))
    console = Console(highlight=False)
    console.print(table)
    for name, image in images.items():
        unseen = [mode.name for mode, value in zip(bounds.modes, image.unsure.rms, strict=True) if value > BLIND_WAVES]
        if unseen:
            console.print(f"{name}: blind to {', '.join(unseen)} (worse than {1e3 * BLIND_WAVES:g} mλ)")
