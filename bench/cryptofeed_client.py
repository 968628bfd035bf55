"""cryptofeed's Binance feed into its own `TradeRedis`: `cryptofeed_client.py FEED_PORT REDIS_PORT LOG`.

Runs in the peers' environment, until it is stopped; who measures watches the sorted set `trades-BINANCE-BTC-USDT` grow.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import asyncio
import sys

import uvloop
from cryptofeed import FeedHandler, connection
from cryptofeed.backends.redis import TradeRedis
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

feed_port, redis_port, log = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# It would ask the exchange itself for its symbols.
Symbols.set(Binance.id, {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {"BTC-USDT": "spot"}, "tick_size": {}})
Binance.websocket_endpoints = [connection.WebsocketEndpoint(f"wss://127.0.0.1:{feed_port}")]
_open = connection.WSAsyncConn._open


async def _open_plain(self: connection.WSAsyncConn) -> None:
    """It insists on wss in an address; the loopback feed has no TLS, which spares it that work."""
    self.address = self.address.replace("wss://", "ws://")
    await _open(self)


connection.WSAsyncConn._open = _open_plain
asyncio.set_event_loop(uvloop.new_event_loop())
handler = FeedHandler(
    config={
        "log": {"filename": log, "level": "WARNING", "disabled": False},
        "uvloop": False,  # it is set above: its own way of doing so fails with today's uvloop
        "backend_multiprocessing": False,
    }
)
handler.add_feed(Binance(symbols=["BTC-USDT"], channels=[TRADES], callbacks={TRADES: TradeRedis(port=redis_port)}))
handler.run(install_signal_handlers=False)
