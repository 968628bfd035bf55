"""A file of conditions that several processes write, some of which are killed; and what is done about one that is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadValue, DiskFull, StorageError
from pipeline.trading.condition import Condition
from sinks import durable
from sinks.ledger import conditions_file
from sinks.ledger.conditions_file import decoded, encoded
from sinks.ledger.json_conditions import JsonConditions

# Counts up a number in a condition that all share, and adds one of its own; says so once both are stored.
WRITER = """
import sys
from pathlib import Path
from pipeline.trading.condition import Condition
from sinks.ledger.json_conditions import JsonConditions

def count(condition):
    condition.parameters["n"] += 1

with JsonConditions(Path(sys.argv[1])) as conditions:
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(int(sys.argv[3])):
        conditions.change("shared", count)
        name = f"{sys.argv[2]}-{n}"
        conditions.save(Condition(condition_id=name, symbol="BTCUSDT"))
        print(name, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conditions.json"


def shared(path: Path) -> None:
    with JsonConditions(path) as conditions:
        conditions.save(Condition(condition_id="shared", symbol="BTCUSDT", parameters={"n": 0}))


def writer(path: Path, name: str, times: int, crash_at: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"SPILLWAY_CRASH_AT": crash_at},
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def begin(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()


def test_four_processes_at_once_lose_no_update(path: Path) -> None:
    shared(path)
    processes = [writer(path, f"p{n}", 8) for n in range(4)]
    begin(*processes)
    told = [name for process in processes for name in process.communicate()[0].split()]
    assert len(told) == 32
    with JsonConditions(path) as conditions:
        assert {c.condition_id for c in conditions.find_all()} == {"shared", *told}
        counted = conditions.find_by_id("shared")
        assert counted and (counted.parameters, counted.version) == ({"n": 32}, 33)


def test_processes_that_are_killed_tear_nothing_and_lose_nothing_that_was_told(path: Path) -> None:
    shared(path)
    told: list[str] = []
    rounds = 4
    for turn in range(rounds):
        victim, other = writer(path, f"v{turn}", 1000), writer(path, f"o{turn}", 3)
        begin(victim, other)
        assert victim.stdout
        told += [victim.stdout.readline().strip() for _ in range(turn % 3 + 1)]
        victim.kill()
        told += [line.strip() for line in victim.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        told += other.communicate()[0].split()
        assert other.returncode == 0
        with JsonConditions(path) as conditions:
            stored = {c.condition_id for c in conditions.find_all()} - {"shared"}
            counted = conditions.find_by_id("shared")
        assert stored >= set(told)
        assert len(stored) <= len(told) + turn + 1  # what each victim did and could not tell any more
        assert counted and len(stored) <= int(str(counted.parameters["n"])) <= len(stored) + turn + 1
        assert sorted(decoded((path.parent / "conditions.json.bak").read_bytes(), path, path)) != []
    assert {p.name for p in path.parent.iterdir() if p.name.startswith(durable.TEMPORARY)} == set()


@pytest.mark.parametrize(("point", "stored"), [("file.created", False), ("file.written", False), ("file.renamed", True)])
def test_killed_at_each_step_the_file_is_the_one_before_or_the_one_after(path: Path, point: str, stored: bool) -> None:
    shared(path)
    victim = writer(path, "v", 1, crash_at=point)
    begin(victim)
    assert victim.communicate()[0] == ""
    assert victim.returncode == -9
    with JsonConditions(path) as conditions:  # whose opening removes what was left half-written
        counted = conditions.find_by_id("shared")
        assert counted and counted.parameters == {"n": int(stored)}
    assert sorted(p.name for p in path.parent.iterdir())[:4] == [
        ".conditions.json.lock", ".conditions.json.next", "conditions.json", *["conditions.json.bak"] * stored,
    ]  # fmt: skip


def test_the_backup_is_the_file_before_the_last_change(path: Path) -> None:
    with JsonConditions(path) as conditions:
        conditions.save(Condition(condition_id="a", symbol="X"))
        assert not path.with_name("conditions.json.bak").exists()
        first = path.read_bytes()
        conditions.save(Condition(condition_id="b", symbol="X"))
        assert path.with_name("conditions.json.bak").read_bytes() == first


def test_what_changes_nothing_writes_nothing(path: Path) -> None:
    shared(path)
    before = path.stat()
    with JsonConditions(path) as conditions:
        assert not conditions.delete("nobody")
        assert conditions.expire_due() == []
        conditions.save_many([])
    assert path.stat() == before


def _with_format(text: str) -> str:
    return text.replace('"format": 1', '"format": 2')


DAMAGE: dict[str, tuple[Callable[[str], str], str]] = {
    "cut off": (lambda text: text[: len(text) // 2], "is damaged"),
    "empty": (lambda text: "", "is damaged"),
    "another number": (lambda text: text.replace("60000.1", "60000.2"), r"is damaged \(its checksum is another one\)"),
    "no number": (lambda text: text.replace("60000.1", "NaN"), "is damaged"),
    "an unknown status": (lambda text: text.replace('"active"', '"done"'), "is damaged .*expected one of active"),
    "a field less": (lambda text: text.replace('"symbol": "BTCUSDT", ', ""), "is damaged"),
    "a field more": (lambda text: text.replace('{"condition_id"', '{"colour": 1, "condition_id"'), "is damaged"),
    "a list": (lambda text: "[]", r"is damaged \(it has no format\)"),
    "much nested": (lambda text: "[" * 100_000, "is damaged"),
    "twice the same": (
        lambda text: encoded(list(decoded(text.encode(), Path("x"), Path("x")).values()) * 2).decode(),
        r"is damaged \(a condition stands in it twice\)",
    ),
    "a newer format": (_with_format, "has format 2, and this Spillway knows 1"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_cannot_be_read_is_refused_by_name_and_kept(path: Path, kind: str) -> None:
    damage, told = DAMAGE[kind]
    with JsonConditions(path) as conditions:
        conditions.save(Condition(condition_id="a", symbol="BTCUSDT", comparison="above", value="60000.1"))  # type: ignore[arg-type]
        conditions.save(Condition(condition_id="b", symbol="BTCUSDT"))
        path.write_text(damage(path.read_text()))
        damaged, backup = path.read_bytes(), path.with_name("conditions.json.bak").read_bytes()
        for ask in (
            conditions.find_all,
            conditions.count,
            lambda: conditions.delete("a"),
            lambda: conditions.save(Condition(condition_id="c", symbol="BTCUSDT")),
        ):
            with pytest.raises(StorageError, match=f"conditions.json: {told}") as caught:
                ask()
            assert "it is left as it is" in str(caught.value)
            assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match=told):
        JsonConditions(path)
    assert path.read_bytes() == damaged
    assert path.with_name("conditions.json.bak").read_bytes() == backup
    path.write_bytes(backup)  # as the error says
    with JsonConditions(path) as conditions:
        assert [c.condition_id for c in conditions.find_all()] == ["a"]


def test_what_only_looks_different_is_the_same(path: Path) -> None:
    shared(path)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    with JsonConditions(path) as conditions:
        assert conditions.count() == 1


def test_a_link_or_folder_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    shared(path)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    (tmp_path / "folder.json").mkdir()
    for name in ("link.json", "folder.json"):
        with pytest.raises(StorageError, match=f"{name}: can't be read"):
            JsonConditions(tmp_path / name)


def test_too_large_a_file_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared(path)
    monkeypatch.setattr(conditions_file, "MAX_BYTES", 1000)
    with JsonConditions(path) as conditions:
        with pytest.raises(BadValue, match="expected at most 1000: keep conditions in SQLite"):
            conditions.save(Condition(condition_id="much", symbol="X", parameters={"much": "x" * 1000}))
        assert conditions.count() == 1


@pytest.mark.privileged
def test_a_full_disk_leaves_the_file_as_it_was(small_disk: Callable[..., Path]) -> None:
    path = small_disk("64k") / "conditions.json"
    with JsonConditions(path) as conditions:
        with pytest.raises(DiskFull, match="the disk is full"):
            for n in range(100):
                conditions.save(Condition(condition_id=f"c{n}", symbol="X", parameters={"much": "x" * 8000}))
        stored = conditions.find_all()
        assert stored
    with JsonConditions(path) as conditions:
        assert conditions.find_all() == stored


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(_TEXT, _PLAIN, max_size=4), st.decimals(allow_nan=False, allow_infinity=False, places=18, max_value=10**18)
)
def test_whatever_a_condition_holds_comes_back(parameters: dict[str, object], value: object) -> None:
    one = Condition(symbol="BTCUSDT", comparison="above", value=value, parameters=parameters)  # type: ignore[arg-type]
    (found,) = decoded(encoded([one]), Path("x"), Path("x")).values()
    assert found == one
    assert repr(found.parameters) == repr(one.parameters)
