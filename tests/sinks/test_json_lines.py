"""Lines that several processes append at once, some of them killed: each is there whole, or not at all."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from sinks.json_lines import JsonLines

WRITER = """
import sys
from pathlib import Path
from sinks.json_lines import JsonLines

path, name, lines, most = sys.argv[1:]
file = JsonLines(Path(path), int(most))
for number in range(int(lines)):
    file.append(b'{"by": "%s", "n": %d, "fill": "%s"}\\n' % (name.encode(), number, b"x" * (number % 700)))
    print(number, flush=True)
"""


def writer(path: Path, name: str, lines: int, most: int = 10**9) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(lines), str(most)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> int:
    """The lines that a writer says are in the file."""
    with process:
        assert process.stdout
        return sum(1 for line in process.stdout if line.endswith("\n"))


def entries(file: JsonLines) -> list[dict[str, object]]:
    return [json.loads(line.text) for line in file.lines()]


def texts(file: JsonLines) -> list[bytes]:
    return [line.text for line in file.lines()]


def test_lines_of_several_processes_at_once_are_all_there_whole_and_each_in_its_order(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 10**9)
    processes = {name: writer(file.path, name, 500) for name in "abcd"}
    assert {name: told(process) for name, process in processes.items()} == dict.fromkeys("abcd", 500)
    found = entries(file)
    for name in processes:
        assert [entry["n"] for entry in found if entry["by"] == name] == list(range(500))
    assert len(found) == 2000


def test_writers_killed_in_the_middle_lose_nothing_that_they_had_told_of_and_damage_nobody_else(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 10**9)
    killed = {name: writer(file.path, name, 10**9) for name in "xyz"}
    whole = writer(file.path, "w", 2000)
    for process in killed.values():
        assert process.stdout
        for _ in range(100):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert told(whole) == 2000
    numbers = {name: 100 + told(process) for name, process in killed.items()}
    file.append(b'{"by": "after", "n": 0}\n')
    found = entries(file)  # no line is broken: json.loads would raise
    assert [entry["n"] for entry in found if entry["by"] == "w"] == list(range(2000))
    for name, count in numbers.items():
        theirs = [entry["n"] for entry in found if entry["by"] == name]
        assert theirs in (list(range(count)), list(range(count + 1)))  # the last may be written and not told of
    assert found[-1]["by"] == "after"


def test_processes_that_turn_the_file_over_at_once_lose_no_line(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 10_000)
    processes = {name: writer(file.path, name, 300, 10_000) for name in "abcd"}
    assert all(told(process) == 300 for process in processes.values())
    found = entries(file)
    for name in processes:
        assert [entry["n"] for entry in found if entry["by"] == name] == list(range(300))
    assert len(file.older()) > 20
    assert all(path.stat().st_size <= 10_000 for path in [*file.older(), file.path])


def test_reading_while_others_write_and_turn_over_gives_whole_lines_without_a_hole(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 5_000)
    process = writer(file.path, "a", 1500, 5_000)
    while process.poll() is None:
        found = entries(file)
        assert [entry["n"] for entry in found] == list(range(len(found)))
        assert process.stdout
        process.stdout.readline()
    process.communicate()
    assert len(entries(file)) == 1500


@pytest.mark.parametrize("torn", [b'{"n": 1', b"{", b'{"n": 1}', b"\xff\xfe", b"x" * 5000])
def test_what_a_killed_writer_left_without_a_newline_costs_no_line_but_its_own(tmp_path: Path, torn: bytes) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 10**9)
    file.append(b'{"n": 0}\n')
    with file.path.open("ab") as other:
        other.write(torn)
    file.append(b'{"n": 2}\n')
    file.append(b'{"n": 3}\n')
    assert texts(file) == [b'{"n": 0}', torn, b'{"n": 2}', b'{"n": 3}']


def test_a_write_that_the_disk_cuts_short_leaves_no_half_line(tmp_path: Path) -> None:
    """The limit on a file's size cuts a write just as a full disk does."""
    file = JsonLines(tmp_path / "a.jsonl", 10**9)
    file.append(b"0" * 999 + b"\n")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with pytest.raises(StorageError, match=r"a\.jsonl: can't be appended to"):
            file.append(b"1" * 999 + b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.path.stat().st_size == 1000
    file.append(b"2\n")
    assert texts(file) == [b"0" * 999, b"2"]


def test_a_file_that_would_grow_too_large_becomes_an_older_one(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 10)
    for line in (b"1234\n", b"5678\n", b"90\n", b"longer than allowed\n", b"z\n"):
        file.append(line)
    assert [path.name for path in file.older()] == ["a.0001.jsonl", "a.0002.jsonl", "a.0003.jsonl"]
    assert texts(file) == [b"1234", b"5678", b"90", b"longer than allowed", b"z"]
    assert [(line.path.name, line.number) for line in file.lines()][1] == ("a.0001.jsonl", 2)


def test_older_files_stand_in_the_order_of_their_numbers_also_beyond_four_digits(tmp_path: Path) -> None:
    (tmp_path / "a.10000.jsonl").write_bytes(b"2\n")
    (tmp_path / "a.9999.jsonl").write_bytes(b"1\n")
    (tmp_path / "a.note.jsonl").write_bytes(b"none of ours\n")
    file = JsonLines(tmp_path / "a.jsonl", 3)
    file.append(b"3\n")
    file.append(b"4\n")
    assert texts(file) == [b"1", b"2", b"3", b"4"]
    assert file.older()[-1].name == "a.10001.jsonl"


def test_nothing_is_read_where_there_is_nothing(tmp_path: Path) -> None:
    assert texts(JsonLines(tmp_path / "nowhere" / "a.jsonl", 10)) == []


def test_a_name_that_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("link.jsonl", "pipe.jsonl", "missing/a.jsonl"):
        with pytest.raises(StorageError, match=name):
            JsonLines(tmp_path / name, 10).append(b"1\n")
    assert (tmp_path / "target").read_bytes() == b""


def test_a_line_can_be_made_to_survive_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = [], os.fsync

    def fsync(handle: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    JsonLines(tmp_path / "a.jsonl", 10, fsync=True).append(b"1\n")
    assert synced == [False, True]  # the file, then the folder in which its name stands


def test_threads_append_to_one_file_without_mixing_lines(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "a.jsonl", 2_000)

    def work(name: int) -> None:
        for _ in range(100):
            file.append(b"%d" % name * 50 + b"\n")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(file)) == sorted(b"%d" % n * 50 for n in range(4) for _ in range(100))
