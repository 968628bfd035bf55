"""Tapes for tests: deterministic trades with ids 1, 2, 3, ..."""

from __future__ import annotations

import random
from collections.abc import Iterator

START_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC


def rows(
    hours: float, per_minute: int, *, every: int = 1, seed: int = 1, start_ms: int = START_MS, first_id: int = 1
) -> Iterator[dict[str, str]]:
    """Trades of a random walk, `per_minute` evenly over each `every`th minute; about one in fifty without an aggressor."""
    dice = random.Random(seed)
    price, step_ms, trade_id = 250_000, 60_000 // per_minute, first_id
    for minute in range(0, int(hours * 60), every):
        for n in range(per_minute):
            price = max(1000, price + dice.randrange(-3, 4))
            size = dice.choice((dice.randrange(1, 1000), dice.randrange(1, 100_000_000)))
            yield {
                "time": str(start_ms + minute * 60_000 + n * step_ms + dice.randrange(step_ms)),
                "id": str(trade_id),
                "price": f"{price // 10}.{price % 10}",
                "size": f"{size // 10**6}.{size % 10**6:06d}",
                "side": "" if dice.random() < 0.02 else dice.choice(("buy", "sell")),
            }
            trade_id += 1
