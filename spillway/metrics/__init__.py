"""What the service tells Prometheus: read from its parts at each scrape, so that no part needs to know of metrics."""

from __future__ import annotations

from spillway.metrics.service import Parts, exposed, registry_of

__all__ = ["Parts", "exposed", "registry_of"]
