from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.tapes import unpack
from collectors.tapes.chunks import TapeBytes
from pipeline.errors import TapeError

LINES = b"".join(b"%d,%s\n" % (n, os.urandom(12).hex().encode()) for n in range(20_000))


def zipped(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def read(path: Path) -> tuple[bytes, str]:
    """All that is unpacked, and the error that it ended with."""
    found = b""
    try:
        for chunk in TapeBytes(path).pieces():
            found += chunk.data
    except TapeError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("piece", [1000, 1 << 23])
def test_a_zip_of_one_file_is_read_as_that_file(
    method: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "PIECE_BYTES", piece)
    path = zipped(tmp_path / "a.zip", ("BTCUSDT-trades-2024-10-23.csv", LINES), method=method)
    assert read(path) == (LINES, "")
    done = [chunk.done_bytes for chunk in TapeBytes(path).pieces()]
    assert done == sorted(done)
    assert done[-1] == path.stat().st_size


def test_folders_and_a_packers_own_files_are_no_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("data/", b""), ("data/a.csv", LINES), ("__MACOSX/data/._a.csv", b"x"))
    assert read(path) == (LINES, "")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([], "damaged or truncated zip|has nothing"),
        ([("a.csv", b"1"), ("b.csv", b"2")], r"a zip archive of one tape is expected; this one has a\.csv, b\.csv: unpack it"),
        ([(f"{n}\n.csv", b"") for n in range(9)], r"has 0\\n\.csv, .*, 4\\n\.csv and 4 more: unpack"),
    ],
)
def test_several_files_in_a_zip_are_refused_by_their_names(members: list[tuple[str, bytes]], says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zipped(path, *members)
    with path.open("rb") as file, pytest.raises(TapeError, match=says) as refused:
        list(unpack.unzipped(file, str(path), path.stat().st_size))
    assert "\n" not in str(refused.value)


def test_a_zip_packed_otherwise_or_encrypted_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.csv", LINES), method=zipfile.ZIP_LZMA)
    assert "packed by method 14; expected deflate" in read(path)[1]
    data = bytearray(zipped(tmp_path / "b.zip", ("a.csv", b"1")).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(data)
    assert "a.csv is encrypted" in read(tmp_path / "b.zip")[1]


def test_a_truncated_zip_is_refused_for_its_list_of_files_is_at_the_end(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.csv", LINES))
    path.write_bytes(path.read_bytes()[:-30])
    assert read(path) == (b"", f"{path}: a damaged or truncated zip archive (File is not a zip file)")


@given(at=st.integers(60, 200_000), value=st.integers(1, 255))
def test_a_damaged_zip_gives_what_is_before_the_damage_and_then_says_so(
    at: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = zipped(tmp_path_factory.mktemp("damaged") / "a.zip", ("a.csv", LINES))
    packed = bytearray(path.read_bytes())
    at = min(at, len(packed) - 200)
    packed[at] ^= value
    path.write_bytes(packed)
    found, error = read(path)
    assert "damaged zip" in error
    right = next((n for n, (a, b) in enumerate(zip(found, LINES, strict=False)) if a != b), min(len(found), len(LINES)))
    assert right > len(LINES) * at / len(packed) - 40_000


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: None])
def test_a_bomb_is_unpacked_a_bounded_piece_at_a_time(pack: Callable[[bytes], bytes | None], tmp_path: Path) -> None:
    bomb = bytes(200 << 20)
    path = tmp_path / "bomb"
    packed = pack(bomb)
    if packed is None:
        zipped(path, ("a.csv", bomb))
    else:
        path.write_bytes(packed)
    assert path.stat().st_size < 1 << 18  # one read has it all
    sizes = [len(chunk.data) for chunk in TapeBytes(path).pieces()]
    assert sum(sizes) == len(bomb)
    assert max(sizes) <= unpack.PIECE_BYTES
    with pytest.raises(TapeError, match="a line of more than"):
        list(TapeBytes(path).lines(1))


def test_a_zip_that_holds_more_than_it_says_is_not_unpacked_further(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.csv", bytes(50 << 20)))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    found, error = read(path)
    assert "a.csv holds more than its 1000 bytes" in error
    assert found == b""


def test_bounds_cost_no_byte_of_a_bare_deflate_stream() -> None:
    for size in (0, 1, 65_536, 65_537, 1_000_000):
        data = bytes(size)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(data) + packer.flush()
        pieces = list(unpack._pieces(zlib.decompressobj(-15), packed))
        assert b"".join(piece for piece, _ in pieces) == data
