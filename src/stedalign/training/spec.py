"""What a training run is: network, data, noise and optimizer, and how that is read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from stedalign.dataset.spec import DatasetSpec
from stedalign.errors import InputError
from stedalign.files import MOST_TEXT, check_plain
from stedalign.imaging.detector import NoiseSpec
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import architecture
from stedalign.optics.wavefront import ModeSet
from stedalign.spec import Seed, Spec


class SimulationSpec(Spec):
    """Images simulated while the training runs, instead of a dataset: how they, and the instruments, differ."""

    epoch: int = Field(default=65_536, ge=1, le=10**9)
    """Images shown between two looks at the validation images."""
    shown: int = Field(default=4, ge=1, le=1000)
    """How often each is shown, with fresh noise; 1 where simulating costs less than training, as on a GPU."""
    pool: int = Field(default=16_384, ge=1, le=10**7)
    """Images that wait to be shown."""
    validation: int = Field(default=2048, ge=2, le=10**6)
    test: int = Field(default=2048, ge=2, le=10**6)
    modes: tuple[tuple[int, int], ...] = tuple((mode.n, mode.m) for mode in ModeSet.default())
    """The modes as (n, m) pairs."""
    peak_waves: float = Field(default=0.33, gt=0, le=5)
    """Standard deviation of each coefficient in peak waves, in the strongest wavefronts; uniform from 0 up."""
    shift_nm: float = Field(default=25.0, ge=0, le=1000)
    """Standard deviation along x, y, z of what is left of the shift after centering."""
    drift_nm: float = Field(default=10.0, ge=0, le=1000)
    """Standard deviation along x, y, z of each section's own shift; there is none in a z-stack."""
    photons: tuple[float, float] = (30.0, 3000.0)
    """Least and most counts at the unaberrated crest; their logarithm is uniform."""
    background: tuple[float, float] = (0.0, 0.3)
    """Least and largest background, as a fraction of the photons."""
    mask_offset: float = Field(default=0.15, ge=0, le=0.35)
    """Half-range of the mask's distance from where the setup has it, along x and along y, in pupil radii."""
    taper: float = Field(default=1.25, ge=0, le=10)
    """Half-range of 1 / fill^2 around the setup's; 1.25 makes a uniform beam one of fill 0.9 or wider."""
    fill_center: float = Field(default=0.1, ge=0, le=0.5)
    """Half-range of the beam's center against the pupil along x and along y, in pupil radii."""
    ellipticity_deg: float = Field(default=8.0, ge=0, le=45)
    """Largest loss of ellipticity of circular light, at any azimuth: the arc tangent of the polarization's leak."""
    blur_nm: float = Field(default=40.0, ge=0, le=100)
    """Standard deviation along each axis of the strongest blur."""
    bead_diameter_nm: float = Field(default=0.0, ge=0, le=60)
    """Half-range of the bead's diameter around the setup's."""
    pixel_error: float = Field(default=0.05, ge=0, le=0.2)
    """Half-range of the error of the pixel size along x and y, as a fraction."""
    z_scale: float = Field(default=0.05, ge=0, le=0.4)
    """Half-range of the error of the pixel size along z, as a fraction."""
    shear: float = Field(default=0.0, ge=0, le=0.2)
    """Half-range of the image's displacement along x and along y for each nm of z."""
    ez_weight: float = Field(default=0.0, ge=0, le=1)
    """Half-range of how strongly the detection weighs abs(Ez)^2, around 1."""
    index_layer_nm: float = Field(default=0.0, ge=0, le=2000)
    """Half-range of the thickness of a layer of the sample's index before the focus."""
    pinhole: float = Field(default=0.0, ge=0, le=2)
    """Largest deviation of 1 / pinhole_airy upwards, its cube is uniform: 1 makes an open one 1 Airy unit or wider."""
    halves_offset: float = Field(default=0.0, ge=0, le=0.2)
    """Half-range along each axis of the mask's offset for light polarized along x, its opposite for light along y, in
    pupil radii."""
    halves_tilt: float = Field(default=0.0, ge=0, le=0.3)
    """Half-range along each axis of the tilt of light polarized along x, its opposite for light along y, in waves at
    the pupil's edge."""

    @property
    def mode_set(self) -> ModeSet:
        return ModeSet.of(self.modes)

    def model_post_init(self, context: Any, /) -> None:
        ModeSet.of(self.modes)
        for name, (least, most) in (("photons", self.photons), ("background", self.background)):
            if not (0 if name == "background" else 0.1) <= least <= most <= 1e7:
                raise InputError(f"{name} {least:g} to {most:g} is no range")


