"""How a trader's program reaches its stores: `TRADING_ADAPTER_*` variables, checked as they are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sinks.ledger.aio import THREADS
from sinks.ledger.postgresql import POOL_SIZE
from sinks.ledger.redis.connection import POOL_SIZE as REDIS_POOL_SIZE
from sinks.ledger.redis.connection import TIMEOUT_S
from sinks.ledger.redis.services import STALE_S
from spillway.settings_sources import SettingsError, Source, explain, from_environment, masked, merge

PREFIX = "TRADING_ADAPTER_"
_DATABASES = ("sqlite:///", "postgresql://", "postgresql+", "memory://")
_REDISES = ("redis://", "rediss://", "unix://", "memory://")


def _url_of(schemes: tuple[str, ...], example: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(schemes) or (url.endswith("//") and url != "memory://"):
            raise ValueError(f"a URL such as {example}")
        return url

    return AfterValidator(check)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take `true` as 1
        raise ValueError("a number")
    return value


DatabaseUrl = Annotated[str, _url_of(_DATABASES, "sqlite:///data/ledger.db, postgresql://user@host/db or memory://")]
RedisUrl = Annotated[str, _url_of(_REDISES, "redis://user@host:6379/0, rediss://..., unix:///path or memory://")]
Count = Annotated[int, Field(gt=0, le=1000), BeforeValidator(_no_bool)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
Port = Annotated[int, Field(gt=0, le=65535), BeforeValidator(_no_bool)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@-]*$")]


class AdapterConfig(BaseModel):
    """What was given, over `TRADING_ADAPTER_*` variables, over the defaults. SettingsError, one line, for what can't be.

    A name is its variable's in lower case: `database_url` is `TRADING_ADAPTER_DATABASE_URL`. Times are in seconds. `memory://`
    keeps nothing and shares nothing, so it is never a default. URLs may hold passwords: they are shown masked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: DatabaseUrl | None = None
    postgres_url: DatabaseUrl | None = None  # the seed's name for the same
    redis_url: RedisUrl = "redis://localhost:6379/0"
    redis_required: bool = True
    pool_size: Count = POOL_SIZE
    threads: Count = THREADS
    redis_pool_size: Count = REDIS_POOL_SIZE
    redis_timeout: Seconds = TIMEOUT_S
    cache_ttl_default: Seconds = 300.0
    service_id: Name | None = None
    service_name: Name = "trading-data-adapter"
    service_version: str = ""
    service_host: str = ""
    grpc_port: Port | None = None
    http_port: Port | None = None
    heartbeat_interval: Seconds = 30.0
    stale_service_threshold: Seconds = STALE_S
    change_retention_days: Seconds = 30.0

    def __init__(self, *, environ: Mapping[str, str] = os.environ, **given: Any) -> None:
        sources = [from_environment(environ, PREFIX), Source("arguments", given)]
        line = ""
        try:
            super().__init__(**merge(sources))
        except ValidationError as error:
            line = _explained(error, sources)
        if line:  # outside the handler: the validation error would carry the secret that the line hides
            raise SettingsError(line)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.database_url and self.postgres_url and self.database_url != self.postgres_url:
            raise ValueError("database_url or postgres_url, not both")
        if self.heartbeat_interval >= self.stale_service_threshold:
            raise ValueError("a heartbeat_interval shorter than the stale_service_threshold")
        return self

    @property
    def ledger_url(self) -> str:
        """The ledger's database. It may hold a password: show only `masked` of it."""
        return self.database_url or self.postgres_url or "sqlite:///data/ledger.db"

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, masked(value) if isinstance(value, str) else value


def _explained(error: ValidationError, sources: list[Source]) -> str:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:  # of several that don't fit together
        return f"trading adapter: expected {first['ctx']['error']}"
    return f"trading adapter: {explain([first], sources, {(): list(AdapterConfig.model_fields)})}"
