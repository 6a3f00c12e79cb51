"""Setup: composes the specs that the layers define, and reads and writes them as TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from reprlib import repr as brief
from typing import Annotated, Any

import tomlkit
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from tomlkit.items import Table
from tomlkit.toml_document import TOMLDocument

from stedalign.config.pattern_listing import pattern_comment
from stedalign.errors import InputError
from stedalign.estimation.checks import Limits
from stedalign.files import MOST_TEXT, check_plain
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.imaging.nuisances import Nuisances
from stedalign.instrument.slm_mask import SlmGeometry
from stedalign.instrument.stage import StageSpec
from stedalign.optics.beam import Beam
from stedalign.optics.detection import Detection
from stedalign.optics.fluorophore import Fluorophore
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat, Pattern
from stedalign.optics.patterns.upgrade import idle_keys
from stedalign.optics.resolution import warn_of_coarse_pixels
from stedalign.optics.targets import AXES
from stedalign.optics.wavefront import ModeSet
from stedalign.spec import Spec, SpecError

SetupError = SpecError

HEADER = """\
One microscope. A key that is left out has the default instrument's value, which `stedalign init` writes. Unknown keys
are errors. Lengths and times carry their unit in the name; pupil radii, turns and fractions have none."""


def _as_modes(value: Any) -> ModeSet:
    if isinstance(value, ModeSet):
        return value
    pairs = value if isinstance(value, list | tuple) else [value]
    for pair in pairs:
        if not (isinstance(pair, list | tuple) and [type(number) for number in pair] == [int, int]):
            raise InputError(f"modes must be a list of pairs [n, m] of whole numbers, got {brief(pair)}")
    return ModeSet.of(pairs)


Modes = Annotated[ModeSet, BeforeValidator(_as_modes), PlainSerializer(lambda modes: modes.pairs)]


class Setup(Spec):
    """One microscope: objective, beams, sampling, bead, detector, SLM, stage and limits.

    ``Setup()`` is the default instrument, that of the origin.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    modes: Modes = Field(default_factory=ModeSet.default)
    """Zernike modes (n, m) that are estimated and corrected; m < 0 is the sine."""
    objective: Objective = Objective()
    """The objective."""
    depletion: Beam = Beam()
    """The depletion (STED) beam, which is aligned."""
    excitation: Beam = Beam(wavelength_nm=640.0, power_w=5e-6, pulse_length_s=0.1e-9, pattern=Flat())
    """The excitation beam."""
    bead: Bead = Bead()
    """The gold bead."""
    sampling: Sampling = Sampling()
    """The three ortho-sections."""
    detection: Detection = Detection()
    """The way of the light from the bead to the detector."""
    detector: Detector = Detector()
    """The detector."""
    slm: SlmGeometry = SlmGeometry()
    """The spatial light modulator and where the pupil lies on it."""
    stage: StageSpec = StageSpec()
    """The stage that carries the bead."""
    fluorophore: Fluorophore = Fluorophore()
    """The dye, for the effective (fluorescence) spot."""
    nuisances: Nuisances = Nuisances()
    """How well all this is known: what an estimate finds beside the wavefront."""
    limits: Limits = Limits()
    """When an estimate is trusted."""

    @model_validator(mode="after")
    def _leaves_shifts_to_the_stage(self) -> Setup:
        shifting = [mode.name for mode in self.modes if mode.n < 2]
        if shifting:
            raise InputError(f"modes: {' and '.join(shifting)} only move the focus or nothing; the stage does that")
        return self

    @model_validator(mode="after")
    def _tells_of_coarse_pixels(self) -> Setup:
        for direction, pixel in zip(AXES.values(), self.sampling.pixel_nm, strict=True):
            warn_of_coarse_pixels(self.objective, direction, self.depletion.wavelength_nm, pixel)
        return self

    @property
    def forward(self) -> ForwardSpec:
        """What the forward model, the dataset and the network need to know."""
        return ForwardSpec(
            objective=self.objective,
            beam=self.depletion,
            bead=self.bead,
            detection=self.detection,
            sampling=self.sampling,
        )

    @classmethod
    def load(cls, path: Path | str) -> Setup:
        """Read a TOML file. Raises ``SetupError``, one line that names file, key and remedy."""
        _, table = read_toml(path)
        idle = idle_keys(table)
        if idle:
            raise SetupError(
                f"{path}: keys of other patterns in {_brief_idle(idle)}: delete them, or let "
                f"`stedalign init --upgrade {path} new.toml` do it"
            )
        return cls.parse(beside(table, Path(path).parent), str(path))

    def to_toml(self) -> str:
        """The whole setup as TOML, each key under a comment that says what it means; ``load`` reads it back."""
        document = tomlkit.document()
        for line in HEADER.splitlines():
            document.add(tomlkit.comment(line))
        _fill(document, self)
        return tomlkit.dumps(document)


def read_toml(path: Path | str) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and what it says. Raises ``InputError``, one line that names the file."""
    check_plain(path, MOST_TEXT)
    try:
        # Editors on Windows put a byte-order mark in front of UTF-8.
        text = Path(path).read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{path}: not a text file in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise SetupError(f"{path}: nested too deeply to be a setup") from error


def _brief_idle(idle: dict[str, list[str]]) -> str:
    """Where keys do nothing, with some of them."""
    shown = {table: keys[:2] + [f"{len(keys) - 2} more"] * (len(keys) > 2) for table, keys in idle.items()}
    return ", ".join(f"[{table}] ({', '.join(keys)})" for table, keys in shown.items())


def beside(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The table with the names of files read as lying beside the setup."""
    resolved = {}
    for key, value in table.items():
        if isinstance(value, dict):
            value = beside(value, folder)
        elif key == "file" and isinstance(value, str) and value:
            value = str((folder / value).resolve())
        resolved[key] = value
    return resolved


def _fill(container: TOMLDocument | Table, spec: Spec) -> None:
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        container.add(tomlkit.nl())
        if isinstance(value, Spec):
            table = tomlkit.table()
            _comment(table, field.description or type(value).__doc__ or "")
            _fill(table, value)
            container.add(name, table)
            continue
        if name == "kind" and isinstance(spec, Pattern):
            _comment(container, pattern_comment(spec))
        else:
            _comment(container, field.description or "")
        if value is None:
            container.add(tomlkit.comment(f"{name} = (not set)"))
        else:
            container.add(name, spec.model_dump(include={name}, mode="python")[name])


def _comment(container: TOMLDocument | Table, text: str) -> None:
    for line in text.replace("``", "").splitlines():
        container.add(tomlkit.comment(line.strip()))
