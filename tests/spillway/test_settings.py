"""Settings: the order of sources, and one clear line for whatever is wrong."""

from __future__ import annotations

import traceback
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.errors import SpillwayError
from spillway.settings import Redis, Settings, SettingsError, known_keys, load_settings, masked

DEFAULT_FILE = Path(__file__).parents[2] / "config" / "spillway.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spillway.yaml"


def load(file: Path, text: str, **environ: str) -> Settings:
    file.write_text(text)
    return load_settings(file, environ=environ)


def complaint(file: Path, text: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(file, text, **environ)
    assert isinstance(caught.value, SpillwayError)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(file), "FILE")


def test_the_default_file_says_what_the_code_does() -> None:
    assert load_settings(DEFAULT_FILE, environ={}) == Settings() == load_settings(environ={})


def test_the_default_file_names_every_key() -> None:
    text = DEFAULT_FILE.read_text()
    sections = {name: text[text.index(f"\n{name}:") :].partition("\n\n")[0] for name in Settings.model_fields}
    known = {where: keys for where, keys in known_keys().items() if where}
    assert {str(name) for (name,) in known} >= {name for name in sections if name != "data_dir"}
    assert [(name, key) for (name,), keys in known.items() for key in keys if f"{key}:" not in sections[str(name)]] == []


def test_the_specified_example_is_read(file: Path) -> None:
    settings = load(
        file,
        """
        data_dir: data
        redis: {host: localhost, port: 6379, db: 2, window_hours: 48, storage_dir: elsewhere/storage}
        collect:
          - {venue: binance, symbols: [BTCUSDT, ETHUSDT]}
          - {venue: binance-usdm, symbols: [BTCUSDT], price_group: {BTCUSDT: 0.10}, ws_url: "ws://127.0.0.1:9871/"}
        archive: {dir: cold}
        ledger: {url: "sqlite:///x/ledger.db"}
        http: {host: 0.0.0.0, port: 9200}
        """,
    )
    assert settings.redis.connection_url == "redis://localhost:6379/2" and not settings.redis.embedded
    assert settings.collect[0].symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.collect[1].ws_url == "ws://127.0.0.1:9871"
    assert (settings.storage_dir, settings.archive_dir) == (Path("elsewhere/storage"), Path("cold"))
    assert settings.ledger_url == "sqlite:///x/ledger.db"
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 9200)


def test_all_folders_lie_in_the_data_folder_unless_said_otherwise() -> None:
    settings = load_settings(data=Path("/d"), environ={})
    assert settings.redis_dir == Path("/d/redis")
    assert settings.storage_dir == Path("/d/storage")
    assert settings.archive_dir == Path("/d/archive")
    assert settings.dead_letter_dir == Path("/d/dead_letters")
    assert settings.ledger_url == "sqlite:////d/ledger.db"


def test_arguments_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text("data_dir: from_file\nhttp: {host: 127.0.0.2, port: 1}\nschedule: {flush_ms: 7}\n")
    environ = {"SPILLWAY_DATA_DIR": "from_env", "SPILLWAY_HTTP__PORT": "2", "SPILLWAY_SCHEDULE__SEAL_GRACE_S": ""}
    settings = load_settings(file, Path("from_argument"), environ)
    assert settings.data_dir == Path("from_argument")
    assert (settings.http.host, settings.http.port) == ("127.0.0.2", 2)
    assert (settings.schedule.flush_ms, settings.schedule.seal_grace_s) == (7, 5)
    assert load_settings(file, environ=environ).data_dir == Path("from_env")


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPILLWAY_REDIS__URL", "redis://elsewhere:7000/1")
    monkeypatch.setenv("SPILLWAY_CRASH_AT", "flush")
    assert load_settings().redis.connection_url == "redis://elsewhere:7000/1"


def test_a_list_comes_from_the_environment_as_json() -> None:
    text = '[{"venue": "kraken", "symbols": ["BTC/USD"], "price_group": {"BTC/USD": 0.1}}]'
    (entry,) = load_settings(environ={"SPILLWAY_COLLECT": text}).collect
    assert (entry.venue, entry.symbols, entry.price_group) == ("kraken", ("BTC/USD",), {"BTC/USD": Decimal("0.1")})


