"""bitFlyer Lightning as its documentation has it."""

from __future__ import annotations

from collectors.simulator.synthetic import SimTrade, with_shared_ids
from collectors.simulator.wires.bitflyer import WIRE
from tests.collectors.simulator.wires.talk import happened, heard, made, page, read

SELL = SimTrade("XRP_JPY", 2_284_078_760, 1_639_350_330_094_626_500, "95.96", "918.992246", False)


def request(channel: str, number: int | None = 1) -> dict[str, object]:
    told: dict[str, object] = {"jsonrpc": "2.0", "method": "subscribe", "params": {"channel": channel}}
    return told if number is None else told | {"id": number}


def test_executions_come_as_a_channel_message_with_numbers_and_seven_decimals_of_a_second() -> None:
    told = read(WIRE.frame(SELL))
    assert (told["jsonrpc"], told["method"]) == ("2.0", "channelMessage")
    assert told["params"]["channel"] == "lightning_executions_XRP_JPY"
    (row,) = told["params"]["message"]
    assert (row["id"], row["side"]) == (2_284_078_760, "SELL")
    assert (str(row["price"]), str(row["size"])) == ("95.96", "918.992246")
    assert row["exec_date"] == "2021-12-12T23:05:30.0946265Z"


def test_only_a_request_with_an_id_is_answered() -> None:
    session, answers = heard(WIRE, happened([SELL]), "/json-rpc", request("lightning_executions_XRP_JPY"))
    assert (answers, session.symbols) == ([{"jsonrpc": "2.0", "id": 1, "result": True}], {"XRP_JPY"})
    session, answers = heard(WIRE, happened([SELL]), "/json-rpc", request("lightning_executions_XRP_JPY", None))
    assert (answers, session.symbols) == ([], {"XRP_JPY"})


def test_an_unknown_channel_is_an_error() -> None:
    session, (answer,) = heard(WIRE, happened([SELL]), "/json-rpc", request("lightning_executions_NOPE"))
    assert ("error" in answer, session.symbols) == (True, set())


def test_a_message_holds_several_executions_of_one_product() -> None:
    trades = with_shared_ids(made("BTC_JPY", 100), made("XRP_JPY", 100, seed=2))
    frames = [read(told)["params"] for told in WIRE.session(happened(trades), "/json-rpc").tell(trades)]
    assert max(len(f["message"]) for f in frames) > 1
    told = [(f["channel"].removeprefix("lightning_executions_"), row["id"]) for f in frames for row in f["message"]]
    assert told == [(t.symbol, t.trade_id) for t in trades]


def test_history_is_newest_first_below_an_id_and_its_times_have_no_zone() -> None:
    trades = with_shared_ids(made("BTC_JPY", 1_000), made("XRP_JPY", 1_000, seed=2))
    tape, path = happened(trades), "/v1/executions"
    mine = [t.trade_id for t in trades if t.symbol == "BTC_JPY"]
    rows = page(WIRE, tape, path, product_code="BTC_JPY", before=mine[50], count=3)
    assert [row["id"] for row in rows] == [mine[49], mine[48], mine[47]]
    assert [row["id"] for row in page(WIRE, tape, path, product_code="BTC_JPY", count=999)] == mine[:-501:-1]
    assert len(page(WIRE, tape, path, product_code="BTC_JPY")) == 100
    after = page(WIRE, tape, path, product_code="BTC_JPY", after=mine[-3])
    assert [row["id"] for row in after] == [mine[-1], mine[-2]]
    (row,) = page(WIRE, happened([SELL]), path, product_code="XRP_JPY")
    assert row["exec_date"] == "2021-12-12T23:05:30.0946265"
