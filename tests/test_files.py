"""Files that appear together or not at all."""

import errno
import os
from pathlib import Path

import pytest

from stedalign.errors import is_about_the_name
from stedalign.files import leftovers, remove_leftovers, replacing, replacing_all


def write(folder: Path, *names: str) -> None:
    for name in names:
        with replacing(folder / name) as temporary:
            temporary.write_text(f"new {name}")


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_set_of_files_takes_the_place_of_what_was_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    with replacing_all(tmp_path) as staging:
        write(staging, "a.txt", "b.txt")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert content(tmp_path) == {"a.txt": "new a.txt", "b.txt": "new b.txt", "mine.txt": "mine"}


def test_a_set_that_is_not_finished_leaves_neither_files_nor_the_folders_made_for_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing_all(tmp_path / "runs" / "new") as staging:  # noqa: PT012
        write(staging, "a.txt")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_cannot_be_renamed_whole_is_taken_back(tmp_path):
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(OSError) as caught, replacing_all(tmp_path) as staging:
        write(staging, "a.txt", "b.txt")
    assert is_about_the_name(caught.value)
    assert caught.value.filename == str(tmp_path / "b.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["b.txt"]


def test_a_set_that_cannot_be_renamed_whole_gives_back_what_it_replaced(tmp_path, monkeypatch):
    before = {"a.txt": "old a", "b.txt": "old b"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    rename = os.replace

    def locked(source, target):
        if Path(target) == tmp_path / "b.txt":
            raise PermissionError(errno.EACCES, "in use by another program", str(target))
        rename(source, target)

    monkeypatch.setattr("stedalign.files.os.replace", locked)
    with pytest.raises(PermissionError), replacing_all(tmp_path) as staging:
        write(staging, "a.txt", "b.txt")
    assert content(tmp_path) == before


def test_a_full_disk_is_told_with_the_name_that_was_asked_for(tmp_path, full_disk):
    full_disk(1)
    with pytest.raises(OSError, match="No space left") as caught, replacing_all(tmp_path) as staging:
        write(staging, "a.txt", "b.txt")
    assert caught.value.filename == str(tmp_path / "b.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_with_the_name_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "nowhere" / "a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.txt")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    write(tmp_path, "a.txt")
    (tmp_path / ".a.tmp-abcd_123.txt").touch()
    (tmp_path / ".set.tmp-abcd_123").mkdir()
    (tmp_path / ".set.tmp-abcd_123" / "b.txt").touch()
    assert len(leftovers(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["a.txt"]
