"""The venues that the simulator can be."""

from __future__ import annotations

from collections.abc import Mapping

from collectors.simulator.wires import binance, bitflyer, bitstamp, bybit, coinbase, kraken, okx
from collectors.simulator.wires.wire import Wire

WIRES: Mapping[str, Wire] = {
    "binance": binance.SPOT,
    "binance-usdm": binance.USDM,
    "bitflyer": bitflyer.WIRE,
    "bitstamp": bitstamp.WIRE,
    "bybit": bybit.LINEAR,
    "bybit-spot": bybit.SPOT,
    "coinbase": coinbase.WIRE,
    "kraken": kraken.WIRE,
    "okx": okx.WIRE,
}
