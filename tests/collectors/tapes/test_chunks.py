from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes import chunks
from collectors.tapes.chunks import TapeBytes, until_damage
from pipeline.errors import TapeError
from tests.collectors.tapes.checks import write

LINES = b"".join(b"%d,%s\n" % (n, os.urandom(12).hex().encode()) for n in range(20_000))


def read(path: Path, size: int = 1000) -> tuple[bytes, str]:
    """All lines, and the error that they ended with."""
    found = b""
    try:
        for chunk in TapeBytes(path).lines(size):
            assert chunk.data.endswith(b"\n")
            found += chunk.data
    except TapeError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "named_otherwise.bin"])
@pytest.mark.parametrize("size", [1, 1000, 10**7])
def test_lines_are_the_files_lines_whole_whatever_the_size_asked_for(tmp_path: Path, name: str, size: int) -> None:
    assert read(write(tmp_path / name, LINES), size) == (LINES, "")


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "plain_by_name.csv"
    path.write_bytes(gzip.compress(LINES))
    assert read(path) == (LINES, "")


def test_a_last_line_without_its_end_is_a_line(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.csv", b"a\nb")) == (b"a\nb\n", "")


def test_several_gzip_members_and_padding_are_read_as_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(LINES[:70_000]) + gzip.compress(b"") + gzip.compress(LINES[70_000:]) + b"\0" * 512)
    assert read(path) == (LINES, "")


@given(cut=st.integers(20, 200_000))
def test_a_truncated_gzip_gives_the_whole_lines_before_the_cut_and_then_says_where(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packed = gzip.compress(LINES)
    path = tmp_path_factory.mktemp("cut") / "tape.csv.gz"
    path.write_bytes(packed[: min(cut, len(packed) - 1)])
    found, error = read(path)
    assert LINES.startswith(found)
    assert found.endswith(b"\n") or not found
    assert len(found) > len(LINES) * cut / len(packed) - 40_000  # a deflate block or so behind the cut
    assert "tape.csv.gz" in error
    assert f"truncated: the gzip data ends at byte {path.stat().st_size}" in error


def test_a_damaged_gzip_gives_what_is_before_the_damage_and_then_says_where(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES, 0))  # stored blocks of at most 64 KiB, so that their next head is surely hit
    packed[100_000:170_000] = b"\xff" * 70_000
    path = tmp_path / "tape.csv.gz"
    path.write_bytes(packed)
    found, error = read(path)
    assert found.startswith(LINES[:99_000])
    at = int(error.partition("tape.csv.gz: damaged gzip at byte ")[2].split()[0])
    assert 100_000 < at < 170_000


def test_damage_that_only_the_checksum_shows_is_told_at_the_end(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES, 0))
    packed[100_000] ^= 1
    path = tmp_path / "tape.csv.gz"
    path.write_bytes(packed)
    found, error = read(path)
    assert len(found) > len(LINES) - 100
    assert "incorrect data check" in error


def test_other_bytes_after_the_gzips_end_are_told_after_all_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv.gz"
    path.write_bytes(gzip.compress(LINES) + b"garbage")
    found, error = read(path)
    assert found == LINES
    assert "damaged gzip at byte" in error


def test_bytes_read_grow_to_the_files_size(tmp_path: Path) -> None:
    tape = TapeBytes(write(tmp_path / "a.csv.gz", LINES * 20))
    done = [chunk.done_bytes for chunk in tape.lines(10_000)]
    assert done == sorted(done)
    assert done[-1] == tape.total_bytes == (tmp_path / "a.csv.gz").stat().st_size


def test_the_head_is_what_can_be_read_of_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(LINES)[:5000])
    assert LINES.startswith(TapeBytes(path).head(100))
    head = TapeBytes(path).head(10**6)
    assert head
    assert LINES.startswith(head)
    assert b"".join(chunk.data for chunk in until_damage(TapeBytes(path).pieces())) == head


def test_a_file_without_line_ends_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MAX_LINE_BYTES", 1 << 19)
    found, error = read(write(tmp_path / "zeros.csv.gz", b"a,b\n" + bytes(1 << 22)))
    assert found == b"a,b\n"
    assert "zeros.csv.gz: a line of more than 524288 bytes" in error


@pytest.mark.parametrize("size", [1, 1 << 23])
def test_a_line_as_long_as_the_longest_recorded_frame_is_a_line(size: int, tmp_path: Path) -> None:
    data = b"a\n" * (1 << 21) + b"x" * (17 << 20) + b"\nb\n"
    assert read(write(tmp_path / "a.gz", data), size) == (data, "")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder; expected recorded trades"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to(path), "can't be read"),
    ],
)
def test_what_is_no_readable_file_is_refused_by_name(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "tape.csv"
    make(path)  # type: ignore[operator]
    with pytest.raises(TapeError, match=f"tape.csv: .*{says}"):
        TapeBytes(path)


def test_a_gzip_of_which_nothing_can_be_read_is_an_error_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(LINES)[:9])
    with pytest.raises(TapeError, match=r"a\.gz: truncated"):
        TapeBytes(path).head(100)
