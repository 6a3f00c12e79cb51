"""The job that estimates a file: what it writes, and what it leaves where it does not come to its end."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

import stedalign as sa
from stedalign.errors import InputError
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.images import Sampling
from stedalign.jobs.estimate import SavedEstimate, estimate_file, save_estimate
from stedalign.jobs.mask import correction_levels, mask, save_masks
from stedalign.jobs.simulate import simulate
from stedalign.progress import Cancelled, Step

SETUP = sa.Setup(
    sampling=Sampling(samples=16, pixel_nm=(110.0,) * 3), bead=Bead(diameter_nm=0.0), detector=Detector(photons=500.0)
)
FILES = {
    *("setup.toml", "environment.json", "estimate.json", "estimate.png"),
    *("mask.bmp", "mask.png", "mask.json"),
}


class Watcher:
    """Notes the steps, and cancels the job at one of them."""

    def __init__(self, last: str) -> None:
        self.last, self.steps, self.cancel = last, list[str](), threading.Event()

    def __call__(self, step: Step) -> None:
        self.steps.append(step.title)
        if step.title.startswith(self.last):
            self.cancel.set()


@pytest.fixture(scope="module")
def bead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bead") / "bead.ome.tif"
    simulate(SETUP, path, seed=1, peak_waves=0.02)
    return path


@pytest.fixture(scope="module")
def saved(bead: Path, tmp_path_factory: pytest.TempPathFactory) -> SavedEstimate:
    return estimate_file(bead, SETUP, tmp_path_factory.mktemp("run") / "estimated", network=None)


def test_everything_is_written_and_the_json_in_the_folder_is_that_of_the_result(saved: SavedEstimate) -> None:
    assert {path.name for path in saved.run_folder.iterdir()} == FILES
    written = json.loads((saved.run_folder / "estimate.json").read_text())
    assert written.items() >= json.loads(json.dumps(saved.to_json())).items()
    assert saved.mask == saved.run_folder / "mask.bmp"


def test_the_same_estimate_comes_of_the_image_in_a_script(bead: Path, saved: SavedEstimate) -> None:
    found = sa.estimate(sa.load_stack(bead), SETUP, network=None)
    assert found.to_json() == saved.estimate.to_json()


def test_a_full_disk_leaves_nothing_of_an_estimate_whichever_file_it_strikes(
    bead: Path, saved: SavedEstimate, tmp_path: Path, full_disk
) -> None:
    image = sa.load_stack(bead)
    # The side-car of both masks is written twice.
    for files in range(len(FILES) + 1):
        full_disk(files)
        with pytest.raises(OSError, match="No space left") as caught:
            save_estimate(SETUP, image, saved.estimate, tmp_path / "runs" / "new")
        assert Path(caught.value.filename).parent == tmp_path / "runs" / "new"
        assert Path(caught.value.filename).name in FILES
        assert list(tmp_path.iterdir()) == []
    written = full_disk(100)
    save_estimate(SETUP, image, saved.estimate, tmp_path / "runs" / "new")
    assert written() == len(FILES) + 1


@pytest.mark.parametrize("files", [0, 1])
def test_a_full_disk_leaves_no_mask_without_its_side_car(tmp_path: Path, full_disk, files: int) -> None:
    full_disk(files)
    with pytest.raises(OSError, match="No space left"):
        mask(SETUP, tmp_path / "mine.bmp", sa.Wavefront.zero(SETUP.modes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("files", range(4))
def test_a_full_disk_leaves_none_of_two_masks(tmp_path: Path, full_disk, files: int) -> None:
    correction = sa.Wavefront.zero(SETUP.modes)
    full_disk(files)
    with pytest.raises(OSError, match="No space left"):
        save_masks(SETUP, correction_levels(SETUP, correction), correction, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("last", ["reading", "estimating"])
def test_a_canceled_estimate_ends_at_the_next_step_and_writes_nothing(bead: Path, tmp_path: Path, last: str) -> None:
    watcher = Watcher(last)
    with pytest.raises(Cancelled, match="stopped at"):
        estimate_file(bead, SETUP, tmp_path / "run", network=None, progress=watcher, cancel=watcher.cancel)
    assert watcher.steps[-1].startswith(last)
    assert list(tmp_path.iterdir()) == []


def test_a_canceled_simulation_writes_nothing(tmp_path: Path) -> None:
    watcher = Watcher("simulating")
    with pytest.raises(Cancelled, match="stopped at 'writing"):
        simulate(SETUP, tmp_path / "bead.tif", progress=watcher, cancel=watcher.cancel)
    assert list(tmp_path.iterdir()) == []


def test_a_canceled_bound_ends_after_the_wavefront_it_was_at() -> None:
    watcher = Watcher("wavefronts")
    with pytest.raises(Cancelled, match="stopped at 'wavefronts'"):
        sa.bound(SETUP, [sa.Wavefront.zero(SETUP.modes)] * 3, volume=False, progress=watcher, cancel=watcher.cancel)
    assert watcher.steps == ["planning the sections", "wavefronts"]


def test_a_folder_that_holds_something_is_refused(bead: Path, saved: SavedEstimate) -> None:
    with pytest.raises(InputError, match="is not empty"):
        estimate_file(bead, SETUP, saved.run_folder, network=None)
