"""Tapes of the newer kinds through the whole path: recordings, dumps, and what `export` wrote."""

from __future__ import annotations

import asyncio
import gzip
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import spillway
from collectors.tapes.levels import NOTE
from sinks.recording import Recorder
from spillway.cli import app
from tests import judge, tapes
from tests.collectors.tapes import test_recorded as coinbase
from tests.processes import succeed

BTC = ("--venue", "binance", "--symbol", "BTCUSDT")


def rows() -> Iterator[dict[str, str]]:
    """Half an hour; every trade has an aggressor, as Binance's have."""
    return (row | {"side": row["side"] or "buy"} for row in tapes.rows(hours=0.5, per_minute=60))


def frame(row: dict[str, str]) -> bytes:
    """The same as Binance's spot stream sends it."""
    event = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": int(row["id"]), "p": row["price"], "q": row["size"]}
    event |= {"T": int(row["time"]), "m": row["side"] == "sell", "M": True}
    return json.dumps({"stream": "btcusdt@trade", "data": event}).encode()


def replayed(*args: str | Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(succeed("replay", *args, "--json"))
    return summary


def exact(data: Path, want: judge.Levels) -> None:
    succeed("spill", "--all", "--data", data)
    assert judge.differences(want, judge.stored(data)) == []


async def record(folder: Path, venue: str, frames: list[bytes], **options: Any) -> list[str]:
    recorder = Recorder(folder, venue=venue, **options)
    for at in range(0, len(frames), 50):
        part = frames[at : at + 50]
        await recorder.put(part, range(10**18 + at, 10**18 + at + len(part)))
    await recorder.close()
    assert recorder.dropped_frames == 0
    return sorted(map(str, folder.rglob("*.gz")))


async def test_a_recording_in_several_files_replays_to_the_same_minutes_as_its_trades(tmp_path: Path) -> None:
    frames = [frame(row) for row in rows()]
    frames[100] = json.dumps(json.loads(frames[100]), indent=2).encode()  # with newlines
    frames[200:200] = [b"{broken", b'{"result":null,"id":1}', b"\xff\n\x00"]
    files = await record(tmp_path / "recordings", "binance", frames, max_bytes=1000)
    assert len(files) > 1
    data = tmp_path / "data"
    summary = await asyncio.to_thread(replayed, *files, *BTC, "--data", data)
    assert (summary["taken"], summary["rejected"], summary["missing_ids"]) == (1800, 2, 0)
    again = await asyncio.to_thread(replayed, *files, *BTC, "--data", data)
    assert (again["taken"], again["duplicates"]) == (0, 1800)
    await asyncio.to_thread(exact, data, judge.expected(rows()))


async def test_a_file_of_a_recording_without_our_symbol_is_passed_over_and_told(tmp_path: Path) -> None:
    both = [coinbase.match(n).encode() for n in (1, 2)], [coinbase.match(n, "ETH-USD").encode() for n in (1, 2)]
    files = [(await record(tmp_path / name, "coinbase", part))[0] for name, part in zip("ab", both, strict=True)]
    args = [*files, "--venue", "coinbase", "--symbol", "BTC-USD", "--data", str(tmp_path / "data")]
    summary = await asyncio.to_thread(replayed, *args)
    assert summary["taken"] == 2
    (note,) = summary["notes"]
    assert note.startswith(f"passed over: {files[1]}: looked for coinbase frames with trades of BTC-USD; saw trades of ETH-USD")
    result = await asyncio.to_thread(CliRunner().invoke, app, ["replay", files[1], *args[2:]])
    assert result.exit_code == 1
    assert "looked for coinbase frames with trades of BTC-USD" in result.stderr


def test_a_zipped_dump_with_a_doubled_id_and_a_hole_counts_each_trade_once_and_tells_what_is_missing(tmp_path: Path) -> None:
    start = tapes.START_MS
    lines = [f"{n},100.5,0.25,{2 * n},{2 * n + 1},{start + n * 1000},True,True" for n in (*range(1, 50), 49, *range(53, 90))]
    with zipfile.ZipFile(tmp_path / "BTCUSDT-aggTrades-2023-11-15.zip", "w") as archive:
        archive.writestr("BTCUSDT-aggTrades-2023-11-15.csv", "\n".join(lines))
    summary = replayed(tmp_path / "BTCUSDT-aggTrades-2023-11-15.zip", *BTC, "--data", tmp_path / "data")
    assert (summary["taken"], summary["duplicates"], summary["missing_ids"]) == (86, 1, 3)
    assert summary["rejected"] == 0


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trades of all three sides, some spilled and some not."""
    folder = tmp_path_factory.mktemp("origin")
    succeed("replay", judge.write_tape(folder / "a.csv", tapes.rows(0.5, 60)), *BTC, "--data", folder / "data")
    return folder / "data"


@pytest.mark.parametrize("name", ["levels.csv", "levels.json", "levels.parquet", "levels.csv.gz"])
def test_an_export_of_levels_replays_to_the_same_levels_and_says_what_it_cannot_tell(
    name: str, origin: Path, tmp_path: Path
) -> None:
    export = tmp_path / name.removesuffix(".gz")
    succeed("export", *BTC, "-o", export, "--data", origin)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(export.read_bytes()))
    data = tmp_path / "data"
    summary = replayed(tmp_path / name, *BTC, "--data", data)
    assert summary["rejected"] == 0
    assert summary["notes"] == [f"{tmp_path / name}: {NOTE}"]
    again = replayed(tmp_path / name, *BTC, "--data", data)
    assert again["taken"] == 0
    exact(data, judge.expected(tapes.rows(0.5, 60)))
    before, after = (minutes(folder, tmp_path) for folder in (origin, data))
    for column in ("high", "low", "vwap", "notional", "buy_volume", "sell_volume", "total_volume", "trade_count"):
        assert [row[column] for row in before] == [row[column] for row in after]
    assert {row["status"] for row in after} == {"unknown"}


def test_a_minute_of_thousands_of_levels_is_not_cut_where_a_block_ends(tmp_path: Path) -> None:
    lines = [f"2023-11-15T00:0{m}:00Z,{n}.5,0.25,0.5,0.75,-0.25,3" for m in range(3) for n in range(1, 15_001)]
    header = "timestamp,price_level,buy_volume,sell_volume,total_volume,delta,trade_count\n"
    (tmp_path / "levels.csv").write_text(header + "\n".join(lines) + "\n")
    for _ in range(2):
        summary = replayed(tmp_path / "levels.csv", *BTC, "--data", tmp_path / "data")
        assert summary["rejected"] == 0
    succeed("spill", "--all", "--data", tmp_path / "data")
    stored = judge.stored(tmp_path / "data")
    assert len(stored) == 45_000
    assert {tuple(level) for level in stored.values()} == {(Decimal("0.25"), Decimal("0.5"), Decimal("0.75"), 3)}


def minutes(data: Path, folder: Path) -> list[dict[str, Any]]:
    succeed("export", *BTC, "--what", "minutes", "-o", folder / "minutes.json", "--data", data)
    found: list[dict[str, Any]] = json.loads((folder / "minutes.json").read_text())
    return found


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_levels_of_trades_that_are_kept_already_are_refused_for_they_would_count_twice(venue: str, tmp_path: Path) -> None:
    instrument = ("--venue", venue, "--symbol", "BTCUSDT", "--data", tmp_path / "data")
    succeed("replay", judge.write_tape(tmp_path / "a.csv", tapes.rows(0.1, 60)), *instrument)
    succeed("export", *instrument, "-o", tmp_path / "levels.csv")
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "levels.csv"), *map(str, instrument)])
    assert result.exit_code == 1
    assert "stored with contiguous ids" in result.stderr or "would count twice" in result.stderr


def test_an_export_of_minutes_or_bars_is_refused(origin: Path, tmp_path: Path) -> None:
    for what in ("minutes", "bars"):
        succeed("export", *BTC, "--what", what, "-o", tmp_path / f"{what}.csv", "--data", origin)
        result = CliRunner().invoke(app, ["replay", str(tmp_path / f"{what}.csv"), *BTC, "--data", str(tmp_path / "data")])
        assert result.exit_code == 1
        assert "export --what levels instead" in result.stderr


def gaps(data: Path) -> list[tuple[Any, ...]]:
    told = json.loads(succeed("gaps", "--data", data, "--json"))["gaps"]
    return [(gap["first_id"], gap["last_id"], gap["state"]) for gap in told]


def statuses(data: Path) -> list[str]:
    with spillway.open(data) as store:
        return list(store.minutes("binance", "BTCUSDT")["status"].astype(str))


def test_what_a_tape_lacks_stands_in_the_ledger_until_another_tape_brings_it(tmp_path: Path) -> None:
    """Trades of minute 3 and 4 come later, those of minute 7 never; and nothing is made where nothing is missing."""
    data, told = tmp_path / "data", list(tapes.rows(0.5, 60))
    first = judge.write_tape(tmp_path / "a.csv", [*told[:200], *told[260:450], *told[460:]])
    late = judge.write_tape(tmp_path / "b.csv", told[200:260])
    ids = [int(row["id"]) for row in told]
    succeed("replay", judge.write_tape(tmp_path / "c.csv", told[:200]), *BTC, "--data", tmp_path / "whole")
    assert not (tmp_path / "whole" / "ledger.db").exists()
    assert replayed(first, *BTC, "--data", data)["missing_ids"] == 70
    assert gaps(data) == [(ids[450], ids[459], "open"), (ids[200], ids[259], "open")]
    assert statuses(data)[2:9] == ["complete", "degraded", "degraded", "complete", "complete", "degraded", "complete"]
    assert replayed(late, *BTC, "--data", data)["missing_ids"] == 10
    assert statuses(data)[2:9] == ["complete", "complete", "complete", "complete", "complete", "degraded", "complete"]
    assert gaps(data) == [(ids[450], ids[459], "open"), (ids[200], ids[259], "repaired")]
    assert replayed(first, *BTC, "--data", data)["missing_ids"] == 10
    assert gaps(data) == [(ids[450], ids[459], "open"), (ids[200], ids[259], "repaired")]
