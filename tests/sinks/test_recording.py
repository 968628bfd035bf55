from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StorageError
from pipeline.trade import NS_PER_S
from sinks.part_file import PartFile
from sinks.recording import Recorder, _lines, recover

START_NS = 1_700_006_400 * NS_PER_S  # 2023-11-15 00:00 UTC

RECORD_UNTIL_KILLED = """
import asyncio, os, sys, time
from pathlib import Path
from sinks.recording import Recorder

async def main(folder):
    recorder = Recorder(folder, venue="binance", sync_s=0.02, max_bytes=200_000)
    n = 0
    while True:
        frames = [b'{"n":%d,"noise":"%s"}' % (n + at, os.urandom(40).hex().encode()) for at in range(50)]
        await recorder.put(frames, [time.time_ns()] * 50)
        n += 50
        print(recorder.frames, flush=True)
        await asyncio.sleep(0.001)

asyncio.run(main(Path(sys.argv[1])))
"""


class Clock:
    def __init__(self) -> None:
        self.ns = START_NS

    def __call__(self) -> int:
        return self.ns


def frames_in(folder: Path) -> list[tuple[int, bytes]]:
    """What the finished recordings hold, in the order of their names."""
    lines = [line for path in sorted(folder.rglob("*.gz")) for line in gzip.decompress(path.read_bytes()).splitlines(True)]
    assert all(line.endswith(b"\n") for line in lines)
    return [(int(stamp), frame) for stamp, _, frame in (line[:-1].partition(b" ") for line in lines)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def until(done: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.005)


async def test_frames_are_kept_with_their_times_in_a_file_named_by_the_first(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, venue="binance", clock_ns=Clock())
    await recorder.put([b'{"a":1}', b'{"b":2}'], [START_NS + 5, START_NS + 7])
    await recorder.put([], [])
    await recorder.put([b'{"c":3}'], [START_NS + 9])
    await recorder.close()
    assert frames_in(tmp_path) == [(START_NS + 5, b'{"a":1}'), (START_NS + 7, b'{"b":2}'), (START_NS + 9, b'{"c":3}')]
    (path,) = tmp_path.rglob("*.*")
    assert path.parent == tmp_path / "binance" / "20231115"
    assert path.name.startswith(f"{START_NS + 5}-")
    assert (recorder.frames, recorder.files, recorder.failed, recorder.dropped_frames) == (3, 1, 0, 0)


async def test_a_recorder_that_was_given_nothing_makes_no_file(tmp_path: Path) -> None:
    await Recorder(tmp_path, venue="binance").close()
    idle = Recorder(tmp_path, venue="binance")
    await idle.put([], [])
    await idle.close()
    assert names(tmp_path) == []
    with pytest.raises(StorageError, match="closed"):
        await idle.put([b"{}"], [START_NS])


async def test_an_open_file_has_another_name_and_is_durable_within_the_time_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, venue="binance", sync_s=0.01)
    await recorder.put([b"{}"] * 10, [START_NS] * 10)
    await until(lambda: recorder.frames == 10)
    (part,) = names(tmp_path)
    assert part.endswith(".gz.part")
    whole = next(tmp_path.rglob(part)).read_bytes()
    assert gzip.decompress(whole) == b"%d {}\n" % START_NS * 10
    await recorder.close()
    assert names(tmp_path) == [part.removesuffix(".part")]


async def test_a_file_ends_at_its_age_by_the_clock_also_when_no_frame_comes(tmp_path: Path) -> None:
    clock = Clock()
    recorder = Recorder(tmp_path, venue="binance", clock_ns=clock, max_age_s=60, sync_s=0.01)
    await recorder.put([b"1"], [START_NS])
    await until(lambda: recorder.frames == 1)
    assert recorder.files == 0
    clock.ns += 60 * NS_PER_S
    await until(lambda: recorder.files == 1)
    await recorder.put([b"2"], [clock.ns])
    await recorder.close()
    assert [len(frames_in(path.parent)) for path in tmp_path.rglob("*.gz")] == [2, 2]
    assert frames_in(tmp_path) == [(START_NS, b"1"), (clock.ns, b"2")]


async def test_a_file_ends_at_its_size_and_no_frame_is_lost_between_two(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, venue="binance", max_bytes=50_000)
    sent = [(START_NS + n, b'"%s"' % os.urandom(500).hex().encode()) for n in range(600)]
    for stamp, frame in sent:
        await recorder.put([frame], [stamp])
    await recorder.close()
    assert recorder.files > 3
    assert len(names(tmp_path)) == recorder.files
    assert all(path.stat().st_size < 100_000 for path in tmp_path.rglob("*.gz"))
    assert frames_in(tmp_path) == sent


async def test_two_recorders_of_a_venue_do_not_touch_each_others_files(tmp_path: Path) -> None:
    first, second = (Recorder(tmp_path, venue="binance", sync_s=0.01) for _ in range(2))
    await first.put([b"1"], [START_NS])
    await until(lambda: first.frames == 1)
    await second.put([b"2"], [START_NS])
    await until(lambda: second.frames == 1)
    assert list(recover(tmp_path)) == []
    await first.close()
    await second.close()
    assert sorted(frames_in(tmp_path)) == [(START_NS, b"1"), (START_NS, b"2")]
    assert not list(tmp_path.rglob("*.part"))


