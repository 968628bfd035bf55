from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from sinks.part_file import PartFile, recover


def left_behind(folder: Path, *members: bytes, name: str = "1-x.gz") -> Path:
    """The part of a dead process that synced each of these."""
    file = PartFile(folder / "20231115" / name)
    for lines in members:
        file.write(lines)
        file.sync()
    file.abandon()
    return folder / "20231115" / f"{name}.part"


def test_a_finished_file_is_one_gzip_file_of_all_that_was_written(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "a.gz")
    file.write(b"one\n")
    file.sync()
    file.sync()
    file.write(b"two\n")
    assert file.finish() == tmp_path / "a.gz"
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"one\ntwo\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.gz"]
    assert file.size == (tmp_path / "a.gz").stat().st_size


def test_wherever_a_recording_was_cut_recovery_keeps_each_whole_member(tmp_path: Path) -> None:
    members = [b"".join(b"%d-%d\n" % (n, line) for line in range(40)) for n in range(3)]
    part = left_behind(tmp_path, *members)
    whole = part.read_bytes()
    for at in range(len(whole) + 1):
        part.write_bytes(whole[:at])
        kept = sum(1 for end in ends_of_members(whole) if end <= at)
        found = list(recover(tmp_path))
        path = part.with_suffix("")
        assert found == ([path] if kept else [])
        assert not part.exists()
        if kept:
            assert gzip.decompress(path.read_bytes()) == b"".join(members[:kept])
            path.unlink()
        assert not list(tmp_path.rglob("*.damaged"))


def ends_of_members(data: bytes) -> list[int]:
    ends, rest = [], data
    while rest:
        member = zlib.decompressobj(31)
        member.decompress(rest)
        rest = member.unused_data
        ends.append(len(data) - len(rest))
    return ends


@pytest.mark.parametrize("tail", [bytes(4096), b"no gzip at all"])
def test_bytes_that_no_crash_of_ours_explains_are_kept_beside(tail: bytes, tmp_path: Path) -> None:
    part = left_behind(tmp_path, b"1\n")
    with part.open("ab") as file:
        file.write(tail)
    (path,) = recover(tmp_path)
    assert gzip.decompress(path.read_bytes()) == b"1\n"
    assert path.with_name(path.name + ".damaged").read_bytes() == tail


def test_a_part_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "a.gz")
    file.write(b"1\n")
    file.sync()
    assert list(recover(tmp_path)) == []
    file.write(b"2\n")
    file.finish()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"1\n2\n"


def test_what_cannot_be_recovered_is_named_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = left_behind(tmp_path, b"1\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", _read_only)
        with pytest.raises(StorageError, match=r"1-x\.gz\.part: can't be recovered: Read-only"):
            list(recover(tmp_path))
    assert part.exists()
    assert len(list(recover(tmp_path))) == 1


def _read_only(path: int, length: int) -> None:
    raise OSError(30, "Read-only file system")


def test_a_folder_that_is_not_there_holds_nothing_to_recover(tmp_path: Path) -> None:
    assert list(recover(tmp_path / "none")) == []