class TrainSpec(Spec):
    """One training run, optics apart."""

    network: str = "multinet11"
    epochs: int = Field(default=15, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=1, le=65_536)
    """Images of each step, of all processes together."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Of the Adam optimizer."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled from the gradient (AdamW); 0 = plain Adam."""
    step_epochs: int = Field(default=0, ge=0, le=100_000)
    """Divide the learning rate by 10 after every so many epochs; 0 = never."""
    cosine: bool = False
    """Whether the learning rate rises over the first 50,000 images and then falls to zero as a cosine."""
    gradient_clip: float = Field(default=0.0, ge=0, le=1e6)
    """Longest gradient; 0 = any."""
    seed: Seed = 0
    """Of weights, order, dropout and noise; the data have their own."""
    noise: NoiseSpec = NoiseSpec()
    dataset: DatasetSpec = DatasetSpec()
    simulation: SimulationSpec | None = None
    """Where given, there is no dataset, and noise is its, not ``noise``."""

    @model_validator(mode="before")
    @classmethod
    def _draw_what_the_network_is_for(cls, data: Any) -> Any:
        """Where the data name no modes of their own, they have those of the network, and z-stacks do not drift."""
        if not isinstance(data, dict):
            return data
        known = architecture(str(data.get("network", cls.model_fields["network"].default)))
        defaults: dict[str, Any] = {} if known.outputs.modes is None else {"modes": known.outputs.modes.pairs}
        for source in ("dataset", "simulation"):
            table = data.get(source, {} if source == "dataset" else None)
            if isinstance(table, dict):
                still = {"drift_nm": 0.0} if source == "simulation" and known.sees_stacks else {}
                data = data | {source: defaults | still | table}
        return data

    def model_post_init(self, context: Any, /) -> None:
        predicted = architecture(self.network).outputs
        if self.cosine and self.step_epochs:
            raise InputError("the learning rate falls as a cosine or in steps: give either cosine or step_epochs")
        if self.simulation is not None:
            if predicted.mask_offset and not self.simulation.mask_offset:
                raise InputError(f"{self.network} predicts the mask offset: give its range in [simulation]")
            if self.simulation.drift_nm and architecture(self.network).sees_stacks:
                raise InputError(
                    f"{self.network} sees a z-stack, and drift_nm moves sections against each other: "
                    "set drift_nm = 0 in [simulation]"
                )
            return
        if predicted.shift:
            raise InputError(f"{self.network} predicts shifts, which datasets do not tell: give a [simulation]")
        if predicted.modes is not None and not self.dataset.range_peak_waves:
            raise InputError(f"{self.network} predicts modes, which a range_peak_waves of 0 in [dataset] leaves out")
        if predicted.mask_offset and not self.dataset.mask_offset:
            raise InputError(f"{self.network} predicts the mask offset: give its range as mask_offset in [dataset]")

    @property
    def outputs(self) -> Outputs:
        """What the network learns: the modes of the data, the mask offset, or both, as the network does."""
        predicted = architecture(self.network).outputs
        source = self.dataset if self.simulation is None else self.simulation
        return replace(predicted, modes=None if predicted.modes is None else source.mode_set)


def load_train_spec(path: Path) -> TrainSpec:
    """The training run that a TOML file describes; what it leaves out keeps its default.

    Raises ``InputError`` with one line for a missing or malformed file, an unknown key (the nearest known one
    is named) or a value out of range.
    """
    check_plain(path, MOST_TEXT)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    idle = [name for name in ("dataset", "noise") if name in data and "simulation" in data]
    if idle:
        raise InputError(f"{path}: with [simulation] there is no [{idle[0]}]: leave one of them out")
    return TrainSpec.parse(data, str(path))
