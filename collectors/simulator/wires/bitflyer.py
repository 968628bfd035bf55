"""bitFlyer Lightning: JSON-RPC 2.0 and REST, as lightning.bitflyer.com/docs has it. Ids are shared by all products."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from collectors.simulator.synthetic import SimTrade
from collectors.simulator.tape import Tape
from collectors.simulator.wires.texts import iso
from collectors.simulator.wires.wire import Refused, Session, Wire, limited, number, runs

_PREFIX = "lightning_executions_"


class _Channels(Session):
    """JSON-RPC: requests with an id are answered, others aren't; several may come in a list."""

    plain = False

    def heard(self, text: bytes) -> Iterable[bytes]:
        request = json.loads(text)
        requests = request if isinstance(request, list) else [request]
        answers = [self._answer(each) for each in requests]
        return [json.dumps(answer).encode() for answer in answers if answer["id"] is not None]

    def tell(self, trades: Sequence[SimTrade]) -> Iterable[bytes]:
        return [_message(run) for run in runs(trades)]

    def _answer(self, request: Mapping[str, object]) -> dict[str, object]:
        params = request.get("params")
        channel = str(params.get("channel", "")) if isinstance(params, dict) else ""
        product, method = channel.removeprefix(_PREFIX), request.get("method")
        head: dict[str, object] = {"jsonrpc": "2.0", "id": request.get("id")}
        if method not in ("subscribe", "unsubscribe"):
            return head | {"error": {"code": -32601, "message": "Method not found"}}
        if channel == product or product not in self.tape.symbols:
            return head | {"error": {"code": -32602, "message": "Invalid params", "data": "Invalid channel."}}
        (self.symbols.add if method == "subscribe" else self.symbols.discard)(product)
        return head | {"result": True}


def _message(trades: Sequence[SimTrade]) -> bytes:
    rows = ",".join(_execution(trade, iso(trade.ts_ns, 7)) for trade in trades)
    params = f'{{"channel":"{_PREFIX}{trades[0].symbol}","message":[{rows}]}}'
    return f'{{"jsonrpc":"2.0","method":"channelMessage","params":{params}}}'.encode()


def _frame(trade: SimTrade) -> bytes:
    return _message([trade])


def _execution(trade: SimTrade, at: str) -> str:
    day = iso(trade.ts_ns)[:10].replace("-", "")
    return (
        f'{{"id":{trade.trade_id},"side":"{"BUY" if trade.buy else "SELL"}","price":{trade.price},"size":{trade.size},'
        f'"exec_date":"{at}","buy_child_order_acceptance_id":"JRF{day}-000001-{trade.trade_id % 10**6:06d}",'
        f'"sell_child_order_acceptance_id":"JRF{day}-000002-{trade.trade_id % 10**6:06d}"}}'
    )


def _executions(tape: Tape, query: Mapping[str, str]) -> str:
    """Newest first, below `before` and above `after`; the times have no zone, and as many decimals as they need."""
    product, limit = query.get("product_code", "BTC_JPY"), limited(query, "count", 100, 500)
    before, after = number(query, "before"), number(query, "after", 0)
    trades = tape.newest(product, limit) if not before else tape.below_id(product, before, limit)
    rows = [_execution(t, iso(t.ts_ns, 7, "").rstrip("0").rstrip(".")) for t in reversed(trades) if t.trade_id > (after or 0)]
    return f"[{','.join(rows)}]"


WIRE = Wire(
    session=_Channels,
    frame=_frame,
    pages={"/v1/executions": _executions, "/v1/getexecutions": _executions},
    bad=Refused(400, '{"status":-1,"error_message":"Invalid product","data":null}'),
    paths={"/json-rpc"},
    busy='{"status":-1,"error_message":"Over API limit per period, per IP address","data":null}',
)
