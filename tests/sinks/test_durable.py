"""Files are there whole or not at all, and the error says what and where."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DiskFull, JobRunning, StorageError
from sinks import durable


def test_a_file_has_its_bytes_under_its_name_and_nothing_else_lies_there(tmp_path: Path) -> None:
    durable.replace_durably(tmp_path / "a", b"one")
    durable.replace_durably(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_may_be_read_by_its_group_and_by_nobody_else(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "new" / "folder")
    durable.replace_durably(tmp_path / "new" / "folder" / "a", b"one")
    assert (tmp_path / "new" / "folder" / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


def test_a_write_that_the_system_takes_in_pieces_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:7])))
    durable.write_new(tmp_path / "a", b"0123456789" * 10)
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 10


def test_the_order_is_write_fsync_rename_fsync_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        monkeypatch.setattr(os, name, noting(calls, name, getattr(os, name)))
    durable.replace_durably(tmp_path / "a", b"one")
    assert calls == ["write", "fsync", "rename", "fsync"]


def noting(calls: list[str], name: str, real: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        calls.append(name)
        return real(*arguments)

    return call


def test_a_failed_fsync_is_not_tried_again_on_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = failing(monkeypatch, "fsync", errno.EIO, times=1)
    durable.write_new(tmp_path / "a", b"one")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert len(set(seen)) == 2, "the second fsync must be of a new file"


def test_two_failed_fsyncs_are_an_error_that_names_the_file_and_leave_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.write_new(tmp_path / "a", b"old")
    failing(monkeypatch, "fsync", errno.EIO, times=2)
    with pytest.raises(StorageError, match=r"/a: can't be written: its fsync failed twice"):
        durable.write_new(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int, times: int) -> list[Path]:
    """The next calls of a system function fail; gives the files that it was called for."""
    real = getattr(os, name)
    seen: list[Path] = []

    def call(handle: int, *rest: object) -> object:
        seen.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        if len(seen) <= times:
            raise OSError(code, os.strerror(code))
        return real(handle, *rest)

    monkeypatch.setattr(os, name, call)
    return seen


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["write", "fsync"])
def test_no_room_is_a_full_disk_by_name_and_leaves_nothing_half_written(
    step: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, step, code, times=9)
    with pytest.raises(DiskFull, match=r"/a: can't be written: the disk is full"):
        durable.write_new(tmp_path / "a", b"one")
    assert os.listdir(tmp_path) == []


@pytest.mark.privileged
def test_a_really_full_disk_says_so_and_takes_the_file_when_there_is_room(small_disk: Callable[..., Path]) -> None:
    disk = small_disk("64k")
    (disk / "ballast").write_bytes(bytes(48 << 10))
    with pytest.raises(DiskFull, match=r"/a: can't be written: the disk is full \(No space left on device\)$"):
        durable.write_new(disk / "a", bytes(32 << 10))
    assert os.listdir(disk) == ["ballast"]
    (disk / "ballast").unlink()
    durable.write_new(disk / "a", bytes(32 << 10))


@pytest.mark.privileged
def test_a_disk_without_inodes_is_full(small_disk: Callable[..., Path]) -> None:
    disk = small_disk("1m", inodes=2)
    durable.write_new(disk / "a", b"one")
    with pytest.raises(DiskFull, match="/b: can't be written"):
        durable.write_new(disk / "b", b"two")


def test_a_file_larger_than_the_process_may_write_is_an_error_and_not_a_death(tmp_path: Path) -> None:
    code = (
        "import resource; from pathlib import Path; from sinks import durable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
        f"durable.write_new(Path({os.fspath(tmp_path / 'a')!r}), bytes(100))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StorageError" in done.stderr and "/a: can't be written: File too large" in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StorageError, match=r"/a/b: can't be made: "):
        durable.make_folder(tmp_path / "a" / "b")
    with pytest.raises(StorageError, match=r"/a/b: can't be written: Not a directory"):
        durable.write_new(tmp_path / "a" / "b", b"")


def test_new_folders_are_durable_in_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = failing(monkeypatch, "fsync", 0, times=0)
    durable.make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_syncing_a_folder_up_to_its_root_syncs_all_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    synced = failing(monkeypatch, "fsync", 0, times=0)
    durable.sync_folder(tmp_path / "a" / "b", tmp_path)
    assert synced == [tmp_path / "a" / "b", tmp_path / "a", tmp_path]


def test_a_planted_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError, match="/a: can't be read"):
        durable.read_whole(tmp_path / "a")
    durable.write_new(tmp_path / "a", b"mine")
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert not (tmp_path / "a").is_symlink()


def test_a_pipe_is_refused_and_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(StorageError, match="not a regular file"):
        durable.read_whole(tmp_path / "a")


def test_stale_temporary_files_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / ".tmp-a-1-ff").write_bytes(b"half")
    (tmp_path / "a").write_bytes(b"whole")
    assert durable.remove_stale([tmp_path, tmp_path / "none"]) == [tmp_path / ".tmp-a-1-ff"]
    assert os.listdir(tmp_path) == ["a"]


def test_a_job_runs_once_at_a_time_and_the_second_is_told_by_whom(tmp_path: Path) -> None:
    says = rf"compact: process {os.getpid()} runs it already on {tmp_path}"
    with durable.job_lock(tmp_path, "compact"):
        with pytest.raises(JobRunning, match=says), durable.job_lock(tmp_path, "compact"):
            pass
        with durable.job_lock(tmp_path, "spill"):
            pass
    with durable.job_lock(tmp_path, "compact"):
        pass


def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from sinks import durable\n"
        f"with durable.job_lock(Path({os.fspath(tmp_path)!r}), 'compact'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with durable.job_lock(tmp_path, "compact"):
        assert (tmp_path / ".compact.lock").read_text() == f"{os.getpid()}\n"


def test_too_little_room_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    durable.require_room(tmp_path, 1)
    with pytest.raises(DiskFull, match=r"are needed and .* MB are free: nothing was begun"):
        durable.require_room(tmp_path, 1 << 60)
