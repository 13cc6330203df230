"""Digests of files: what they cover, and when a file is read again."""

import json
import os
from pathlib import Path

import pytest

import data_files
from jaxcv.data import contents, image_folder


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """The files that were read, in a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths, digest = [], contents._digest
    monkeypatch.setattr(contents, "_digest", lambda file: paths.append(file.name) or digest(file))
    return paths


def old_file(path, content, *, age=100):
    """A file that changed `age` seconds ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - age * 10**9))
    return path


def test_a_file_is_read_once_until_it_changes(tmp_path, reads):
    a, b = (old_file(tmp_path / "set" / name, name) for name in "ab")
    first = contents.digests(tmp_path / "set", [a, b])
    assert first[a] == "ca978112ca1bbdca" and first[a] != first[b] and sorted(reads) == ["a", "b"]
    assert contents.digests(tmp_path / "set", [a, b]) == first and len(reads) == 2
    old_file(a, "c", age=50)  # of the same size
    second = contents.digests(tmp_path / "set", [a, b])
    assert second[a] != first[a] and second[b] == first[b] and reads[2:] == ["a"]
    assert contents.identities(tmp_path, [b], second) == [f"set/b {second[b]}"]


def test_a_file_that_has_just_changed_is_read_again(tmp_path, reads):
    file = old_file(tmp_path / "set/a", "a", age=0)
    before, stat = contents.digests(tmp_path / "set", [file]), file.stat()
    file.write_text("b")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if within the same tick
    assert contents.digests(tmp_path / "set", [file]) != before and len(reads) == 2


@pytest.mark.parametrize("damage", ["{", "[]", '{"a": 1}', None])
def test_a_cache_that_is_damaged_or_cannot_be_written_is_done_without(tmp_path, reads, damage):
    file = old_file(tmp_path / "set/a", "a")
    before = contents.digests(tmp_path / "set", [file])
    (cache,) = (tmp_path / "cache/jaxcv").iterdir()
    assert list(json.loads(cache.read_text())) == [str(file)]
    if damage is None:
        cache.unlink()
        cache.parent.rmdir()
        cache.parent.write_text("a file where the folder should be")
    else:
        cache.write_text(damage)
    assert contents.digests(tmp_path / "set", [file]) == before and len(reads) == 2
    assert not list(Path(tmp_path / "cache").rglob("*.tmp"))


def test_other_pixels_of_the_same_size_are_other_data(tmp_path):
    options = {"dir": str(tmp_path), "folder": "set", "size": 8}
    data_files.class_folders(tmp_path / "set/train", {"a": 2, "b": 2}, suffix=".bmp.png")
    path = tmp_path / "set/train/a/000.bmp.png"
    before = image_folder.source("train", **options, holdout=0).info.fingerprint
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    assert image_folder.source("train", **options, holdout=0).info.fingerprint != before
