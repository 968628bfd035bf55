from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from collectors.tapes.chunks import Chunk
from collectors.tapes.items import first_items
from collectors.tapes.json import CcxtReader, shape_of
from pipeline.errors import TapeError
from tests.collectors.tapes.checks import Reading

MS = 1_570_752_011_620


def agg(n: int, **info: Any) -> dict[str, Any]:
    """An aggTrade as ccxt keeps it; its own numbers are wrong here, so that a test fails if they are used."""
    raw = {
        "a": n,
        "p": f"0.0014{n:04}",
        "q": "23.00000000",
        "f": 10 * n,
        "l": 10 * n + 4,
        "T": MS + n,
        "m": n % 2 == 0,
        "M": True,
    }
    return {"info": raw | info, "timestamp": 1, "symbol": "XRP/ETH", "id": "7", "side": "sell", "price": 9.9, "amount": 9.9}


def plain(n: int, **other: Any) -> dict[str, Any]:
    item = {"info": {"id": n}, "id": str(n), "timestamp": MS + n, "symbol": "XRP/ETH", "side": "buy", "price": 0.1, "amount": 2}
    return item | other


def read(items: list[Any] | str, size: int = 10**6, symbol: str | None = None) -> Reading:
    text = items.encode() if isinstance(items, str) else json.dumps(items).encode()
    reader = CcxtReader("tape.json", shape_of(first_items(text), "tape.json"), symbol)
    return Reading().take(reader.blocks([Chunk(text[n : n + size], n) for n in range(0, len(text), size)]))


@pytest.mark.parametrize("size", [10, 300, 10**6])
def test_binances_own_words_are_taken_where_ccxt_kept_them(size: int) -> None:
    found = read([agg(n) for n in range(1, 9)], size)
    assert found.trades == [
        (n, (MS + n) * 10**6, Decimal(f"0.0014{n:04}"), Decimal(23), -1 if n % 2 == 0 else 1, 5) for n in range(1, 9)
    ]
    assert found.refused == []


def test_numbers_that_ccxt_turned_into_texts_are_read_as_well() -> None:
    found = read([agg(3, a="3", f="30", l="34", T=str(MS + 3))])
    assert found.trades == [(3, (MS + 3) * 10**6, Decimal("0.00140003"), Decimal(23), 1, 5)]


def test_ccxts_own_numbers_are_taken_by_their_text_never_as_floats() -> None:
    text = json.dumps([plain(1, price="P", amount="A"), plain(2, price="P", amount="A")])
    text = text.replace('"P"', "0.10000000000000000000000001", 1).replace('"A"', "1e-07", 1)
    text = text.replace('"P"', '"12345678901234567.89"', 1).replace('"A"', "3", 1)
    assert [t[2:4] for t in read(text).trades] == [
        (Decimal("0.10000000000000000000000001"), Decimal("1e-7")),
        (Decimal("12345678901234567.89"), Decimal(3)),
    ]


def test_ids_are_numbers_where_most_are_and_texts_elsewhere() -> None:
    assert [t[0] for t in read([plain(1), plain(2), plain(3, id=4)]).trades] == [1, 2, 4]
    assert [t[0] for t in read([plain(1, id="x-1"), plain(2, id="x-2"), plain(3)]).trades] == ["x-1", "x-2", "3"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (plain(2, price="abc"), "price 'abc' is not a decimal number"),
        (plain(2, price=None), "price 'null' is not a decimal number"),
        (plain(2, amount=-1), "size not more than 0"),
        (plain(2, timestamp=None), "no time: it can't be placed in a minute"),
        (plain(2, timestamp=MS * 1000), "time in the future"),
        (plain(2, timestamp=MS // 1000), "time before 2009"),
        (plain(2, side="up"), "side 'up': expected buy, sell or nothing"),
        (plain(2, id=None), "trade id None can't be read"),
        (plain(2, id="two"), "trade id 'two' can't be read"),
        (plain(2, id=[]), "not a trade: Expected `int | str | null`, got `array` - at `$.id`"),
        ({"nothing": 1}, "trade id None can't be read"),
        ([1, 2], "not a trade: Expected `object`, got `array`"),
    ],
)
def test_a_bad_item_is_refused_with_its_number_and_costs_no_other(item: Any, reason: str) -> None:
    found = read([plain(1), item, plain(3), plain(4)])
    assert [t[0] for t in found.trades] == [1, 3, 4]
    assert [(r.where, json.loads(r.raw)) for r in found.rejects] == [("tape.json:item 2", item)]
    assert found.rejects[0].reason.startswith(reason)


@pytest.mark.parametrize("info", [{"p": 1.5}, {"T": None}, {"m": "maybe"}, {"a": -1}, {"l": 2**63}, {"f": 99}])
def test_an_aggtrade_that_lacks_something_is_refused(info: dict[str, Any]) -> None:
    found = read([agg(1), agg(2, **info), agg(3)])
    assert [t[0] for t in found.trades] == [1, 3]
    assert [r.where for r in found.rejects] == ["tape.json:item 2"]


def test_bad_utf8_and_broken_json_cost_no_other_item() -> None:
    text = json.dumps([plain(n) for n in range(1, 5)]).replace('"buy"', '"b\xffy"', 1).replace('"id": "2"', '"id": ,', 1)
    data = text.encode("latin-1")
    reader = CcxtReader("tape.json", shape_of(first_items(data), "tape.json"))
    found = Reading().take(reader.blocks([Chunk(data, 0)]))
    assert [t[0] for t in found.trades] == [3, 4]
    assert [r.where for r in found.rejects] == ["tape.json:item 1", "tape.json:item 2"]


def test_only_items_of_the_symbol_are_taken_and_the_others_counted() -> None:
    items = [agg(1), agg(2) | {"symbol": "BTC/USDT"}, agg(3)]
    found = read(items, symbol="XRP/ETH")
    assert [t[0] for t in found.trades] == [1, 3]
    assert found.skipped == 1
    text = json.dumps(items).encode()
    assert CcxtReader("t", shape_of(first_items(text), "t")).symbols([Chunk(text, 0)]) == {"XRP/ETH", "BTC/USDT"}


def test_an_empty_list_is_a_tape_without_trades() -> None:
    assert read([]).trades == []


def test_a_list_of_something_else_is_refused() -> None:
    with pytest.raises(
        TapeError, match=r"tape\.json: a json list, but not of ccxt trades: looked for id, .*; saw b'\{\"name\""
    ):
        read([{"name": 1}])
