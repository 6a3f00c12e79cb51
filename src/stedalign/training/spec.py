"""What a training run is: network, data, noise and optimizer, and how that is read from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from stedalign.dataset.spec import DatasetSpec
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import NETWORKS, architecture
from stedalign.optics.spec import Spec


class NoiseSpec(Spec):
    """Noise put on the pictures anew each time they are loaded."""

    photons: float = Field(default=350.0, ge=0, le=1e7)
    """Counts at the unaberrated crest; 0 = no photon noise."""
    background_fraction: float = Field(default=0.02, ge=0, le=10)
    """Constant background, as a fraction of ``photons``."""
    background: float = Field(default=0.0, ge=0, le=1000)
    """Uneven background as the report counts it: its standard deviation is 0.001 times this, of the crest."""


class TrainSpec(Spec):
    """One training run, optics apart."""

    network: str = "multinet11"
    epochs: int = Field(default=15, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=1, le=65_536)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Of the Adam optimizer."""
    step_epochs: int = Field(default=0, ge=0)
    """Divide the learning rate by 10 after every so many epochs; 0 = never."""
    seed: int = Field(default=0, ge=0)
    """Of weights, order, dropout and noise; the data have their own."""
    noise: NoiseSpec = NoiseSpec()
    dataset: DatasetSpec = DatasetSpec()

    @model_validator(mode="before")
    @classmethod
    def _draw_what_the_network_predicts(cls, data: Any) -> Any:
        """Where the data name no modes of their own, they have those of the network."""
        if not isinstance(data, dict):
            return data
        known = NETWORKS.get(str(data.get("network", cls.model_fields["network"].default)))
        dataset = data.get("dataset", {})
        if known is None or known.outputs.modes is None or not isinstance(dataset, dict) or "modes" in dataset:
            return data
        return data | {"dataset": dataset | {"modes": known.outputs.modes.pairs}}

    def model_post_init(self, context: Any, /) -> None:
        predicted = architecture(self.network).outputs
        if predicted.modes is not None and not self.dataset.range_peak_waves:
            raise ValueError(f"{self.network} predicts modes, which a range_peak_waves of 0 in [dataset] leaves out")
        if predicted.mask_offset and not self.dataset.mask_offset:
            raise ValueError(f"{self.network} predicts the mask offset: give its range as mask_offset in [dataset]")

    @property
    def outputs(self) -> Outputs:
        """What the network learns: the modes of the data, the mask offset, or both, as the network does."""
        predicted = architecture(self.network).outputs
        return Outputs(None if predicted.modes is None else self.dataset.mode_set, predicted.mask_offset)


def load_train_spec(path: Path) -> TrainSpec:
    """The training run that a TOML file describes; what it leaves out keeps its default.

    Raises ``ValueError`` with one line for a missing or malformed file, an unknown key (the nearest known one
    is named) or a value out of range.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    return TrainSpec.parse(data, str(path))