async def test_put_waits_while_the_disk_is_behind_and_drops_only_what_it_cannot_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = PartFile.write

    def slow(self: PartFile, lines: bytes) -> None:
        go.wait(10)
        write(self, lines)

    monkeypatch.setattr(PartFile, "write", slow)
    recorder = Recorder(tmp_path, venue="binance", backlog_bytes=100, patience_s=0.02)
    await recorder.put([b"x" * 100], [1])
    await recorder.put([b"lost"], [2])
    assert recorder.dropped_frames == 1
    recorder._patience_s = 10.0
    waiting = asyncio.create_task(recorder.put([b"late"], [3]))
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    await waiting
    await recorder.close()
    assert frames_in(tmp_path) == [(1, b"x" * 100), (3, b"late")]
    assert (recorder.frames, recorder.dropped_frames) == (2, 1)


# --- what a frame may hold ----------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.binary(max_size=30) | JSON.map(msgspec.json.encode).map(lambda b: b.replace(b",", b"\n,\r\n")), max_size=8))
def test_any_frame_is_one_line_that_a_parser_takes_or_refuses_as_it_did_the_frame(frames: list[bytes]) -> None:
    def read(text: bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ValueError

    lines = _lines(frames, range(len(frames))).split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(frames)
    for number, (line, frame) in enumerate(zip(lines, frames, strict=True)):
        stamp, _, kept = line.partition(b" ")
        assert int(stamp) == number
        assert len(kept) == len(frame)
        assert read(kept) == read(frame)


def test_a_newline_inside_a_string_stays_as_wrong_as_it_was() -> None:
    (line, _) = _lines([b'"a\nb"'], [1]).split(b"\n")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(line.partition(b" ")[2])


# --- what may go wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [50, 2_000, 10_000])
def test_what_was_durable_when_the_process_was_killed_is_there_after_recovery(durable: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECORD_UNTIL_KILLED, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    told = next(int(line) for line in process.stdout if int(line) >= durable)
    assert list(tmp_path.rglob("*.part"))
    assert not any(path.name.endswith(".part") for path in recover(tmp_path))  # it lives: its file is left alone
    assert list(tmp_path.rglob("*.part"))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    recovered = list(recover(tmp_path))
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.damaged"))
    assert all(path.exists() for path in recovered)
    found = [msgspec.json.decode(frame)["n"] for _, frame in frames_in(tmp_path)]
    assert found == list(range(len(found)))
    assert len(found) >= told
    assert list(recover(tmp_path)) == []


async def test_a_new_recorder_finishes_what_a_dead_one_left(tmp_path: Path) -> None:
    left = PartFile(tmp_path / "binance" / "20231115" / "1-x.gz")
    left.write(b"1 {}\n")
    left.sync()
    left.write(b"2 {}\n")
    left.abandon()
    recorder = Recorder(tmp_path, venue="binance", sync_s=0.01)
    await recorder.put([b"[]"], [START_NS])
    await until((tmp_path / "binance" / "20231115" / "1-x.gz").exists)
    await recorder.close()
    assert frames_in(tmp_path) == [(1, b"{}"), (START_NS, b"[]")]


@pytest.mark.privileged
async def test_a_full_disk_stops_the_recording_loudly_and_it_goes_on_with_a_new_file_when_there_is_room(
    small_disk: Callable[..., Path],
) -> None:
    folder = small_disk("300k")
    hog = folder / "hog"
    hog.write_bytes(bytes(200_000))
    recorder = Recorder(folder, venue="binance", sync_s=0.01, retry_s=0.02)
    sent = 0

    async def put() -> None:
        nonlocal sent
        await recorder.put([b'"%s"' % os.urandom(5_000).hex().encode()], [START_NS + sent])
        sent += 1
        await asyncio.sleep(0.002)

    while not recorder.failed:
        await put()
    assert recorder.dropped_frames > 0
    hog.unlink()
    kept = recorder.frames
    while recorder.frames < kept + 3:
        await put()
    await recorder.close()
    found = frames_in(folder)
    assert not list(folder.rglob("*.part"))
    assert len(found) == recorder.frames
    assert recorder.frames + recorder.dropped_frames == sent
    assert found[0][0] == START_NS
    assert [stamp for stamp, _ in found] == sorted({stamp for stamp, _ in found})


async def test_a_folder_that_cannot_be_written_costs_the_recording_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "binance").write_text("a file where a folder should be")
    recorder = Recorder(tmp_path, venue="binance", retry_s=60)
    for n in range(3):
        await recorder.put([b"{}", b"{}"], [n, n])
        await asyncio.sleep(0.02)
    await recorder.close()
    assert (recorder.frames, recorder.failed, recorder.dropped_frames) == (0, 1, 6)


async def test_a_failing_sync_drops_what_was_not_durable_and_counts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, venue="binance", sync_s=0.01, retry_s=0.0)
    await recorder.put([b"1"], [1])
    await until(lambda: recorder.frames == 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _io_error)
        await recorder.put([b"2", b"3"], [2, 3])
        await until(lambda: recorder.failed == 1)
    await recorder.put([b"4"], [4])
    await recorder.close()
    assert (recorder.frames, recorder.dropped_frames) == (2, 2)
    assert {frame for _, frame in frames_in(tmp_path)} >= {b"1", b"4"}


def _io_error(handle: int) -> None:
    raise OSError(5, "Input/output error")
