"""Making datasets: contents, reproducibility, and what a kill leaves behind."""

import functools
import hashlib
import json
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

try:
    import resource
except ImportError:
    resource = None

from stedalign.dataset.generate import GenerationInterrupted, Simulator, generate
from stedalign.dataset.parts import BATCH_SAMPLES, parts_folder
from stedalign.dataset.spec import DatasetSpec, draw
from stedalign.dataset.storage import check_optics, read_mask_offset, read_split
from stedalign.files import leftovers, remove_leftovers, replacing
from stedalign.imaging.center_of_mass import center_of_mass_px
from stedalign.imaging.detector import Bead
from stedalign.imaging.forward import ForwardModel
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Vortex
from stedalign.optics.wavefront import ModeSet
from stedalign.progress import Cancelled, Progress, Step

# A point for a bead: its coherent modes are most of the planning.
FORWARD = ForwardSpec(bead=Bead(diameter_nm=0), sampling=Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0)))
plan_once = functools.cache(Simulator)
SPEC = DatasetSpec(samples=2 * BATCH_SAMPLES + 6)


@pytest.fixture(autouse=True)
def _plan_each_focus_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedalign.dataset.generate.Simulator", plan_once)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stop_after(samples: int) -> Progress:
    """Presses Ctrl-C once so many samples are done."""

    def press(step: Step) -> None:
        if step.done >= samples:
            raise KeyboardInterrupt

    return Progress(press)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "made.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stedalign.dataset.generate.Simulator", plan_once)
        return generate(SPEC, FORWARD, path)


def test_the_file_has_the_reports_names_shapes_and_types(made: Path) -> None:
    with h5py.File(made) as file:
        shapes = {name: (item.shape, item.dtype) for name, item in file.items()}
    expected = {}
    for split, count in zip(("train", "val", "test"), SPEC.counts, strict=True):
        expected[f"{split}_img"] = (count, 3, 16, 16), np.float32
        expected[f"{split}_labels"] = (count, 11), np.float32
    assert shapes == expected


def test_the_file_says_what_it_holds(made: Path) -> None:
    with h5py.File(made) as file:
        attributes = dict(file.attrs)
    assert DatasetSpec.model_validate(json.loads(attributes["dataset_spec"])) == SPEC
    assert ForwardSpec.model_validate(json.loads(attributes["forward_spec"])) == FORWARD
    assert attributes["forward_hash"] == FORWARD.hash
    assert json.loads(attributes["modes"]) == ModeSet.default().pairs
    assert attributes["label_unit"] == "peak_waves"
    assert {"format_version", "stedalign_version"} <= set(attributes)


def test_labels_are_the_drawn_peak_waves_in_their_order(made: Path) -> None:
    labels = np.concatenate([read_split(made, split)[1] for split in ("train", "val", "test")])
    np.testing.assert_array_equal(labels, draw(SPEC).peak_waves.astype(np.float32))


def test_the_bits_do_not_depend_on_the_size_of_the_parts(made: Path, tmp_path: Path) -> None:
    assert digest(generate(SPEC, FORWARD, tmp_path / "two.h5", most_parts=2)) == digest(made)


