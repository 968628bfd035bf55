"""Tells on a Redis channel that a ledger was written. Only a bell: who follows the changes reads them from the ledger."""

from __future__ import annotations

import logging
import threading

from pipeline.errors import RedisUnavailable
from sinks.ledger.redis.connection import CHANGES, SharedRedis

log = logging.getLogger(__name__)


class Announcer:
    """Announces from a thread of its own, so that no writer waits for Redis. Rings meanwhile become one."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self._rung = threading.Event()
        self._ended = False
        self._silent = False  # the last one failed
        self._thread = threading.Thread(target=self._run, name="ledger announcer", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        """Has it announced, soon."""
        self._rung.set()

    def close(self) -> None:
        """Announces what was rung, and ends."""
        self._ended = True
        self._rung.set()
        self._thread.join()

    def _run(self) -> None:
        while self._rung.wait():
            self._rung.clear()
            self._announce()
            if self._ended and not self._rung.is_set():
                return

    def _announce(self) -> None:
        try:
            with self._redis.explained():
                self._redis.once.publish(CHANGES, b"changed")
            self._silent = False
        except RedisUnavailable as error:  # who follows asks the ledger anyway, a little later
            if not self._silent:
                log.warning("changes of the ledger aren't announced: %s", error)
            self._silent = True
