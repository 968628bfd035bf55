"""A running program as others find it: what it is, where it answers, whether it is well."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from pipeline.errors import BadValue
from pipeline.trading.choice import Choice
from pipeline.trading.entity import Entity
from pipeline.trading.moments import utc_or_none
from pipeline.trading.names import brief, checked_id, checked_name, new_id
from pipeline.trading.plain import Plain, plain_dict

LAST_PORT = 65_535


class ServiceStatus(Choice):
    """How a service says that it is."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo(Entity):
    """A service. `registered_at` and `last_seen` are the registry's: what is given for them is not stored."""

    ID: ClassVar[str] = "service_id"
    service_id: str = field(default_factory=new_id)
    service_name: str
    version: str = ""
    host: str = ""
    grpc_port: int | None = None
    http_port: int | None = None
    status: ServiceStatus = ServiceStatus.HEALTHY
    metadata: dict[str, Plain] = field(default_factory=dict)
    last_seen: datetime | None = None
    registered_at: datetime | None = None

    def _check(self) -> None:
        checked: dict[str, object] = {
            "service_id": checked_id(self.service_id, "service_id"),
            "status": ServiceStatus(self.status),
            "metadata": plain_dict(self.metadata, "metadata"),
            "last_seen": utc_or_none(self.last_seen, "last_seen"),
            "registered_at": utc_or_none(self.registered_at, "registered_at"),
        }
        checked_name(self.service_name, "service_name")
        for name in ("version", "host"):
            if getattr(self, name) != "":
                checked_name(getattr(self, name), name)
        _check_port(self.grpc_port, "grpc_port")
        _check_port(self.http_port, "http_port")
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def _check_port(port: int | None, what: str) -> None:
    if port is not None and (type(port) is not int or not 0 < port <= LAST_PORT):
        raise BadValue(f"{what} {brief(port)}: expected a port from 1 to {LAST_PORT}")