def test_a_stopped_run_leaves_no_half_file_and_goes_on_to_the_same_bits(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "stopped.h5"
    with pytest.raises(GenerationInterrupted, match="1 of 3 parts are finished and kept"):
        generate(SPEC, FORWARD, path, progress=stop_after(1))
    assert [item.name for item in tmp_path.iterdir()] == ["stopped.h5.parts"]
    generate(SPEC, FORWARD, path)
    assert digest(path) == digest(made)
    assert not parts_folder(path).exists()


def test_a_canceled_dataset_ends_after_the_part_it_was_at_and_goes_on_to_the_same_bits(
    made: Path, tmp_path: Path
) -> None:
    path, cancel = tmp_path / "canceled.h5", threading.Event()
    steps = []

    def watch(step: Step) -> None:
        steps.append(step.to_json())
        if step.done >= BATCH_SAMPLES:
            cancel.set()

    with pytest.raises(Cancelled, match=f"stopped at 'simulating images' .{2 * BATCH_SAMPLES} of {SPEC.samples}."):
        generate(SPEC, FORWARD, path, progress=Progress(watch, cancel))
    assert steps[-1] == {"title": "simulating images", "done": BATCH_SAMPLES, "total": SPEC.samples}
    assert [item.name for item in tmp_path.iterdir()] == ["canceled.h5.parts"]
    assert not leftovers(parts_folder(path))
    generate(SPEC, FORWARD, path)
    assert digest(path) == digest(made)


@pytest.mark.skipif(resource is None, reason="this system has no limit of file sizes")
@pytest.mark.parametrize("room", [0, 3_000])
def test_a_full_disk_is_told_with_the_file_and_leaves_no_dataset(made: Path, tmp_path: Path, room: int) -> None:
    """HDF5 tells a full disk by errors of several kinds, some only when it closes the file."""
    path = tmp_path / "full.h5"
    with pytest.raises(KeyboardInterrupt):
        generate(SPEC, FORWARD, path, progress=stop_after(2 * BATCH_SAMPLES))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            generate(SPEC, FORWARD, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert caught.value.filename is not None
    assert Path(caught.value.filename).parent == parts_folder(path)
    assert [item.name for item in tmp_path.iterdir()] == ["full.h5.parts"]
    assert not leftovers(parts_folder(path))
    generate(SPEC, FORWARD, path)
    assert digest(path) == digest(made)


@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "missing", "foreign", "leftover"])
def test_a_bad_part_is_made_again(made: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.h5"
    with pytest.raises(GenerationInterrupted):
        generate(SPEC, FORWARD, path, progress=stop_after(2 * BATCH_SAMPLES))
    first, second = sorted(parts_folder(path).iterdir())
    content = first.read_bytes()
    if damage == "flipped byte":
        middle = len(content) // 2
        first.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "truncated":
        first.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        first.unlink()
    elif damage == "foreign":
        first.write_bytes(second.read_bytes())
    else:
        (parts_folder(path) / f".{first.stem}.tmp-abcd_123.h5").write_bytes(content[:100])
        (tmp_path / ".damaged.tmp-abcd_123.h5").write_bytes(content[:100])
    generate(SPEC, FORWARD, path)
    assert digest(path) == digest(made)
    assert [item.name for item in tmp_path.iterdir()] == ["damaged.h5"]


def test_a_finished_file_is_used_again(made: Path) -> None:
    before = made.stat().st_mtime_ns
    generate(SPEC, FORWARD, made)
    assert made.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("attribute", "table", "key"),
    [
        ("forward_spec", "beam", "stop_radius"),
        ("dataset_spec", None, "shift_nm"),
        ("dataset_spec", None, "mask_offset"),
    ],
)
def test_a_file_from_before_a_key_existed_is_used_again(
    made: Path, tmp_path: Path, attribute: str, table: str | None, key: str
) -> None:
    path = tmp_path / "old.h5"
    path.write_bytes(made.read_bytes())
    with h5py.File(path, "a") as file:
        recorded = json.loads(file.attrs[attribute])
        del (recorded[table] if table else recorded)[key]
        file.attrs.update({attribute: json.dumps(recorded), "identity": "of another version"})
    before = digest(path)
    generate(SPEC, FORWARD, path)
    assert digest(path) == before


def test_the_lasers_power_makes_no_other_dataset(made: Path) -> None:
    before = digest(made)
    generate(SPEC, FORWARD.model_copy(update={"beam": Beam(power_w=0.1)}), made)
    assert digest(made) == before


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("format_version", 2, "has the format 2, this version reads 1: choose another name"),
        ("dataset_spec", '{"colour": 1}', "that this version does not know .unknown key 'colour'"),
    ],
)
def test_a_dataset_of_another_version_is_refused_by_what_differs(
    made: Path, tmp_path: Path, name: str, value: object, words: str
) -> None:
    path = tmp_path / "future.h5"
    path.write_bytes(made.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    with pytest.raises(ValueError, match=words):
        generate(SPEC, FORWARD, path)


def test_temporaries_of_other_files_stay(tmp_path: Path) -> None:
    names = [".a[1]-2.tmp-abcd_123.h5", ".a1.tmp-abcd_123.h5", ".a[1].tmp-abcd_123.tif", ".a[1]-mine.h5", "a[1].h5"]
    for name in [*names, ".a[1].tmp-abcd_123.h5"]:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "a[1].h5")
    assert {file.name for file in tmp_path.iterdir()} == set(names)


def test_what_a_killed_write_leaves_is_found_by_its_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.ome.h5") as temporary:
        temporary.touch()
        assert leftovers(tmp_path, "a.ome.h5") == leftovers(tmp_path) == [temporary]
        assert not leftovers(tmp_path, "a.h5")
        assert not leftovers(tmp_path / "nowhere")


