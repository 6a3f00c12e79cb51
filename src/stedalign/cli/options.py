"""Options that several commands share, and what turns them into values."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from reprlib import repr as brief
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stedalign.errors import InputError
from stedalign.files import MOST_TEXT, check_plain, json_text
from stedalign.ranges import LARGEST_SEED, is_number

if TYPE_CHECKING:
    from stedalign.config import Setup
    from stedalign.networks.network import Network
    from stedalign.optics.wavefront import Wavefront

SetupFile = Annotated[Path | None, typer.Option("--setup", help="Setup file; the default instrument without it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of everything random.")]
Weights = Annotated[Path | None, typer.Option(help="Network weights (.safetensors); those of the package without it.")]
NoNetwork = Annotated[bool, typer.Option("--no-network", help="Start without a network, from zero.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is already there.")]


def read_setup(path: Path | None) -> Setup:
    from stedalign.config import Setup

    return Setup.load(path) if path else Setup()


def read_network(setup: Setup, weights: Path | None, no_network: bool) -> Network | None:
    """The network to start from; weights that were named and do not fit are an error."""
    from stedalign.jobs.estimate import default_network
    from stedalign.networks.checkpoint import load_network

    if no_network:
        return None
    return load_network(weights, setup.forward, setup.modes) if weights else default_network(setup)


def read_wavefront(
    path: Path, role: Literal["correction", "estimate", "any"] = "correction", setup: Setup | None = None
) -> Wavefront:
    """A wavefront from JSON with ``modes`` and ``waves`` in their ``unit``: a mask's side-car or an estimate.

    Raises ``InputError`` where the file says that it is not what ``role`` asks for, that the estimate was
    refused, that its sign is another one, or that its wavelength is not that of the depletion beam of ``setup``.
    """
    from stedalign.optics.wavefront import Wavefront

    check_plain(path, MOST_TEXT)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        wavefront = Wavefront.from_json(content)
        wavelength_nm = content.get("wavelength_nm", math.nan)
        if not is_number(wavelength_nm):
            raise InputError(f"wavelength_nm = {brief(wavelength_nm)} is no number")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise InputError(f'{path}: no wavefront in it (JSON with "modes" [n, m] and "waves"): {what}') from error
    _check_role(path, content, role)
    beam_nm = math.nan if setup is None else setup.depletion.wavelength_nm
    if not (math.isnan(wavelength_nm) or math.isnan(beam_nm) or math.isclose(wavelength_nm, beam_nm, rel_tol=1e-6)):
        raise InputError(f"{path} is for {wavelength_nm} nm, the setup's depletion beam has {beam_nm} nm")
    return wavefront


def _check_role(path: Path, content: dict[str, Any], role: str) -> None:
    """Raise ``InputError`` where a correction is taken for an estimate or the other way round."""
    from stedalign.instrument.mask_files import CORRECTION_SIGN

    if content.get("sign", CORRECTION_SIGN) != CORRECTION_SIGN:
        raise InputError(f"{path}: sign = {brief(content['sign'])} is not known; known: '{CORRECTION_SIGN}'")
    if role == "correction" and "sigma_waves" in content:
        raise InputError(f"{path} is an estimate, whose correction is its negative; use 'mask --estimate', or its mask")
    if role == "estimate" and content.get("sign") == CORRECTION_SIGN:
        raise InputError(f"{path} is a correction already (the side-car of a mask), not an estimate; use --waves")
    if role == "estimate" and content.get("accepted", True) is not True:
        reason = f" ({content['reason']})" if content.get("reason") else ""
        raise InputError(f"{path}: this estimate was refused{reason}; there is nothing to correct by")


def fresh_file(path: Path, overwrite: bool, suffixes: tuple[str, ...] = ()) -> Path:
    """``path``, ready to be written. Raises ``InputError`` where something stands there or nothing can."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name or add --overwrite")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")
    check_writable(path.parent)
    return path


def run_folder(out: Path | None, job: str) -> Path:
    """The folder of this run: as asked for, or a new one under ``runs`` named after job and time.

    Raises ``InputError`` where it holds something already or cannot be made, so that no work is done in vain.
    """
    from stedalign.jobs.align import new_run_folder

    folder = out or new_run_folder(job)
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; choose another folder with --out")
    check_writable(folder)
    return folder


def check_writable(folder: Path) -> None:
    """Raise ``InputError`` where ``folder`` can neither be written to nor be made."""
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir():
        raise InputError(f"{folder} cannot be made: {nearest} is not a folder; choose another one")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"{nearest} cannot be written to; choose another folder")


def print_json(data: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json_text(data), flush=True)
