"""Making a dataset side by side: the jobs of an array make shards, and one file shows them all."""

import functools
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path

import h5py
import numpy as np
import pytest

from stedalign.dataset.generate import GenerationInterrupted, Simulator, generate, generate_shard, join_shards
from stedalign.dataset.parts import BATCH_SAMPLES, MOST_PARTS, Part, Shard, cut, parts_folder
from stedalign.dataset.spec import SPLITS, DatasetSpec
from stedalign.dataset.storage import check_identity, check_optics, read_mask_offset, read_split
from stedalign.imaging.detector import Bead
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling
from stedalign.progress import Progress, Step

# A point for a bead: its coherent modes are most of the planning.
FORWARD = ForwardSpec(bead=Bead(diameter_nm=0), sampling=Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0)))
SPEC = DatasetSpec(samples=3 * BATCH_SAMPLES + 6, modes=((2, 2), (3, 1)), mask_offset=0.02)
OTHER = SPEC.model_copy(update={"seed": 7})
plan_once = functools.cache(Simulator)


@pytest.fixture(autouse=True, scope="module")
def _plan_each_focus_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stedalign.dataset.generate.Simulator", plan_once)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as one process makes it."""
    return generate(SPEC, FORWARD, tmp_path_factory.mktemp("whole") / "data.h5")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which three jobs have made their shards."""
    folder = tmp_path_factory.mktemp("sharded")
    for number in (3, 1, 2):
        generate_shard(SPEC, FORWARD, folder / "data.h5", Shard(number, 3))
    return folder


@pytest.fixture
def path(sharded: Path, tmp_path: Path) -> Path:
    """The name of the dataset in a copy of that folder."""
    shutil.copytree(sharded, tmp_path / "data")
    return tmp_path / "data" / "data.h5"


@pytest.fixture
def joined(path: Path) -> Path:
    return join_shards(SPEC, FORWARD, path)


def parts_of(path: Path) -> list[Path]:
    return sorted(parts_folder(path).iterdir())


def test_a_shard_is_its_share_of_the_parts_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    made = generate_shard(SPEC, FORWARD, path, Shard(2, 3))
    assert [(part.first, part.count) for part in made] == [(BATCH_SAMPLES, BATCH_SAMPLES)]
    assert [item.name for item in tmp_path.iterdir()] == ["data.h5.parts"]
    assert parts_of(path) == [part.path for part in made]


@pytest.mark.parametrize("samples", [10, BATCH_SAMPLES, 20_000, 1_000_000])
def test_the_parts_are_whole_batches_and_share_all_samples_evenly(samples: int) -> None:
    parts = cut(Path("data.h5"), DatasetSpec(samples=samples), FORWARD)
    assert len(parts) <= MOST_PARTS
    assert [part.first for part in parts] == [0, *np.cumsum([part.count for part in parts])[:-1]]
    assert sum(part.count for part in parts) == samples
    assert not any(part.first % BATCH_SAMPLES for part in parts)
    assert max(part.count for part in parts) - min(part.count for part in parts) < 2 * BATCH_SAMPLES


@pytest.mark.parametrize("count", [1, 3, 8, 125])
def test_the_shards_share_all_parts(count: int) -> None:
    parts = cut(Path("data.h5"), DatasetSpec(), FORWARD)
    assert [part for number in range(count) for part in Shard(number + 1, count).of(parts)] == parts


@pytest.mark.parametrize("text", ["0/8", "9/8", "a/b", "3", "3/", "-1/8", "1/8/2", "1.5/8", "٣/8", ""])
def test_what_names_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no shard: 3/8 is the third of eight, counted from 1"):
        Shard.parse(text)


def test_more_shards_than_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="102 samples make 4 parts, too few for 5 shards"):
        generate_shard(SPEC, FORWARD, tmp_path / "data.h5", Shard(1, 5))
    assert not list(tmp_path.iterdir())


def test_a_joined_dataset_has_the_same_bits_as_that_of_one_process(whole: Path, joined: Path) -> None:
    with h5py.File(whole) as ours, h5py.File(joined) as theirs:
        assert ours.keys() == theirs.keys()
        assert dict(ours.attrs) == dict(theirs.attrs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
            assert dict(ours[name].attrs) == dict(theirs[name].attrs)


def test_all_that_reads_datasets_reads_a_joined_one(whole: Path, joined: Path) -> None:
    for split in SPLITS:
        for ours, theirs in zip(read_split(joined, split), read_split(whole, split), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(read_mask_offset(joined, split), read_mask_offset(whole, split))
    check_identity(joined, SPEC, FORWARD)
    check_optics(joined, FORWARD, SPEC.mode_set)
    assert generate(SPEC, FORWARD, joined) == joined


def test_a_joined_dataset_holds_no_images_itself(joined: Path) -> None:
    assert joined.stat().st_size < min(part.stat().st_size for part in parts_of(joined))


def test_a_joined_dataset_can_be_moved_with_its_parts(joined: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = joined.parent.rename(tmp_path / "elsewhere" / "there")
    with chdir(tmp_path):
        np.testing.assert_array_equal(read_split(moved / "data.h5", "train")[0], read_split(whole, "train")[0])


@pytest.mark.parametrize("what", ["part", "folder"])
def test_a_joined_dataset_without_its_parts_is_an_error_in_one_line(joined: Path, what: str, tmp_path: Path) -> None:
    first = parts_of(joined)[0]
    elsewhere = tmp_path / first.parent.name
    shutil.copytree(first.parent, elsewhere)
    first.unlink() if what == "part" else shutil.rmtree(first.parent)
    # HDF5 would take the part that lies in the working folder by the same name.
    with chdir(tmp_path):
        for read in (lambda: read_split(joined, "train"), lambda: generate(SPEC, FORWARD, joined)):
            with pytest.raises(ValueError, match=f"shows the images in .*{first.name}, which is missing") as caught:
                read()
            assert "\n" not in str(caught.value)


def test_a_program_that_is_not_ours_reads_no_zeros_for_a_missing_part(joined: Path) -> None:
    parts_of(joined)[0].unlink()
    with h5py.File(joined) as file:
        assert np.isnan(file["train_img"][:BATCH_SAMPLES]).all()
        assert not np.isnan(file["train_img"][BATCH_SAMPLES:]).any()


def test_a_damaged_part_of_a_joined_dataset_is_noticed_and_mended(joined: Path, whole: Path) -> None:
    with h5py.File(parts_of(joined)[1], "a") as file:
        file["img"][3, 0, 0, 0] += 1
    with pytest.raises(ValueError, match=r"the train images in .* are damaged"):
        read_split(joined, "train")
    generate_shard(SPEC, FORWARD, joined, Shard(2, 4))
    np.testing.assert_array_equal(read_split(joined, "train")[0], read_split(whole, "train")[0])


def remove(part: Path, other: Path) -> None:
    part.unlink()


def flip(part: Path, other: Path) -> None:
    with h5py.File(part, "a") as file:
        file["img"][0, 0, 0, 0] += 1


def truncate(part: Path, other: Path) -> None:
    part.write_bytes(part.read_bytes()[:1000])


def swap(part: Path, other: Path) -> None:
    part.write_bytes(other.read_bytes())


def relabel(part: Path, other: Path) -> None:
    with h5py.File(part, "a") as file:
        file.attrs["identity"] = "another"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (remove, "is missing"),
        (flip, r"is damaged .checksum"),
        (truncate, "is damaged: it cannot be read"),
        (swap, "holds images of another dataset or place"),
        (relabel, "holds images of another dataset or place"),
    ],
)
def test_joining_names_the_part_that_is_not_sound(path: Path, harm: Callable[[Path, Path], None], words: str) -> None:
    parts = parts_of(path)
    harm(parts[1], parts[2])
    with pytest.raises(ValueError, match=f"{parts[1].name} .images 32 to 63. {words}.*; run the command") as caught:
        join_shards(SPEC, FORWARD, path)
    assert "\n" not in str(caught.value)
    assert [item.name for item in path.parent.iterdir()] == ["data.h5.parts"]


def test_joining_the_parts_of_another_dataset_tells_so(path: Path) -> None:
    with pytest.raises(ValueError, match=r"is missing; .*there are parts of another dataset"):
        join_shards(OTHER, FORWARD, path)


def test_a_finished_shard_is_left_as_it_is(path: Path) -> None:
    before = [part.stat().st_mtime_ns for part in parts_of(path)]
    generate_shard(SPEC, FORWARD, path, Shard(1, 3))
    assert [part.stat().st_mtime_ns for part in parts_of(path)] == before


def test_a_stopped_shard_goes_on(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.h5"

    def stop(step: Step) -> None:
        if step.done:
            assert step.total == 2 * BATCH_SAMPLES
            raise KeyboardInterrupt

    with pytest.raises(GenerationInterrupted, match="1 of 2 parts are finished and kept"):
        generate_shard(SPEC, FORWARD, path, Shard(1, 2), progress=Progress(stop))
    first = parts_of(path)[0]
    before = first.stat().st_mtime_ns
    generate_shard(SPEC, FORWARD, path, Shard(1, 2))
    assert first.stat().st_mtime_ns == before
    assert len(parts_of(path)) == 2


def test_the_command_without_a_shard_makes_what_the_shards_left(whole: Path, path: Path) -> None:
    parts_of(path)[2].unlink()
    assert generate(SPEC, FORWARD, path).read_bytes() == whole.read_bytes()
    assert [item.name for item in path.parent.iterdir()] == ["data.h5"]
    generate_shard(SPEC, FORWARD, path, Shard(1, 3))
    assert [item.name for item in path.parent.iterdir()] == ["data.h5"]


def test_jobs_at_once_do_not_disturb_each_other(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: generate_shard(SPEC, FORWARD, path, Shard(number, 3)), (1, 2, 3)))
        list(pool.map(lambda _: join_shards(SPEC, FORWARD, path), range(3)))
    assert {item.name for item in tmp_path.iterdir()} == {"data.h5", "data.h5.parts"}
    np.testing.assert_array_equal(read_split(path, "train")[0], read_split(whole, "train")[0])


def test_a_part_clears_its_own_leftovers_and_those_of_no_other(path: Path) -> None:
    first, second, *_ = parts_of(path)
    mine, running = (part.with_name(f".{part.stem}.tmp-abcd_123.h5") for part in (first, second))
    for file in (mine, running):
        file.touch()
    first.unlink()
    generate_shard(SPEC, FORWARD, path, Shard(1, 4))
    assert first.exists()
    assert not mine.exists()
    assert running.exists()


def test_another_dataset_is_not_replaced_unasked(joined: Path) -> None:
    for make in (generate_shard, join_shards):
        arguments = [Shard(1, 3)] if make is generate_shard else []
        with pytest.raises(ValueError, match="asked for: seed = 7"):
            make(OTHER, FORWARD, joined, *arguments)
    for number in (1, 2):
        generate_shard(OTHER, FORWARD, joined, Shard(number, 2), overwrite=True)
    join_shards(OTHER, FORWARD, joined, overwrite=True)
    check_identity(joined, OTHER, FORWARD)


def test_a_joined_dataset_is_made_one_file_when_asked(joined: Path, whole: Path) -> None:
    generate(SPEC, FORWARD, joined, overwrite=True)
    assert joined.read_bytes() == whole.read_bytes()
    assert [item.name for item in joined.parent.iterdir()] == ["data.h5"]


def test_a_part_prints_where_it_is_and_what_it_holds() -> None:
    assert str(Part(Path("x"), "abc", 32, 10)) == "x/abc-00000032.h5 (images 32 to 41)"
