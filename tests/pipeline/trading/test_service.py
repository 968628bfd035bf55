"""A service as it tells of itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pipeline.errors import BadValue
from pipeline.trading.service import ServiceInfo, ServiceStatus

ENGINE = ServiceInfo(service_name="trading-engine", host="10.0.0.7", grpc_port=50051, metadata={"weight": 0.1})


def test_a_service_has_an_id_of_its_own_and_says_that_it_is_well() -> None:
    other = ServiceInfo(service_name="trading-engine")
    assert other.service_id != ENGINE.service_id
    assert other.status is ServiceStatus.HEALTHY


def test_its_status_may_be_given_as_text_and_its_times_in_any_zone() -> None:
    at = datetime(2024, 10, 23, 16, 30, tzinfo=timezone(timedelta(hours=2)))
    service = replace(ENGINE, status="degraded", last_seen=at)  # type: ignore[arg-type]
    assert service.status is ServiceStatus.DEGRADED
    assert service.last_seen == datetime(2024, 10, 23, 14, 30, tzinfo=UTC)
    assert service.last_seen.tzinfo is UTC


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"service_id": "../../x"}, "service_id"),
        ({"service_name": ""}, "service_name"),
        ({"host": "a\nb"}, "host"),
        ({"grpc_port": 0}, "grpc_port 0: expected a port from 1 to 65535"),
        ({"http_port": 70_000}, "http_port"),
        ({"http_port": True}, "http_port"),
        ({"status": "fine"}, "expected one of starting, healthy"),
        ({"metadata": {"a": float("nan")}}, r"metadata\.a"),
        ({"last_seen": datetime(2024, 1, 1)}, "time zone"),
    ],
    ids=str,
)
def test_what_can_be_no_service_is_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadValue, match=expected):
        replace(ENGINE, **change)
