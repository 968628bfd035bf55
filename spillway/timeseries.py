"""`from spillway.timeseries import TimeSeriesDataStore`: time series of the user's own, as JSON lines and Parquet frames."""

from __future__ import annotations

from sinks.ohlcv_files import OhlcvFile
from sinks.timeseries import Entries, TimeSeriesDataStore

__all__ = ["Entries", "OhlcvFile", "TimeSeriesDataStore"]
