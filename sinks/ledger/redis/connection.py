"""The Redis that the trader's programs share. Only this package of the ledger talks to Redis, and translates its errors.

There are two ways to ask. `again` sends a command anew when the connection breaks: for what may be done twice. `once` never
does: for a counter, and for what answers whether it was this call that did it. Nobody can know whether the first one arrived.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError, RedisError, TimeoutError
from redis.retry import Retry

from pipeline.errors import BadValue, RedisUnavailable
from pipeline.window import masked

PREFIX = "trading:"  # of all our keys and channels: the ACL user may touch no other
CHANGES = PREFIX + "changes"  # the channel on which writers of a ledger say so
POOL_SIZE = 10
TIMEOUT_S = 5.0
RETRIES = 3
_URLS = ("redis://", "rediss://", "unix://")


class SharedRedis:
    """Two pools of connections to one Redis, each of at most `pool_size`. Thread-safe; connects when first asked."""

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE, timeout_s: float = TIMEOUT_S) -> None:
        self.name = masked(url)
        self.again = self._client(url, pool_size, timeout_s, Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), RETRIES))
        self.once = self._client(url, pool_size, timeout_s, Retry(NoBackoff(), 0))

    def ping(self) -> None:
        """RedisUnavailable unless it answers, and lets us in."""
        with self.explained():
            self.once.ping()

    def close(self) -> None:
        """Closes all connections."""
        self.again.close()
        self.once.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns an error of Redis into RedisUnavailable: one line with the URL, no secret in it."""
        try:
            yield
        except AuthenticationError:
            raise RedisUnavailable(f"Redis at {self.name} refuses this user or password") from None
        except NoPermissionError as error:
            raise RedisUnavailable(
                f"Redis at {self.name}: {error}; expected a user with the rights in config/redis/users.acl"
            ) from error
        except (ConnectionError, TimeoutError, OSError) as error:
            raise RedisUnavailable(f"Redis at {self.name} can't be reached: {_told(error)}") from error
        except RedisError as error:
            raise RedisUnavailable(f"Redis at {self.name}: {_told(error)}") from error

    def _client(self, url: str, pool_size: int, timeout_s: float, retry: Retry) -> Any:
        """A redis.Redis: its annotations mix the answers of sync and async clients, so it is taken as anything."""
        if not url.startswith(_URLS):
            raise BadValue(f"redis url {self.name}: expected redis://, rediss:// or unix:// and an address")
        options = url.partition("?")[2]
        if "ssl_cert_reqs" in options or "ssl_check_hostname" in options:
            raise BadValue(f"redis url {self.name}: expected no ssl_cert_reqs or ssl_check_hostname: both are always checked")
        try:
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=pool_size,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                health_check_interval=15,
                retry=retry,
                retry_on_error=[ConnectionError, TimeoutError],
                protocol=2,
                redis_connect_func=_greeted if url.startswith("rediss://") else None,
                **_unnamed(),
            )
        except ValueError:  # whose text may hold a part of the password
            raise BadValue(f"redis url {self.name}: expected redis://, rediss:// or unix:// and a valid address") from None
        return redis.Redis.from_pool(pool)


def _unnamed() -> dict[str, None]:
    """What keeps redis-py from telling its own name, which our user may not: each try would stand in Redis's ACL log."""
    known = inspect.signature(AbstractConnection.__init__).parameters
    return {"driver_info": None} if "driver_info" in known else {"lib_name": None, "lib_version": None}


def _greeted(connection: Any) -> None:
    """What the server sends to end the handshake is read with an answer: unread, redis-py takes it for a stray one."""
    connection.on_connect()
    connection.send_command("PING")
    connection.read_response()


def _told(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
