"""Commands at the instrument: estimate one image, align a microscope."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from stedalign.cli.files import (
    Axes,
    Channel,
    ExcitationXy,
    ExcitationXz,
    ExcitationYz,
    Frame,
    PixelNm,
    Series,
    Stack,
    WholeVolume,
    chosen,
)
from stedalign.cli.options import (
    Json,
    NoNetwork,
    Seed,
    SetupFile,
    Weights,
    print_json,
    read_network,
    read_setup,
    read_wavefront,
    run_folder,
)
from stedalign.cli.progress import shown
from stedalign.errors import InputError, JobError

if TYPE_CHECKING:
    from stedalign.alignment.events import Event
    from stedalign.config import Setup
    from stedalign.estimation.diagnosis import Remark
    from stedalign.estimation.estimate import Estimate
    from stedalign.imaging.photon_transfer import Reading
    from stedalign.jobs.align import Alignment
    from stedalign.jobs.estimate import SavedEstimate
    from stedalign.networks.network import Network

GRADE_COLORS = {"accepted": "green", "accepted with model error": "yellow", "refused": "red"}


def estimate(
    file: Annotated[
        Path | None, typer.Argument(help="TIFF, .npy, .msr or .obf: sections, a volume, or one xy section.")
    ] = None,
    xy: Annotated[Path | None, typer.Option("--xy", help="Instead: FILE or FILE::STACK with the xy section.")] = None,
    xz: Annotated[Path | None, typer.Option("--xz", help="The same of the xz section, z along its rows.")] = None,
    yz: Annotated[Path | None, typer.Option("--yz", help="The same of the yz section, z along its rows.")] = None,
    excitation_xy: ExcitationXy = None,
    excitation_xz: ExcitationXz = None,
    excitation_yz: ExcitationYz = None,
    setup: SetupFile = None,
    pixel_nm: PixelNm = None,
    stack: Stack = None,
    series: Series = None,
    channel: Channel = None,
    frame: Frame = None,
    axes: Axes = None,
    whole_volume: WholeVolume = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what is accepted with model error, too.")] = False,
    weights: Weights = None,
    no_network: NoNetwork = False,
    out: Annotated[Path | None, typer.Option(help="Folder for mask, image and JSON; new under runs/.")] = None,
    json: Json = False,
) -> None:
    """Estimate the aberrations in an image of a bead, with error bars, and write the correcting mask.

    One xy section alone does not tell the modes that it calls blind; the mask leaves those as they are. With sections
    of the same scan by the excitation beam, too, both wavefronts are estimated, and how the spot lies to the zero.
    """
    from stedalign.jobs.estimate import estimate_file, estimate_section_files

    sections = _given(xy, xz, yz)
    excitation = _given(excitation_xy, excitation_xz, excitation_yz)
    _check_given(file, sections, excitation, whole_volume)
    selection = chosen(stack, series, channel, frame, axes)
    the_setup = read_setup(setup)
    folder = run_folder(out, "estimate")
    network = read_network(the_setup, weights, no_network)
    if excitation:
        if any(option is not None for option in (stack, series, channel, frame, axes)):
            raise InputError("name the stacks of two beams by --xy FILE::NAME, not by --stack, --channel and the like")
        _estimate_both(sections, excitation, the_setup, folder, pixel_nm, strict, network, json)
        return
    if file is not None:
        job = partial(estimate_file, file, whole_volume=whole_volume)
    else:
        job = partial(estimate_section_files, sections)
    job = partial(job, pixel_nm=pixel_nm, selection=selection, network=network)
    _estimate_one(job, the_setup, folder, strict, json)


def _estimate_one(job: Callable[..., SavedEstimate], setup: Setup, folder: Path, strict: bool, json: bool) -> None:
    with shown("reading", quiet=json) as tell:
        done = job(setup, folder, strict=strict, progress=tell)
    estimate = done.estimate
    _print_notes(done.notes)
    if json:
        print_json(done.to_json())
    else:
        _print_table(estimate)
        _print_remarks(done.diagnosis)
        print(f"mask, image and numbers  {folder}")
    if objection := estimate.objection(strict=strict):
        raise JobError(f"refused: {objection}; see {folder / 'estimate.png'}")


def _check_given(file: Path | None, sections: dict[str, Path], excitation: dict[str, Path], whole: bool) -> None:
    """Raise ``InputError`` for files that do not go together."""
    if (file is None) == (not sections):
        raise InputError("give either one FILE or sections by --xy, --xz, --yz; 'stedalign estimate --help' tells more")
    if sections and whole:
        raise InputError("--whole-volume is for a FILE with a volume, not for sections")
    if excitation and set(excitation) != set(sections):
        raise InputError(
            "the excitation beam needs the same sections as the depletion beam: --xy FILE --excitation-xy FILE, ..."
        )


def _given(xy: Path | None, xz: Path | None, yz: Path | None) -> dict[str, Path]:
    """The files of sections by name."""
    return {name: path for name, path in (("xy", xy), ("xz", xz), ("yz", yz)) if path is not None}


def _estimate_both(
    depletion: dict[str, Path],
    excitation: dict[str, Path],
    setup: Setup,
    folder: Path,
    pixel_nm: tuple[float, float, float] | None,
    strict: bool,
    network: Network | None,
    json: bool,
) -> None:
    from stedalign.jobs.two_beams import estimate_files_of_both_beams

    with shown("reading", quiet=json) as tell:
        done = estimate_files_of_both_beams(
            depletion, excitation, setup, folder, pixel_nm=pixel_nm, strict=strict, network=network, progress=tell
        )
    _print_notes(done.notes)
    if json:
        print_json(done.to_json())
    else:
        for name, estimate in (("depletion", done.both.depletion), ("excitation", done.both.excitation)):
            _print_table(estimate, name)
            _print_remarks(done.diagnosis[name])
        if done.both.overlay is not None:
            print(f"{done.both.overlay.words}; as it would be with the depletion beam corrected, in the JSON")
        print(f"masks, images and numbers  {folder}")
    if objection := done.objection(strict=strict):
        raise JobError(f"refused: {objection}; see {folder}")


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        Console(stderr=True, soft_wrap=True).print(f"[yellow]{escape(note)}[/yellow]", highlight=False)


def align(
    microscope: Annotated[
        str, typer.Option(help='"simulated", a registered name, or package.module:factory.')
    ] = "simulated",
    setup: SetupFile = None,
    seed: Seed = 0,
    start: Annotated[
        Path | None, typer.Option(help="Side-car JSON of a mask to start from, such as yesterday's.")
    ] = None,
    max_corrections: Annotated[int, typer.Option(min=0, max=50, help="Corrections at most.")] = 3,
    strict: Annotated[bool, typer.Option("--strict", help="Act on no estimate with model error.")] = False,
    weights: Weights = None,
    no_network: NoNetwork = False,
    out: Annotated[Path | None, typer.Option(help="Folder for log, mask and images; new under runs/.")] = None,
    json: Json = False,
) -> None:
    """Align a microscope: image, estimate, correct, and again, keeping the best mask.

    Ctrl-C closes the shutter, brings back the mask and the stage's position from before, and says which of it worked.
    --seed moves the hidden aberrations of the simulated microscope; a real one ignores it.
    """
    with shown("starting", quiet=json):
        from stedalign.alignment.policy import Policy
        from stedalign.instrument.loading import connected, load_microscope
        from stedalign.jobs import align as job

        the_setup = read_setup(setup)
        folder = run_folder(out, "align")
        network = read_network(the_setup, weights, no_network)
        first = read_wavefront(start, setup=the_setup) if start else None
        options = {"seed": seed} if microscope == "simulated" else {}
        instrument = load_microscope(microscope, the_setup, **options)
    table = _Progress()
    screen = Live(table.table, console=Console(stderr=json), refresh_per_second=8, transient=json)
    with connected(instrument), screen as live:

        def watch(event: Event) -> None:
            table.add(event)
            live.refresh()

        try:
            done = job.align(
                instrument,
                the_setup,
                folder,
                policy=Policy(max_corrections=max_corrections, strict=strict),
                network=network,
                start=first,
                watch=watch,
                seed=seed,
            )
        except KeyboardInterrupt as stop:
            left = "; ".join(getattr(stop, "__notes__", ())) or "the microscope is as it was"
            raise KeyboardInterrupt(f"stopped by Ctrl-C: {left}; log in {folder}") from None
    if json:
        print_json(done.to_json())
        return
    if not live.console.is_terminal:
        live.console.line()
    _print_alignment(done)


def _print_alignment(done: Alignment) -> None:
    console, result = Console(soft_wrap=True, highlight=False), done.to_json()
    words = "true, SIMULATED" if result["simulated"] else "estimated"
    verdict = "[green]aligned[/green]" if done.finished.converged else "[yellow]not converged[/yellow]"
    console.print(f"{verdict}: {escape(done.finished.reason)}")
    console.print(
        f"wavefront ({words}) {1e3 * result['rms_before_waves']:.1f} -> {1e3 * result['rms_after_waves']:.1f} mλ rms, "
        f"null ratio {_share(result['null_ratio_before'])} -> {_share(result['null_ratio_after'])}"
    )
    print(f"log and result  {done.run_folder}\nmask            {done.mask}\npicture         {done.picture}")


def _share(value: float | None) -> str:
    """In percent; a dash for what a pattern without a zero does not have."""
    return "-" if value is None or isnan(value) else f"{value:.2%}"


class _Progress:
    """The live table of an alignment."""

    def __init__(self) -> None:
        self.moves = 0
        self.table = Table(title="alignment", title_justify="left")
        for name in ("step", "centering", "wavefront (mλ rms)", "null", "Pearson r", "chi2", "mask"):
            self.table.add_column(name, justify="right")

    def add(self, event: Event) -> None:
        from stedalign.alignment.events import Centered, Measured

        if isinstance(event, Centered):
            self.moves += 1
        elif isinstance(event, Measured):
            estimate = event.estimate
            self.table.add_row(
                str(event.number),
                f"{self.moves} moves",
                f"{1e3 * estimate.rms_waves:.1f} ± {1e3 * estimate.rms_sigma_waves:.1f}",
                _share(estimate.null_ratio),
                f"{event.correlation:.4f}",
                f"{estimate.reduced_chi2:.2f}",
                "found" if event.correction is None else "kept" if event.kept else "[yellow]restored[/yellow]",
            )
            self.moves = 0


def _print_remarks(remarks: tuple[Remark, ...]) -> None:
    for remark in remarks:
        print(f"off: {remark.words}")


def _print_table(estimate: Estimate, beam: str = "") -> None:
    title = " ".join(["SIMULATED bead" if estimate.simulated else "bead", *([f"by the {beam} beam"] if beam else [])])
    table = Table(title=title, title_justify="left")
    for name in ("mode", "(n, m)", "mλ rms", "noise", "model", "± sigma"):
        table.add_column(name, justify="left" if name == "mode" else "right")
    sigmas = estimate.noise_sigma_waves, estimate.model_sigma_waves, estimate.sigma_waves
    for mode, *values in zip(estimate.wavefront.modes, estimate.wavefront.waves, *sigmas, strict=True):
        blind = mode in estimate.blind
        cells = ["", "", "", "blind"] if blind else [f"{1e3 * value:.2f}" for value in values]
        table.add_row(mode.name, f"{mode.n}, {mode.m}", *cells)
    table.add_section()
    totals = [estimate.rms_waves, *(sum(sigma**2 for sigma in each) ** 0.5 for each in sigmas)]
    table.add_row("total", "", *(f"{1e3 * value:.1f}" for value in totals))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    console.print(f"[{GRADE_COLORS[estimate.grade]}]{estimate.grade}[/]: {_unexplained(estimate)}")
    console.print(_detector(estimate.reading))
    for flaw in estimate.flaws:
        console.print(escape(flaw))
    if estimate.effects:
        console.print(f"the image also needs: {', '.join(estimate.effects)}")
    if estimate.blind:
        names = ", ".join(mode.name for mode in estimate.blind)
        console.print(f"blind to {names}: image xz and yz, too; the mask leaves them as they are")
    null = _share(estimate.null_ratio)
    console.print(f"null ratio {null}, reduced chi2 {estimate.reduced_chi2:.3f}, began at {estimate.start}")


def _unexplained(estimate: Estimate) -> str:
    """What the model does not explain, in words."""
    words = f"{estimate.unexplained:.2%} of what the image shows is unexplained"
    if estimate.model_error == 0:
        return words
    return (
        f"{words}; beyond noise the model misses {estimate.model_error:.1%} of the crest, "
        f"alike over {estimate.model_error_nm:.0f} nm"
    )


def _detector(reading: Reading) -> str:
    """How the counts became photons, in words."""
    names = [name.replace("_", " ") for name in reading.measured]
    source = "measured" if len(names) == 3 else f"{' and '.join(names)} measured" if names else "as the setup says"
    return (
        f"gain {reading.gain:.3g} counts a photon, baseline {reading.baseline:.4g}, "
        f"read noise {reading.read_noise:.2g} counts; {source}"
    )