def test_a_price_group_keeps_every_digit(file: Path) -> None:
    settings = load(file, "collect: [{venue: v, symbols: [S], price_group: {S: 0.1000000000000000000001}}]")
    assert settings.collect[0].price_group == {"S": Decimal("0.1000000000000000000001")}


def test_an_empty_section_or_key_is_the_default(file: Path) -> None:
    assert load(file, "redis:\narchive: {dir: }\ncollect:\n") == Settings() == load(file, "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("redis: {window_hours: abc}", "FILE: redis.window_hours: given 'abc', expected a valid number"),
        ("redis: {window_hours: 0}", "FILE: redis.window_hours: given 0, expected greater than 0"),
        ("redis: {window_hours: .inf}", "FILE: redis.window_hours: given '.inf', expected a valid number"),
        ("redis: {window_hours: true}", "FILE: redis.window_hours: given True, expected a number"),
        ("schedule: {flush_ms: 1.5}", "FILE: schedule.flush_ms: given '1.5', expected a valid integer"),
        ("http: {port: 70000}", "FILE: http.port: given 70000, expected less than or equal to 65535"),
        ("http: [1]", "FILE: http: given a list, expected a mapping of keys to values"),
        ("redis: {url: ftp://x}", "FILE: redis.url: given 'ftp://x', expected embedded, or a URL that starts with"),
        ("redis: {url: embedded, host: h}", "FILE: redis: given a mapping, expected url or host, not both"),
        ("ledger: {url: ledger.db}", "FILE: ledger.url: given 'ledger.db', expected a database URL such as"),
        ("ledgr: {}", "FILE: ledgr: given an unknown key, expected one of data_dir, redis, collect"),
        ("redis: {hots: h}", "FILE: redis.hots: given an unknown key, expected one of url, host"),
        ("collect: [{venue: v, symbol: S}]", "FILE: collect.0.symbols: given nothing, expected a value (and 1 more)"),
        (
            "collect: [{venue: v, symbols: [S], interval: 1}]",
            "FILE: collect.0.interval: given an unknown key, expected one of venue, symbols",
        ),
        ("collect: [{venue: v, symbols: []}]", "FILE: collect.0.symbols: given a list, expected"),
        ("collect: {venue: v}", "FILE: collect: given a mapping, expected a list"),
        ('collect: [{venue: " ", symbols: [S]}]', "FILE: collect.0.venue: given ' ', expected 1 to 64 printable"),
        ('collect: [{venue: v, symbols: [S, "A\\nB"]}]', "FILE: collect.0.symbols.1: given 'A\\nB', expected 1 to 64"),
        ("collect: [{venue: v, symbols: [S], price_group: {S: 0}}]", "FILE: collect.0.price_group.S: given 0, expected"),
        ("collect: [{venue: v, symbols: [S], price_group: {T: 1}}]", "FILE: collect.0: given a mapping, expected a price"),
        (
            "collect: [{venue: v, symbols: [S]}, {venue: v, symbols: [T, S]}]",
            "FILE: collect: given a list, expected each instrument once, not v S twice",
        ),
        ("collect: [{venue: v, symbols: [S], ws_url: 'http://x'}]", "FILE: collect.0.ws_url: given 'http://x', expected a URL"),
        ("[1, 2]", "FILE: given a list, expected a mapping of keys to values"),
        ("redis: {url: embedded", "FILE, line 1: "),
        ("http: {port: 1}\nhttp: {port: 2}", "FILE, line 2: given the key 'http' twice, expected YAML"),
    ],
)
def test_a_bad_file_is_told_in_one_line(file: Path, text: str, line: str) -> None:
    assert complaint(file, text).startswith(line)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SPILLWAY_HTTP__PORT", "x", "environment SPILLWAY_HTTP__PORT: http.port: given 'x', expected a valid integer"),
        ("SPILLWAY_REDIS_URL", "x", "environment SPILLWAY_REDIS_URL: redis_url: given an unknown key, expected one of"),
        ("SPILLWAY_COLLECT", "[{", "environment SPILLWAY_COLLECT: given what is not JSON, expected JSON"),
        ("SPILLWAY_COLLECT", '[{"venue": 1}]', "environment SPILLWAY_COLLECT: collect.0.venue: given 1, expected a valid"),
    ],
)
def test_a_bad_variable_is_told_by_its_name(file: Path, name: str, value: str, line: str) -> None:
    assert complaint(file, "http: {port: 9}", **{name: value}).startswith(line)


