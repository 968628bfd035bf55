"""What the user may set, and its defaults. No other module reads the settings file or the environment.

Arguments win over the environment (`SPILLWAY_REDIS__URL`), that over the YAML file, and that over the defaults.
`config/spillway.yaml` repeats the defaults for the reader; a test keeps the two equal.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.errors import BadValue
from pipeline.instrument import Instrument
from spillway.settings_sources import SettingsError, Source, explain, from_environment, from_file, masked, merge

__all__ = ["Collect", "Redis", "Schedule", "Settings", "SettingsError", "load_settings", "masked"]

EMBEDDED = "embedded"


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("a name that is not empty and has no control characters")
    return text


def _symbol(text: str) -> str:
    return _part_of_instrument("any", text, text)


def _venue(text: str) -> str:
    return _part_of_instrument(text, "any", text)


def _part_of_instrument(venue: str, symbol: str, text: str) -> str:
    try:
        Instrument(venue, symbol)
    except BadValue as error:
        raise ValueError(str(error).rpartition("expected ")[2]) from None
    return text


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if not any(url.startswith(f"{scheme}://") and len(url) > len(scheme) + 3 for scheme in schemes):
            raise ValueError(f"a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return url.rstrip("/")

    return AfterValidator(check)


def _redis_url(url: str) -> str:
    if url != EMBEDDED and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(f"{EMBEDDED}, or a URL that starts with redis:// or rediss:// or unix://")
    if "ssl_" in url.partition("?")[2]:  # so that no URL can switch the check off
        raise ValueError("a URL without ssl_ options: certificate and host name are always checked; tls_ca says whom to trust")
    return url


def _file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError("a file that is there")
    return path


def _ledger_url(url: str) -> str:
    if not all(url.partition("://")[::2]):
        raise ValueError("a database URL such as sqlite:///data/ledger.db or postgresql://user@host/db")
    return url


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take `true` as 1
        raise ValueError("a number")
    return value


Name = Annotated[str, AfterValidator(_name)]
Folder = Annotated[Path, AfterValidator(Path.expanduser)]
File = Annotated[Path, AfterValidator(Path.expanduser), AfterValidator(_file)]
WsUrl = Annotated[str, _url("ws", "wss")]
RestUrl = Annotated[str, _url("http", "https")]
Number = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
NumberOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
Count = Annotated[int, Field(gt=0), BeforeValidator(_no_bool)]
Port = Annotated[int, Field(ge=0, le=65535), BeforeValidator(_no_bool)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, masked(value) if isinstance(value, str) else value


class Redis(_Section):
    """Where the window lives: the embedded server, a URL, or host, port, db, user and password; and how far it reaches.

    With TLS (`tls`, or a rediss:// URL) the server's certificate and host name are checked, against the system's authorities
    or those of `tls_ca`; `tls_cert` and `tls_key` are what the server may ask of us.
    """

    url: Annotated[str, AfterValidator(_redis_url)] = EMBEDDED
    host: Name | None = None
    port: Port | None = None
    db: Annotated[int, Field(ge=0)] | None = None
    username: Name | None = None
    password: SecretStr | None = None
    tls: bool = False
    tls_ca: File | None = None
    tls_cert: File | None = None
    tls_key: File | None = None
    window_hours: Number = 48.0
    storage_dir: Folder | None = None

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        # Never choose between two addresses in silence: the window would be looked for in the wrong place.
        if self._parts() and "url" in self.model_fields_set:
            raise ValueError(f"url or {', '.join(self._parts())}, not both")
        return self

    @model_validator(mode="after")
    def _tls_is_used(self) -> Self:
        encrypted = self.tls or self.url.startswith("rediss://")
        if any((self.tls_ca, self.tls_cert, self.tls_key)) and not encrypted:
            raise ValueError("tls: true or a rediss:// URL beside tls_ca, tls_cert and tls_key: without TLS they are not used")
        if self.tls and not self._parts() and not self.url.startswith("rediss://"):
            raise ValueError("host or a rediss:// URL beside tls: true")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key, both or neither")
        return self

    @property
    def embedded(self) -> bool:
        """Whether Redis is our own child on a unix socket."""
        return self.connection_url == EMBEDDED

    @property
    def connection_url(self) -> str:
        """`embedded`, or the URL for redis-py. It holds the password: show only `masked` of it."""
        if not self._parts():
            return self._with_tls(self.url)
        user = quote(self.username or "", safe="")
        secret = f"{user}:{quote(self.password.get_secret_value(), safe='')}@" if self.password else f"{user}@" * bool(user)
        host = self.host or "localhost"
        host = f"[{host}]" if ":" in host else host
        return self._with_tls(f"redis{'s' * self.tls}://{secret}{host}:{self.port or 6379}/{self.db or 0}")

    def _with_tls(self, url: str) -> str:
        files = {"ssl_ca_certs": self.tls_ca, "ssl_certfile": self.tls_cert, "ssl_keyfile": self.tls_key}
        options = urlencode({name: str(path) for name, path in files.items() if path})
        return f"{url}{'&' if '?' in url else '?'}{options}" if options else url

    def _parts(self) -> list[str]:
        return [name for name in ("host", "port", "db", "username", "password") if getattr(self, name) is not None]


class Collect(_Section):
    """What to collect from one venue."""

    venue: Annotated[str, AfterValidator(_venue)]
    symbols: Annotated[tuple[Annotated[str, AfterValidator(_symbol)], ...], Field(min_length=1)]
    price_group: dict[str, Annotated[Decimal, Field(gt=0), BeforeValidator(_no_bool)]] = {}
    ws_url: WsUrl | None = None
    rest_url: RestUrl | None = None
    record: bool = False

    @model_validator(mode="after")
    def _groups_are_of_symbols(self) -> Self:
        if unknown := sorted(self.price_group.keys() - set(self.symbols)):
            raise ValueError(f"a price_group only for its symbols ({', '.join(self.symbols)}), not for {unknown[0]!r}")
        return self


class Archive(_Section):
    """Where Parquet goes, in `data_dir` unless said otherwise, and how long what is kept; None: for ever, without bound."""

    dir: Folder | None = None
    keep_json_days: NumberOrZero = 0.0
    keep_days: Number | None = None
    max_bytes: Count | None = None
    merge_months: bool = False
    merge_delay_days: NumberOrZero = 7.0
    warn_free_bytes: Annotated[int, Field(ge=0), BeforeValidator(_no_bool)] = 2_000_000_000
    warn_days: NumberOrZero = 7.0

    @model_validator(mode="after")
    def _files_go_before_their_days(self) -> Self:
        if self.keep_days is not None and self.keep_json_days > self.keep_days:
            raise ValueError(f"keep_json_days of at most keep_days ({self.keep_days:g}), not {self.keep_json_days:g}")
        return self


class Ledger(_Section):
    """The ledger's database; SQLite in `data_dir` unless said otherwise. And its backups: 0 hours between two make none."""

    url: Annotated[str, AfterValidator(_ledger_url)] | None = None
    backup_dir: Folder | None = None
    backup_every_hours: NumberOrZero = 24.0
    backup_keep_days: Number = 30.0


class Http(_Section):
    """Where metrics and health are served; port 0 takes a free one. With a token, only who sends it gets them."""

    host: Name = "127.0.0.1"
    port: Port = 9108
    token: Annotated[SecretStr, Field(min_length=1)] | None = None


class Log(_Section):
    """How the logs on standard error look. `auto`: for people on a terminal, JSON elsewhere."""

    format: Literal["auto", "json", "human"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Schedule(_Section):
    """When each job runs. Units are in the names."""

    seal_grace_s: NumberOrZero = 5.0
    seal_quiet_s: NumberOrZero = 30.0
    flush_ms: Count = 100
    seal_every_s: Number = 1.0
    spill_every_s: Number = 60.0
    compact_every_s: Number = 3600.0
    compact_delay_hours: NumberOrZero = 24.0
    stop_s: Number = 30.0


class Settings(_Section):
    """All settings, checked and immutable. Made directly they are the defaults and the arguments, nothing else."""

    data_dir: Folder = Path("data")
    redis: Redis = Redis()
    collect: tuple[Collect, ...] = ()
    archive: Archive = Archive()
    ledger: Ledger = Ledger()
    http: Http = Http()
    log: Log = Log()
    schedule: Schedule = Schedule()

    @field_validator("collect")
    @classmethod
    def _each_instrument_once(cls, collect: tuple[Collect, ...]) -> tuple[Collect, ...]:
        seen: set[tuple[str, str]] = set()
        for venue, symbol in ((entry.venue, symbol) for entry in collect for symbol in entry.symbols):
            if (venue, symbol) in seen:
                raise ValueError(f"each instrument once, not {venue} {symbol} twice")
            seen.add((venue, symbol))
        return collect

    @property
    def redis_dir(self) -> Path:
        """The embedded Redis's append-only file, log and socket."""
        return self.data_dir / "redis"

    @property
    def storage_dir(self) -> Path:
        """The minute files."""
        return self.redis.storage_dir or self.data_dir / "storage"

    @property
    def archive_dir(self) -> Path:
        """The Parquet archive."""
        return self.archive.dir or self.data_dir / "archive"

    @property
    def dead_letter_dir(self) -> Path:
        """What couldn't be parsed or placed in time."""
        return self.data_dir / "dead_letters"

    @property
    def recording_dir(self) -> Path:
        """The raw frames of what is collected with `record: true`."""
        return self.data_dir / "recordings"

    @property
    def ledger_url(self) -> str:
        """The ledger's database URL. It may hold a password: show only `masked` of it."""
        return self.ledger.url or f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def backup_dir(self) -> Path:
        """The ledger's backups."""
        return self.ledger.backup_dir or self.data_dir / "backups"


def load_settings(config: Path | None = None, data: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a YAML file (if named), the environment and `data` (as `data_dir`); the later wins.

    Raises `SettingsError`, whose one line says where the bad value is, what it is and what was expected.
    """
    sources = sources_of(config, data, environ)
    try:
        return Settings.model_validate(merge(sources))
    except ValidationError as error:
        line = explain(error.errors(include_url=False), sources, known_keys())
    # Outside the handler: the validation error would carry the secret that the line hides.
    raise SettingsError(line)


def sources_of(config: Path | None, data: Path | None, environ: Mapping[str, str]) -> list[Source]:
    """Who gives settings; a later one wins. SettingsError for what can't be read."""
    return [
        Source("defaults", {}),
        *([from_file(config)] if config else []),
        from_environment(environ),
        Source("arguments", {"data_dir": str(data)} if data else {}),
    ]


def known_keys() -> dict[tuple[int | str, ...], list[str]]:
    """Each section's keys, by its path without indices."""
    sections: dict[str, type[BaseModel]] = {
        "redis": Redis, "collect": Collect, "archive": Archive, "ledger": Ledger,
        "http": Http, "log": Log, "schedule": Schedule,
    }  # fmt: skip
    return {(): list(Settings.model_fields)} | {(name,): list(sections[name].model_fields) for name in sections}
