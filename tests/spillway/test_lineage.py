"""The minutes that decisions saw, against what is stored now, wherever that lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import spillway
from pipeline.trading.minute_ref import MinuteRef
from spillway.lineage import fates
from spillway.store import Store
from tests.pipeline.builders import START
from tests.sinks.days import random_day, random_minute
from tests.spillway.kept import BTC, replayed, stored


def test_minutes_of_all_three_places_are_referred_to_with_revision_and_checksum(tmp_path: Path) -> None:
    with spillway.open(replayed(tmp_path / "data")) as store:
        refs = store.lineage(*BTC)
        frame = store.minutes(*BTC, columns=["timestamp", "revision", "checksum"])
        assert [(ref.at, ref.revision, ref.checksum) for ref in refs] == list(frame.itertuples(index=False, name=None))
        assert {seen.fate for seen in fates(store, [("d1", ref) for ref in refs])} == {"same"}
        assert store.lineage(*BTC, frame["timestamp"][3], frame["timestamp"][5]) == refs[3:5]


def told(store: Store, *seen: tuple[str, MinuteRef]) -> list[str]:
    return [str(each) for each in fates(store, seen)]


def test_what_was_revised_changed_or_went_is_told_from_what_is_the_same(tmp_path: Path) -> None:
    folder = stored(tmp_path / "data", random_day(30))
    with spillway.open(folder) as store:
        first, second, third = store.lineage(*BTC)[:3]
        kraken = MinuteRef("kraken", "BTC/USD", START, 1, "abc")
        stored(folder, [random_minute(START + 7, revision=2, seed=5)], compacted=False)
        seen = [("d2", third), ("d1", second), ("d1", replace(first, checksum="other")), ("d1", kraken)]
        assert [each.fate for each in fates(store, seen)] == ["changed", "revised", "same", "absent"]
        assert told(store, ("d1", second))[0].endswith("revision 1: is now revision 2")
        assert told(store, ("d9", kraken)) == [
            f"decision d9: kraken BTC/USD {kraken.at:%Y-%m-%d %H:%M}, revision 1: isn't stored any more"
        ]
        assert told(store) == []


def test_decisions_of_many_days_are_read_a_day_at_a_time(tmp_path: Path) -> None:
    days = [minute for day in range(3) for minute in random_day(3, start=START + day * 1440)]
    with spillway.open(stored(tmp_path / "data", days)) as store:
        refs = store.lineage(*BTC)
        done: list[int] = []
        assert len(refs) == 9
        assert [each.minute for each in fates(store, [("d", ref) for ref in reversed(refs)], done.append)] == refs
        assert done == [3, 6, 9]