def test_a_missing_file_is_told() -> None:
    with pytest.raises(SettingsError, match=r"^no/such\.yaml: No such file or directory, expected a YAML file"):
        load_settings(Path("no/such.yaml"), environ={})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:hun/t@er2@host/0", "redis://:***@host/0"),
        ("postgresql://host/db?password=hunter2&sslmode=on", "postgresql://host/db?password=***&sslmode=on"),
        ("redis//:hunter2@host", "redis//:***@host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("sqlite:///data/ledger.db", "sqlite:///data/ledger.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_no_secret_shows_in_settings_or_errors(file: Path) -> None:
    url = load(file, "redis: {url: 'redis://u:hunter2@h/0'}\nledger: {url: 'postgresql://u:hunter2@h/db'}")
    parts = load(file, "redis: {host: h, password: hunter2}")
    assert "hunter2" in url.redis.connection_url and "hunter2" in url.ledger_url
    assert parts.redis.connection_url == "redis://:hunter2@h:6379/0"
    for shown in (url, parts, url.redis, parts.redis, url.ledger):
        assert "hunter2" not in f"{shown!r} {shown}"
    for text in ("redis: {password: [hunter2]}", "redis: {pasword: hunter2}", "redis: {url: 'x://u:hunter2@h'}"):
        complaint(file, text)  # which looks for it, in the traceback too
    complaint(file, "", SPILLWAY_REDIS='{"password": "hunter2"')


def test_the_token_is_a_secret_and_an_empty_one_is_refused_as_it_would_guard_nothing(file: Path) -> None:
    http = load(file, "http: {token: hunter2}").http
    assert http.token is not None and http.token.get_secret_value() == "hunter2"
    assert "hunter2" not in f"{http!r} {http}"
    assert complaint(file, 'http: {token: ""}').startswith("FILE: http.token: given ***, expected")
    assert "1234567" not in complaint(file, "http: {token: 1234567}")


def test_a_password_is_encoded_in_the_url() -> None:
    redis = Redis(host="::1", port=1, db=0, password=SecretStr("a/b@c"))
    assert redis.connection_url == "redis://:a%2Fb%40c@[::1]:1/0"


def test_a_user_stands_in_the_url_with_and_without_a_password() -> None:
    assert Redis(username="a@b", password=SecretStr("c")).connection_url == "redis://a%40b:c@localhost:6379/0"
    assert Redis(username="spillway").connection_url == "redis://spillway@localhost:6379/0"


def test_a_secret_comes_from_a_file_that_the_environment_names(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{hunter2": [\n')  # not taken for JSON
    settings = load(file, "redis: {host: h, username: u}", SPILLWAY_REDIS__PASSWORD_FILE=str(secret))
    assert settings.redis.password == SecretStr('{hunter2": [')
    assert "hunter2" not in f"{settings!r}"
    secret.write_text("postgresql://u:hunter2@h/db")
    assert load(file, "", SPILLWAY_LEDGER__URL_FILE=str(secret)).ledger_url == "postgresql://u:hunter2@h/db"


def test_a_secret_file_that_is_no_use_is_told_in_one_line(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    named = {"SPILLWAY_REDIS__PASSWORD_FILE": str(secret)}
    told = f"environment SPILLWAY_REDIS__PASSWORD_FILE: {secret}: "
    assert complaint(file, "", **named) == told + "No such file or directory, expected a file with the value"
    secret.write_bytes(b"\xff")
    assert complaint(file, "", **named) == told + "not text, expected a file with the value"
    secret.write_text(" \n")
    assert complaint(file, "", **named) == told + "the file is empty, expected the value in it"
    assert complaint(file, "", SPILLWAY_REDIS__PASSWORD="hunter2", **named).endswith(
        "given beside SPILLWAY_REDIS__PASSWORD, expected one of the two"
    )
    secret.write_text("hunter2://x")
    assert complaint(file, "", SPILLWAY_REDIS__URL_FILE=str(secret)).startswith(
        "environment SPILLWAY_REDIS__URL_FILE: redis.url: given ***, expected embedded, or a URL"
    )


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().data_dir = Path("x")
