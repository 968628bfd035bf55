"""The trading adapter's settings, from the environment."""

from __future__ import annotations

import re
from typing import Any

import pytest

from spillway.settings_sources import SettingsError
from spillway.trading_config import PREFIX, AdapterConfig

NOTHING: dict[str, str] = {}


def config(*, environ: dict[str, str] | None = None, **given: Any) -> AdapterConfig:
    return AdapterConfig(environ={PREFIX + name: value for name, value in (environ or NOTHING).items()}, **given)


def test_nothing_given_it_has_defaults_and_none_is_in_memory() -> None:
    found = config()
    assert found.ledger_url == "sqlite:///data/ledger.db"
    assert found.redis_url == "redis://localhost:6379/0"
    assert found.redis_required
    assert "memory" not in repr(found)


def test_each_setting_is_read_from_its_variable() -> None:
    given = {
        "DATABASE_URL": "postgresql://trader@db/ledger",
        "REDIS_URL": "redis://trading-adapter:x@cache:6379/0",
        "REDIS_REQUIRED": "false",
        "POOL_SIZE": "5",
        "THREADS": "7",
        "REDIS_POOL_SIZE": "3",
        "REDIS_TIMEOUT": "1.5",
        "CACHE_TTL_DEFAULT": "60",
        "SERVICE_ID": "engine-1",
        "SERVICE_NAME": "trading-engine",
        "SERVICE_VERSION": "1.2.3",
        "SERVICE_HOST": "10.0.0.7",
        "GRPC_PORT": "50051",
        "HTTP_PORT": "8080",
        "HEARTBEAT_INTERVAL": "10",
        "STALE_SERVICE_THRESHOLD": "90",
        "CHANGE_RETENTION_DAYS": "7",
    }
    found = config(environ=given)
    assert {name.lower() for name in given} | {"postgres_url"} == set(AdapterConfig.model_fields)
    assert (found.ledger_url, found.redis_required, found.threads) == ("postgresql://trader@db/ledger", False, 7)
    assert (found.redis_timeout, found.grpc_port, found.change_retention_days) == (1.5, 50051, 7.0)
    assert all(getattr(found, name.lower()) != AdapterConfig.model_fields[name.lower()].default for name in given)


def test_an_argument_wins_over_its_variable_and_an_empty_one_is_none() -> None:
    assert config(environ={"POOL_SIZE": "5"}, pool_size=6).pool_size == 6
    assert config(environ={"POOL_SIZE": ""}).pool_size == config().pool_size


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ADAPTER_SERVICE_NAME", "of-the-process")
    assert AdapterConfig().service_name == "of-the-process"


def test_the_seeds_name_for_the_database_does_as_well() -> None:
    url = "postgresql+asyncpg://trader@db/ledger"
    assert config(environ={"POSTGRES_URL": url}).ledger_url == url
    assert config(environ={"POSTGRES_URL": url, "DATABASE_URL": url}).ledger_url == url
    with pytest.raises(SettingsError, match=r"expected database_url or postgres_url, not both"):
        config(environ={"POSTGRES_URL": url, "DATABASE_URL": "memory://"})


WRONG = [
    ("POOL_SIZE", "many", r"environment TRADING_ADAPTER_POOL_SIZE: pool_size: given 'many', expected a valid integer"),
    ("POOL_SIZE", "0", "given '0', expected greater than 0"),
    ("REDIS_TIMEOUT", "nan", "redis_timeout: given 'nan'"),
    ("REDIS_TIMEOUT", "-1", "greater than 0"),
    ("REDIS_REQUIRED", "perhaps", "expected a valid boolean"),
    ("DATABASE_URL", "mysql://trader:hunter2@db/ledger", "expected a URL such as sqlite:///"),
    ("DATABASE_URL", "sqlite:///", "expected a URL such as sqlite:///"),
    ("REDIS_URL", "http://u:hunter2@x", "expected a URL such as redis://"),
    ("HTTP_PORT", "70000", "expected less than or equal to 65535"),
    ("SERVICE_NAME", "../x", "service_name: given '../x'"),
    ("POOLSIZE", "5", "given an unknown key, expected one of database_url, .*pool_size"),
    ("DATABASE_PASSWORD", "hunter2", "given an unknown key"),
    ("HEARTBEAT_INTERVAL", "300", "expected a heartbeat_interval shorter than the stale_service_threshold"),
]


@pytest.mark.parametrize(("name", "value", "told"), WRONG)
def test_a_wrong_value_is_refused_by_one_line_without_a_secret(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config(environ={name: value})
    line = str(caught.value)
    assert line.startswith("trading adapter: ")
    assert re.search(told, line)
    assert "\n" not in line
    assert "hunter2" not in line
    assert caught.value.__context__ is None


def test_an_argument_that_is_wrong_is_told_as_such() -> None:
    with pytest.raises(SettingsError, match="arguments: pool_size: given True, expected a number"):
        config(pool_size=True)
    with pytest.raises(SettingsError, match="arguments: colour: given an unknown key"):
        config(colour="red")


def test_no_secret_shows() -> None:
    found = config(database_url="postgresql://trader:hunter2@db/ledger", redis_url="redis://:hunter2@cache")
    for shown in (repr(found), str(found), f"{found}"):
        assert "hunter2" not in shown
        assert "trader:***@db" in shown