def test_another_dataset_is_never_overwritten_unasked(made: Path, tmp_path: Path) -> None:
    path, before = tmp_path / "mine.h5", made.read_bytes()
    path.write_bytes(before)
    other = SPEC.model_copy(update={"seed": 7})
    with pytest.raises(ValueError, match="seed = 0; asked for: seed = 7"):
        generate(other, FORWARD, path)
    assert path.read_bytes() == before
    generate(other, FORWARD, path, overwrite=True)
    assert path.read_bytes() != before


def test_images_that_would_leave_their_field_are_refused_before_anything_is_written(made: Path, tmp_path: Path) -> None:
    far = SPEC.model_copy(update={"shift_nm": (0.0, 0.0, 221.0)})
    words = "shift_nm: a standard deviation of 221 nm along z takes .* must not exceed 220 nm, an eighth of the field"
    with pytest.raises(ValueError, match=words):
        generate(far, FORWARD, tmp_path / "data" / "far.h5")
    assert not list(tmp_path.iterdir())


def test_a_finished_dataset_is_used_however_far_its_images_moved(made: Path, tmp_path: Path) -> None:
    far, path = SPEC.model_copy(update={"shift_nm": (0.0, 0.0, 221.0)}), tmp_path / "far.h5"
    path.write_bytes(made.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["dataset_spec"] = json.dumps(far.model_dump())
    before = digest(path)
    generate(far, FORWARD, path)
    assert digest(path) == before


def test_a_file_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.h5"
    path.write_text("my notes")
    with pytest.raises(ValueError, match="cannot be read as a dataset"):
        generate(SPEC, FORWARD, path)
    assert path.read_text() == "my notes"


def test_damaged_images_are_noticed_when_they_are_read(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes(made.read_bytes())
    with h5py.File(path, "a") as file:
        file["val_img"][0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="damaged"):
        read_split(path, "val")


def test_a_dataset_of_another_objective_is_refused(made: Path) -> None:
    other = FORWARD.model_copy(update={"objective": Objective(na=1.3, back_aperture_mm=4.68)})
    with pytest.raises(ValueError, match=r"was made for na = 1\.4.*this setup has na = 1\.3"):
        check_optics(made, other, ModeSet.default())


def test_centering_brings_most_images_to_the_middle() -> None:
    spec = DatasetSpec(samples=64, range_peak_waves=0.15)
    before, after = (
        center_of_mass_px(torch.from_numpy(Simulator(each, FORWARD).images(0, 64))).abs().median()
        for each in (spec.model_copy(update={"centered": False}), spec)
    )
    assert after < 0.1 * before


OFFSET = DatasetSpec(samples=10, modes=((2, 2), (3, 1)), mask_offset=0.1, centered=False, shift_nm=(20, 20, 20))


@pytest.fixture(scope="module")
def with_offsets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(OFFSET, FORWARD, tmp_path_factory.mktemp("data") / "offsets.h5")


def test_mask_offsets_lie_beside_the_labels_of_the_modes(with_offsets: Path) -> None:
    drawn = draw(OFFSET)
    offsets = np.concatenate([read_mask_offset(with_offsets, split) for split in ("train", "val", "test")])
    np.testing.assert_array_equal(offsets, drawn.mask_offset(FORWARD.beam).astype(np.float32))
    labels = np.concatenate([read_split(with_offsets, split)[1] for split in ("train", "val", "test")])
    np.testing.assert_array_equal(labels, drawn.peak_waves.astype(np.float32))


def test_an_image_with_a_mask_offset_is_the_focus_of_a_beam_with_that_offset(with_offsets: Path) -> None:
    image, offset = read_split(with_offsets, "val")[0][0], read_mask_offset(with_offsets, "val")[0]
    row = OFFSET.counts[0]
    parameters = np.concatenate([draw(OFFSET).waves[row], draw(OFFSET).shift_nm[row]])
    beam = Beam(pattern=Vortex(mask_offset=tuple(offset.tolist())))
    model = ForwardModel(FORWARD.model_copy(update={"beam": beam}), OFFSET.mode_set)
    # Intensities are relative to the crest of the beam as the setup has it.
    crest = ForwardModel(FORWARD, OFFSET.mode_set).focus.scale / model.focus.scale
    expected = model.intensity(torch.from_numpy(parameters[None]).float())[0].detach().numpy() * crest.numpy()
    assert np.linalg.norm(image - expected) < 1e-3 * np.linalg.norm(expected)


def test_a_dataset_whose_mask_rests_has_no_such_labels(made: Path) -> None:
    with pytest.raises(ValueError, match="no mask offsets of its test images"):
        read_mask_offset(made, "test")
