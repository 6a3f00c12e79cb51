"""Small datasets of small images, and estimators that know the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from small_optics import FORWARD

from stedalign.dataset.generate import Simulator, generate
from stedalign.dataset.spec import DatasetSpec
from stedalign.evaluation.estimators import Estimator
from stedalign.evaluation.test_set import KnownImages
from stedalign.imaging.images import PLANES, normalize
from stedalign.networks.image_network import SectionNetwork
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs, Prediction
from stedalign.optics.wavefront import ModeSet

ELEVEN = Outputs(ModeSet.default())

Load = Callable[..., KnownImages]


@pytest.fixture(scope="session", autouse=True)
def _plan_each_focus_once() -> Iterator[None]:
    """Making a dataset and evaluating on it take the same simulator."""
    plan_once = functools.cache(Simulator)
    with pytest.MonkeyPatch.context() as patch:
        for user in ("dataset.generate", "evaluation.test_set"):
            patch.setattr(f"stedalign.{user}.Simulator", plan_once)
        yield


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Make a dataset with twelve test images and read them."""

    def made(outputs: Outputs = ELEVEN, **options: Any) -> KnownImages:
        path = tmp_path_factory.mktemp("data") / "dataset.h5"
        spec = DatasetSpec(samples=24, split=(0.25, 0.25, 0.5), **({"range_peak_waves": 0.06} | options))
        return KnownImages.load(generate(spec, FORWARD, path), FORWARD, outputs)

    return made


@pytest.fixture(scope="session")
def eleven(load: Load) -> KnownImages:
    """Centered images of the eleven modes."""
    return load()


@pytest.fixture(scope="session")
def moving(load: Load) -> KnownImages:
    """The same under a mask that moves."""
    return load(Outputs(ELEVEN.modes, mask_offset=True), mask_offset=0.1)


@pytest.fixture
def truth() -> Callable[[KnownImages], Estimator]:
    """An estimator that is handed the first images in their order and says what is true of them."""

    def of(known: KnownImages) -> Estimator:
        done = 0

        def estimate(counts: torch.Tensor) -> Prediction:
            nonlocal done
            rows = slice(done, done + len(counts))
            done += len(counts)
            offset = None if known.mask_offset is None else torch.from_numpy(known.mask_offset[rows])
            return Prediction(torch.from_numpy(known.waves[rows]), offset)

        return estimate

    return of


class Oracle(SectionNetwork):
    """Looks up which of the known images it is shown, and answers with its labels."""

    def __init__(self, known: KnownImages) -> None:
        super().__init__(PLANES)
        self.images = normalize(known.images).flatten(1)
        self.labels = torch.from_numpy(known.waves * known.model.modes.norms)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.labels[torch.cdist(images.flatten(1), self.images).argmin(dim=1)]


@pytest.fixture
def oracle() -> Callable[[KnownImages], Network]:
    """A network without error."""
    return lambda known: Network(Oracle(known), ELEVEN)
