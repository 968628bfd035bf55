"""What a user imports of the time series is the seed's class."""

from __future__ import annotations

from pathlib import Path

from spillway.timeseries import TimeSeriesDataStore


def test_the_seeds_class_is_imported_from_spillway(tmp_path: Path) -> None:
    store = TimeSeriesDataStore(storage_path=str(tmp_path / "time_series_data"))
    store.save_data("BTCUSD", {"symbol": "BTCUSD", "timestamp": "2024-12-29T10:00:00", "price": 42500.50})
    assert [entry["price"] for entry in store.load_data("BTCUSD", "2024-12-29", "2024-12-30")] == [42500.5]
