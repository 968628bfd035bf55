from __future__ import annotations

import pytest

from collectors.tapes.columns import cells_of, columns_of, delimiter_of, stream_of
from pipeline.errors import TapeError


def told(header: str, given: dict[str, str] | None = None) -> dict[str, str]:
    """Role -> name of the column taken for it."""
    names = header.split(",")
    return {role: names[column] for role, column in columns_of(names, given or {}, "tape.csv").items()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("timestamp,price,quantity,tradeId,side", "time=timestamp id=tradeId price=price size=quantity side=side"),
        ("id,price,qty,quote_qty,time,is_buyer_maker", "time=time id=id price=price size=qty maker=is_buyer_maker"),
        (
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
            "time=transact_time id=agg_trade_id price=price size=quantity maker=is_buyer_maker "
            "first=first_trade_id last=last_trade_id",
        ),
        (
            "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
            "time=timestamp id=id price=price size=amount side=side symbol=symbol",
        ),
        (
            "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue",
            "time=timestamp id=trdMatchID price=price size=size side=side symbol=symbol",
        ),
        ("a,p,q,f,l,T,m,M", "time=T id=a price=p size=q maker=m first=f last=l"),
        ("e,E,s,t,p,q,T,m", "time=T id=t price=p size=q maker=m symbol=s"),
        ("Trade.ID,Date-Time,Price,Volume,Taker_Side", "time=Date-Time id=Trade.ID price=Price size=Volume side=Taker_Side"),
    ],
)
def test_common_headers_are_understood(header: str, expected: str) -> None:
    assert told(header) == dict(pair.split("=") for pair in expected.split())


def test_given_columns_go_before_guessed_ones() -> None:
    header = "time,when,id,price,mid,size,side,sold"
    given = {"time": "when", "price": "mid", "maker": "sold"}
    expected = {"time": "when", "id": "id", "price": "mid", "size": "size", "maker": "sold"}
    assert told(header, given) == expected


def test_a_maker_flag_may_be_given_as_the_side() -> None:
    assert told("t,time,price,size,isBuyerMaker", {"side": "isBuyerMaker"})["maker"] == "isBuyerMaker"


def test_id_and_side_may_be_given_as_none() -> None:
    assert told("time,price,size,m", {"id": "-", "side": "-"}) == {"time": "time", "price": "price", "size": "size"}


def test_what_cannot_be_told_is_refused_with_the_columns_seen_and_the_way_out() -> None:
    with pytest.raises(TapeError) as refused:
        told("open,high,low,close,volume")
    text = str(refused.value)
    assert text.startswith(
        "tape.csv: can't tell which column is time and id and price and side; the header has open, high, low"
    )
    assert "--columns time=...,id=...,price=...,size=...,side=... (id=-" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"time": "when"}, "--columns time=when: there is no such column; the header has time, id, price"),
        ({"colour": "time"}, "--columns: 'colour' is not known; expected some of time, id, price, size, side"),
        ({"price": "-"}, "--columns price=-: there is no such column"),
    ],
)
def test_wrong_columns_are_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(TapeError, match=says):
        told("time,id,price,size,side", given)


def test_the_id_sequence_is_told_by_the_ids_name() -> None:
    assert stream_of(["agg_trade_id", "price"], {"id": 0}) == "agg"
    assert stream_of(["trade_id", "price"], {"id": 0}) == "trade"
    assert stream_of(["price"], {}) == ""


def test_headers_are_cut_at_commas_semicolons_or_tabs_and_may_be_quoted() -> None:
    assert [delimiter_of(line) for line in ("a,b;c,d", "a;b;c,d", "a\tb\tc")] == [",", ";", "\t"]
    assert cells_of('"a", b ,"c,d"\r\n', ",") == ["a", "b", "c,d"]
    assert cells_of("a\rb,c", ",") == []
