"""References to recorded minutes: one minute however it is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from pipeline.trading.minute_ref import MinuteRef

MINUTE = 28_828_230  # 2024-10-23T14:30Z


def ref(**fields: Any) -> MinuteRef:
    plain: dict[str, Any] = {"venue": "kraken", "symbol": "BTC/USD", "minute": MINUTE, "revision": 1, "checksum": "0a1b"}
    return MinuteRef(**plain | fields)


@pytest.mark.parametrize(
    "minute",
    [
        MINUTE,
        "2024-10-23T14:30",
        "2024-10-23T14:30:00.000000",
        "2024-10-23T14:30:00Z",
        "2024-10-23T11:30-03:00",
        datetime(2024, 10, 23, 14, 30, tzinfo=UTC),
        datetime(2024, 10, 23, 16, 30, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_minute_is_the_same_however_it_is_written(minute: Any) -> None:
    made = ref(minute=minute)
    assert made == ref()
    assert made.at == datetime(2024, 10, 23, 14, 30, tzinfo=UTC)
    assert made.instrument == Instrument("kraken", "BTC/USD")


def test_a_reference_survives_its_dict() -> None:
    assert MinuteRef.from_dict(ref().to_dict()) == ref()
    assert MinuteRef.from_dict(ref().to_dict() | {"minute": "2024-10-23T14:30"}) == ref()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"venue": "../x"}, "venue"),
        ({"symbol": ""}, "symbol"),
        ({"minute": -1}, "minute -1"),
        ({"minute": True}, "minute True"),
        ({"minute": 1.5}, "minute 1.5"),
        ({"minute": 10**12}, "minute 1000000000000"),
        ({"minute": "yesterday"}, "minute 'yesterday'"),
        ({"minute": "2024-10-23T14:30:01"}, "expected a whole minute since 1970"),
        ({"minute": "1969-12-31T23:59"}, "expected a whole minute since 1970"),
        ({"minute": datetime(2024, 10, 23, 14, 30)}, "minute datetime"),
        ({"minute": date(2024, 10, 23)}, "minute datetime"),
        ({"minute": None}, "minute None"),
        ({"revision": 0}, "revision 0"),
        ({"revision": "1"}, "revision '1'"),
        ({"checksum": None}, "checksum None"),
        ({"checksum": "\0"}, "checksum"),
    ],
)
def test_what_can_be_no_reference_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadValue, match=why):
        ref(**fields)


@pytest.mark.parametrize("change", [{"colour": 1}, {"venue": ...}])
def test_a_dict_with_other_keys_is_refused(change: dict[str, Any]) -> None:
    values = {key: value for key, value in (ref().to_dict() | change).items() if value is not ...}
    with pytest.raises(BadValue, match="expected the keys venue, symbol, minute, revision, checksum"):
        MinuteRef.from_dict(values)
